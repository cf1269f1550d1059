//! Grafana alerting: <https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/>.
//!
//! The contact point sends a bearer token, a user and a password, or an HMAC-SHA256 in hexadecimal: of the body, or, if it is given a
//! header for the time, of the time in seconds, a colon, and the body (grafana/alerting, `http/hmac.go`). The names of both headers are
//! the operator's: that code's own is `X-Grafana-Alert-Signature`, the documents' is `X-Grafana-Alerting-Signature`.

use super::check::{authorized, fresh, from_hex, header_text, signed};
use super::read::{Node, json};
use super::{Delivery, Hook, Received, Refused, Secret, alerts};

pub(super) fn receive(hook: &Hook<'_>, delivery: &Delivery<'_>) -> Result<Received, Refused> {
    match &hook.config.signature_header {
        Some(name) => verify(hook, name, delivery)?,
        None => authorized(hook.config, delivery.headers)?,
    }
    let body = json(delivery.body)?;
    let group = Node(&body);
    let label = |name| group.text(&format!("/commonLabels/{name}"));
    if label("alertname") == Some("TestAlert") && label("instance") == Some("Grafana") {
        return Ok(Received::Ignored { why: "test of the contact point" });
    }
    alerts::receive(hook, group)
}

fn verify(hook: &Hook<'_>, name: &str, delivery: &Delivery<'_>) -> Result<(), Refused> {
    let of = |name| header_text(delivery.headers, name).ok_or(Refused::NotAuthentic);
    let signature = from_hex(of(name)?).ok_or(Refused::NotAuthentic)?;
    let keys: Vec<&str> = hook.config.secrets.iter().map(Secret::expose).collect();
    let Some(timestamp) = &hook.config.timestamp_header else { return signed(&keys, &[delivery.body], &[signature]) };
    let time = of(timestamp)?;
    signed(&keys, &[time.as_bytes(), b":", delivery.body], &[signature])?;
    fresh(time, delivery.received)
}
