//! A request to capture evidence.

use evidence_format::coverage::TimeWindow;
use serde::{Deserialize, Serialize};

use super::names::SourceName;
use super::play::Play;
use crate::hosts::HostSelection;

/// A request to capture evidence. The play decides what the request leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaptureRequest {
    /// The time to cover; `None` is the play's window before the declaration.
    pub window: Option<TimeWindow>,
    /// The sources to capture; empty means those of the play.
    pub sources: Vec<SourceName>,
    /// Limits the capture to these accounts; empty means all.
    pub accounts: Vec<String>,
    /// Limits the capture to these regions; empty means all.
    pub regions: Vec<String>,
    /// Seconds after which a pass seals what it has; a later pass captures the rest.
    pub deadline_seconds: u64,
    /// Hosts whose agents capture them, in addition to the sources.
    #[serde(default, skip_serializing_if = "HostSelection::is_empty")]
    pub hosts: HostSelection,
    /// True to capture only the hosts, and no source: of an alert that names further hosts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hosts_only: bool,
}

impl CaptureRequest {
    /// The sources that it captures, by a play or by its own list.
    #[must_use]
    pub fn sources_of<'s>(&'s self, play: &'s Play) -> &'s [SourceName] {
        if self.hosts_only {
            &[]
        } else if self.sources.is_empty() {
            &play.sources
        } else {
            &self.sources
        }
    }

    /// Adds the hosts of the play, unless the request names exactly what to capture: its sources,
    /// or the pods on its hosts.
    pub fn add_hosts_of(&mut self, play: &Play) {
        if self.hosts_only || !self.sources.is_empty() || !self.hosts.only.is_empty() {
            return;
        }
        self.hosts.add(&HostSelection {
            labels: play.host_labels.clone(),
            ..HostSelection::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::play::tests::GOOD;
    use super::*;

    #[test]
    fn hosts_of_the_play_are_added_unless_the_request_says_what_to_capture() {
        let text = GOOD.replace("[[steps]]", "host-labels = [\"role=web\"]\n[[steps]]");
        let play = Play::parse(&"ours".parse().expect("a name"), "ours.toml", &text);
        let play = play.expect("a play");
        let request = CaptureRequest {
            window: None,
            sources: Vec::new(),
            accounts: Vec::new(),
            regions: Vec::new(),
            deadline_seconds: 60,
            hosts: HostSelection {
                hosts: vec!["db-1".to_owned()],
                ..HostSelection::default()
            },
            hosts_only: false,
        };
        let hosts = |mut request: CaptureRequest| {
            request.add_hosts_of(&play);
            request.hosts.to_string()
        };
        assert_eq!(hosts(request.clone()), "host db-1, label role=web");
        let sources = vec!["okta".parse().expect("a source")];
        let named = CaptureRequest {
            sources: sources.clone(),
            ..request.clone()
        };
        assert_eq!(named.sources_of(&play), sources);
        assert_eq!(hosts(named), "host db-1");
        let only = CaptureRequest {
            hosts_only: true,
            ..request
        };
        assert!(only.sources_of(&play).is_empty());
        assert_eq!(hosts(only), "host db-1");
    }
}
