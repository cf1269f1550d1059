//! Standard output and input: what people and programs get, and nothing that a terminal obeys.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Read, Write};

use anyhow::{Context, Result};
use api::EventSummary;
use evidence_format::id::IncidentId;
use evidence_format::safe::{is_unsafe, safe, safe_json};
use serde::Serialize;

use super::GlobalOptions;
use super::times::shorten_times;

/// Says what was changed.
pub(super) fn print_changes(
    global: &GlobalOptions,
    incident: &IncidentId,
    changes: &[EventSummary],
) -> Result<()> {
    if global.json {
        return print_json(&serde_json::json!({"incident": incident, "changes": changes}));
    }
    if global.quiet {
        return Ok(());
    }
    if changes.is_empty() {
        return print(&format!(
            "{incident}: nothing to change, it is so already\n"
        ));
    }
    changes
        .iter()
        .try_for_each(|change| print(&format!("{incident}: {}\n", shorten_times(&change.summary))))
}

/// Standard input; somebody who sits before it is told so.
pub(super) fn standard_input() -> impl Read + Send {
    if io::stdin().is_terminal() {
        let _ = writeln!(
            io::stderr(),
            "exhibit: type, and end with Ctrl-D on a line of its own"
        );
    }
    io::stdin()
}

/// Writes text for people to standard output, and nothing that a terminal obeys, wherever it comes
/// from. A reader that went away is an error: it did not get what it asked for.
pub(super) fn print(text: &str) -> Result<()> {
    write(&shown(text))
}

fn write(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    Ok(stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())?)
}

/// `text` with every unsafe character escaped that is no end of a line and no tab.
fn shown(text: &str) -> Cow<'_, str> {
    const KEPT: [char; 2] = ['\n', '\t'];
    if !text.chars().any(|c| is_unsafe(c) && !KEPT.contains(&c)) {
        return text.into();
    }
    let piece = |piece: &str| {
        let body = piece.trim_end_matches(KEPT);
        safe(body) + &piece[body.len()..]
    };
    text.split_inclusive(KEPT)
        .map(piece)
        .collect::<String>()
        .into()
}

/// Writes one line of JSON, in which what a terminal might obey stands as JSON's own escapes.
pub(super) fn print_json(value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string(value).context("cannot write JSON")?;
    if json.chars().any(is_unsafe) {
        return write(
            &(safe_json(&serde_json::from_str(&json).context("cannot write JSON")?) + "\n"),
        );
    }
    write(&(json + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_what_is_shown() {
        assert_eq!(shown("one\ttwo\nthree\n"), "one\ttwo\nthree\n");
        assert_eq!(
            shown("a\u{1b}[2J\tb\r\n\u{202e}c\n\nd"),
            "a\\u{1b}[2J\tb\\r\n\\u{202e}c\n\nd"
        );
    }
}
