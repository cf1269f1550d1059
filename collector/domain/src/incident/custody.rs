//! Terms of the journal's events about evidence, which the pipeline writes.

use std::fmt;

use evidence_format::digest::Digest;
use evidence_format::id::ItemName;
use serde::{Deserialize, Serialize};

/// Refers to a bundle, or to an item or record in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = EvidencePointer)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EvidenceRef {
    /// The bundle's id.
    pub bundle: Digest,
    /// `null` for the whole bundle.
    pub item: Option<ItemName>,
    /// The number of the record in the item, from 0; `null` for the whole item.
    pub record: Option<u64>,
}

/// Why a source is captured.
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
    /// The first capture.
    First,
    /// Captured again, because evidence arrives late at this source.
    Settle,
    /// The rest of an earlier pass that its deadline cut off.
    Continuation,
}

impl PassKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Settle => "settle",
            Self::Continuation => "continuation",
        }
    }
}

/// The kind of a finding about the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A record in the window of an earlier pass appeared only later.
    Late,
    /// A record of an earlier pass is no longer at the source.
    Gone,
    /// The source returns other bytes for a record than before, or an object has another version.
    Changed,
    /// An object that an earlier pass did not find.
    Appeared,
    /// Evidence could not be captured.
    Gap,
    /// A clock is wrong.
    Clock,
    /// A record matches a pivot of the incident.
    Pivot,
    /// An agent cannot be trusted, or has delivered what was not ordered.
    Agent,
}

impl FindingKind {
    pub const ALL: [Self; 8] = [
        Self::Late,
        Self::Gone,
        Self::Changed,
        Self::Appeared,
        Self::Gap,
        Self::Clock,
        Self::Pivot,
        Self::Agent,
    ];

    /// The [kind](super::JournalEntry::kind) of an entry with such a finding.
    #[must_use]
    pub fn entry_kind(self) -> &'static str {
        match self {
            Self::Late => "finding.late",
            Self::Gone => "finding.gone",
            Self::Changed => "finding.changed",
            Self::Appeared => "finding.appeared",
            Self::Gap => "finding.gap",
            Self::Clock => "finding.clock",
            Self::Pivot => "finding.pivot",
            Self::Agent => "finding.agent",
        }
    }
}

/// The result of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VerificationOutcome {
    /// Every requested check passed.
    Sound,
    /// Sound, but planned evidence is missing.
    Incomplete,
    /// The trust material given is not enough to decide.
    Undecided,
    /// Tampered with, or invalid.
    Failed,
}

/// `BUNDLE/ITEM/RECORD`, as far as it refers.
impl fmt::Display for EvidenceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bundle)?;
        let Some(item) = &self.item else {
            return Ok(());
        };
        write!(f, "/{item}")?;
        self.record.map_or(Ok(()), |record| write!(f, "/{record}"))
    }
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
