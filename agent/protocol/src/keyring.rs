//! The keyring of agents, `agents.json` in an export: which key vouched for which host, and when.
//!
//! **Trust.** The file says what the collector's database says. Whoever can write to the database can
//! add an agent to it. An auditor who has the fingerprints of agents from another channel should
//! compare them.

use evidence_format::config::{BundleConfig, CollectorInfo, ExaminedSystem};
use evidence_format::id::KeyId;
use evidence_format::keyring::PublicKey;
use evidence_format::statement::Statement;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::AgentId;

/// How long before its enrolment an agent's clock may say that a bundle was signed. Clocks of hosts
/// are wrong by hours; what was signed after the end of a key's time has no such excuse.
const CLOCK_TOLERANCE_NANOSECONDS: i128 = 24 * 3_600 * 1_000_000_000;

/// The keyring as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentKeyring {
    pub agents: Vec<KeyringAgent>,
}

/// An agent, its key and its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyringAgent {
    pub id: AgentId,
    /// PEM of the key that signs its bundles.
    pub public_key: String,
    pub host: HostClaim,
    /// When it was enrolled, by the collector's clock.
    pub since: Timestamp,
    /// When it was revoked; `None` if it was not.
    pub until: Option<Timestamp>,
    /// Why it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The host that an agent's key vouches for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostClaim {
    pub name: String,
    /// `None` where the host has none.
    pub machine_id: Option<String>,
}

/// A bundle is not one that its signer's key may vouch for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringFault {
    #[error("bundle is of machine {stated}, but agent {agent} vouches for {enrolled} only")]
    OtherHost {
        agent: AgentId,
        enrolled: String,
        stated: String,
    },
    #[error("signed at {signed_at}, but the key of agent {agent} is valid only {valid}")]
    OutsideTime {
        agent: AgentId,
        signed_at: Timestamp,
        /// `from …` or `until …`.
        valid: String,
    },
}

impl AgentKeyring {
    /// The agent that signs with this key.
    #[must_use]
    pub fn find(&self, key: &KeyId) -> Option<&KeyringAgent> {
        let has_key = |agent: &&KeyringAgent| {
            PublicKey::from_pem(&agent.public_key).is_ok_and(|own| own.id() == *key)
        };
        self.agents.iter().find(has_key)
    }
}

impl KeyringAgent {
    /// Checks that a bundle which this agent's key has signed is of the agent's host, and was signed
    /// in the key's time.
    ///
    /// # Errors
    /// See [`KeyringFault`].
    pub fn check(&self, config: &BundleConfig, statement: &Statement) -> Result<(), KeyringFault> {
        if !self.host.is_of(config) {
            return Err(KeyringFault::OtherHost {
                agent: self.id.clone(),
                enrolled: self.host.text(),
                stated: HostClaim::stated_by(config).text(),
            });
        }
        let signed_at = statement.predicate.signed_at;
        let outside = |valid| KeyringFault::OutsideTime {
            agent: self.id.clone(),
            signed_at,
            valid,
        };
        let since = self.since.unix_nanoseconds() - CLOCK_TOLERANCE_NANOSECONDS;
        if signed_at.unix_nanoseconds() < since {
            return Err(outside(format!("from {}", self.since)));
        }
        match self.until {
            Some(until) if signed_at >= until => Err(outside(format!("until {until}"))),
            Some(_) | None => Ok(()),
        }
    }
}

impl HostClaim {
    /// The host that a bundle says it is of.
    #[must_use]
    pub fn stated_by(config: &BundleConfig) -> Self {
        let CollectorInfo { host, .. } = &config.collector;
        match &config.examined {
            Some(ExaminedSystem {
                machine_id,
                root,
                host: examined,
                ..
            }) => Self {
                // The program may run in a container, whose name is not the host's.
                name: match examined {
                    Some(name) if root != "file:///" => name.clone(),
                    Some(_) | None => host.clone(),
                },
                machine_id: machine_id.clone(),
            },
            None => Self {
                name: host.clone(),
                machine_id: None,
            },
        }
    }

    /// True if the bundle is of this host. The machine id decides where there is one: a host may be
    /// renamed.
    #[must_use]
    pub fn is_of(&self, config: &BundleConfig) -> bool {
        let stated = Self::stated_by(config);
        match &self.machine_id {
            Some(_) => self.machine_id == stated.machine_id,
            None => stated.machine_id.is_none() && self.name == stated.name,
        }
    }

    fn text(&self) -> String {
        let id = self.machine_id.as_deref().unwrap_or("none");
        format!("{} (machine-id {id})", self.name)
    }
}
