//! What was going to be captured, as sealed next to what was.

use serde::{Deserialize, Serialize};

use crate::id::ItemName;

/// The steps of a capture, in the order in which they were started: most volatile first (RFC 3227
/// §2.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// Seconds after which the capture seals what it has; `None` is no deadline.
    pub deadline_seconds: Option<u64>,
    /// The steps. Each must have an item of its name in the bundle, if only to state its gap.
    pub steps: Vec<Step>,
}

/// One step of a plan: it makes one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// The item that it makes.
    pub item: ItemName,
    /// What it takes, for people.
    pub what: String,
    /// Bytes at which it stops taking more from any one object; `None` is no limit.
    pub object_bytes_max: Option<u64>,
    /// Bytes at which it stops altogether; `None` is no limit.
    pub item_bytes_max: Option<u64>,
}
