//! Reads from CloudTrail's responses what coverage counts. Pure. Evidence does not depend on it: the
//! bytes are kept as they were received. What an event says is read by `evidence_derive`.

use std::borrow::Cow;

use evidence_format::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

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

/// Calls `visit` with the time and id of every event; false if `body` is not a page.
pub(super) fn for_each_event(
    body: &[u8],
    visit: &mut dyn FnMut(Option<Timestamp>, Option<&str>),
) -> bool {
    let Ok(page) = serde_json::from_slice::<LookupEventsPage<'_>>(body) else {
        return false;
    };
    for event in page.events {
        match serde_json::from_str::<EventHeader<'_>>(event.get()) {
            Ok(element) => visit(
                element.event_time.and_then(time),
                element.event_id.as_deref(),
            ),
            Err(_) => visit(None, None), // still an event, which coverage must count
        }
    }
    true
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
        assert!(for_each_event(body.as_bytes(), &mut |time, id| seen
            .push((time.is_some(), id.map(str::to_owned)))));
        let login = (true, Some("e-1".to_owned()));
        assert_eq!(seen, [login.clone(), (false, None), login]);
        let mut none = |_: Option<Timestamp>, _: Option<&str>| panic!("no event");
        assert!(for_each_event(br#"{"Events":[]}"#, &mut none));
        assert!(!for_each_event(
            br#"{"__type":"AccessDeniedException"}"#,
            &mut none
        ));
        assert!(!for_each_event(br#"{"Events":["#, &mut none));
    }
}
