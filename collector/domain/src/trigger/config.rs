//! What can be said about webhooks in `exhibit.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::Vendor;
use super::secret::HookSecret;
use crate::incident::{PlayName, Severity};

/// Bytes of a secret: 128 bits, below which it can be guessed. Vendors' own have 32 and more.
const SECRET_BYTES_MIN: usize = 16;
/// Secrets of one vendor: each is tried on each delivery, and a rotation has two at once.
const SECRETS_MAX: usize = 16;

/// `[hooks]`. Trusted: whoever edits it decides who may declare incidents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct HooksConfig {
    /// `[hooks.alertmanager]`.
    pub alertmanager: Option<HookConfig>,
    /// `[hooks.cloudevents]`.
    pub cloudevents: Option<HookConfig>,
    /// `[hooks.grafana]`.
    pub grafana: Option<HookConfig>,
    /// `[hooks.incidentio]`.
    pub incidentio: Option<HookConfig>,
    /// `[hooks.opsgenie]`.
    pub opsgenie: Option<HookConfig>,
    /// `[hooks.pagerduty]`.
    pub pagerduty: Option<HookConfig>,
    /// `[hooks.slack]`.
    pub slack: Option<HookConfig>,
    /// `[hooks.standard]`.
    pub standard: Option<HookConfig>,
}

/// `[hooks.VENDOR]`. Whoever holds one of its secrets can declare incidents and write notes into
/// them, and nothing else: neither read evidence nor close an incident.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct HookConfig {
    /// What the vendor signs with, or sends as its token or password. Several during a rotation:
    /// each of them is good.
    pub secrets: Vec<HookSecret>,
    /// Files with one secret each, such as those of a Kubernetes Secret. Whoever writes them holds
    /// a secret.
    pub secret_files: Vec<PathBuf>,
    /// The user of basic authentication (RFC 7617). Absent: the secret is a bearer token (RFC
    /// 6750). Only for vendors that do not sign.
    pub username: Option<String>,
    /// A header that has the secret and nothing else, in place of `Authorization`. Opsgenie only.
    pub token_header: Option<String>,
    /// The header that has the HMAC signature of the body, in place of a token. Grafana only.
    pub signature_header: Option<String>,
    /// The header that has the signed time. Without it, whoever saw a delivery can send it again.
    /// Grafana only.
    pub timestamp_header: Option<String>,
    /// The play of its incidents.
    pub play: PlayName,
    /// What its words for severities mean, in addition to or in place of those that are known.
    pub severity: BTreeMap<String, ConfiguredSeverity>,
    /// What a word means that is not known, and none at all.
    pub default_severity: ConfiguredSeverity,
    /// What is less severe than this declares nothing.
    pub least_severity: ConfiguredSeverity,
}

impl Default for HookConfig {
    /// The general play; whatever is not known to be harmless has uncertain impact, which is the
    /// runbook's SEV-2; all declare.
    fn default() -> Self {
        Self {
            secrets: Vec::new(),
            secret_files: Vec::new(),
            username: None,
            token_header: None,
            signature_header: None,
            timestamp_header: None,
            play: "general".parse().expect("a built-in play"),
            severity: BTreeMap::new(),
            default_severity: ConfiguredSeverity(Severity::Sev2),
            least_severity: ConfiguredSeverity(Severity::Sev4),
        }
    }
}

