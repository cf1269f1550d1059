//! What a tenant consists of: objects, and the edges between them.

use serde_json::Value;

use crate::EdgeRelation::{CanAccess, CanAssume, Holds, PartOf, Trusts};
use crate::element::{JsonElement, edge};
use crate::json::{list_at, text_at};
use crate::{Derivation, EntityKind, EntityRef};

pub(super) fn derive(
    operation: &str,
    element: &JsonElement<'_>,
    visit: &mut dyn FnMut(Derivation),
) {
    match operation {
        "organization.ListOrganization" => {
            if let Some(tenant) = named(element, EntityKind::Organization, "/displayName") {
                let plans = list_at(element.value, "/assignedPlans").len();
                let summary = format!("tenant {}, {plans} plans", tenant.label());
                visit(element.object(tenant, &[], "/createdDateTime", summary));
            }
        }
        "users.ListUser" => user(element, visit),
        "identityProtection.ListRiskyUsers" => risky_user(element, visit),
        "applications.ListApplication" => application(element, visit),
        "applications.ListOwners" => {
            let owner = named(element, EntityKind::User, "/userPrincipalName");
            if let (Some(owner), Some(app)) = (owner, element.id_in_uri("applications")) {
                let app = element.entity(EntityKind::Application, app);
                visit(edge(owner, CanAccess, app, Some("owner".to_owned())));
            }
        }
        "applications.ListFederatedIdentityCredentials" => federated(element, visit),
        "servicePrincipals.ListServicePrincipal" => service_principal(element, visit),
        "servicePrincipals.ListAppRoleAssignments" => app_role(element, visit),
        "oauth2PermissionGrants.ListOAuth2PermissionGrant" => consent(element, visit),
        "roleManagement.directory.ListRoleAssignments" => role_assignment(element, visit),
        "roleManagement.directory.ListRoleDefinitions" => {
            if let Some(role) = named(element, EntityKind::Role, "/displayName") {
                let states = ["/isBuiltIn", "/isEnabled"];
                let summary = format!("role {}{}", role.label(), element.words(&states));
                visit(element.object(role, &[], "", summary));
            }
        }
        "identity.conditionalAccess.ListPolicies" => policy(element, visit),
        "identity.conditionalAccess.ListNamedLocations" => {
            if let Some(location) = named(element, EntityKind::Network, "/displayName") {
                let states = element.words(&["/isTrusted"]);
                let summary = format!("named location {}{states}", location.label());
                visit(element.object(
                    location,
                    &["/modifiedDateTime"],
                    "/createdDateTime",
                    summary,
                ));
            }
        }
        "domains.ListDomain" => {
            if let Some(domain) = named(element, EntityKind::Domain, "/id") {
                let states = ["/authenticationType", "/isVerified", "/isDefault"];
                let summary = format!("domain {}{}", domain.label(), element.words(&states));
                visit(element.object(domain, &[], "", summary));
            }
        }
        "domains.ListFederationConfiguration" => federation(element, visit),
        _ => {}
    }
}

fn named(element: &JsonElement<'_>, kind: EntityKind, name: &str) -> Option<EntityRef> {
    let entity = element.entity_at(kind, "/id")?;
    Some(entity.named(element.text(name)))
}

fn user(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(user) = named(element, EntityKind::User, "/userPrincipalName") else {
        return;
    };
    let states = [
        "/accountEnabled",
        "/userType",
        "/externalUserState",
        "/onPremisesSyncEnabled",
    ];
    let summary = format!("user {}{}", user.label(), element.words(&states));
    visit(element.object(user, &[], "/createdDateTime", summary));
}

fn risky_user(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    // The id is the user's; what is at risk is an object of its own.
    let (Some(id), name) = (element.id("/id"), element.text("/userPrincipalName")) else {
        return;
    };
    let risk = element
        .entity(EntityKind::Other, format!("risk/{id}"))
        .named(name);
    let states = ["/riskLevel", "/riskState", "/riskDetail"];
    let summary = format!("risk of user {}{}", risk.label(), element.words(&states));
    visit(element.object(risk, &["/riskLastUpdatedDateTime"], "", summary));
}

fn application(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(application) = named(element, EntityKind::Application, "/displayName") else {
        return;
    };
    let states = ["/signInAudience", "/publisherDomain"];
    let summary = format!(
        "application {}{}",
        application.label(),
        element.words(&states)
    );
    visit(element.object(application.clone(), &[], "/createdDateTime", summary));
    credentials(element, &application, visit);
}

/// Passwords and certificates, by their ids.
fn credentials(element: &JsonElement<'_>, holder: &EntityRef, visit: &mut dyn FnMut(Derivation)) {
    for (list, what) in [
        ("/passwordCredentials", "secret"),
        ("/keyCredentials", "certificate"),
    ] {
        for credential in list_at(element.value, list) {
            let Some(id) = text_at(credential, "/keyId") else {
                continue;
            };
            let name = text_at(credential, "/displayName").or(text_at(credential, "/hint"));
            let entity = element.entity(EntityKind::Credential, id).named(name);
            let from = text_at(credential, "/startDateTime").unwrap_or("unknown");
            let until = text_at(credential, "/endDateTime").unwrap_or("unknown");
            let summary = format!(
                "{what} {} of {}, from {from} until {until}",
                entity.label(),
                holder.label()
            );
            let part = JsonElement::new(element.context, credential);
            visit(part.object(entity.clone(), &[], "/startDateTime", summary));
            visit(edge(holder.clone(), Holds, entity, None));
        }
    }
}

