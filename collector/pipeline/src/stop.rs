//! Stops the captures of an incident, and tells them when it is contained.
//!
//! The stop is an entry of the journal, so that every process which works on the incident sees it,
//! also one that starts later. It concerns the capture requests before it; later ones are captured.

use std::time::Duration;

use evidence_format::id::IncidentId;
use tokio_util::sync::CancellationToken;

use super::{Pipeline, PipelineError};
use domain::incident::{IncidentEvent, IncidentStatus, JournalEntry, Name, PassNumber};
use store::ledger::PassKey;

/// How often the journal is read for a stop while a pass runs.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Reads a journal for a stop of one capture request.
struct StopWatcher {
    /// The number of the capture request.
    request: usize,
    /// Capture requests read so far.
    requests: usize,
    /// The last entry read.
    seq: u64,
    /// The incident's status, by the entries read.
    is_contained: bool,
}

impl Pipeline {
    /// Stops all captures that have been requested. Running passes stop within a second and seal
    /// what they have; waiting ones, settle passes included, are given up.
    ///
    /// # Errors
    /// The store failed.
    pub async fn stop_captures(&self, id: &IncidentId, by: &Name) -> Result<(), PipelineError> {
        self.record(id, by, IncidentEvent::CaptureStopped {})
            .await?;
        // a pass that is begun meanwhile reads the journal and stops by itself
        Ok(self.parts.ledger.cancel_waiting_passes(id).await?)
    }

    /// True if the capture request of a pass was stopped.
    pub(super) async fn is_stopped(&self, key: &PassKey) -> Result<bool, PipelineError> {
        Ok(Self::is_stopped_in(
            key,
            &self.entries(&key.incident).await?,
        ))
    }

    /// The same by the whole journal of the incident.
    pub(super) fn is_stopped_in(key: &PassKey, journal: &[JournalEntry]) -> bool {
        StopWatcher::new(key).finds_stop_in(journal)
    }

    /// Cancels `stop` once the capture request of the pass is stopped, and `contained` once the
    /// incident is contained.
    pub(super) async fn watch_journal(
        self,
        key: PassKey,
        stop: CancellationToken,
        contained: CancellationToken,
    ) {
        let mut watcher = StopWatcher::new(&key);
        loop {
            // what cannot be read now is read the next time
            if let Ok(entries) = self.entries_after(&key.incident, watcher.seq).await {
                if watcher.finds_stop_in(&entries) {
                    return stop.cancel();
                }
                if watcher.is_contained {
                    contained.cancel();
                }
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
            is_contained: false,
        }
    }

    /// True if one of `entries`, which follow those read before, stops the capture request.
    fn finds_stop_in(&mut self, entries: &[JournalEntry]) -> bool {
        for entry in entries {
            self.seq = entry.seq;
            if matches!(entry.event, IncidentEvent::CaptureRequested { .. }) {
                self.requests += 1;
            }
            if let IncidentEvent::StatusChanged { to, .. } = &entry.event {
                self.is_contained = match to {
                    IncidentStatus::Investigating => false,
                    IncidentStatus::Contained
                    | IncidentStatus::Recovering
                    | IncidentStatus::Closed => true,
                };
            }
            let is_stop = matches!(entry.event, IncidentEvent::CaptureStopped {});
            // Our request must have been read: a stop before it concerned earlier ones.
            if is_stop && self.requests > self.request {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::incident::CaptureRequest;

    fn entries(events: Vec<IncidentEvent>) -> Vec<JournalEntry> {
        let entry = |(seq, event)| JournalEntry {
            seq,
            at: platform::clock::now(),
            by: Name::escaped("Ann"),
            event,
        };
        (1..).zip(events).map(entry).collect()
    }

    fn asked() -> IncidentEvent {
        let ask = CaptureRequest {
            window: None,
            sources: vec![],
            accounts: vec![],
            regions: vec![],
            deadline_seconds: 1,
            hosts: domain::hosts::HostSelection::default(),
            hosts_only: false,
        };
        IncidentEvent::CaptureRequested {
            request: Box::new(ask),
        }
    }

    #[test]
    fn stop_event_is_read_back_from_json() {
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
    fn incident_is_contained_until_it_is_investigated_again() {
        let change = |from, to| IncidentEvent::StatusChanged {
            from,
            to,
            reason: None,
        };
        let key = PassKey {
            incident: "INC-1".parse().expect("an id"),
            source: "kubernetes".to_owned(),
            pass: PassNumber::of_request(0).expect("a small number"),
        };
        let (open, contained) = (IncidentStatus::Investigating, IncidentStatus::Contained);
        let changed = entries(vec![
            asked(),
            change(open, contained),
            change(contained, open),
            change(open, IncidentStatus::Closed),
        ]);
        let mut watcher = StopWatcher::new(&key);
        let states = [1, 2, 3].map(|at| {
            assert!(!watcher.finds_stop_in(&changed[at..=at]));
            watcher.is_contained
        });
        assert_eq!(states, [true, false, true]);
    }

    #[test]
    fn stop_does_not_concern_later_requests() {
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
            "the request and its stop are read in two parts"
        );
    }
}
