//! Groups of alerts, in the format of Alertmanager, which Grafana has adopted.
//!
//! A group that fires is one incident until it is resolved, whichever alerts join it and leave it
//! meanwhile: its key is the incident's key. A group that fires again later is another incident.
//! The format has no id for that, so a delivery also has the start of its oldest alert: by it a
//! delivery is known that is about an earlier firing. Whether it comes late, or an alert fires again
//! under its old start, only the state of the group says.
//!
//! The severity of an alert is the worst that one of these labels or annotations names: `severity`,
//! `sev`, `priority`, `criticality`, `urgency`, `level`; that of a group, of its firing alerts.

use evidence_format::time::Timestamp;

use super::payload::{IncidentFields, JsonNode, PIVOTS_MAX, VendorEvent, parse_time};
use super::{GroupFiring, HookContext, IncidentUpdate, WebhookError, WebhookOutcome, key};
use crate::incident::{Line, Pivot};

/// Alerts of a group that the report lists. The vendor has all of them.
const LISTED_MAX: usize = 32;

pub(super) fn receive(
    hook: &HookContext<'_>,
    group: JsonNode<'_>,
) -> Result<WebhookOutcome, WebhookError> {
    let group_key = group.required_text("/groupKey", "group key")?;
    let status = group.required_text("/status", "status")?;
    let starts = |alerts: &[JsonNode<'_>]| {
        let mut starts: Vec<_> = alerts
            .iter()
            .filter_map(|alert| alert.text("/startsAt").and_then(parse_time))
            .collect();
        // The order of the alerts is not documented.
        starts.sort();
        starts
    };
    let all: Vec<_> = group.list("/alerts").collect();
    let mut counted = starts(&current(group));
    if counted.is_empty() {
        counted = starts(&all);
    }
    let (Some(&first), Some(&newest)) = (counted.first(), counted.last()) else {
        return Err(WebhookError::Malformed {
            missing: "alert with a start",
        });
    };
    let firing = GroupFiring {
        key: key::key(hook.vendor, &[group_key, &first.to_string()]),
        newest_alert_at: newest,
        ended_at: ended_at(&all),
    };
    let event = VendorEvent {
        id: &[group_key],
        // The format gives deliveries no id; a repetition has the same key.
        delivery: None,
        kind: status,
    };
    match status {
        "firing" => {
            let title = title(hook, group);
            let mut fields = incident_fields(hook, group, title.as_deref());
            fields.started_at = Some(first);
            let mut trigger = hook.trigger(&event, fields);
            trigger.group = Some(firing);
            Ok(WebhookOutcome::Declare(trigger))
        }
        "resolved" => {
            let what = title(hook, group);
            let what = what.as_deref().unwrap_or("group of alerts");
            Ok(WebhookOutcome::Update(Box::new(IncidentUpdate {
                has_ended: true,
                group: Some(firing),
                ..hook.update(&event, &format!("resolved: {what}"))
            })))
        }
        _ => Ok(WebhookOutcome::Ignored {
            reason: "the group is neither firing nor resolved",
        }),
    }
}

/// When the last of `alerts` ended. `None` if one of them does not say when.
fn ended_at(alerts: &[JsonNode<'_>]) -> Option<Timestamp> {
    let ends = alerts
        .iter()
        .map(|alert| alert.text("/endsAt").and_then(parse_time))
        .collect::<Option<Vec<_>>>()?;
    ends.into_iter().max()
}

/// What the alerts have in common, else the worst of those that fire, with how many others there
/// are.
fn title<'g>(hook: &HookContext<'_>, group: JsonNode<'g>) -> Option<String> {
    let common = group.first_text(&["/commonAnnotations/summary", "/commonLabels/alertname"]);
    if let Some(common) = common {
        return Some(common.to_owned());
    }
    let current = current(group);
    // The worst severity is the smallest; the first alert of that severity is taken.
    let worst = current
        .iter()
        .min_by_key(|alert| hook.severity(severity(hook, group, **alert).as_deref()))?;
    let name_of = |alert: JsonNode<'g>| {
        alert
            .first_text(&["/annotations/summary", "/labels/alertname"])
            .or_else(|| group.first_text(&["/groupLabels/alertname", "/title"]))
    };
    let name = name_of(*worst)?;
    let others = current.iter();
    let others = others
        .filter(|alert| name_of(**alert) != Some(name))
        .count();
    Some(match others {
        0 => name.to_owned(),
        1 => format!("{name}, and 1 more alert"),
        others => format!("{name}, and {others} more alerts"),
    })
}

/// The labels and annotations that may hold a severity, the usual ones first.
const SEVERITY_LABELS: [&str; 6] = [
    "severity",
    "sev",
    "priority",
    "criticality",
    "urgency",
    "level",
];

