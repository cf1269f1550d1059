//! Reads events from CloudTrail's responses. Pure. Evidence does not depend on it: the bytes are
//! kept as they were received.

use std::borrow::Cow;

use evidence_format::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ProviderEvent;
use crate::coverage::{CountedRecord, UnreadableBody};

/// Longest name in a summary. Anyone who makes a request chooses some of them.
const NAME_CHARS_MAX: usize = 120;

/// A response of LookupEvents, as far as it is read.
#[derive(Deserialize)]
struct LookupEventsPage<'a> {
    #[serde(borrow, rename = "Events")]
    events: Vec<&'a RawValue>,
}

/// What coverage needs of an element of `Events` (CloudTrail API Reference, `Event`).
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EventHeader<'a> {
    #[serde(borrow)]
    event_id: Option<Cow<'a, str>>,
    event_time: Option<f64>,
}

/// What a summary needs of an element of `Events`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LookupEvent {
    event_id: Option<String>,
    event_time: Option<f64>,
    event_name: Option<String>,
    username: Option<String>,
    /// The event as CloudTrail delivers it to S3: JSON in a string.
    cloud_trail_event: Option<String>,
}

/// What a summary needs of the event itself (CloudTrail User Guide, "CloudTrail record contents").
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct CloudTrailRecord {
    aws_region: Option<String>,
    #[serde(rename = "sourceIPAddress")]
    source_ip_address: Option<String>,
    error_code: Option<String>,
    user_identity: UserIdentity,
    response_elements: Option<ResponseElements>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct UserIdentity {
    arn: Option<String>,
    #[serde(rename = "invokedBy")]
    invoked_by: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseElements {
    /// `Success` or `Failure`: a failed login has no `errorCode`.
    #[serde(rename = "ConsoleLogin")]
    console_login: Option<String>,
}

/// Calls `visit` with the time and id of every event.
pub(super) fn for_each_event(
    body: &[u8],
    visit: &mut dyn FnMut(CountedRecord<'_>),
) -> Result<(), UnreadableBody> {
    let page: LookupEventsPage<'_> = serde_json::from_slice(body).map_err(|_| UnreadableBody)?;
    for event in page.events {
        let header = serde_json::from_str::<EventHeader<'_>>(event.get()).ok();
        let time = header
            .as_ref()
            .and_then(|header| header.event_time)
            .and_then(time);
        visit(CountedRecord {
            time,
            id: header
                .as_ref()
                .and_then(|header| header.event_id.as_deref()),
            is_readable: time.is_some(),
        });
    }
    Ok(())
}

/// Reads one element of `Events`, with or without the comma after it.
pub(super) fn parse_event(record: &[u8]) -> Option<ProviderEvent> {
    let record = record.trim_ascii();
    let element = record.strip_suffix(b",").unwrap_or(record);
    let event: LookupEvent = serde_json::from_slice(element).ok()?;
    // an event whose inner JSON is missing or unreadable still has a name and a time
    let details: CloudTrailRecord = event
        .cloud_trail_event
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let name = event.event_name?;
    Some(ProviderEvent {
        time: event.event_time.and_then(time)?,
        kind: format!("aws.{}", truncated(&name)),
        summary: summary(&name, event.username.as_deref(), &details),
        id: event.event_id,
    })
}

/// Such as `ConsoleLogin by mallory from 203.0.113.7 in us-east-1: Failure`.
fn summary(name: &str, user: Option<&str>, details: &CloudTrailRecord) -> String {
    let identity = &details.user_identity;
    let actor = user
        .or(identity.arn.as_deref())
        .or(identity.invoked_by.as_deref())
        .unwrap_or("an unnamed identity");
    let mut text = format!("{} by {}", truncated(name), truncated(actor));
    for (preposition, value) in [
        ("from", &details.source_ip_address),
        ("in", &details.aws_region),
    ] {
        if let Some(value) = value {
            text.push_str(&format!(" {preposition} {}", truncated(value)));
        }
    }
    let login_outcome = details
        .response_elements
        .as_ref()
        .and_then(|elements| elements.console_login.as_ref());
    if let Some(outcome) = details.error_code.as_ref().or(login_outcome) {
        text.push_str(&format!(": {}", truncated(outcome)));
    }
    text
}

fn truncated(text: &str) -> String {
    text.chars().take(NAME_CHARS_MAX).collect()
}

/// Seconds since 1970, as CloudTrail gives them; `None` far outside of our calendar.
fn time(seconds: f64) -> Option<Timestamp> {
    let milliseconds = (seconds * 1000.0).round();
    (milliseconds.abs() < 1e15)
        .then(|| Timestamp::from_unix_nanoseconds(milliseconds as i128 * 1_000_000))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: &str = r#"{"EventId":"e-1","EventName":"ConsoleLogin","EventTime":1.6274824925E9,"Username":"mallory",
        "CloudTrailEvent":"{\"awsRegion\":\"us-east-1\",\"sourceIPAddress\":\"203.0.113.7\",\"responseElements\":{\"ConsoleLogin\":\"Failure\"}}"}"#;

    #[test]
    fn summarises_event_in_one_line() {
        let event = parse_event(format!("{LOGIN},").as_bytes()).expect("an event");
        assert_eq!(
            event.summary,
            "ConsoleLogin by mallory from 203.0.113.7 in us-east-1: Failure"
        );
        assert_eq!(
            (event.kind.as_str(), event.id.as_deref()),
            ("aws.ConsoleLogin", Some("e-1"))
        );
        assert_eq!(event.time.to_string(), "2021-07-28T14:28:12.5Z");
    }

    #[test]
    fn tolerates_missing_and_odd_fields() {
        let odd = r#"{"EventName":"X","EventTime":0,"CloudTrailEvent":"not JSON"}"#;
        assert_eq!(
            parse_event(odd.as_bytes()).expect("an event").summary,
            "X by an unnamed identity"
        );
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"EventName":"X"}"#,
            r#"{"EventName":"X","EventTime":1e300}"#,
        ] {
            assert_eq!(parse_event(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn visits_each_event_of_page() {
        let body = format!(r#"{{"Events":[{LOGIN},{{"EventId":7}},{LOGIN}],"NextToken":"n"}}"#);
        let mut seen = Vec::new();
        let read = for_each_event(body.as_bytes(), &mut |record| {
            seen.push((record.is_readable, record.id.map(str::to_owned)));
        });
        assert!(read.is_ok());
        let login = (true, Some("e-1".to_owned()));
        assert_eq!(seen, [login.clone(), (false, None), login]);
        let mut none = |_: CountedRecord<'_>| panic!("no event");
        assert!(for_each_event(br#"{"Events":[]}"#, &mut none).is_ok());
        let refusal = br#"{"__type":"AccessDeniedException"}"#;
        assert!(for_each_event(refusal, &mut none).is_err());
        assert!(for_each_event(br#"{"Events":["#, &mut none).is_err());
    }
}
