//! PagerDuty, version 3 of its webhooks.
//!
//! Signatures: PagerDuty/developer-docs, `docs/webhooks/04-Signatures.md`. `X-PagerDuty-Signature`
//! holds `v1=` and the HMAC-SHA256 of the body in hexadecimal; during a rotation of secrets,
//! several with commas between them, of which one must match. No time is signed, so anyone who saw
//! a delivery can replay it. A replay is harmless: it has the key of the same incident. Events:
//! `docs/webhooks/03-Webhook-Payload.md`, where `data` has another form for notes and status
//! updates.

use super::authenticity::{SIGNATURE_BYTES, check_signature, from_hex, required_header};
use super::payload::{IncidentFields, JsonNode, VendorEvent, parse_object, parse_time};
use super::{
    HookContext, HookSecret, IncidentUpdate, WebhookDelivery, WebhookError, WebhookOutcome,
};
use http::HeaderMap;

pub(super) fn receive(
    hook: &HookContext<'_>,
    delivery: &WebhookDelivery<'_>,
) -> Result<WebhookOutcome, WebhookError> {
    verify(&hook.config.secrets, delivery)?;
    let body = parse_object(delivery.body)?;
    let event = JsonNode(&body).at("/event");
    let kind = event.required_text("/event_type", "event type")?;
    match kind {
        "pagey.ping" => Ok(WebhookOutcome::Ignored {
            reason: "test of the subscription",
        }),
        "incident.triggered" => {
            let (id, trigger) = (
                event.required_text("/data/id", "incident id")?,
                incident_fields(event),
            );
            Ok(WebhookOutcome::Declare(
                hook.trigger(&vendor_event(event, kind, &[id]), trigger),
            ))
        }
        "incident.priority_updated"
        | "incident.reopened"
        | "incident.escalated"
        | "incident.service_updated" => {
            let id = [event.required_text("/data/id", "incident id")?];
            let named = vendor_event(event, kind, &id);
            let (trigger, mut update) = (
                hook.trigger(&named, incident_fields(event)),
                hook.update(&named, &note_text(event, kind)),
            );
            // Other events repeat the priority, which a commander may have overruled since.
            update.severity = (kind == "incident.priority_updated").then_some(trigger.severity);
            // An escalation or a change of service does not make an incident severe enough to
            // declare.
            let declare_if_unknown =
                matches!(kind, "incident.priority_updated" | "incident.reopened")
                    .then_some(trigger);
            Ok(WebhookOutcome::Update(Box::new(IncidentUpdate {
                declare_if_unknown,
                ..update
            })))
        }
        // All that people do about a known incident is worth a note: who took it, who was called,
        // where they meet. Only the alert is over once it is resolved: an incident is closed by its
        // closure checklist.
        _ if kind.starts_with("incident.") => note(hook, event, kind),
        _ => Ok(WebhookOutcome::Ignored {
            reason: "an event that concerns only PagerDuty",
        }),
    }
}

fn verify(secrets: &[HookSecret], delivery: &WebhookDelivery<'_>) -> Result<(), WebhookError> {
    let signatures = signatures(delivery.headers)?;
    let keys: Vec<&str> = secrets.iter().map(HookSecret::expose).collect();
    check_signature(&keys, &[delivery.body], &signatures)
}

/// The signatures of a delivery, at least one. They prove nothing yet.
pub(super) fn signatures(headers: &HeaderMap) -> Result<Vec<Vec<u8>>, WebhookError> {
    let signatures: Vec<_> = required_header(headers, "x-pagerduty-signature")?
        .split(',')
        // A part of another version or form is skipped: a valid one may stand beside it.
        .filter_map(|one| from_hex(one.trim().strip_prefix("v1=")?))
        .filter(|signature| signature.len() == SIGNATURE_BYTES)
        .collect();
    if signatures.is_empty() {
        return Err(WebhookError::NotAuthentic);
    }
    Ok(signatures)
}

