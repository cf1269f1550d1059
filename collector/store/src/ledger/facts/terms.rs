//! The terms by which events are found, in the form in which they are stored.

use std::borrow::Cow;
use std::collections::BTreeSet;

use evidence_derive::ActivityEvent;

/// Leaves room in an index for the other columns: PostgreSQL's indexes take up to 2704 bytes of one
/// row.
pub(super) const INDEXED_BYTES_MAX: usize = 512;

/// The part that somebody or something has in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TermRole {
    Actor,
    Credential,
    Target,
    Address,
}

impl TermRole {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Actor => "actor",
            Self::Credential => "credential",
            Self::Target => "target",
            Self::Address => "address",
        }
    }
}

/// The terms by which an event is found. A role that was assumed counts as the actor, too.
pub(super) fn terms_of(event: &ActivityEvent) -> BTreeSet<(TermRole, String)> {
    let mut terms = BTreeSet::new();
    let entities = [
        (TermRole::Actor, event.actor.as_slice()),
        (TermRole::Actor, event.through.as_slice()),
        (TermRole::Credential, event.credential.as_slice()),
        (TermRole::Target, event.targets.as_slice()),
    ];
    for (role, entities) in entities {
        for entity in entities {
            terms.insert((role, term(&entity.id)));
            terms.extend(entity.name.as_deref().map(|name| (role, term(name))));
        }
    }
    terms.extend(
        event
            .address
            .as_deref()
            .map(|text| (TermRole::Address, term(text))),
    );
    terms
}

/// A name as it is stored and looked up: the case of A to Z is ignored.
pub(super) fn term(text: &str) -> String {
    short(text).to_ascii_lowercase()
}

pub(super) fn short(text: &str) -> String {
    truncated(text, INDEXED_BYTES_MAX).into_owned()
}

/// The part of a text that the timeline stores, without NUL, which PostgreSQL rejects.
pub(super) fn truncated(text: &str, bytes_max: usize) -> Cow<'_, str> {
    let text = &text[..text.floor_char_boundary(bytes_max)];
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}").into()
    } else {
        text.into()
    }
}
