//! The stream of an incident's events: journal entries, and the progress of running captures.

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CaptureProgress {
    /// The source's display name.
    pub source: String,
    pub pass: u32,
    /// Pages, or probes.
    pub pages: u64,
    /// Bytes before compression.
    pub bytes: u64,
}
