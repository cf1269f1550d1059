//! CloudEvents 1.0 over HTTP:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md>.
//!
//! In structured mode the body is the event (`application/cloudevents+json`). In binary mode the
//! attributes are headers `ce-…`, and the body is the data. Batches are rejected. `source` and `id`
//! together identify an event (spec §3.1), so each event is an incident, and a repeated event is
//! the same one. Nothing is signed: the sender has a bearer token, or a user and a password, as the
//! HTTP 1.1 Web Hooks specification of CloudEvents demands (§3.1).

use data_encoding::BASE64;
use evidence_format::digest::Digest;
use http::HeaderMap;
use serde_json::Value;

use super::authenticity::{check_authorization, header_text};
use super::payload::{JsonNode, VendorEvent, parse_object};
use super::{
    HookContext, WebhookDelivery, WebhookError, WebhookOutcome, generic, key, sender_json,
};

const VERSION: &str = "1.0";
const STRUCTURED: &str = "application/cloudevents+json";

/// An event from either mode.
struct CloudEvent {
    version: Option<String>,
    id: Option<String>,
    source: Option<String>,
    kind: Option<String>,
    time: Option<String>,
    severity: Option<String>,
    data: Value,
}

pub(super) fn receive(
    hook: &HookContext<'_>,
    delivery: &WebhookDelivery<'_>,
) -> Result<WebhookOutcome, WebhookError> {
    check_authorization(hook.config, delivery.headers)?;
    let content_type = header_text(delivery.headers, "content-type").unwrap_or_default();
    // Parameters such as `charset` follow after a semicolon.
    let media_type = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let envelope = match media_type.as_str() {
        STRUCTURED => structured(&parse_object(delivery.body)?)?,
        // Batches and other encodings: a delivery makes one incident at most.
        other if other.starts_with("application/cloudevents") => {
            return Err(WebhookError::Malformed {
                missing: "event in JSON, one at a time",
            });
        }
        other => binary(delivery, other)?,
    };
    if envelope.version.as_deref() != Some(VERSION) {
        return Err(WebhookError::Malformed {
            missing: "specversion 1.0",
        });
    }
    let (id, source) = (
        required(envelope.id, "id")?,
        required(envelope.source, "source")?,
    );
    let kind = required(envelope.kind, "type")?;
    let mut fields =
        generic::incident_fields(hook, JsonNode(&envelope.data), envelope.time.as_deref())?;
    // Every event has a type, but not every one a title.
    fields.title = fields.title.or(Some(&kind));
    // An extension attribute may have one too.
    let words = [fields.severity, envelope.severity];
    fields.severity = hook.worst_word(words.into_iter().flatten());
    // The sender chooses both, and must not add lines that look like ours.
    fields
        .evidence
        .push(format!("CloudEvents event {id} of {source}").replace(['\n', '\r'], " "));
    let event = VendorEvent {
        id: &[&source, &id],
        delivery: Some(&id),
        kind: &kind,
    };
    let mut trigger = hook.trigger(&event, fields);
    // Of the data and not of the body: a broker may deliver the same event in either mode.
    let data = Digest::of(envelope.data.to_string().as_bytes()).hex();
    trigger.content_key = Some(key::key(hook.vendor, &[&source, &id, &kind, &data]));
    Ok(WebhookOutcome::Declare(trigger))
}

fn required(value: Option<String>, missing: &'static str) -> Result<String, WebhookError> {
    value
        .filter(|text| !text.is_empty())
        .ok_or(WebhookError::Malformed { missing })
}

fn structured(event: &Value) -> Result<CloudEvent, WebhookError> {
    let decoded = text(event, "/data_base64")
        .map(|data| BASE64.decode(data.as_bytes()))
        .transpose();
    let decoded = decoded.map_err(|_| WebhookError::Malformed {
        missing: "data in base64",
    })?;
    // Data in another format says nothing to us, but its event still declares an incident.
    let data = decoded.map_or_else(
        || event.get("data").cloned(),
        |bytes| sender_json::parse(&bytes),
    );
    Ok(CloudEvent {
        version: text(event, "/specversion"),
        id: text(event, "/id"),
        source: text(event, "/source"),
        kind: text(event, "/type"),
        time: text(event, "/time"),
        severity: text(event, "/severity"),
        data: data.unwrap_or(Value::Null),
    })
}

fn text(event: &Value, pointer: &str) -> Option<String> {
    JsonNode(event).text(pointer).map(str::to_owned)
}

fn binary(delivery: &WebhookDelivery<'_>, media_type: &str) -> Result<CloudEvent, WebhookError> {
    let headers = delivery.headers;
    let is_json = media_type == "application/json" || media_type.ends_with("+json");
    Ok(CloudEvent {
        version: attribute(headers, "specversion"),
        id: attribute(headers, "id"),
        source: attribute(headers, "source"),
        kind: attribute(headers, "type"),
        time: attribute(headers, "time"),
        severity: attribute(headers, "severity"),
        data: if is_json && !delivery.body.is_empty() {
            parse_object(delivery.body)?
        } else {
            Value::Null
        },
    })
}