fn vendor_event<'e>(event: JsonNode<'e>, kind: &'e str, id: &'e [&'e str]) -> VendorEvent<'e> {
    VendorEvent {
        id,
        delivery: event.text("/id"),
        kind,
    }
}

/// An update that adds a note to the event's incident.
fn note(
    hook: &HookContext<'_>,
    event: JsonNode<'_>,
    kind: &str,
) -> Result<WebhookOutcome, WebhookError> {
    // `data` is the incident itself, or something that belongs to it, such as a note.
    let id =
        event
            .first_text(&["/data/incident/id", "/data/id"])
            .ok_or(WebhookError::Malformed {
                missing: "incident id",
            })?;
    Ok(WebhookOutcome::Update(Box::new(IncidentUpdate {
        has_ended: kind == "incident.resolved",
        ..hook.update(&vendor_event(event, kind, &[id]), &note_text(event, kind))
    })))
}

/// The event in one line, then the text that a person wrote, if any.
fn note_text(event: JsonNode<'_>, kind: &str) -> String {
    let happened = kind
        .trim_start_matches("incident.")
        .replace(['_', '.'], " ");
    let to = match kind {
        "incident.priority_updated" => event.text("/data/priority/summary").map(str::to_owned),
        "incident.service_updated" => event.text("/data/service/summary").map(str::to_owned),
        "incident.reassigned" | "incident.delegated" | "incident.escalated" => assignees(event),
        _ => None,
    };
    let to = to.map(|to| format!(" to {to}")).unwrap_or_default();
    let responder = event
        .first_text(&["/data/user/summary", "/data/escalation_policy/summary"])
        .filter(|_| kind.starts_with("incident.responder."))
        .map(|responder| format!(": {responder}"))
        .unwrap_or_default();
    let by = event
        .text("/agent/summary")
        .map(|by| format!(" by {by}"))
        .unwrap_or_default();
    let wrote = event
        // Notes have `content`, and status updates `message`; a workflow has a name.
        .first_text(&["/data/content", "/data/message", "/data/summary"])
        .filter(|_| kind != "incident.escalated")
        .map(|wrote| format!("\n{wrote}"))
        .unwrap_or_default();
    format!(
        "{happened}{responder}{to}{by}{wrote}{}",
        bridge(event, kind)
    )
}

/// The names of those who have the incident now.
fn assignees(event: JsonNode<'_>) -> Option<String> {
    let names: Vec<_> = event
        .list("/data/assignees")
        .filter_map(|assignee| assignee.text("/summary"))
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Where people meet, one place a line.
fn bridge(event: JsonNode<'_>, kind: &str) -> String {
    if kind != "incident.conference_bridge.updated" {
        return String::new();
    }
    let url = event
        .first_text(&[
            "/data/conference_url",
            "/data/conference_bridge/conference_url",
        ])
        .map(str::to_owned);
    let numbers = event.list("/data/conference_numbers").filter_map(|number| {
        let label = number.text("/label").unwrap_or("number");
        number
            .text("/number")
            .map(|number| format!("{label}: {number}"))
    });
    let number = event.text_or_number("/data/conference_bridge/conference_number");
    let places = url.into_iter().chain(numbers).chain(number);
    places.map(|place| format!("\n{place}")).collect()
}

fn incident_fields(event: JsonNode<'_>) -> IncidentFields<'_> {
    IncidentFields {
        title: event.text("/data/title"),
        severity: event
            .text_or_number("/data/priority/summary")
            // Accounts without priorities only have an urgency.
            .or_else(|| event.text_or_number("/data/urgency")),
        reported_by: event.name("/agent/summary"),
        reported_at: event.text("/occurred_at").and_then(parse_time),
        started_at: event.text("/data/created_at").and_then(parse_time),
        systems: event.name("/data/service/summary").into_iter().collect(),
        evidence: event
            .text("/data/html_url")
            .map(|url| format!("PagerDuty incident {url}"))
            .into_iter()
            .collect(),
        ..IncidentFields::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, HOOKS, receive};
    use super::super::{HooksConfig, Vendor};
    use super::*;
    use crate::incident::Severity;

    // PagerDuty/go-pagerduty, webhookv3/webhookv3_test.go
    const SECRET: &str = "lDQHScfUeXUKaQRNF+8XIiDKZ7XX3itBAYzwU0TARw8lJqRnkKl2iB1anSb0Z+IK";
    const BODY: &str = r#"{"event":{"id":"01BWDWL3NYY7LUFPZCC28QUCMK","event_type":"incident.priority_updated","resource_type":"incident","occurred_at":"2021-04-26T17:36:27.458Z","agent":{"html_url":"https://acme.pagerduty.com/users/PLH1HKV","id":"PLH1HKV","self":"https://api.pagerduty.com/users/PLH1HKV","summary":"Tenex Engineer","type":"user_reference"},"client":null,"data":{"id":"PGR0VU2","type":"incident","self":"https://api.pagerduty.com/incidents/PGR0VU2","html_url":"https://acme.pagerduty.com/incidents/PGR0VU2","number":2,"status":"triggered","title":"A little bump in the road","service":{"html_url":"https://acme.pagerduty.com/services/PF9KMXH","id":"PF9KMXH","self":"https://api.pagerduty.com/services/PF9KMXH","summary":"API Service","type":"service_reference"},"assignees":[{"html_url":"https://acme.pagerduty.com/users/PTUXL6G","id":"PTUXL6G","self":"https://api.pagerduty.com/users/PTUXL6G","summary":"User 123","type":"user_reference"}],"escalation_policy":{"html_url":"https://acme.pagerduty.com/escalation_policies/PUS0KTE","id":"PUS0KTE","self":"https://api.pagerduty.com/escalation_policies/PUS0KTE","summary":"Default","type":"escalation_policy_reference"},"teams":[{"html_url":"https://acme.pagerduty.com/teams/PFCVPS0","id":"PFCVPS0","self":"https://api.pagerduty.com/teams/PFCVPS0","summary":"Engineering","type":"team_reference"}],"priority":{"html_url":"https://acme.pagerduty.com/account/incident_priorities","id":"PSO75BM","self":"https://api.pagerduty.com/priorities/PSO75BM","summary":"P1","type":"priority_reference"},"urgency":"high","conference_bridge":{"conference_number":1000,"conference_url":"https://example.com"},"resolve_reason":null}}}"#;
    const RIGHT: &str = "v1=0c0b9495b893a39e70d1fea2fe11fbe0a825f88b9f67846f6cc07dd2bc5476cd";
    const WRONG: &str = "v1=7020c8a7ec668a9b7012bc3dd82e483394b038f4230acc6785efbf2a7d8bcaf5";

    fn hooks() -> HooksConfig {
        let mut hooks = HOOKS.clone();
        hooks
            .section_mut(Vendor::PagerDuty)
            .expect("a sample")
            .secrets = vec![HookSecret::new(&"0".repeat(64)), HookSecret::new(SECRET)];
        hooks
    }

    fn with(signature: &str, body: &str) -> Result<WebhookOutcome, WebhookError> {
        receive(
            Vendor::PagerDuty,
            &hooks(),
            &[("x-pagerduty-signature", signature)],
            body.as_bytes(),
        )
    }

    #[test]
    fn accepts_one_matching_signature_of_several() {
        for good in [
            RIGHT.to_owned(),
            format!("{WRONG},{RIGHT}"),
            format!("v2=00,{RIGHT}, {WRONG}"),
        ] {
            let Ok(WebhookOutcome::Update(update)) = with(&good, BODY) else {
                panic!("{good}")
            };
            assert_eq!(
                (update.key.as_str(), update.severity),
                ("pagerduty:PGR0VU2", Some(Severity::Sev1))
            );
            assert_eq!(
                update.note.as_str(),
                "PagerDuty: priority updated to P1 by Tenex Engineer"
            );
            let declare_if_unknown = update.declare_if_unknown.expect("it is severe enough");
            assert_eq!(
                declare_if_unknown.title.as_str(),
                "A little bump in the road"
            );
            assert!(update.delivery_key.is_some(), "the event's id");
        }
        let many = vec![RIGHT; 17].join(",");
        for bad in [
            WRONG,
            "",
            "v1=",
            &RIGHT[3..],
            &RIGHT.replace("v1", "v2"),
            &RIGHT[..66],
            &format!("{RIGHT}00"),
            &many,
        ] {
            assert_eq!(with(bad, BODY), Err(WebhookError::NotAuthentic), "{bad}");
        }
        assert_eq!(with(RIGHT, ""), Err(WebhookError::NotAuthentic));
        assert_eq!(
            with(RIGHT, &BODY.replace("bump", "jump")),
            Err(WebhookError::NotAuthentic)
        );
    }

    #[test]
    fn authentic_body_without_event_is_malformed() {
        for body in [
            "",
            "[]",
            "null",
            "{}",
            r#"{"event":{"event_type":"incident.triggered"}}"#,
        ] {
            let refused = samples::signed(Vendor::PagerDuty, body.as_bytes()).receive();
            assert!(
                matches!(refused, Err(WebhookError::Malformed { .. })),
                "{body}: {refused:?}"
            );
        }
        let ping = samples::signed(
            Vendor::PagerDuty,
            br#"{"event":{"event_type":"pagey.ping","data":{"message":"Hello"}}}"#,
        )
        .receive();
        assert_eq!(
            ping,
            Ok(WebhookOutcome::Ignored {
                reason: "test of the subscription"
            })
        );
    }
}
