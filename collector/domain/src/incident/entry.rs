//! The entries of an incident's journal. Replaying them in order gives the incident's state.
//!
//! Entries are stored as JSON and never rewritten, so variants and fields are only added, never
//! renamed or removed.

use evidence_format::coverage::TimeWindow;
use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, ItemName};
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::calendar::Day;
use super::capture_request::CaptureRequest;
use super::checklist::{ChecklistStep, ClosureItem, StepProgress};
use super::custody::{EvidenceRef, FindingKind, PassKind, VerificationOutcome};
use super::names::{PlayName, SourceName, StepId};
use super::pivot::Pivot;
use super::report::{InitialReport, PotentialImpact};
use super::review::ReviewPrompt;
use super::severity::{IncidentRole, IncidentStatus, Severity};
use super::statement::{StatementStanding, StatementTopic};
use super::text::{Line, Name, Prose};
use super::unavailable::UnavailableSource;

/// One entry of the journal: an event, who caused it, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JournalEntry {
    /// From 1, without gaps.
    pub seq: u64,
    /// By the collector's clock, when the entry was written.
    pub at: Timestamp,
    /// The person or program that caused the event.
    pub by: Name,
    pub event: IncidentEvent,
}

/// The content of the first event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Declaration {
    pub incident: IncidentId,
    pub name: Name,
    pub severity: Severity,
    pub play: PlayName,
    /// A copy of the steps of all checklists: later edits of a play do not change what this
    /// incident asked for.
    pub checklist: Vec<ChecklistStep>,
    /// When the incident itself began, usually before the declaration.
    pub started_at: Option<Timestamp>,
    #[serde(default)]
    pub report: InitialReport,
    #[serde(default)]
    pub affects: PotentialImpact,
    #[serde(default)]
    pub pivots: Vec<Pivot>,
    /// What triggered the declaration: a webhook, a command, a drill.
    pub trigger: Option<Line>,
}

