//! Azure: the Activity Log as events, roles and log forwarding as objects and edges.
//!
//! Endpoints are the operations of Azure's REST API specifications, such as
//! `azure_activity:ActivityLogs_List`.
//! <https://learn.microsoft.com/en-us/rest/api/monitor/activity-logs/list>

mod event;
#[cfg(test)]
mod tests;

use crate::EdgeRelation::{CanAssume, PartOf};
use crate::element::{JsonElement, edge, visit_event};
use crate::json::parse_record;
use crate::{ActivityEvent, Derivation, Deriver, EntityKind, RecordContext};

/// Reads records of Azure Resource Manager.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AzureActivityDeriver;

impl Deriver for AzureActivityDeriver {
    fn name(&self) -> &'static str {
        "azure_activity"
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
            .strip_prefix("azure_activity:")
            .unwrap_or_default();
        let value = parse_record(record.bytes);
        let is_event = matches!(operation, "ActivityLogs_List" | "TenantActivityLogs_List");
        let Some(value) = value else {
            if is_event {
                visit_event(ActivityEvent::unreadable(record, "not JSON"), visit);
            }
            return;
        };
        let element = JsonElement::new(record, &value);
        match operation {
            _ if is_event => visit_event(event::activity(&element), visit),
            "Subscriptions_List" => subscription(&element, visit),
            "RoleAssignments_ListForSubscription" => role_assignment(&element, visit),
            "RoleDefinitions_List" => role_definition(&element, visit),
            "SubscriptionDiagnosticSettings_List" => forwarding(&element, visit),
            _ => {}
        }
    }
}

fn subscription(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    if let Some(subscription) = element.entity_at(EntityKind::Account, "/subscriptionId") {
        let subscription = subscription.named(element.text("/displayName"));
        let state = element.words(&["/state"]);
        let summary = format!("subscription {}{state}", subscription.label());
        visit(element.object(subscription, &[], "", summary));
    }
}

fn role_assignment(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let kind = match element.text("/properties/principalType") {
        Some("User" | "ForeignGroup") => EntityKind::User,
        Some("Group") => EntityKind::Group,
        _ => EntityKind::Service,
    };
    let principal = element.entity_at(kind, "/properties/principalId");
    let (Some(id), Some(principal), Some(role)) = (
        element.text("/id"),
        principal,
        element.text("/properties/roleDefinitionId"),
    ) else {
        return;
    };
    // The same definition is named below each scope.
    let role = role.rsplit('/').next().unwrap_or(role);
    let scope = element.text("/properties/scope").unwrap_or("/");
    let assignment = element.entity(EntityKind::Policy, id);
    let by = element.text("/properties/createdBy").unwrap_or("unknown");
    let summary = format!(
        "role {role} of {} in {scope}, assigned by {by}",
        principal.id
    );
    let (versions, created) = (["/properties/updatedOn"], "/properties/createdOn");
    visit(element.object(assignment, &versions, created, summary));
    let role = element.entity(EntityKind::Role, role);
    visit(edge(
        principal,
        CanAssume,
        role,
        Some(format!("in {scope}")),
    ));
}

fn role_definition(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    if let Some(role) = element.entity_at(EntityKind::Role, "/name") {
        let role = role.named(element.text("/properties/roleName"));
        let summary = format!("custom role {}", role.label());
        visit(element.object(
            role,
            &["/properties/updatedOn"],
            "/properties/createdOn",
            summary,
        ));
    }
}

/// Where a subscription sends its log.
fn forwarding(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(setting) = element.entity_at(EntityKind::AuditLog, "/id") else {
        return;
    };
    let setting = setting.named(element.text("/name"));
    let to = [
        "/properties/workspaceId",
        "/properties/storageAccountId",
        "/properties/eventHubAuthorizationRuleId",
        "/properties/marketplacePartnerId",
    ];
    let summary = format!("logs are sent by {}{}", setting.label(), element.words(&to));
    visit(element.object(setting.clone(), &[], "", summary));
    if let Some(subscription) = element.id_in_uri("subscriptions") {
        let subscription = element.entity(EntityKind::Account, subscription);
        visit(edge(setting, PartOf, subscription, None));
    }
}
