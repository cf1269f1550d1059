//! The capture plan as sealed in a bundle, beside what was actually captured.

use serde::{Deserialize, Serialize};

use crate::id::ItemName;

/// The steps of a capture, in the order in which they were started: most volatile first (RFC 3227
/// §2.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealedPlan {
    /// Seconds after which the capture seals what it has; `None` means no deadline.
    pub deadline_seconds: Option<u64>,
    /// Each step must have an item of its name in the bundle, if only to state its gap.
    pub steps: Vec<SealedStep>,
}

/// One step of a plan, which produces one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SealedStep {
    /// The item that the step produces.
    pub item: ItemName,
    /// What the step captures, described for people.
    pub what: String,
    /// The most bytes to keep of any one object; `None` means no limit.
    pub object_bytes_max: Option<u64>,
    /// The most bytes of the whole item, where the step stops; `None` means no limit.
    pub item_bytes_max: Option<u64>,
}
