//! `[blobs]` in collector.toml.

use std::fmt;
use std::num::NonZeroU32;
use std::path::Path;

use serde::Deserialize;

/// Default of [`S3Config::cache_bytes_max`]: some hundred bundles of a usual size.
const CACHE_BYTES_MAX: u64 = 1 << 30;

/// Where objects are stored. Trusted: anyone who edits it decides where evidence goes and how long
/// it is protected.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BlobsConfig {
    /// An absolute path, or `s3://bucket` or `s3://bucket/prefix`. The bucket should have a
    /// lifecycle rule that aborts unfinished uploads after a day, because a killed collector leaves
    /// some. If the bucket is versioned, another rule should expire noncurrent versions, because a
    /// deleted staged page becomes one. No rule can remove a locked object.
    pub location: String,
    /// Access to the bucket. Absent values come from the usual `AWS_*` variables; credentials also
    /// from the metadata services of AWS machines and containers.
    #[serde(default)]
    pub s3: S3Config,
    /// Locks sealed bundles. The bucket must have been created with Object Lock.
    pub lock: Option<LockConfig>,
}

impl BlobsConfig {
    /// Stores objects in the folder `path` of this machine, without a lock.
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
    /// URL of the service, without the bucket. Default: AWS's own for the region.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// Needs the rights `s3:PutObject`, `s3:GetObject`, `s3:ListBucket`, `s3:AbortMultipartUpload`,
    /// and `s3:DeleteObject` for staged pages; with a lock also `s3:PutObjectRetention`,
    /// `s3:GetObjectRetention`, `s3:PutObjectLegalHold`, `s3:GetObjectLegalHold` and
    /// `s3:GetBucketObjectLockConfiguration`. Never `s3:BypassGovernanceRetention`.
    pub access_key_id: Option<String>,
    pub secret_access_key: Option<Secret>,
    /// Timeout of one request, in seconds. Default: 30.
    pub request_seconds_max: Option<NonZeroU32>,
    /// Bytes of bundles of which this machine keeps copies in the store's folder `cache`, the last
    /// sealed ones, to be read while the bucket is away. Default: 1 GiB; 0 for none.
    pub cache_bytes_max: Option<u64>,
}

impl S3Config {
    /// [`S3Config::cache_bytes_max`], or its default.
    #[must_use]
    pub fn cache_bytes_max(&self) -> u64 {
        self.cache_bytes_max.unwrap_or(CACHE_BYTES_MAX)
    }
}

/// `[blobs.lock]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockConfig {
    pub retention: Option<RetentionConfig>,
    /// Also place a legal hold, which lasts until somebody lifts it.
    #[serde(default)]
    pub legal_hold: bool,
}

/// `[blobs.lock.retention]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RetentionConfig {
    pub mode: LockMode,
    /// Days after the bundle was stored.
    pub days: NonZeroU32,
}

/// Who can lift a lock before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockMode {
    /// Users with the right `s3:BypassGovernanceRetention`.
    Governance,
    /// Nobody, not even the root user of the account.
    Compliance,
}

impl LockMode {
    /// Its name in S3.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Governance, Self::Compliance]
            .into_iter()
            .find(|mode| mode.as_str() == name)
    }
}

/// A text that `Debug` does not print.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    #[cfg(test)]
    pub(super) fn new(text: &str) -> Self {
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
