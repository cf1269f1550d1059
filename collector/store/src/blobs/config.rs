//! `[blobs]` in the collector's configuration.

use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;

use serde::Deserialize;

/// Where objects are kept. Trusted: whoever edits it decides where evidence goes, and for how long
/// it stays.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BlobsConfig {
    /// An absolute path, or `s3://bucket` or `s3://bucket/prefix`. A bucket should have lifecycle
    /// rules that abort unfinished uploads after a day, for a collector that is killed leaves them;
    /// and, if it keeps versions, that expire noncurrent ones, for staged pages that were removed
    /// live on as such. No rule can remove what is locked.
    pub location: String,
    /// How the bucket is reached. What is absent here is taken from the usual `AWS_*` variables,
    /// and credentials also from where AWS gives them to machines and containers.
    #[serde(default)]
    pub s3: S3Config,
    /// How sealed bundles are locked in the bucket, which must have been created with Object Lock.
    pub lock: Option<LockConfig>,
}

impl BlobsConfig {
    /// A folder of this machine.
    #[must_use]
    pub fn folder(path: &Path) -> Self {
        Self {
            location: path.display().to_string(),
            s3: S3Config::default(),
            lock: None,
        }
    }
}

/// `[blobs.s3]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct S3Config {
    /// The URL of the service, without the bucket; absent, AWS's own for the region.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Who asks. Needs `s3:PutObject`, `s3:GetObject`, `s3:ListBucket`, `s3:AbortMultipartUpload`,
    /// and `s3:DeleteObject` for staged pages; with a lock also `s3:PutObjectRetention`,
    /// `s3:GetObjectRetention`, `s3:PutObjectLegalHold`, `s3:GetObjectLegalHold` and
    /// `s3:GetBucketObjectLockConfiguration`. Never `s3:BypassGovernanceRetention`.
    pub access_key_id: Option<String>,
    /// Its secret.
    pub secret_access_key: Option<Secret>,
    /// How many seconds one request may take; 30 if absent.
    pub request_seconds_max: Option<NonZeroU32>,
}

/// `[blobs.lock]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockConfig {
    /// For how long.
    pub retention: Option<RetentionConfig>,
    /// Until somebody lifts it.
    #[serde(default)]
    pub legal_hold: bool,
}

/// `[blobs.lock.retention]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RetentionConfig {
    /// Against whom.
    pub mode: LockMode,
    /// Days from when the bundle is stored.
    pub days: NonZeroU32,
}

/// Against whom a lock holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockMode {
    /// All but those who have `s3:BypassGovernanceRetention`.
    Governance,
    /// Everybody, the root of the account included.
    Compliance,
}

impl LockMode {
    /// The word of S3.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    /// From the word of S3.
    pub(super) fn parse(word: &str) -> Option<Self> {
        [Self::Governance, Self::Compliance]
            .into_iter()
            .find(|mode| mode.as_str() == word)
    }
}

/// A text that is not printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
