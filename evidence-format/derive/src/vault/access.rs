//! Who may log in: auth methods, their roles, identities and groups; and what is recorded of them.

use serde_json::Value;

use crate::EdgeRelation::{CanAssume, Holds, MemberOf, PartOf, Trusts};
use crate::element::{JsonElement, PART_CHARS_MAX, edge};
use crate::json::{list_at, text_at};
use crate::text::shortened;
use crate::{Derivation, EntityKind, EntityRef};

use super::common::{listed, method_entity, method_of, mounts, names_at, object, policies};

/// Policies of those who log in by a role.
const POLICIES: &[&str] = &["/token_policies", "/policies"];

/// Pairs of namespaces and names of service accounts that one role lets in.
const SUBJECTS_MAX: usize = 200;

pub(super) fn audit_devices(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let mut devices = 0;
    for (name, device) in mounts(element) {
        let device = &JsonElement::new(element.context, device);
        let log = element.entity(EntityKind::AuditLog, format!("audit/{name}"));
        let mut summary = format!(
            "audit device {} at {name}/",
            device.text("/type").unwrap_or("of no type")
        );
        let options = device.value.get("options").and_then(Value::as_object);
        for (option, value) in options.into_iter().flatten() {
            let value = shortened(value.as_str().unwrap_or_default(), PART_CHARS_MAX);
            summary.push_str(&format!(", {option}={value}"));
        }
        visit(object(log, device.value, summary));
        devices += 1;
    }
    if devices == 0 {
        let log = element.entity(EntityKind::AuditLog, "audit");
        let summary = "no audit device is enabled: Vault records no request".to_owned();
        visit(object(log, element.value, summary));
    }
}

pub(super) fn methods(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    for (name, method) in mounts(element) {
        let method = &JsonElement::new(element.context, method);
        let entity = method_entity(element, name);
        let kind = method.text("/type").unwrap_or("of no type");
        let summary = format!(
            "auth method {kind} at {name}/{}",
            method.words(&["/accessor", "/description"])
        );
        visit(object(entity.clone(), method.value, summary));
        if let Some(account) = element.context.account {
            let vault = EntityRef::new(EntityKind::Account, account);
            visit(edge(vault, Trusts, entity, Some(kind.to_owned())));
        }
    }
}

/// Whom a method trusts: an issuer of tokens, a cluster, a directory, an organization.
pub(super) fn method_settings(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(method) = method_of(element) else {
        return;
    };
    let settings = element.entity(EntityKind::Policy, format!("{}/config", method.id));
    let mut trusted = Vec::new();
    for (pointer, kind) in [
        ("/oidc_discovery_url", EntityKind::IdentityProvider),
        ("/jwks_url", EntityKind::IdentityProvider),
        ("/bound_issuer", EntityKind::IdentityProvider),
        ("/kubernetes_host", EntityKind::Cluster),
        ("/url", EntityKind::IdentityProvider),
        ("/org_name", EntityKind::Organization),
        ("/organization", EntityKind::Organization),
        ("/tenant_id", EntityKind::Organization),
    ] {
        for name in names_at(element.value, &[pointer]) {
            // Records of others name an issuer without its scheme.
            let id = if kind == EntityKind::IdentityProvider {
                name.trim_start_matches("https://")
            } else {
                name
            };
            let entity = EntityRef::new(kind, id.trim_end_matches('/'));
            if !trusted.contains(&entity) {
                trusted.push(entity);
            }
        }
    }
    let names: Vec<&str> = trusted.iter().map(|one| one.id.as_str()).collect();
    let trust = if names.is_empty() {
        "nobody by name"
    } else {
        ""
    };
    let summary = format!("{} trusts {trust}{}", method.id, names.join(", "));
    visit(object(settings, element.value, summary));
    for entity in trusted {
        visit(edge(method.clone(), Trusts, entity, None));
    }
    if let Some(key) = element.text("/access_key") {
        let key = EntityRef::new(EntityKind::Credential, key);
        visit(edge(method, Holds, key, None));
    }
}

/// A role of an auth method: who may log in by it, and with which policies.
pub(super) fn role(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let (Some(method), Some(name)) = (method_of(element), element.id_in_uri("role")) else {
        return;
    };
    let id = format!("{}/role/{name}", method.id);
    let role = element.entity(EntityKind::Role, id).named(Some(&name));
    let subjects = subjects(element.value);
    let mut summary = format!(
        "role {name} of {}{}",
        method.id,
        listed("policies", element.value, POLICIES)
    );
    let mut names: Vec<&str> = subjects.iter().map(|(who, _)| who.id.as_str()).collect();
    names.dedup();
    if !names.is_empty() {
        let names = shortened(&names.join(", "), PART_CHARS_MAX);
        summary.push_str(&format!(", lets in {names}"));
    }
    let networks = ["/token_bound_cidrs", "/secret_id_bound_cidrs"];
    summary += &listed("from", element.value, &networks);
    visit(object(role.clone(), element.value, summary));
    policies(element, &role, POLICIES, visit);
    visit(edge(role.clone(), PartOf, method, None));
    for (who, condition) in subjects {
        visit(edge(who, CanAssume, role.clone(), condition));
    }
}

