//! Reads and writes the incident's journal.

use evidence_format::config::BundleConfig;
use evidence_format::coverage::bounded;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::Serialize;

use super::{Pipeline, PipelineError};
use crate::capture::IncidentContext;
use crate::seal::PROGRAM_NAME;
use domain::incident::{
    BundleCoverage, Incident, IncidentEvent, JournalEntry, Line, Name, PassKind as Kind,
    SourceName, UnavailableSource,
};
use domain::plan::{CapturePass, CapturePlan};
use platform::chain;
use platform::clock;
use sources::{self, CaptureMode};
use store::ledger::{BundleRow, LedgerError, NewJournalEntry, PassKey, PassKind, PassRow};

/// Problems that one journal entry holds; the sealed plan has all.
const PROBLEMS_MAX: usize = 20;

impl Pipeline {
    /// The incident, as its journal describes it.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn incident(&self, id: &IncidentId) -> Result<Incident, PipelineError> {
        Ok(self.load(id).await?.0)
    }

    /// The incident and its journal.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn load(
        &self,
        id: &IncidentId,
    ) -> Result<(Incident, Vec<JournalEntry>), PipelineError> {
        match self.parts.ledger.journal(id).load().await {
            Err(LedgerError::UnknownIncident(id)) => Err(PipelineError::UnknownIncident(id)),
            found => Ok(found?),
        }
    }

    /// The journal of an incident; empty if there is no such incident.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn entries(&self, id: &IncidentId) -> Result<Vec<JournalEntry>, PipelineError> {
        self.entries_after(id, 0).await
    }

    /// The entries of a journal after number `seq`; 0 returns all.
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

    /// Appends an event to a journal, by `by`. For events that are true whatever the journal says,
    /// such as an export; others are the result of a command, see [`Pipeline::apply`].
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn record(
        &self,
        id: &IncidentId,
        by: &Name,
        event: IncidentEvent,
    ) -> Result<(), PipelineError> {
        let entry = new_entry(&event, by, clock::now());
        Ok(self.parts.ledger.journal(id).append(&[entry]).await?)
    }

    /// Appends events by this program.
    pub(super) async fn append(
        &self,
        id: &IncidentId,
        events: Vec<IncidentEvent>,
    ) -> Result<(), PipelineError> {
        let entries: Vec<_> = events.iter().map(program_entry).collect();
        Ok(self.parts.ledger.journal(id).append(&entries).await?)
    }

    /// Records that a pass is begun, once for each attempt.
    pub(super) async fn journal_start(&self, row: &PassRow) -> Result<(), PipelineError> {
        let started = IncidentEvent::CaptureStarted {
            source: source_name(&row.key),
            pass: row.key.pass.into(),
            kind: match row.kind {
                // Another capture is the first pass of its own request.
                PassKind::First | PassKind::Again => Kind::First,
                PassKind::Continuation => Kind::Continuation,
                PassKind::Settle => Kind::Settle,
            },
        };
        self.append(&row.key.incident, vec![started]).await
    }

    /// Records that a pass failed. If that fails too, the log has it.
    pub(super) async fn journal_failure(&self, key: &PassKey, error: &PipelineError) {
        let Ok(source) = key.source.parse() else {
            return;
        };
        let failed = IncidentEvent::CaptureFailed {
            source,
            pass: key.pass.into(),
            // The chain can quote a provider, so it is cut and escaped.
            error: Line::escaped(&bounded(&chain(error))),
        };
        let _ = self.append(&key.incident, vec![failed]).await;
    }

    /// A journal as JSON, one entry a line, each with the text that people read of it.
    pub(super) async fn journal_text(&self, id: &IncidentId) -> Result<String, PipelineError> {
        let entries = self.entries(id).await?;
        let lines = entries.iter().map(|entry| SealedJournalLine {
            entry,
            summary: entry.summary(),
        });
        Ok(lines
            .map(|line| serde_json::to_string(&line).expect("an entry is JSON") + "\n")
            .collect())
    }

    /// The first item of a pass's bundle.
    pub(super) async fn incident_context(
        &self,
        row: &PassRow,
        plan: &CapturePlan,
        pass: &CapturePass,
    ) -> Result<IncidentContext, PipelineError> {
        Ok(IncidentContext {
            journal: self.journal_text(&row.key.incident).await?,
            plan: serde_json::to_string(plan).expect("a plan is JSON"),
            pass: serde_json::to_string(pass).expect("a plan is JSON"),
        })
    }
}

