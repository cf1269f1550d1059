//! A JSON record of a listing or a log, and what derivers of several providers have in common.

use evidence_format::digest::Digest;
use serde_json::Value;

use crate::json::{id_at, text_at, time_at};
use crate::text::shortened;
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, EdgeRelation, EntityKind,
    EntityRef, ObjectEdge, ObservedObject, RecordContext,
};

/// Longest part of a summary, in characters.
pub(crate) const PART_CHARS_MAX: usize = 120;

pub(crate) struct JsonElement<'r> {
    pub(crate) context: &'r RecordContext<'r>,
    pub(crate) value: &'r Value,
}

impl<'r> JsonElement<'r> {
    pub(crate) fn new(context: &'r RecordContext<'r>, value: &'r Value) -> Self {
        Self { context, value }
    }

    pub(crate) fn text(&self, pointer: &str) -> Option<&'r str> {
        text_at(self.value, pointer)
    }

    /// The text of the first of `pointers` that has one.
    pub(crate) fn first(&self, pointers: &[&str]) -> Option<&'r str> {
        pointers.iter().find_map(|pointer| self.text(pointer))
    }

    pub(crate) fn id(&self, pointer: &str) -> Option<String> {
        id_at(self.value, pointer)
    }

    /// Ids are unique in the account, so that is what they belong to.
    pub(crate) fn entity(&self, kind: EntityKind, id: impl Into<String>) -> EntityRef {
        EntityRef::new(kind, id).scoped(self.context.account)
    }

    /// The entity whose id is at `pointer`.
    pub(crate) fn entity_at(&self, kind: EntityKind, pointer: &str) -> Option<EntityRef> {
        Some(self.entity(kind, self.id(pointer)?))
    }

    /// What follows `collection` in the path of the request: `7` of `/groups/7/members`. Not decoded
    /// further than what names have.
    pub(crate) fn id_in_uri(&self, collection: &str) -> Option<String> {
        let path = self.context.uri.split(['?', '#']).next()?;
        let mut segments = path.split('/').skip_while(|segment| *segment != collection);
        let segment = segments.nth(1).filter(|segment| !segment.is_empty())?;
        Some(percent_decoded(segment))
    }

    /// An event at the first of `times` that can be read.
    pub(crate) fn event(
        &self,
        times: &[&str],
        category: ActivityCategory,
        action: &str,
    ) -> ActivityEvent {
        let mut event = ActivityEvent::new(self.context, category, action);
        self.set_time(&mut event, times);
        event
    }

    pub(crate) fn set_time(&self, event: &mut ActivityEvent, times: &[&str]) {
        if let Some((time, text)) = times.iter().find_map(|time| time_at(self.value, time)) {
            event.time = time;
            event.time_text = text;
        } else {
            let text = times.iter().find_map(|time| self.id(time));
            event.time_text = text.unwrap_or_default();
        }
    }

    /// The SHA-256 of the record: identifies what has no id, and changes whenever the record does.
    pub(crate) fn digest(&self) -> String {
        Digest::of(self.value.to_string().as_bytes()).hex()
    }

    /// The element as an object, whose version is the text at the first of `versions`, or else the
    /// digest of the record.
    pub(crate) fn object(
        &self,
        entity: EntityRef,
        versions: &[&str],
        created: &str,
        summary: String,
    ) -> Derivation {
        let version = self.first(versions).map(str::to_owned);
        Derivation::Object(ObservedObject {
            entity,
            version: version.unwrap_or_else(|| self.digest()),
            created_at: time_at(self.value, created).map(|(time, _)| time),
            summary,
        })
    }

    /// `, ENABLED, OIDC`: the texts and truth values at `pointers` that are there.
    pub(crate) fn words(&self, pointers: &[&str]) -> String {
        let words = pointers.iter().filter_map(|pointer| {
            let name = pointer.rsplit('/').next().unwrap_or_default();
            match self.value.pointer(pointer)? {
                Value::Bool(true) => Some(format!(", {name}")),
                Value::Bool(false) => Some(format!(", not {name}")),
                Value::String(text) if !text.is_empty() => {
                    Some(format!(", {}", shortened(text, PART_CHARS_MAX)))
                }
                _ => None,
            }
        });
        words.collect()
    }
}

/// `%40` and the like as the bytes that they stand for; left as it is if that is no text.
pub(crate) fn percent_decoded(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
            }
            (byte, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| segment.to_owned())
}

pub(crate) fn edge(
    from: EntityRef,
    relation: EdgeRelation,
    to: EntityRef,
    condition: Option<String>,
) -> Derivation {
    Derivation::Edge(ObjectEdge {
        from,
        relation,
        to,
        condition: condition.filter(|text| !text.is_empty()),
    })
}

pub(crate) fn visit_event(event: ActivityEvent, visit: &mut dyn FnMut(Derivation)) {
    visit(Derivation::Event(Box::new(event)));
}

/// `what on t1, t2 by actor (credential): failed, reason`, from what the event has.
pub(crate) fn summary_of(event: &ActivityEvent, what: &str) -> String {
    const TARGETS_MAX: usize = 3;
    let mut summary = shortened(what, PART_CHARS_MAX);
    for (index, target) in event.targets.iter().take(TARGETS_MAX).enumerate() {
        summary.push_str(if index == 0 { " on " } else { ", " });
        summary.push_str(&shortened(target.label(), PART_CHARS_MAX));
    }
    if event.targets.len() > TARGETS_MAX {
        summary.push_str(&format!(" and {} more", event.targets.len() - TARGETS_MAX));
    }
    if let Some(actor) = &event.actor {
        summary.extend([" by ", &shortened(actor.label(), PART_CHARS_MAX)]);
    }
    if let Some(credential) = &event.credential {
        summary.extend([" (", &shortened(&credential.id, PART_CHARS_MAX), ")"]);
    }
    let outcome = match event.outcome {
        ActivityOutcome::Failure => Some("failed"),
        ActivityOutcome::Challenge => Some("challenged"),
        ActivityOutcome::Success | ActivityOutcome::Unknown => None,
    };
    if let Some(outcome) = outcome {
        summary.extend([": ", outcome]);
        if let Some(reason) = &event.reason {
            summary.extend([", ", &shortened(reason, PART_CHARS_MAX)]);
        }
    }
    summary
}

/// Appends that the event's time is that of the capture, if its own cannot be read.
pub(crate) fn note_missing_time(event: &mut ActivityEvent, times: &[&str], value: &Value) {
    if !times.iter().any(|time| time_at(value, time).is_some()) {
        let note = "; its time cannot be read, so it stands at the time of capture";
        event.summary.push_str(note);
    }
}

/// Classes and activities of words that several providers use for what is done to an object.
pub(crate) fn activity_of(verb: &str) -> u8 {
    let lower = verb.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    if has(&["delete", "remove", "revoke", "destroy", "unassign", "purge"]) {
        crate::ocsf::DELETE
    } else if has(&[
        "create", "add", "insert", "grant", "assign", "generate", "upload",
    ]) {
        crate::ocsf::CREATE
    } else if has(&[
        "get", "list", "read", "view", "search", "download", "export",
    ]) {
        crate::ocsf::READ
    } else if has(&[
        "update", "set", "change", "patch", "enable", "disable", "modify", "write",
    ]) {
        crate::ocsf::UPDATE
    } else {
        crate::ocsf::OTHER
    }
}