/// The sender's word for the severity of an alert. Of several labels and annotations that have one,
/// the worst counts. An alert without one has the configured default, beside other alerts as well
/// as alone.
fn severity(hook: &HookContext<'_>, group: JsonNode<'_>, alert: JsonNode<'_>) -> Option<String> {
    // Some senders leave out of an alert what all alerts share.
    let texts = [
        alert.at("/labels"),
        group.at("/commonLabels"),
        alert.at("/annotations"),
        group.at("/commonAnnotations"),
    ];
    worst_label(hook, &texts)
}

fn worst_label(hook: &HookContext<'_>, texts: &[JsonNode<'_>]) -> Option<String> {
    let words = texts.iter().flat_map(|labels| {
        let values = SEVERITY_LABELS.iter();
        values.filter_map(|label| labels.member(label).text_or_number(""))
    });
    hook.worst_word(words)
}

fn incident_fields<'g>(
    hook: &HookContext<'_>,
    group: JsonNode<'g>,
    title: Option<&'g str>,
) -> IncidentFields<'g> {
    let worst_severity = firing(group)
        .map(|alert| severity(hook, group, alert))
        // The worst severity is the smallest.
        .min_by_key(|word| hook.severity(word.as_deref()));
    let systems = firing(group).flat_map(|alert| {
        [
            "/labels/instance",
            "/labels/host",
            "/labels/service",
            "/labels/pod",
        ]
        .into_iter()
        .filter_map(move |label| alert.name(label))
    });
    let link = group
        .text("/externalURL")
        .map(|url| format!("{} at {url}", hook.vendor));
    // Alertmanager's `max_alerts` cuts the list, and says by how much.
    let left_out = group
        .at("/truncatedAlerts")
        .0
        .as_u64()
        .filter(|count| *count > 0);
    let left_out = left_out.map(|count| format!("{count} more alerts were left out by the sender"));
    let mut pivots: Vec<Pivot> = firing(group).filter_map(workload).collect();
    pivots.sort();
    pivots.dedup();
    // Cut rather than rejected: a large outage must still declare an incident.
    pivots.truncate(PIVOTS_MAX);
    IncidentFields {
        title,
        // A group that lists no firing alert has only its common labels.
        severity: worst_severity.unwrap_or_else(|| {
            let common = [group.at("/commonLabels"), group.at("/commonAnnotations")];
            worst_label(hook, &common)
        }),
        systems: systems.collect(),
        impact: group
            .text("/commonAnnotations/description")
            .map(Line::escaped),
        evidence: link
            .into_iter()
            .chain(
                firing(group)
                    .take(LISTED_MAX)
                    .map(|alert| line(alert, group)),
            )
            .chain(left_out)
            .collect(),
        pivots,
        ..IncidentFields::default()
    }
}

/// The alerts that have not ended.
pub(super) fn firing<'g>(group: JsonNode<'g>) -> impl Iterator<Item = JsonNode<'g>> {
    group
        .list("/alerts")
        // A group that fires also lists alerts that have ended.
        .filter(|alert| alert.text("/status") != Some("resolved"))
}

/// The alerts that a delivery is about: those that fire; all of them if the group is resolved.
fn current<'g>(group: JsonNode<'g>) -> Vec<JsonNode<'g>> {
    let firing: Vec<_> = firing(group).collect();
    if firing.is_empty() {
        group.list("/alerts").collect()
    } else {
        firing
    }
}

/// The alert in one line.
fn line(alert: JsonNode<'_>, group: JsonNode<'_>) -> String {
    let name = alert.text("/labels/alertname").or_else(|| {
        // Some senders leave the label out where the group is made by it.
        group.first_text(&["/commonLabels/alertname", "/groupLabels/alertname"])
    });
    let since = alert.text("/startsAt").unwrap_or("unknown");
    let what = alert
        .first_text(&["/annotations/description", "/annotations/summary"])
        .map(|what| format!(": {what}"));
    let links = [
        ("", "/generatorURL"),
        ("dashboard ", "/dashboardURL"),
        ("panel ", "/panelURL"),
        ("runbook ", "/annotations/runbook_url"),
    ];
    let links = links
        .into_iter()
        .filter_map(|(what, pointer)| alert.text(pointer).map(|url| format!(" ({what}{url})")));
    // One alert is one line of the report, even if its annotations have several.
    format!(
        "{} since {since}{}{}",
        Line::escaped(name.unwrap_or("alert")),
        what.unwrap_or_default(),
        links.collect::<String>()
    )
    .replace(['\n', '\r'], " ")
}

