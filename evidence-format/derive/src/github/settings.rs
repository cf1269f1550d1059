//! Who may do what, and with which keys: members, apps, keys, hooks, secrets, runners, protection.

use serde_json::Value;

use crate::json::{bool_at, id_at, list_at, text_at};
use crate::text::shortened;
use crate::{Derivation, EdgeRelation, EntityKind, EntityRef};

use super::element::{
    DerivationSink, GitHubElement, account, account_of, conditional_edge, edge,
    organization as organization_entity, repository as repository_entity,
};

/// Longest list of permissions, events or labels in a summary or condition.
const LIST_CHARS_MAX: usize = 300;

pub(super) fn organization(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(login) = element.text("/login") else {
        return;
    };
    let permission = element.text("/default_repository_permission");
    let two_factor = match bool_at(element.value, "/two_factor_requirement_enabled") {
        Some(true) => "required",
        Some(false) => "not required",
        None => "unknown",
    };
    let summary = format!(
        "organization {login}: members have {} on repositories, second factor {two_factor}",
        permission.unwrap_or("unknown rights"),
    );
    // sizes change every day, settings do not
    let volatile = [
        "disk_usage",
        "followers",
        "public_repos",
        "total_private_repos",
        "owned_private_repos",
        "private_gists",
        "public_gists",
        "collaborators",
        "plan",
        "updated_at",
    ];
    let object = element.object_by_content(organization_entity(login), &volatile, summary);
    visit(Derivation::Object(object));
}

pub(super) fn repository(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(name) = element.text("/full_name") else {
        return;
    };
    let repository = repository_entity(name);
    let visibility = element
        .text("/visibility")
        .unwrap_or(if element.flag("/private") {
            "private"
        } else {
            "public"
        });
    let archived = if element.flag("/archived") {
        ", archived"
    } else {
        ""
    };
    let branch = element.text("/default_branch").unwrap_or("unknown");
    let summary = format!("repository {name} ({visibility}{archived}), default branch {branch}");
    // Stars and pushes change these members, nobody's rights.
    let volatile = [
        "updated_at",
        "pushed_at",
        "size",
        "stargazers_count",
        "watchers_count",
        "watchers",
        "forks_count",
        "forks",
        "open_issues_count",
        "open_issues",
        "permissions",
        "subscribers_count",
        "network_count",
        "score",
    ];
    let object = element.object_by_content(repository.clone(), &volatile, summary);
    visit(Derivation::Object(object));
    if let Some(owner) = element.account("/owner") {
        visit(edge(repository, EdgeRelation::PartOf, owner));
    }
}

pub(super) fn member(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    membership(element, "member", visit);
}

pub(super) fn outside_collaborator(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    membership(element, "outside collaborator", visit);
}

fn membership(element: &GitHubElement<'_>, role: &str, visit: &mut DerivationSink<'_>) {
    let (Some(user), Some(login)) = (account_of(element.value), element.organization()) else {
        return;
    };
    let summary = format!("{} is {role} of {login}", user.id);
    let mut object = element.object(user.clone().scoped(Some(login)), summary);
    role.clone_into(&mut object.version);
    visit(Derivation::Object(object));
    let organization = organization_entity(login);
    let (relation, role) = (EdgeRelation::MemberOf, Some(role.to_owned()));
    visit(conditional_edge(user, relation, organization, role));
}

pub(super) fn collaborator(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let (Some(user), Some(repository)) = (account_of(element.value), element.repository()) else {
        return;
    };
    let role = element.text("/role_name").unwrap_or("unknown role");
    let summary = format!("{} has {role} on {}", user.id, repository.id);
    let mut object = element.object(user.clone().scoped(Some(&repository.id)), summary);
    role.clone_into(&mut object.version);
    visit(Derivation::Object(object));
    let (relation, role) = (EdgeRelation::CanAccess, Some(role.to_owned()));
    visit(conditional_edge(user, relation, repository, role));
}

