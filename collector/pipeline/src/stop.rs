//! Stopping: captures that somebody has asked for and wants no more.
//!
//! The wish stands in the journal, so that every process that works on the incident sees it, also
//! one that starts later. It is about all that was asked for before it; who asks again captures
//! again.

use std::time::Duration;

use evidence_format::id::IncidentId;
use tokio_util::sync::CancellationToken;

use super::numbers::Number;
use super::{Pipeline, PipelineError};
use domain::incident::{IncidentEvent, JournalEntry, Name};
use store::ledger::PassKey;

/// Between two looks at the journal while a pass runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads a journal for the wish to stop what one ask has begun.
struct Watch {
    /// The number of the ask.
    ask: usize,
    /// Asks seen.
    asks: usize,
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
        Ok(self.parts.ledger.cancel_waiting_passes(id).await?)
    }

    /// True if a pass is of an ask that was stopped.
    pub(super) async fn is_stopped(&self, key: &PassKey) -> Result<bool, PipelineError> {
        Ok(Watch::new(key).sees(&self.entries(&key.incident).await?))
    }

    /// Cancels `stop` once somebody has stopped the ask that the pass is of.
    pub(super) async fn stop_when_told(self, key: PassKey, stop: CancellationToken) {
        let mut watch = Watch::new(&key);
        loop {
            // what cannot be read now is read at the next look
            if let Ok(entries) = self.entries_after(&key.incident, watch.seq).await
                && watch.sees(&entries)
            {
                return stop.cancel();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

impl Watch {
    fn new(key: &PassKey) -> Self {
        Self {
            ask: Number::of(key.pass).ask as usize,
            asks: 0,
            seq: 0,
        }
    }

    /// True if one of these entries, which follow on those that were seen, stops the ask.
    fn sees(&mut self, entries: &[JournalEntry]) -> bool {
        for entry in entries {
            self.seq = entry.seq;
            match &entry.change {
                IncidentEvent::CaptureAsked { .. } => self.asks += 1,
                IncidentEvent::CaptureStopped {} if self.asks > self.ask => return true,
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
        let key = |ask: usize| PassKey {
            incident: "INC-1".parse().expect("an id"),
            source: "host".to_owned(),
            pass: Number::of_ask(ask).expect("a small number"),
        };
        let stopped = entries(vec![
            asked(),
            asked(),
            IncidentEvent::CaptureStopped {},
            asked(),
        ]);
        let is_stopped = |ask| Watch::new(&key(ask)).sees(&stopped);
        assert_eq!(
            [is_stopped(0), is_stopped(1), is_stopped(2)],
            [true, true, false]
        );
        let mut watch = Watch::new(&key(0));
        assert!(
            !watch.sees(&stopped[..2]) && watch.sees(&stopped[2..]),
            "also piece by piece"
        );
    }
}
