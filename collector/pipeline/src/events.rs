//! The incident's journal, as the pipeline reads and writes it.

use evidence_format::config::BundleConfig;
use evidence_format::coverage::bounded;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

use super::{Pipeline, PipelineError};
use crate::capture::IncidentContext;
use crate::seal::NAME;
use domain::incident::{
    BundleCoverage, Incident, IncidentEvent, JournalEntry, Line, Name, PassKind as Kind, SourceName,
};
use domain::plan::{CapturePass, CapturePlan};
use platform::chain;
use platform::clock;
use sources::{self, CaptureMode};
use store::ledger::{BundleRow, LedgerError, NewEntry, PassKey, PassKind, PassRow};

impl Pipeline {
    /// What is known of an incident.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn incident(&self, id: &IncidentId) -> Result<Incident, PipelineError> {
        Ok(self.load(id).await?.0)
    }

    /// The same, with the journal that it follows from.
    pub(super) async fn load(
        &self,
        id: &IncidentId,
    ) -> Result<(Incident, Vec<JournalEntry>), PipelineError> {
        match self.parts.ledger.journal(id).load().await {
            Err(LedgerError::UnknownIncident(id)) => Err(PipelineError::UnknownIncident(id)),
            found => Ok(found?),
        }
    }

    /// The journal of an incident; empty if there is none.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn entries(&self, id: &IncidentId) -> Result<Vec<JournalEntry>, PipelineError> {
        self.entries_after(id, 0).await
    }

    /// The entries of a journal after number `seq`; 0 is all.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn entries_after(
        &self,
        id: &IncidentId,
        seq: u64,
    ) -> Result<Vec<JournalEntry>, PipelineError> {
        Ok(self.parts.ledger.journal(id).entries_after(seq).await?)
    }

    /// Writes what follows from nothing but itself at the end of a journal, for a person.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn record(
        &self,
        id: &IncidentId,
        by: &Name,
        event: IncidentEvent,
    ) -> Result<(), PipelineError> {
        let entry = written(&event, by, clock::now());
        Ok(self.parts.ledger.journal(id).append(&[entry]).await?)
    }

    /// The same, for the pipeline itself.
    pub(super) async fn append(
        &self,
        id: &IncidentId,
        events: Vec<IncidentEvent>,
    ) -> Result<(), PipelineError> {
        let entries: Vec<_> = events.iter().map(own).collect();
        Ok(self.parts.ledger.journal(id).append(&entries).await?)
    }

    /// Says that a pass is begun.
    pub(super) async fn journal_start(&self, row: &PassRow) -> Result<(), PipelineError> {
        let started = IncidentEvent::CaptureStarted {
            source: source_name(&row.key),
            pass: row.key.pass.into(),
            kind: match row.kind {
                PassKind::First | PassKind::Again => Kind::First,
                PassKind::Continuation => Kind::Continuation,
                PassKind::Settle => Kind::Settle,
            },
        };
        self.append(&row.key.incident, vec![started]).await
    }

    /// Says what a pass is going to take, or that its source has nothing to ask.
    pub(super) async fn journal_plan(
        &self,
        key: &PassKey,
        plan: &CapturePlan,
    ) -> Result<(), PipelineError> {
        let steps = || plan.passes.iter().flat_map(|pass| &pass.steps);
        let planned = IncidentEvent::CapturePlanned {
            window: Some(plan.window),
            passes: plan.passes.len() as u64,
            steps: steps().count() as u64,
            left_out: steps().filter(|step| step.left_out.is_some()).count() as u64,
            unavailable: plan
                .unavailable
                .iter()
                .map(|source| source.source.clone())
                .collect(),
        };
        self.append(&key.incident, vec![planned]).await
    }

    /// Says that a pass failed. Where even that fails, the log has it.
    pub(super) async fn journal_failure(&self, job: &PassKey, error: &PipelineError) {
        let Ok(source) = job.source.parse() else {
            return;
        };
        let failed = IncidentEvent::CaptureFailed {
            source,
            pass: job.pass.into(),
            error: Line::escaped(&bounded(&chain(error))),
        };
        let _ = self.append(&job.incident, vec![failed]).await;
    }

    /// What the bundle of a pass says before all evidence.
    pub(super) async fn preface(
        &self,
        row: &PassRow,
        plan: &CapturePlan,
        pass: &CapturePass,
    ) -> Result<IncidentContext, PipelineError> {
        let entries = self.entries(&row.key.incident).await?;
        let line =
            |entry: &JournalEntry| serde_json::to_string(entry).expect("an entry is JSON") + "\n";
        Ok(IncidentContext {
            journal: entries.iter().map(line).collect(),
            plan: serde_json::to_string(plan).expect("a plan is JSON"),
            pass: serde_json::to_string(pass).expect("a plan is JSON"),
        })
    }
}

/// The entry of a sealed bundle.
pub(super) fn of_bundle(row: &BundleRow, config: &BundleConfig) -> Vec<NewEntry> {
    let summary = BundleCoverage::of(config);
    let sealed = IncidentEvent::EvidenceSealed {
        bundle: row.id,
        source: source_name(&row.pass),
        pass: row.pass.pass.into(),
        records: summary.records,
        gaps: summary.missing,
        complete: summary.complete,
        provisional_until: summary.provisional_until,
        doubles: row.duplicate_of,
        is_copy: row.duplicate_of.is_some() && is_of_pages(&row.pass),
    };
    vec![own(&sealed)]
}

/// True if all who capture the pass share its pages.
fn is_of_pages(pass: &PassKey) -> bool {
    sources::find(&pass.source)
        .is_some_and(|source| matches!(source.capture_mode(), CaptureMode::Remote(_)))
}

/// An entry by this program, now.
fn own(event: &IncidentEvent) -> NewEntry {
    written(event, &Name::escaped(NAME), clock::now())
}

pub(super) fn written(event: &IncidentEvent, by: &Name, at: Timestamp) -> NewEntry {
    NewEntry {
        at,
        by: by.clone(),
        event: event.clone(),
    }
}

fn source_name(key: &PassKey) -> SourceName {
    key.source.parse().expect("names of sources are names")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_collectors_share_pages_and_no_machine() {
        let pass = |source: &str| PassKey {
            incident: "INC-1".parse().expect("an id"),
            source: source.to_owned(),
            pass: 0,
        };
        assert!(is_of_pages(&pass("aws_cloudtrail")) && !is_of_pages(&pass("host")));
    }
}
