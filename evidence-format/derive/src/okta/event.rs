//! Events of the System Log.
//! <https://developer.okta.com/docs/api/openapi/okta-management/management/tag/SystemLog/>

use serde_json::Value;

use super::entity::{entity_of, known_text};
use super::event_types::meaning_of;
use crate::json::{id_at, list_at, time_at};
use crate::text::shortened;
use crate::{ActivityEvent, ActivityOutcome, EntityKind, EntityRef, RecordContext};

/// Members of `debugContext.debugData` that say what was granted or found. They are the point of
/// the event, and stand nowhere else in it.
const DETAILS: [&str; 4] = [
    "privilegeGranted",
    "privilegeRevoked",
    "grantedScopes",
    "threatDetections",
];

/// How many targets the summary names.
const SUMMARY_TARGETS_MAX: usize = 3;
/// Longest detail or reason in the summary, in characters.
const SUMMARY_PART_CHARS_MAX: usize = 120;

/// The event that the record `value` tells of.
pub(super) fn log_event(record: &RecordContext<'_>, value: &Value) -> ActivityEvent {
    let Some(event_type) = known_text(value, "/eventType") else {
        // The rest may be readable, and is better than nothing.
        let mut event = ActivityEvent::unreadable(record, "has no eventType");
        let reason = event.reason.take();
        describe(&mut event, record, value);
        event.reason = reason;
        return event;
    };
    let meaning = meaning_of(event_type);
    let mut event = ActivityEvent::new(record, meaning.category, event_type);
    event.class = meaning.class;
    event.activity = meaning.activity;
    describe(&mut event, record, value);
    event.summary = summary_of(&event, record, value);
    event
}

/// Sets what the record says beside its type.
fn describe(event: &mut ActivityEvent, record: &RecordContext<'_>, value: &Value) {
    if let Some((time, _)) = time_at(value, "/published") {
        event.time = time;
    }
    event.time_text = id_at(value, "/published").unwrap_or_default();
    (event.outcome, event.reason) = outcome_of(value);
    event.actor = value
        .get("actor")
        .and_then(|actor| entity_of(record, actor));
    event.targets = targets_of(record, value);
    let token = "/transaction/detail/requestApiTokenId";
    let token = text_entity(record, value, EntityKind::Credential, token);
    let session = session_of(record, value);
    event.through = through(record, value, event.actor.as_ref());
    // What the caller showed: a token, or else the session. Okta makes a session of its own for
    // each call with a token, so the session would not lead to the other calls.
    event.credential = match token {
        Some(token) => {
            event
                .through
                .extend(session.filter(|session| session.id != token.id));
            Some(token)
        }
        None => session,
    };
    event.address = known_text(value, "/client/ipAddress")
        .or_else(|| known_text(value, "/request/ipChain/0/ip"))
        .map(str::to_owned);
    event.user_agent = known_text(value, "/client/userAgent/rawUserAgent").map(str::to_owned);
    event.event_id = known_text(value, "/uuid").map(str::to_owned);
    event.transaction = known_text(value, "/transaction/id").map(str::to_owned);
}

/// The session; calls with an API token have the token's id in its place, which begins with `00T`.
fn session_of(record: &RecordContext<'_>, value: &Value) -> Option<EntityRef> {
    let pointer = "/authenticationContext/externalSessionId";
    let mut session = text_entity(record, value, EntityKind::Session, pointer)?;
    if session.id.starts_with("00T") {
        session.kind = EntityKind::Credential;
    }
    Some(session)
}

fn outcome_of(value: &Value) -> (ActivityOutcome, Option<String>) {
    let reason = known_text(value, "/outcome/reason");
    let result = known_text(value, "/outcome/result");
    let outcome = match result {
        Some("SUCCESS" | "ALLOW") => ActivityOutcome::Success,
        Some("FAILURE" | "DENY" | "RATE_LIMIT" | "ABANDONED" | "UNANSWERED") => {
            ActivityOutcome::Failure
        }
        Some("CHALLENGE") => ActivityOutcome::Challenge,
        // Also SKIPPED, DEFERRED and SCHEDULED: it did not happen, or not yet.
        _ => ActivityOutcome::Unknown,
    };
    // DENY and UNANSWERED say more than that it failed, SKIPPED more than that it is unknown.
    let word = result.filter(|word| !matches!(*word, "SUCCESS" | "FAILURE" | "UNKNOWN"));
    let reason = match (word, reason) {
        (Some("CHALLENGE"), Some(reason)) | (None, Some(reason)) => Some(reason.to_owned()),
        (Some(word), Some(reason)) => Some(format!("{word}: {reason}")),
        (word, None) => word.map(str::to_owned),
    };
    (outcome, reason)
}