/// Everything that can happen to an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase", deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "fields have the runbook's names; `from` and `to` are the values before and after"
)]
pub enum IncidentEvent {
    /// Always the first event, and never a later one.
    #[serde(rename = "incident.declared")]
    Declared(Box<Declaration>),
    /// The incident has another short name.
    #[serde(rename = "incident.name")]
    Renamed { from: Name, to: Name },
    /// The incident is worse, or less bad, than thought.
    #[serde(rename = "incident.severity")]
    SeverityChanged {
        from: Severity,
        to: Severity,
        reason: Line,
    },
    /// The response advanced or went back. Going back to Investigating has a reason.
    #[serde(rename = "incident.status")]
    StatusChanged {
        from: IncidentStatus,
        to: IncidentStatus,
        reason: Option<Line>,
    },
    /// The incident began at another time than thought.
    #[serde(rename = "incident.started")]
    StartedChanged {
        from: Option<Timestamp>,
        to: Timestamp,
    },
    /// Another play applies. Steps that both plays have keep their progress.
    #[serde(rename = "incident.play")]
    PlayChanged {
        from: PlayName,
        to: PlayName,
        checklist: Vec<ChecklistStep>,
        reason: Line,
    },
    /// A role has another holder; `None` leaves it vacant.
    #[serde(rename = "incident.role")]
    RoleAssigned {
        role: IncidentRole,
        from: Option<Name>,
        to: Option<Name>,
    },
    /// The initial report was completed or corrected.
    #[serde(rename = "incident.report")]
    ReportChanged {
        from: Box<InitialReport>,
        to: Box<InitialReport>,
    },
    /// More or less may be affected than thought.
    #[serde(rename = "incident.affects")]
    PotentialImpactChanged {
        from: PotentialImpact,
        to: PotentialImpact,
    },
    /// Evidence is asked for about one more thing.
    #[serde(rename = "incident.pivot")]
    PivotAdded { pivot: Pivot },
    /// The state, owner or note of a checklist step changed.
    #[serde(rename = "checklist.step")]
    StepChanged {
        step: StepId,
        from: StepProgress,
        to: StepProgress,
    },
    /// An item of the closure checklist was completed.
    #[serde(rename = "closure.given")]
    ClosureItemCompleted { item: ClosureItem, note: Line },
    /// An item of the closure checklist was waived; `by` answers for that.
    #[serde(rename = "closure.waived")]
    ClosureItemWaived {
        item: ClosureItem,
        reason: Line,
        by: Name,
    },
    /// The answer to an item of the closure checklist was withdrawn.
    #[serde(rename = "closure.withdrawn")]
    ClosureItemReopened { item: ClosureItem, reason: Line },
    /// A measure against recurrence was added.
    #[serde(rename = "corrective.added")]
    CorrectiveActionAdded {
        id: u64,
        what: Line,
        owner: Option<Name>,
        due: Option<Day>,
    },
    /// A corrective action has another owner or due date.
    #[serde(rename = "corrective.assigned")]
    CorrectiveActionAssigned {
        id: u64,
        from_owner: Option<Name>,
        from_due: Option<Day>,
        owner: Option<Name>,
        due: Option<Day>,
    },
    /// A corrective action was done.
    #[serde(rename = "corrective.done")]
    CorrectiveActionDone { id: u64, note: Option<Line> },
    /// A corrective action was withdrawn, since it was added by mistake.
    #[serde(rename = "corrective.withdrawn")]
    CorrectiveActionWithdrawn { id: u64, reason: Line },
    /// A prompt of the post-incident review was answered.
    #[serde(rename = "review.answered")]
    ReviewAnswered { prompt: ReviewPrompt, answer: Line },
    /// A statement for updates was added.
    #[serde(rename = "update.stated")]
    StatementAdded {
        id: u64,
        topic: StatementTopic,
        standing: StatementStanding,
        text: Line,
    },
    /// A statement was confirmed, put in doubt, or withdrawn.
    #[serde(rename = "update.standing")]
    StandingChanged {
        id: u64,
        from: StatementStanding,
        to: StatementStanding,
        reason: Option<Line>,
    },
    /// An action was begun.
    #[serde(rename = "update.action")]
    ActionStarted {
        id: u64,
        text: Line,
        owner: Option<Name>,
    },
    /// An action was finished or given up.
    #[serde(rename = "update.action-ended")]
    ActionEnded { id: u64, outcome: Option<Line> },
    /// The next update is due at another time.
    #[serde(rename = "update.next")]
    NextUpdateSet {
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    },
    /// The responders talk in another place.
    #[serde(rename = "incident.channel")]
    ChannelSet { from: Option<Line>, to: Line },
    /// Changes were frozen, or are allowed again.
    #[serde(rename = "incident.freeze")]
    ChangeFreezeSet {
        from: Option<Line>,
        to: Option<Line>,
    },
    /// A note was written.
    #[serde(rename = "note")]
    Note { text: Prose },
    /// A file was attached: a screenshot, a ticket, a command history.
    #[serde(rename = "evidence.attached")]
    Attached {
        bundle: Digest,
        name: Line,
        bytes: u64,
        sha256: Digest,
    },
    /// A capture was requested, at the declaration or later.
    #[serde(rename = "capture.requested")]
    CaptureRequested { request: Box<CaptureRequest> },
    /// All captures were stopped: each pass seals what it has, and no new pass begins.
    #[serde(rename = "capture.stopped")]
    CaptureStopped {},
    /// A capture was planned.
    #[serde(rename = "capture.planned")]
    CapturePlanned {
        window: Option<TimeWindow>,
        passes: u64,
        steps: u64,
        left_out: u64,
        unavailable: Vec<SourceName>,
        /// The sources that are asked; empty in entries of versions that did not write it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sources: Vec<SourceName>,
        /// Why sources of `unavailable`, or some of their offers, are not asked.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        reasons: Vec<UnavailableSource>,
        /// What else the readiness check found missing, such as a region that denies access.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        problems: Vec<Line>,
    },
    /// The capture of a source began.
    #[serde(rename = "capture.started")]
    CaptureStarted {
        source: SourceName,
        pass: u64,
        kind: PassKind,
    },
    /// The capture of a source failed, or sealing its bundle did.
    #[serde(rename = "capture.failed")]
    CaptureFailed {
        source: SourceName,
        pass: u64,
        error: Line,
    },
    /// A bundle was sealed with what a source returned.
    #[serde(rename = "evidence.sealed")]
    EvidenceSealed {
        bundle: Digest,
        source: SourceName,
        pass: u64,
        records: u64,
        gaps: u64,
        complete: bool,
        provisional_until: Option<Timestamp>,
        /// The bundle that was sealed first, if two collectors captured the same pass.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duplicate_of: Option<Digest>,
        /// True if both bundles hold the same pages, so that records and gaps are counted already.
        /// False if each collector read its own machine.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        has_same_pages: bool,
    },
    /// Evidence was read.
    #[serde(rename = "evidence.read")]
    EvidenceRead {
        bundle: Digest,
        item: Option<ItemName>,
    },
    /// Evidence was exported from the collector.
    #[serde(rename = "evidence.exported")]
    EvidenceExported { bundle: Digest, to: Line },
    /// A bundle was verified.
    #[serde(rename = "evidence.verified")]
    EvidenceVerified {
        bundle: Digest,
        result: VerificationOutcome,
    },
    /// Evidence was missing, late, altered, or matched a pivot.
    #[serde(rename = "finding")]
    Finding {
        kind: FindingKind,
        text: Line,
        evidence: Option<EvidenceRef>,
    },
}

