//! A bundle's bytes, whole or from where an earlier download broke off. Each is in the incident's
//! journal before its first byte leaves.

use std::ops::Range;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::Api;
use super::auth::Caller;
use super::error::{Code, Problem};
use super::evidence::disposition;
use super::plays::PEM;
use super::query::Query;
use domain::incident::{IncidentEvent, Line};
use store::ledger::BundleRow;

/// What of a bundle is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    /// None of it is there.
    Nothing,
}

/// `GET /v1/bundles/{id}/key`.
pub(super) async fn key(
    State(api): State<Api>,
    Extension(row): Extension<BundleRow>,
    query: Query,
) -> Result<Response, Problem> {
    query.done()?;
    let key = api.pipeline().public_key(&row).await?;
    Ok(([(header::CONTENT_TYPE, PEM)], key.to_pem()).into_response())
}

/// `GET` and `HEAD /v1/bundles/{id}`.
pub(super) async fn bundle(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Extension(row): Extension<BundleRow>,
    method: Method,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    query.done()?;
    let etag = format!("\"{}\"", row.id);
    if has_already(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, described(&row, &etag)).into_response());
    }
    let wanted = if method == Method::GET {
        wanted(&headers, &etag, row.bytes)
    } else {
        Wanted::All
    };
    let range = match wanted {
        Wanted::All => 0..row.bytes,
        Wanted::Part(range) => range,
        Wanted::Nothing => return Err(nothing(row.bytes)),
    };
    let is_part = range.end - range.start < row.bytes;
    let mut answer = described(&row, &etag);
    answer.insert(
        header::CONTENT_LENGTH,
        HeaderValue::from(range.end - range.start),
    );
    if is_part {
        answer.insert(
            header::CONTENT_RANGE,
            text(&format!(
                "bytes {}-{}/{}",
                range.start,
                range.end - 1,
                row.bytes
            )),
        );
    }
    if method == Method::HEAD {
        return Ok((answer, Body::empty()).into_response());
    }
    let reading = api
        .pipeline()
        .parts
        .blobs
        .open_range(&row.object_key, range.clone())
        .await?;
    let part = if is_part {
        format!(", bytes {}-{}", range.start, range.end - 1)
    } else {
        String::new()
    };
    let to = Line::escaped(&format!("a download by {}{part}", caller.name));
    let exported = IncidentEvent::EvidenceExported { bundle: row.id, to };
    api.pipeline()
        .record(&row.pass.incident, &caller.name, exported)
        .await?;
    let status = if is_part {
        StatusCode::PARTIAL_CONTENT
    } else {
        StatusCode::OK
    };
    Ok((status, answer, Body::from_stream(reading.chunks)).into_response())
}

/// What is said of a bundle, whatever of it is sent. It never changes, and is for nobody's shared
/// cache.
fn described(row: &BundleRow, etag: &str) -> HeaderMap {
    HeaderMap::from_iter([
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-tar"),
        ),
        (
            header::CONTENT_DISPOSITION,
            disposition(&format!("{}.tar", row.id.hex())),
        ),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        ),
        (header::ETAG, text(etag)),
    ])
}

fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits and ids are plain")
}

/// The client has the bundle (RFC 9110 §13.1.2).
fn has_already(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut tags = values
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|tag| tag == "*" || tag == etag)
}

fn nothing(bytes: u64) -> Problem {
    Problem::new(
        Code::RangeNotSatisfiable,
        format!("the bundle has {bytes} bytes"),
    )
    .with_header(header::CONTENT_RANGE, text(&format!("bytes */{bytes}")))
}

/// The range of a request (RFC 9110 §14.2): what is no range of bytes, or of a bundle that is
/// another one, is ignored. So are several at once, as the client then gets all.
fn wanted(headers: &HeaderMap, etag: &str, bytes: u64) -> Wanted {
    let is_other = |value: &HeaderValue| value.as_bytes() != etag.as_bytes(); // a date too: bundles have none
    if headers.get(header::IF_RANGE).is_some_and(is_other) {
        return Wanted::All;
    }
    let value = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok());
    let spec = value
        .and_then(|value| value.split_once('='))
        .filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
    spec.and_then(|(_, spec)| part(spec.trim(), bytes))
        .unwrap_or(Wanted::All)
}

/// `first-last`, `first-`, or `-count` from the end; `None` if it is none of them.
fn part(spec: &str, bytes: u64) -> Option<Wanted> {
    let (first, last) = spec.split_once('-')?;
    let number = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().unwrap_or(u64::MAX))
    };
    let range = match (first, last) {
        ("", "") => return None,
        ("", count) => bytes.saturating_sub(number(count)?)..bytes,
        (first, "") => number(first)?..bytes,
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            first..last.saturating_add(1).min(bytes)
        }
    };
    Some(if range.is_empty() {
        Wanted::Nothing
    } else {
        Wanted::Part(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: &'static str) -> Wanted {
        wanted(
            &HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(range))]),
            "\"x\"",
            100,
        )
    }

    #[test]
    fn ranges_are_those_of_rfc_9110() {
        for (text, range) in [
            ("bytes=0-9", 0..10),
            ("bytes=90-", 90..100),
            ("bytes=-10", 90..100),
            ("bytes=-1000", 0..100),
            ("bytes=90-1000", 90..100),
            ("Bytes=0-0", 0..1),
            ("bytes=99-18446744073709551615", 99..100),
        ] {
            assert_eq!(of(text), Wanted::Part(range), "{text}");
        }
        for text in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(of(text), Wanted::Nothing, "{text}");
        }
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "items=0-1",
            "bytes=9-0",
            "bytes=a-b",
            "bytes=0-1,5-6",
            "bytes=+1-2",
        ] {
            assert_eq!(of(text), Wanted::All, "{text}");
        }
    }

    #[test]
    fn a_range_of_another_bundle_is_ignored() {
        let with = |tag: &'static str| {
            let range = (header::RANGE, HeaderValue::from_static("bytes=0-9"));
            wanted(
                &HeaderMap::from_iter([range, (header::IF_RANGE, HeaderValue::from_static(tag))]),
                "\"x\"",
                100,
            )
        };
        assert_eq!(with("\"x\""), Wanted::Part(0..10));
        for other in ["\"y\"", "W/\"x\"", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(with(other), Wanted::All, "{other}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent() {
        let has = |tags: &'static str| {
            has_already(
                &HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(tags))]),
                "\"x\"",
            )
        };
        assert!(has("\"x\"") && has("\"y\", W/\"x\"") && has("*"));
        assert!(!has("\"y\"") && !has_already(&HeaderMap::new(), "\"x\""));
    }
}
