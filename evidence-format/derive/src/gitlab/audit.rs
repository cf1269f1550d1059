//! Audit events of the instance, a group, or a project. They all have the same form.
//! <https://docs.gitlab.com/api/audit_events/>

use super::element::GitLabElement;
use crate::text::shortened;
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, EntityKind, EntityRef, ocsf,
};

/// Longest message or value in a summary.
const PART_CHARS_MAX: usize = 120;

/// Words of a message that make an action, where nothing else does.
const ACTION_WORDS_MAX: usize = 4;

/// Members of `details` that say what was done, where there is no `event_type`: their name is the
/// verb, and their value the thing.
const VERBS: [&str; 5] = ["add", "remove", "change", "failed_login", "with"];

/// Words of an action that make it a matter of rights and credentials.
const ACCESS_WORDS: [&str; 30] = [
    "2fa",
    "access",
    "admin",
    "allowlist",
    "approval",
    "approver",
    "credential",
    "deploy_key",
    "email",
    "federation",
    "gpg",
    "impersonat",
    "invite",
    "key",
    "ldap",
    "member",
    "oauth",
    "password",
    "permission",
    "protected",
    "role",
    "saml",
    "scim",
    "secret",
    "share",
    "ssh",
    "sso",
    "token",
    "two_factor",
    "visibility",
];
const AUTHENTICATION_WORDS: [&str; 6] = [
    "authenticated",
    "authentication",
    "failed_login",
    "login",
    "sign_in",
    "with.",
];
const READ_WORDS: [&str; 5] = ["clone", "download", "export", "git_operation", "viewed"];

pub(super) fn audit_event(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(action) = action_of(element) else {
        // Who, when and where may be readable, and are better than nothing.
        let mut event = element.unreadable_event("does not say what was done");
        describe(&mut event, element);
        return visit(Derivation::Event(Box::new(event)));
    };
    let category = category_of(&action);
    let mut event = element.event(&["/created_at"], category, &action);
    (event.class, event.activity) = class_of(category, &action);
    event.outcome = if action.starts_with("failed_login") || action.contains("_failed") {
        ActivityOutcome::Failure
    } else {
        ActivityOutcome::Success // what is refused is not in the audit log
    };
    describe(&mut event, element);
    event.summary = summary_of(element, &event);
    visit(Derivation::Event(Box::new(event)));
}

/// Sets what the record says beside what was done.
fn describe(event: &mut ActivityEvent, element: &GitLabElement<'_>) {
    event.actor = author(element);
    event.targets = targets(element);
    let address = element.text("/ip_address");
    let address = address.or(element.text("/details/ip_address"));
    event.address = address.map(str::to_owned);
    event.event_id = element.id("/id");
}

/// GitLab's name for what was done; events of before version 15 have none and say it in words.
fn action_of(element: &GitLabElement<'_>) -> Option<String> {
    if let Some(event_type) = element
        .text("/event_type")
        .or(element.text("/details/event_type"))
        .or(element.text("/details/event_name"))
    {
        return Some(event_type.to_owned());
    }
    let said = VERBS.iter().find_map(|verb| {
        let thing = element.id(&format!("/details/{verb}"))?;
        Some(format!("{verb}.{}", thing.to_lowercase().replace(' ', "_")))
    });
    said.or_else(|| {
        let message = element.text("/details/custom_message")?.to_lowercase();
        let words: Vec<&str> = message.split_whitespace().take(ACTION_WORDS_MAX).collect();
        Some(words.join("_"))
    })
}

fn category_of(action: &str) -> ActivityCategory {
    let has = |words: &[&str]| words.iter().any(|word| action.contains(word));
    // `authentication` is also part of the names of settings: `two_factor_authentication`.
    if has(&AUTHENTICATION_WORDS) && !has(&["two_factor", "update", "change.", "setting"]) {
        ActivityCategory::Authentication
    } else if has(&["deployment"]) && !has(&["approval", "setting", "protected"]) {
        ActivityCategory::Deployment
    } else if has(&ACCESS_WORDS) {
        ActivityCategory::Access
    } else if has(&READ_WORDS) {
        ActivityCategory::Read
    } else {
        ActivityCategory::Change
    }
}

fn class_of(category: ActivityCategory, action: &str) -> (u16, u8) {
    let has = |words: &[&str]| words.iter().any(|word| action.contains(word));
    let removes = has(&["remove", "delete", "destroy", "revoke"]);
    let adds = has(&["add", "create", "grant"]);
    match category {
        ActivityCategory::Authentication => (ocsf::AUTHENTICATION, 1),
        ActivityCategory::Read => (ocsf::ENTITY_MANAGEMENT, ocsf::READ),
        ActivityCategory::Access if has(&["member", "user_access", "role", "share"]) => {
            let activity = if removes { 2 } else { 1 };
            (ocsf::USER_ACCESS_MANAGEMENT, activity)
        }
        ActivityCategory::Access
        | ActivityCategory::Change
        | ActivityCategory::Deployment
        | ActivityCategory::Execution
        | ActivityCategory::Finding
        | ActivityCategory::Other => {
            let activity = if removes {
                ocsf::DELETE
            } else if adds {
                ocsf::CREATE
            } else {
                ocsf::UPDATE
            };
            (ocsf::ENTITY_MANAGEMENT, activity)
        }
    }
}

