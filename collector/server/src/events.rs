//! The events of an incident as they happen: new journal entries, and the progress of its captures.

use std::time::Duration;

use evidence_format::id::IncidentId;
use tokio::time::Instant;

use crate::responses::capture_progress;
use api::{CaptureProgress, StreamEvent};
use domain::incident::TimelineRow;
use pipeline::{ATTACHMENT_SOURCE, Pipeline, PipelineError};
use store::ledger::{PassKey, PassState};

/// How often the captures of other processes are looked up: the database has to count their pages.
const OTHERS_INTERVAL: Duration = Duration::from_secs(3);

/// Polls an incident for events. The captures of this process report their progress themselves;
/// that of other processes is what they have stored.
pub struct EventWatcher {
    pipeline: Pipeline,
    incident: IncidentId,
    /// The last journal entry that was returned.
    seq: u64,
    progress: Vec<CaptureProgress>,
    /// The captures of other processes, and when they were looked up.
    others: Option<(Instant, Vec<CaptureProgress>)>,
}

impl EventWatcher {
    /// Watches `incident` from the journal entry after `seq`; 0 is from its beginning.
    #[must_use]
    pub fn new(pipeline: Pipeline, incident: IncidentId, seq: u64) -> Self {
        Self {
            pipeline,
            incident,
            seq,
            progress: Vec::new(),
            others: None,
        }
    }

    /// The events since the last poll. Progress is reported only if it has changed.
    ///
    /// # Errors
    /// The ledger failed.
    pub async fn poll(&mut self) -> Result<Vec<StreamEvent>, PipelineError> {
        let mut events = Vec::new();
        let entries = self.pipeline.entries_after(&self.incident, self.seq);
        let mut seq = self.seq;
        for entry in entries.await? {
            seq = entry.seq;
            events.push(StreamEvent::JournalEntry {
                seq: entry.seq,
                row: Box::new(TimelineRow::from(entry)),
            });
        }
        if !events.is_empty() {
            self.others = None; // an entry may say that one of them has ended
        }
        let progress = self.all_progress().await?;
        // Only now: if that fails, the next poll returns these entries.
        self.seq = seq;
        if progress != self.progress {
            self.progress.clone_from(&progress);
            events.push(StreamEvent::Progress(progress));
        }
        Ok(events)
    }

    async fn all_progress(&mut self) -> Result<Vec<CaptureProgress>, PipelineError> {
        let running = self.pipeline.progress.running().into_iter();
        let mut progress: Vec<_> = running
            .filter(|running| running.pass.incident == self.incident)
            .map(capture_progress)
            .collect();
        let others = match self.others.take() {
            Some((at, others)) if at.elapsed() < OTHERS_INTERVAL => (at, others),
            Some(_) | None => (Instant::now(), self.progress_of_others(&progress).await?),
        };
        for other in &others.1 {
            // It may have moved to this process since; its own report is newer.
            if !progress.iter().any(|own| is_same_pass(own, other)) {
                progress.push(other.clone());
            }
        }
        self.others = Some(others);
        Ok(progress)
    }

    /// The progress of the captures that run, but for those of this process, `own`.
    async fn progress_of_others(
        &self,
        own: &[CaptureProgress],
    ) -> Result<Vec<CaptureProgress>, PipelineError> {
        let ledger = &self.pipeline.parts.ledger;
        let mut rows = ledger.passes(&self.incident).await?;
        rows.retain(|row| {
            row.state() == PassState::Capturing && row.key.source != ATTACHMENT_SOURCE
        });
        rows.retain(|row| {
            let is_same =
                |own: &CaptureProgress| own.source == row.key.source && own.pass == row.key.pass;
            !own.iter().any(is_same)
        });
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let stored = ledger.staged_pages(&self.incident).await?;
        let progress = rows.into_iter().map(|row| {
            let PassKey { source, pass, .. } = row.key;
            let stored = stored
                .iter()
                .find(|stored| stored.source == source && stored.pass == pass);
            let (pages, bytes) = stored.map_or((0, 0), |stored| (stored.pages, stored.bytes));
            CaptureProgress {
                incident: Some(self.incident.clone()),
                source,
                pass,
                pages,
                bytes,
                ..CaptureProgress::default()
            }
        });
        Ok(progress.collect())
    }
}

fn is_same_pass(a: &CaptureProgress, b: &CaptureProgress) -> bool {
    a.source == b.source && a.pass == b.pass
}
