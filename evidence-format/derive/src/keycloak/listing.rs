//! What realms list: objects, and the edges between them.

use crate::EdgeRelation::{CanAccess, CanAssume, MemberOf, PartOf, Trusts};
use crate::element::{JsonElement, edge};
use crate::json::list_at;
use crate::{Derivation, EntityKind, EntityRef};

pub(super) fn derive(
    operation: &str,
    element: &JsonElement<'_>,
    visit: &mut dyn FnMut(Derivation),
) {
    match operation {
        "getRealmsProtocolOpenidConnectUserinfo" => {
            if let Some(user) = named(element, EntityKind::Service, "/sub", "/preferred_username") {
                let summary = format!("who captured: {}", user.label());
                visit(element.object(user, &[], "", summary));
            }
        }
        "getAdminRealms" | "getAdminRealm" => realm(element, visit),
        "getAdminRealmsEventsConfig" => event_settings(element, visit),
        "getAdminRealmsUsers" => user(element, visit),
        "getAdminRealmsGroups" => group(element, visit),
        "getAdminRealmsGroupsMembers" => {
            let (user, group) = (listed_user(element), element.id_in_uri("groups"));
            if let (Some(user), Some(group)) = (user, group) {
                let group = element.entity(EntityKind::Group, group);
                visit(edge(user, MemberOf, group, None));
            }
        }
        "getAdminRealmsRoles" | "getAdminRealmsClientsRoles" => role(element, visit),
        "getAdminRealmsRolesUsers" | "getAdminRealmsClientsRolesUsers" => {
            let (user, role) = (listed_user(element), element.id_in_uri("roles"));
            if let (Some(user), Some(role)) = (user, role) {
                let role = role_entity(element, &role, element.id_in_uri("clients").as_deref());
                visit(edge(user, CanAssume, role, None));
            }
        }
        "getAdminRealmsClients" => client(element, visit),
        "getAdminRealmsClientsUserSessions" => session(element, visit),
        "getAdminRealmsIdentityProviderInstances" => identity_provider(element, visit),
        "getAdminRealmsComponents" => component(element, visit),
        "getAdminRealmsAuthenticationFlows" => {
            if let Some(flow) = named(element, EntityKind::Policy, "/id", "/alias") {
                let summary = format!("authentication flow {}", flow.label());
                visit(element.object(flow, &[], "", summary));
            }
        }
        _ => {}
    }
}

fn named(element: &JsonElement<'_>, kind: EntityKind, id: &str, name: &str) -> Option<EntityRef> {
    let entity = element.entity_at(kind, id)?;
    Some(entity.named(element.text(name)))
}

fn listed_user(element: &JsonElement<'_>) -> Option<EntityRef> {
    named(element, EntityKind::User, "/id", "/username")
}

/// Names of roles are unique in a realm, or in a client.
fn role_entity(element: &JsonElement<'_>, name: &str, client: Option<&str>) -> EntityRef {
    let id = match client {
        Some(client) => format!("{client}/{name}"),
        None => name.to_owned(),
    };
    element.entity(EntityKind::Role, id).named(Some(name))
}

fn realm(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(realm) = element.entity_at(EntityKind::Organization, "/realm") else {
        return;
    };
    let states = ["/enabled", "/registrationAllowed", "/bruteForceProtected"];
    let summary = format!("realm {}{}", realm.label(), element.words(&states));
    visit(element.object(realm, &[], "", summary));
}

fn event_settings(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(realm) = element.id_in_uri("realms") else {
        return;
    };
    let log = element.entity(EntityKind::AuditLog, format!("{realm}/events"));
    let states = [
        "/eventsEnabled",
        "/adminEventsEnabled",
        "/adminEventsDetailsEnabled",
    ];
    let mut summary = format!("events of realm {realm}{}", element.words(&states));
    match element
        .value
        .pointer("/eventsExpiration")
        .and_then(|v| v.as_u64())
    {
        Some(seconds @ 1..) => summary.push_str(&format!(", kept for {seconds} s")),
        Some(0) | None => summary.push_str(", kept for ever"),
    }
    let types = list_at(element.value, "/enabledEventTypes").len();
    summary.push_str(&format!(", {types} types"));
    visit(element.object(log, &[], "", summary));
}

fn user(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(user) = listed_user(element) else {
        return;
    };
    let states = ["/enabled", "/emailVerified", "/totp"];
    let mut summary = format!("user {}{}", user.label(), element.words(&states));
    if let Some(client) = element.text("/serviceAccountClientId") {
        summary.extend([", service account of ", client]);
    }
    visit(element.object(user, &[], "/createdTimestamp", summary));
}

