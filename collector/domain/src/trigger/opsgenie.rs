//! Opsgenie: <https://support.atlassian.com/opsgenie/docs/integrate-opsgenie-with-webhook/>.
//!
//! Opsgenie signs nothing. Its webhook integration sends what the operator gives it: a header of
//! its own, or an `Authorization` header, or a URL with a user and a password, which becomes basic
//! authentication. `createdAt` is in milliseconds, `updatedAt` beside it in nanoseconds, beyond
//! 2^53. `priority` is `P3`, or 3.

use evidence_format::time::Timestamp;

use super::authenticity::{check_authorization, check_token, header};
use super::payload::{IncidentFields, JsonNode, VendorEvent, parse_object};
use super::{
    HookConfig, HookContext, IncidentUpdate, WebhookDelivery, WebhookError, WebhookOutcome,
};
use crate::incident::Name;
use http::HeaderMap;

pub(super) fn receive(
    hook: &HookContext<'_>,
    delivery: &WebhookDelivery<'_>,
) -> Result<WebhookOutcome, WebhookError> {
    check_headers(hook.config, delivery.headers)?;
    let body = parse_object(delivery.body)?;
    let whole = JsonNode(&body);
    let action = whole.required_text("/action", "action")?;
    let alert = whole.at("/alert");
    let id = alert.required_text("/alertId", "alert id")?;
    // Events have no id. The action and its time in nanoseconds identify one, also in a retry.
    let at = alert
        .at("/updatedAt")
        .0
        .as_u64()
        .map(|at| format!("{action} {at}"));
    let event = VendorEvent {
        id: &[id],
        delivery: at.as_deref(),
        kind: action,
    };
    match action {
        "Create" => Ok(WebhookOutcome::Declare(
            hook.trigger(&event, incident_fields(whole)),
        )),
        "UpdatePriority" => {
            let trigger = hook.trigger(&event, incident_fields(whole));
            let update = hook.update(&event, &note_text(action, alert));
            Ok(WebhookOutcome::Update(Box::new(IncidentUpdate {
                severity: Some(trigger.severity),
                declare_if_unknown: Some(trigger),
                ..update
            })))
        }
        // All that people do about a known incident is worth a note: who took it, and when. After
        // `Close` and `Delete` the alert is over, but the incident is closed by people.
        _ => Ok(WebhookOutcome::Update(Box::new(IncidentUpdate {
            has_ended: matches!(action, "Close" | "Delete"),
            ..hook.update(&event, &note_text(action, alert))
        }))),
    }
}

/// Checks the token or password, all of which is in the headers.
pub(super) fn check_headers(config: &HookConfig, headers: &HeaderMap) -> Result<(), WebhookError> {
    match &config.token_header {
        Some(name) => check_token(
            config,
            header(headers, name).ok_or(WebhookError::NotAuthentic)?,
        ),
        None => check_authorization(config, headers),
    }
}

fn note_text(action: &str, alert: JsonNode<'_>) -> String {
    let by = alert
        .text("/username")
        .map(|by| format!(" by {by}"))
        .unwrap_or_default();
    let to = match action {
        "UpdatePriority" => alert.text_or_number("/priority"),
        "AssignOwnership" | "TakeOwnership" | "EscalateNext" => {
            alert.text("/owner").map(str::to_owned)
        }
        "AddTeam" => alert.text("/addedTeams").map(str::to_owned),
        "AddResponder" | "AddRecipient" => alert
            .first_text(&["/responder", "/recipient"])
            .map(str::to_owned),
        "Snooze" => alert.text("/snoozeEndDate").map(str::to_owned),
        _ => None,
    };
    let to = to.map(|to| format!(" to {to}")).unwrap_or_default();
    let wrote = match action {
        "AddNote" | "Acknowledge" | "UnAcknowledge" | "Close" => alert.text("/note"),
        "UpdateMessage" => alert.text("/message"),
        "UpdateDescription" => alert.text("/description"),
        _ => None,
    };
    format!(
        "{action}{to}{by}{}",
        wrote.map(|wrote| format!("\n{wrote}")).unwrap_or_default()
    )
}

