//! What our programs have in common on a terminal: one line of progress, sizes and times as people
//! write them.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use evidence_format::safe::safe;

/// Between two drawings: often enough to look alive, too seldom to cost anything.
const REDRAW: Duration = Duration::from_millis(100);
/// Characters of the line: on the narrowest common terminal it does not wrap, and a wrapped line
/// could not be redrawn.
const LINE_CHARS_MAX: usize = 79;

/// One line on standard error that says how far the work is. Dropped, it is gone from the terminal.
#[derive(Debug)]
pub struct ProgressLine {
    /// False if nobody looks at it.
    shown: bool,
    drawn: Option<Instant>,
}

impl ProgressLine {
    /// Shown if standard error is a terminal, and unless `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self {
            shown: !quiet && io::stderr().is_terminal(),
            drawn: None,
        }
    }

    /// Draws what `text` gives, unless it has just drawn.
    pub fn draw(&mut self, text: impl FnOnce() -> String) {
        if self.shown && self.drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW) {
            let text: String = safe(&text()).chars().take(LINE_CHARS_MAX).collect();
            let _ = write!(io::stderr(), "\r\x1b[K{text}");
            self.drawn = Some(Instant::now());
        }
    }

    /// Makes room for what is written beside it. The next [`ProgressLine::draw`] draws.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `bytes` to three digits.
#[must_use]
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in units {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// A time such as `90s`, `5m`, `1h`, `3d`; a number alone is seconds.
///
/// # Errors
/// A sentence: what was expected.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("expected a number and s, m, h or d"),
    };
    let seconds = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(unit))
        .filter(|n| *n > 0);
    seconds
        .map(Duration::from_secs)
        .ok_or("expected a number above zero and s, m, h or d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        let seconds = |text| duration(text).map(|d| d.as_secs());
        assert_eq!(
            (seconds("90"), seconds("30s"), seconds("5m"), seconds("2h")),
            (Ok(90), Ok(30), Ok(300), Ok(7200))
        );
        assert_eq!(seconds("3d"), Ok(259_200));
        for bad in [
            "",
            "0",
            "s",
            "-1s",
            "1.5s",
            "5 m",
            "1w",
            "99999999999999999999s",
            "9999999999999999999h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_short() {
        let sizes = [0, 1023, 1024, 5 << 20, 3 << 40].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 TiB"]);
    }
}