impl JournalEntry {
    /// The event's `type`, for filters and icons; of a finding, its kind too (`finding.late`).
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.event.kind()
    }

    /// The evidence that the event is about.
    #[must_use]
    pub fn evidence(&self) -> Option<EvidenceRef> {
        let (bundle, item) = match &self.event {
            // Only a finding can be about a single record.
            IncidentEvent::Finding { evidence, .. } => return evidence.clone(),
            IncidentEvent::EvidenceRead { bundle, item } => (bundle, item.clone()),
            IncidentEvent::Attached { bundle, .. }
            | IncidentEvent::EvidenceSealed { bundle, .. }
            | IncidentEvent::EvidenceExported { bundle, .. }
            | IncidentEvent::EvidenceVerified { bundle, .. } => (bundle, None),
            IncidentEvent::Declared(_)
            | IncidentEvent::Renamed { .. }
            | IncidentEvent::SeverityChanged { .. }
            | IncidentEvent::StatusChanged { .. }
            | IncidentEvent::StartedChanged { .. }
            | IncidentEvent::PlayChanged { .. }
            | IncidentEvent::RoleAssigned { .. }
            | IncidentEvent::ReportChanged { .. }
            | IncidentEvent::PotentialImpactChanged { .. }
            | IncidentEvent::PivotAdded { .. }
            | IncidentEvent::StepChanged { .. }
            | IncidentEvent::ClosureItemCompleted { .. }
            | IncidentEvent::ClosureItemWaived { .. }
            | IncidentEvent::ClosureItemReopened { .. }
            | IncidentEvent::CorrectiveActionAdded { .. }
            | IncidentEvent::CorrectiveActionAssigned { .. }
            | IncidentEvent::CorrectiveActionDone { .. }
            | IncidentEvent::CorrectiveActionWithdrawn { .. }
            | IncidentEvent::ReviewAnswered { .. }
            | IncidentEvent::StatementAdded { .. }
            | IncidentEvent::StandingChanged { .. }
            | IncidentEvent::ActionStarted { .. }
            | IncidentEvent::ActionEnded { .. }
            | IncidentEvent::NextUpdateSet { .. }
            | IncidentEvent::ChannelSet { .. }
            | IncidentEvent::ChangeFreezeSet { .. }
            | IncidentEvent::Note { .. }
            | IncidentEvent::CaptureRequested { .. }
            | IncidentEvent::CaptureStopped {}
            | IncidentEvent::CapturePlanned { .. }
            | IncidentEvent::CaptureStarted { .. }
            | IncidentEvent::CaptureFailed { .. } => return None,
        };
        Some(EvidenceRef {
            bundle: *bundle,
            item,
            record: None,
        })
    }
}

