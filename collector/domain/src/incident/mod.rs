//! The incident: who declared what, how bad it is, who answers for it, what is done, and when it
//! may be closed.
//!
//! Its entries are the truth; an [`Incident`] is what follows from them ([`Incident::replay`]).
//! Whoever wants something asks [`Incident::decide`], which answers with changes or a refusal; the
//! ledger appends the changes as entries. All of it is pure: the time comes in as a value.

mod apply;
mod ask;
pub mod brief;
mod calendar;
mod checklist;
mod closure;
mod coverage;
mod custody;
mod decide;
mod entry;
mod names;
mod nearest;
mod overview;
mod pivot;
mod play;
mod plays;
mod report;
mod severity;
mod statement;
mod summary;
mod text;
mod timeline;
pub mod view;

#[cfg(test)]
mod samples;

use std::collections::BTreeMap;

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

pub use apply::ReplayError;
pub use ask::CaptureRequest;
pub use calendar::{Day, ParseDayError};
pub use checklist::{
    Checklist, ChecklistStep, ClosureAnswer, ClosureItem, CorrectiveAction, FIRST_MINUTES,
    ParseChecklistError, REVIEW_BUSINESS_DAYS, StepProgress, StepState,
};
pub use closure::ClosureBlocker;
pub use coverage::BundleCoverage;
pub use custody::{EvidenceRef, FindingKind, PassKind, VerificationOutcome};
pub use decide::{Command, CommandError, declare};
pub use entry::{Declaration, IncidentEvent, JournalEntry};
pub use names::{ParseNameError, PlayName, SourceName, StepId};
pub use nearest::{comma_separated, did_you_mean, nearest, suggested_key};
pub use overview::IncidentOverview;
pub use pivot::{PIVOT_BYTES_MAX, ParsePivotError, Pivot, PivotKind};
pub use play::{PLAY_BYTES_MAX, PLAYS_MAX, Play, PlayError, STEPS_MAX, WINDOW_HOURS_MAX};
pub use plays::{Plays, UnknownPlay};
pub use report::{
    ImpactAnswer, InitialReport, ParseImpactAnswerError, PotentialImpact, SYSTEMS_MAX,
};
pub use severity::{IncidentRole, IncidentStatus, ParseKeywordError, Severity};
pub use statement::{CurrentAction, StatementStanding, StatementTopic, UpdateStatement};
pub use text::{
    BoundedText, LINE_BYTES_MAX, Line, NAME_BYTES_MAX, Name, PROSE_BYTES_MAX, Prose, TextError,
};
pub use timeline::TimelineRow;

/// What is known of an incident after its last entry. Made by [`Incident::replay`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// Its short name.
    pub name: Name,
    /// How bad it is.
    pub severity: Severity,
    /// How far the response is.
    pub status: IncidentStatus,
    /// When it was declared.
    pub declared_at: Timestamp,
    /// By whom.
    pub declared_by: Name,
    /// What set it off.
    pub trigger: Option<Line>,
    /// When it was declared or, later, last reopened.
    pub opened_at: Timestamp,
    /// When it was closed; `None` while it is open.
    pub closed_at: Option<Timestamp>,
    /// When it started; `None` if nobody said.
    pub started: Option<Timestamp>,
    /// How it is responded to.
    pub play: PlayName,
    /// The initial report.
    pub report: InitialReport,
    /// What may be affected.
    pub affects: PotentialImpact,
    /// What evidence is asked for in particular, in the order in which it was named.
    pub pivots: Vec<Pivot>,
    /// Who answers for what. A role without an entry is not assigned.
    pub roles: BTreeMap<IncidentRole, Name>,
    /// The steps of all its lists, in order.
    pub checklist: Vec<ChecklistStep>,
    /// What is recorded of steps. A step without an entry is open.
    pub progress: BTreeMap<StepId, StepProgress>,
    /// The closure checklist's answers.
    pub closure: BTreeMap<ClosureItem, ClosureAnswer>,
    /// What is to be done so that it does not happen again.
    pub corrective_actions: Vec<CorrectiveAction>,
    /// What is said about it.
    pub statements: Vec<UpdateStatement>,
    /// What is and was done about it.
    pub actions: Vec<CurrentAction>,
    /// When the next update is due; `None` if nobody said.
    pub next_update: Option<Timestamp>,
    /// What was done with its evidence, in numbers.
    pub evidence: EvidenceCount,
    /// The number of its last entry.
    pub seq: u64,
    /// The time of its last entry.
    pub changed_at: Timestamp,
}

/// The evidence of an incident in numbers.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceCount {
    /// Bundles sealed, attachments among them.
    pub bundles: u64,
    /// Records in them.
    pub records: u64,
    /// Gaps in them.
    pub gaps: u64,
    /// Bundles with gaps.
    pub incomplete: u64,
    /// Captures that sealed nothing.
    pub failed: u64,
    /// Findings about the evidence.
    pub findings: u64,
    /// Until then more may arrive; `None` if nothing is expected.
    pub provisional_until: Option<Timestamp>,
}

impl Incident {
    /// What is recorded of a step; nothing yet is [`StepProgress::default`].
    #[must_use]
    pub fn progress_of(&self, step: &StepId) -> StepProgress {
        self.progress.get(step).cloned().unwrap_or_default()
    }

    /// Gives changes that were decided here the numbers that follow, and who and when.
    #[must_use]
    pub fn entries(
        &self,
        changes: Vec<IncidentEvent>,
        by: &Name,
        at: Timestamp,
    ) -> Vec<JournalEntry> {
        (self.seq + 1..)
            .zip(changes)
            .map(|(seq, change)| JournalEntry {
                seq,
                at,
                by: by.clone(),
                change,
            })
            .collect()
    }
}
