//! The stream of an incident's events: journal entries, and the progress of running captures.

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use domain::incident::TimelineRow;

/// One event of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// A journal entry with its sequence number.
    JournalEntry { seq: u64, row: Box<TimelineRow> },
    /// All captures that are running.
    Progress(Vec<CaptureProgress>),
}

/// The progress of a running capture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaptureProgress {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<IncidentId>,
    /// The source's display name.
    pub source: String,
    pub pass: u32,
    /// Pages, or probes.
    pub pages: u64,
    /// Bytes before compression.
    pub bytes: u64,
    /// Pages that the whole capture takes, estimated; absent without an estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages_expected: Option<u64>,
    /// Steps of the plan; absent if another process captures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Steps that have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps_ended: Option<u64>,
    /// Targets of the capture, such as regions; absent if there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets: Option<u64>,
    /// Targets that are done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub targets_ended: Option<u64>,
    /// Targets that are not done, at most 4, the one that takes the longest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets_open: Vec<String>,
    /// Targets that deny access, such as regions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// When the capture seals what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<Timestamp>,
}
