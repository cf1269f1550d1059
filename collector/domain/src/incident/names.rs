//! Names of sources, plays and checklist steps.

use std::fmt;
use std::str::FromStr;

use evidence_format::serde_as_text;

/// Bytes of a name. The longest built-in one has 18.
const NAME_BYTES_MAX: usize = 32;

/// The name of an evidence source: `aws_cloudtrail`. `[a-z][a-z0-9_]{0,31}`; sealed into evidence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(String);

/// The name of a response play: `leaked-secret`. `[a-z][a-z0-9-]{0,31}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlayName(String);

/// The id of a checklist step: `leaked-secret-3`. `[a-z][a-z0-9-]{0,31}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(String);

/// The play of incidents that name none.
pub(super) const GENERAL: &str = "general";

/// A text is not a name of the wanted kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a {what}: a letter of a-z, then at most 31 of {more}")]
pub struct ParseNameError {
    what: &'static str,
    more: &'static str,
    text: String,
}

fn parse(
    text: &str,
    what: &'static str,
    separator: u8,
    more: &'static str,
) -> Result<String, ParseNameError> {
    // A name that begins with a digit or `-` could be read as a number or an option.
    let starts_with_letter = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let is_spelled_right = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == separator);
    if starts_with_letter && is_spelled_right && text.len() <= NAME_BYTES_MAX {
        return Ok(text.to_owned());
    }
    Err(ParseNameError {
        what,
        more,
        text: text.chars().take(80).collect(),
    })
}

impl SourceName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `general`: the play for incidents of which little is known.
impl Default for PlayName {
    fn default() -> Self {
        Self(GENERAL.to_owned())
    }
}

impl PlayName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl StepId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SourceName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        parse(text, "source", b'_', "a-z 0-9 _").map(Self)
    }
}

impl FromStr for PlayName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        parse(text, "play", b'-', "a-z 0-9 -").map(Self)
    }
}

impl FromStr for StepId {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        parse(text, "checklist step", b'-', "a-z 0-9 -").map(Self)
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for PlayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(SourceName);
serde_as_text!(PlayName);
serde_as_text!(StepId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_other_characters_and_lengths() {
        for good in ["host", "aws_cloudtrail", "s3"] {
            assert_eq!(good.parse::<SourceName>().expect("a source").as_str(), good);
        }
        for bad in [
            "",
            "Host",
            "3com",
            "aws-cloudtrail",
            "a b",
            "../x",
            &"x".repeat(33),
        ] {
            assert!(bad.parse::<SourceName>().is_err(), "{bad:?}");
        }
        assert!("leaked-secret".parse::<PlayName>().is_ok());
        assert!("leaked_secret".parse::<PlayName>().is_err());
    }
}
