//! Prometheus Alertmanager:
//! <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>, version 4 of its
//! message.
//!
//! It signs nothing; `http_config` gives it a bearer token or a user and a password. A group that
//! still fires is sent again after `repeat_interval`, as the same incident.

use super::check::authorized;
use super::read::{Node, json};
use super::{Delivery, Hook, Received, WebhookError, alerts};

pub(super) fn receive(hook: &Hook<'_>, delivery: &Delivery<'_>) -> Result<Received, WebhookError> {
    authorized(hook.config, delivery.headers)?;
    let body = json(delivery.body)?;
    let group = Node(&body);
    if group.text("/version") != Some("4") {
        return Err(WebhookError::Malformed {
            missing: "version 4 of the message",
        });
    }
    alerts::receive(hook, group)
}