/// An app that an organization installed, and the permissions that it was given.
pub(super) fn installation(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(slug) = element
        .text("/app_slug")
        .map(str::to_owned)
        .or(element.id("/app_id"))
    else {
        return;
    };
    let app = EntityRef::new(EntityKind::Application, slug.as_str());
    let selection = element.text("/repository_selection").unwrap_or("unknown");
    let permissions = permissions_of(element.value.pointer("/permissions"));
    let suspended = match element.text("/suspended_at") {
        Some(at) => format!(", suspended at {at}"),
        None => String::new(),
    };
    let condition = format!("{selection} repositories: {permissions}");
    let summary = format!("app {slug} installed on {condition}{suspended}");
    let owner = element.account("/account").or_else(|| element.owner());
    let scope = owner.as_ref().map(|owner| owner.id.clone());
    let installed = app.clone().scoped(scope.as_deref());
    visit(Derivation::Object(element.object_by_content(
        installed,
        &[],
        summary,
    )));
    if let Some(owner) = owner {
        visit(conditional_edge(
            app,
            EdgeRelation::CanAccess,
            owner,
            Some(condition),
        ));
    }
}

/// A fine-grained personal access token that may access the organization.
pub(super) fn token_grant(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let (Some(id), Some(login)) = (element.id("/token_id"), element.organization()) else {
        return;
    };
    let token = EntityRef::new(EntityKind::Credential, id)
        .named(element.text("/token_name"))
        .scoped(Some(login));
    let owner = element.account("/owner");
    let kinds = ["organization", "repository", "other"];
    let permissions: Vec<String> = kinds
        .iter()
        .filter_map(|kind| element.value.pointer(&format!("/permissions/{kind}")))
        .map(|permissions| permissions_of(Some(permissions)))
        .collect();
    let selection = element.text("/repository_selection").unwrap_or("unknown");
    let condition = format!("{selection} repositories: {}", permissions.join(", "));
    let summary = format!(
        "token {} of {}: {condition}",
        token.label(),
        owner
            .as_ref()
            .map_or("an unknown account", EntityRef::label),
    );
    let object = element.object_by_content(token.clone(), &["token_last_used_at"], summary);
    visit(Derivation::Object(object));
    if let Some(owner) = owner {
        visit(edge(owner, EdgeRelation::Holds, token.clone()));
    }
    let organization = organization_entity(login);
    let (relation, condition) = (EdgeRelation::CanAccess, Some(condition));
    visit(conditional_edge(token, relation, organization, condition));
}

pub(super) fn deploy_key(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let (Some(id), Some(repository)) = (element.id("/id"), element.repository()) else {
        return;
    };
    // The audit log names a key by its fingerprint.
    let fingerprint = element.text("/key").and_then(ssh_fingerprint);
    let key = element
        .scoped(EntityKind::Credential, fingerprint.unwrap_or(id))
        .named(element.text("/title"));
    let right = if element.flag("/read_only") {
        "read"
    } else {
        "write"
    };
    let adder = element.text("/added_by").map(account);
    let added = adder
        .as_ref()
        .map_or_else(String::new, |adder| format!(", added by {}", adder.id));
    let summary = format!(
        "deploy key {} with {right} on {}{added}",
        key.label(),
        repository.id
    );
    let object = element.object_by_content(key.clone(), &["last_used"], summary);
    visit(Derivation::Object(object));
    if let Some(adder) = adder {
        visit(edge(adder, EdgeRelation::Holds, key.clone()));
    }
    let (relation, right) = (EdgeRelation::CanAccess, Some(right.to_owned()));
    visit(conditional_edge(key, relation, repository, right));
}

/// `SHA256:…`, as `ssh-keygen -l` and the audit log show it.
fn ssh_fingerprint(key: &str) -> Option<String> {
    use data_encoding::{BASE64, BASE64_NOPAD};
    let blob = BASE64
        .decode(key.split_ascii_whitespace().nth(1)?.as_bytes())
        .ok()?;
    let digest = evidence_format::digest::Digest::of(&blob);
    Some(format!("SHA256:{}", BASE64_NOPAD.encode(digest.as_bytes())))
}

