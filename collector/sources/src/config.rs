//! What can be said about sources in `exhibit.toml`.

use serde::Deserialize;

/// `[sources]`. Trusted: whoever edits it decides what evidence is taken, and as whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct SourcesConfig {
    /// `[sources.aws_cloudtrail]`.
    #[serde(rename = "aws_cloudtrail")] // sources keep the name that evidence has for them
    pub aws_cloudtrail: AwsConfig,
    /// `[sources.host]`.
    pub host: HostConfig,
}

/// `[sources.aws_cloudtrail]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct AwsConfig {
    /// False: it is not asked.
    pub enabled: bool,
    /// Roles to assume from the default credentials, one for each further account.
    pub roles: Vec<String>,
    /// Profiles of the shared AWS configuration; absent is all of them.
    pub profiles: Option<Vec<String>>,
    /// Regions; absent is all that each account has enabled.
    pub regions: Option<Vec<String>>,
    /// Requests a second for each account and region. AWS allows 2.
    pub requests_per_second: u32,
}

impl Default for AwsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            roles: Vec::new(),
            profiles: None,
            regions: None,
            requests_per_second: 2,
        }
    }
}

/// `[sources.host]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostConfig {
    /// False: the collector's own machine is not captured.
    pub enabled: bool,
    /// Take the values of environment variables too, which often are passwords.
    pub environment_values: bool,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            environment_values: false,
        }
    }
}