/// A line of a journal in a bundle. The text is sealed too: an auditor who has only a timeline's
/// text can compare it.
#[derive(Serialize)]
struct SealedJournalLine<'e> {
    #[serde(flatten)]
    entry: &'e JournalEntry,
    summary: String,
}

/// The journal entry of a pass's plan, or of a source that has nothing to capture.
pub(super) fn planned_entry(plan: &CapturePlan) -> NewJournalEntry {
    let mut sources: Vec<_> = plan.passes.iter().map(|pass| pass.source.clone()).collect();
    sources.dedup(); // a plan of many steps has several passes of one source
    program_entry(&IncidentEvent::CapturePlanned {
        window: Some(plan.window),
        passes: plan.passes.len() as u64,
        steps: plan.steps().count() as u64,
        left_out: plan.left_out().count() as u64,
        unavailable: plan.sources_not_captured(),
        sources,
        reasons: plan.unavailable.iter().map(bounded_reason).collect(),
        problems: plan_problems(plan),
    })
}

/// A reason that fits into an entry: providers' texts have no limit of their own.
fn bounded_reason(unavailable: &UnavailableSource) -> UnavailableSource {
    let problems = unavailable.problems.iter().take(PROBLEMS_MAX);
    UnavailableSource {
        problems: problems.map(|problem| bounded(problem)).collect(),
        ..unavailable.clone()
    }
}

/// The losses that the readiness check found: accounts that cannot be entered, steps that are
/// refused.
fn plan_problems(plan: &CapturePlan) -> Vec<Line> {
    let notices = plan.notices.iter().filter(|notice| notice.is_loss);
    let notices = notices.map(|notice| notice.text.clone());
    let left_out = plan.left_out().map(|step| {
        let why = step.left_out.map_or("left out", |why| why.as_str());
        match &step.problem {
            Some(problem) => format!("{} {why}: {problem}", step.item),
            None => format!("{} {why}", step.item),
        }
    });
    let mut problems: Vec<String> = notices.chain(left_out).collect();
    let more = problems.len().saturating_sub(PROBLEMS_MAX);
    problems.truncate(PROBLEMS_MAX);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    problems
        .iter()
        .map(|problem| Line::escaped(&bounded(problem)))
        .collect()
}

/// The journal entry of a sealed bundle.
pub(super) fn sealed_entries(row: &BundleRow, config: &BundleConfig) -> Vec<NewJournalEntry> {
    let summary = BundleCoverage::of(config);
    let sealed = IncidentEvent::EvidenceSealed {
        bundle: row.id,
        source: source_name(&row.pass),
        pass: row.pass.pass.into(),
        records: summary.records,
        gaps: summary.missing,
        complete: summary.complete,
        provisional_until: summary.provisional_until,
        duplicate_of: row.duplicate_of,
        has_same_pages: row.duplicate_of.is_some() && has_shared_pages(&row.pass),
    };
    vec![program_entry(&sealed)]
}

/// True if two attempts at the pass pack the same persisted pages, so that two bundles of it are
/// copies. Local captures differ each time.
fn has_shared_pages(pass: &PassKey) -> bool {
    sources::find(&pass.source)
        .is_some_and(|source| matches!(source.capture_mode(), CaptureMode::Remote(_)))
}

fn program_entry(event: &IncidentEvent) -> NewJournalEntry {
    new_entry(event, &Name::escaped(PROGRAM_NAME), clock::now())
}

pub(super) fn new_entry(event: &IncidentEvent, by: &Name, at: Timestamp) -> NewJournalEntry {
    NewJournalEntry {
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
    fn bundles_of_a_pass_are_copies_only_if_its_source_is_remote() {
        let pass = |source: &str| PassKey {
            incident: "INC-1".parse().expect("an id"),
            source: source.to_owned(),
            pass: 0,
        };
        assert!(has_shared_pages(&pass("aws_cloudtrail")) && !has_shared_pages(&pass("host")));
    }
}
