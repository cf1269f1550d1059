//! Standard Webhooks 1.0: the signatures, and events of whoever has no file of their own here.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>: `webhook-signature` has `v1,` and the
//! base64 of the HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}`, several with blanks between them; the secret is `whsec_` and
//! the base64 of the key. Its `v1a` is asymmetric, which no sender here uses: it is passed over, as the specification asks.

use super::check::{fresh, header_text, signed};
use super::read::{Event, Node, json};
use super::{Delivery, Hook, Received, Refused, Secret, Update, generic};
use data_encoding::BASE64;

/// What a key's base64 begins with.
const SECRET_PREFIX: &str = "whsec_";

pub(super) fn receive(hook: &Hook<'_>, delivery: &Delivery<'_>) -> Result<Received, Refused> {
    let message = verify(&hook.config.secrets, delivery)?;
    let body = json(delivery.body)?;
    let whole = Node(&body);
    let kind = whole.needed("/type", "type")?;
    let data = whole.at("/data");
    let data = if data.0.is_object() { data } else { whole }; // the specification lets data be squashed into the top level
    let told = generic::told(hook, data, whole.text("/timestamp"))?;
    let incident = data.first(&["/incident_id", "/id"]);
    let id = &[incident.unwrap_or(message)];
    let event = Event { id, delivery: Some(message), kind };
    let verb = kind.rsplit('.').next().unwrap_or(kind);
    let ends = matches!(verb, "acknowledged" | "canceled" | "cancelled" | "closed" | "deleted" | "resolved");
    if incident.is_none() && (ends || verb == "updated") {
        return Ok(Received::Ignored { why: "update of an incident without an id" });
    }
    if !ends && verb != "updated" {
        return Ok(Received::Declare(hook.trigger(&event, told)));
    }
    let title = told.title.map(|title| format!(": {title}")).unwrap_or_default();
    let (update, trigger) = (hook.update(&event, &format!("{kind}{title}")), hook.trigger(&event, told));
    let severity = generic::severity(data).is_some().then_some(trigger.severity);
    let otherwise = (!ends).then_some(trigger);
    Ok(Received::Update(Box::new(Update { severity, otherwise, ..update })))
}

/// Checks the signature, then the time. The message's id.
pub(super) fn verify<'d>(secrets: &[Secret], delivery: &Delivery<'d>) -> Result<&'d str, Refused> {
    let of = |name| header_text(delivery.headers, name).ok_or(Refused::NotAuthentic);
    let (id, time, text) = (of("webhook-id")?, of("webhook-timestamp")?, of("webhook-signature")?);
    if id.is_empty() || id.contains('.') {
        return Err(Refused::NotAuthentic); // with a dot, the same bytes would be signed for another id and time
    }
    let signatures: Vec<_> = text.split(' ').filter_map(|one| BASE64.decode(one.strip_prefix("v1,")?.as_bytes()).ok()).collect();
    let keys: Vec<Vec<u8>> = secrets.iter().filter_map(signing_key).collect();
    signed(&keys, &[id.as_bytes(), b".", time.as_bytes(), b".", delivery.body], &signatures)?;
    fresh(time, delivery.received)?;
    Ok(id)
}

/// The key that a secret is.
pub(super) fn signing_key(secret: &Secret) -> Option<Vec<u8>> {
    let text = secret.expose();
    BASE64.decode(text.strip_prefix(SECRET_PREFIX).unwrap_or(text).as_bytes()).ok()
}
