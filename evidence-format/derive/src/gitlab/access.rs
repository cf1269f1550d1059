//! Who may do what in a project or group, and with which keys: members, tokens, hooks, variables,
//! runners, protection.

use serde_json::Value;

use super::element::{GitLabElement, conditional_edge, edge};
use crate::EdgeRelation::{CanAccess, Holds, MemberOf, PartOf, Trusts};
use crate::json::text_at;
use crate::{Derivation, EntityKind, EntityRef};

/// What levels of access are called.
/// <https://docs.gitlab.com/api/access_requests/#valid-access-levels>
fn role(level: Option<&str>) -> &'static str {
    match level {
        Some("0") => "nobody",
        Some("5") => "minimal",
        Some("10") => "guest",
        Some("15") => "planner",
        Some("20") => "reporter",
        Some("30") => "developer",
        Some("40") => "maintainer",
        Some("50") => "owner",
        Some("60") => "admin",
        Some(_) | None => "unknown role",
    }
}

/// The project or group that the request was about.
fn owner(element: &GitLabElement<'_>) -> Option<EntityRef> {
    let project = element.id_in_uri("projects");
    let project = project.map(|id| element.entity(EntityKind::Repository, id));
    project.or_else(|| Some(element.entity(EntityKind::Group, element.id_in_uri("groups")?)))
}

pub(super) fn member(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let (Some(user), Some(owner)) = (element.user(""), owner(element)) else {
        return;
    };
    let role = role(element.id("/access_level").as_deref());
    let mut condition = role.to_owned();
    if let Some(until) = element.text("/expires_at") {
        condition.push_str(&format!(" until {until}"));
    }
    let summary = format!("{} is {condition} of {}", user.label(), owner.id);
    let member = user.clone().scoped(Some(&owner.id));
    visit(element.object_of(member, &condition, summary));
    let relation = if owner.kind == EntityKind::Group {
        MemberOf
    } else {
        CanAccess
    };
    visit(conditional_edge(user, relation, owner, condition));
}

/// A public key. Hosts log its fingerprint, too.
pub(super) fn deploy_key(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(id) = element.id("/id") else { return };
    let fingerprint = element.text("/fingerprint_sha256").map(str::to_owned);
    let key = match fingerprint {
        Some(fingerprint) => EntityRef::new(EntityKind::Credential, fingerprint),
        None => element.entity(EntityKind::Credential, format!("deploy key {id}")),
    };
    let key = key.named(element.text("/title"));
    let rights = if element.is_true("/can_push") {
        "write"
    } else {
        "read"
    };
    let summary = format!("deploy key {}, {rights}", key.label());
    visit(element.object(key.clone(), summary));
    if let Some(project) = owner(element) {
        visit(edge(project.clone(), Trusts, key.clone()));
        visit(conditional_edge(key, CanAccess, project, rights.to_owned()));
    }
}

pub(super) fn deploy_token(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    token(element, "deploy token", visit);
}

pub(super) fn access_token(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    token(element, "access token", visit);
}

pub(super) fn trigger(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    token(element, "trigger token", visit);
}

fn token(element: &GitLabElement<'_>, what: &str, visit: &mut dyn FnMut(Derivation)) {
    let Some(id) = element.id("/id") else { return };
    let token = element.entity(EntityKind::Credential, format!("{what} {id}"));
    let name = element.text("/name").or(element.text("/description"));
    let token = token.named(name);
    let mut rights: Vec<&str> = element.texts("/scopes");
    if element.has("/access_level") {
        rights.push(role(element.id("/access_level").as_deref()));
    }
    let rights = rights.join(", ");
    let mut summary = format!("{what} {}", token.label());
    if !rights.is_empty() {
        summary.extend([", ", &rights]);
    }
    if let Some(until) = element.text("/expires_at") {
        summary.extend([", expires ", until]);
    }
    if element.is_true("/revoked") {
        summary.push_str(", revoked");
    }
    // When it was last used differs in every answer.
    visit(element.object_of(token.clone(), &summary, summary.clone()));
    if let Some(owner) = owner(element) {
        visit(edge(owner.clone(), Trusts, token.clone()));
        visit(conditional_edge(token.clone(), CanAccess, owner, rights));
    }
    let user = element.id("/user_id").or_else(|| element.id("/owner/id"));
    if let Some(user) = user {
        visit(edge(element.entity(EntityKind::User, user), Holds, token));
    }
}

