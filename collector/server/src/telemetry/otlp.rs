//! Spans in the JSON of the OpenTelemetry protocol (OTLP 1.x,
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>): ids are hex digits, and
//! 64-bit numbers are strings.

use data_encoding::HEXLOWER;
use evidence_format::time::Timestamp;
use serde_json::{Value, json};

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FinishedSpan {
    pub(super) ids: SpanIds,
    /// The id of the parent span.
    pub(super) parent: Option<[u8; 8]>,
    pub(super) name: &'static str,
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Timestamp,
    pub(super) attributes: Vec<(&'static str, AttributeValue)>,
    /// True if an error was logged inside the span.
    pub(super) has_error: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpanIds {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum AttributeValue {
    Text(String),
    Number(i64),
}

/// `SPAN_KIND_SERVER` for requests, `SPAN_KIND_INTERNAL` for all other spans.
fn span_kind(name: &str) -> u8 {
    if name == "request" { 2 } else { 1 }
}

/// The body of a request that exports `spans` (`ExportTraceServiceRequest`).
pub(super) fn export_request(service_name: &str, spans: &[FinishedSpan]) -> Value {
    let resource = [
        ("service.name", service_name),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let resource = resource.map(|(name, text)| attribute(name, &text_value(text)));
    let spans: Vec<Value> = spans.iter().map(span).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "exhibit"}, "spans": spans}],
    }]})
}

fn span(span: &FinishedSpan) -> Value {
    let attributes: Vec<Value> = span
        .attributes
        .iter()
        .map(|(name, value)| attribute(&format!("exhibit.{name}"), value))
        .collect();
    let mut json = json!({
        "traceId": HEXLOWER.encode(&span.ids.trace),
        "spanId": HEXLOWER.encode(&span.ids.span),
        "name": span.name,
        "kind": span_kind(span.name),
        "startTimeUnixNano": span.started_at.unix_nanoseconds().to_string(),
        "endTimeUnixNano": span.ended_at.unix_nanoseconds().to_string(),
        "attributes": attributes,
        "status": {"code": if span.has_error { 2 } else { 0 }}, // STATUS_CODE_ERROR or _UNSET
    });
    if let Some(parent) = span.parent {
        json["parentSpanId"] = HEXLOWER.encode(&parent).into();
    }
    json
}

fn text_value(text: &str) -> AttributeValue {
    AttributeValue::Text(text.to_owned())
}

fn attribute(name: &str, value: &AttributeValue) -> Value {
    let value = match value {
        AttributeValue::Text(text) => json!({"stringValue": text}),
        AttributeValue::Number(number) => json!({"intValue": number.to_string()}),
    };
    json!({"key": name, "value": value})
}
