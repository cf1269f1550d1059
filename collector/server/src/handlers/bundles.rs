//! Bundles: list and download them, whole or from a byte on. Every download is in the incident's
//! journal before its first byte leaves.

use std::ops::Range;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::plays::PEM;
use crate::caller::Caller;
use crate::json::Json;
use crate::problem::Problem;
use crate::query::Query;
use crate::responses::bundle_summaries;
use crate::state::ServerState;
use api::{BundleList, ProblemCode};
use domain::incident::{Incident, IncidentEvent, Line};
use store::blobs::BlobError;
use store::ledger::BundleRow;

/// The requested part of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
enum RequestedRange {
    Whole,
    Part(Range<u64>),
    /// It contains no byte of the bundle.
    Unsatisfiable,
}

/// `GET /v1/incidents/{id}/bundles`.
pub(crate) async fn list(
    State(state): State<ServerState>,
    Extension(incident): Extension<Incident>,
    query: Query,
) -> Result<Json<BundleList>, Problem> {
    query.finish()?;
    let bundles = bundle_summaries(state.pipeline(), &incident.id).await?;
    Ok(Json(BundleList { bundles }))
}

/// `GET /v1/bundles/{id}/key`.
pub(crate) async fn key(
    State(state): State<ServerState>,
    Extension(row): Extension<BundleRow>,
    query: Query,
) -> Result<Response, Problem> {
    query.finish()?;
    let key = state.pipeline().public_key(&row).await?;
    Ok(([(header::CONTENT_TYPE, PEM)], key.to_pem()).into_response())
}

/// `GET` and `HEAD /v1/bundles/{id}`.
pub(crate) async fn download(
    State(state): State<ServerState>,
    Extension(caller): Extension<Caller>,
    Extension(row): Extension<BundleRow>,
    method: Method,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    query.finish()?;
    let etag = format!("\"{}\"", row.id);
    if has_etag(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, bundle_headers(&row, &etag)).into_response());
    }
    let range = if method == Method::GET {
        requested_range(&headers, &etag, row.bytes)
    } else {
        RequestedRange::Whole
    };
    let range = match range {
        RequestedRange::Whole => 0..row.bytes,
        RequestedRange::Part(range) => range,
        RequestedRange::Unsatisfiable => return Err(unsatisfiable(row.bytes)),
    };
    let is_part = range.end - range.start < row.bytes;
    let mut response_headers = bundle_headers(&row, &etag);
    response_headers.insert(
        header::CONTENT_LENGTH,
        HeaderValue::from(range.end - range.start),
    );
    if is_part {
        response_headers.insert(
            header::CONTENT_RANGE,
            header_value(&format!(
                "bytes {}-{}/{}",
                range.start,
                range.end - 1,
                row.bytes
            )),
        );
    }
    if method == Method::HEAD {
        let blobs = &state.pipeline().parts.blobs;
        // A store that does not answer says nothing of the file.
        if matches!(blobs.exists(&row.object_key).await, Ok(false)) {
            let key = row.object_key.clone();
            return Err(BlobError::NotFound { key }.into());
        }
        return Ok((response_headers, Body::empty()).into_response());
    }
    let reading = state
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
    // Recorded before the first byte leaves, so that no download escapes the journal.
    let exported = IncidentEvent::EvidenceExported { bundle: row.id, to };
    state
        .pipeline()
        .record(&row.pass.incident, &caller.name, exported)
        .await?;
    let status = if is_part {
        StatusCode::PARTIAL_CONTENT
    } else {
        StatusCode::OK
    };
    Ok((status, response_headers, Body::from_stream(reading.chunks)).into_response())
}

/// The headers of a bundle, whatever part of it is sent. A bundle never changes, but no shared cache
/// may keep it.
fn bundle_headers(row: &BundleRow, etag: &str) -> HeaderMap {
    HeaderMap::from_iter([
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-tar"),
        ),
        (
            header::CONTENT_DISPOSITION,
            header_value(&format!("attachment; filename=\"{}.tar\"", row.id.hex())),
        ),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        ),
        (header::ETAG, header_value(etag)),
    ])
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits and ids are ASCII")
}

/// True if the client already has the bundle (RFC 9110 §13.1.2).
fn has_etag(headers: &HeaderMap, etag: &str) -> bool {
    let values = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut tags = values
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"));
    tags.any(|tag| tag == "*" || tag == etag)
}

fn unsatisfiable(bytes: u64) -> Problem {
    Problem::new(
        ProblemCode::RangeNotSatisfiable,
        format!("the bundle has {bytes} bytes"),
    )
    .with_header(
        header::CONTENT_RANGE,
        header_value(&format!("bytes */{bytes}")),
    )
}

/// The range of a request (RFC 9110 §14.2). Ranges of another unit or of another bundle are ignored,
/// and so are several at once: the client then gets the whole bundle.
fn requested_range(headers: &HeaderMap, etag: &str, bytes: u64) -> RequestedRange {
    // A date never matches either: bundles have no `Last-Modified`.
    if headers
        .get(header::IF_RANGE)
        .is_some_and(|value| value.as_bytes() != etag.as_bytes())
    {
        return RequestedRange::Whole;
    }
    let value = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok());
    let spec = value
        .and_then(|value| value.split_once('='))
        .filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes"));
    spec.and_then(|(_, spec)| parse_range(spec.trim(), bytes))
        .unwrap_or(RequestedRange::Whole)
}

/// `first-last`, `first-`, or `-count` from the end; `None` if it is none of them.
fn parse_range(spec: &str, bytes: u64) -> Option<RequestedRange> {
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
        RequestedRange::Unsatisfiable
    } else {
        RequestedRange::Part(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range_of(range: &'static str) -> RequestedRange {
        requested_range(
            &HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(range))]),
            "\"x\"",
            100,
        )
    }

    #[test]
    fn reads_ranges_of_rfc_9110() {
        for (text, range) in [
            ("bytes=0-9", 0..10),
            ("bytes=90-", 90..100),
            ("bytes=-10", 90..100),
            ("bytes=-1000", 0..100),
            ("bytes=90-1000", 90..100),
            ("Bytes=0-0", 0..1),
            ("bytes=99-18446744073709551615", 99..100),
        ] {
            assert_eq!(range_of(text), RequestedRange::Part(range), "{text}");
        }
        for text in [
            "bytes=100-",
            "bytes=100-200",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(range_of(text), RequestedRange::Unsatisfiable, "{text}");
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
            assert_eq!(range_of(text), RequestedRange::Whole, "{text}");
        }
    }

    #[test]
    fn ignores_range_of_another_bundle() {
        let with = |tag: &'static str| {
            let range = (header::RANGE, HeaderValue::from_static("bytes=0-9"));
            requested_range(
                &HeaderMap::from_iter([range, (header::IF_RANGE, HeaderValue::from_static(tag))]),
                "\"x\"",
                100,
            )
        };
        assert_eq!(with("\"x\""), RequestedRange::Part(0..10));
        for other in ["\"y\"", "W/\"x\"", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(with(other), RequestedRange::Whole, "{other}");
        }
    }

    #[test]
    fn recognises_etags_that_the_client_has() {
        let has = |tags: &'static str| {
            has_etag(
                &HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(tags))]),
                "\"x\"",
            )
        };
        assert!(has("\"x\"") && has("\"y\", W/\"x\"") && has("*"));
        assert!(!has("\"y\"") && !has_etag(&HeaderMap::new(), "\"x\""));
    }
}
