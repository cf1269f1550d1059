//! Reads events of senders whose format is not documented.
//!
//! Titles, severities and times are taken from members with the usual names. `play`, `pivots`
//! (texts such as `access-key=AKIA…`), `systems`, `impact` and `started_at` are for senders written
//! for Exhibit: a wrong play or pivot is an error, never dropped silently.

use serde_json::Value;

use super::payload::{IncidentFields, JsonNode, PIVOTS_MAX, parse_time};
use super::{HookContext, WebhookError};
use crate::incident::{Line, Name, Pivot, PlayName};

/// What `data` says about an incident; `at` is the time of the event.
pub(super) fn incident_fields<'e>(
    hook: &HookContext<'_>,
    data: JsonNode<'e>,
    at: Option<&str>,
) -> Result<IncidentFields<'e>, WebhookError> {
    Ok(IncidentFields {
        title: data.first_text(&["/title", "/name", "/summary", "/message", "/subject"]),
        severity: severity(hook, data),
        play: data
            .text("/play")
            .map(|text| play(hook, text))
            .transpose()?,
        reported_by: data
            .first_text(&["/reported_by", "/reportedBy", "/reporter", "/user"])
            .map(Name::escaped),
        reported_at: at.and_then(parse_time),
        started_at: data
            .first_text(&["/started", "/started_at", "/startedAt"])
            .and_then(parse_time),
        systems: data
            .list("/systems")
            .filter_map(|system| system.0.as_str())
            .map(Name::escaped)
            .collect(),
        impact: data.text("/impact").map(Line::escaped),
        evidence: evidence(data).collect(),
        pivots: pivots(data.list("/pivots").map(|pivot| pivot.0))?,
    })
}

/// The sender's word for the severity. Of several members that have one, the worst counts.
pub(super) fn severity(hook: &HookContext<'_>, data: JsonNode<'_>) -> Option<String> {
    let members = [
        "/severity",
        "/severity/name",
        "/priority",
        "/priority/name",
        "/sev",
        "/criticality",
        "/urgency",
        "/level",
    ];
    let words = members
        .iter()
        .filter_map(|pointer| data.text_or_number(pointer));
    hook.worst_word(words)
}

fn evidence(data: JsonNode<'_>) -> impl Iterator<Item = String> {
    ["/description", "/details", "/url", "/link"]
        .into_iter()
        .filter_map(move |pointer| data.text(pointer))
        .map(str::to_owned)
}

/// Parses the name of an existing play.
pub(super) fn play(hook: &HookContext<'_>, text: &str) -> Result<PlayName, WebhookError> {
    let name: PlayName = text.parse().map_err(invalid_value)?;
    hook.plays.get(&name).map_err(invalid_value)?;
    Ok(name)
}

fn pivots<'e>(texts: impl Iterator<Item = &'e Value>) -> Result<Vec<Pivot>, WebhookError> {
    let pivots = texts
        .map(|value| {
            // What is not a text becomes an invalid pivot: nothing is dropped silently.
            let text = value.as_str().unwrap_or_default();
            text.parse::<Pivot>().map_err(invalid_value)
        })
        .collect::<Result<Vec<_>, _>>()?;
    if pivots.len() > PIVOTS_MAX {
        return Err(invalid_value(format!(
            "it has {} pivots, limit is {PIVOTS_MAX}",
            pivots.len()
        )));
    }
    Ok(pivots)
}

fn invalid_value(reason: impl ToString) -> WebhookError {
    WebhookError::InvalidValue {
        reason: Line::escaped(&reason.to_string()),
    }
}
