//! HashiCorp Vault and OpenBao: who may log in, what they may get, and which credentials of other
//! systems Vault holds. Each answer is one record.
//!
//! Operations are called as in Vault's OpenAPI description.
//! <https://developer.hashicorp.com/vault/api-docs>

mod access;
mod common;
mod engine;
mod policy;
#[cfg(test)]
mod tests;
mod token;

use crate::element::JsonElement;
use crate::json::parse_record;
use crate::{Derivation, Deriver, RecordContext};

/// Reads records of Vault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VaultDeriver;

impl Deriver for VaultDeriver {
    fn name(&self) -> &'static str {
        "vault"
    }

    fn version(&self) -> u32 {
        1
    }

    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
        if !matches!(record.status, 0 | 200..=299) {
            return;
        }
        let operation = record.endpoint.strip_prefix("vault:").unwrap_or_default();
        let Some(answer) = parse_record(record.bytes) else {
            return;
        };
        let Some(data) = answer.get("data") else {
            return;
        };
        let element = &JsonElement::new(record, data);
        match operation {
            "token-look-up-self" => token::of_who_captured(element, visit),
            "token-look-up-accessor" => token::token(element, visit),
            "auditing-list-enabled-devices" => access::audit_devices(element, visit),
            "auth-list-enabled-methods" => access::methods(element, visit),
            "auth-read-configuration" | "aws-read-client-configuration" => {
                access::method_settings(element, visit);
            }
            "auth-read-role" => access::role(element, visit),
            "entity-read-by-id" => access::identity(element, visit),
            "group-read-by-id" => access::group(element, visit),
            "policies-read-acl-policy" => policy::policy(element, visit),
            "mounts-list-secrets-engines" => engine::engines(element, visit),
            "aws-read-root-iam-credentials-configuration" => engine::aws_root(element, visit),
            "aws-read-role" => engine::aws_role(element, visit),
            "database-read-connection-configuration" => engine::connection(element, visit),
            "leases-look-up" => engine::leases(element, visit),
            "leases-count" => engine::irrevocable_leases(element, visit),
            _ => {}
        }
    }
}
