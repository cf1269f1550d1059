//! The `[sources]` section of `exhibit.toml`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub use crate::aws_cloudtrail_s3::config::TrailsConfig;
pub use crate::connection::ConnectionConfig;
pub use crate::kubernetes::config::KubernetesConfig;
use crate::recorder::RESERVED_PERCENT;
pub use crate::secret_source::{PrivateKeyConfig, TokenConfig};

/// A setting must not bring captures to a stop.
const RESERVED_PERCENT_MAX: u32 = 90;

/// `[sources]`. Trusted: anyone who edits it decides what evidence is captured, and under which
/// identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")] // `tables` refuses unknown sections
pub struct SourcesConfig {
    /// Percentage of each limit that a provider states that is left to others, such as the
    /// customer's own tools, which need it during an incident too.
    pub(crate) reserved_percent: ReservedPercent,
    #[serde(rename = "aws_cloudtrail")] // sections are called as their sources are in evidence
    pub aws_cloudtrail: AwsConfig,
    #[serde(rename = "aws_cloudtrail_s3")]
    pub aws_cloudtrail_s3: TrailsConfig,
    pub(crate) host: HostConfig,
    pub kubernetes: KubernetesConfig,
    #[serde(flatten)]
    tables: TableSections,
}

impl SourcesConfig {
    /// The section of a source that reads it itself.
    pub(crate) fn section(&self, name: &str) -> Option<&Value> {
        self.tables.0.get(name)
    }
}

/// What is wrong in a configuration that can be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfigFindings {
    /// With them, something would never be captured.
    pub faults: Vec<String>,
    /// What may be meant so, or may still be mended without a restart.
    pub warnings: Vec<String>,
}

/// Reads names such as `owner/name`.
pub(crate) fn owned_names<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, String)>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let pairs = texts.iter().map(|text| match text.split_once('/') {
        Some((owner, name)) if !owner.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((owner.to_owned(), name.to_owned()))
        }
        Some(_) | None => Err(D::Error::custom(format!("{text:?} is not owner/name"))),
    });
    pairs.collect()
}

/// Sections of sources that read them themselves, by name. Their sources have found them valid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct TableSections(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for TableSections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SectionVisitor)
    }
}

struct SectionVisitor;

impl<'de> Visitor<'de> for SectionVisitor {
    type Value = TableSections;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sections of sources")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TableSections, A::Error> {
        let mut sections = BTreeMap::new();
        while let Some((name, section)) = map.next_entry::<String, Value>()? {
            let table = crate::find(&name).and_then(|source| source.table());
            match table.and_then(|table| table.check_section(&section)) {
                Some(Ok(())) => sections.insert(name, section),
                Some(Err(problem)) => {
                    return Err(A::Error::custom(format!("[sources.{name}]: {problem}")));
                }
                None => {
                    let known: Vec<String> = crate::ALL
                        .iter()
                        .map(|source| format!("`{}`", source.name()))
                        .collect();
                    return Err(A::Error::custom(format!(
                        "unknown field `{name}`, expected one of {}",
                        known.join(", ")
                    )));
                }
            };
        }
        Ok(TableSections(sections))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<SourcesConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    /// serde's `flatten` and `deny_unknown_fields` do not work together everywhere.
    #[test]
    fn rejects_unknown_keys_at_every_depth() {
        let org = r#""url": "https://acme.okta.com", "token-file": "/run/token""#;
        let known = format!(
            r#"{{"okta": {{"orgs": [{{{org}, "ca-file": "/ca", "proxy": "http://p:1"}}]}}, "github": {{}}}}"#
        );
        assert!(read(&known).expect("known").section("okta").is_some());
        for (json, names) in [
            (r#"{"otka": {}}"#.to_owned(), "`otka`"),
            (r#"{"github": {"tokn": 1}}"#.to_owned(), "`tokn`"),
            (r#"{"okta": {"org": []}}"#.to_owned(), "`org`"),
            (
                format!(r#"{{"okta": {{"orgs": [{{{org}, "tokn": 1}}]}}}}"#),
                "`tokn`",
            ),
            (
                format!(r#"{{"okta": {{"orgs": [{{{org}, "groups": []}}]}}}}"#),
                "`groups`",
            ),
            (
                format!(r#"{{"gitlab": {{"instances": [{{{org}, "key-id": "1"}}]}}}}"#),
                "`key-id`",
            ),
        ] {
            let error = read(&json).map(drop);
            assert!(error.is_err_and(|error| error.contains(names)), "{json}");
        }
    }

    #[test]
    fn credentials_go_over_tls_only_and_are_not_in_the_configuration() {
        for org in [
            r#"{"url": "http://acme.okta.com", "token-file": "/run/token"}"#,
            r#"{"url": "https://me:pw@acme.okta.com", "token-file": "/run/token"}"#,
            r#"{"url": "https://acme.okta.com", "token": "inline"}"#,
        ] {
            assert!(
                read(&format!(r#"{{"okta": {{"orgs": [{org}]}}}}"#)).is_err(),
                "{org}"
            );
        }
    }
}
