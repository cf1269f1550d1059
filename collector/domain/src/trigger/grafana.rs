//! Grafana alerting:
//! <https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/>.
//!
//! The contact point sends a bearer token, a user and a password, or an HMAC-SHA256 in hexadecimal
//! of the body. If a header for the time is configured, the HMAC is of the time in seconds, a
//! colon, and the body (grafana/alerting, `http/hmac.go`). The operator names both headers, since
//! Grafana's code (`X-Grafana-Alert-Signature`) and documents (`X-Grafana-Alerting-Signature`)
//! differ.

use super::authenticity::{
    SIGNATURE_BYTES, check_authorization, check_signature, check_timestamp, from_hex,
    required_header,
};
use super::payload::{JsonNode, parse_object};
use super::{
    HookConfig, HookContext, HookSecret, WebhookDelivery, WebhookError, WebhookOutcome, alerts,
};
use http::HeaderMap;

pub(super) fn receive(
    hook: &HookContext<'_>,
    delivery: &WebhookDelivery<'_>,
) -> Result<WebhookOutcome, WebhookError> {
    match &hook.config.signature_header {
        Some(name) => verify(hook, name, delivery)?,
        None => check_authorization(hook.config, delivery.headers)?,
    }
    let body = parse_object(delivery.body)?;
    let group = JsonNode(&body);
    // The test button of a contact point sends this alert.
    if group.text("/commonLabels/alertname") == Some("TestAlert")
        && group.text("/commonLabels/instance") == Some("Grafana")
    {
        return Ok(WebhookOutcome::Ignored {
            reason: "test of the contact point",
        });
    }
    alerts::receive(hook, group)
}

fn verify(
    hook: &HookContext<'_>,
    name: &str,
    delivery: &WebhookDelivery<'_>,
) -> Result<(), WebhookError> {
    let signature = signature(delivery.headers, name)?;
    let keys: Vec<&str> = hook.config.secrets.iter().map(HookSecret::expose).collect();
    let Some(timestamp) = &hook.config.timestamp_header else {
        // Without a signed time a replay is possible, but has the key of the same incident.
        return check_signature(&keys, &[delivery.body], &[signature]);
    };
    let time = required_header(delivery.headers, timestamp)?;
    check_signature(&keys, &[time.as_bytes(), b":", delivery.body], &[signature])?;
    check_timestamp(time, delivery.received_at)
}

/// What can be checked before the body is read.
pub(super) fn check_headers(config: &HookConfig, headers: &HeaderMap) -> Result<(), WebhookError> {
    let Some(name) = &config.signature_header else {
        return check_authorization(config, headers);
    };
    signature(headers, name)?;
    config
        .timestamp_header
        .as_ref()
        .map_or(Ok(()), |name| required_header(headers, name).map(drop))
}