pub(super) fn hook(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(id) = element.id("/id") else {
        return;
    };
    let hook = element.scoped(EntityKind::Webhook, id.as_str());
    // Some receivers want their secret in the address, of which only the host is named here.
    let host = element.text("/config/url").and_then(host_of);
    let events = shortened(&words(list_at(element.value, "/events")), LIST_CHARS_MAX);
    let active = if element.flag("/active") {
        ""
    } else {
        ", not active"
    };
    let summary = format!(
        "webhook {id} to {} for {events}{active}",
        host.unwrap_or("an unknown host")
    );
    // what it answered last changes with each delivery
    let object = element.object_by_content(hook.clone(), &["last_response"], summary);
    visit(Derivation::Object(object));
    if let Some(owner) = element.owner() {
        let (relation, events) = (EdgeRelation::CanAccess, Some(events));
        visit(conditional_edge(hook.clone(), relation, owner, events));
    }
    if let Some(host) = host {
        let host = EntityRef::new(EntityKind::Domain, host);
        visit(edge(hook, EdgeRelation::CanReach, host));
    }
}

fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    (!host.is_empty()).then_some(host)
}

/// The name of a secret. GitHub never gives its value.
pub(super) fn secret(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    named_setting(element, "secrets", visit);
}

/// The name of a variable. The response has its value, which goes nowhere else.
pub(super) fn variable(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    named_setting(element, "vars", visit);
}

/// `context` is how workflows write it: `secrets.NAME`, `vars.NAME`.
fn named_setting(element: &GitHubElement<'_>, context: &str, visit: &mut DerivationSink<'_>) {
    let (Some(name), Some(owner)) = (element.text("/name"), element.owner()) else {
        return;
    };
    // Each environment has its own, which may be called as those of the repository.
    let owner = match element.address_part("environments") {
        Some(environment) => element.scoped(EntityKind::Environment, environment),
        None => owner,
    };
    let scope = match &owner.scope {
        Some(repository) => format!("{repository}/{}", owner.id),
        None => owner.id.clone(),
    };
    let setting = EntityRef::new(EntityKind::Secret, format!("{context}.{name}"));
    let setting = setting.scoped(Some(&scope));
    let visibility = element.text("/visibility");
    let visible = visibility.map_or_else(String::new, |of| format!(" for {of} repositories"));
    let summary = format!("{context}.{name} of {scope}{visible}");
    visit(Derivation::Object(element.object(setting.clone(), summary)));
    let condition = visibility.map(|of| format!("{of} repositories"));
    visit(conditional_edge(
        owner,
        EdgeRelation::Holds,
        setting,
        condition,
    ));
}

pub(super) fn runner(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let (Some(id), Some(owner)) = (element.id("/id"), element.owner()) else {
        return;
    };
    let runner = element
        .scoped(EntityKind::Runner, id)
        .named(element.text("/name"));
    let labels: Vec<&str> = list_at(element.value, "/labels")
        .iter()
        .filter_map(|label| text_at(label, "/name"))
        .collect();
    let labels = shortened(&labels.join(", "), LIST_CHARS_MAX);
    let system = element.text("/os").unwrap_or("unknown system");
    let summary = format!("self-hosted runner {} ({system}): {labels}", runner.label());
    let object = element.object_by_content(runner.clone(), &["status", "busy"], summary);
    visit(Derivation::Object(object));
    visit(edge(runner, EdgeRelation::PartOf, owner));
}

pub(super) fn branch(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(name) = element.text("/name") else {
        return;
    };
    let branch = element.scoped(EntityKind::Branch, name);
    let protected = if element.flag("/protected") {
        "protected"
    } else {
        "not protected"
    };
    let sha = element.text("/commit/sha").unwrap_or("unknown commit");
    let summary = format!("branch {name} at {sha}, {protected}");
    let mut object = element.object(branch, summary);
    object.version = format!("{sha}, {protected}");
    visit(Derivation::Object(object));
}

