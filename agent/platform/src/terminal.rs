//! What our programs show and read on a terminal: one line of progress, sizes, durations.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use evidence_format::safe::safe;

/// Time between two redraws: short enough to look alive, long enough to cost nothing.
const REDRAW: Duration = Duration::from_millis(100);
/// Columns where standard error does not say how many it has: the narrowest common terminal.
const COLUMNS: usize = 80;
const ROWS: usize = 24;

/// Lines of progress on standard error, mostly one, which are cleared when this is dropped.
#[derive(Debug)]
pub struct ProgressLine {
    shown: bool,
    drawn: Option<Instant>,
    /// Lines of the last drawing.
    lines: usize,
}

impl ProgressLine {
    /// Shows nothing if `quiet`, or if standard error is not a terminal.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self {
            shown: !quiet && io::stderr().is_terminal(),
            drawn: None,
            lines: 0,
        }
    }

    /// True if standard error is a terminal on which this draws.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.shown
    }

    /// Draws the lines that `text` returns, unless the last redraw was a moment ago.
    pub fn draw(&mut self, text: impl FnOnce() -> String) {
        if !self.shown || self.drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW) {
            return;
        }
        // A wrapped line could not be redrawn.
        let (rows, columns) = screen();
        let columns = columns.saturating_sub(1);
        let lines: Vec<String> = text()
            .lines()
            // Lines that have left the screen could not be redrawn either.
            .take(rows.saturating_sub(1).max(1))
            .map(|line| cut(&safe(line), columns))
            .collect();
        let _ = write!(
            io::stderr(),
            "{}{}",
            self.erasure(),
            lines.join("\x1b[K\r\n")
        );
        self.drawn = Some(Instant::now());
        self.lines = lines.len();
    }

    /// Clears the lines, so that other output can be written. The next [`ProgressLine::draw`]
    /// redraws.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            let _ = write!(io::stderr(), "{}", self.erasure());
            self.lines = 0;
        }
    }

    /// What moves the cursor to the first line, and clears from there.
    fn erasure(&self) -> String {
        match self.lines {
            0 | 1 => "\r\x1b[K".to_owned(),
            lines => format!("\r\x1b[{}A\x1b[J", lines - 1),
        }
    }
}

/// The words of `text` that fit, with `…` in place of the others.
fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let start: String = text.chars().take(columns.saturating_sub(1)).collect();
    // A name that is cut reads like another name.
    let words = match start.rfind(' ') {
        _ if text[start.len()..].starts_with(' ') => start.as_str(),
        Some(end) => &start[..end],
        None => "",
    };
    // A single word, such as a path, has no better place.
    let words = Some(words.trim_end()).filter(|words| !words.is_empty());
    format!("{}…", words.unwrap_or(&start))
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Rows and columns of the terminal.
fn screen() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    let rows = size.map(|size| usize::from(size.ws_row));
    let columns = size.map(|size| usize::from(size.ws_col));
    (
        rows.filter(|rows| *rows > 0).unwrap_or(ROWS),
        columns.filter(|columns| *columns > 0).unwrap_or(COLUMNS),
    )
}

/// `bytes` with a binary unit and one decimal: `5.0 MiB`.
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

/// Parses a duration such as `90s`, `5m`, `1h`, `3d`. A number without unit is refused: who writes
/// `--last 7` hardly means seconds.
///
/// # Errors
/// What was expected, for the user.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "" if is_number => {
            return Err(format!(
                "{text} of what? give a unit: {text}s, {text}m, {text}h or {text}d"
            ));
        }
        _ => return Err("expected a number and a unit s, m, h or d".to_owned()),
    };
    let seconds = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(unit))
        .filter(|n| *n > 0);
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "expected a number above zero and a unit s, m, h or d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_cut_between_words() {
        for (text, columns, expected) in [
            ("12 of 17 done", 13, "12 of 17 done"),
            (
                "12 of 17 done, longest us-east-1",
                31,
                "12 of 17 done, longest…",
            ),
            ("read eu-west-1 now", 15, "read eu-west-1…"),
            ("read eu-west-1 now", 14, "read…"),
            ("  /a/long/path", 6, "  /a/…"),
            ("länger", 4, "län…"),
            ("x", 0, "…"),
        ] {
            assert_eq!(cut(text, columns), expected, "{text}");
        }
    }

    #[test]
    fn parses_durations_with_unit() {
        let seconds = |text| duration(text).map(|d| d.as_secs());
        assert_eq!(
            (seconds("90s"), seconds("30s"), seconds("5m"), seconds("2h")),
            (Ok(90), Ok(30), Ok(300), Ok(7200))
        );
        assert_eq!(
            seconds("7"),
            Err("7 of what? give a unit: 7s, 7m, 7h or 7d".to_owned())
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
    fn formats_sizes_with_unit() {
        let sizes = [0, 1023, 1024, 5 << 20, 3 << 40].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 TiB"]);
    }
}
