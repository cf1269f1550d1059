//! Names that the program itself gives a meaning: of sources, plays, checklist steps, pivots; and help with misspelled ones.

use std::fmt;
use std::str::FromStr;

use evidence_format::safe::safe;
use evidence_format::serde_as_text;

/// Bytes of such a name: the longest of ours has 18.
const NAME_BYTES_MAX: usize = 32;
/// Bytes of a pivot's value: an ARN of an assumed role has up to about 230.
pub const PIVOT_BYTES_MAX: usize = 512;
/// Wrong, missing or swapped letters up to which a known name is offered in place of an unknown one.
const TYPING_ERRORS_MAX: usize = 3;

/// A source of evidence: `aws_cloudtrail`. `[a-z][a-z0-9_]{0,31}`; sealed into evidence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName(String);

/// A response play: `leaked-secret`. `[a-z][a-z0-9-]{0,31}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlayName(String);

/// A step of a checklist: `leaked-secret-3`. `[a-z][a-z0-9-]{0,31}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(String);

/// A text is not such a name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a {what}: a letter of a-z, then at most 31 of {more}")]
pub struct ParseNameError {
    what: &'static str,
    more: &'static str,
    text: String,
}

fn parse(text: &str, what: &'static str, separator: u8, more: &'static str) -> Result<String, ParseNameError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == separator;
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if begins && text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed) {
        return Ok(text.to_owned());
    }
    Err(ParseNameError { what, more, text: text.chars().take(80).collect() })
}

impl SourceName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PlayName {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl StepId {
    /// The text.
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

/// What a [`Pivot`] is about.
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
    /// What runs: `namespace/kind/name`.
    Workload,
    /// What was done: `ConsoleLogin`.
    EventName,
    /// What it was done to: an ARN, a bucket, a table.
    Resource,
}

/// One thing that evidence is asked for: everything that this key did, everything that was done to this bucket.
/// Text form: `access-key=AKIA…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pivot {
    kind: PivotKind,
    value: String,
}

/// A text is not a pivot.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParsePivotError {
    /// No `=`.
    #[error("{text:?} is not a pivot: write it as kind=value, such as access-key=AKIAIOSFODNN7EXAMPLE")]
    NoValue {
        /// Its beginning, escaped.
        text: String,
    },
    /// No pivot of this kind.
    #[error("no pivot is of kind {kind:?}{}; there are: {}", meant(*nearest), PivotKind::ALL.map(PivotKind::as_str).join(", "))]
    UnknownKind {
        /// What was given.
        kind: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// Nothing, too much, or characters that cannot be seen.
    #[error("the value of pivot {kind} has {bytes} bytes, limit is {PIVOT_BYTES_MAX}, or control characters")]
    Value {
        /// Its kind.
        kind: PivotKind,
        /// Bytes of the value.
        bytes: usize,
    },
    /// It would be written into the ledger and into requests.
    #[error("the value of pivot {kind} looks like a secret itself ({prefix}…): give its id, or its SHA-256 in base64")]
    Secret {
        /// Its kind.
        kind: PivotKind,
        /// By what it was known.
        prefix: &'static str,
    },
}

/// How secrets begin that people paste: GitHub's and GitLab's tokens, Slack's, private keys, JSON Web Tokens.
const SECRET_PREFIXES: [&str; 11] =
    ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "-----BEGIN", "eyJhbGciOi"];

impl PivotKind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::AccessKey, Self::User, Self::Token, Self::Repository, Self::Workload, Self::EventName, Self::Resource];

    /// As it is written.
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
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> PivotKind {
        self.kind
    }

    /// What is looked for.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for Pivot {
    type Err = ParsePivotError;

    fn from_str(text: &str) -> Result<Self, ParsePivotError> {
        let no_value = || ParsePivotError::NoValue { text: safe(&text.chars().take(80).collect::<String>()) };
        let (kind, value) = text.split_once('=').ok_or_else(no_value)?;
        let (kind, value) = (kind.trim().parse::<PivotKind>()?, value.trim());
        if let Some(prefix) = SECRET_PREFIXES.into_iter().find(|prefix| value.starts_with(prefix)) {
            return Err(ParsePivotError::Secret { kind, prefix });
        }
        if value.is_empty() || value.len() > PIVOT_BYTES_MAX || safe(value) != value {
            return Err(ParsePivotError::Value { kind, bytes: value.len() });
        }
        Ok(Self { kind, value: value.to_owned() })
    }
}