/// A section cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookConfigError {
    /// Anybody could declare incidents.
    #[error("[hooks.{section}] needs secrets or secret-files")]
    NoSecret {
        /// The section.
        section: &'static str,
    },
    /// More than are tried.
    #[error("[hooks.{section}] has {secrets} secrets, limit is {SECRETS_MAX}")]
    TooMany {
        /// The section.
        section: &'static str,
        /// How many.
        secrets: usize,
    },
    /// It is no secret of the vendor, or can be guessed.
    #[error("[hooks.{section}] secret {number} is not {expected}")]
    Secret {
        /// The section.
        section: &'static str,
        /// Its number, from 1; those of files come last.
        number: usize,
        /// What it should be.
        expected: &'static str,
    },
    /// A key that would have no effect.
    #[error("[hooks.{section}] cannot have {key}")]
    Key {
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A name that no header has.
    #[error("[hooks.{section}] {key} is not a header's name")]
    Header {
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
}

impl HooksConfig {
    /// The section of a vendor, if there is one.
    #[must_use]
    pub fn section(&self, vendor: Vendor) -> Option<&HookConfig> {
        match vendor {
            Vendor::Alertmanager => self.alertmanager.as_ref(),
            Vendor::CloudEvents => self.cloudevents.as_ref(),
            Vendor::Grafana => self.grafana.as_ref(),
            Vendor::IncidentIo => self.incidentio.as_ref(),
            Vendor::Opsgenie => self.opsgenie.as_ref(),
            Vendor::PagerDuty => self.pagerduty.as_ref(),
            Vendor::Slack => self.slack.as_ref(),
            Vendor::Standard => self.standard.as_ref(),
        }
    }

    /// The same, to put into it what its files hold.
    pub fn section_mut(&mut self, vendor: Vendor) -> Option<&mut HookConfig> {
        match vendor {
            Vendor::Alertmanager => self.alertmanager.as_mut(),
            Vendor::CloudEvents => self.cloudevents.as_mut(),
            Vendor::Grafana => self.grafana.as_mut(),
            Vendor::IncidentIo => self.incidentio.as_mut(),
            Vendor::Opsgenie => self.opsgenie.as_mut(),
            Vendor::PagerDuty => self.pagerduty.as_mut(),
            Vendor::Slack => self.slack.as_mut(),
            Vendor::Standard => self.standard.as_mut(),
        }
    }

    /// Looks for keys that a vendor has no use for, and for secrets that are named but not held.
    ///
    /// # Errors
    /// See [`HookConfigError`].
    pub fn check_keys(&self) -> Result<(), HookConfigError> {
        self.each(|vendor, hook| {
            hook.check_keys(vendor)?;
            let none = hook.secrets.is_empty() && hook.secret_files.is_empty();
            if none {
                Err(HookConfigError::NoSecret {
                    section: vendor.name(),
                })
            } else {
                Ok(())
            }
        })
    }

    /// Looks at the secrets themselves, once those of files are there too.
    ///
    /// # Errors
    /// See [`HookConfigError`].
    pub fn check_secrets(&self) -> Result<(), HookConfigError> {
        self.each(|vendor, hook| hook.check_secrets(vendor))
    }

    fn each(
        &self,
        check: impl Fn(Vendor, &HookConfig) -> Result<(), HookConfigError>,
    ) -> Result<(), HookConfigError> {
        Vendor::ALL
            .into_iter()
            .filter_map(|vendor| Some((vendor, self.section(vendor)?)))
            .try_for_each(|(v, hook)| check(v, hook))
    }
}

impl HookConfig {
    /// Which of the keys that not all vendors have are good for `vendor`.
    fn check_keys(&self, vendor: Vendor) -> Result<(), HookConfigError> {
        let section = vendor.name();
        let takes_tokens = matches!(
            vendor,
            Vendor::Alertmanager | Vendor::CloudEvents | Vendor::Grafana | Vendor::Opsgenie
        );
        let signed = self.signature_header.is_some();
        let keys = [
            (
                "username",
                &self.username,
                takes_tokens && !signed && self.token_header.is_none(),
            ),
            (
                "token-header",
                &self.token_header,
                vendor == Vendor::Opsgenie,
            ),
            (
                "signature-header",
                &self.signature_header,
                vendor == Vendor::Grafana,
            ),
            (
                "timestamp-header",
                &self.timestamp_header,
                vendor == Vendor::Grafana && signed,
            ),
        ];
        for (key, value, good) in keys {
            let Some(value) = value else { continue };
            if !good {
                return Err(HookConfigError::Key { section, key });
            }
            if key.ends_with("-header") && http::HeaderName::from_bytes(value.as_bytes()).is_err() {
                return Err(HookConfigError::Header { section, key });
            }
        }
        Ok(())
    }

    fn check_secrets(&self, vendor: Vendor) -> Result<(), HookConfigError> {
        let section = vendor.name();
        if self.secrets.is_empty() {
            return Err(HookConfigError::NoSecret { section });
        }
        if self.secrets.len() > SECRETS_MAX {
            return Err(HookConfigError::TooMany {
                section,
                secrets: self.secrets.len(),
            });
        }
        for (number, secret) in (1..).zip(&self.secrets) {
            let (good, expected) = match vendor {
                Vendor::IncidentIo | Vendor::Standard => {
                    let key = secret.signing_key();
                    (
                        key.is_some_and(|key| key.len() >= SECRET_BYTES_MIN),
                        "whsec_ and the base64 of at least 16 bytes",
                    )
                }
                Vendor::Alertmanager
                | Vendor::CloudEvents
                | Vendor::Grafana
                | Vendor::Opsgenie
                | Vendor::PagerDuty
                | Vendor::Slack => (
                    secret.expose().len() >= SECRET_BYTES_MIN,
                    "at least 16 bytes long",
                ),
            };
            if !good {
                return Err(HookConfigError::Secret {
                    section,
                    number,
                    expected,
                });
            }
        }
        Ok(())
    }
}

/// A severity as the configuration says it: `2`, or `"SEV-2"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfiguredSeverity(pub Severity);

impl<'de> Deserialize<'de> for ConfiguredSeverity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = ConfiguredSeverity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a severity: 1 to 4, or a text such as SEV-2")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<ConfiguredSeverity, E> {
                number
                    .to_string()
                    .parse()
                    .map(ConfiguredSeverity)
                    .map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ConfiguredSeverity, E> {
                text.parse()
                    .map(ConfiguredSeverity)
                    .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Read)
    }
}
