//! Records of any log, by what the collector's configuration says of them.
//!
//! The endpoint has it: `http_log:payments?records=/data&time=/at&actor=/user/email`. `records` is
//! where a page has its list; without it, each record is a line. All others are where a record has
//! what the timeline shows.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use evidence_format::time::Timestamp;
use serde_json::Value;

use crate::element::{
    JsonElement, PART_CHARS_MAX, note_missing_time, percent_decoded, summary_of, visit_event,
};
use crate::json::{id_at, parse_record};
use crate::text::shortened;
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, Deriver, EntityKind, EntityRef,
    RecordContext, ocsf,
};

/// Reads records of logs that the configuration names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpLogDeriver;

impl Deriver for HttpLogDeriver {
    fn name(&self) -> &'static str {
        "http_log"
    }

    fn version(&self) -> u32 {
        1
    }

    fn reads(&self, record: &RecordContext<'_>) -> bool {
        RecordMapping::of(record.endpoint).is_some()
    }

    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
        let Some(places) = RecordMapping::of(record.endpoint) else {
            return;
        };
        if !matches!(record.status, 0 | 200..=299) {
            return;
        }
        let Some(value) = parse_record(record.bytes) else {
            visit_event(ActivityEvent::unreadable(record, "not JSON"), visit);
            return;
        };
        // A page is one record unless its list has a name that all programs know.
        let list = places.get("records").and_then(|at| value.pointer(at));
        match list.and_then(Value::as_array) {
            Some(list) => {
                let elements = list.iter().map(|one| JsonElement::new(record, one));
                elements.for_each(|element| visit_event(event(&places, &element), visit));
            }
            None => visit_event(event(&places, &JsonElement::new(record, &value)), visit),
        }
    }
}

/// Where records have what the timeline shows.
struct RecordMapping {
    /// Of the log.
    name: String,
    pointers: BTreeMap<String, String>,
}

impl RecordMapping {
    /// `None` if the endpoint does not say where a record has its time: then there are no events.
    fn of(endpoint: &str) -> Option<Self> {
        let (name, query) = endpoint.strip_prefix("http_log:")?.split_once('?')?;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let decoded = |text: &str| percent_decoded(&text.replace('+', " "));
        let pointers: BTreeMap<String, String> = pairs
            .map(|(name, place)| (name.to_owned(), decoded(place)))
            .collect();
        pointers.contains_key("time").then(|| Self {
            name: name.to_owned(),
            pointers,
        })
    }

    fn get(&self, what: &str) -> Option<&str> {
        self.pointers.get(what).map(String::as_str)
    }

    fn text(&self, what: &str, element: &JsonElement<'_>) -> Option<String> {
        element.id(self.get(what)?)
    }

    fn entity(&self, what: &str, kind: EntityKind, element: &JsonElement<'_>) -> Option<EntityRef> {
        Some(EntityRef::new(kind, self.text(what, element)?))
    }
}

fn event(places: &RecordMapping, element: &JsonElement<'_>) -> ActivityEvent {
    let action = places.text("action", element);
    let category = places.get("category").and_then(|name| {
        let mut all = ActivityCategory::ALL.into_iter();
        all.find(|category| category.as_str() == name)
    });
    let mut event = element.event(
        &[],
        category.unwrap_or(ActivityCategory::Other),
        action.as_deref().unwrap_or(&places.name),
    );
    let has_time = set_time(&mut event, places, element);
    if event.category == ActivityCategory::Authentication {
        (event.class, event.activity) = (ocsf::AUTHENTICATION, ocsf::OTHER);
    }
    event.actor = places.entity("actor", EntityKind::User, element);
    event.credential = places.entity("credential", EntityKind::Credential, element);
    let target = places.entity("target", EntityKind::Other, element);
    event.targets = target.into_iter().collect();
    event.address = places.text("address", element);
    event.transaction = places.text("transaction", element);
    event.event_id = places.text("id", element);
    if let Some(outcome) = places
        .get("outcome")
        .and_then(|at| element.value.pointer(at))
    {
        event.outcome = outcome_of(outcome);
        event.reason = id_at(outcome, "");
    }
    event.summary = match places.text("message", element) {
        Some(message) => {
            let message = shortened(&message, PART_CHARS_MAX);
            format!("{}: {message}", places.name)
        }
        None => summary_of(&event, &format!("{}: {}", places.name, event.action)),
    };
    if !has_time {
        note_missing_time(&mut event, &[], element.value);
    }
    event
}

/// Applications write times in any way: RFC 3339, seconds or milliseconds since 1970, and times
/// without a zone, which are read as UTC. False if there is none.
fn set_time(event: &mut ActivityEvent, places: &RecordMapping, element: &JsonElement<'_>) -> bool {
    let Some(text) = places.text("time", element) else {
        return false;
    };
    let without_zone = format!("{}Z", text.trim().replacen(' ', "T", 1).replace(',', "."));
    let known = Timestamp::parse_lenient(&text);
    let time = known.or_else(|| Timestamp::parse_lenient(&without_zone));
    event.time_assumed_utc = known.is_none() && time.is_some();
    event.time = time.unwrap_or(event.time);
    event.time_text = text;
    time.is_some()
}

/// The outcome that a word, a truth value or a status of HTTP says.
fn outcome_of(value: &Value) -> ActivityOutcome {
    const SUCCESS: [&str; 8] = [
        "success",
        "succeeded",
        "ok",
        "true",
        "allow",
        "allowed",
        "granted",
        "accepted",
    ];
    const FAILURE: [&str; 9] = [
        "failure", "failed", "fail", "error", "false", "deny", "denied", "refused", "rejected",
    ];
    let text = match value {
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.to_lowercase(),
        Value::Null | Value::Array(_) | Value::Object(_) => return ActivityOutcome::Unknown,
    };
    match text.parse::<u16>() {
        Ok(100..=399) => ActivityOutcome::Success,
        Ok(400..=599) => ActivityOutcome::Failure,
        Ok(_) => ActivityOutcome::Unknown,
        Err(_) if SUCCESS.contains(&text.as_str()) => ActivityOutcome::Success,
        Err(_) if FAILURE.contains(&text.as_str()) => ActivityOutcome::Failure,
        Err(_) => ActivityOutcome::Unknown,
    }
}
