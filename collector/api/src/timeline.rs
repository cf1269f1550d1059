//! An incident's timeline.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use domain::incident::TimelineRow;

/// The response header that says where a record is: `BUNDLE/ITEM/RECORD`.
pub const EVIDENCE_HEADER: &str = "exhibit-evidence";

/// One page of a timeline.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TimelinePage {
    pub rows: Vec<TimelineRow>,
    /// The `cursor` of the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
