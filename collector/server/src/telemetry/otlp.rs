//! Spans in the protocol's JSON (OTLP 1.x,
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): ids in hex, numbers of 64
//! bits as texts.

use data_encoding::HEXLOWER;
use evidence_format::time::Timestamp;
use serde_json::{Value, json};

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub(super) ids: Ids,
    /// The id of the span around it.
    pub(super) parent: Option<[u8; 8]>,
    pub(super) name: &'static str,
    pub(super) begun: Timestamp,
    pub(super) ended: Timestamp,
    pub(super) attributes: Vec<(&'static str, Attribute)>,
    /// True if something in it was logged as an error.
    pub(super) failed: bool,
}

/// Which span it is, and of which trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Attribute {
    Text(String),
    Number(i64),
}

/// SPAN_KIND_SERVER for requests, SPAN_KIND_INTERNAL for all else.
fn kind(name: &str) -> u8 {
    if name == "request" { 2 } else { 1 }
}

/// The document that a receiver takes.
pub(super) fn document(service: &str, spans: &[Span]) -> Value {
    let resource = [
        ("service.name", Attribute::Text(service.to_owned())),
        (
            "service.version",
            Attribute::Text(env!("CARGO_PKG_VERSION").to_owned()),
        ),
    ];
    let resource: Vec<Value> = resource
        .iter()
        .map(|(name, value)| attribute(name, value))
        .collect();
    let spans: Vec<Value> = spans.iter().map(span).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "exhibit"}, "spans": spans}],
    }]})
}

fn span(span: &Span) -> Value {
    let attributes: Vec<Value> = span
        .attributes
        .iter()
        .map(|(name, value)| attribute(&format!("exhibit.{name}"), value))
        .collect();
    let mut json = json!({
        "traceId": HEXLOWER.encode(&span.ids.trace),
        "spanId": HEXLOWER.encode(&span.ids.span),
        "name": span.name,
        "kind": kind(span.name),
        "startTimeUnixNano": span.begun.unix_nanoseconds().to_string(),
        "endTimeUnixNano": span.ended.unix_nanoseconds().to_string(),
        "attributes": attributes,
        "status": {"code": if span.failed { 2 } else { 0 }},
    });
    if let Some(parent) = span.parent {
        json["parentSpanId"] = HEXLOWER.encode(&parent).into();
    }
    json
}

fn attribute(name: &str, value: &Attribute) -> Value {
    let value = match value {
        Attribute::Text(text) => json!({"stringValue": text}),
        Attribute::Number(number) => json!({"intValue": number.to_string()}),
    };
    json!({"key": name, "value": value})
}
