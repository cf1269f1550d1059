//! A response play, as data: the sources to capture, how far back, the useful pivots, and the
//! runbook's steps.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::checklist::ChecklistStep;
use super::names::{PlayName, SourceName};
use super::pivot::PivotKind;
use super::text::Line;
use crate::hosts::HostLabel;
use crate::spelling::{comma_separated, did_you_mean, nearest};

/// Bytes of one play's file. The built-in plays have at most 3 KiB.
pub const PLAY_BYTES_MAX: u64 = 64 * 1024;
/// Steps of one play. They are copied into each of its incidents.
const STEPS_MAX: usize = 100;
/// Host labels of one play. Each that no agent has is an item of a bundle, beside those of the
/// request.
const HOST_LABELS_MAX: usize = 50;
/// Ten years: longer than any source keeps evidence.
const WINDOW_HOURS_MAX: u32 = 10 * 366 * 24;

/// The response to one kind of incident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Play {
    /// The name of its file, without the extension.
    pub name: PlayName,
    pub title: Line,
    /// The sources to capture. Those that this version lacks are shown as not available.
    pub sources: Vec<SourceName>,
    /// Hosts to capture beside the sources: every host with one of these labels.
    pub host_labels: Vec<HostLabel>,
    /// The default window, in hours before the declaration.
    pub window_hours: u32,
    /// The kinds of pivots that narrow the search for this play's evidence.
    pub pivots: Vec<PivotKind>,
    pub steps: Vec<ChecklistStep>,
}

/// A play is invalid.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    #[error("{file} has more than {max} {what}")]
    TooMuch {
        file: String,
        what: &'static str,
        max: u64,
    },
    /// A key that plays do not have.
    #[error("{file}:{line}: no key is called {key:?}{}; there are: {}", did_you_mean(*nearest), comma_separated(known))]
    UnknownKey {
        file: String,
        /// From 1.
        line: usize,
        key: String,
        /// The key that was probably meant.
        nearest: Option<&'static str>,
        known: &'static [&'static str],
    },
    /// The file is not TOML, or a value is invalid.
    #[error("{file}:{line}: {message}")]
    Invalid {
        file: String,
        /// From 1.
        line: usize,
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PlayToml {
    title: Line,
    sources: Vec<SourceName>,
    #[serde(default)]
    host_labels: Vec<HostLabel>,
    window_hours: toml::Spanned<u32>,
    #[serde(default)]
    pivots: Vec<PivotKind>,
    steps: Vec<toml::Spanned<ChecklistStep>>,
}

const KEYS: &[&str] = &[
    "title",
    "sources",
    "host-labels",
    "window-hours",
    "pivots",
    "steps",
];
const STEP_KEYS: &[&str] = &["id", "list", "text", "answer"];

impl Play {
    /// Parses the text of a play's file; `file` names it in errors.
    ///
    /// # Errors
    /// The text is too long or no TOML, has an unknown key, or a value is invalid.
    pub fn parse(name: &PlayName, file: &str, text: &str) -> Result<Self, PlayError> {
        // Before the parser, whose memory grows with the text.
        if text.len() as u64 > PLAY_BYTES_MAX {
            return Err(PlayError::TooMuch {
                file: file.to_owned(),
                what: "bytes",
                max: PLAY_BYTES_MAX,
            });
        }
        // Parsed twice: only the table still has the keys that serde would reject.
        let table =
            toml::de::DeTable::parse(text).map_err(|error| invalid_toml(file, text, &error))?;
        check_keys(file, text, table.get_ref())?;
        let play: PlayToml =
            toml::from_str(text).map_err(|error| invalid_toml(file, text, &error))?;
        if !(1..=WINDOW_HOURS_MAX).contains(play.window_hours.get_ref()) {
            return Err(invalid(
                file,
                text,
                play.window_hours.span().start,
                format!("window-hours is from 1 to {WINDOW_HOURS_MAX}"),
            ));
        }
        // Each incident's first entry holds a copy of the steps.
        if play.steps.len() > STEPS_MAX {
            return Err(PlayError::TooMuch {
                file: file.to_owned(),
                what: "steps",
                max: STEPS_MAX as u64,
            });
        }
        if play.host_labels.len() > HOST_LABELS_MAX {
            return Err(PlayError::TooMuch {
                file: file.to_owned(),
                what: "host labels",
                max: HOST_LABELS_MAX as u64,
            });
        }
        let mut ids = BTreeSet::new();
        if let Some(step) = play
            .steps
            .iter()
            .find(|step| !ids.insert(&step.get_ref().id))
        {
            return Err(invalid(
                file,
                text,
                step.span().start,
                format!("step id {} is used twice", step.get_ref().id),
            ));
        }
        Ok(Self {
            name: name.clone(),
            title: play.title,
            sources: play.sources,
            host_labels: play.host_labels,
            window_hours: play.window_hours.into_inner(),
            pivots: play.pivots,
            steps: play
                .steps
                .into_iter()
                .map(toml::Spanned::into_inner)
                .collect(),
        })
    }
}

/// Finds misspelled keys before serde does, which would name neither the line nor the right key.
fn check_keys(file: &str, text: &str, table: &toml::de::DeTable<'_>) -> Result<(), PlayError> {
    check_table(file, text, table, KEYS)?;
    // Steps of another type are left to serde, whose error says what it expected.
    let steps = table
        .get("steps")
        .and_then(|steps| steps.get_ref().as_array());
    let steps = steps.into_iter().flat_map(|steps| steps.iter());
    steps
        .filter_map(|step| step.get_ref().as_table())
        .try_for_each(|step| check_table(file, text, step, STEP_KEYS))
}

fn check_table(
    file: &str,
    text: &str,
    table: &toml::de::DeTable<'_>,
    known: &'static [&'static str],
) -> Result<(), PlayError> {
    let Some(key) = table
        .keys()
        .find(|key| !known.contains(&key.get_ref().as_ref()))
    else {
        return Ok(());
    };
    Err(PlayError::UnknownKey {
        file: file.to_owned(),
        line: line_of(text, key.span().start),
        key: key.get_ref().chars().take(80).collect(),
        nearest: nearest(key.get_ref(), known.iter().copied()),
        known,
    })
}

