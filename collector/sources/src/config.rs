//! The `[sources]` section of `exhibit.toml`.

use serde::Deserialize;

pub use crate::github::GitHubConfig;
pub use crate::gitlab::GitLabConfig;
pub use crate::kubernetes::config::KubernetesConfig;
pub use crate::okta::{OktaConfig, OktaOrg};
use crate::recorder::RESERVED_PERCENT;

/// Captures must not come to a stop by a setting.
const RESERVED_PERCENT_MAX: u32 = 90;

/// `[sources]`. Trusted: anyone who edits it decides what evidence is captured, and under which
/// identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct SourcesConfig {
    /// Percentage of each limit that a provider states that is left to others, such as the
    /// customer's own tools, which need it during an incident too.
    pub(crate) reserved_percent: ReservedPercent,
    #[serde(rename = "aws_cloudtrail")] // sections are called as their sources are in evidence
    pub aws_cloudtrail: AwsConfig,
    pub github: GitHubConfig,
    pub(crate) host: HostConfig,
    pub kubernetes: KubernetesConfig,
    pub okta: OktaConfig,
    pub gitlab: GitLabConfig,
}

/// See [`SourcesConfig::reserved_percent`]; at most 90.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) struct ReservedPercent(u32);

impl ReservedPercent {
    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

impl Default for ReservedPercent {
    fn default() -> Self {
        Self(RESERVED_PERCENT)
    }
}

impl TryFrom<u32> for ReservedPercent {
    type Error = String;

    fn try_from(percent: u32) -> Result<Self, String> {
        (percent <= RESERVED_PERCENT_MAX)
            .then_some(Self(percent))
            .ok_or_else(|| format!("{percent} is more than {RESERVED_PERCENT_MAX} percent"))
    }
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
