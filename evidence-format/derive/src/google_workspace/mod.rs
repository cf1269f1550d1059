//! Google Workspace: activities of all applications as events; users, tokens, roles and groups as
//! objects and edges.
//!
//! Endpoints are the methods of Google's discovery documents, such as
//! `google_workspace:reports.activities.list`.
//! <https://developers.google.com/workspace/admin/reports/reference/rest/v1/activities>

mod activity;
mod listing;
#[cfg(test)]
mod tests;

use crate::element::{JsonElement, visit_event};
use crate::json::parse_record;
use crate::{ActivityEvent, Derivation, Deriver, RecordContext};

/// Reads records of Google Workspace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GoogleWorkspaceDeriver;

impl Deriver for GoogleWorkspaceDeriver {
    fn name(&self) -> &'static str {
        "google_workspace"
    }

    fn version(&self) -> u32 {
        1
    }

    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
        if !matches!(record.status, 0 | 200..=299) {
            return;
        }
        let operation = record
            .endpoint
            .strip_prefix("google_workspace:")
            .unwrap_or_default();
        let is_activity = operation == "reports.activities.list";
        match parse_record(record.bytes) {
            Some(value) if is_activity => {
                activity::activity(&JsonElement::new(record, &value), visit);
            }
            Some(value) => listing::derive(operation, &JsonElement::new(record, &value), visit),
            None if is_activity => {
                visit_event(ActivityEvent::unreadable(record, "not JSON"), visit)
            }
            None => {}
        }
    }
}
