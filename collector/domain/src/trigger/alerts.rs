//! Groups of alerts, in the format of Alertmanager, which Grafana has adopted.
//!
//! An incident is identified by its group and the time at which the group's first alert fired. The
//! alerts of a group change while it fires: if the first one is resolved and leaves the group
//! before the others do, the rest counts as another incident.

use serde_json::Value;

use super::payload::{IncidentFields, JsonNode, PIVOTS_MAX, VendorEvent, parse_time};
use super::{HookContext, WebhookError, WebhookOutcome};
use crate::incident::{Line, Pivot};

/// Alerts of a group that the report lists. The vendor has all of them.
const LISTED_MAX: usize = 32;

pub(super) fn receive(
    hook: &HookContext<'_>,
    group: JsonNode<'_>,
) -> Result<WebhookOutcome, WebhookError> {
    let key = group.required_text("/groupKey", "group key")?;
    let status = group.required_text("/status", "status")?;
    // The earliest: the order of the alerts is not documented.
    let first = group
        .list("/alerts")
        .filter_map(|alert| alert.text("/startsAt").and_then(parse_time))
        .min();
    let first = first.ok_or(WebhookError::Malformed {
        missing: "alert with a start",
    })?;
    let began = first.to_string();
    let event = VendorEvent {
        id: &[key, &began],
        // The format gives deliveries no id; a repetition has the same key.
        delivery: None,
        kind: status,
    };
    match status {
        "firing" => {
            let mut fields = incident_fields(hook, group);
            fields.started_at = Some(first);
            Ok(WebhookOutcome::Declare(hook.trigger(&event, fields)))
        }
        "resolved" => {
            let what = title(group).unwrap_or("group of alerts");
            Ok(WebhookOutcome::Update(Box::new(
                hook.update(&event, &format!("resolved: {what}")),
            )))
        }
        _ => Ok(WebhookOutcome::Ignored {
            reason: "the group is neither firing nor resolved",
        }),
    }
}

fn title<'g>(group: JsonNode<'g>) -> Option<&'g str> {
    let first = group
        .list("/alerts")
        .next()
        .unwrap_or(JsonNode(&Value::Null));
    let common = group.first_text(&["/commonAnnotations/summary", "/commonLabels/alertname"]);
    common
        .or_else(|| first.first_text(&["/annotations/summary", "/labels/alertname"]))
        .or_else(|| group.text("/title"))
}

fn incident_fields<'g>(hook: &HookContext<'_>, group: JsonNode<'g>) -> IncidentFields<'g> {
    let severities = firing(group).filter_map(|alert| alert.text_or_number("/labels/severity"));
    let worst_of_alerts = hook.worst_severity(severities);
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
        title: title(group),
        severity: group
            .text_or_number("/commonLabels/severity")
            // Common labels hold only what all alerts share; if they differ, the worst one counts.
            .or(worst_of_alerts),
        systems: systems.collect(),
        impact: group
            .text("/commonAnnotations/description")
            .map(Line::escaped),
        evidence: link
            .into_iter()
            .chain(firing(group).take(LISTED_MAX).map(line))
            .chain(left_out)
            .collect(),
        pivots,
        ..IncidentFields::default()
    }
}

/// The alerts that have not ended.
fn firing<'g>(group: JsonNode<'g>) -> impl Iterator<Item = JsonNode<'g>> {
    group
        .list("/alerts")
        // A group that fires also lists alerts that have ended.
        .filter(|alert| alert.text("/status") != Some("resolved"))
}

/// The alert in one line.
fn line(alert: JsonNode<'_>) -> String {
    let name = alert.text("/labels/alertname").unwrap_or("alert");
    let since = alert.text("/startsAt").unwrap_or("unknown");
    let what = alert
        .first_text(&["/annotations/description", "/annotations/summary"])
        .map(|what| format!(": {what}"));
    let from = alert.text("/generatorURL").map(|url| format!(" ({url})"));
    // One alert is one line of the report, even if its annotations have several.
    format!(
        "{} since {since}{}{}",
        Line::escaped(name),
        what.unwrap_or_default(),
        from.unwrap_or_default()
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
    use serde_json::json;

    use super::super::samples::signed;
    use super::super::{IncidentTrigger, Vendor};
    use super::*;
    use crate::incident::Severity;

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
    fn group_is_same_incident_while_its_first_alert_fires() {
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
        let again = alert("Slow", "warning", "firing", "2026-11-24T13:00:00Z");
        assert_ne!(
            trigger.key,
            declared("{}:{a}", &[again]).key,
            "it fires anew"
        );
        let over = alert("Slow", "warning", "resolved", "2026-11-23T13:00:00Z");
        let Ok(WebhookOutcome::Update(update)) = of("{}:{a}", "resolved", &[over]) else {
            panic!("no update")
        };
        assert_eq!(
            (&update.key, update.note.as_str()),
            (&trigger.key, "Alertmanager: resolved: Slow")
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
