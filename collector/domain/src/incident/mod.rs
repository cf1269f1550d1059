//! The incident: its severity, status, roles, checklists, statements and evidence.
//!
//! Event-sourced: the journal is the truth, and an [`Incident`] is its projection
//! ([`Incident::replay`]). A user's [`Command`] goes to [`Incident::decide`], which returns events
//! or an error; the ledger appends the events to the journal as entries.

mod apply;
pub mod brief;
mod calendar;
mod capture_request;
mod checklist;
mod closure;
mod coverage;
mod custody;
mod decide;
mod draft;
mod entry;
mod names;
mod overview;
mod pass_number;
mod pivot;
mod play;
mod plays;
mod proof;
mod report;
mod review;
mod severity;
mod statement;
mod summary;
mod text;
mod timeline;
mod unavailable;
pub mod view;

#[cfg(test)]
mod samples;

use std::collections::BTreeMap;

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

pub use apply::ReplayError;
pub use calendar::{Day, ParseDayError};
pub use capture_request::CaptureRequest;
pub use checklist::{
    AnswerCommand, Checklist, ChecklistStep, ClosureAnswer, ClosureItem, CorrectiveAction,
    FIRST_MINUTES, ParseChecklistError, REVIEW_BUSINESS_DAYS, StepProgress, StepState, UnknownStep,
    find_step, short_ids,
};
pub use closure::ClosureBlocker;
pub(crate) use coverage::ended_text;
pub use coverage::{BundleCoverage, GapSummary, ItemCoverage, UnfinishedItem};
pub use custody::{EvidenceRef, FindingKind, PassKind, VerificationOutcome};
pub use decide::{Command, CommandError, declare};
pub use draft::DeclarationDraft;
pub use entry::{Declaration, IncidentEvent, JournalEntry};
pub use names::{ParseNameError, PlayName, SourceName, StepId};
pub use overview::IncidentOverview;
pub use pass_number::{PassNumber, REQUESTS_MAX};
pub use pivot::{PIVOT_BYTES_MAX, ParsePivotError, Pivot, PivotKind};
pub use play::{PLAY_BYTES_MAX, Play, PlayError};
pub use plays::{PlayFile, Plays, UnknownPlay};
pub use proof::{CapturedSources, FREEZE_STEP};
pub use report::{
    ImpactAnswer, InitialReport, ParseImpactAnswerError, PotentialImpact, SYSTEMS_MAX,
};
pub use review::{ReviewAnswer, ReviewPrompt};
pub use severity::{IncidentRole, IncidentStatus, ParseKeywordError, Severity};
pub use statement::{
    ChangeFreeze, CurrentAction, StatementStanding, StatementTopic, UpdateStatement,
};
pub use summary::UNASKED;
pub use text::{
    BoundedText, LINE_BYTES_MAX, Line, NAME_BYTES_MAX, Name, PROSE_BYTES_MAX, Prose, TextError,
};
pub use timeline::TimelineRow;
pub(crate) use unavailable::by_reason;
pub use unavailable::{UnavailableReason, UnavailableSource};

/// The state of an incident after the last entry of its journal, made by [`Incident::replay`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    pub id: IncidentId,
    pub name: Name,
    pub severity: Severity,
    pub status: IncidentStatus,
    pub declared_at: Timestamp,
    pub declared_by: Name,
    /// What triggered the declaration: a webhook, a command, a drill.
    pub trigger: Option<Line>,
    /// When it was declared or, if later, last reopened.
    pub opened_at: Timestamp,
    /// `None` while the incident is open.
    pub closed_at: Option<Timestamp>,
    /// When the incident itself began, usually before the declaration.
    pub started_at: Option<Timestamp>,
    pub play: PlayName,
    pub report: InitialReport,
    pub affects: PotentialImpact,
    /// In the order in which they were added.
    pub pivots: Vec<Pivot>,
    /// Who has which role. A role without an entry is not assigned.
    pub roles: BTreeMap<IncidentRole, Name>,
    /// The steps of all checklists, in order.
    pub checklist: Vec<ChecklistStep>,
    /// What people said about steps. A step without an entry is open, or proved.
    pub progress: BTreeMap<StepId, StepProgress>,
    /// Steps that an entry of the journal proves.
    pub proved: BTreeMap<StepId, StepProgress>,
    pub captured: CapturedSources,
    /// Where the responders talk.
    pub channel: Option<Line>,
    /// The changes that are frozen.
    pub change_freeze: Option<ChangeFreeze>,
    /// The answers to the closure checklist.
    pub closure: BTreeMap<ClosureItem, ClosureAnswer>,
    /// The answers of the post-incident review.
    pub review: BTreeMap<ReviewPrompt, ReviewAnswer>,
    pub corrective_actions: Vec<CorrectiveAction>,
    pub statements: Vec<UpdateStatement>,
    /// Running and ended ones.
    pub actions: Vec<CurrentAction>,
    /// When the next update is due.
    pub next_update_at: Option<Timestamp>,
    pub evidence: EvidenceCount,
    /// The number of the last entry.
    pub seq: u64,
    /// The time of the last entry.
    pub changed_at: Timestamp,
}

/// Counts of an incident's evidence.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceCount {
    /// Sealed bundles, including attachments.
    pub bundles: u64,
    /// Records in all bundles.
    pub records: u64,
    /// Gaps in all bundles.
    pub gaps: u64,
    /// Bundles with gaps.
    pub incomplete: u64,
    /// Captures that sealed nothing.
    pub failed: u64,
    /// Findings about the evidence.
    pub findings: u64,
    /// More evidence may arrive until this time; `null` if none is expected.
    pub provisional_until: Option<Timestamp>,
}

impl Incident {
    /// The progress of a step: what people said, else what the journal proves, else open without an
    /// owner.
    #[must_use]
    pub fn step_progress(&self, step: &StepId) -> StepProgress {
        let known = self.progress.get(step).or_else(|| self.proved.get(step));
        known.cloned().unwrap_or_default()
    }

    /// Makes decided events the next entries of the journal.
    #[must_use]
    pub fn entries(
        &self,
        events: Vec<IncidentEvent>,
        by: &Name,
        at: Timestamp,
    ) -> Vec<JournalEntry> {
        // The events of one command have one time: they were decided together.
        (self.seq + 1..)
            .zip(events)
            .map(|(seq, event)| JournalEntry {
                seq,
                at,
                by: by.clone(),
                event,
            })
            .collect()
    }
}
