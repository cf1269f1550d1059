//! What a tenant consists of: objects, and the edges between them.

use serde_json::Value;

use crate::EdgeRelation::{CanAccess, CanAssume, Trusts};
use crate::element::{JsonElement, edge};
use crate::json::list_at;
use crate::{Derivation, EntityKind, EntityRef};

const UPDATED: &[&str] = &["/updated_at"];

pub(super) fn derive(
    operation: &str,
    element: &JsonElement<'_>,
    visit: &mut dyn FnMut(Derivation),
) {
    match operation {
        "get_users" => user(element, visit),
        "get_roles" => {
            if let Some(role) = named(element, EntityKind::Role, "/id", "/name") {
                let words = element.words(&["/description"]);
                let summary = format!("role {}{words}", role.label());
                visit(element.object(role, UPDATED, "", summary));
            }
        }
        "get_role_user" => {
            let user = named(element, EntityKind::User, "/user_id", "/email");
            if let (Some(user), Some(role)) = (user, element.id_in_uri("roles")) {
                visit(edge(
                    user,
                    CanAssume,
                    element.entity(EntityKind::Role, role),
                    None,
                ));
            }
        }
        "get_clients" => client(element, visit),
        "get_client-grants" => client_grant(element, visit),
        "get_grants" => user_grant(element, visit),
        "get_connections" => connection(element, visit),
        "get_actions" => action(element, visit),
        "get_log-streams" => {
            if let Some(stream) = named(element, EntityKind::AuditLog, "/id", "/name") {
                let states = [
                    "/type",
                    "/status",
                    "/sink/httpEndpoint",
                    "/sink/awsAccountId",
                ];
                let summary = format!("log stream {}{}", stream.label(), element.words(&states));
                visit(element.object(stream, &[], "", summary));
            }
        }
        "get_factors" => {
            if let Some(name) = element.text("/name") {
                let factor = element.entity(EntityKind::Policy, format!("factor/{name}"));
                let summary = format!("second factor {name}{}", element.words(&["/enabled"]));
                visit(element.object(factor, &[], "", summary));
            }
        }
        _ => {}
    }
}

fn named(element: &JsonElement<'_>, kind: EntityKind, id: &str, name: &str) -> Option<EntityRef> {
    Some(element.entity_at(kind, id)?.named(element.text(name)))
}

fn user(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(user) = named(element, EntityKind::User, "/user_id", "/email") else {
        return;
    };
    let states = ["/blocked", "/email_verified", "/last_ip"];
    let mut summary = format!("user {}{}", user.label(), element.words(&states));
    let factors = list_at(element.value, "/multifactor")
        .iter()
        .filter_map(Value::as_str);
    let factors = factors.collect::<Vec<&str>>().join(" ");
    if !factors.is_empty() {
        summary.extend([", second factors ", &factors]);
    }
    visit(element.object(user, UPDATED, "/created_at", summary));
}

fn client(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(client) = named(element, EntityKind::Application, "/client_id", "/name") else {
        return;
    };
    let states = [
        "/app_type",
        "/is_first_party",
        "/cross_origin_authentication",
    ];
    let mut summary = format!("application {}{}", client.label(), element.words(&states));
    for (list, what) in [("/grant_types", "grants"), ("/callbacks", "callbacks")] {
        let values = list_at(element.value, list)
            .iter()
            .filter_map(Value::as_str);
        let values = values.collect::<Vec<&str>>().join(" ");
        if !values.is_empty() {
            summary.push_str(&format!(", {what} {values}"));
        }
    }
    visit(element.object(client, &[], "", summary));
}

/// What an application may do at an API.
fn client_grant(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let client = element.entity_at(EntityKind::Application, "/client_id");
    let api = element.entity_at(EntityKind::Application, "/audience");
    if let (Some(client), Some(api)) = (client, api) {
        visit(edge(client, CanAccess, api, Some(scopes(element))));
    }
}

fn scopes(element: &JsonElement<'_>) -> String {
    let scopes = list_at(element.value, "/scope")
        .iter()
        .filter_map(Value::as_str);
    scopes.collect::<Vec<&str>>().join(" ")
}

/// What a user lets an application do.
fn user_grant(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let client = element.entity_at(EntityKind::Application, "/clientID");
    let user = element.entity_at(EntityKind::User, "/user_id");
    if let (Some(client), Some(user)) = (client, user) {
        let audience = element.text("/audience").unwrap_or("an API");
        let condition = format!("{} at {audience}", scopes(element));
        visit(edge(client, CanAccess, user, Some(condition)));
    }
}

fn connection(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(connection) = named(element, EntityKind::IdentityProvider, "/id", "/name") else {
        return;
    };
    let states = [
        "/strategy",
        "/is_domain_connection",
        "/options/issuer",
        "/options/signInEndpoint",
        "/options/tenant_domain",
        "/options/import_mode",
    ];
    let summary = format!(
        "connection {}{}",
        connection.label(),
        element.words(&states)
    );
    visit(element.object(connection.clone(), &[], "", summary));
    let clients = list_at(element.value, "/enabled_clients")
        .iter()
        .filter_map(Value::as_str);
    for client in clients {
        let client = element.entity(EntityKind::Application, client);
        visit(edge(client, Trusts, connection.clone(), None));
    }
}

/// Code that runs when somebody logs in.
fn action(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(action) = named(element, EntityKind::Workflow, "/id", "/name") else {
        return;
    };
    let states = [
        "/status",
        "/all_changes_deployed",
        "/supported_triggers/0/id",
        "/runtime",
    ];
    let secrets = list_at(element.value, "/secrets").len();
    let words = element.words(&states);
    let summary = format!("action {}{words}, {secrets} secrets", action.label());
    visit(element.object(action, UPDATED, "/created_at", summary));
}
