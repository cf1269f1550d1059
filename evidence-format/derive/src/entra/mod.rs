//! Entra ID, as Microsoft Graph tells of it: sign-ins, directory audits and risk as events; users,
//! applications, roles and trust as objects and edges.
//!
//! Endpoints are the operations of Graph's OpenAPI description, such as
//! `entra:auditLogs.ListSignIns`. <https://learn.microsoft.com/en-us/graph/api/overview>

mod event;
mod listing;
#[cfg(test)]
mod tests;

use crate::element::{JsonElement, visit_event};
use crate::json::parse_record;
use crate::{ActivityEvent, Derivation, Deriver, RecordContext};

/// Reads records of Microsoft Graph.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntraDeriver;

impl Deriver for EntraDeriver {
    fn name(&self) -> &'static str {
        "entra"
    }

    fn version(&self) -> u32 {
        1
    }

    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
        if !matches!(record.status, 0 | 200..=299) {
            return;
        }
        let operation = record.endpoint.strip_prefix("entra:").unwrap_or_default();
        let derive_event = match operation {
            "auditLogs.ListSignIns" => event::sign_in,
            "auditLogs.ListDirectoryAudits" | "auditLogs.ListCustomSecurityAttributeAudits" => {
                event::directory_audit
            }
            "auditLogs.ListProvisioning" => event::provisioning,
            "identityProtection.ListRiskDetections" => event::risk_detection,
            _ => {
                if let Some(value) = parse_record(record.bytes) {
                    listing::derive(operation, &JsonElement::new(record, &value), visit);
                }
                return;
            }
        };
        let event = match parse_record(record.bytes) {
            Some(value) => derive_event(&JsonElement::new(record, &value)),
            None => ActivityEvent::unreadable(record, "not JSON"),
        };
        visit_event(event, visit);
    }
}