impl IncidentEvent {
    /// See [`JournalEntry::kind`].
    #[must_use]
    pub fn kind(&self) -> &'static str {
        // The journal, filters and exports have these texts: renaming a variant must not change
        // them.
        match self {
            Self::Declared(_) => "incident.declared",
            Self::Renamed { .. } => "incident.name",
            Self::SeverityChanged { .. } => "incident.severity",
            Self::StatusChanged { .. } => "incident.status",
            Self::StartedChanged { .. } => "incident.started",
            Self::PlayChanged { .. } => "incident.play",
            Self::RoleAssigned { .. } => "incident.role",
            Self::ReportChanged { .. } => "incident.report",
            Self::PotentialImpactChanged { .. } => "incident.affects",
            Self::PivotAdded { .. } => "incident.pivot",
            Self::StepChanged { .. } => "checklist.step",
            Self::ClosureItemCompleted { .. } => "closure.given",
            Self::ClosureItemWaived { .. } => "closure.waived",
            Self::ClosureItemReopened { .. } => "closure.withdrawn",
            Self::CorrectiveActionAdded { .. } => "corrective.added",
            Self::CorrectiveActionAssigned { .. } => "corrective.assigned",
            Self::CorrectiveActionDone { .. } => "corrective.done",
            Self::CorrectiveActionWithdrawn { .. } => "corrective.withdrawn",
            Self::ReviewAnswered { .. } => "review.answered",
            Self::StatementAdded { .. } => "update.stated",
            Self::StandingChanged { .. } => "update.standing",
            Self::ActionStarted { .. } => "update.action",
            Self::ActionEnded { .. } => "update.action-ended",
            Self::NextUpdateSet { .. } => "update.next",
            Self::ChannelSet { .. } => "incident.channel",
            Self::ChangeFreezeSet { .. } => "incident.freeze",
            Self::Note { .. } => "note",
            Self::Attached { .. } => "evidence.attached",
            Self::CaptureRequested { .. } => "capture.requested",
            Self::CaptureStopped {} => "capture.stopped",
            Self::CapturePlanned { .. } => "capture.planned",
            Self::CaptureStarted { .. } => "capture.started",
            Self::CaptureFailed { .. } => "capture.failed",
            Self::EvidenceSealed { .. } => "evidence.sealed",
            Self::EvidenceRead { .. } => "evidence.read",
            Self::EvidenceExported { .. } => "evidence.exported",
            Self::EvidenceVerified { .. } => "evidence.verified",
            Self::Finding { kind, .. } => kind.entry_kind(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn entries_survive_round_trip_and_their_kind_is_their_type() {
        let mut kinds = std::collections::BTreeSet::new();
        for entry in samples::entries() {
            let json = serde_json::to_value(&entry).expect("JSON");
            let tag = json["event"]["type"].as_str().expect("a tag");
            assert!(
                entry.kind() == tag || entry.kind() == "finding.late" && tag == "finding",
                "{tag} is called {}",
                entry.kind()
            );
            assert_eq!(
                serde_json::from_value::<JournalEntry>(json).expect("it reads back"),
                entry
            );
            assert!(kinds.insert(entry.kind()), "{} twice", entry.kind());
        }
        assert_eq!(kinds.len(), 36, "the samples have every change");
    }

    #[test]
    fn rejects_unknown_field_at_every_level() {
        for entry in samples::entries() {
            let good = serde_json::to_value(&entry).expect("JSON");
            for place in ["", "/event"] {
                let mut bad = good.clone();
                bad.pointer_mut(place)
                    .and_then(|v| v.as_object_mut())
                    .expect("an object")
                    .insert("x".to_owned(), 1.into());
                assert!(
                    serde_json::from_value::<JournalEntry>(bad).is_err(),
                    "{} with an unknown field in {place:?}",
                    entry.kind()
                );
            }
        }
    }

    #[test]
    fn only_events_about_evidence_refer_to_it() {
        let pointing: Vec<_> = samples::entries()
            .into_iter()
            .filter(|entry| entry.evidence().is_some())
            .collect();
        let kinds: Vec<_> = pointing.iter().map(JournalEntry::kind).collect();
        assert_eq!(
            kinds,
            [
                "evidence.attached",
                "evidence.sealed",
                "evidence.read",
                "evidence.exported",
                "evidence.verified",
                "finding.late"
            ]
        );
        assert_eq!(
            pointing[5].evidence().and_then(|evidence| evidence.record),
            Some(17)
        );
    }
}