/// Decodes an attribute from its header, which percent-encodes all but printable ASCII (HTTP
/// protocol binding §3.1.3.2).
fn attribute(headers: &HeaderMap, name: &str) -> Option<String> {
    // Receivers must also accept a value in quotes (the same section).
    let text = header_text(headers, &format!("ce-{name}"))?
        .trim()
        .trim_matches('"');
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, more @ ..] = rest {
        let hex = more
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| data_encoding::HEXLOWER_PERMISSIVE.decode(hex).ok());
        // A `%` that begins no escape stands for itself.
        rest = if hex.is_some() { &more[2..] } else { more };
        bytes.extend(hex.unwrap_or_else(|| vec![*first]));
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{HOOKS, SECRET, receive};
    use super::super::{IncidentTrigger, Vendor};
    use super::*;

    fn of(more: &[(&str, &str)], body: &[u8]) -> Result<WebhookOutcome, WebhookError> {
        let token = format!("Bearer {SECRET}");
        receive(
            Vendor::CloudEvents,
            &HOOKS,
            &[more, &[("authorization", &token)]].concat(),
            body,
        )
    }

    fn declared(more: &[(&str, &str)], body: &[u8]) -> Box<IncidentTrigger> {
        let outcome = of(more, body);
        let Ok(WebhookOutcome::Declare(trigger)) = outcome else {
            panic!("{outcome:?}")
        };
        trigger
    }

    const BINARY: [(&str, &str); 5] = [
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.someevent"),
        ("ce-id", "1234-1234-1234"),
        ("ce-source", "/mycontext/subcontext"),
        ("ce-time", "2018-04-05T03:56:24Z"),
    ];

    /// The HTTP protocol binding's examples (§3.1.4 and §3.2.3) are one event in both modes.
    #[test]
    fn both_modes_give_same_event() {
        let json = ("content-type", "application/json; charset=utf-8");
        let binary = declared(&[&BINARY[..], &[json]].concat(), br#"{"title":"t"}"#);
        let structured = declared(
            &[("content-type", "application/cloudevents+json; charset=utf-8")],
            br#"{"specversion":"1.0","type":"com.example.someevent","time":"2018-04-05T03:56:24Z","id":"1234-1234-1234","source":"/mycontext/subcontext","datacontenttype":"application/json","data":{"title":"t"}}"#,
        );
        assert_eq!(binary, structured);
        assert_eq!(
            binary
                .report
                .reported_at
                .map(|at| at.to_string())
                .as_deref(),
            Some("2018-04-05T03:56:24Z")
        );
        let base64 = declared(
            &[("content-type", "application/cloudevents+json")],
            br#"{"specversion":"1.0","type":"com.example.someevent","time":"2018-04-05T03:56:24Z","id":"1234-1234-1234","source":"/mycontext/subcontext","data_base64":"eyJ0aXRsZSI6InQifQ=="}"#,
        );
        assert_eq!(base64, binary);
        let other = declared(&[("ce-id", "1"), BINARY[0], BINARY[1], BINARY[3]], b"");
        assert_ne!(other.key, binary.key);
        assert_eq!(
            other.title.as_str(),
            "com.example.someevent",
            "without data, the type is its name"
        );
    }

    /// HTTP protocol binding §3.1.3.2: `Euro € 😀` is sent as this.
    #[test]
    fn attributes_are_percent_decoded() {
        let header = super::super::samples::headers(&[
            ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
            ("ce-bad", "100%"),
        ]);
        assert_eq!(attribute(&header, "subject").as_deref(), Some("Euro € 😀"));
        assert_eq!(attribute(&header, "bad").as_deref(), Some("100%"));
    }

    #[test]
    fn rejects_incomplete_events_other_versions_and_batches() {
        for (without, _) in &BINARY[..4] {
            let some: Vec<_> = BINARY
                .into_iter()
                .filter(|(name, _)| name != without)
                .collect();
            assert!(
                matches!(of(&some, b""), Err(WebhookError::Malformed { .. })),
                "without {without}"
            );
        }
        let old = [&[("ce-specversion", "0.3")], &BINARY[1..]].concat();
        assert_eq!(
            of(&old, b""),
            Err(WebhookError::Malformed {
                missing: "specversion 1.0"
            })
        );
        let batch = [("content-type", "application/cloudevents-batch+json")];
        assert_eq!(
            of(&batch, b"[]"),
            Err(WebhookError::Malformed {
                missing: "event in JSON, one at a time"
            })
        );
        assert_eq!(
            receive(Vendor::CloudEvents, &HOOKS, &BINARY, b""),
            Err(WebhookError::NotAuthentic)
        );
    }
}
