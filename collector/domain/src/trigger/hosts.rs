//! Which hosts a delivery names. The operator declares which labels of alerts, or which members of a
//! body, name hosts: senders use the same words for different things.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::payload::{JsonNode, parse_object};
use super::{HookContext, IncidentTrigger, Vendor, WebhookOutcome, alerts};
use crate::hosts::{HostSelection, SELECTORS_MAX, without_port};
use crate::incident::{Name, Prose};

/// What a value in a delivery names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostReference {
    /// A host, by name, address, or instance id of its cloud. A port is left out.
    Host,
    /// A node of Kubernetes.
    Node,
    /// All hosts whose label of the same key has this value.
    Label,
}

/// True if the vendor sends groups of alerts that have labels.
pub(super) fn has_labels(vendor: Vendor) -> bool {
    match vendor {
        Vendor::Alertmanager | Vendor::Grafana => true,
        Vendor::CloudEvents
        | Vendor::IncidentIo
        | Vendor::Opsgenie
        | Vendor::PagerDuty
        | Vendor::Slack
        | Vendor::Standard => false,
    }
}

impl HookContext<'_> {
    /// Adds the hosts that the body names to the declaration.
    pub(super) fn name_hosts(&self, mut outcome: WebhookOutcome, body: &[u8]) -> WebhookOutcome {
        let trigger = match &mut outcome {
            WebhookOutcome::Declare(trigger) => Some(trigger),
            WebhookOutcome::Update(update) => update.declare_if_unknown.as_mut(),
            WebhookOutcome::Ignored { .. } | WebhookOutcome::Response(_) => None,
        };
        if let Some(trigger) = trigger
            && !self.config.hosts.is_empty()
            && let Ok(body) = parse_object(body)
        {
            self.select(trigger, JsonNode(&body));
        }
        outcome
    }

    fn select(&self, trigger: &mut IncidentTrigger, body: JsonNode<'_>) {
        let mut seen = BTreeSet::new();
        let mut left_out = 0_usize;
        for (key, reference) in &self.config.hosts {
            for value in values(body, key) {
                if !seen.insert((key, value.clone())) {
                    continue; // the alerts of a group repeat their hosts
                }
                if trigger.hosts.len() < SELECTORS_MAX {
                    add(&mut trigger.hosts, key, *reference, &value);
                } else {
                    left_out += 1;
                }
            }
        }
        if left_out > 0 {
            // First: the report is cut at its end.
            let evidence = trigger.report.current_evidence.as_ref();
            let evidence = evidence.map_or("", Prose::as_str);
            trigger.report.current_evidence = Some(Prose::escaped(&format!(
                "{left_out} more hosts are named, and are not captured: limit is \
                 {SELECTORS_MAX}\n{evidence}"
            )));
        }
    }
}

/// The values of a label of all alerts that fire, or at a pointer into the body.
fn values(body: JsonNode<'_>, key: &str) -> Vec<String> {
    if key.starts_with('/') {
        let value = body.at(key);
        let elements = value.list("");
        let texts = elements.filter_map(|element| element.text_or_number(""));
        return value.text_or_number("").into_iter().chain(texts).collect();
    }
    let common = body.at("/commonLabels").member(key).text_or_number("");
    let of_alert = |alert: JsonNode<'_>| {
        let own = alert.at("/labels").member(key).text_or_number("");
        // Some senders leave out of an alert what all alerts share.
        own.or_else(|| common.clone())
    };
    alerts::firing(body).filter_map(of_alert).collect()
}

