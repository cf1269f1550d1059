//! HTTP messages as they are written: in the form of HTTP/1.1, without credentials. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, Request, Version};

use super::redact::{self, RemovalCounts};
use super::secrets::Secrets;

/// The head and the body of a request as they are written.
pub(super) fn request_block<'r>(
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

pub(super) fn message_head(
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

pub(super) fn mask_text(text: &str, secrets: &Secrets, removed: &mut RemovalCounts) -> String {
    String::from_utf8_lossy(&secrets.mask(text.as_bytes(), removed)).into_owned()
}

/// The value of `WARC-Protocol`, a field that the WARC community proposed.
pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "http/0.9",
        Version::HTTP_10 => "http/1.0",
        Version::HTTP_2 => "h2",
        Version::HTTP_3 => "h3",
        _ => "http/1.1",
    }
}
