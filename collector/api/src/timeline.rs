//! An incident's timeline.

use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use domain::incident::EvidenceRef;

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
    /// The evidence that shows it, or that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceRef>,
}

/// One page of a timeline.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TimelinePage {
    pub rows: Vec<TimelineRow>,
    /// The `cursor` of the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
