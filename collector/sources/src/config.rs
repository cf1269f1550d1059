//! The `[sources]` section of `exhibit.toml`.

use serde::Deserialize;

pub use crate::github::GitHubConfig;
pub use crate::gitlab::GitLabConfig;
pub use crate::okta::{OktaConfig, OktaOrg};

/// `[sources]`. Trusted: anyone who edits it decides what evidence is captured, and under which
/// identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct SourcesConfig {
    #[serde(rename = "aws_cloudtrail")] // sections are called as their sources are in evidence
    pub aws_cloudtrail: AwsConfig,
    pub github: GitHubConfig,
    pub(crate) host: HostConfig,
    pub okta: OktaConfig,
    pub gitlab: GitLabConfig,
}

/// `[sources.aws_cloudtrail]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct AwsConfig {
    pub enabled: bool,
    /// Roles to assume from the default credentials, one for each further account.
    pub roles: Vec<String>,
    /// Profiles of the shared AWS configuration; all of them if absent.
    pub profiles: Option<Vec<String>>,
    /// Regions; all that each account has enabled if absent.
    pub regions: Option<Vec<String>>,
    /// For each account and region. AWS allows 2.
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

/// `[sources.host]`: the collector's own machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct HostConfig {
    pub(crate) enabled: bool,
    /// Capture the values of environment variables too. They often are passwords.
    pub(crate) environment_values: bool,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            environment_values: false,
        }
    }
}
