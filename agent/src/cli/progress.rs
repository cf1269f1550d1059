//! One line on a terminal that says how far the work is.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use evidence_format::safe::safe;

/// Between two drawings: often enough to look alive, too seldom to cost anything.
const REDRAW: Duration = Duration::from_millis(100);
/// Characters of the line: on the narrowest common terminal it does not wrap, and a wrapped line could not be redrawn.
const LINE_CHARS_MAX: usize = 79;

/// The line. Dropped, it is gone from the terminal.
pub(super) struct Line {
    /// False if nobody looks at it.
    shown: bool,
    drawn: Option<Instant>,
}

impl Line {
    /// On standard error, if that is a terminal.
    pub(super) fn new(quiet: bool) -> Self {
        Self { shown: !quiet && io::stderr().is_terminal(), drawn: None }
    }

    /// Draws what `text` gives, unless it has just drawn.
    pub(super) fn draw(&mut self, text: impl FnOnce() -> String) {
        if self.shown && self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW) {
            let text: String = safe(&text()).chars().take(LINE_CHARS_MAX).collect();
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
            self.drawn = Some(Instant::now());
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
