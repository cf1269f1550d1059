//! Events of senders that have no documents of their own: what members mean.
//!
//! Titles, severities and times are found under the usual names. `play`, `pivots` (texts such as
//! `access-key=AKIA…`), `systems`, `impact` and `started` are ours: who writes a sender for us uses
//! them, and what is wrong in them is refused, never left out in silence.

use serde_json::Value;

use super::payload::{IncidentFields, JsonNode, PIVOTS_MAX, parse_time};
use super::{HookContext, WebhookError};
use crate::incident::{Line, Name, Pivot, PlayName};

/// What is known of an incident from `data`; `at` is the time of the event.
pub(super) fn incident_fields<'e>(
    hook: &HookContext<'_>,
    data: JsonNode<'e>,
    at: Option<&str>,
) -> Result<IncidentFields<'e>, WebhookError> {
    Ok(IncidentFields {
        title: data.first_text(&["/title", "/name", "/summary", "/message", "/subject"]),
        severity: severity(data),
        play: data
            .text("/play")
            .map(|text| play(hook, text))
            .transpose()?,
        reported_by: data
            .first_text(&["/reported_by", "/reportedBy", "/reporter", "/user"])
            .map(Name::escaped),
        reported_at: at.and_then(parse_time),
        started: data
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

/// The word for how bad it is.
pub(super) fn severity(data: JsonNode<'_>) -> Option<String> {
    ["/severity", "/priority", "/urgency", "/level"]
        .iter()
        .find_map(|pointer| data.text_or_number(pointer))
}

fn evidence(data: JsonNode<'_>) -> impl Iterator<Item = String> {
    ["/description", "/details", "/url", "/link"]
        .into_iter()
        .filter_map(move |pointer| data.text(pointer))
        .map(str::to_owned)
}

/// A play that there is.
pub(super) fn play(hook: &HookContext<'_>, text: &str) -> Result<PlayName, WebhookError> {
    let name: PlayName = text.parse().map_err(wrong)?;
    hook.plays.get(&name).map_err(wrong)?;
    Ok(name)
}

fn pivots<'e>(texts: impl Iterator<Item = &'e Value>) -> Result<Vec<Pivot>, WebhookError> {
    let read = |value: &Value| {
        value
            .as_str()
            .unwrap_or_default()
            .parse::<Pivot>()
            .map_err(wrong)
    };
    let pivots = texts.map(read).collect::<Result<Vec<_>, _>>()?;
    if pivots.len() > PIVOTS_MAX {
        return Err(wrong(format!(
            "it has {} pivots, limit is {PIVOTS_MAX}",
            pivots.len()
        )));
    }
    Ok(pivots)
}

fn wrong(reason: impl ToString) -> WebhookError {
    WebhookError::InvalidValue {
        reason: Line::escaped(&reason.to_string()),
    }
}
