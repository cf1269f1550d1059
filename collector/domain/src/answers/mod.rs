//! Answers to the runbook's questions of an investigation, made of derived events, objects and
//! edges. Each line points at the record that is its evidence, and each answer ends with what it
//! does not know.
//!
//! `--json` and the API have the same types. Members are added, never renamed or removed.

mod changes;
mod coverage;
mod exposure;
mod graph;
mod identities;
#[cfg(test)]
mod samples;
mod snapshots;
mod state;
mod trusts;
mod unknown;

pub use changes::{ChangeEvent, ChangesAnswer, PersistenceAnswer, WayInEvent, WayInSnapshot};
pub use coverage::{CoverageAnswer, CoverageRow, CoverageVerdict, coverage_rows};
pub use exposure::{
    ActCollector, ActCount, ActEffect, ExposureAnswer, ReachableThing, reachable_things,
};
pub use graph::{
    DEPTH_DEFAULT, DEPTH_MAX, GraphStep, GraphWalk, KnownEdge, WalkDirection, edge_words,
    entity_words,
};
pub use identities::{
    CredentialUse, IdentitiesAnswer, IdentityCollector, IdentityUse, ValueList, ValueUse,
};
pub use snapshots::{SnapshotChange, SnapshotChangeKind};
pub use state::{EvidenceState, ItemState, UnaskedSource, UnknownKind, UnknownPart};
pub use trusts::TrustsAnswer;
pub use unknown::unknown_parts;

use evidence_derive::ActivityEvent;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::incident::EvidenceRef;

/// The events of a whole incident that one answer reads at most: it says so if there are more.
pub const EVENTS_READ_MAX: u64 = 1_000_000;

/// An event as the functions of answers read it, without its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvestigatedEvent {
    /// Identifies it in every timeline: 32 hex digits.
    pub id: String,
    pub source: String,
    /// Who provided it, as in the item's source: `aws`.
    pub provider: String,
    pub event: ActivityEvent,
}

/// The window of an answer: `from` is included, `until` excluded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnswerWindow {
    /// `null`: from the beginning.
    pub from: Option<Timestamp>,
    /// `null`: to the end.
    pub until: Option<Timestamp>,
}

/// An event that stands for others, and the record that is its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventMention {
    pub time: Timestamp,
    /// True if the record's time has no zone, and was read as UTC; absent otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub time_assumed_utc: bool,
    /// Names the event, as `line` in the timeline does.
    pub line: String,
    pub summary: String,
    /// The first record that delivers it.
    pub evidence: Option<EvidenceRef>,
    /// The whole id, by which its record is looked up.
    #[serde(skip)]
    pub event: String,
}

/// Digits of [`EventMention::line`], as in the timeline.
const LINE_DIGITS: usize = 10;

impl EventMention {
    fn of(event: &InvestigatedEvent) -> Self {
        Self {
            time: event.event.time,
            time_assumed_utc: event.event.time_assumed_utc,
            line: event.id.chars().take(LINE_DIGITS).collect(),
            summary: event.event.summary.clone(),
            evidence: None,
            event: event.id.clone(),
        }
    }
}
