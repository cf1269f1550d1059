//! incident.io: <https://docs.incident.io/api-reference/webhooks>. Its webhooks are Standard
//! Webhooks, sent by Svix.
//!
//! The payload is in a member with the name of the event. Of a private incident it has only the id.
//! incident.io documents that events may arrive out of order, so an update declares an incident
//! that is not yet known.

use super::payload::{IncidentFields, JsonNode, VendorEvent, parse_object, parse_time};
use super::standard::verify;
use super::{HookContext, IncidentUpdate, WebhookDelivery, WebhookError, WebhookOutcome};
use crate::incident::Name;

pub(super) fn receive(
    hook: &HookContext<'_>,
    delivery: &WebhookDelivery<'_>,
) -> Result<WebhookOutcome, WebhookError> {
    let message = verify(&hook.config.secrets, delivery)?;
    let body = parse_object(delivery.body)?;
    let kind = JsonNode(&body).required_text("/event_type", "event type")?;
    let payload = JsonNode(&body).member(kind);
    match kind {
        "public_incident.incident_created_v2" | "private_incident.incident_created_v2" => {
            let id = payload.required_text("/id", "incident id")?;
            Ok(reason_to_ignore(payload).map_or_else(
                || {
                    WebhookOutcome::Declare(hook.trigger(
                        &VendorEvent {
                            id: &[id],
                            delivery: Some(message),
                            kind,
                        },
                        incident_fields(payload),
                    ))
                },
                |reason| WebhookOutcome::Ignored { reason },
            ))
        }
        "public_incident.incident_updated_v2" => updated(
            hook,
            message,
            kind,
            payload,
            payload.text("/most_recent_update_message"),
        ),
        "public_incident.incident_status_updated_v2" => updated(
            hook,
            message,
            kind,
            payload.at("/incident"),
            payload.text("/message"),
        ),
        _ => Ok(WebhookOutcome::Ignored {
            reason: "the event is not about an incident",
        }),
    }
}

/// Why an incident is not a real one. `mode` is one of standard, retrospective, test and tutorial.
fn reason_to_ignore(incident: JsonNode<'_>) -> Option<&'static str> {
    matches!(incident.text("/mode"), Some("test" | "tutorial"))
        .then_some("test or tutorial of incident.io")
}

fn updated(
    hook: &HookContext<'_>,
    message: &str,
    kind: &str,
    incident: JsonNode<'_>,
    wrote: Option<&str>,
) -> Result<WebhookOutcome, WebhookError> {
    let id = incident.required_text("/id", "incident id")?;
    if let Some(reason) = reason_to_ignore(incident) {
        return Ok(WebhookOutcome::Ignored { reason });
    }
    let event = VendorEvent {
        id: &[id],
        delivery: Some(message),
        kind,
    };
    let status = incident
        .text("/incident_status/name")
        .map(|name| format!(", status {name}"))
        .unwrap_or_default();
    let level = incident
        .text("/severity/name")
        .map(|name| format!(", severity {name}"))
        .unwrap_or_default();
    let wrote = wrote.map(|wrote| format!("\n{wrote}")).unwrap_or_default();
    let reference = incident.text("/reference").unwrap_or("incident");
    let update = hook.update(
        &event,
        &format!("{reference} updated{status}{level}{wrote}"),
    );
    let trigger = hook.trigger(&event, incident_fields(incident));
    // Without a word, `trigger` has the configured default, which must not raise anything.
    let severity = incident.text("/severity/name").map(|_| trigger.severity);
    // An incident that is over by now needs no response, only a note if it is known.
    let has_ended = matches!(
        incident.text("/incident_status/category"),
        Some("closed" | "canceled" | "declined" | "merged")
    );
    Ok(WebhookOutcome::Update(Box::new(IncidentUpdate {
        severity,
        has_ended,
        declare_if_unknown: (!has_ended).then_some(trigger),
        ..update
    })))
}

fn incident_fields(incident: JsonNode<'_>) -> IncidentFields<'_> {
    // Each organisation names its timestamps; this one says when the harm began.
    let started_at = incident.list("/incident_timestamp_values").find(|value| {
        value
            .text("/incident_timestamp/name")
            .is_some_and(|name| name.eq_ignore_ascii_case("impact started"))
    });
    let link = incident
        .text("/permalink")
        .map(|link| format!("incident.io incident {link}"));
    IncidentFields {
        title: Some(
            incident
                .text("/name")
                // A private incident is sent without its name.
                .unwrap_or("private incident of incident.io"),
        ),
        severity: incident.text_or_number("/severity/name"),
        reported_by: incident
            .first_text(&[
                "/creator/user/name",
                "/creator/workflow/name",
                "/creator/api_key/name",
            ])
            .map(Name::escaped),
        reported_at: incident.text("/created_at").and_then(parse_time),
        started_at: started_at
            .and_then(|value| value.text("/value/value"))
            .and_then(parse_time),
        evidence: link
            .into_iter()
            .chain(incident.text("/summary").map(str::to_owned))
            .collect(),
        ..IncidentFields::default()
    }
}
