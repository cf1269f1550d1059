//! Writes an exchange as WARC records. Pure.
//!
//! Requests and responses are written in the form of HTTP/1.1, whatever version was spoken: the
//! start line, one line for each header field with its name in lower case, an empty line, and the
//! body without transfer coding.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use evidence_format::digest::Digest;
use evidence_format::warc::{self, RecordId, RecordIds, RecordType, WarcHeader};
use http::{HeaderMap, Request, Version};

use super::body_filter::{self, BodyFilter};
use super::redact::{self, RemovalCounts, Secrets};
use super::transport::{HttpExchange, ReceivedResponse};
use platform::clock;

/// Longest URL in a record's header. The record's block has all of it.
const URI_BYTES_MAX: usize = 4096;
/// Field of a request or response record: what was removed from it, and how often.
pub(crate) const REMOVED_FIELD: &str = "Exhibit-Removed";
/// Field of a response or metadata record: [`super::RetryDecision::as_str`], or `stopped`.
pub(crate) const OUTCOME_FIELD: &str = "Exhibit-Outcome";
/// Field of every record: [`super::RequestPolicy::endpoint`].
pub(crate) const ENDPOINT_FIELD: &str = "Exhibit-Endpoint";

/// What the recorder says about an exchange.
pub(super) struct AttemptInfo {
    /// See [`ENDPOINT_FIELD`].
    pub(super) endpoint: &'static str,
    /// 1 for the first attempt at a request.
    pub(super) attempt: u32,
    /// See [`OUTCOME_FIELD`].
    pub(super) outcome: &'static str,
    /// See [`super::RequestPolicy::body_filter`].
    pub(super) body_filter: Option<BodyFilter>,
}

/// Appends two records to `out`: the request, and its response or the reason why there is none.
pub(super) fn write_exchange(
    out: &mut Vec<u8>,
    ids: &mut RecordIds,
    request: &Request<Bytes>,
    exchange: &HttpExchange,
    attempt: &AttemptInfo,
    secrets: &Secrets,
) {
    let mut removed = RemovalCounts::new();
    let uri = mask_text(
        &redact::strip_url(&request.uri().to_string(), &mut removed),
        secrets,
        &mut removed,
    );
    let uri = &uri[..uri.floor_char_boundary(URI_BYTES_MAX)];
    // the request line has the same credentials, and there they are counted
    removed.clear();
    let (head, body) = request_block(request, secrets, &mut removed);
    let (number, removed) = (attempt.attempt.to_string(), format_removed(&removed));
    let endpoint = Some((ENDPOINT_FIELD, attempt.endpoint)).filter(|(_, name)| !name.is_empty());
    let mut fields = vec![("Exhibit-Attempt", number.as_str())];
    fields.extend(endpoint);
    fields.extend(removed.as_deref().map(|removed| (REMOVED_FIELD, removed)));
    let header = WarcHeader {
        kind: RecordType::Request,
        target_uri: Some(uri),
        date: exchange.sent_at,
        content_type: "application/http;msgtype=request",
        truncated: None,
        fields: &fields,
    };
    let request_id = write_record(out, &header, ids, &[&head, &body]);
    let mut common = vec![
        ("WARC-Concurrent-To", request_id.as_str()),
        (OUTCOME_FIELD, attempt.outcome),
    ];
    common.extend(endpoint);
    match &exchange.response {
        Some(response) => {
            let filter = attempt.body_filter.filter(|_| response.status.is_success());
            write_response(out, ids, uri, response, (&common, filter), secrets);
        }
        None => write_failure(out, ids, uri, &exchange.failure, &common, secrets),
    }
}

