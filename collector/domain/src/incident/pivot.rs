//! Pivots: the key, user, token or resource that evidence is searched for.

use core::net::IpAddr;
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
    /// The IP address that requests came from: `203.0.113.7`.
    Address,
    /// The id of a login session, as the identity provider logs it; never its cookie.
    Session,
    /// The id of an OAuth client.
    Client,
    /// The id that the events of one request share, such as Okta's `transaction.id`.
    Transaction,
    /// The hash of a Git commit, whole or its first 7 digits or more.
    Commit,
    /// A CI workflow, by its file: `.github/workflows/release.yml`.
    Workflow,
    /// An application or an integration, such as a GitHub App, by its id or name.
    App,
    /// A namespace in Kubernetes.
    Namespace,
    /// A node in Kubernetes.
    Node,
    /// A container image by its digest: `sha256:…`.
    Image,
    /// A service account in Kubernetes: `namespace/name`.
    ServiceAccount,
    /// Labels of objects in Kubernetes, as a selector: `app=checkout`.
    Label,
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
    /// The kind's values have a form, and this is none of them.
    #[error("the value of pivot {kind} is not {expected}")]
    Form {
        kind: PivotKind,
        expected: &'static str,
    },
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
/// Web Tokens (`eyJ` is `{"` in base64), and whole values of the header `Authorization`.
const SECRET_PREFIXES: [&str; 18] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "gldt-",
    "glrt-",
    "xapp-",
    "xoxb-",
    "xoxe",
    "xoxp-",
    "-----BEGIN",
    "eyJ",
    "Bearer ",
    "Basic ",
    "SSWS ",
];

/// Characters of an API token of Okta, which begins with `00` as Okta's ids do; ids have 20.
const OKTA_TOKEN_CHARS: usize = 42;
/// Hex digits of a commit: Git abbreviates to 7, and SHA-256 has 64.
const COMMIT_DIGITS: std::ops::RangeInclusive<usize> = 7..=64;

impl PivotKind {
    pub const ALL: [Self; 19] = [
        Self::AccessKey,
        Self::User,
        Self::Token,
        Self::Repository,
        Self::Workload,
        Self::EventName,
        Self::Resource,
        Self::Address,
        Self::Session,
        Self::Client,
        Self::Transaction,
        Self::Commit,
        Self::Workflow,
        Self::App,
        Self::Namespace,
        Self::Node,
        Self::Image,
        Self::ServiceAccount,
        Self::Label,
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
            Self::Address => "address",
            Self::Session => "session",
            Self::Client => "client",
            Self::Transaction => "transaction",
            Self::Commit => "commit",
            Self::Workflow => "workflow",
            Self::App => "app",
            Self::Namespace => "namespace",
            Self::Node => "node",
            Self::Image => "image",
            Self::ServiceAccount => "service-account",
            Self::Label => "label",
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
        if let Some(prefix) = secret_prefix(value) {
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
            value: checked_form(kind, value)?,
        })
    }
}

/// What tells that `value` is a secret; `None` if nothing does.
fn secret_prefix(value: &str) -> Option<&'static str> {
    let is_okta_token = value.len() == OKTA_TOKEN_CHARS
        && value.starts_with("00")
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    SECRET_PREFIXES
        .into_iter()
        .chain(is_okta_token.then_some("00"))
        .find(|prefix| value.starts_with(prefix))
}

/// The value as providers write it, where they all write it alike.
fn checked_form(kind: PivotKind, value: &str) -> Result<String, ParsePivotError> {
    let form = |expected| ParsePivotError::Form { kind, expected };
    match kind {
        // A provider compares texts: `::0001` would find nothing.
        PivotKind::Address => value
            .parse::<IpAddr>()
            .map(|address| address.to_canonical().to_string())
            .map_err(|_| form("an IP address, such as 203.0.113.7")),
        PivotKind::Commit => {
            let is_hash = COMMIT_DIGITS.contains(&value.len())
                && value.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hash
                .then(|| value.to_ascii_lowercase())
                .ok_or(form("the hash of a commit: 7 to 64 hex digits"))
        }
        PivotKind::Image => {
            let is_digest = value
                .strip_prefix("sha256:")
                .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
            is_digest
                .then(|| value.to_ascii_lowercase())
                .ok_or(form("the digest of an image: sha256: and 64 hex digits"))
        }
        PivotKind::ServiceAccount => value
            .split_once('/')
            .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
            .map(|_| value.to_owned())
            .ok_or(form("a service account, such as namespace/name")),
        PivotKind::AccessKey
        | PivotKind::User
        | PivotKind::Token
        | PivotKind::Repository
        | PivotKind::Workload
        | PivotKind::EventName
        | PivotKind::Resource
        | PivotKind::Session
        | PivotKind::Client
        | PivotKind::Transaction
        | PivotKind::Workflow
        | PivotKind::App
        | PivotKind::Namespace
        | PivotKind::Node
        | PivotKind::Label => Ok(value.to_owned()),
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
    fn every_kind_takes_its_documented_form() {
        let digest = "a".repeat(64);
        for (text, value) in [
            ("address= 2001:DB8::0001", "2001:db8::1"),
            ("address=::ffff:203.0.113.7", "203.0.113.7"),
            ("commit=0A1B2C3", "0a1b2c3"),
            (
                "workflow=.github/workflows/release.yml",
                ".github/workflows/release.yml",
            ),
            ("service-account=ci/deployer", "ci/deployer"),
            ("session=102Yjk0_6ZkQ9OQ", "102Yjk0_6ZkQ9OQ"),
            ("user=00u1a2b3c4D5E6F7G8h9", "00u1a2b3c4D5E6F7G8h9"),
            (
                &format!("image=sha256:{digest}"),
                &format!("sha256:{digest}"),
            ),
        ] {
            assert_eq!(text.parse::<Pivot>().expect("a pivot").value(), value);
        }
        for bad in [
            "address=mail@example.com",
            "address=203.0.113.0/24",
            "commit=main",
            "commit=0a1b2c",
            "image=nginx:latest",
            "service-account=deployer",
            "service-account=/deployer",
        ] {
            let error = bad.parse::<Pivot>().expect_err("another form");
            assert!(
                matches!(error, ParsePivotError::Form { .. }),
                "{bad}: {error}"
            );
        }
        for kind in PivotKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
    }

    #[test]
    fn rejects_secret_without_repeating_it() {
        for pasted in [
            "token=ghp_0123456789",
            "session=eyJraWQiOiJ0123456789",
            "client=SSWS 0123456789",
            "app=00abcdefghijklmnopqrstuvwxyzABCDEF01234567",
            "commit=Bearer 0123456789",
            "ghp_0123456789",
            "abcdefghijklmnopqrstuvwxyz0123456789+/==",
        ] {
            let refused = pasted
                .parse::<Pivot>()
                .expect_err("a secret itself")
                .to_string();
            assert!(
                !refused.contains("01234567"),
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
