//! Standard input and output. Everything printed is escaped, since attackers write a part of it.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Read, Write};

use anyhow::{Context, Result};
use api::EventSummary;
use evidence_format::id::IncidentId;
use evidence_format::safe::{is_unsafe, safe, safe_json};
use serde::Serialize;

use super::GlobalOptions;
use super::times::shorten_times;

/// Prints the events that commands caused.
pub(super) fn print_changes(
    global: &GlobalOptions,
    incident: &IncidentId,
    changes: &[EventSummary],
) -> Result<()> {
    if global.json {
        return print_json(&serde_json::json!({"incident": incident, "changes": changes}));
    }
    // After JSON: programs asked for a result, and --quiet only silences messages.
    if global.quiet {
        return Ok(());
    }
    if changes.is_empty() {
        return print(&format!("{incident}: no change: already up to date\n"));
    }
    changes
        .iter()
        .try_for_each(|change| print(&format!("{incident}: {}\n", shorten_times(&change.summary))))
}

/// Standard input, with a hint if it is a terminal.
pub(super) fn standard_input() -> impl Read + Send {
    if io::stdin().is_terminal() {
        let _ = writeln!(
            io::stderr(),
            "exhibit: reading from the terminal; end with Ctrl-D on a new line"
        );
    }
    io::stdin()
}

/// Prints an error to standard error, as `main` does at the end of the program.
pub(super) fn report_error(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "exhibit: {}", error_text(error.as_ref()));
}

/// True if standard output is a terminal whose user has not refused colours (no-color.org).
fn has_colours() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdout().is_terminal() && !is_refused && !is_dumb
}

/// Marks our headings in text that is escaped already: what an attacker wrote can have the look of
/// a heading, and nothing else of a terminal.
fn highlight(text: &str) -> String {
    const WARNINGS: [&str; 4] = [
        "not captured",
        "not searched for",
        "not said yet",
        "nothing was sealed",
    ];
    const HEADINGS: [&str; 4] = ["verify with", "see", "statements", "actions"];
    const TABLES: [&str; 3] = ["bundle  ", "source  ", "incident  "];
    text.split_inclusive('\n')
        .map(|line| {
            let body = line.trim_end_matches('\n');
            let style = if WARNINGS.contains(&body) {
                "1;33"
            } else if HEADINGS.contains(&body) || TABLES.iter().any(|title| body.starts_with(title))
            {
                "1"
            } else {
                return line.to_owned();
            };
            format!("\x1b[{style}m{body}\x1b[0m{}", &line[body.len()..])
        })
        .collect()
}

/// The reader of standard output has seen enough, as `head` has: the command ends, and is silent.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output is gone")]
pub(super) struct OutputClosed;

/// Prints text for people, with everything escaped that a terminal would obey.
///
/// # Errors
/// [`OutputClosed`] if the reader is gone, and failures of a file.
pub(super) fn print(text: &str) -> Result<()> {
    let text = escape(text);
    if has_colours() {
        return write(highlight(&text).as_bytes());
    }
    write(text.as_bytes())
}

/// Prints what a command has begun. Work goes on if nobody reads it.
pub(super) fn announce(text: &str) -> Result<()> {
    match print(text) {
        Err(error) if error.is::<OutputClosed>() => Ok(()),
        printed => printed,
    }
}

/// Writes bytes as they are.
///
/// # Errors
/// As for [`print`].
pub(super) fn write(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(bytes)
        // Without this, a full disk or a closed pipe would go unnoticed until exit, where nobody
        // looks.
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(OutputClosed.into()),
        written => written.context("cannot write to standard output"),
    }
}

/// Escapes every unsafe character except line feeds and tabs.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    const KEPT: [char; 2] = ['\n', '\t'];
    if !text.chars().any(|c| is_unsafe(c) && !KEPT.contains(&c)) {
        return text.into();
    }
    text.split_inclusive(KEPT)
        .map(|piece| {
            let body = piece.trim_end_matches(KEPT);
            safe(body) + &piece[body.len()..]
        })
        .collect::<String>()
        .into()
}

/// An error with its causes. It keeps its line breaks, which lists and excerpts of files need;
/// everything else that a terminal would obey is escaped, since causes may quote an attacker. Later
/// lines are indented: none can pass for a message of its own.
#[must_use]
pub fn error_text(error: &(dyn std::error::Error + 'static)) -> String {
    let text = platform::chain(error);
    let lines: Vec<String> = text.trim_end().lines().map(safe).collect();
    lines.join("\n  ")
}

/// Prints one line of JSON, with JSON's escapes for everything that a terminal would obey.
pub(super) fn print_json(value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string(value).context("cannot write JSON")?;
    // Escaping parses the JSON again, so it is done only where it is needed.
    if json.chars().any(is_unsafe) {
        let value = serde_json::from_str(&json).context("cannot write JSON")?;
        return write((safe_json(&value) + "\n").as_bytes());
    }
    write((json + "\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_headings_are_highlighted() {
        assert_eq!(
            highlight("a\n\nnot captured\n  see\nsee"),
            "a\n\n\x1b[1;33mnot captured\x1b[0m\n  see\n\x1b[1msee\x1b[0m"
        );
    }

    #[test]
    fn error_keeps_its_lines_and_nothing_else_of_a_terminal() {
        let error = anyhow::anyhow!("a\u{1b}[2J\n1 | b\tc\nexhibit: all is well\n");
        assert_eq!(
            error_text(error.as_ref()),
            "a\\u{1b}[2J\n  1 | b\\tc\n  exhibit: all is well"
        );
    }

    #[test]
    fn escapes_everything_a_terminal_obeys() {
        assert_eq!(escape("one\ttwo\nthree\n"), "one\ttwo\nthree\n");
        assert_eq!(
            escape("a\u{1b}[2J\tb\r\n\u{202e}c\n\nd"),
            "a\\u{1b}[2J\tb\\r\n\\u{202e}c\n\nd"
        );
    }
}
