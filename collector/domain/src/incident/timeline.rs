//! Rows of an incident's timeline.

use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{EvidenceRef, JournalEntry};

/// One row of a timeline. Attackers may have written its texts: escape them before display.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelineRow {
    pub time: Timestamp,
    /// Such as `incident.declared`, `evidence.sealed`, `aws.ConsoleLogin`.
    pub kind: String,
    pub summary: String,
    /// Who entered it; absent for a record of evidence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The evidence for the row, or the evidence that the row is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceRef>,
}

impl From<JournalEntry> for TimelineRow {
    fn from(entry: JournalEntry) -> Self {
        Self {
            time: entry.at,
            kind: entry.kind().to_owned(),
            summary: entry.summary(),
            by: Some(entry.by.to_string()),
            evidence: entry.evidence(),
        }
    }
}
