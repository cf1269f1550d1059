//! What the records of bundles say: events, which are the timeline, objects, and edges between
//! objects. A view, not evidence; each row names the record that is its evidence.
//!
//! An event has one row, however many passes, pivots and pages deliver it. Its [`EventId`] decides
//! what is the same event; a table of its own lists the records.

mod compare;
mod filter;
mod insert;
mod items;
mod read;
mod relations;
mod terms;

#[cfg(test)]
pub(super) use compare::comparison_statements;
pub use compare::{BundleComparison, ObjectChange, ObjectComparison, ObjectRow};
pub use filter::EventFilter;
#[cfg(test)]
pub(super) use items::ITEM_STATES;
pub use items::{CompleteItem, DerivedItem, ItemRow};
pub use read::{
    EventCursor, EventPage, EventRow, EventScan, ParseEventCursorError, RECORDS_LISTED_MAX,
    ScannedEvent,
};
#[cfg(test)]
pub(super) use read::{event_statement, events_by_id_statement, page_statement, scan_statement};
#[cfg(test)]
pub(super) use relations::{
    CREATED_OBJECTS, EDGE_DIFFERENCE, ENTITIES_NAMED, SOURCES_WITH_EDGES, edges_statement,
};
pub use relations::{CreatedObject, EdgeComparison, EdgeRow};
pub use terms::TermRole;

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
    /// Identifies an event that has no id of its own.
    pub content_digest: Digest,
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
    /// id. Without an id, they are if they say the same.
    fn id(&self, source: &str) -> EventId {
        let account = self.account.as_deref().unwrap_or_default();
        let content = self.content_digest.to_string();
        let (how, id) = match &self.event.event_id {
            Some(id) => ("id", id),
            None => ("content", &content),
        };
        let parts = [how, source, account, id.as_str()];
        EventId::of(&parts.map(str::as_bytes))
    }
}
