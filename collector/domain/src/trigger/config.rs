//! `[hooks]` in `exhibit.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::Vendor;
use super::hosts::{self, HostReference};
use super::secret::HookSecret;
use crate::incident::{PlayName, Severity};

/// Bytes of a secret: 128 bits, since fewer can be guessed. Vendors' own have 32 and more.
const SECRET_BYTES_MIN: usize = 16;
/// Secrets of one vendor. Every delivery tries them all; a rotation needs two.
const SECRETS_MAX: usize = 16;

/// `[hooks]`. Trusted: anyone who edits it decides who may declare incidents.
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

/// `[hooks.VENDOR]`. Anyone who holds one of its secrets can declare incidents, add notes to those,
/// raise their severity, and have the hosts captured that `hosts` lets them name. They can neither
/// read evidence nor close an incident.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct HookConfig {
    /// What the vendor signs with, or sends as token or password. Any of them is accepted, so that
    /// they can be rotated.
    pub secrets: Vec<HookSecret>,
    /// Files with one secret each, such as those of a Kubernetes Secret. Whoever can write to them
    /// can choose a secret.
    pub secret_files: Vec<PathBuf>,
    /// The user of basic authentication (RFC 7617). Absent: the secret is a bearer token (RFC
    /// 6750). Only for vendors that do not sign.
    pub username: Option<String>,
    /// A header that holds just the secret, in place of `Authorization`. Opsgenie only.
    pub token_header: Option<String>,
    /// The header with the HMAC signature of the body, in place of a token. Grafana only.
    pub signature_header: Option<String>,
    /// The header with the signed time. Without it, anyone who saw a delivery can replay it.
    /// Grafana only.
    pub timestamp_header: Option<String>,
    /// The play of the incidents that the vendor declares, unless a delivery names one.
    pub play: PlayName,
    /// The severities of the vendor's words, in addition to the known words or overriding them.
    pub severity: BTreeMap<String, ConfiguredSeverity>,
    /// The severity of an unknown word, and of a delivery without one.
    pub default_severity: ConfiguredSeverity,
    /// What names the hosts to capture. A key is a label of alerts, for senders of groups of alerts, or
    /// a JSON pointer (RFC 6901) into the body.
    pub hosts: BTreeMap<String, HostReference>,
    /// Deliveries that are less severe declare nothing.
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
            hosts: BTreeMap::new(),
            least_severity: ConfiguredSeverity(Severity::Sev4),
        }
    }
}

/// A section is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HookConfigError {
    /// Without a secret, anybody could declare incidents.
    #[error("[hooks.{section}] needs secrets or secret-files")]
    NoSecret { section: &'static str },
    #[error("[hooks.{section}] has {secrets} secrets, limit is {SECRETS_MAX}")]
    TooMany {
        section: &'static str,
        secrets: usize,
    },
    /// A secret has the wrong form, or is short enough to guess.
    #[error("[hooks.{section}] secret {number} is not {expected}")]
    Secret {
        section: &'static str,
        /// From 1; secrets from files come last.
        number: usize,
        expected: &'static str,
    },
    /// A key that has no effect for this vendor.
    #[error("[hooks.{section}] cannot have {key}")]
    Key {
        section: &'static str,
        key: &'static str,
    },
    #[error("[hooks.{section}] hosts cannot have the key {key:?}: expected {expected}")]
    HostKey {
        section: &'static str,
        key: String,
        expected: &'static str,
    },
    #[error("[hooks.{section}] {key} is not a header's name")]
    Header {
        section: &'static str,
        key: &'static str,
    },
}

impl HooksConfig {
    /// The section of a vendor, if configured.
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

    /// Like [`section`](Self::section), to add the secrets of files.
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

    /// Rejects keys that have no effect for their vendor, and sections without a secret.
    ///
    /// # Errors
    /// See [`HookConfigError`].
    pub fn check_keys(&self) -> Result<(), HookConfigError> {
        self.for_each_section(|vendor, hook| {
            hook.check_keys(vendor)?;
            // The files are read later; here it is enough that they are named.
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

    /// Checks the secrets themselves. Call it after those of files were added.
    ///
    /// # Errors
    /// See [`HookConfigError`].
    pub fn check_secrets(&self) -> Result<(), HookConfigError> {
        self.for_each_section(|vendor, hook| hook.check_secrets(vendor))
    }

    fn for_each_section(
        &self,
        check: impl Fn(Vendor, &HookConfig) -> Result<(), HookConfigError>,
    ) -> Result<(), HookConfigError> {
        Vendor::ALL
            .into_iter()
            .filter_map(|vendor| Some((vendor, self.section(vendor)?)))
            .try_for_each(|(vendor, hook)| check(vendor, hook))
    }
}

impl HookConfig {
    /// Rejects the optional keys that `vendor` does not use.
    fn check_keys(&self, vendor: Vendor) -> Result<(), HookConfigError> {
        let section = vendor.name();
        let takes_tokens = matches!(
            vendor,
            Vendor::Alertmanager | Vendor::CloudEvents | Vendor::Grafana | Vendor::Opsgenie
        );
        let is_signed = self.signature_header.is_some();
        let keys = [
            (
                "username",
                &self.username,
                takes_tokens && !is_signed && self.token_header.is_none(),
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
                vendor == Vendor::Grafana && is_signed,
            ),
        ];
        for (key, value, is_used) in keys {
            let Some(value) = value else { continue };
            // Never ignored: an operator who sets `signature-header` relies on signatures being
            // checked.
            if !is_used {
                return Err(HookConfigError::Key { section, key });
            }
            if key.ends_with("-header") && http::HeaderName::from_bytes(value.as_bytes()).is_err() {
                return Err(HookConfigError::Header { section, key });
            }
        }
        // Slack's commands are forms, with the text of a person.
        if vendor == Vendor::Slack && !self.hosts.is_empty() {
            let key = "hosts";
            return Err(HookConfigError::Key { section, key });
        }
        let expected = if hosts::has_labels(vendor) {
            "a label, or a JSON pointer such as /commonLabels/node"
        } else {
            "a JSON pointer such as /event/data/host"
        };
        let is_key = |key: &String| key.starts_with('/') || hosts::has_labels(vendor);
        match self.hosts.keys().find(|key| key.is_empty() || !is_key(key)) {
            None => Ok(()),
            Some(key) => Err(HookConfigError::HostKey {
                section,
                key: key.clone(),
                expected,
            }),
        }
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
            // Standard Webhooks secrets are base64, so what counts is the length of the key in it.
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
                // By number: the error is logged, and must not contain the secret.
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

/// A severity in the configuration: `2` or `"SEV-2"`.
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
