//! Trims a response to what paging needs, before the SDK parses it: the token of the next page, and
//! the ids of its events and the time of the oldest one.
//!
//! The SDK would copy each of 50 events into a dozen strings that nobody reads, which costs as much
//! as everything else that is done for a page. The recorder, below the SDK, has the whole response.
//! A response that cannot be read here goes to the SDK untouched: its error says what is wrong.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use serde::{Deserialize, Serialize};

use crate::loop_guard::digest;

/// Trims the response to one request. Clones share what is known of its events.
#[derive(Debug, Clone, Default)]
pub(super) struct ResponseTrimmer(Arc<Mutex<PageEvents>>);

/// What of a page's events decides how to continue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PageEvents {
    /// The second of the oldest one; `None` if there are none.
    pub(super) oldest: Option<i64>,
    /// Digest of their ids, in order; `None` if there are none.
    pub(super) ids: Option<u64>,
}

impl PageEvents {
    /// Of events with these ids and times.
    pub(super) fn of<'e>(events: impl Iterator<Item = (Option<&'e str>, Option<i64>)>) -> Self {
        let (mut ids, mut oldest) = (Vec::new(), None::<i64>);
        for (id, time) in events {
            ids.extend_from_slice(id.unwrap_or_default().as_bytes());
            ids.push(0);
            oldest = oldest.into_iter().chain(time).min();
        }
        Self {
            oldest,
            ids: (!ids.is_empty()).then(|| digest(&ids)),
        }
    }
}

impl ResponseTrimmer {
    /// The events of the response; none if it was not trimmed.
    pub(super) fn events(&self) -> PageEvents {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Intercept for ResponseTrimmer {
    fn name(&self) -> &'static str {
        "ResponseTrimmer"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        if !response.status().is_success() {
            return Ok(());
        }
        let Some((trimmed, events)) = response.body().bytes().and_then(trim) else {
            return Ok(());
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = events;
        *response.body_mut() = SdkBody::from(trimmed);
        Ok(())
    }
}

/// A response of LookupEvents (CloudTrail API Reference), as far as it is read.
#[derive(Deserialize)]
struct LookupResponse<'b> {
    #[serde(rename = "Events", default, borrow)]
    events: Vec<EventHead<'b>>,
    #[serde(rename = "NextToken")]
    token: Option<String>,
}

#[derive(Deserialize)]
struct EventHead<'b> {
    #[serde(rename = "EventId", borrow)]
    id: Option<Cow<'b, str>>,
    /// Seconds since 1970.
    #[serde(rename = "EventTime")]
    time: Option<f64>,
}

/// A response without its events.
#[derive(Serialize)]
struct TrimmedResponse {
    #[serde(rename = "NextToken", skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// The body without its events, and what is to be known of them.
fn trim(body: &[u8]) -> Option<(Vec<u8>, PageEvents)> {
    // checked here, since serde checks neither: it would read an array as a struct, and it skips
    // strings that it does not need
    let text = str::from_utf8(body)
        .ok()
        .filter(|text| text.trim_ascii_start().starts_with('{'))?;
    let LookupResponse { events, token } = serde_json::from_str(text).ok()?;
    let events = PageEvents::of(events.iter().map(|event| {
        let time = event.time.map(|time| time.floor() as i64);
        (event.id.as_deref(), time)
    }));
    Some((serde_json::to_vec(&TrimmedResponse { token }).ok()?, events))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trimmed(body: &str) -> Option<(String, Option<i64>)> {
        let (trimmed, events) = trim(body.as_bytes())?;
        Some((String::from_utf8(trimmed).expect("JSON"), events.oldest))
    }

    #[test]
    fn keeps_token_and_oldest_second() {
        let body = r#"{"Events":[{"EventTime":1.6274824925E9,"CloudTrailEvent":"{\"NextToken\":\"no\"}"},{"EventTime":1627482491},{}],
            "NextToken":"a\"b/+=="}"#;
        assert_eq!(
            trimmed(body),
            Some((
                r#"{"NextToken":"a\"b/+=="}"#.to_owned(),
                Some(1_627_482_491)
            ))
        );
        assert_eq!(
            trimmed(r#"{"Events":[],"NextToken":null}"#),
            Some(("{}".to_owned(), None))
        );
        assert_eq!(
            trimmed(r#"{"Events":[{"EventTime":-0.5}]}"#),
            Some(("{}".to_owned(), Some(-1)))
        );
    }

    #[test]
    fn pages_are_told_apart_by_their_ids() {
        let ids = |body: &str| trim(body.as_bytes()).expect("readable").1.ids;
        let first = ids(r#"{"Events":[{"EventId":"a"},{"EventId":"b"}],"NextToken":"1"}"#);
        let again = ids(r#"{"Events":[{"EventId":"a"},{"EventId":"b"}],"NextToken":"2"}"#);
        assert!(first.is_some() && first == again);
        assert_ne!(first, ids(r#"{"Events":[{"EventId":"ab"}]}"#));
        assert_eq!(ids(r#"{"Events":[],"NextToken":"1"}"#), None);
    }

    #[test]
    fn leaves_unreadable_response_to_sdk() {
        for bad in [
            r#"{"Events":["#,
            r#"{"Events":[{"EventTime":"2021"}]}"#,
            r#"{"Events":[null]}"#,
            r#"{"NextToken":7}"#,
            "[[],null]",
            "",
        ] {
            assert_eq!(trimmed(bad), None, "{bad}");
        }
        assert_eq!(trim(b"{\"Events\":[{\"Username\":\"\xff\"}]}"), None);
    }
}
