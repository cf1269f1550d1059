//! Which hosts a capture names, and which agents those are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use evidence_format::serde_as_text;
use protocol::facts::HostFacts;
use protocol::identity::AgentId;
use protocol::selection::PodSelection;
use serde::{Deserialize, Serialize};

/// Bytes of a label's key, and of its value.
pub(crate) const LABEL_BYTES_MAX: usize = 63;
/// Hosts, labels, nodes, pods and images that one request may name. Hosts without an agent are the
/// items of one bundle; a label names any number of hosts.
pub const SELECTORS_MAX: usize = 500;
/// The start of the sources of agents, before the agent's id.
const AGENT_SOURCE: &str = "agent_";
/// The source of hosts that are named and have no agent.
pub const HOSTS_WITHOUT_AGENT: &str = "hosts_without_agent";

/// A label of a host: `role=web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostLabel {
    pub key: String,
    pub value: String,
}

/// The text is no label.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{text:?} is not a label: expected KEY=VALUE, each 1 to {LABEL_BYTES_MAX} of A-Z a-z 0-9 . _ / -"
)]
pub struct ParseHostLabelError {
    text: String,
}

impl FromStr for HostLabel {
    type Err = ParseHostLabelError;

    fn from_str(text: &str) -> Result<Self, ParseHostLabelError> {
        let is_word = |word: &str| {
            (1..=LABEL_BYTES_MAX).contains(&word.len())
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
        };
        let parts = text.split_once('=');
        let parts = parts.filter(|(key, value)| is_word(key) && is_word(value));
        let (key, value) = parts.ok_or_else(|| ParseHostLabelError {
            text: text.chars().take(80).collect(),
        })?;
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl fmt::Display for HostLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

serde_as_text!(HostLabel);

/// The hosts that a capture names. Each selector adds hosts; none takes any away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSelection {
    /// Host names, addresses, instance ids of a cloud, or ids of agents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Every host with one of these labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<HostLabel>,
    /// Names of nodes in Kubernetes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<String>,
    /// On these hosts, only what belongs to these pods.
    #[serde(default, skip_serializing_if = "PodSelection::is_empty")]
    pub only: PodSelection,
}

/// An agent among which hosts are selected.
#[derive(Clone, Copy, Debug)]
pub struct SelectableAgent<'a> {
    pub id: &'a AgentId,
    pub labels: &'a BTreeMap<String, String>,
    pub facts: &'a HostFacts,
}

/// The result of a selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelectedHosts {
    /// In order, each once.
    pub agents: BTreeSet<AgentId>,
    /// Selectors that no agent matches, in words: `host web-9`. Each is a gap.
    pub missing: Vec<String>,
}

impl HostSelection {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.labels.is_empty() && self.nodes.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.hosts.len() + self.labels.len() + self.nodes.len()
    }

    /// Adds the selectors of `other` that are not here.
    pub fn add(&mut self, other: &Self) {
        add_missing(&mut self.hosts, &other.hosts);
        add_missing(&mut self.labels, &other.labels);
        add_missing(&mut self.nodes, &other.nodes);
    }

    /// Removes the selectors that `other` has.
    pub fn remove(&mut self, other: &Self) {
        self.hosts.retain(|host| !other.hosts.contains(host));
        self.labels.retain(|label| !other.labels.contains(label));
        self.nodes.retain(|node| !other.nodes.contains(node));
    }

    /// The agents of the named hosts, and the names that no agent matches.
    #[must_use]
    pub fn select<'a>(&self, agents: impl Iterator<Item = SelectableAgent<'a>>) -> SelectedHosts {
        let mut selectors = self.selectors();
        let mut selected = SelectedHosts::default();
        for agent in agents {
            let mut is_selected = false;
            for selector in &mut selectors {
                if selector.matches(&agent) {
                    selector.was_matched = true;
                    is_selected = true;
                }
            }
            if is_selected {
                selected.agents.insert(agent.id.clone());
            }
        }
        let missing = selectors.iter().filter(|selector| !selector.was_matched);
        selected.missing = missing.map(|selector| selector.kind.to_string()).collect();
        selected.missing.dedup();
        selected
    }

    fn selectors(&self) -> Vec<HostSelector<'_>> {
        let hosts = self.hosts.iter().map(|name| SelectorKind::Host(name));
        let labels = self.labels.iter().map(SelectorKind::Label);
        let nodes = self.nodes.iter().map(|name| SelectorKind::Node(name));
        let kinds = hosts.chain(labels).chain(nodes);
        kinds
            .map(|kind| HostSelector {
                kind,
                was_matched: false,
            })
            .collect()
    }
}

fn add_missing<T: Clone + PartialEq>(own: &mut Vec<T>, others: &[T]) {
    for other in others {
        if !own.contains(other) {
            own.push(other.clone());
        }
    }
}

/// All selectors in words, as in `host web-1, label role=web`.
impl fmt::Display for HostSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, selector) in self.selectors().iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", selector.kind)?;
        }
        if !self.only.is_empty() {
            write!(f, "; only of {}", self.only)?;
        }
        Ok(())
    }
}

