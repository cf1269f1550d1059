//! What is asked to be captured.

use evidence_format::coverage::TimeWindow;
use serde::{Deserialize, Serialize};

use super::names::SourceName;

/// What is asked to be captured. What it leaves open, the play says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaptureRequest {
    /// Of which time; `None` is the play's window before the declaration.
    pub window: Option<TimeWindow>,
    /// From which sources; empty is those of the play.
    pub sources: Vec<SourceName>,
    /// From which accounts; empty is all.
    pub accounts: Vec<String>,
    /// From which regions; empty is all.
    pub regions: Vec<String>,
    /// Seconds after which what is there is sealed, and the rest goes on into a supplement.
    pub deadline_seconds: u64,
}
