//! What a customer of Workspace has: objects, and the edges between them.

use serde_json::Value;

use crate::EdgeRelation::{CanAccess, CanAssume, Holds, MemberOf};
use crate::element::{JsonElement, edge};
use crate::json::list_at;
use crate::{Derivation, EntityKind, EntityRef};

pub(super) fn derive(
    operation: &str,
    element: &JsonElement<'_>,
    visit: &mut dyn FnMut(Derivation),
) {
    match operation {
        "directory.customers.get" => {
            if let Some(customer) =
                named(element, EntityKind::Organization, "/id", "/customerDomain")
            {
                let summary = format!("customer {}", customer.label());
                visit(element.object(customer, &["/etag"], "/customerCreationTime", summary));
            }
        }
        "directory.users.list" => user(element, visit),
        "directory.tokens.list" => token(element, visit),
        "directory.asps.list" => app_password(element, visit),
        "directory.roles.list" => {
            if let Some(role) = named(element, EntityKind::Role, "/roleId", "/roleName") {
                let privileges = list_at(element.value, "/rolePrivileges").len();
                let states = element.words(&["/isSuperAdminRole", "/isSystemRole"]);
                let summary = format!("role {}{states}, {privileges} privileges", role.label());
                visit(element.object(role, &["/etag"], "", summary));
            }
        }
        "directory.roleAssignments.list" => role_assignment(element, visit),
        "directory.groups.list" => {
            if let Some(group) = named(element, EntityKind::Group, "/id", "/email") {
                let created = element.words(&["/adminCreated", "/description"]);
                let summary = format!("group {}{created}", group.label());
                visit(element.object(group, &["/etag"], "", summary));
            }
        }
        "directory.members.list" => member(element, visit),
        "directory.domains.list" => {
            if let Some(domain) = element.entity_at(EntityKind::Domain, "/domainName") {
                let states = element.words(&["/isPrimary", "/verified"]);
                let summary = format!("domain {}{states}", domain.label());
                visit(element.object(domain, &["/etag"], "/creationTime", summary));
            }
        }
        _ => {}
    }
}

fn named(element: &JsonElement<'_>, kind: EntityKind, id: &str, name: &str) -> Option<EntityRef> {
    Some(element.entity_at(kind, id)?.named(element.text(name)))
}

fn user(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(user) = named(element, EntityKind::User, "/id", "/primaryEmail") else {
        return;
    };
    let states = [
        "/isAdmin",
        "/isDelegatedAdmin",
        "/suspended",
        "/archived",
        "/isEnrolledIn2Sv",
        "/isEnforcedIn2Sv",
        "/recoveryEmail",
    ];
    let mut summary = format!("user {}{}", user.label(), element.words(&states));
    if let Some(deleted) = element.text("/deletionTime") {
        summary.extend([", deleted ", deleted]);
    }
    // The etag changes with each login.
    let version = states.iter().chain(&["/deletionTime", "/primaryEmail"]);
    let version: Vec<String> = version
        .map(|at| {
            element
                .value
                .pointer(at)
                .map(Value::to_string)
                .unwrap_or_default()
        })
        .collect();
    let mut object = element.object(user, &[], "/creationTime", summary);
    if let Derivation::Object(object) = &mut object {
        object.version = version.join(" ");
    }
    visit(object);
}

/// What a user lets an application do.
fn token(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let user = element
        .id("/userKey")
        .or_else(|| element.id_in_uri("users"));
    let (Some(client), Some(user)) = (element.id("/clientId"), user) else {
        return;
    };
    let application = element.entity(EntityKind::Application, client.as_str());
    let application = application.named(element.text("/displayText"));
    let scopes = list_at(element.value, "/scopes")
        .iter()
        .filter_map(Value::as_str);
    let scopes = scopes.collect::<Vec<&str>>().join(" ");
    let grant = element.entity(EntityKind::Credential, format!("{user}/{client}"));
    let grant = grant.named(element.text("/displayText"));
    let summary = format!("token of user {user} for {}: {scopes}", application.label());
    visit(element.object(grant.clone(), &["/etag"], "", summary));
    visit(edge(application.clone(), Holds, grant, None));
    let user = element.entity(EntityKind::User, user);
    visit(edge(application, CanAccess, user, Some(scopes)));
}

fn app_password(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let user = element
        .id("/userKey")
        .or_else(|| element.id_in_uri("users"));
    let (Some(code), Some(user)) = (element.id("/codeId"), user) else {
        return;
    };
    let password = element.entity(EntityKind::Credential, format!("{user}/asp/{code}"));
    let password = password.named(element.text("/name"));
    let summary = format!("app password {} of user {user}", password.label());
    let mut object = element.object(password.clone(), &[], "", summary);
    if let Derivation::Object(object) = &mut object {
        object.version = element.id("/creationTime").unwrap_or_default(); // not its last use
    }
    visit(object);
    visit(edge(
        element.entity(EntityKind::User, user),
        Holds,
        password,
        None,
    ));
}

fn role_assignment(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let kind = match element.text("/assigneeType") {
        Some("group" | "GROUP") => EntityKind::Group,
        _ => EntityKind::User,
    };
    let assignee = element.entity_at(kind, "/assignedTo");
    let role = element.entity_at(EntityKind::Role, "/roleId");
    if let (Some(assignee), Some(role)) = (assignee, role) {
        let unit = element.id("/orgUnitId").map(|unit| format!("in {unit}"));
        visit(edge(assignee, CanAssume, role, unit));
    }
}

fn member(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let kind = match element.text("/type") {
        Some("GROUP") => EntityKind::Group,
        _ => EntityKind::User,
    };
    let member = named(element, kind, "/id", "/email");
    if let (Some(member), Some(group)) = (member, element.id_in_uri("groups")) {
        let role = element.text("/role").map(str::to_lowercase);
        visit(edge(
            member,
            MemberOf,
            element.entity(EntityKind::Group, group),
            role,
        ));
    }
}