fn invalid(file: &str, text: &str, at: usize, message: String) -> PlayError {
    PlayError::Invalid {
        file: file.to_owned(),
        line: line_of(text, at),
        message,
    }
}

fn invalid_toml(file: &str, text: &str, error: &toml::de::Error) -> PlayError {
    let at = error.span().map_or(0, |span| span.start);
    invalid(file, text, at, error.message().to_owned())
}

/// The line, from 1, of the byte at offset `at`.
fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(at)
        .filter(|b| **b == b'\n')
        .count()
        + 1
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const GOOD: &str = "title = \"Ours\"\nsources = [\"host\"]\nwindow-hours = 24\n[[steps]]\nid = \"ours-1\"\ntext = \"Look.\"\n";

    fn parse(text: &str) -> Result<Play, PlayError> {
        Play::parse(&"ours".parse().expect("a name"), "ours.toml", text)
    }

    #[test]
    fn error_names_unknown_key_its_line_and_nearest_key() {
        let refused = parse(&GOOD.replace("sources", "source"))
            .expect_err("misspelled")
            .to_string();
        assert_eq!(
            refused,
            "ours.toml:2: no key is called \"source\" (did you mean \"sources\"?); there are: title, sources, host-labels, window-hours, pivots, steps"
        );
        let refused = parse(&format!("{GOOD}owner = \"Ann\"\n"))
            .expect_err("not a step's")
            .to_string();
        assert_eq!(
            refused,
            "ours.toml:7: no key is called \"owner\"; there are: id, list, text, answer"
        );
    }

    #[test]
    fn error_names_line_of_wrong_value() {
        for (from, to, line) in [
            ("[\"host\"]", "[\"Host\"]", 2),
            ("window-hours", "host-labels = [\"web\"]\nwindow-hours", 3),
            ("= 24", "= 0", 3),
            ("= 24", "= \"24\"", 3),
            ("= 24", "= 99999999", 3),
            ("text = \"Look.\"", "text = \"Look\\u001b.\"", 6),
            ("text = \"Look.\"", "text = \"Look.\"\nlist = \"other\"", 7),
            ("[[steps]]", "[[steps]", 4),
            ("window-hours = 24\n", "", 1),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD);
            let refused = parse(&text).expect_err(to).to_string();
            assert!(
                refused.starts_with(&format!("ours.toml:{line}: ")),
                "{to}: {refused}"
            );
        }
        let twice = format!("{GOOD}[[steps]]\nid = \"ours-1\"\ntext = \"Again.\"\n");
        assert!(
            parse(&twice)
                .expect_err("twice")
                .to_string()
                .starts_with("ours.toml:7: step id ours-1 is used twice")
        );
    }
}
