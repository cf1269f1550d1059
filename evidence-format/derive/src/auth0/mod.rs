//! Auth0: the tenant log as events; applications, grants, users and trust as objects and edges.
//!
//! Endpoints are the operations of Auth0's OpenAPI description, such as `auth0:get_logs`.
//! <https://auth0.com/docs/api/management/v2>

mod listing;
mod log;
#[cfg(test)]
mod tests;

use crate::element::{JsonElement, visit_event};
use crate::json::parse_record;
use crate::{ActivityEvent, Derivation, Deriver, RecordContext};

/// Reads records of Auth0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Auth0Deriver;

impl Deriver for Auth0Deriver {
    fn name(&self) -> &'static str {
        "auth0"
    }

    fn version(&self) -> u32 {
        1
    }

    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
        if !matches!(record.status, 0 | 200..=299) {
            return;
        }
        let operation = record.endpoint.strip_prefix("auth0:").unwrap_or_default();
        let is_log = operation == "get_logs";
        match parse_record(record.bytes) {
            Some(value) if is_log => {
                visit_event(log::log_event(&JsonElement::new(record, &value)), visit);
            }
            Some(value) => listing::derive(operation, &JsonElement::new(record, &value), visit),
            None if is_log => visit_event(ActivityEvent::unreadable(record, "not JSON"), visit),
            None => {}
        }
    }
}
