//! Tokens of the API: their ids, their roles, and the labels that name their owners.

use std::fmt;
use std::str::FromStr;

use evidence_format::serde_as_text;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::incident::BoundedText;

/// Bytes of a label. With the token's id behind it, it still fits into a
/// [`Name`](crate::incident::Name) of the journal.
pub const LABEL_BYTES_MAX: usize = 64;
/// 64 bits, so that no two random ids are equal.
const ID_DIGITS: usize = 16;
/// How much of an invalid text its error repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// Describes a token's owner.
pub type TokenLabel = BoundedText<LABEL_BYTES_MAX, false>;

/// A token's id, which is no secret: 16 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(String);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a token's id: expected 16 digits of 0-9 a-f")]
pub struct ParseTokenIdError {
    text: String,
}

impl TokenId {
    #[must_use]
    pub fn from_random(bytes: [u8; ID_DIGITS / 2]) -> Self {
        Self(data_encoding::HEXLOWER.encode(&bytes))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenId {
    type Err = ParseTokenIdError;

    fn from_str(text: &str) -> Result<Self, ParseTokenIdError> {
        // Upper case is rejected: an id in a log has one spelling to search for.
        let is_id =
            text.len() == ID_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_id {
            Ok(Self(text.to_owned()))
        } else {
            let text = text.chars().take(SHOWN_CHARS_MAX).collect();
            Err(ParseTokenIdError { text })
        }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(TokenId);

/// What the holder of a token may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum TokenRole {
    /// Declares incidents, and sees the status of those that it has declared.
    Automation,
    /// Works on incidents and evidence, without changing severity or status.
    Owner,
    /// An owner who may also change severity and status, and close incidents.
    Commander,
    /// Reads and downloads.
    Auditor,
    /// May do everything, and manages tokens.
    Admin,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a role; there are: {}", TokenRole::ALL.map(TokenRole::as_str).join(", "))]
pub struct ParseTokenRoleError {
    text: String,
}

impl TokenRole {
    pub const ALL: [Self; 5] = [
        Self::Automation,
        Self::Owner,
        Self::Commander,
        Self::Auditor,
        Self::Admin,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Automation => "automation",
            Self::Owner => "owner",
            Self::Commander => "commander",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for TokenRole {
    type Err = ParseTokenRoleError;

    fn from_str(text: &str) -> Result<Self, ParseTokenRoleError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| ParseTokenRoleError {
                text: text.chars().take(SHOWN_CHARS_MAX).collect(),
            })
    }
}

impl fmt::Display for TokenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_ids_are_sixteen_hex_digits() {
        let id = TokenId::from_random([0xab; 8]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "abababababababa",
            "ababababababababa",
            "ABABABABABABABAB",
            "abababababababa\n",
        ] {
            assert!(bad.parse::<TokenId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn token_roles_are_written_as_they_are_read() {
        for role in TokenRole::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).expect("JSON"), role.as_str());
        }
        let error = "root"
            .parse::<TokenRole>()
            .expect_err("no role")
            .to_string();
        assert_eq!(
            error,
            r#""root" is not a role; there are: automation, owner, commander, auditor, admin"#
        );
    }
}