fn incident_fields(whole: JsonNode<'_>) -> IncidentFields<'_> {
    let alert = whole.at("/alert");
    let created = alert
        .at("/createdAt")
        .0
        .as_u64()
        // In `i128`, since the number is the sender's and may be absurd.
        .map(|milliseconds| i128::from(milliseconds) * 1_000_000);
    let created = created.and_then(Timestamp::from_unix_nanoseconds);
    let tags: Vec<&str> = alert
        .list("/tags")
        .filter_map(|tag| tag.0.as_str())
        .collect();
    let tags = (!tags.is_empty()).then(|| format!("tags: {}", tags.join(", ")));
    let number = alert
        .text("/tinyId")
        .map(|number| format!("Opsgenie alert #{number}"));
    IncidentFields {
        title: alert.text("/message"),
        severity: alert.text_or_number("/priority").map(|word| {
            // A bare 3 is the priority P3: as it is, it would be read as SEV-3, and 5 would be
            // unknown.
            if word.starts_with(|c: char| c.is_ascii_digit()) {
                format!("P{word}")
            } else {
                word
            }
        }),
        reported_by: alert
            .first_text(&["/username", "/source"])
            .map(Name::escaped),
        reported_at: created,
        started_at: created,
        systems: alert.name("/entity").into_iter().collect(),
        evidence: number
            .into_iter()
            .chain(tags)
            .chain(alert.text("/description").map(str::to_owned))
            .collect(),
        ..IncidentFields::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Vendor;
    use super::super::samples::{HOOKS, SECRET, receive, signed};
    use super::*;
    use crate::incident::{IncidentStatus, Severity};

    #[test]
    fn token_is_read_from_configured_header_only() {
        let body = br#"{"action":"Create","alert":{"alertId":"a","message":"m","priority":"P4"}}"#;
        let of = |named: &[(&str, &str)]| receive(Vendor::Opsgenie, &HOOKS, named, body);
        let Ok(WebhookOutcome::Declare(trigger)) = of(&[("x-exhibit-token", SECRET)]) else {
            panic!("no declaration")
        };
        assert_eq!(
            (trigger.key.as_str(), trigger.severity),
            ("opsgenie:a", Severity::Sev4)
        );
        let bearer = format!("Bearer {SECRET}");
        let wrong = [
            ("x-exhibit-token", &SECRET[1..]),
            ("x-other", SECRET),
            ("authorization", &bearer),
            ("x-exhibit-token", &bearer),
        ];
        for bad in wrong {
            assert_eq!(of(&[bad]), Err(WebhookError::NotAuthentic), "{bad:?}");
        }
    }

    #[test]
    fn priority_raises_severity_but_never_lowers_it() {
        let body = br#"{"action":"UpdatePriority","alert":{"alertId":"a","message":"m","oldPriority":"P3","priority":"P1","username":"ann"}}"#;
        let Ok(WebhookOutcome::Update(update)) = signed(Vendor::Opsgenie, body).receive() else {
            panic!("no update")
        };
        assert_eq!(
            update.note.as_str(),
            "Opsgenie: UpdatePriority to P1 by ann"
        );
        let lower = IncidentUpdate {
            severity: Some(Severity::Sev4),
            ..(*update).clone()
        };
        let open = IncidentStatus::Investigating;
        for (update, current, status, commands) in [
            (&*update, Severity::Sev3, open, 2), // a note and the severity
            (&update, Severity::Sev1, open, 1),
            (&update, Severity::Sev3, IncidentStatus::Closed, 1),
            (&lower, Severity::Sev3, open, 1),
        ] {
            assert_eq!(
                update.commands(current, status).len(),
                commands,
                "{status:?}"
            );
        }
    }
}
