//! Stopping: captures that somebody has asked for and wants no more.
//!
//! The wish stands in the journal, so that every process that works on the incident sees it, also
//! one that starts later. It is about all that was asked for before it; who asks again captures
//! again.

use std::time::Duration;

use evidence_format::id::IncidentId;
use tokio_util::sync::CancellationToken;

use super::pass_number::PassNumber;
use super::{Pipeline, PipelineError};
use domain::incident::{IncidentEvent, JournalEntry, Name};
use store::ledger::PassKey;

/// Between two looks at the journal while a pass runs.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Reads a journal for the wish to stop what one ask has begun.
struct StopWatcher {
    /// The number of the ask.
    request: usize,
    /// Asks seen.
    requests: usize,
    /// Entries seen.
    seq: u64,
}

impl Pipeline {
    /// Ends all captures that were asked for: those that run seal what is there, within a second,
    /// and those that wait, later looks at the same sources too, are not begun.
    ///
    /// # Errors
    /// The store failed.
    pub async fn stop_captures(&self, id: &IncidentId, by: &Name) -> Result<(), PipelineError> {
        self.record(id, by, IncidentEvent::CaptureStopped {})
            .await?;
        // unless somebody has begun it meanwhile
        Ok(self.parts.ledger.give_up_waiting(id).await?)
    }

    /// True if a pass is of an ask that was stopped.
    pub(super) async fn is_stopped(&self, key: &PassKey) -> Result<bool, PipelineError> {
        Ok(StopWatcher::new(key).finds_stop_in(&self.entries(&key.incident).await?))
    }

    /// Cancels `stop` once somebody has stopped the ask that the pass is of.
    pub(super) async fn cancel_when_stopped(self, key: PassKey, stop: CancellationToken) {
        let mut watcher = StopWatcher::new(&key);
        loop {
            // what cannot be read now is read at the next look
            if let Ok(entries) = self.entries_after(&key.incident, watcher.seq).await
                && watcher.finds_stop_in(&entries)
            {
                return stop.cancel();
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl StopWatcher {
    fn new(key: &PassKey) -> Self {
        Self {
            request: PassNumber::of(key.pass).request as usize,
            requests: 0,
            seq: 0,
        }
    }

    /// True if one of these entries, which follow on those that were seen, stops the ask.
    fn finds_stop_in(&mut self, entries: &[JournalEntry]) -> bool {
        for entry in entries {
            self.seq = entry.seq;
            match &entry.change {
                IncidentEvent::CaptureAsked { .. } => self.requests += 1,
                IncidentEvent::CaptureStopped {} if self.requests > self.request => return true,
                _ => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::incident::CaptureRequest;

    fn entries(changes: Vec<IncidentEvent>) -> Vec<JournalEntry> {
        let entry = |(seq, change)| JournalEntry {
            seq,
            at: platform::clock::now(),
            by: Name::escaped("Ann"),
            change,
        };
        (1..).zip(changes).map(entry).collect()
    }

    fn asked() -> IncidentEvent {
        let ask = CaptureRequest {
            window: None,
            sources: vec![],
            accounts: vec![],
            regions: vec![],
            deadline_seconds: 1,
        };
        IncidentEvent::CaptureAsked { ask: Box::new(ask) }
    }

    #[test]
    fn the_wish_reads_back_from_the_journal() {
        let json = serde_json::to_string(&IncidentEvent::CaptureStopped {}).expect("JSON");
        assert_eq!(json, r#"{"type":"capture.stopped"}"#);
        assert_eq!(
            serde_json::from_str::<IncidentEvent>(&json).expect("it reads back"),
            IncidentEvent::CaptureStopped {}
        );
        assert!(
            serde_json::from_str::<IncidentEvent>(r#"{"type":"capture.stopped","x":1}"#).is_err(),
            "an unknown field"
        );
        assert!(
            IncidentEvent::CaptureStopped {}
                .summary()
                .starts_with("captures stopped")
        );
    }

    #[test]
    fn what_is_asked_for_after_a_stop_is_captured() {
        let key = |request: usize| PassKey {
            incident: "INC-1".parse().expect("an id"),
            source: "host".to_owned(),
            pass: PassNumber::of_request(request).expect("a small number"),
        };
        let stopped = entries(vec![
            asked(),
            asked(),
            IncidentEvent::CaptureStopped {},
            asked(),
        ]);
        let is_stopped = |request| StopWatcher::new(&key(request)).finds_stop_in(&stopped);
        assert_eq!(
            [is_stopped(0), is_stopped(1), is_stopped(2)],
            [true, true, false]
        );
        let mut watcher = StopWatcher::new(&key(0));
        assert!(
            !watcher.finds_stop_in(&stopped[..2]) && watcher.finds_stop_in(&stopped[2..]),
            "also piece by piece"
        );
    }
}
