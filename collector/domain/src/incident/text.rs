//! Texts that people and programs write into an incident, each with its limit.
//!
//! They are shown on terminals, in chats and on web pages, and an attacker controls some of them
//! (file names, error messages of a provider). Parsing therefore rejects characters that control a
//! terminal, forge a line, or are invisible (see [`evidence_format::safe`]).

use std::fmt;
use std::str::FromStr;

use evidence_format::safe::{is_unsafe, safe};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of a [`Name`]. Longer names of people, systems and incidents break every table; 128 bytes
/// still hold 42 Chinese characters.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of a [`Line`]: a long sentence or two. Longer texts are a [`Prose`] or an attachment.
pub const LINE_BYTES_MAX: usize = 1024;
/// Bytes of a [`Prose`]: a few pages. An incident with 10,000 such notes still fits into memory.
pub const PROSE_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a rejected text that its error shows.
const SHOWN_BYTES_MAX: usize = 60;

/// A text of 1 to `BYTES_MAX` bytes, trimmed, without unsafe characters. It has line ends and tabs
/// only if `LINES`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoundedText<const BYTES_MAX: usize, const LINES: bool>(String);

/// The name of a person, a system or an incident.
pub type Name = BoundedText<NAME_BYTES_MAX, false>;
/// One line: a reason, an action, an impact.
pub type Line = BoundedText<LINE_BYTES_MAX, false>;
/// One or more lines: a note.
pub type Prose = BoundedText<PROSE_BYTES_MAX, true>;

/// A text was rejected.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TextError {
    /// Nothing but white space.
    #[error("text is empty")]
    Empty,
    #[error("text has {bytes} bytes, limit is {bytes_max}")]
    TooLong { bytes: usize, bytes_max: usize },
    /// A terminal would interpret the character, or nobody would see it.
    #[error("text has the control or invisible character {character}: {text}")]
    Unsafe {
        /// Escaped.
        character: String,
        /// The start of the text, escaped.
        text: String,
    },
}

impl<const BYTES_MAX: usize, const LINES: bool> BoundedText<BYTES_MAX, LINES> {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Accepts any text of a machine: escapes unsafe characters, cuts what is too long and ends it
    /// in `…`, and replaces an empty text by `(empty)`. For what people type use [`str::parse`],
    /// which rejects such texts.
    #[must_use]
    pub fn escaped(text: &str) -> Self {
        // `safe` would escape line ends too.
        let lines: Vec<String> = if LINES {
            text.lines().map(safe).collect()
        } else {
            vec![safe(text)]
        };
        let whole = lines.join("\n").trim().to_owned();
        // A text is never empty, and what a machine says must not be rejected for its form.
        if whole.is_empty() {
            return Self("(empty)".to_owned());
        }
        if whole.len() <= BYTES_MAX {
            return Self(whole);
        }
        // Never inside a character, and with room for the ellipsis.
        let end = whole.floor_char_boundary(BYTES_MAX - '…'.len_utf8());
        Self(format!("{}…", whole[..end].trim_end()))
    }

    fn is_forbidden(c: char) -> bool {
        is_unsafe(c) && !(LINES && matches!(c, '\n' | '\t'))
    }
}

impl<const BYTES_MAX: usize, const LINES: bool> FromStr for BoundedText<BYTES_MAX, LINES> {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TextError::Empty);
        }
        // After trimming: blanks around a pasted text are nobody's fault.
        if text.len() > BYTES_MAX {
            return Err(TextError::TooLong {
                bytes: text.len(),
                bytes_max: BYTES_MAX,
            });
        }
        match text.chars().find(|c| Self::is_forbidden(*c)) {
            Some(c) => Err(TextError::Unsafe {
                character: safe(&c.to_string()),
                text: beginning(text),
            }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// The text of `value`, or `otherwise`.
pub(super) fn or<T: fmt::Display>(value: Option<&T>, otherwise: &str) -> String {
    value.map_or_else(|| otherwise.to_owned(), ToString::to_string)
}

fn beginning(text: &str) -> String {
    safe(&text[..text.floor_char_boundary(SHOWN_BYTES_MAX)])
}

impl<const BYTES_MAX: usize, const LINES: bool> fmt::Display for BoundedText<BYTES_MAX, LINES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const BYTES_MAX: usize, const LINES: bool> fmt::Debug for BoundedText<BYTES_MAX, LINES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<const BYTES_MAX: usize, const LINES: bool> Serialize for BoundedText<BYTES_MAX, LINES> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de, const BYTES_MAX: usize, const LINES: bool> Deserialize<'de>
    for BoundedText<BYTES_MAX, LINES>
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_refused() {
        for bad in ["a\u{1b}[31mb", "a\nb", "a\u{202e}b", "a\0b", "a\u{200b}b"] {
            assert!(
                matches!(bad.parse::<Line>(), Err(TextError::Unsafe { .. })),
                "{bad:?}"
            );
        }
        let refused = "rm\u{1b}[2J"
            .parse::<Name>()
            .expect_err("an escape sequence");
        assert_eq!(
            refused.to_string(),
            r"text has the control or invisible character \u{1b}: rm\u{1b}[2J"
        );
        assert_eq!(
            "a\n\tb"
                .parse::<Prose>()
                .expect("lines are allowed")
                .as_str(),
            "a\n\tb"
        );
        assert!("a\rb".parse::<Prose>().is_err());
    }

    #[test]
    fn length_is_limited_in_bytes() {
        assert_eq!("".parse::<Name>(), Err(TextError::Empty));
        assert_eq!(" \n ".parse::<Prose>(), Err(TextError::Empty));
        assert_eq!(
            " Ann "
                .parse::<Name>()
                .expect("blanks at the ends go")
                .as_str(),
            "Ann"
        );
        assert!("x".repeat(NAME_BYTES_MAX).parse::<Name>().is_ok());
        assert_eq!(
            "é".repeat(65).parse::<Name>(),
            Err(TextError::TooLong {
                bytes: 130,
                bytes_max: 128
            })
        );
    }

    #[test]
    fn escaped_accepts_any_text() {
        assert_eq!(Line::escaped("403\n\u{1b}[0m").as_str(), r"403\n\u{1b}[0m");
        assert_eq!(Prose::escaped("a\r\nb\u{7}").as_str(), "a\nb\\u{7}");
        assert_eq!(Line::escaped("  ").as_str(), "(empty)");
        for text in [
            "é".repeat(1000),
            "\u{1b}".repeat(1000),
            "a\u{202e}\r".to_owned(),
        ] {
            let escaped = Name::escaped(&text);
            assert_eq!(
                escaped.as_str().parse::<Name>().as_ref(),
                Ok(&escaped),
                "an escaped text is a text"
            );
        }
    }

    #[test]
    fn json_is_parsed_as_strictly_as_text() {
        assert!(serde_json::from_str::<Line>(r#""a\u001bb""#).is_err());
        assert_eq!(
            serde_json::from_str::<Line>(r#""a""#).expect("a line"),
            "a".parse().expect("a line")
        );
    }
}