fn add(hosts: &mut HostSelection, key: &str, reference: HostReference, value: &str) {
    let name = |text: &str| Name::escaped(text).as_str().to_owned();
    let new = match reference {
        HostReference::Host => HostSelection {
            hosts: vec![name(&without_port(value))],
            ..HostSelection::default()
        },
        HostReference::Node => HostSelection {
            nodes: vec![name(value)],
            ..HostSelection::default()
        },
        HostReference::Label => {
            let key = key.rsplit('/').next().unwrap_or(key);
            let text = format!("{key}={value}");
            match text.parse() {
                Ok(label) => HostSelection {
                    labels: vec![label],
                    ..HostSelection::default()
                },
                // No agent has such a label, so what was named is a gap.
                Err(_) => HostSelection {
                    hosts: vec![name(&text)],
                    ..HostSelection::default()
                },
            }
        }
    };
    hosts.add(&new);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::samples::{HOOKS, hook};
    use super::*;
    use crate::trigger::{HookConfig, HooksConfig};

    fn with_hosts(vendor: Vendor, hosts: &str) -> HookConfig {
        let mut config = HOOKS.section(vendor).expect("a sample").clone();
        config.hosts = toml::from_str(hosts).expect("a mapping");
        config
    }

    fn named(vendor: Vendor, hosts: &str, body: &Value) -> IncidentTrigger {
        let config = with_hosts(vendor, hosts);
        let hook = hook(vendor, &config);
        let event = super::super::payload::VendorEvent {
            id: &["a"],
            delivery: None,
            kind: "x",
        };
        let trigger = hook.trigger(&event, Default::default());
        let body = body.to_string();
        match hook.name_hosts(WebhookOutcome::Declare(trigger), body.as_bytes()) {
            WebhookOutcome::Declare(trigger) => *trigger,
            other => panic!("{other:?}"),
        }
    }

    fn alert(labels: Value) -> Value {
        json!({"status": "firing", "startsAt": "2026-11-23T13:00:00Z", "labels": labels})
    }

    #[test]
    fn labels_of_alerts_that_fire_name_hosts_nodes_and_labels() {
        let mut over = alert(json!({"instance": "web-9:9100"}));
        over["status"] = "resolved".into();
        let group = json!({"commonLabels": {"role": "web"}, "alerts": [
            alert(json!({"instance": "web-1:9100", "node": "ip-10-0-3-7"})),
            alert(json!({"instance": "10.0.0.2:9100"})),
            alert(json!({"instance": "[fd00::1]:9100", "node": ""})),
            alert(json!({"instance": "web-1:9100", "unmapped": "db-1"})),
            over,
        ]});
        let hosts = "instance = \"host\"\nnode = \"node\"\nrole = \"label\"";
        let trigger = named(Vendor::Alertmanager, hosts, &group);
        assert_eq!(
            trigger.hosts.to_string(),
            "host web-1, host 10.0.0.2, host fd00::1, label role=web, node ip-10-0-3-7"
        );
        assert!(named(Vendor::Alertmanager, "", &group).hosts.is_empty());
    }

    #[test]
    fn pointers_name_hosts_in_any_body() {
        let body = json!({"data": {"hosts": ["db-1", "db-2", 7], "role": "a b"}});
        let hosts = "\"/data/hosts\" = \"host\"\n\"/data/role\" = \"label\"";
        let trigger = named(Vendor::PagerDuty, hosts, &body);
        let expected = "host db-1, host db-2, host 7, host role=a b";
        assert_eq!(trigger.hosts.to_string(), expected);
    }

    #[test]
    fn storm_of_hosts_is_cut_and_says_so() {
        let alerts: Vec<Value> = (0..SELECTORS_MAX + 3)
            .map(|n| alert(json!({"instance": format!("web-{n}\u{1b}[2J")})))
            .collect();
        let group = json!({"alerts": alerts});
        let trigger = named(Vendor::Grafana, "instance = \"host\"", &group);
        assert_eq!(trigger.hosts.len(), SELECTORS_MAX);
        assert!(!trigger.hosts.hosts[0].contains('\u{1b}'));
        let evidence = trigger.report.current_evidence.expect("a text");
        assert!(evidence.as_str().starts_with("3 more hosts are named"));
    }

    #[test]
    fn rejects_keys_that_name_nothing() {
        for (section, good) in [
            ("[alertmanager.hosts]\ninstance = \"host\"", true),
            ("[grafana.hosts]\n\"/commonLabels/node\" = \"node\"", true),
            ("[pagerduty.hosts]\n\"/event/data/host\" = \"host\"", true),
            ("[pagerduty.hosts]\ninstance = \"host\"", false),
            ("[alertmanager.hosts]\n\"\" = \"host\"", false),
            ("[slack.hosts]\n\"/text\" = \"host\"", false),
        ] {
            let vendor = section.trim_start_matches('[').split('.').next();
            let vendor = vendor.expect("a vendor");
            let text = format!("[{vendor}]\nsecrets = [\"0123456789abcdef\"]\n{section}\n");
            let hooks: HooksConfig = toml::from_str(&text).expect("TOML");
            assert_eq!(hooks.check_keys().is_ok(), good, "{section}");
        }
        assert!(toml::from_str::<HooksConfig>("[grafana.hosts]\na = \"file\"").is_err());
    }
}
