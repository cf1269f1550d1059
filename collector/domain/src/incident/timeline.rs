//! Rows of an incident's timeline.

use evidence_derive::ActivityEvent;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EvidenceRef, JournalEntry};

/// One row of a timeline. Attackers may have written its texts: escape them before display.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimelineRow {
    pub time: Timestamp,
    /// Names the row in later requests: `j12` is entry 12 of the journal; hex digits begin the id
    /// of an event, which is the same in every timeline.
    pub line: String,
    /// Such as `incident.declared`, `evidence.sealed`, `aws.ConsoleLogin`.
    pub kind: String,
    pub summary: String,
    /// Who entered it; absent for a record of evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The evidence for the row, or the evidence that the row is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceRef>,
    /// What a record of evidence says; absent for an entry of the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Box<ActivityEvent>>,
    /// More records that deliver the same event, of this pass and of others, up to 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_evidence: Vec<EvidenceRef>,
    /// The number of records that deliver the event, if there is more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
}

impl From<JournalEntry> for TimelineRow {
    fn from(entry: JournalEntry) -> Self {
        Self {
            time: entry.at,
            line: format!("j{}", entry.seq),
            kind: entry.kind().to_owned(),
            summary: entry.summary(),
            by: Some(entry.by.to_string()),
            evidence: entry.evidence(),
            event: None,
            other_evidence: Vec::new(),
            records: None,
        }
    }
}
