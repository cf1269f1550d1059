//! What an agent says about its host. All of it is a claim, by which people select hosts.

use serde::{Deserialize, Serialize};

use crate::limits::{ADDRESSES_MAX, FACT_BYTES_MAX, LOG_SOURCES_MAX};

/// What an agent says about its host. `None` is what it does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostFacts {
    pub host: String,
    /// Content of `/etc/machine-id`. Bundles of the agent must state the same.
    #[serde(default)]
    pub machine_id: Option<String>,
    #[serde(default)]
    pub addresses: Vec<String>,
    /// `PRETTY_NAME` of os-release(5).
    #[serde(default)]
    pub os: Option<String>,
    pub kernel: String,
    /// Version of the agent.
    pub version: String,
    /// The [version](crate::version) of the protocol that it speaks.
    #[serde(default = "crate::version::unreported")]
    pub protocol: u32,
    /// Id of the instance in its cloud, such as `i-0abc`.
    #[serde(default)]
    pub cloud_instance: Option<String>,
    /// Name of the node in Kubernetes.
    #[serde(default)]
    pub kubernetes_node: Option<String>,
    /// Names of the logs of applications that `agent.toml` names.
    #[serde(default)]
    pub logs: Vec<String>,
}

impl HostFacts {
    /// True if no text is longer than the protocol allows, or has control characters, and the host
    /// has a name.
    #[must_use]
    pub fn is_within_limits(&self) -> bool {
        let Self {
            host,
            machine_id,
            addresses,
            os,
            kernel,
            version,
            protocol: _, // any number can be shown
            cloud_instance,
            kubernetes_node,
            logs,
        } = self;
        let optional = [machine_id, os, cloud_instance, kubernetes_node];
        let mut texts = [host, kernel, version]
            .into_iter()
            .chain(addresses)
            .chain(logs)
            .chain(optional.into_iter().flatten());
        let is_plain =
            |text: &String| text.len() <= FACT_BYTES_MAX && !text.contains(char::is_control);
        let is_short = addresses.len() <= ADDRESSES_MAX && logs.len() <= LOG_SOURCES_MAX;
        !host.is_empty() && is_short && texts.all(is_plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_long_texts_control_characters_and_hosts_without_a_name() {
        let facts = HostFacts {
            host: "web-1".to_owned(),
            ..HostFacts::default()
        };
        assert!(facts.is_within_limits());
        let long = "x".repeat(FACT_BYTES_MAX + 1);
        for bad in [
            HostFacts {
                host: String::new(),
                ..facts.clone()
            },
            HostFacts {
                host: "a\nb".to_owned(),
                ..facts.clone()
            },
            HostFacts {
                os: Some(long),
                ..facts.clone()
            },
            HostFacts {
                addresses: vec!["::1".to_owned(); ADDRESSES_MAX + 1],
                ..facts.clone()
            },
        ] {
            assert!(!bad.is_within_limits(), "{bad:?}");
        }
    }
}
