//! What Cloud Asset Inventory lists: objects, and the edges between them.

use serde_json::Value;

use crate::EdgeRelation::{CanAssume, Holds};
use crate::element::{JsonElement, edge};
use crate::json::{list_at, text_at};
use crate::{Derivation, EntityKind, EntityRef};

pub(super) fn derive(
    operation: &str,
    element: &JsonElement<'_>,
    visit: &mut dyn FnMut(Derivation),
) {
    match operation {
        "oauth2.userinfo" => {
            if let Some(account) = element.entity_at(EntityKind::Service, "/email") {
                let summary = format!("who captured: {}", account.label());
                visit(element.object(account, &[], "", summary));
            }
        }
        "cloudasset.searchAllResources" => {
            if let Some(project) = element.entity_at(EntityKind::Account, "/project") {
                let project = project.named(element.text("/displayName"));
                let words = element.words(&["/state", "/parentFullResourceName"]);
                let summary = format!("project {}{words}", project.label());
                visit(element.object(project, &["/updateTime"], "/createTime", summary));
            }
        }
        "cloudasset.searchAllIamPolicies" => policy(element, visit),
        "cloudasset.assets.list" => asset(element, visit),
        _ => {}
    }
}

/// Who has which role at a resource.
fn policy(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(resource) = element.text("/resource") else {
        return;
    };
    let bindings = list_at(element.value, "/policy/bindings");
    let policy = element.entity(EntityKind::Policy, format!("policy of {resource}"));
    let summary = format!("IAM policy of {resource}, {} roles", bindings.len());
    visit(element.object(policy, &[], "", summary));
    for binding in bindings {
        let Some(role) = text_at(binding, "/role") else {
            continue;
        };
        let condition = text_at(binding, "/condition/expression");
        let condition = match condition {
            Some(condition) => format!("at {resource} if {condition}"),
            None => format!("at {resource}"),
        };
        for member in list_at(binding, "/members")
            .iter()
            .filter_map(Value::as_str)
        {
            let role = element.entity(EntityKind::Role, role);
            let member = member_of(element, member);
            visit(edge(member, CanAssume, role, Some(condition.clone())));
        }
    }
}

/// `user:a@b`, `serviceAccount:…`, `group:…`, `domain:…`, `allUsers`, `principalSet://…`.
fn member_of(element: &JsonElement<'_>, member: &str) -> EntityRef {
    let (kind, id) = match member.split_once(':') {
        Some(("user", id)) => (EntityKind::User, id),
        Some(("serviceAccount", id)) => (EntityKind::Service, id),
        Some(("group", id)) => (EntityKind::Group, id),
        Some(("domain", id)) => (EntityKind::Domain, id),
        Some(("principal" | "principalSet", _)) => (EntityKind::IdentityProvider, member),
        _ => (EntityKind::Group, member), // allUsers, allAuthenticatedUsers, deleted:…
    };
    element.entity(kind, id)
}

fn asset(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    const DATA: &str = "/resource/data";
    let Some(name) = element.text("/name") else {
        return;
    };
    let text = |member: &str| element.text(&format!("{DATA}/{member}"));
    match element.text("/assetType") {
        Some("iam.googleapis.com/ServiceAccount") => {
            let account = element.entity(EntityKind::Service, text("email").unwrap_or(name));
            let states = element.words(&["/resource/data/disabled"]);
            let summary = format!("service account {}{states}", account.label());
            visit(element.object(account, &["/updateTime"], "", summary));
        }
        Some("iam.googleapis.com/ServiceAccountKey") => {
            // `//iam.googleapis.com/projects/p/serviceAccounts/a@p/keys/1`
            let id = name.rsplit('/').next().unwrap_or(name);
            let key = element.entity(EntityKind::Credential, id);
            let account = name.rsplit('/').nth(2).unwrap_or_default();
            let kind = text("keyType").unwrap_or("unknown");
            let until = text("validBeforeTime").unwrap_or("unknown");
            let summary = format!("key {id} of {account}, {kind}, until {until}");
            let created = "/resource/data/validAfterTime";
            visit(element.object(key.clone(), &[created], created, summary));
            visit(edge(
                element.entity(EntityKind::Service, account),
                Holds,
                key,
                None,
            ));
        }
        Some("logging.googleapis.com/LogSink") => {
            let sink = element
                .entity(EntityKind::AuditLog, name)
                .named(text("name"));
            let states = [
                "/resource/data/destination",
                "/resource/data/filter",
                "/resource/data/disabled",
            ];
            let summary = format!("log sink {}{}", sink.label(), element.words(&states));
            visit(element.object(sink, &["/updateTime"], "/resource/data/createTime", summary));
        }
        _ => {}
    }
}
