//! Writes an exchange as WARC records. Pure.
//!
//! Requests and responses are written in the form of HTTP/1.1 ([`super::message`]), whatever
//! version was spoken: the start line, one line for each header field with its name in lower case,
//! an empty line, and the body without transfer coding.

use std::borrow::Cow;

use bytes::Bytes;
use evidence_format::coverage::GapReason;
use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use evidence_format::warc::{RecordId, RecordType, TruncationReason, WarcHeader};
use http::Request;

use super::RecordBuffer;
use super::body_filter::{self, BodyFilter};
use super::message::{mask_text, message_head, protocol, request_block};
use super::redact::{self, RemovalCounts};
use super::secrets::Secrets;
use super::transport::{HttpExchange, ReceivedResponse};
use platform::clock;

/// Longest URL in a record's header. The record's block has all of it.
const URI_BYTES_MAX: usize = 4096;
/// Longest media type in a record's header.
const MEDIA_TYPE_BYTES_MAX: usize = 256;
/// Field of a request or response record: what was removed from it, and how often.
pub(crate) const REMOVED_FIELD: &str = "Exhibit-Removed";
/// Field of a response or metadata record: [`super::RetryDecision::as_str`], or `stopped`.
pub(crate) const OUTCOME_FIELD: &str = "Exhibit-Outcome";
/// Field of every record: [`super::RequestPolicy::endpoint`].
pub(crate) const ENDPOINT_FIELD: &str = "Exhibit-Endpoint";
/// Field of a response record: who issued the server's certificate.
pub(crate) const ISSUER_FIELD: &str = "Exhibit-Tls-Issuer";
const CONTINUED: (&str, &str) = ("Exhibit-Continued", "true");

/// What the recorder says about an exchange.
#[derive(Clone, Copy)]
pub(super) struct AttemptInfo<'s> {
    /// See [`ENDPOINT_FIELD`].
    pub(super) endpoint: &'static str,
    /// 1 for the first attempt at a request.
    pub(super) attempt: u32,
    /// See [`OUTCOME_FIELD`].
    pub(super) outcome: &'static str,
    pub(super) withheld: WithheldBodies,
    /// See [`super::RequestPolicy::body_filter`].
    pub(super) body_filter: Option<BodyFilter>,
    pub(super) secrets: &'s Secrets,
}

/// Bodies that are left out of the records because they are credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct WithheldBodies {
    pub(super) request: bool,
    pub(super) response: bool,
}

/// A part of a response's body.
pub(super) struct BodyPart<'p> {
    /// The bytes, our own credentials already masked.
    pub(super) bytes: &'p [u8],
    /// Where they begin in the body.
    pub(super) offset: u64,
    /// True if another part follows.
    pub(super) continues: bool,
    /// What was masked in them.
    pub(super) removed: RemovalCounts,
    pub(super) truncated: Option<TruncationReason>,
    /// Why the rest is missing, if nobody requests it again.
    pub(super) gap: Option<GapReason>,
}

impl BodyPart<'_> {
    /// The part without its bytes, which are a credential.
    fn withheld(mut self) -> Self {
        self.bytes = b"";
        self.removed.clear(); // what was masked in the bytes
        self.truncated = Some(withhold(
            "bodies of responses with credentials",
            &mut self.removed,
        ));
        self
    }
}

/// What the records of one exchange have in common.
pub(super) struct ExchangeFields {
    uri: String,
    request_id: RecordId,
}

/// Writes two records: the request, and its response or the reason why there is none.
pub(super) fn write_exchange(
    out: &mut RecordBuffer,
    request: &Request<Bytes>,
    exchange: &HttpExchange,
    info: AttemptInfo<'_>,
) {
    let fields = write_request(out, request, exchange.sent_at, info);
    let Some(response) = &exchange.response else {
        return write_failure(out, &fields, &exchange.failure, info);
    };
    let mut removed = RemovalCounts::new();
    let filter = info.body_filter.filter(|_| response.status.is_success());
    let body = filter.map_or(Cow::Borrowed(&*response.body), |filter| {
        body_filter::apply(filter, &response.body, &mut removed)
    });
    let bytes = info.secrets.mask(&body, &mut removed);
    let whole = BodyPart {
        bytes: &bytes,
        offset: 0,
        continues: false,
        removed,
        truncated: response.truncated,
        gap: response.too_large().map(|_| GapReason::TooLarge),
    };
    write_response(out, &fields, response, whole, info);
}

pub(super) fn write_request(
    out: &mut RecordBuffer,
    request: &Request<Bytes>,
    sent_at: Timestamp,
    info: AttemptInfo<'_>,
) -> ExchangeFields {
    let mut removed = RemovalCounts::new();
    let uri = request.uri().to_string();
    let mut uri = mask_text(
        &redact::strip_url(&uri, &mut removed),
        info.secrets,
        &mut removed,
    );
    uri.truncate(uri.floor_char_boundary(URI_BYTES_MAX));
    // the request line has the same credentials, and there they are counted
    removed.clear();
    let (head, mut body) = request_block(request, info.secrets, &mut removed);
    let mut truncated = None;
    if info.withheld.request && !body.is_empty() {
        body = Cow::Borrowed(b"");
        truncated = Some(withhold(
            "bodies of requests with credentials",
            &mut removed,
        ));
    }
    let (attempt, removed) = (info.attempt.to_string(), format_removed(&removed));
    let mut fields = vec![("Exhibit-Attempt", attempt.as_str())];
    fields.extend(endpoint_field(info));
    fields.extend(removed.as_deref().map(|removed| (REMOVED_FIELD, removed)));
    let header = WarcHeader {
        kind: RecordType::Request,
        target_uri: Some(&uri),
        date: sent_at,
        content_type: "application/http;msgtype=request",
        truncated,
        fields: &fields,
    };
    let request_id = out.write(&header, &[&head, &body]);
    ExchangeFields { uri, request_id }
}

