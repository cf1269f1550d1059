//! Deliveries as vendors make them, for tests.

use std::sync::LazyLock;

use data_encoding::{BASE64, HEXLOWER};
use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use hmac::Mac;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::authenticity::mac;
use super::*;

/// When all samples come: 2026-11-23T13:40:17Z.
pub(super) static RECEIVED: LazyLock<Timestamp> =
    LazyLock::new(|| "2026-11-23T13:40:17Z".parse().expect("a time"));
/// The same in seconds.
pub(super) const RECEIVED_SECONDS: &str = "1795441217";

/// The secret of every vendor; of those that speak Standard Webhooks, with its prefix.
pub(super) const SECRET: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The message of every delivery that has one.
pub(super) const MESSAGE: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";

static PLAYS: LazyLock<Plays> = LazyLock::new(Plays::built_in);

/// Each vendor with a rotation of two secrets, of which the samples use the second; Grafana signs,
/// with a time.
pub(super) static HOOKS: LazyLock<HooksConfig> = LazyLock::new(|| {
    let secrets = format!(
        r#"secrets = ["whsec_{}", "{SECRET}"]"#,
        BASE64.encode(&[7; 32])
    );
    let sections =
        Vendor::ALL.map(|vendor| format!("[{}]\n{secrets}\n{}\n", vendor.name(), keys(vendor)));
    let hooks: HooksConfig = toml::from_str(&sections.concat()).expect("a configuration");
    hooks
        .check_keys()
        .and_then(|()| hooks.check_secrets())
        .expect("a good one");
    hooks
});

fn keys(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Grafana => {
            "signature-header = \"X-Grafana-Alerting-Signature\"\ntimestamp-header = \"X-Grafana-Alerting-Timestamp\""
        }
        Vendor::Opsgenie => "token-header = \"X-Exhibit-Token\"",
        Vendor::Alertmanager => "username = \"alertmanager\"",
        _ => "",
    }
}

/// A delivery that can be changed before it is received.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) vendor: Vendor,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Sample {
    pub(super) fn receive(&self) -> Result<WebhookOutcome, WebhookError> {
        let delivery = WebhookDelivery {
            headers: &self.headers,
            body: &self.body,
            received_at: *RECEIVED,
        };
        super::receive(self.vendor, &HOOKS, &PLAYS, &delivery)
    }
}

pub(super) fn hook(vendor: Vendor, config: &HookConfig) -> HookContext<'_> {
    HookContext {
        vendor,
        config,
        plays: &PLAYS,
        received_at: *RECEIVED,
        body: Digest::of(b"{}"),
    }
}

pub(super) fn headers(named: &[(&str, &str)]) -> HeaderMap {
    let named = named.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        (name, HeaderValue::from_str(value).expect("a value"))
    });
    named.collect()
}

/// Receives what has just these headers.
pub(super) fn receive(
    vendor: Vendor,
    hooks: &HooksConfig,
    named: &[(&str, &str)],
    body: &[u8],
) -> Result<WebhookOutcome, WebhookError> {
    let headers = headers(named);
    super::receive(
        vendor,
        hooks,
        &PLAYS,
        &WebhookDelivery {
            headers: &headers,
            body,
            received_at: *RECEIVED,
        },
    )
}

/// A body as the vendor would send it.
pub(super) fn signed(vendor: Vendor, body: &[u8]) -> Sample {
    signed_at(vendor, body, RECEIVED_SECONDS)
}

/// ... at another time.
pub(super) fn signed_at(vendor: Vendor, body: &[u8], seconds: &str) -> Sample {
    let hex =
        |parts: &[&[u8]]| HEXLOWER.encode(&mac(SECRET.as_bytes(), parts).finalize().into_bytes());
    let time = seconds.as_bytes();
    let named: Vec<(&str, String)> = match vendor {
        Vendor::PagerDuty => vec![("x-pagerduty-signature", format!("v1={}", hex(&[body])))],
        Vendor::IncidentIo | Vendor::Standard => {
            let key = BASE64.decode(SECRET.as_bytes()).expect("base64");
            let mac = mac(&key, &[MESSAGE.as_bytes(), b".", time, b".", body])
                .finalize()
                .into_bytes();
            let signature = format!("v1,{}", BASE64.encode(&mac));
            vec![
                ("webhook-id", MESSAGE.to_owned()),
                ("webhook-timestamp", seconds.to_owned()),
                ("webhook-signature", signature),
            ]
        }
        Vendor::Slack => vec![
            ("x-slack-request-timestamp", seconds.to_owned()),
            (
                "x-slack-signature",
                format!("v0={}", hex(&[b"v0:", time, b":", body])),
            ),
        ],
        Vendor::Grafana => {
            vec![
                ("x-grafana-alerting-timestamp", seconds.to_owned()),
                ("x-grafana-alerting-signature", hex(&[time, b":", body])),
            ]
        }
        Vendor::Opsgenie => vec![("x-exhibit-token", SECRET.to_owned())],
        Vendor::Alertmanager => {
            vec![(
                "authorization",
                format!(
                    "Basic {}",
                    BASE64.encode(format!("alertmanager:{SECRET}").as_bytes())
                ),
            )]
        }
        Vendor::CloudEvents => vec![
            ("authorization", format!("Bearer {SECRET}")),
            (
                "content-type",
                "application/cloudevents+json; charset=utf-8".to_owned(),
            ),
        ],
    };
    let named: Vec<_> = named
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    Sample {
        vendor,
        headers: headers(&named),
        body: body.to_owned(),
    }
}
