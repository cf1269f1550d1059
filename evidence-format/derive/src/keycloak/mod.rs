//! Keycloak: sign-in and admin events, sessions, and what realms consist of.
//!
//! Endpoints are called by method and path of the Admin REST API, which names no operations.
//! <https://www.keycloak.org/docs-api/latest/rest-api/>

mod event;
mod listing;
#[cfg(test)]
mod tests;

use crate::element::{JsonElement, visit_event};
use crate::json::parse_record;
use crate::{ActivityEvent, Derivation, Deriver, RecordContext};

/// Reads records of Keycloak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeycloakDeriver;

impl Deriver for KeycloakDeriver {
    fn name(&self) -> &'static str {
        "keycloak"
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
            .strip_prefix("keycloak:")
            .unwrap_or_default();
        let value = parse_record(record.bytes);
        let is_event = matches!(
            operation,
            "getAdminRealmsEvents" | "getAdminRealmsAdminEvents"
        );
        match (operation, &value) {
            ("getAdminRealmsEvents", Some(value)) => {
                visit_event(
                    event::sign_in_event(&JsonElement::new(record, value)),
                    visit,
                );
            }
            ("getAdminRealmsAdminEvents", Some(value)) => {
                visit_event(event::admin_event(&JsonElement::new(record, value)), visit);
            }
            (_, Some(value)) => {
                listing::derive(operation, &JsonElement::new(record, value), visit);
            }
            (_, None) if is_event => {
                visit_event(ActivityEvent::unreadable(record, "not JSON"), visit)
            }
            (_, None) => {}
        }
    }
}
