//! Standard Webhooks 1.0: its signatures, and the events of senders that have no file of their own.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>:
//! `webhook-signature` holds `v1,` and the base64 of the HMAC-SHA256 of
//! `{webhook-id}.{webhook-timestamp}.{body}`, possibly several with spaces between them. The secret
//! is `whsec_` and the base64 of the key. Asymmetric signatures (`v1a`), which no sender here uses,
//! are skipped, as the specification demands.

use super::authenticity::{SIGNATURE_BYTES, check_signature, check_timestamp, required_header};
use super::payload::{JsonNode, VendorEvent, parse_object};
use super::{
    HookContext, HookSecret, IncidentUpdate, WebhookDelivery, WebhookError, WebhookOutcome, generic,
};
use data_encoding::BASE64;
use http::HeaderMap;

/// What people do about an incident. It is worth a note, and declares nothing.
const WORK_VERBS: [&str; 11] = [
    "acknowledged",
    "annotated",
    "assigned",
    "commented",
    "delegated",
    "joined",
    "left",
    "reassigned",
    "snoozed",
    "unacknowledged",
    "unassigned",
];

pub(super) fn receive(
    hook: &HookContext<'_>,
    delivery: &WebhookDelivery<'_>,
) -> Result<WebhookOutcome, WebhookError> {
    let message = verify(&hook.config.secrets, delivery)?;
    let body = parse_object(delivery.body)?;
    let whole = JsonNode(&body);
    let kind = whole.required_text("/type", "type")?;
    let data = whole.at("/data");
    // The specification allows the members of `data` at the top level.
    let data = if data.0.is_object() { data } else { whole };
    let fields = generic::incident_fields(hook, data, whole.text("/timestamp"))?;
    let incident = data.first_text(&["/incident_id", "/id"]);
    // An event without an incident's id is an incident of its own.
    let id = &[incident.unwrap_or(message)];
    let event = VendorEvent {
        id,
        delivery: Some(message),
        kind,
    };
    // The specification separates the words of a type by full stops: `incident.resolved`.
    let verb = kind.rsplit('.').next().unwrap_or(kind);
    let has_ended = matches!(
        verb,
        "canceled" | "cancelled" | "closed" | "deleted" | "resolved"
    );
    let is_work = WORK_VERBS.contains(&verb);
    // It cannot be matched with anything, and must not declare what it says is over.
    if incident.is_none() && (has_ended || is_work || verb == "updated") {
        return Ok(WebhookOutcome::Ignored {
            reason: "update of an incident without an id",
        });
    }
    if !has_ended && !is_work && verb != "updated" {
        let mut trigger = hook.trigger(&event, fields);
        trigger.content_key = hook.delivery_key(&event).filter(|_| incident.is_none());
        return Ok(WebhookOutcome::Declare(trigger));
    }
    let title = fields
        .title
        .map(|title| format!(": {title}"))
        .unwrap_or_default();
    let (update, trigger) = (
        hook.update(&event, &format!("{kind}{title}")),
        hook.trigger(&event, fields),
    );
    // Without a word, `trigger` has the configured default, which must not raise anything.
    let severity = generic::severity(hook, data)
        .is_some()
        .then_some(trigger.severity);
    let declare_if_unknown = (!has_ended && !is_work).then_some(trigger);
    Ok(WebhookOutcome::Update(Box::new(IncidentUpdate {
        severity,
        has_ended,
        declare_if_unknown,
        ..update
    })))
}

/// Checks the signature, then the time. Returns the message's id.
pub(super) fn verify<'d>(
    secrets: &[HookSecret],
    delivery: &WebhookDelivery<'d>,
) -> Result<&'d str, WebhookError> {
    let StandardSignature {
        id,
        time,
        signatures,
    } = signature(delivery.headers)?;
    let keys: Vec<Vec<u8>> = secrets.iter().filter_map(HookSecret::signing_key).collect();
    check_signature(
        &keys,
        &[id.as_bytes(), b".", time.as_bytes(), b".", delivery.body],
        &signatures,
    )?;
    check_timestamp(time, delivery.received_at)?;
    Ok(id)
}

/// The headers that sign a delivery.
pub(super) struct StandardSignature<'h> {
    id: &'h str,
    time: &'h str,
    signatures: Vec<Vec<u8>>,
}

