//! Reads from CloudTrail's responses what coverage counts. Pure. Evidence does not depend on it: the
//! bytes are kept as they were received. What an event says is read by `evidence_derive`.

use std::borrow::Cow;

use evidence_format::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::coverage::{CountedRecord, UnreadableBody};

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