fn write_response(
    out: &mut Vec<u8>,
    ids: &mut RecordIds,
    uri: &str,
    response: &ReceivedResponse,
    (common, filter): (&[(&str, &str)], Option<BodyFilter>),
    secrets: &Secrets,
) {
    let mut removed = RemovalCounts::new();
    let start = format!(
        "HTTP/1.1 {} {}",
        response.status.as_u16(),
        response.status.canonical_reason().unwrap_or_default()
    );
    let body = filter.map_or(Cow::Borrowed(&*response.body), |filter| {
        body_filter::apply(filter, &response.body, &mut removed)
    });
    let body = secrets.mask(&body, &mut removed);
    let digest = format!("sha256:{}", Digest::of(&body).hex());
    let head = message_head(&start, &response.headers, secrets, &mut removed);
    let peer = response.peer.map(|peer| peer.ip().to_string());
    let certificate = response.certificate.map(|digest| digest.hex());
    let removed = format_removed(&removed);
    let mut fields = common.to_vec();
    fields.push(("WARC-Payload-Digest", &digest));
    fields.push(("WARC-Protocol", protocol(response.version)));
    fields.extend(peer.as_deref().map(|peer| ("WARC-IP-Address", peer)));
    fields.extend(
        certificate
            .as_deref()
            .map(|certificate| ("Exhibit-Tls-Peer-Sha256", certificate)),
    );
    fields.extend(removed.as_deref().map(|removed| (REMOVED_FIELD, removed)));
    let header = WarcHeader {
        kind: RecordType::Response,
        target_uri: Some(uri),
        date: response.received_at,
        content_type: "application/http;msgtype=response",
        truncated: response.truncated,
        fields: &fields,
    };
    write_record(out, &header, ids, &[&head, &body]);
}

/// Writes why a request got no response.
fn write_failure(
    out: &mut Vec<u8>,
    ids: &mut RecordIds,
    uri: &str,
    why: &str,
    common: &[(&str, &str)],
    secrets: &Secrets,
) {
    let header = WarcHeader {
        kind: RecordType::Metadata,
        target_uri: Some(uri),
        date: clock::now(),
        content_type: "text/plain; charset=utf-8",
        truncated: None,
        fields: common,
    };
    write_record(
        out,
        &header,
        ids,
        &[mask_text(why, secrets, &mut RemovalCounts::new()).as_bytes()],
    );
}

fn write_record(
    out: &mut Vec<u8>,
    header: &WarcHeader<'_>,
    ids: &mut RecordIds,
    block: &[&[u8]],
) -> RecordId {
    warc::write_record_parts(out, header, ids, block)
        .expect("the URI is bounded, and all other fields are short")
}

/// The head and the body of a request as they are written.
fn request_block<'r>(
    request: &'r Request<Bytes>,
    secrets: &Secrets,
    removed: &mut RemovalCounts,
) -> (Vec<u8>, Cow<'r, [u8]>) {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let start = format!(
        "{} {} HTTP/1.1",
        request.method(),
        redact::strip_url(target, removed)
    );
    let body = secrets.mask(request.body(), removed);
    let mut headers = request.headers().clone();
    // HTTP/2 has no `Host`, and HTTP/1.1 adds it only when it sends; the record always names it
    let host = request
        .uri()
        .authority()
        .and_then(|authority| authority.as_str().rsplit('@').next()?.parse().ok());
    if let Some(host) = host {
        headers.entry(http::header::HOST).or_insert(host);
    }
    (message_head(&start, &headers, secrets, removed), body)
}

fn message_head(
    start: &str,
    headers: &HeaderMap,
    secrets: &Secrets,
    removed: &mut RemovalCounts,
) -> Vec<u8> {
    let mut head = format!("{}\r\n", start.trim_end());
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let _ = write!(
            head,
            "{name}: {}\r\n",
            redact::strip_header_value(name.as_str(), &value, removed)
        );
    }
    head.push_str("\r\n");
    secrets.mask(head.as_bytes(), removed).into_owned()
}

fn mask_text(text: &str, secrets: &Secrets, removed: &mut RemovalCounts) -> String {
    String::from_utf8_lossy(&secrets.mask(text.as_bytes(), removed)).into_owned()
}

/// Such as `own credentials=2; values of header field authorization=1`; `None` if it is empty.
fn format_removed(removed: &RemovalCounts) -> Option<String> {
    let pieces: Vec<String> = removed
        .iter()
        .map(|(what, count)| format!("{what}={count}"))
        .collect();
    (!pieces.is_empty()).then(|| pieces.join("; "))
}

/// Reads what [`format_removed`] wrote.
pub(crate) fn parse_removed(field: &str) -> impl Iterator<Item = (&str, u64)> {
    field
        .split("; ")
        .filter_map(|piece| piece.rsplit_once('='))
        .filter_map(|(what, count)| Some((what, count.parse().ok()?)))
}

/// The value of `WARC-Protocol`, a field that the WARC community proposed.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "http/0.9",
        Version::HTTP_10 => "http/1.0",
        Version::HTTP_2 => "h2",
        Version::HTTP_3 => "h3",
        _ => "http/1.1",
    }
}