/// Who did it. Numbers below zero are no users but deploy tokens, runners, or nobody who is known.
fn author(element: &GitLabElement<'_>) -> Option<EntityRef> {
    let id = element.id("/author_id")?;
    let name = element
        .text("/author_name")
        .or(element.text("/details/author_name"));
    let class = element.text("/details/author_class").unwrap_or("User");
    let kind = if class.contains("Token") || class.contains("DeployKey") {
        EntityKind::Credential
    } else if class == "User" && !id.starts_with('-') {
        EntityKind::User
    } else {
        EntityKind::Service
    };
    Some(element.entity(kind, id).named(name))
}

/// What was acted on, and where: the group, project or user that the event belongs to.
fn targets(element: &GitLabElement<'_>) -> Vec<EntityRef> {
    let target = entity_at(element, ["target_id", "target_type", "target_details"]);
    let place = entity_at(element, ["entity_id", "entity_type", "entity_path"]);
    match (target, place) {
        // A project is its own place. As a target it may have its path for its id.
        (Some(target), Some(place))
            if target.kind == place.kind && target.label() == place.label() =>
        {
            vec![place]
        }
        // What has no type is a name for the place: the login of an attempt that failed.
        (Some(target), Some(place)) if target.kind == EntityKind::Other && place.name.is_none() => {
            vec![place.named(Some(target.label()))]
        }
        (target, place) => target.into_iter().chain(place).collect(),
    }
}

/// The entity with these members, which stand at the top or in `details`.
fn entity_at(element: &GitLabElement<'_>, [id, kind, name]: [&str; 3]) -> Option<EntityRef> {
    let text = |member: &str| {
        let top = element.text(&format!("/{member}"));
        top.or_else(|| element.text(&format!("/details/{member}")))
    };
    let number = element.id(&format!("/{id}"));
    let number = number.or_else(|| element.id(&format!("/details/{id}")));
    let name = text(name).filter(|name| *name != "unknown");
    let kind = text(kind).map_or(EntityKind::Other, kind_of);
    let id = number.or(name.map(str::to_owned))?;
    Some(element.entity(kind, id).named(name))
}

/// What a Rails class of GitLab means: `User`, `Project`, `Ci::Runner`.
fn kind_of(class: &str) -> EntityKind {
    match class {
        "User" => EntityKind::User,
        "Group" | "Namespace" => EntityKind::Group,
        "Project" => EntityKind::Repository,
        "ProtectedBranch" | "Branch" => EntityKind::Branch,
        "Key" | "GpgKey" | "DeployKey" | "DeployToken" | "PersonalAccessToken" => {
            EntityKind::Credential
        }
        "Ci::Variable" | "Ci::GroupVariable" | "Ci::InstanceVariable" => EntityKind::Secret,
        "Ci::Pipeline" | "Ci::Build" => EntityKind::WorkflowRun,
        "Ci::Runner" => EntityKind::Runner,
        "Environment" | "ProtectedEnvironment" => EntityKind::Environment,
        "Deployment" => EntityKind::Deployment,
        "ProjectHook" | "GroupHook" | "SystemHook" => EntityKind::Webhook,
        "Release" | "Packages::Package" | "ContainerRepository" => EntityKind::Artifact,
        "MemberRole" => EntityKind::Role,
        "Gitlab::Audit::InstanceScope" => EntityKind::Organization,
        other if other.starts_with("AuditEvents::") => EntityKind::AuditLog,
        _ => EntityKind::Other,
    }
}

/// `change.email_address from a@… to b@… on Andreas by Andreas`, or GitLab's own message.
fn summary_of(element: &GitLabElement<'_>, event: &ActivityEvent) -> String {
    let message = element
        .text("/details/custom_message")
        .unwrap_or(&event.action);
    let mut summary = shortened(message, PART_CHARS_MAX);
    for (member, before) in [("from", " from "), ("to", " to "), ("as", " as ")] {
        if let Some(text) = element.id(&format!("/details/{member}")) {
            summary.extend([before, &shortened(&text, PART_CHARS_MAX)]);
        }
    }
    for (target, before) in event.targets.iter().zip([" on ", " in "]) {
        summary.extend([before, &shortened(target.label(), PART_CHARS_MAX)]);
    }
    if let Some(author) = &event.actor {
        summary.extend([" by ", &shortened(author.label(), PART_CHARS_MAX)]);
    }
    if event.time_text.is_empty() {
        summary.push_str("; its time cannot be read, so it stands at the time of capture");
    }
    summary
}