/// Who may log in by a role, and on which further conditions.
fn subjects(role: &Value) -> Vec<(EntityRef, Option<String>)> {
    let mut subjects = Vec::new();
    let names = names_at(role, &["/bound_service_account_names"]);
    for namespace in names_at(role, &["/bound_service_account_namespaces"]) {
        for name in &names {
            let id = format!("system:serviceaccount:{namespace}:{name}");
            subjects.push((EntityRef::new(EntityKind::Service, id), None));
        }
    }
    for arn in names_at(role, &["/bound_iam_principal_arn"]) {
        let kind = match arn {
            _ if arn.contains(":role/") || arn.contains(":assumed-role/") => EntityKind::Role,
            _ if arn.contains(":user/") => EntityKind::User,
            _ => EntityKind::Account,
        };
        subjects.push((EntityRef::new(kind, arn), None));
    }
    for name in names_at(
        role,
        &["/bound_service_accounts", "/bound_service_principal_ids"],
    ) {
        subjects.push((EntityRef::new(EntityKind::Service, name), None));
    }
    let claims = role.get("bound_claims").filter(|claims| claims.is_object());
    let condition = claims.map(|claims| format!("claims {claims}"));
    let claimed = ["/bound_subject", "/bound_claims/sub"];
    let mut claimed = names_at(role, &claimed);
    // A subject of GitHub or GitLab names the repository.
    claimed.retain(|subject| {
        let repository = repository_of(subject);
        subjects.extend(repository.map(|entity| (entity, Some(format!("subject {subject}")))));
        repository_of(subject).is_none()
    });
    for name in names_at(
        role,
        &["/bound_claims/repository", "/bound_claims/project_path"],
    ) {
        let entity = EntityRef::new(EntityKind::Repository, name);
        subjects.push((entity, condition.clone()));
    }
    for subject in claimed {
        let kind = match subject {
            _ if subject.starts_with("system:serviceaccount:") => EntityKind::Service,
            _ => EntityKind::User,
        };
        subjects.push((EntityRef::new(kind, subject), condition.clone()));
    }
    subjects.truncate(SUBJECTS_MAX);
    subjects
}

/// `acme/shop` of `repo:acme/shop:ref:refs/heads/main` or `project_path:acme/shop:ref_type:…`.
fn repository_of(subject: &str) -> Option<EntityRef> {
    let mut parts = subject.split(':');
    let is_repository = matches!(parts.next(), Some("repo" | "project_path"));
    let name = parts.next().filter(|_| is_repository)?;
    Some(EntityRef::new(EntityKind::Repository, name))
}

/// An identity with its aliases, which are who it is for each auth method.
pub(super) fn identity(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(identity) = element.entity_at(EntityKind::User, "/id") else {
        return;
    };
    let identity = identity.named(element.text("/name"));
    let aliases = list_at(element.value, "/aliases");
    let names: Vec<&str> = aliases.iter().filter_map(|a| text_at(a, "/name")).collect();
    let mut summary = format!(
        "identity {}{}{}",
        identity.label(),
        element.words(&["/disabled"]),
        listed("policies", element.value, &["/policies"])
    );
    if !names.is_empty() {
        summary.push_str(&format!(", is {}", names.join(", ")));
    }
    visit(element.object(
        identity.clone(),
        &["/last_update_time"],
        "/creation_time",
        summary,
    ));
    policies(element, &identity, &["/policies"], visit);
    for alias in aliases {
        let Some(who) = alias_entity(alias) else {
            continue;
        };
        let condition = text_at(alias, "/mount_path").map(|path| format!("by {path}"));
        visit(edge(who, CanAssume, identity.clone(), condition));
    }
}

/// Whom an alias means outside of Vault.
fn alias_entity(alias: &Value) -> Option<EntityRef> {
    let name = text_at(alias, "/name")?;
    let metadata = |name: &str| text_at(alias, &format!("/metadata/{name}"));
    let account = metadata("service_account_namespace").zip(metadata("service_account_name"));
    if let Some((namespace, name)) = account {
        let id = format!("system:serviceaccount:{namespace}:{name}");
        return Some(EntityRef::new(EntityKind::Service, id));
    }
    if let Some(arn) = metadata("canonical_arn") {
        return Some(EntityRef::new(EntityKind::Role, arn));
    }
    let kind = match text_at(alias, "/mount_type") {
        Some("approle" | "cert" | "gcp" | "azure" | "kubernetes" | "aws") => EntityKind::Service,
        _ => EntityKind::User,
    };
    Some(EntityRef::new(kind, name))
}

pub(super) fn group(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(group) = element.entity_at(EntityKind::Group, "/id") else {
        return;
    };
    let group = group.named(element.text("/name"));
    let summary = format!(
        "group {}{}{}",
        group.label(),
        element.words(&["/type"]),
        listed("policies", element.value, &["/policies"])
    );
    visit(element.object(
        group.clone(),
        &["/last_update_time"],
        "/creation_time",
        summary,
    ));
    policies(element, &group, &["/policies"], visit);
    for (pointer, kind) in [
        ("/member_entity_ids", EntityKind::User),
        ("/member_group_ids", EntityKind::Group),
    ] {
        for member in names_at(element.value, &[pointer]) {
            let member = element.entity(kind, member);
            visit(edge(member, MemberOf, group.clone(), None));
        }
    }
}
