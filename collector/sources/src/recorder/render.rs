//! Writes an exchange as WARC records. Pure.
//!
//! The text of a request and of an answer is HTTP/1.1 in form, whatever version was spoken: one
//! start line, one line for each header field with its name in lower case, an empty line, and the
//! body without any transfer coding.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use evidence_format::digest::Digest;
use evidence_format::warc::{self, RecordId, RecordIds, RecordType, WarcHeader};
use http::{HeaderMap, Request, Version};

use super::redact::{self, RemovalCounts, Secrets};
use super::transport::{HttpExchange, ReceivedResponse};
use platform::clock;

/// Bytes of a URL that stand in a record's header.
const URI_BYTES_MAX: usize = 4096;
/// Field of a request or response: what was taken out of it, and how often.
pub(crate) const REMOVED_FIELD: &str = "Exhibit-Removed";
/// Field of what came back: what the recorder made of it.
pub(crate) const OUTCOME_FIELD: &str = "Exhibit-Outcome";

/// What is written beside the exchange itself.
pub(super) struct AttemptInfo {
    /// 1 for the first time that this was asked.
    pub(super) attempt: u32,
    /// See [`super::RetryDecision::as_str`].
    pub(super) outcome: &'static str,
}

/// Appends the records of `exchange` to `out`.
pub(super) fn exchange(
    out: &mut Vec<u8>,
    ids: &mut RecordIds,
    request: &Request<Bytes>,
    exchange: &HttpExchange,
    notes: &AttemptInfo,
    secrets: &Secrets,
) {
    let mut removed = RemovalCounts::new();
    let uri = masked(
        &redact::target(&request.uri().to_string(), &mut removed),
        secrets,
        &mut removed,
    );
    let uri = &uri[..uri.floor_char_boundary(URI_BYTES_MAX)]; // all of it stands in the request line
    removed.clear(); // the same stands in the request line, and is counted there
    let (head, body) = request_block(request, secrets, &mut removed);
    let (attempt, removed) = (notes.attempt.to_string(), list(&removed));
    let mut fields = vec![("Exhibit-Attempt", attempt.as_str())];
    fields.extend(removed.as_deref().map(|removed| (REMOVED_FIELD, removed)));
    let header = WarcHeader {
        kind: RecordType::Request,
        target_uri: Some(uri),
        date: exchange.began,
        content_type: "application/http;msgtype=request",
        truncated: None,
        fields: &fields,
    };
    let request_id = write(out, &header, ids, &[&head, &body]);
    let common = [
        ("WARC-Concurrent-To", request_id.as_str()),
        (OUTCOME_FIELD, notes.outcome),
    ];
    match &exchange.answer {
        Some(answer) => response(out, ids, uri, answer, &common, secrets),
        None => failure(out, ids, uri, &exchange.failure, &common, secrets),
    }
}

fn response(
    out: &mut Vec<u8>,
    ids: &mut RecordIds,
    uri: &str,
    answer: &ReceivedResponse,
    common: &[(&str, &str)],
    secrets: &Secrets,
) {
    let mut removed = RemovalCounts::new();
    let start = format!(
        "HTTP/1.1 {} {}",
        answer.status.as_u16(),
        answer.status.canonical_reason().unwrap_or_default()
    );
    let body = secrets.mask(&answer.body, &mut removed);
    let digest = format!("sha256:{}", Digest::of(&body).hex());
    let head = message_head(&start, &answer.headers, secrets, &mut removed);
    let peer = answer.peer.map(|peer| peer.ip().to_string());
    let certificate = answer.certificate.map(|digest| digest.hex());
    let removed = list(&removed);
    let mut fields = common.to_vec();
    fields.push(("WARC-Payload-Digest", &digest));
    fields.push(("WARC-Protocol", protocol(answer.version)));
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
        date: answer.at,
        content_type: "application/http;msgtype=response",
        truncated: answer.cut,
        fields: &fields,
    };
    write(out, &header, ids, &[&head, &body]);
}

/// What is known of a request without an answer.
fn failure(
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
    write(
        out,
        &header,
        ids,
        &[masked(why, secrets, &mut RemovalCounts::new()).as_bytes()],
    );
}

fn write(
    out: &mut Vec<u8>,
    header: &WarcHeader<'_>,
    ids: &mut RecordIds,
    block: &[&[u8]],
) -> RecordId {
    warc::write_record_parts(out, header, ids, block)
        .expect("the URI is bounded, and all other fields are short")
}

/// Head and body.
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
        redact::target(target, removed)
    );
    let body = secrets.mask(request.body(), removed);
    let mut headers = request.headers().clone();
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
            redact::header(name.as_str(), &value, removed)
        );
    }
    head.push_str("\r\n");
    secrets.mask(head.as_bytes(), removed).into_owned()
}

fn masked(text: &str, secrets: &Secrets, removed: &mut RemovalCounts) -> String {
    String::from_utf8_lossy(&secrets.mask(text.as_bytes(), removed)).into_owned()
}

/// `values of header field authorization=1; own credentials=2`.
fn list(removed: &RemovalCounts) -> Option<String> {
    let pieces: Vec<String> = removed
        .iter()
        .map(|(what, count)| format!("{what}={count}"))
        .collect();
    (!pieces.is_empty()).then(|| pieces.join("; "))
}

/// Reads what [`list`] wrote.
pub(crate) fn removed(field: &str) -> impl Iterator<Item = (&str, u64)> {
    field
        .split("; ")
        .filter_map(|piece| piece.rsplit_once('='))
        .filter_map(|(what, count)| Some((what, count.parse().ok()?)))
}

/// As the WARC community's proposal "WARC-Protocol" has it.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "http/0.9",
        Version::HTTP_10 => "http/1.0",
        Version::HTTP_2 => "h2",
        Version::HTTP_3 => "h3",
        _ => "http/1.1",
    }
}
