//! Pivots: the key, user, token or resource that evidence is searched for.

use std::fmt;
use std::str::FromStr;

use evidence_format::safe::safe;
use evidence_format::serde_as_text;

use crate::spelling::{comma_separated, did_you_mean, nearest};

/// Bytes of a pivot's value. The ARN of an assumed role has up to about 230.
pub const PIVOT_BYTES_MAX: usize = 512;

/// What a [`Pivot`] identifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PivotKind {
    /// The public id of an access key: `AKIA…`.
    AccessKey,
    /// A person or a service account.
    User,
    /// A token's id or hash; never the token.
    Token,
    /// A repository: `owner/name`.
    Repository,
    /// A workload in Kubernetes: `namespace/kind/name`.
    Workload,
    /// An action: `ConsoleLogin`.
    EventName,
    /// What was acted on: an ARN, a bucket, a table.
    Resource,
}

/// One thing to search evidence for: everything that this key did, or that was done to this bucket.
/// Text form: `access-key=AKIA…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pivot {
    kind: PivotKind,
    value: String,
}

/// A text is not a pivot.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParsePivotError {
    /// No kind before an `=`. The text is not repeated: it may be a secret that was pasted.
    #[error("this is not a pivot: write it as kind=value, such as access-key=AKIAIOSFODNN7EXAMPLE")]
    NoKind,
    /// No such kind.
    #[error("no pivot is of kind {kind:?}{}; there are: {}", did_you_mean(*nearest), comma_separated(&PivotKind::ALL))]
    UnknownKind {
        kind: String,
        /// The kind that was probably meant.
        nearest: Option<&'static str>,
    },
    /// The value is empty, too long, or has control or invisible characters.
    #[error(
        "the value of pivot {kind} has {bytes} bytes, limit is {PIVOT_BYTES_MAX}, or control characters"
    )]
    Value { kind: PivotKind, bytes: usize },
    /// The value is a secret, which the ledger and requests to providers would then contain.
    #[error(
        "the value of pivot {kind} looks like a secret itself ({prefix}…): give its id, or its SHA-256 in base64"
    )]
    Secret {
        kind: PivotKind,
        /// What the secret was recognised by.
        prefix: &'static str,
    },
}

/// Bytes of a misspelled kind, which an error repeats. What is longer before the `=` is rather a
/// value without a kind, such as a secret in base64.
const KIND_BYTES_MAX: usize = 24;

/// Prefixes of secrets that people paste: tokens of GitHub, GitLab and Slack, private keys, JSON
/// Web Tokens.
const SECRET_PREFIXES: [&str; 11] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "-----BEGIN",
    "eyJhbGciOi",
];

impl PivotKind {
    pub const ALL: [Self; 7] = [
        Self::AccessKey,
        Self::User,
        Self::Token,
        Self::Repository,
        Self::Workload,
        Self::EventName,
        Self::Resource,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessKey => "access-key",
            Self::User => "user",
            Self::Token => "token",
            Self::Repository => "repository",
            Self::Workload => "workload",
            Self::EventName => "event-name",
            Self::Resource => "resource",
        }
    }
}

impl fmt::Display for PivotKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for PivotKind {
    type Err = ParsePivotError;

    fn from_str(text: &str) -> Result<Self, ParsePivotError> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| ParsePivotError::UnknownKind {
            kind: text.chars().take(80).collect(),
            nearest: nearest(text, Self::ALL.map(Self::as_str)),
        })
    }
}

serde_as_text!(PivotKind);

impl Pivot {
    #[must_use]
    pub fn kind(&self) -> PivotKind {
        self.kind
    }

    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for Pivot {
    type Err = ParsePivotError;

    fn from_str(text: &str) -> Result<Self, ParsePivotError> {
        let (kind, value) = text
            .split_once('=')
            .filter(|(kind, _)| kind.trim().len() <= KIND_BYTES_MAX)
            .ok_or(ParsePivotError::NoKind)?;
        // Values copied from a console or a chat have blanks around them.
        let (kind, value) = (kind.trim().parse::<PivotKind>()?, value.trim());
        // Before all other checks: the only useful answer to a secret is not to give it.
        if let Some(prefix) = SECRET_PREFIXES
            .into_iter()
            .find(|prefix| value.starts_with(prefix))
        {
            return Err(ParsePivotError::Secret { kind, prefix });
        }
        // The value is sent to providers and shown on terminals as it is, never escaped.
        if value.is_empty() || value.len() > PIVOT_BYTES_MAX || safe(value) != value {
            return Err(ParsePivotError::Value {
                kind,
                bytes: value.len(),
            });
        }
        Ok(Self {
            kind,
            value: value.to_owned(),
        })
    }
}

impl fmt::Display for Pivot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.value)
    }
}

serde_as_text!(Pivot);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_kind_and_value() {
        let pivot: Pivot = "access-key=AKIAIOSFODNN7EXAMPLE".parse().expect("a pivot");
        assert_eq!(
            (pivot.kind(), pivot.value()),
            (PivotKind::AccessKey, "AKIAIOSFODNN7EXAMPLE")
        );
        assert_eq!(pivot.to_string(), "access-key=AKIAIOSFODNN7EXAMPLE");
        let pivot: Pivot = "resource=arn:aws:s3:::b?x=y"
            .parse()
            .expect("a value may have an =");
        assert_eq!(pivot.value(), "arn:aws:s3:::b?x=y");
        for bad in [
            "access-key",
            "user=",
            "user= ",
            "user=a\u{1b}b",
            &format!("user={}", "x".repeat(513)),
        ] {
            assert!(bad.parse::<Pivot>().is_err(), "{bad:?}");
        }
        let refused = "acces-key=AKIA"
            .parse::<Pivot>()
            .expect_err("misspelled")
            .to_string();
        assert!(
            refused.starts_with(
                "no pivot is of kind \"acces-key\" (did you mean \"access-key\"?); there are:"
            ),
            "{refused}"
        );
    }

    #[test]
    fn rejects_secret_without_repeating_it() {
        for pasted in [
            "token=ghp_0123456789",
            "ghp_0123456789",
            "abcdefghijklmnopqrstuvwxyz0123456789+/==",
        ] {
            let refused = pasted
                .parse::<Pivot>()
                .expect_err("a secret itself")
                .to_string();
            assert!(
                !refused.contains("0123456789"),
                "the error must not repeat it: {refused}"
            );
        }
        assert!(
            "token=-----BEGIN PRIVATE KEY-----"
                .parse::<Pivot>()
                .is_err()
        );
        assert!(
            "token=EjRWeJASNFZ4kBI0VniQEjRWeJASNFZ4kBI0VniQEjQ="
                .parse::<Pivot>()
                .is_ok()
        );
    }
}
