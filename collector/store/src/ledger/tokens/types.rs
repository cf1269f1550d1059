//! API tokens: id, role, row.

use std::fmt;
use std::str::FromStr;

use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::serde_as_text;
use evidence_format::time::Timestamp;

/// Hex digits of a [`TokenId`]: 64 random bits, so that no two tokens get the same one.
const ID_DIGITS: usize = 16;

/// Names a token; not secret. Text form: 16 lowercase hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(String);

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenRole {
    /// Declares incidents, and reads the progress of those that it has declared.
    Automation,
    /// Works on incidents and their evidence, except for severity, status and closing.
    Owner,
    /// An owner who may also change severity and status, and close incidents.
    Commander,
    /// Only reads and downloads.
    Auditor,
    /// May do everything, including the management of tokens.
    Admin,
}

/// A token as the ledger stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    pub id: TokenId,
    pub secret_digest: Digest,
    pub role: TokenRole,
    /// Tells people whose token it is.
    pub label: String,
    /// The only incident that it may see; `None` for all.
    pub incident: Option<IncidentId>,
    pub created_at: Timestamp,
    /// The token is invalid from this time on.
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

/// The text is not a token id, or not a role.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseTokenError {
    #[error("{0:?} is not a token id: expected 16 digits of 0-9 a-f")]
    Id(String),
    #[error("{text:?} is not a role; there are: {}", TokenRole::ALL.map(|(_, name)| name).join(", "))]
    Role { text: String },
}

impl TokenId {
    /// Makes the id of a new token from random bytes.
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

    #[must_use]
    pub fn all() -> [Self; 5] {
        Self::ALL.map(|(role, _)| role)
    }

    /// Its name in the ledger and in APIs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .into_iter()
            .find(|(other, _)| *other == self)
            .map(|(_, name)| name)
            .expect("every role has its name")
    }
}

impl FromStr for TokenRole {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let known = Self::ALL
            .into_iter()
            .find(|(_, name)| *name == text)
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
    /// False if it has expired or was revoked.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_roles_parse_from_their_texts() {
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
            .expect_err("not a role")
            .to_string();
        assert_eq!(
            error,
            r#""root" is not a role; there are: automation, owner, commander, auditor, admin"#
        );
    }
}
