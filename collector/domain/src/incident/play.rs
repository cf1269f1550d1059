//! A response play: which sources are asked, how far back, about what; and the runbook's steps.
//! Data, not code.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::checklist::ChecklistStep;
use super::names::{PlayName, SourceName};
use super::pivot::PivotKind;
use super::text::Line;
use crate::spelling::{comma_separated, did_you_mean, nearest};

/// Bytes of one play's file: ours have 3 KiB.
pub const PLAY_BYTES_MAX: u64 = 64 * 1024;
/// Steps of one play: they are copied into each incident.
const STEPS_MAX: usize = 100;
/// Longest window of a play: ten years, above any retention of a source.
const WINDOW_HOURS_MAX: u32 = 10 * 366 * 24;

/// How one kind of incident is responded to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Play {
    /// Its name: that of its file.
    pub name: PlayName,
    /// For people.
    pub title: Line,
    /// Sources to ask, also those that this version does not have: they are shown as not available.
    pub sources: Vec<SourceName>,
    /// Hours back from the declaration, unless somebody says otherwise.
    pub window_hours: u32,
    /// What it helps to know: kinds of things that its evidence is asked for.
    pub pivots: Vec<PivotKind>,
    /// What is to be done.
    pub steps: Vec<ChecklistStep>,
}

/// A play cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// More of something than there may be.
    #[error("{file} has more than {max} {what}")]
    TooMuch {
        file: String,
        /// Of what.
        what: &'static str,
        /// How much there may be.
        max: u64,
    },
    /// A key that plays do not have.
    #[error("{file}:{line}: no key is called {key:?}{}; there are: {}", did_you_mean(*nearest), comma_separated(known))]
    UnknownKey {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// The key.
        key: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
        /// What there is.
        known: &'static [&'static str],
    },
    /// It is not TOML, or a value is not what it should be.
    #[error("{file}:{line}: {message}")]
    Invalid {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PlayToml {
    title: Line,
    sources: Vec<SourceName>,
    window_hours: toml::Spanned<u32>,
    #[serde(default)]
    pivots: Vec<PivotKind>,
    steps: Vec<toml::Spanned<ChecklistStep>>,
}

const KEYS: &[&str] = &["title", "sources", "window-hours", "pivots", "steps"];
const STEP_KEYS: &[&str] = &["id", "list", "text"];

impl Play {
    /// Reads a play from the text of its file; `file` is for errors.
    ///
    /// # Errors
    /// It is not TOML, has a key that plays do not have, or a value is not what it should be.
    pub fn parse(name: &PlayName, file: &str, text: &str) -> Result<Self, PlayError> {
        if text.len() as u64 > PLAY_BYTES_MAX {
            return Err(PlayError::TooMuch {
                file: file.to_owned(),
                what: "bytes",
                max: PLAY_BYTES_MAX,
            });
        }
        let invalid = |at: usize, message: String| PlayError::Invalid {
            file: file.to_owned(),
            line: line_of(text, at),
            message,
        };
        let from_toml = |e: toml::de::Error| {
            invalid(
                e.span().map_or(0, |span| span.start),
                e.message().to_owned(),
            )
        };
        let table = toml::de::DeTable::parse(text).map_err(from_toml)?;
        check_keys(file, text, table.get_ref())?;
        let play: PlayToml = toml::from_str(text).map_err(from_toml)?;
        if !(1..=WINDOW_HOURS_MAX).contains(play.window_hours.get_ref()) {
            return Err(invalid(
                play.window_hours.span().start,
                format!("window-hours is from 1 to {WINDOW_HOURS_MAX}"),
            ));
        }
        if play.steps.len() > STEPS_MAX {
            return Err(PlayError::TooMuch {
                file: file.to_owned(),
                what: "steps",
                max: STEPS_MAX as u64,
            });
        }
        let mut ids = BTreeSet::new();
        if let Some(step) = play
            .steps
            .iter()
            .find(|step| !ids.insert(&step.get_ref().id))
        {
            return Err(invalid(
                step.span().start,
                format!("step {} stands here for the second time", step.get_ref().id),
            ));
        }
        Ok(Self {
            name: name.clone(),
            title: play.title,
            sources: play.sources,
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

/// Looks for misspelled keys before serde does, which can name neither the line nor what was meant.
fn check_keys(file: &str, text: &str, table: &toml::de::DeTable<'_>) -> Result<(), PlayError> {
    check_table(file, text, table, KEYS)?;
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

/// The line, from 1, of the byte at `at`.
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
    fn an_unknown_key_is_named_with_its_line_and_what_was_meant() {
        let refused = parse(&GOOD.replace("sources", "source"))
            .expect_err("misspelled")
            .to_string();
        assert_eq!(
            refused,
            "ours.toml:2: no key is called \"source\" (did you mean \"sources\"?); there are: title, sources, window-hours, pivots, steps"
        );
        let refused = parse(&format!("{GOOD}owner = \"Ann\"\n"))
            .expect_err("not a step's")
            .to_string();
        assert_eq!(
            refused,
            "ours.toml:7: no key is called \"owner\"; there are: id, list, text"
        );
    }

    #[test]
    fn wrong_values_are_named_with_their_line() {
        for (from, to, line) in [
            ("[\"host\"]", "[\"Host\"]", 2),
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
                .starts_with("ours.toml:7: step ours-1 stands")
        );
    }
}