/// The pod of an alert, by the labels of Prometheus' Kubernetes discovery and of
/// kube-state-metrics.
fn workload(alert: JsonNode<'_>) -> Option<Pivot> {
    let (namespace, pod) = (alert.text("/labels/namespace")?, alert.text("/labels/pod")?);
    // Labels are free text: what is not a pivot stays in the list of alerts.
    format!("workload={namespace}/pod/{pod}").parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::samples::signed;
    use super::super::{IncidentTrigger, Vendor};
    use super::*;
    use crate::incident::{Prose, Severity};

    fn alert(name: &str, severity: &str, status: &str, starts: &str) -> Value {
        json!({"status": status, "startsAt": starts, "endsAt": "0001-01-01T00:00:00Z",
            "labels": {"alertname": name, "severity": severity, "namespace": "shop", "pod": format!("{name}-0"), "instance": "10.0.0.1:80"}})
    }

    fn of(key: &str, status: &str, alerts: &[Value]) -> Result<WebhookOutcome, WebhookError> {
        let group = json!({"version": "4", "groupKey": key, "status": status, "alerts": alerts, "commonLabels": {}, "commonAnnotations": {}});
        signed(Vendor::Alertmanager, group.to_string().as_bytes()).receive()
    }

    fn declared(key: &str, alerts: &[Value]) -> Box<IncidentTrigger> {
        let Ok(WebhookOutcome::Declare(trigger)) = of(key, "firing", alerts) else {
            panic!("no declaration")
        };
        trigger
    }

    #[test]
    fn group_is_same_incident_whichever_alerts_fire() {
        let first = alert("Slow", "warning", "firing", "2026-11-23T13:00:00Z");
        let second = alert(
            "Down",
            "critical",
            "firing",
            "2026-11-23T13:05:00.123456789Z",
        );
        let trigger = declared("{}:{a}", &[second.clone(), first.clone()]);
        assert_eq!(trigger.severity, Severity::Sev1, "the worst of them");
        assert_eq!(
            trigger.started_at.map(|at| at.to_string()).as_deref(),
            Some("2026-11-23T13:00:00Z")
        );
        assert_eq!(
            trigger.key,
            declared("{}:{a}", std::slice::from_ref(&first)).key,
            "it has one more alert now"
        );
        let workloads: Vec<_> = trigger.pivots.iter().map(ToString::to_string).collect();
        assert_eq!(
            workloads,
            ["workload=shop/pod/Down-0", "workload=shop/pod/Slow-0"]
        );
        assert_ne!(
            trigger.key,
            declared("{}:{b}", std::slice::from_ref(&first)).key,
            "another group"
        );
        assert_eq!(
            trigger.key,
            declared("{}:{a}", std::slice::from_ref(&second)).key,
            "its oldest alert is over"
        );
        let firing = |trigger: &IncidentTrigger| trigger.group.clone().expect("a group");
        let newest = firing(&trigger).newest_alert_at;
        assert_eq!(newest.to_string(), "2026-11-23T13:05:00.123456789Z");
        let again = alert("Slow", "warning", "firing", "2026-11-24T13:00:00Z");
        assert_ne!(
            firing(&trigger).key,
            firing(&declared("{}:{a}", &[again])).key,
            "it fires anew"
        );
        let over = alert("Slow", "warning", "resolved", "2026-11-23T13:00:00Z");
        let Ok(WebhookOutcome::Update(update)) = of("{}:{a}", "resolved", &[over]) else {
            panic!("no update")
        };
        assert_eq!(
            (&update.key, update.note.as_str(), update.has_ended),
            (&trigger.key, "Alertmanager: resolved: Slow", true)
        );
    }

    #[test]
    fn title_is_that_of_alerts_that_fire() {
        let at = "2026-11-23T13:00:00Z";
        let over = alert("Over", "critical", "resolved", "2026-11-23T12:00:00Z");
        let (slow, down) = (
            alert("Slow", "warning", "firing", at),
            alert("Down", "P0", "firing", at),
        );
        let trigger = declared("k", &[over.clone(), slow.clone()]);
        assert_eq!(
            (trigger.title.as_str(), trigger.severity),
            ("Slow", Severity::Sev3)
        );
        assert_eq!(
            trigger.started_at.map(|at| at.to_string()).as_deref(),
            Some(at),
            "an alert that is over did not begin it"
        );
        let trigger = declared("k", &[over, slow, down]);
        assert_eq!(
            (trigger.title.as_str(), trigger.severity),
            ("Down, and 1 more alert", Severity::Sev1)
        );
    }

    #[test]
    fn alert_without_severity_counts_as_much_in_a_group_as_alone() {
        let at = "2026-11-23T13:00:00Z";
        let mut unknown = alert("Unknown", "", "firing", at);
        let alone = declared("k", std::slice::from_ref(&unknown)).severity;
        let info = alert("Info", "info", "firing", at);
        assert_eq!(
            declared("k", &[info.clone(), unknown.clone()]).severity,
            alone
        );
        unknown["labels"]
            .as_object_mut()
            .expect("labels")
            .remove("severity");
        let trigger = declared("k", &[info, unknown.clone()]);
        assert_eq!(trigger.severity, alone);
        assert_eq!(trigger.title.as_str(), "Unknown, and 1 more alert");
        for (label, value) in [
            ("level", json!("critical")),
            ("priority", json!(1.0)),
            ("sev", json!("0")),
        ] {
            unknown["labels"] = json!({"alertname": "Leak", label: value});
            let severity = declared("k", std::slice::from_ref(&unknown)).severity;
            assert_eq!(severity, Severity::Sev1, "{label}");
        }
    }

    #[test]
    fn worst_of_several_severities_counts() {
        let at = "2026-11-23T13:00:00Z";
        for (labels, annotations, expected) in [
            (
                json!({"severity": "warning", "priority": "P1"}),
                json!({}),
                Severity::Sev1,
            ),
            (
                json!({"severity": "critical", "priority": "P4"}),
                json!({}),
                Severity::Sev1,
            ),
            (
                json!({"severity": "info", "sev": "2"}),
                json!({}),
                Severity::Sev2,
            ),
            (
                json!({"severity": "info"}),
                json!({"priority": "P2"}),
                Severity::Sev2,
            ),
            // A word that means nothing does not hide one that does.
            (
                json!({"severity": "team-a", "priority": "P4"}),
                json!({}),
                Severity::Sev4,
            ),
            (
                json!({"level": "cluster", "severity": "warning"}),
                json!({}),
                Severity::Sev3,
            ),
        ] {
            let mut alert = alert("A", "", "firing", at);
            alert["labels"] = labels.clone();
            alert["annotations"] = annotations;
            assert_eq!(declared("k", &[alert]).severity, expected, "{labels}");
        }
    }

    #[test]
    fn group_has_ended_when_its_last_alert_has() {
        let at = "2026-11-23T13:00:00Z";
        let ended = |ends: &[&str]| {
            let alerts: Vec<_> = ends
                .iter()
                .map(|end| {
                    let mut over = alert("A", "", "resolved", at);
                    over["endsAt"] = (*end).into();
                    over
                })
                .collect();
            let Ok(WebhookOutcome::Update(update)) = of("k", "resolved", &alerts) else {
                panic!("no update")
            };
            let end = update.group.expect("a group").ended_at;
            end.map(|end| end.to_string())
        };
        let (first, last) = ("2026-11-23T13:10:00Z", "2026-11-23T13:20:00Z");
        assert_eq!(ended(&[last, first]).as_deref(), Some(last));
        assert_eq!(ended(&[first, "0001-01-01T00:00:00Z"]), None);
    }

    #[test]
    fn alert_without_name_is_called_as_its_group() {
        let group = json!({"version": "4", "groupKey": "k", "status": "firing",
            "groupLabels": {"alertname": "Memory"}, "alerts": [{"status": "firing",
            "startsAt": "2026-11-23T13:00:00Z", "labels": {}, "dashboardURL": "https://g/d/1",
            "panelURL": "https://g/d/1?p=2", "annotations": {"runbook_url": "https://r"}}]});
        let sample = signed(Vendor::Alertmanager, group.to_string().as_bytes());
        let Ok(WebhookOutcome::Declare(trigger)) = sample.receive() else {
            panic!("no declaration")
        };
        assert_eq!(trigger.title.as_str(), "Memory");
        assert_eq!(
            trigger.report.current_evidence.as_ref().map(Prose::as_str),
            Some(
                "Memory since 2026-11-23T13:00:00Z (dashboard https://g/d/1) (panel https://g/d/1?p=2) (runbook https://r)"
            )
        );
    }

    #[test]
    fn rejects_bodies_that_are_no_group() {
        for (key, status, alerts) in [
            (
                "",
                "firing",
                vec![alert("A", "", "firing", "2026-11-23T13:00:00Z")],
            ),
            ("k", "firing", vec![]),
        ] {
            assert!(matches!(
                of(key, status, &alerts),
                Err(WebhookError::Malformed { .. })
            ));
        }
        let zoneless = alert("A", "", "firing", "2026-11-23T13:00:00");
        assert_eq!(
            of("k", "firing", &[zoneless]),
            Err(WebhookError::Malformed {
                missing: "alert with a start"
            })
        );
        let old = signed(Vendor::Alertmanager, br#"{"version":"3","groupKey":666}"#).receive();
        assert_eq!(
            old,
            Err(WebhookError::Malformed {
                missing: "version 4 of the message"
            })
        );
    }
}
