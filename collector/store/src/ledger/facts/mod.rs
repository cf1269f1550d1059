//! What the records of bundles say: events, which are the timeline, objects, and edges between
//! objects. A view, not evidence; each row names the record that is its evidence.
//!
//! An event has one row, however many passes, pivots and pages deliver it. Its [`EventId`] decides
//! what is the same event; a table of its own lists the records.

mod compare;
mod filter;
mod insert;
mod read;

#[cfg(test)]
pub(super) use compare::comparison_statements;
pub use compare::{BundleComparison, ObjectChange, ObjectComparison, ObjectRow};
pub use filter::{EventFilter, TermRole};
#[cfg(test)]
pub(super) use read::{event_statement, page_statement};
pub use read::{EventCursor, EventPage, EventRow, ParseEventCursorError, RECORDS_LISTED_MAX};

use std::fmt;

use evidence_derive::{ActivityEvent, ObjectEdge, ObservedObject};
use evidence_format::digest::Digest;
use evidence_format::id::ItemName;

/// What was derived from some records of a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DerivedFacts {
    pub events: Vec<EventFact>,
    pub objects: Vec<ObjectFact>,
    pub edges: Vec<EdgeFact>,
}

/// A record of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordPointer {
    pub item: ItemName,
    /// Number of the record in the item, from 0.
    pub record: u64,
}

/// An event that one record reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFact {
    pub pointer: RecordPointer,
    /// Digest of the record without the separator that follows it. It identifies an event that has
    /// no id of its own.
    pub record_digest: Digest,
    /// Index among the events of the record.
    pub part: u32,
    /// Account, organization or cluster of the item's source.
    pub account: Option<String>,
    /// Order among events of the same time, since many logs give whole seconds.
    pub ordinal: i64,
    /// The provider and its name for the event, such as `aws.CreateAccessKey`. Stored up to 128
    /// bytes.
    pub kind: String,
    pub event: ActivityEvent,
}

/// An object that one record reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFact {
    pub pointer: RecordPointer,
    pub object: ObservedObject,
}

/// A relation that one record reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeFact {
    pub pointer: RecordPointer,
    /// Index among the edges of the record.
    pub part: u32,
    pub edge: ObjectEdge,
}

/// Identifies an event in every timeline: 32 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(String);

impl EventId {
    /// Digits of an id. 128 bits: two events do not get the same id by chance.
    pub const DIGITS: usize = 32;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Joins `parts` unambiguously, and takes the digest.
    fn of(parts: &[&[u8]]) -> Self {
        let mut joined = Vec::new();
        for part in parts {
            joined.extend_from_slice(&(part.len() as u64).to_be_bytes());
            joined.extend_from_slice(part);
        }
        let mut digits = Digest::of(&joined).hex();
        digits.truncate(Self::DIGITS);
        Self(digits)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl EventFact {
    /// Two records of one source and account are the same event if the provider gives them the same
    /// id. Without an id, they are if their bytes are the same.
    fn id(&self, source: &str) -> EventId {
        let account = self.account.as_deref().unwrap_or_default();
        match &self.event.event_id {
            Some(id) => EventId::of(&[b"id", source.as_bytes(), account.as_bytes(), id.as_bytes()]),
            None => EventId::of(&[
                b"record",
                source.as_bytes(),
                account.as_bytes(),
                self.record_digest.to_string().as_bytes(),
                self.part.to_string().as_bytes(),
            ]),
        }
    }
}