fn signature(headers: &HeaderMap, name: &str) -> Result<Vec<u8>, WebhookError> {
    from_hex(required_header(headers, name)?)
        .filter(|signature| signature.len() == SIGNATURE_BYTES)
        .ok_or(WebhookError::NotAuthentic)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{HOOKS, RECEIVED_SECONDS, receive};
    use super::super::{HooksConfig, Vendor};
    use super::*;

    // Grafana's documents, shortened: a time with a zone, and an end in the year 1.
    const BODY: &str = r#"{"receiver":"My Super Webhook","status":"firing","orgId":1,"alerts":[{"status":"firing","labels":{"alertname":"High memory usage","team":"blue","zone":"us-1"},"annotations":{"summary":"This alert was triggered for zone us-1"},"startsAt":"2021-10-12T09:51:03.157076+02:00","endsAt":"0001-01-01T00:00:00Z","fingerprint":"c6eadffa33fcdf37","values":{"B":44.23943737541908}}],"groupLabels":{},"commonLabels":{"team":"blue"},"commonAnnotations":{},"externalURL":"https://play.grafana.org/","version":"1","groupKey":"{}:{}","truncatedAlerts":0,"title":"[FIRING:1]  (blue)","state":"alerting"}"#;
    const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn hooks(change: impl Fn(&mut HookConfig)) -> HooksConfig {
        let mut hooks = HOOKS.clone();
        change(hooks.section_mut(Vendor::Grafana).expect("a sample"));
        hooks
    }

    fn mac(parts: &[&[u8]]) -> String {
        use hmac::Mac;
        data_encoding::HEXLOWER.encode(
            &super::super::authenticity::mac(SECRET.as_bytes(), parts)
                .finalize()
                .into_bytes(),
        )
    }

    /// By Python: `hmac.new(b"MfKQ…", b"1795441217:{}", "sha256").hexdigest()` and the same without
    /// the time.
    #[test]
    fn signature_covers_body_or_time_and_body() {
        assert_eq!(
            mac(&[b"1795441217", b":", b"{}"]),
            "9db767a79559ce3060e6f033daa3f958bd4429cd3f07b8870432d3a99897f25a"
        );
        assert_eq!(
            mac(&[b"{}"]),
            "29463c89f21734716f676920e90fd918a8cb5189b38d397255a32d907d12435d"
        );
        let (signature, timestamp) = (
            "x-grafana-alerting-signature",
            "x-grafana-alerting-timestamp",
        );
        let (with, without) = (
            mac(&[RECEIVED_SECONDS.as_bytes(), b":", BODY.as_bytes()]),
            mac(&[BODY.as_bytes()]),
        );
        let of = |hooks: &HooksConfig, named: &[(&str, &str)]| {
            receive(Vendor::Grafana, hooks, named, BODY.as_bytes())
        };
        let both = hooks(|_| {});
        assert!(matches!(
            of(&both, &[(signature, &with), (timestamp, RECEIVED_SECONDS)]),
            Ok(WebhookOutcome::Declare(_))
        ));
        for bad in [
            &[(signature, with.as_str())][..],
            &[(signature, &without)],
            &[(signature, &without), (timestamp, RECEIVED_SECONDS)],
        ] {
            assert_eq!(of(&both, bad), Err(WebhookError::NotAuthentic), "{bad:?}");
        }
        let plain = hooks(|hook| hook.timestamp_header = None);
        assert!(matches!(
            of(&plain, &[(signature, &without)]),
            Ok(WebhookOutcome::Declare(_))
        ));
        assert_eq!(
            of(&plain, &[(signature, &with), (timestamp, RECEIVED_SECONDS)]),
            Err(WebhookError::NotAuthentic)
        );
        let token = ("authorization", format!("Bearer {SECRET}"));
        assert_eq!(
            of(&both, &[(token.0, &token.1)]),
            Err(WebhookError::NotAuthentic),
            "with a signature header, no token is accepted"
        );
    }

    #[test]
    fn accepts_token_or_password_without_signature_header() {
        let token = hooks(|hook| (hook.signature_header, hook.timestamp_header) = (None, None));
        let user = hooks(|hook| {
            (hook.signature_header, hook.timestamp_header, hook.username) =
                (None, None, Some("grafana".to_owned()))
        });
        let basic =
            |pair: String| format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()));
        let of = |hooks: &HooksConfig, value: &str| {
            receive(
                Vendor::Grafana,
                hooks,
                &[("authorization", value)],
                BODY.as_bytes(),
            )
        };
        let right = basic(format!("grafana:{SECRET}"));
        for (hooks, good) in [
            (&token, format!("Bearer {SECRET}")),
            (&token, format!("bearer  {SECRET}")),
            (&user, right.clone()),
        ] {
            let Ok(WebhookOutcome::Declare(trigger)) = of(hooks, &good) else {
                panic!("{good}")
            };
            assert_eq!(
                trigger.title.as_str(),
                "This alert was triggered for zone us-1"
            );
            assert_eq!(
                trigger.started_at.map(|at| at.to_string()).as_deref(),
                Some("2021-10-12T07:51:03.157076Z")
            );
        }
        for bad in [
            "Bearer",
            "Bearer ",
            "Basic",
            SECRET,
            &right,
            &format!("Bearer {SECRET} x"),
            &format!("Bearer {}", &SECRET[1..]),
        ] {
            assert_eq!(of(&token, bad), Err(WebhookError::NotAuthentic), "{bad}");
        }
        let wrong = [
            "grafana",
            "grafana:",
            ":",
            &format!("other:{SECRET}"),
            &format!("grafana:{SECRET}x"),
        ]
        .map(|pair| basic(pair.to_owned()));
        for bad in wrong
            .iter()
            .chain([&format!("Bearer {SECRET}"), &"Basic %%%".to_owned()])
        {
            assert_eq!(of(&user, bad), Err(WebhookError::NotAuthentic), "{bad}");
        }
    }

    #[test]
    fn test_of_contact_point_declares_nothing() {
        let hooks = hooks(|hook| (hook.signature_header, hook.timestamp_header) = (None, None));
        let body = BODY.replace(
            r#""commonLabels":{"#,
            r#""commonLabels":{"alertname":"TestAlert","instance":"Grafana","#,
        );
        let outcome = receive(
            Vendor::Grafana,
            &hooks,
            &[("authorization", &format!("Bearer {SECRET}"))],
            body.as_bytes(),
        );
        assert_eq!(
            outcome,
            Ok(WebhookOutcome::Ignored {
                reason: "test of the contact point"
            })
        );
    }
}
