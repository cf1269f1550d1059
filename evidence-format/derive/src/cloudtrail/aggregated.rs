//! Aggregated events: what a trail delivers in place of many data events of one five minutes
//! (CloudTrail User Guide, "CloudTrail record contents for aggregated events").
//!
//! Such an event counts requests by one dimension, and by others beside it. Who made which of them
//! is not in it, so it has no actor: the statistics are named in the summary only.

use evidence_format::time::Timestamp;
use serde_json::Value;

use super::NAME_CHARS_MAX;
use crate::json::{list_at, text_at};
use crate::text::shortened;
use crate::{ActivityCategory, ActivityEvent, RecordContext};

/// Values of the primary dimension that a summary names; the record has more.
const VALUES_SHOWN: usize = 3;

/// True for an aggregated event.
pub(super) fn is_aggregated(details: &Value) -> bool {
    text_at(details, "/eventType") == Some("AwsAggregatedEvent")
        || text_at(details, "/eventCategory") == Some("Aggregated")
}

pub(super) fn event_of(context: &RecordContext<'_>, details: &Value) -> ActivityEvent {
    let source = text_at(details, "/eventSource").unwrap_or("unknown service");
    let service = source.strip_suffix(".amazonaws.com").unwrap_or(source);
    let action = format!("{service}/Aggregated");
    let mut event = ActivityEvent::new(context, ActivityCategory::Other, &action);
    if let Some(text) = text_at(details, "/timeWindow/windowStart")
        && let Some(time) = Timestamp::parse_lenient(text)
    {
        (event.time, event.time_text) = (time, text.to_owned());
    }
    event.event_id = text_at(details, "/eventId")
        .or(text_at(details, "/eventID"))
        .map(str::to_owned);
    event.summary = summary(details, service);
    event
}

/// Such as `1,204 requests to s3, by eventName: GetObject 1,200, PutObject 4, until …`.
fn summary(details: &Value, service: &str) -> String {
    let primary = "/summary/primaryDimension";
    let statistics: Vec<(&str, u64)> = list_at(details, &format!("{primary}/statistics"))
        .iter()
        .filter_map(|statistic| {
            let count = statistic.get("value").and_then(Value::as_u64)?;
            Some((text_at(statistic, "/name")?, count))
        })
        .collect();
    let total: u64 = statistics
        .iter()
        .fold(0, |sum, (_, count)| sum.saturating_add(*count));
    let mut text = format!("{total} requests to {}", shortened(service, NAME_CHARS_MAX));
    if let Some(dimension) = text_at(details, &format!("{primary}/dimension")) {
        text += &format!(", by {}", shortened(dimension, NAME_CHARS_MAX));
    }
    let shown: Vec<String> = statistics
        .iter()
        .take(VALUES_SHOWN)
        .map(|(name, count)| format!("{} {count}", shortened(name, NAME_CHARS_MAX)))
        .collect();
    if !shown.is_empty() {
        text += &format!(": {}", shown.join(", "));
    }
    if statistics.len() > VALUES_SHOWN {
        text += &format!(" and {} more", statistics.len() - VALUES_SHOWN);
    }
    if let Some(region) = text_at(details, "/awsRegion") {
        text += &format!(" in {}", shortened(region, NAME_CHARS_MAX));
    }
    if let Some(until) = text_at(details, "/timeWindow/windowEnd") {
        text += &format!(" until {}", shortened(until, NAME_CHARS_MAX));
    }
    text
}