struct HostSelector<'s> {
    kind: SelectorKind<'s>,
    was_matched: bool,
}

enum SelectorKind<'s> {
    Host(&'s str),
    Label(&'s HostLabel),
    Node(&'s str),
}

impl HostSelector<'_> {
    fn matches(&self, agent: &SelectableAgent<'_>) -> bool {
        let facts = agent.facts;
        match self.kind {
            SelectorKind::Host(name) => {
                facts.host.eq_ignore_ascii_case(name)
                    || agent.id.as_str() == name
                    || facts.cloud_instance.as_deref() == Some(name)
                    || facts.addresses.iter().any(|address| address == name)
            }
            SelectorKind::Label(label) => agent.labels.get(&label.key) == Some(&label.value),
            SelectorKind::Node(name) => facts.kubernetes_node.as_deref() == Some(name),
        }
    }
}

impl fmt::Display for SelectorKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) => write!(f, "host {name}"),
            Self::Label(label) => write!(f, "label {label}"),
            Self::Node(name) => write!(f, "node {name}"),
        }
    }
}

/// The host of `10.0.3.7:9100` or `[fd00::1]:9100`: Prometheus names the port of the exporter in
/// `instance`.
#[must_use]
pub fn without_port(text: &str) -> String {
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let host = match text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        Some((host, rest)) if rest.strip_prefix(':').is_none_or(is_port) => host,
        Some(_) | None => match text.rsplit_once(':') {
            // An IPv6 address without brackets has no port.
            Some((host, port)) if is_port(port) && !host.contains(':') => host,
            Some(_) | None => text,
        },
    };
    let host = if host.is_empty() { text } else { host };
    host.to_owned()
}

/// The source of an agent's passes. It is stored in ledgers and sealed, so it never changes.
#[must_use]
pub fn source_of_agent(agent: &AgentId) -> String {
    format!("{AGENT_SOURCE}{agent}")
}

/// The agent of a source; `None` if the source is of another kind.
#[must_use]
pub fn agent_of_source(source: &str) -> Option<AgentId> {
    source.strip_prefix(AGENT_SOURCE)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> AgentId {
        digit.to_string().repeat(16).parse().expect("an id")
    }

    fn select(selection: &HostSelection) -> (Vec<AgentId>, Vec<String>) {
        let (web, db) = (id('a'), id('b'));
        let labels = BTreeMap::from([("role".to_owned(), "web".to_owned())]);
        let none = BTreeMap::new();
        let facts = |host: &str, node: Option<&str>| HostFacts {
            host: host.to_owned(),
            addresses: vec!["10.0.0.7".to_owned()],
            kubernetes_node: node.map(str::to_owned),
            ..HostFacts::default()
        };
        let (web_facts, db_facts) = (facts("web-1", None), facts("db-1", Some("ip-10-0-3-7")));
        let agents = [
            SelectableAgent {
                id: &web,
                labels: &labels,
                facts: &web_facts,
            },
            SelectableAgent {
                id: &db,
                labels: &none,
                facts: &db_facts,
            },
        ];
        let selected = selection.select(agents.into_iter());
        (selected.agents.into_iter().collect(), selected.missing)
    }

    #[test]
    fn hosts_are_found_by_name_label_node_and_address() {
        let hosts = |names: &[&str]| HostSelection {
            hosts: names.iter().map(ToString::to_string).collect(),
            ..HostSelection::default()
        };
        assert_eq!(select(&hosts(&["WEB-1"])), (vec![id('a')], vec![]));
        assert_eq!(
            select(&hosts(&["10.0.0.7"])),
            (vec![id('a'), id('b')], vec![])
        );
        assert_eq!(
            select(&hosts(&["web-1", "web-9"])),
            (vec![id('a')], vec!["host web-9".to_owned()])
        );
        let label = |text: &str| HostSelection {
            labels: vec![text.parse().expect("a label")],
            ..HostSelection::default()
        };
        assert_eq!(select(&label("role=web")), (vec![id('a')], vec![]));
        assert_eq!(
            select(&label("role=db")),
            (vec![], vec!["label role=db".to_owned()])
        );
        let node = HostSelection {
            nodes: vec!["ip-10-0-3-7".to_owned()],
            ..HostSelection::default()
        };
        assert_eq!(select(&node), (vec![id('b')], vec![]));
        assert_eq!(node.to_string(), "node ip-10-0-3-7");
    }

    #[test]
    fn nothing_is_selected_without_selectors() {
        assert_eq!(select(&HostSelection::default()), (vec![], vec![]));
    }

    #[test]
    fn labels_are_key_and_value() {
        for bad in [
            "role",
            "=web",
            "role=",
            "role=a b",
            "role=web=1",
            &"x".repeat(200),
        ] {
            assert!(bad.parse::<HostLabel>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sources_name_their_agents() {
        assert_eq!(agent_of_source(&source_of_agent(&id('c'))), Some(id('c')));
        assert_eq!(agent_of_source("host"), None);
        assert_eq!(agent_of_source(HOSTS_WITHOUT_AGENT), None);
    }
}
