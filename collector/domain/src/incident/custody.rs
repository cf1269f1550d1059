//! What is done with evidence, as the pipeline writes it into the incident's timeline.

use std::fmt;

use evidence_format::digest::Digest;
use evidence_format::id::ItemName;
use serde::{Deserialize, Serialize};

/// Points into a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = EvidencePointer)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvidenceRef {
    /// The bundle's id.
    pub bundle: Digest,
    /// The item in it; `None` is the whole bundle.
    pub item: Option<ItemName>,
    /// The record in the item, from 0; `None` is the whole item.
    pub record: Option<u64>,
}

/// Why a source is asked.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[schema(as = PlanPassKind)]
#[serde(rename_all = "kebab-case")]
pub enum PassKind {
    /// For the first time.
    First,
    /// Again, because evidence arrives late at this source.
    Settle,
    /// For the rest, after a deadline cut an earlier pass.
    Continuation,
}

impl PassKind {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Settle => "settle",
            Self::Continuation => "continuation",
        }
    }
}

/// What was found about the evidence itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// It belongs to the window of an earlier pass, and was not there then.
    Late,
    /// An earlier pass has it, and the source no longer does.
    Gone,
    /// The source gives other bytes for it than before.
    Changed,
    /// It could not be captured.
    Gap,
    /// A clock is wrong.
    Clock,
    /// It shows use of what the incident is about.
    Pivot,
}

impl FindingKind {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::Late,
        Self::Gone,
        Self::Changed,
        Self::Gap,
        Self::Clock,
        Self::Pivot,
    ];

    /// The kind of an entry with such a finding.
    #[must_use]
    pub fn entry_kind(self) -> &'static str {
        match self {
            Self::Late => "finding.late",
            Self::Gone => "finding.gone",
            Self::Changed => "finding.changed",
            Self::Gap => "finding.gap",
            Self::Clock => "finding.clock",
            Self::Pivot => "finding.pivot",
        }
    }
}

/// What a verification said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerificationOutcome {
    /// All that was asked holds.
    Sound,
    /// Sound, but something is missing that was planned.
    Incomplete,
    /// It cannot be decided with the trust material given.
    Undecided,
    /// Tampered or invalid.
    Failed,
}

impl fmt::Display for PassKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.entry_kind().trim_start_matches("finding."))
    }
}

impl fmt::Display for VerificationOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sound => "sound",
            Self::Incomplete => "sound but incomplete",
            Self::Undecided => "undecided",
            Self::Failed => "failed",
        })
    }
}