/// Reads the headers that sign a delivery. They prove nothing yet.
pub(super) fn signature(headers: &HeaderMap) -> Result<StandardSignature<'_>, WebhookError> {
    let id = required_header(headers, "webhook-id")?;
    let time = required_header(headers, "webhook-timestamp")?;
    let signatures = required_header(headers, "webhook-signature")?;
    if id.is_empty() || id.contains('.') {
        // With a dot, the same signed bytes could be split into another id and time.
        return Err(WebhookError::NotAuthentic);
    }
    let signatures: Vec<_> = signatures
        .split(' ')
        // Other versions are skipped, as the specification demands.
        .filter_map(|one| BASE64.decode(one.strip_prefix("v1,")?.as_bytes()).ok())
        .filter(|signature| signature.len() == SIGNATURE_BYTES)
        .collect();
    if signatures.is_empty() {
        return Err(WebhookError::NotAuthentic);
    }
    Ok(StandardSignature {
        id,
        time,
        signatures,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Vendor;
    use super::super::samples::{HOOKS, headers};
    use super::*;

    // standard-webhooks/standard-webhooks, libraries/java/…/WebhookTest.java; Svix's documents have
    // the same.
    const VECTOR: [(&str, &str); 3] = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        (
            "webhook-signature",
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
    ];
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn verify_at(
        named: &[(&str, &str)],
        body: &[u8],
        seconds: i128,
    ) -> Result<String, WebhookError> {
        let secrets = &HOOKS.section(Vendor::Standard).expect("a sample").secrets;
        let received_at =
            evidence_format::time::Timestamp::from_unix_nanoseconds(seconds * 1_000_000_000)
                .expect("a time");
        verify(
            secrets,
            &WebhookDelivery {
                headers: &headers(named),
                body,
                received_at,
            },
        )
        .map(str::to_owned)
    }

    #[test]
    fn accepts_published_signature_within_five_minutes() {
        for seconds in [1_614_265_330, 1_614_265_330 - 300, 1_614_265_330 + 300] {
            assert_eq!(
                verify_at(&VECTOR, BODY, seconds).as_deref(),
                Ok("msg_p5jXN8AQM9LWM0D4loKWxJek")
            );
        }
        assert_eq!(
            verify_at(&VECTOR, BODY, 1_614_265_330 + 301),
            Err(WebhookError::Stale { seconds: 301 })
        );
        assert_eq!(
            verify_at(&VECTOR, br#"{"test": 2432232315}"#, 1_614_265_330),
            Err(WebhookError::NotAuthentic)
        );
    }

    #[test]
    fn accepts_one_matching_signature_and_skips_others() {
        let with = |signature: &str| {
            let [id, time, _] = VECTOR;
            verify_at(
                &[id, time, ("webhook-signature", signature)],
                BODY,
                1_614_265_330,
            )
        };
        let right = VECTOR[2].1;
        for good in [
            &format!("v1,AAAA {right}"),
            &format!("v1a,QUFB v2,xyz {right} v1,not-base64"),
        ] {
            assert!(with(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "v1,",
            &right[3..],
            &right.replace("v1,", "v2,"),
            &right[..40],
            &right.replace('=', ""),
        ] {
            assert_eq!(with(bad), Err(WebhookError::NotAuthentic), "{bad}");
        }
    }

    #[test]
    fn rejects_id_with_dot() {
        let [(name, _), ..] = VECTOR;
        let shifted = [
            (name, "msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330"),
            VECTOR[1],
            VECTOR[2],
        ];
        assert_eq!(
            verify_at(&shifted, BODY, 1_614_265_330),
            Err(WebhookError::NotAuthentic)
        );
    }

    #[test]
    fn reads_events_of_unknown_senders() {
        let of =
            |body: &str| super::super::samples::signed(Vendor::Standard, body.as_bytes()).receive();
        let Ok(WebhookOutcome::Declare(trigger)) = of(
            r#"{"type":"leak.found","data":{"id":"L1","title":"Key in a gist","severity":"high","play":"leaked-secret","pivots":["access-key=AKIAIOSFODNN7EXAMPLE"],"systems":["ci"]}}"#,
        ) else {
            panic!("no declaration")
        };
        assert_eq!(
            (trigger.key.as_str(), trigger.play.as_str()),
            ("standard:L1", "leaked-secret")
        );
        assert_eq!(
            trigger.pivots[0].to_string(),
            "access-key=AKIAIOSFODNN7EXAMPLE"
        );
        let Ok(WebhookOutcome::Update(update)) = of(r#"{"type":"leak.resolved","id":"L1"}"#) else {
            panic!("no update")
        };
        assert_eq!(
            (update.key.as_str(), update.declare_if_unknown),
            ("standard:L1", None)
        );
        let Ok(WebhookOutcome::Update(update)) =
            of(r#"{"type":"leak.updated","data":{"id":"L1","severity":"critical"}}"#)
        else {
            panic!("no update")
        };
        assert!(update.severity.is_some() && update.declare_if_unknown.is_some());
        for (bad, said) in [
            (
                r#"{"type":"a","data":{"play":"leaked-secrets"}}"#,
                "leaked-secret",
            ),
            (
                r#"{"type":"a","data":{"pivots":["token=ghp_012345678901234567890"]}}"#,
                "looks like a secret itself",
            ),
            (r#"{"type":"a","data":{"pivots":[1]}}"#, "is not a pivot"),
        ] {
            let refused = of(bad).expect_err(bad);
            assert!(
                refused.to_string().contains(said) && refused.status().as_u16() == 422,
                "{refused}"
            );
        }
    }
}