impl fmt::Display for Pivot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.value)
    }
}

serde_as_text!(Pivot);

/// The known name that `word` is probably a misspelling of.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word: Vec<char> = word.chars().take(2 * NAME_BYTES_MAX).collect();
    let allowed = TYPING_ERRORS_MAX.min(word.len().div_ceil(2));
    let distances = known.into_iter().map(|name| (distance(&word, &name.chars().collect::<Vec<_>>()), name));
    distances.filter(|(distance, _)| *distance <= allowed).min().map(|(_, name)| name)
}

/// `, did you mean "x"?` as part of an error, or nothing.
pub(crate) fn meant(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (did you mean {name:?}?)")).unwrap_or_default()
}

/// Letters to put in, take out, change or swap with their neighbour (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                rows[i][j] = i + j;
                continue;
            }
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        for good in ["host", "aws_cloudtrail", "s3"] {
            assert_eq!(good.parse::<SourceName>().expect("a source").as_str(), good);
        }
        for bad in ["", "Host", "3com", "aws-cloudtrail", "a b", "../x", &"x".repeat(33)] {
            assert!(bad.parse::<SourceName>().is_err(), "{bad:?}");
        }
        assert!("leaked-secret".parse::<PlayName>().is_ok());
        assert!("leaked_secret".parse::<PlayName>().is_err());
    }

    #[test]
    fn a_pivot_is_a_kind_and_a_value() {
        let pivot: Pivot = "access-key=AKIAIOSFODNN7EXAMPLE".parse().expect("a pivot");
        assert_eq!((pivot.kind(), pivot.value()), (PivotKind::AccessKey, "AKIAIOSFODNN7EXAMPLE"));
        assert_eq!(pivot.to_string(), "access-key=AKIAIOSFODNN7EXAMPLE");
        let pivot: Pivot = "resource=arn:aws:s3:::b?x=y".parse().expect("a value may have an =");
        assert_eq!(pivot.value(), "arn:aws:s3:::b?x=y");
        for bad in ["access-key", "user=", "user= ", "user=a\u{1b}b", &format!("user={}", "x".repeat(513))] {
            assert!(bad.parse::<Pivot>().is_err(), "{bad:?}");
        }
        let refused = "acces-key=AKIA".parse::<Pivot>().expect_err("misspelled").to_string();
        assert!(refused.starts_with("no pivot is of kind \"acces-key\" (did you mean \"access-key\"?); there are:"), "{refused}");
    }

    #[test]
    fn a_secret_is_no_pivot() {
        let refused = "token=ghp_0123456789".parse::<Pivot>().expect_err("a token itself").to_string();
        assert!(!refused.contains("0123456789"), "the error must not repeat it: {refused}");
        assert!("token=-----BEGIN PRIVATE KEY-----".parse::<Pivot>().is_err());
        assert!("token=EjRWeJASNFZ4kBI0VniQEjRWeJASNFZ4kBI0VniQEjQ=".parse::<Pivot>().is_ok());
    }

    #[test]
    fn the_nearest_name_is_offered_and_no_distant_one() {
        let known = ["host", "okta", "entra", "kubernetes"];
        assert_eq!(nearest("kuberntes", known), Some("kubernetes"));
        assert_eq!(nearest("otka", known), Some("okta"));
        assert_eq!(nearest("zzzzzz", known), None);
        assert_eq!(nearest("", known), None);
    }
}
