//! Google Cloud: audit logs as events; IAM policies, service accounts, keys and sinks as objects
//! and edges.
//!
//! Endpoints are the methods of Google's discovery documents, such as
//! `google_cloud:logging.entries.list`.
//! <https://docs.cloud.google.com/logging/docs/reference/audit/auditlog/rest/Shared.Types/AuditLog>

mod entry;
mod listing;
#[cfg(test)]
mod tests;

use crate::element::{JsonElement, visit_event};
use crate::json::parse_record;
use crate::{ActivityEvent, Derivation, Deriver, RecordContext};

/// Reads records of Google Cloud.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GoogleCloudDeriver;

impl Deriver for GoogleCloudDeriver {
    fn name(&self) -> &'static str {
        "google_cloud"
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
            .strip_prefix("google_cloud:")
            .unwrap_or_default();
        let is_entry = operation == "logging.entries.list";
        match parse_record(record.bytes) {
            Some(value) if is_entry => {
                visit_event(entry::audit_entry(&JsonElement::new(record, &value)), visit);
            }
            Some(value) => listing::derive(operation, &JsonElement::new(record, &value), visit),
            None if is_entry => visit_event(ActivityEvent::unreadable(record, "not JSON"), visit),
            None => {}
        }
    }
}
