//! A request to capture evidence.

use evidence_format::coverage::TimeWindow;
use serde::{Deserialize, Serialize};

use super::names::SourceName;
use crate::hosts::HostSelection;

/// A request to capture evidence. The play decides what the request leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaptureRequest {
    /// The time to cover; `None` is the play's window before the declaration.
    pub window: Option<TimeWindow>,
    /// The sources to capture; empty means those of the play.
    pub sources: Vec<SourceName>,
    /// Limits the capture to these accounts; empty means all.
    pub accounts: Vec<String>,
    /// Limits the capture to these regions; empty means all.
    pub regions: Vec<String>,
    /// Seconds after which a pass seals what it has; a later pass captures the rest.
    pub deadline_seconds: u64,
    /// Hosts whose agents capture them, in addition to the sources.
    #[serde(default, skip_serializing_if = "HostSelection::is_empty")]
    pub hosts: HostSelection,
}