/// The name of a variable; its value is not in the evidence.
pub(super) fn variable(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let (Some(key), Some(owner)) = (element.text("/key"), owner(element)) else {
        return;
    };
    let environment = element.text("/environment_scope").unwrap_or("*");
    let id = format!("{}/{key}/{environment}", owner.id);
    let variable = element.entity(EntityKind::Secret, id).named(Some(key));
    let mut summary = format!("variable {key} for environment {environment}");
    for flag in ["protected", "masked", "hidden"] {
        if element.is_true(&format!("/{flag}")) {
            summary.extend([", ", flag]);
        }
    }
    visit(element.object(variable.clone(), summary));
    visit(edge(owner, Holds, variable));
}

pub(super) fn hook(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let (Some(id), Some(owner)) = (element.id("/id"), owner(element)) else {
        return;
    };
    let hook = element.entity(EntityKind::Webhook, id);
    let url = element.text("/url").unwrap_or("an unknown address");
    let verified = match element.is_true("/enable_ssl_verification") {
        true => "",
        false => ", whose certificate is not checked",
    };
    let summary = format!("hook to {url}{verified}");
    visit(element.object(hook.clone(), summary));
    visit(edge(hook, PartOf, owner));
}

/// Whether it is online changes by itself, so that it is not a part of its version.
pub(super) fn runner(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(id) = element.id("/id") else { return };
    let runner = element.entity(EntityKind::Runner, id);
    let runner = runner.named(element.text("/description"));
    let kind = element.text("/runner_type").unwrap_or("of unknown type");
    let mut summary = format!("runner {}, {kind}", runner.label());
    if element.is_true("/paused") {
        summary.push_str(", paused");
    }
    let version = summary.clone();
    if let Some(address) = element.text("/ip_address") {
        summary.extend([", at ", address]);
    }
    visit(element.object_of(runner.clone(), &version, summary));
    if let Some(owner) = owner(element) {
        visit(edge(owner, Trusts, runner));
    }
}

pub(super) fn protected_branch(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let levels = [
        ("push", "/push_access_levels"),
        ("merge", "/merge_access_levels"),
        ("unprotect", "/unprotect_access_levels"),
    ];
    protection(element, "branch", &levels, visit);
}

pub(super) fn protected_environment(
    element: &GitLabElement<'_>,
    visit: &mut dyn FnMut(Derivation),
) {
    let levels = [("deploy", "/deploy_access_levels")];
    protection(element, "environment", &levels, visit);
}

fn protection(
    element: &GitLabElement<'_>,
    what: &str,
    levels: &[(&str, &str)],
    visit: &mut dyn FnMut(Derivation),
) {
    let (Some(name), Some(owner)) = (element.text("/name"), owner(element)) else {
        return;
    };
    let id = format!("{}/{what}/{name}", owner.id);
    let policy = element.entity(EntityKind::Policy, id);
    let mut summary = format!("protection of {what} {name}");
    for (right, pointer) in levels {
        let who: Vec<String> = element.list(pointer).iter().filter_map(allowed).collect();
        if !who.is_empty() {
            summary.push_str(&format!(", {right}: {}", who.join(", ")));
        }
    }
    if element.is_true("/allow_force_push") {
        summary.push_str(", force push allowed");
    }
    let policy = policy.named(Some(name));
    visit(element.object(policy.clone(), summary));
    visit(edge(policy, PartOf, owner));
}

/// Whom one entry of a list of levels lets in.
fn allowed(level: &Value) -> Option<String> {
    let id = |name: &str| level.get(name).filter(|id| id.is_u64());
    for (name, who) in [
        ("user_id", "user"),
        ("group_id", "group"),
        ("deploy_key_id", "deploy key"),
    ] {
        if let Some(id) = id(name) {
            return Some(format!("{who} {id}"));
        }
    }
    let text = text_at(level, "/access_level_description").map(str::to_lowercase);
    let number = id("access_level").map(ToString::to_string);
    text.or_else(|| number.map(|number| role(Some(&number)).to_owned()))
}

/// What runs at times.
pub(super) fn schedule(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let (Some(id), Some(owner)) = (element.id("/id"), owner(element)) else {
        return;
    };
    let schedule = element.entity(EntityKind::Workflow, format!("schedule {id}"));
    let schedule = schedule.named(element.text("/description"));
    let mut summary = format!("schedule {}", schedule.label());
    for pointer in ["/cron", "/cron_timezone", "/ref"] {
        if let Some(text) = element.text(pointer) {
            summary.extend([", ", text]);
        }
    }
    if !element.is_true("/active") {
        summary.push_str(", not active");
    }
    if let Some(who) = element.user("/owner") {
        summary.extend([", as ", who.label()]);
    }
    // When it runs next changes with each run.
    visit(element.object_of(schedule.clone(), &summary, summary.clone()));
    visit(edge(schedule, PartOf, owner));
}