fn group(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(group) = named(element, EntityKind::Group, "/id", "/path") else {
        return;
    };
    visit(element.object(group.clone(), &[], "", format!("group {}", group.label())));
    let realm_roles = list_at(element.value, "/realmRoles").iter();
    for role in realm_roles.filter_map(|role| role.as_str()) {
        visit(edge(
            group.clone(),
            CanAssume,
            role_entity(element, role, None),
            None,
        ));
    }
}

fn role(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let (Some(name), client) = (element.text("/name"), element.id_in_uri("clients")) else {
        return;
    };
    let role = role_entity(element, name, client.as_deref());
    let summary = format!(
        "role {name}{}",
        element.words(&["/composite", "/description"])
    );
    visit(element.object(role.clone(), &[], "", summary));
    if let Some(client) = client {
        let client = element.entity(EntityKind::Application, client);
        visit(edge(role, PartOf, client, None));
    }
}

fn client(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(client) = named(element, EntityKind::Application, "/id", "/clientId") else {
        return;
    };
    let states = [
        "/enabled",
        "/publicClient",
        "/serviceAccountsEnabled",
        "/directAccessGrantsEnabled",
        "/implicitFlowEnabled",
        "/fullScopeAllowed",
    ];
    let mut summary = format!("client {}{}", client.label(), element.words(&states));
    let redirects = list_at(element.value, "/redirectUris").iter();
    let redirects: Vec<&str> = redirects.filter_map(|uri| uri.as_str()).collect();
    if !redirects.is_empty() {
        summary.extend([", redirects to ", &redirects.join(" ")]);
    }
    visit(element.object(client, &[], "", summary));
}

fn session(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(session) = element.entity_at(EntityKind::Session, "/id") else {
        return;
    };
    let user = named(element, EntityKind::User, "/userId", "/username");
    let from = element.text("/ipAddress").unwrap_or("an unknown address");
    let who = user.as_ref().map_or("unknown", EntityRef::label);
    let summary = format!("session of {who} from {from}");
    // its last access changes with each use
    let version = ["/userId", "/ipAddress"].map(|at| element.text(at).unwrap_or_default());
    let mut object = element.object(session.clone(), &[], "/start", summary);
    if let Derivation::Object(object) = &mut object {
        object.version = version.join(" ");
    }
    visit(object);
    if let Some(user) = user {
        visit(edge(session.clone(), PartOf, user, None));
    }
    if let Some(client) = element.id_in_uri("clients") {
        let client = element.entity(EntityKind::Application, client);
        visit(edge(session, CanAccess, client, None));
    }
}

fn identity_provider(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let (Some(alias), Some(realm)) = (element.text("/alias"), element.id_in_uri("realms")) else {
        return;
    };
    let provider = element.entity(EntityKind::IdentityProvider, format!("{realm}/{alias}"));
    let provider = provider.named(Some(alias));
    let states = [
        "/providerId",
        "/enabled",
        "/trustEmail",
        "/linkOnly",
        "/config/issuer",
        "/config/tokenUrl",
    ];
    let summary = format!("identity provider {alias}{}", element.words(&states));
    visit(element.object(provider.clone(), &[], "", summary));
    let realm = element.entity(EntityKind::Organization, realm);
    let condition = element.text("/providerId").map(str::to_owned);
    visit(edge(realm, Trusts, provider, condition));
}

/// A directory that users come from, or keys that tokens are signed with.
fn component(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let (provider, kind) = match element.text("/providerType") {
        Some("org.keycloak.storage.UserStorageProvider") => {
            ("directory", EntityKind::IdentityProvider)
        }
        Some("org.keycloak.keys.KeyProvider") => ("keys", EntityKind::Credential),
        _ => ("component", EntityKind::Policy),
    };
    let Some(component) = named(element, kind, "/id", "/name") else {
        return;
    };
    let summary = format!(
        "{provider} {}{}",
        component.label(),
        element.words(&["/providerId"])
    );
    visit(element.object(component.clone(), &[], "", summary));
    if provider == "directory"
        && let Some(realm) = element.id_in_uri("realms")
    {
        let realm = element.entity(EntityKind::Organization, realm);
        visit(edge(
            realm,
            Trusts,
            component,
            Some("users are looked up in it".to_owned()),
        ));
    }
}
