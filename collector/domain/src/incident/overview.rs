//! What a list shows of an incident, small enough to be stored as a row.
//!
//! The store writes an overview in the transaction that appends journal entries, so a list never
//! replays journals. An overview holds nothing that its incident does not: a row that is missing or
//! does not parse can be rebuilt from the journal.

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::apply::ReplayError;
use super::entry::{IncidentEvent, JournalEntry};
use super::names::PlayName;
use super::severity::{IncidentStatus, Severity};
use super::text::Name;
use super::{EvidenceCount, Incident};

/// An incident as a row of a list, after the entry with the number `last_seq`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IncidentOverview {
    pub id: IncidentId,
    pub name: Name,
    pub severity: Severity,
    pub status: IncidentStatus,
    pub declared_at: Timestamp,
    pub declared_by: Name,
    pub play: PlayName,
    pub evidence: EvidenceCount,
    /// The number of the last journal entry that this overview includes.
    pub last_seq: u64,
    /// The time of that entry.
    pub last_entry_at: Timestamp,
}

impl IncidentOverview {
    #[must_use]
    pub fn of(incident: &Incident) -> Self {
        Self {
            id: incident.id.clone(),
            name: incident.name.clone(),
            severity: incident.severity,
            status: incident.status,
            declared_at: incident.declared_at,
            declared_by: incident.declared_by.clone(),
            play: incident.play.clone(),
            evidence: incident.evidence.clone(),
            last_seq: incident.seq,
            last_entry_at: incident.changed_at,
        }
    }

    /// Includes the next entry, with the same result as [`Incident::apply`] but without the
    /// journal.
    ///
    /// # Errors
    /// The entry is not the next one. Then the overview is unchanged.
    pub fn apply(&mut self, entry: &JournalEntry) -> Result<(), ReplayError> {
        if entry.seq != self.last_seq + 1 {
            return Err(ReplayError::Sequence {
                expected: self.last_seq + 1,
                found: entry.seq,
            });
        }
        // The old values are not compared, since an overview lacks most of them: a replay does
        // that.
        match &entry.event {
            IncidentEvent::Renamed { to, .. } => self.name = to.clone(),
            IncidentEvent::SeverityChanged { to, .. } => self.severity = *to,
            IncidentEvent::StatusChanged { to, .. } => self.status = *to,
            IncidentEvent::PlayChanged { to, .. } => self.play = to.clone(),
            // A list shows nothing of these.
            IncidentEvent::Declared(_)
            | IncidentEvent::StartedChanged { .. }
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
            | IncidentEvent::Note { .. } => {}
            IncidentEvent::Attached { .. }
            | IncidentEvent::CaptureRequested { .. }
            | IncidentEvent::CaptureStopped {}
            | IncidentEvent::CapturePlanned { .. }
            | IncidentEvent::CaptureStarted { .. }
            | IncidentEvent::CaptureFailed { .. }
            | IncidentEvent::EvidenceSealed { .. }
            | IncidentEvent::EvidenceRead { .. }
            | IncidentEvent::EvidenceExported { .. }
            | IncidentEvent::EvidenceVerified { .. }
            | IncidentEvent::Finding { .. } => self.evidence.count(&entry.event),
        }
        (self.last_seq, self.last_entry_at) = (entry.seq, entry.at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::samples;
    use super::*;

    #[test]
    fn overview_of_whole_journal_is_its_last_state() {
        let incident = Incident::replay(&samples::entries()).expect("good entries");
        let overview = IncidentOverview::of(&incident);
        let json = serde_json::to_value(&overview).expect("JSON");
        assert_eq!(
            json,
            json!({
                "id": "INC-2026-042",
                "name": "Leaked CI key",
                "severity": "SEV-1",
                "status": "Contained",
                "declaredAt": "2026-11-23T13:40:17Z",
                "declaredBy": "Ann",
                "play": "ci-token",
                "evidence": {
                    "bundles": 2, "records": 1204, "gaps": 2, "incomplete": 1, "failed": 1,
                    "findings": 1, "provisionalUntil": "2026-11-24T13:40:17Z",
                },
                "lastSeq": 36,
                "lastEntryAt": "2026-11-23T14:15:17Z",
            })
        );
        let read: IncidentOverview = serde_json::from_value(json).expect("its own JSON");
        assert_eq!(read, overview);
    }

    #[test]
    fn every_entry_moves_overview_on() {
        let entries = samples::entries();
        for end in 1..=entries.len() {
            let incident = Incident::replay(&entries[..end]).expect("good entries");
            let overview = IncidentOverview::of(&incident);
            let last = &entries[end - 1];
            assert_eq!(
                (overview.last_seq, overview.last_entry_at),
                (last.seq, last.at)
            );
            if let Some(next) = entries.get(end) {
                let mut applied = overview;
                applied.apply(next).expect("it follows");
                let replayed = Incident::replay(&entries[..=end]).expect("good entries");
                assert_eq!(applied, IncidentOverview::of(&replayed), "{next:?}");
            }
        }
    }

    #[test]
    fn rejects_row_of_another_version() {
        let overview = IncidentOverview::of(&samples::incident());
        let mut row = serde_json::to_value(&overview).expect("JSON");
        row["unknown"] = json!(1);
        assert!(serde_json::from_value::<IncidentOverview>(row.clone()).is_err());
        let fields = row.as_object_mut().expect("an object");
        fields.remove("unknown");
        fields.remove("lastSeq");
        assert!(serde_json::from_value::<IncidentOverview>(row).is_err());
    }
}
