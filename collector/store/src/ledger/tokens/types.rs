//! What the ledger knows of a token: its id, its role, its row.

use std::fmt;
use std::str::FromStr;

use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::serde_as_text;
use evidence_format::time::Timestamp;

/// Hex digits of a [`TokenId`]: 64 bits, so that nobody draws one twice.
const ID_DIGITS: usize = 16;

/// Names a token, and is no secret. 16 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(String);

/// What whoever holds a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenRole {
    /// Declares incidents, and sees how far those are that it has declared.
    Automation,
    /// Everything about incidents and their evidence, but not how bad they are and that they are
    /// over.
    Owner,
    /// What an owner may, and severity, status and closing.
    Commander,
    /// Reads and downloads.
    Auditor,
    /// Everything, tokens among it.
    Admin,
}

/// A token as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Its id.
    pub id: TokenId,
    /// The digest of its secret.
    pub secret_digest: Digest,
    /// What it may do.
    pub role: TokenRole,
    /// Whose it is, for people.
    pub label: String,
    /// The only incident that it may see; `None` is all.
    pub incident: Option<IncidentId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// The text is no id of a token, or no role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseTokenError {
    /// It is no id.
    #[error("{0:?} is no id of a token: 16 digits of 0-9 a-f")]
    Id(String),
    /// It is no role.
    #[error("{text:?} is no role; there are: {}", TokenRole::ALL.map(|(_, word)| word).join(", "))]
    Role {
        /// What it is.
        text: String,
    },
}

impl TokenId {
    /// Hex digits of 8 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; ID_DIGITS / 2]) -> Self {
        Self(data_encoding::HEXLOWER.encode(&bytes))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenId {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let is_id =
            text.len() == ID_DIGITS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if is_id {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseTokenError::Id(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TokenRole {
    const ALL: [(Self, &str); 5] = [
        (Self::Automation, "automation"),
        (Self::Owner, "owner"),
        (Self::Commander, "commander"),
        (Self::Auditor, "auditor"),
        (Self::Admin, "admin"),
    ];

    /// All.
    #[must_use]
    pub fn all() -> [Self; 5] {
        Self::ALL.map(|(role, _)| role)
    }

    /// The word for it, in the ledger and in APIs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .into_iter()
            .find(|(other, _)| *other == self)
            .map(|(_, word)| word)
            .expect("every value has its word")
    }
}

impl FromStr for TokenRole {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let known = Self::ALL
            .into_iter()
            .find(|(_, word)| *word == text)
            .map(|(role, _)| role);
        known.ok_or_else(|| ParseTokenError::Role {
            text: text.chars().take(80).collect(),
        })
    }
}

impl fmt::Display for TokenRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

serde_as_text!(TokenId);
serde_as_text!(TokenRole);

impl TokenRow {
    /// False if it expired or was revoked.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_roles_are_their_texts() {
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
        for (role, word) in TokenRole::ALL {
            assert_eq!((role.to_string().as_str(), word.parse()), (word, Ok(role)));
        }
        let error = "root"
            .parse::<TokenRole>()
            .expect_err("no role")
            .to_string();
        assert_eq!(
            error,
            r#""root" is no role; there are: automation, owner, commander, auditor, admin"#
        );
    }
}
