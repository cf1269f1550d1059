//! Prometheus Alertmanager:
//! <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>, version 4 of its
//! message.
//!
//! Alertmanager does not sign; `http_config` gives it a bearer token, or a user and a password. It
//! sends a group that still fires again after `repeat_interval`, as the same incident.

use super::authenticity::check_authorization;
use super::payload::{JsonNode, parse_object};
use super::{HookContext, WebhookDelivery, WebhookError, WebhookOutcome, alerts};

pub(super) fn receive(
    hook: &HookContext<'_>,
    delivery: &WebhookDelivery<'_>,
) -> Result<WebhookOutcome, WebhookError> {
    check_authorization(hook.config, delivery.headers)?;
    let body = parse_object(delivery.body)?;
    let group = JsonNode(&body);
    // Another version may use the same names for something else.
    if group.text("/version") != Some("4") {
        return Err(WebhookError::Malformed {
            missing: "version 4 of the message",
        });
    }
    alerts::receive(hook, group)
}