/// The targets in Okta's order, then the roles that the event grants or takes: Okta names these in
/// a text only.
fn targets_of(record: &RecordContext<'_>, value: &Value) -> Vec<EntityRef> {
    let targets = list_at(value, "/target").iter();
    let mut targets: Vec<EntityRef> = targets
        .filter_map(|target| entity_of(record, target))
        .collect();
    for member in ["privilegeGranted", "privilegeRevoked"] {
        let roles = known_text(value, &format!("/debugContext/debugData/{member}"));
        for role in roles.into_iter().flat_map(|roles| roles.split(", ")) {
            targets.push(EntityRef::new(EntityKind::Role, role).scoped(record.account));
        }
    }
    targets
}

/// The apps and identity providers that stand between the actor and Okta.
fn through(record: &RecordContext<'_>, value: &Value, actor: Option<&EntityRef>) -> Vec<EntityRef> {
    let places = [
        (EntityKind::Application, "/client/id"),
        (
            EntityKind::Application,
            "/transaction/detail/requestApiTokenClientId",
        ),
        (
            EntityKind::IdentityProvider,
            "/authenticationContext/issuer/id",
        ),
    ];
    let mut through: Vec<EntityRef> = Vec::new();
    for (kind, pointer) in places {
        let Some(entity) = text_entity(record, value, kind, pointer) else {
            continue;
        };
        // An app that acts for itself is the actor already.
        let is_actor = actor.is_some_and(|actor| actor.id == entity.id);
        if !is_actor && through.iter().all(|other| other.id != entity.id) {
            through.push(entity);
        }
    }
    through
}

fn text_entity(
    record: &RecordContext<'_>,
    value: &Value,
    kind: EntityKind,
    pointer: &str,
) -> Option<EntityRef> {
    let id = known_text(value, pointer)?;
    Some(EntityRef::new(kind, id).scoped(record.account))
}

/// `Grant user privilege (Super administrator) on User alice@acme.io by jack@acme.io (102xY):
/// failed, NOT_ALLOWED`.
fn summary_of(event: &ActivityEvent, record: &RecordContext<'_>, value: &Value) -> String {
    let message = known_text(value, "/displayMessage").unwrap_or(&event.action);
    let mut summary = message.to_owned();
    for member in DETAILS {
        if let Some(detail) = known_text(value, &format!("/debugContext/debugData/{member}")) {
            write_part(&mut summary, " (", detail, ")");
        }
    }
    let targets = list_at(value, "/target");
    for (index, target) in targets.iter().take(SUMMARY_TARGETS_MAX).enumerate() {
        let before = if index == 0 { " on " } else { ", " };
        let okta_type = known_text(target, "/type").unwrap_or("object");
        write_part(&mut summary, before, okta_type, " ");
        let entity = entity_of(record, target);
        let label = entity.as_ref().map_or("without a name", EntityRef::label);
        write_part(&mut summary, "", label, "");
    }
    if targets.len() > SUMMARY_TARGETS_MAX {
        let more = (targets.len() - SUMMARY_TARGETS_MAX).to_string();
        write_part(&mut summary, " and ", &more, " more");
    }
    if let Some(actor) = &event.actor {
        write_part(&mut summary, " by ", actor.label(), "");
    }
    if let Some(credential) = &event.credential {
        write_part(&mut summary, " (", &credential.id, ")");
    }
    let outcome = match event.outcome {
        ActivityOutcome::Failure => Some("failed"),
        ActivityOutcome::Challenge => Some("challenged"),
        ActivityOutcome::Success | ActivityOutcome::Unknown => None,
    };
    if let Some(outcome) = outcome {
        write_part(&mut summary, ": ", outcome, "");
        if let Some(reason) = &event.reason {
            write_part(&mut summary, ", ", reason, "");
        }
    }
    if time_at(value, "/published").is_none() {
        summary.push_str("; its time cannot be read, so it stands at the time of capture");
    }
    summary
}

fn write_part(summary: &mut String, before: &str, part: &str, after: &str) {
    let part = shortened(part, SUMMARY_PART_CHARS_MAX);
    summary.extend([before, &part, after]);
}
