//! What the captures of an incident have and lack, and how an answer says what it does not know.

use evidence_format::coverage::TimeWindow;
use evidence_format::digest::Digest;
use evidence_format::id::ItemName;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::incident::ItemCoverage;

/// Something that an answer does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnknownPart {
    pub kind: UnknownKind,
    /// The sources that it is about; empty if it is about all.
    pub sources: Vec<String>,
    /// In words; may quote a source.
    pub text: String,
}

/// Why an answer does not know something.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownKind {
    /// A source was to be asked, and could not be.
    NotAsked,
    /// A capture failed, was stopped or was cut off.
    Failed,
    /// A part of a source is missing.
    Incomplete,
    /// The source may deliver more.
    Provisional,
    /// A bundle whose records are not in the answer yet.
    NotDerived,
    /// The evidence has no facts of the kind that the answer is made of.
    NoFacts,
    /// The answer reached one of its limits.
    Limit,
    /// Nobody has configured the source.
    NotConfigured,
}

/// A source, or a part of one, that gave no evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnaskedSource {
    pub source: String,
    pub kind: UnknownKind,
    pub reason: String,
}

/// What the captures of an incident have and lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceState {
    pub now: Timestamp,
    /// The items of all bundles, in the order of their commits.
    pub items: Vec<ItemState>,
    pub unasked: Vec<UnaskedSource>,
    /// Passes that are due later, by source.
    pub later_passes: Vec<(String, Timestamp)>,
    /// Sources of bundles whose records are not derived yet.
    pub not_derived: Vec<String>,
    /// The names of all sources that this version has.
    pub known_sources: Vec<String>,
}

impl EvidenceState {
    /// A state without evidence.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            items: Vec::new(),
            unasked: Vec::new(),
            later_passes: Vec::new(),
            not_derived: Vec::new(),
            known_sources: Vec::new(),
        }
    }
}

impl UnknownPart {
    #[must_use]
    pub fn new(kind: UnknownKind, source: &str, text: String) -> Self {
        Self {
            kind,
            sources: vec![source.to_owned()],
            text,
        }
    }

    /// A limit of the answer itself.
    #[must_use]
    pub fn limit(text: String) -> Self {
        Self {
            kind: UnknownKind::Limit,
            sources: Vec::new(),
            text,
        }
    }
}

/// An item of one bundle, with its coverage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemState {
    pub source: String,
    pub bundle: Digest,
    pub sealed_at: Timestamp,
    pub item: ItemName,
    pub is_complete: bool,
    /// The requested window; `None` for state.
    pub asked: Option<TimeWindow>,
    pub unreadable: u64,
    /// `None` if an earlier version derived the bundle.
    pub coverage: Option<ItemCoverage>,
}
