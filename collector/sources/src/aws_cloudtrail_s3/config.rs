//! `[sources.aws_cloudtrail_s3]`.

use serde::Deserialize;

/// Which trails are captured. Trusted: anyone who edits it decides under which identity.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrailsConfig {
    pub trails: Vec<TrailConfig>,
    /// For each bucket. S3 allows 5,500 for each prefix.
    pub requests_per_second: u32,
}

/// Where a trail delivers its files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrailConfig {
    pub bucket: String,
    /// The bucket's region.
    pub region: String,
    /// What is before `AWSLogs/` in the names of its files.
    #[serde(default)]
    pub prefix: String,
    /// A role to assume with the default credentials.
    #[serde(default)]
    pub role: Option<String>,
    /// A profile of the shared AWS configuration, in place of the default credentials.
    #[serde(default)]
    pub profile: Option<String>,
    /// Accounts to capture; all that have files in the bucket if empty.
    #[serde(default)]
    pub accounts: Vec<String>,
}

impl Default for TrailsConfig {
    fn default() -> Self {
        Self {
            trails: Vec::new(),
            requests_per_second: 200,
        }
    }
}

impl TrailConfig {
    /// Bucket and prefix: what tells one trail from another.
    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.bucket, self.prefix.trim_matches('/'))
    }

    /// The folder of all accounts, with the slash after it.
    pub(super) fn root(&self) -> String {
        match self.prefix.trim_matches('/') {
            "" => "AWSLogs/".to_owned(),
            prefix => format!("{prefix}/AWSLogs/"),
        }
    }
}