/// Writes a response with its body, or with the first part of it.
pub(super) fn write_response(
    out: &mut RecordBuffer,
    exchange: &ExchangeFields,
    response: &ReceivedResponse,
    mut part: BodyPart<'_>,
    info: AttemptInfo<'_>,
) {
    let start = format!(
        "HTTP/1.1 {} {}",
        response.status.as_u16(),
        response.status.canonical_reason().unwrap_or_default()
    );
    let mut digest = None;
    if info.withheld.response {
        part = part.withheld();
    } else if !part.continues {
        digest = Some(format!("sha256:{}", Digest::of(part.bytes).hex()));
    }
    let head = message_head(&start, &response.headers, info.secrets, &mut part.removed);
    let peer = response.peer.map(|peer| peer.ip().to_string());
    let certificate = response.certificate.as_ref();
    let digest_of_certificate = certificate.map(|certificate| certificate.digest.hex());
    let issuer = certificate.and_then(|certificate| certificate.issuer.as_deref());
    let (size, removed) = (
        declared_size(response, &part),
        format_removed(&part.removed),
    );
    let mut fields = vec![
        ("WARC-Concurrent-To", exchange.request_id.as_str()),
        (OUTCOME_FIELD, info.outcome),
    ];
    fields.extend(endpoint_field(info));
    fields.extend(
        digest
            .as_deref()
            .map(|digest| ("WARC-Payload-Digest", digest)),
    );
    fields.push(("WARC-Protocol", protocol(response.version)));
    fields.extend(peer.as_deref().map(|peer| ("WARC-IP-Address", peer)));
    fields.extend(
        digest_of_certificate
            .as_deref()
            .map(|digest| ("Exhibit-Tls-Peer-Sha256", digest)),
    );
    fields.extend(issuer.map(|issuer| (ISSUER_FIELD, issuer)));
    fields.extend(part.continues.then_some(CONTINUED));
    fields.extend(gap_field(&part));
    fields.extend(size.as_deref().map(|size| ("Exhibit-Size", size)));
    fields.extend(removed.as_deref().map(|removed| (REMOVED_FIELD, removed)));
    let header = WarcHeader {
        kind: RecordType::Response,
        target_uri: Some(&exchange.uri),
        date: response.received_at,
        content_type: "application/http;msgtype=response",
        truncated: part.truncated,
        fields: &fields,
    };
    out.write(&header, &[&head, part.bytes]);
}

/// Writes a further part of a body, as a record that has no head.
pub(super) fn write_continuation(
    out: &mut RecordBuffer,
    exchange: &ExchangeFields,
    response: &ReceivedResponse,
    mut part: BodyPart<'_>,
    info: AttemptInfo<'_>,
) {
    if info.withheld.response {
        part = part.withheld();
    }
    let media_type = response.headers.get(http::header::CONTENT_TYPE);
    let media_type = media_type
        .and_then(|value| value.to_str().ok())
        .filter(|text| text.len() <= MEDIA_TYPE_BYTES_MAX);
    let offset = part.offset.to_string();
    let (size, removed) = (
        declared_size(response, &part),
        format_removed(&part.removed),
    );
    let mut fields = vec![
        ("WARC-Concurrent-To", exchange.request_id.as_str()),
        ("Exhibit-Offset", offset.as_str()),
    ];
    fields.extend(endpoint_field(info));
    fields.extend(part.continues.then_some(CONTINUED));
    fields.extend(gap_field(&part));
    fields.extend(size.as_deref().map(|size| ("Exhibit-Size", size)));
    fields.extend(removed.as_deref().map(|removed| (REMOVED_FIELD, removed)));
    let header = WarcHeader {
        kind: RecordType::Resource,
        target_uri: Some(&exchange.uri),
        date: clock::now(),
        content_type: media_type.unwrap_or("application/octet-stream"),
        truncated: part.truncated,
        fields: &fields,
    };
    out.write(&header, &[part.bytes]);
}

/// Writes why a request got no response.
fn write_failure(
    out: &mut RecordBuffer,
    exchange: &ExchangeFields,
    why: &str,
    info: AttemptInfo<'_>,
) {
    let mut fields = vec![
        ("WARC-Concurrent-To", exchange.request_id.as_str()),
        (OUTCOME_FIELD, info.outcome),
    ];
    fields.extend(endpoint_field(info));
    let header = WarcHeader {
        kind: RecordType::Metadata,
        target_uri: Some(&exchange.uri),
        date: clock::now(),
        content_type: "text/plain; charset=utf-8",
        truncated: None,
        fields: &fields,
    };
    let why = mask_text(why, info.secrets, &mut RemovalCounts::new());
    out.write(&header, &[why.as_bytes()]);
}

fn endpoint_field(info: AttemptInfo<'_>) -> Option<(&'static str, &'static str)> {
    (!info.endpoint.is_empty()).then_some((ENDPOINT_FIELD, info.endpoint))
}

/// Counts a body that is left out; returns how its record is marked.
fn withhold(what: &str, removed: &mut RemovalCounts) -> TruncationReason {
    redact::count(removed, what, 1);
    TruncationReason::Unspecified // `Exhibit-Removed` says more
}

fn gap_field(part: &BodyPart<'_>) -> Option<(&'static str, &'static str)> {
    part.gap.map(|reason| ("Exhibit-Gap", reason.as_str()))
}

/// The size of a body that is not recorded whole, if the server stated it.
fn declared_size(response: &ReceivedResponse, part: &BodyPart<'_>) -> Option<String> {
    part.truncated?;
    response.body_bytes_declared.map(|bytes| bytes.to_string())
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