/// The protection of the branch that the request names.
pub(super) fn branch_protection(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(name) = element.address_part("branches") else {
        return;
    };
    let branch = element.scoped(EntityKind::Branch, name.as_str());
    let policy = element.scoped(EntityKind::Policy, format!("branch/{name}"));
    let reviews = "/required_pull_request_reviews";
    let count = element.id(&format!("{reviews}/required_approving_review_count"));
    let mut rules = vec![match count {
        Some(count) => format!("{count} reviews"),
        None => "no reviews".to_owned(),
    }];
    for (pointer, rule) in [
        ("/allow_force_pushes/enabled", "force pushes allowed"),
        ("/allow_deletions/enabled", "deletion allowed"),
        ("/enforce_admins/enabled", "also for administrators"),
        ("/required_signatures/enabled", "signed commits"),
        ("/lock_branch/enabled", "locked"),
    ] {
        if element.flag(pointer) {
            rules.push(rule.to_owned());
        }
    }
    let summary = format!("protection of branch {name}: {}", rules.join(", "));
    let object = element.object_by_content(policy.clone(), &[], summary);
    visit(Derivation::Object(object));
    visit(edge(policy, EdgeRelation::PartOf, branch.clone()));
    for (pointer, right) in [
        ("/restrictions".to_owned(), "pushes"),
        (
            format!("{reviews}/bypass_pull_request_allowances"),
            "bypasses review",
        ),
    ] {
        for who in accounts_at(element, &pointer) {
            let (relation, right) = (EdgeRelation::CanAccess, Some(right.to_owned()));
            visit(conditional_edge(who, relation, branch.clone(), right));
        }
    }
}

/// Users, teams and apps of an allowance.
fn accounts_at(element: &GitHubElement<'_>, pointer: &str) -> Vec<EntityRef> {
    let list = |name: &str| list_at(element.value, &format!("{pointer}/{name}"));
    let users = list("users").iter().filter_map(account_of);
    let teams = list("teams").iter().filter_map(|team| {
        let group = EntityRef::new(EntityKind::Group, text_at(team, "/slug")?);
        Some(group.scoped(element.organization()))
    });
    let apps = list("apps").iter().filter_map(|app| {
        Some(EntityRef::new(
            EntityKind::Application,
            text_at(app, "/slug")?,
        ))
    });
    users.chain(teams).chain(apps).collect()
}

pub(super) fn ruleset(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(id) = element.id("/id") else {
        return;
    };
    // Lists of a repository contain the rulesets of its organization; the source tells whose it is.
    let source = element.text("/source").or(element.scope());
    let name = element.text("/name");
    let ruleset = EntityRef::new(EntityKind::Policy, format!("ruleset/{id}"))
        .named(name)
        .scoped(source);
    let enforcement = element.text("/enforcement").unwrap_or("unknown");
    let target = element.text("/target").unwrap_or("branch");
    let summary = format!("{target} ruleset {}: {enforcement}", name.unwrap_or(&id));
    let object = element.object_by_content(ruleset.clone(), &["current_user_can_bypass"], summary);
    visit(Derivation::Object(object));
    if let Some(owner) = element.owner() {
        visit(edge(ruleset, EdgeRelation::PartOf, owner));
    }
}

/// `actions:write, contents:read`, in the order of names.
fn permissions_of(permissions: Option<&Value>) -> String {
    let list: Vec<String> = permissions
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, right)| Some(format!("{name}:{}", id_at(right, "")?)))
        .collect();
    let list = if list.is_empty() {
        "no permissions".to_owned()
    } else {
        list.join(", ")
    };
    shortened(&list, LIST_CHARS_MAX)
}

fn words(list: &[Value]) -> String {
    let list: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    list.join(", ")
}
