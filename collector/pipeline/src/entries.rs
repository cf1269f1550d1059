//! The incident's journal, as the pipeline reads and writes it.

use evidence_format::config::Config;
use evidence_format::coverage::bounded;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

use super::{Pipeline, PipelineError};
use crate::capture::IncidentContext;
use crate::seal::{NAME, Summary};
use domain::incident::{
    Incident, IncidentEvent, JournalEntry, Line, Name, PassKind as Kind, SourceName,
};
use domain::plan::{Pass, Plan};
use platform::chain;
use platform::clock;
use sources::{self, CaptureMode};
use store::ledger::{self, BundleRow, EntryRow, LedgerError, PassKey, PassKind, PassRow};

/// Times that an entry is written again because somebody else wrote one meanwhile.
const CONTENTIONS_MAX: u32 = 1000;

impl Pipeline {
    /// What is known of an incident.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn incident(&self, id: &IncidentId) -> Result<Incident, PipelineError> {
        let entries = self.entries(id).await?;
        if entries.is_empty() {
            return Err(PipelineError::UnknownIncident(id.clone()));
        }
        Incident::replay(&entries).map_err(|cause| PipelineError::Journal {
            incident: id.clone(),
            cause,
        })
    }

    /// The journal of an incident; empty if there is none.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn entries(&self, id: &IncidentId) -> Result<Vec<JournalEntry>, PipelineError> {
        self.entries_after(id, 0).await
    }

    /// The entries of a journal behind the one of number `seq`; 0 is all.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn entries_after(
        &self,
        id: &IncidentId,
        seq: u64,
    ) -> Result<Vec<JournalEntry>, PipelineError> {
        self.parts
            .ledger
            .entries(id, seq)
            .await?
            .into_iter()
            .map(entry)
            .collect()
    }

    /// Writes what follows from nothing but itself at the end of a journal, for a person.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn record(
        &self,
        id: &IncidentId,
        by: &Name,
        change: IncidentEvent,
    ) -> Result<(), PipelineError> {
        self.append_entries(id, vec![written(&change, by.as_str(), clock::now())])
            .await
    }

    /// The same, for the pipeline itself.
    pub(super) async fn append(
        &self,
        id: &IncidentId,
        changes: Vec<IncidentEvent>,
    ) -> Result<(), PipelineError> {
        self.append_entries(id, changes.iter().map(own).collect())
            .await
    }

    async fn append_entries(
        &self,
        id: &IncidentId,
        entries: Vec<ledger::Entry>,
    ) -> Result<(), PipelineError> {
        for _ in 0..CONTENTIONS_MAX {
            let count = self.parts.ledger.entries(id, 0).await?.len() as u64;
            match self.parts.ledger.append(id, count, &entries).await {
                Err(LedgerError::Contended { .. }) => {}
                done => return Ok(done?),
            }
        }
        Ok(self.parts.ledger.append(id, 0, &entries).await?)
    }

    /// Says that a pass is begun, and tells when it was first.
    pub(super) async fn journal_start(&self, row: &PassRow) -> Result<Timestamp, PipelineError> {
        let key = &row.pass.key;
        let kind = match row.pass.kind {
            PassKind::First | PassKind::Again => Kind::First,
            PassKind::Continuation => Kind::Continuation,
            PassKind::Settle => Kind::Settle,
        };
        let started = IncidentEvent::CaptureStarted {
            source: source_name(key),
            pass: key.pass.into(),
            kind,
        };
        self.append(&key.incident, vec![started.clone()]).await?;
        let entries = self.entries(&key.incident).await?;
        Ok(entries
            .iter()
            .find(|entry| entry.change == started)
            .map_or_else(clock::now, |entry| entry.at))
    }

    /// Says what a pass is going to take, or that its source has nothing to ask.
    pub(super) async fn journal_plan(
        &self,
        key: &PassKey,
        plan: &Plan,
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
        plan: &Plan,
        pass: &Pass,
    ) -> Result<IncidentContext, PipelineError> {
        let entries = self.entries(&row.pass.key.incident).await?;
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
pub(super) fn of_bundle(row: &BundleRow, config: &Config) -> Vec<ledger::Entry> {
    let summary = Summary::of(config);
    let sealed = IncidentEvent::EvidenceSealed {
        bundle: row.id,
        source: source_name(&row.pass),
        pass: row.pass.pass.into(),
        records: summary.records,
        gaps: summary.missing,
        complete: summary.complete,
        provisional_until: summary.provisional_until,
        doubles: row.doubles,
        is_copy: row.doubles.is_some() && is_of_pages(&row.pass),
    };
    vec![own(&sealed)]
}

/// True if all who capture the pass share its pages.
fn is_of_pages(pass: &PassKey) -> bool {
    sources::find(&pass.source)
        .is_some_and(|source| matches!(source.capture_mode(), CaptureMode::Remote(_)))
}

/// An entry of a change, by this program, now.
fn own(change: &IncidentEvent) -> ledger::Entry {
    written(change, NAME, clock::now())
}

/// An entry as the ledger keeps it.
pub(super) fn written(change: &IncidentEvent, by: &str, at: Timestamp) -> ledger::Entry {
    ledger::Entry {
        at,
        by: by.to_owned(),
        body: serde_json::to_string(change).expect("a change is JSON"),
    }
}

fn entry(row: EntryRow) -> Result<JournalEntry, PipelineError> {
    let unreadable = |cause| PipelineError::Unreadable {
        what: "an entry of a journal",
        cause,
    };
    let change = serde_json::from_str(&row.entry.body).map_err(unreadable)?;
    let by = Name::escaped(&row.entry.by);
    Ok(JournalEntry {
        seq: row.seq + 1,
        at: row.entry.at,
        by,
        change,
    })
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