fn federated(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let credential = named(element, EntityKind::Credential, "/name");
    let (Some(credential), Some(app)) = (credential, element.id_in_uri("applications")) else {
        return;
    };
    let issuer = element.text("/issuer").unwrap_or("unknown");
    let subject = element.text("/subject").unwrap_or("unknown");
    let summary = format!(
        "federated credential {} of application {app}: {subject} of {issuer}",
        credential.label()
    );
    visit(element.object(credential, &[], "", summary));
    let app = element.entity(EntityKind::Application, app);
    let issuer = element.entity(EntityKind::IdentityProvider, issuer);
    visit(edge(app, Trusts, issuer, Some(subject.to_owned())));
}

fn service_principal(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(principal) = named(element, EntityKind::Service, "/displayName") else {
        return;
    };
    let states = [
        "/servicePrincipalType",
        "/accountEnabled",
        "/appOwnerOrganizationId",
    ];
    let summary = format!(
        "service principal {}{}",
        principal.label(),
        element.words(&states)
    );
    visit(element.object(principal.clone(), &[], "/createdDateTime", summary));
    credentials(element, &principal, visit);
    if let Some(app) = element.entity_at(EntityKind::Credential, "/appId") {
        visit(edge(
            principal,
            Holds,
            app,
            Some("application id".to_owned()),
        ));
    }
}

fn app_role(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let kind = match element.text("/principalType") {
        Some("User") => EntityKind::User,
        Some("Group") => EntityKind::Group,
        _ => EntityKind::Service,
    };
    let principal = element.entity_at(kind, "/principalId");
    let resource = element.entity_at(EntityKind::Service, "/resourceId");
    let (Some(principal), Some(resource)) = (principal, resource) else {
        return;
    };
    let principal = principal.named(element.text("/principalDisplayName"));
    let resource = resource.named(element.text("/resourceDisplayName"));
    let role = element
        .text("/appRoleId")
        .map(|id| format!("app role {id}"));
    visit(edge(principal, CanAccess, resource, role));
}

fn consent(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let client = element.entity_at(EntityKind::Service, "/clientId");
    let resource = element.entity_at(EntityKind::Service, "/resourceId");
    let (Some(grant), Some(client), Some(resource)) = (
        element.entity_at(EntityKind::Policy, "/id"),
        client,
        resource,
    ) else {
        return;
    };
    let scope = element.text("/scope").unwrap_or_default().trim();
    let whom = match element.text("/principalId") {
        Some(user) => format!("for user {user}"),
        None => "for all users".to_owned(),
    };
    let summary = format!("consent to {} {whom}: {scope}", client.label());
    visit(element.object(grant, &[], "", summary));
    visit(edge(
        client,
        CanAccess,
        resource,
        Some(format!("{scope} {whom}")),
    ));
}

fn role_assignment(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let kind = match element.text("/principal/@odata.type") {
        Some("#microsoft.graph.group") => EntityKind::Group,
        Some("#microsoft.graph.servicePrincipal") => EntityKind::Service,
        _ => EntityKind::User,
    };
    let principal = element.entity_at(kind, "/principalId");
    let role = element.entity_at(EntityKind::Role, "/roleDefinitionId");
    let (Some(principal), Some(role)) = (principal, role) else {
        return;
    };
    let name = element.first(&["/principal/userPrincipalName", "/principal/displayName"]);
    let scope = element
        .text("/directoryScopeId")
        .filter(|scope| *scope != "/");
    let scope = scope.map(|scope| format!("in {scope}"));
    visit(edge(principal.named(name), CanAssume, role, scope));
}

fn policy(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(policy) = named(element, EntityKind::Policy, "/displayName") else {
        return;
    };
    let controls = list_at(element.value, "/grantControls/builtInControls").iter();
    let controls: Vec<&str> = controls.filter_map(Value::as_str).collect();
    let state = element.words(&["/state"]);
    let summary = format!(
        "conditional access {}{state}, {}",
        policy.label(),
        controls.join(" ")
    );
    visit(element.object(policy, &["/modifiedDateTime"], "/createdDateTime", summary));
}

/// Whom a federated domain lets log in: whoever holds the key of the certificate.
fn federation(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(domain) = element.id_in_uri("domains") else {
        return;
    };
    let issuer = element.text("/issuerUri").unwrap_or("unknown");
    let provider = element.entity(EntityKind::IdentityProvider, issuer);
    let provider = provider.named(element.text("/displayName"));
    let states = [
        "/preferredAuthenticationProtocol",
        "/federatedIdpMfaBehavior",
    ];
    let summary = format!(
        "federation of {domain} with {issuer}{}",
        element.words(&states)
    );
    visit(element.object(provider.clone(), &[], "", summary));
    let domain = element.entity(EntityKind::Domain, domain);
    visit(edge(provider.clone(), PartOf, domain.clone(), None));
    visit(edge(
        domain,
        Trusts,
        provider,
        element.text("/activeSignInUri").map(str::to_owned),
    ));
}
