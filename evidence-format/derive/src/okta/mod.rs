//! Okta: the System Log as events, and what the management API lists as objects and edges.
//!
//! Endpoints are the operations of Okta's OpenAPI, such as `okta:listLogEvents`.
//! <https://github.com/okta/okta-management-openapi-spec>

mod entity;
mod event;
mod event_types;
mod snapshot;
#[cfg(test)]
mod tests;

use crate::json::parse_record;
use crate::{ActivityEvent, Derivation, Deriver, RecordContext};

/// Reads records of Okta.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OktaDeriver;

impl Deriver for OktaDeriver {
    fn name(&self) -> &'static str {
        "okta"
    }

    fn version(&self) -> u32 {
        1
    }

    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
        // The body of a refusal is an error, no element of the list that was asked for.
        if !matches!(record.status, 0 | 200..=299) {
            return;
        }
        let operation = record.endpoint.strip_prefix("okta:").unwrap_or_default();
        let value = parse_record(record.bytes);
        match (operation, value) {
            ("listLogEvents", Some(value)) => visit(Derivation::Event(Box::new(event::log_event(
                record, &value,
            )))),
            ("listLogEvents", None) => visit(Derivation::Event(Box::new(
                ActivityEvent::unreadable(record, "not JSON"),
            ))),
            (_, Some(value)) => snapshot::derive(operation, record, &value, visit),
            (_, None) => {}
        }
    }
}
