//! Sign-in events (`EventRepresentation`) and admin events (`AdminEventRepresentation`).

use crate::element::{JsonElement, activity_of, note_missing_time, summary_of};
use crate::{ActivityCategory, ActivityEvent, ActivityOutcome, EntityKind, EntityRef, ocsf};

/// Types of sign-in events that change an account, and not only use it, without `_ERROR`. A name
/// stands for all that begin with it.
const ACCOUNT_TYPES: [&str; 14] = [
    "REGISTER",
    "UPDATE_",
    "REMOVE_",
    "RESET_PASSWORD",
    "VERIFY_EMAIL",
    "FEDERATED_IDENTITY_LINK",
    "IDENTITY_PROVIDER_LINK_ACCOUNT",
    "GRANT_CONSENT",
    "REVOKE_GRANT",
    "DELETE_ACCOUNT",
    "CLIENT_REGISTER",
    "CLIENT_UPDATE",
    "CLIENT_DELETE",
    "IMPERSONATE",
];
const FINDING_TYPES: [&str; 2] = ["USER_DISABLED_BY_", "IDENTITY_PROVIDER_RESPONSE_ERROR"];

pub(super) fn sign_in_event(element: &JsonElement<'_>) -> ActivityEvent {
    let Some(event_type) = element.text("/type") else {
        let mut event = ActivityEvent::unreadable(element.context, "has no type");
        element.set_time(&mut event, &["/time"]);
        return event;
    };
    let begins = |types: &[&str]| types.iter().any(|known| event_type.starts_with(known));
    let category = if begins(&FINDING_TYPES) {
        ActivityCategory::Finding
    } else if begins(&ACCOUNT_TYPES) {
        ActivityCategory::Access
    } else {
        ActivityCategory::Authentication
    };
    let mut event = element.event(&["/time"], category, event_type);
    (event.class, event.activity) = if category == ActivityCategory::Finding {
        (ocsf::DETECTION_FINDING, 1)
    } else if category == ActivityCategory::Access {
        (ocsf::ACCOUNT_CHANGE, account_activity(event_type))
    } else {
        let activity = if event_type.starts_with("LOGOUT") {
            2
        } else {
            1
        };
        (ocsf::AUTHENTICATION, activity)
    };
    let error = element.text("/error");
    event.outcome = if error.is_some() || event_type.ends_with("_ERROR") {
        ActivityOutcome::Failure
    } else {
        ActivityOutcome::Success
    };
    event.reason = error.map(str::to_owned);
    let name = element.first(&["/details/username", "/details/email"]);
    let user = element.entity_at(EntityKind::User, "/userId");
    let typed = name.map(|name| element.entity(EntityKind::User, name));
    event.actor = user.map(|user| user.named(name)).or(typed);
    if let Some(impersonator) = element.text("/details/impersonator") {
        let impersonated = event.actor.take();
        event.actor = Some(element.entity(EntityKind::User, impersonator));
        event.targets.extend(impersonated);
    }
    event
        .targets
        .extend(element.entity_at(EntityKind::Application, "/clientId"));
    event.through = element
        .entity_at(EntityKind::IdentityProvider, "/details/identity_provider")
        .into_iter()
        .collect();
    event.credential = element.entity_at(EntityKind::Session, "/sessionId");
    event.transaction = element.id("/details/code_id");
    describe(&mut event, element, "/ipAddress");
    event.summary = summary_of(&event, event_type);
    note_missing_time(&mut event, &["/time"], element.value);
    event
}

fn account_activity(event_type: &str) -> u8 {
    match event_type.trim_end_matches("_ERROR") {
        "REGISTER" => 1,
        "UPDATE_PASSWORD" => 3,
        "RESET_PASSWORD" => 4,
        "DELETE_ACCOUNT" => 6,
        "UPDATE_TOTP" | "UPDATE_CREDENTIAL" => 10,
        "REMOVE_TOTP" | "REMOVE_CREDENTIAL" => 11,
        _ => ocsf::OTHER,
    }
}

/// Types of resources that are rights, credentials or trust.
const ACCESS_RESOURCES: [&str; 13] = [
    "ROLE",
    "MAPPING",
    "MEMBERSHIP",
    "IDENTITY_PROVIDER",
    "AUTH",
    "CREDENTIAL",
    "CLIENT_INITIAL_ACCESS",
    "CLIENT_SCOPE",
    "COMPONENT",
    "REQUIRED_ACTION",
    "PERMISSION",
    "USER_FEDERATION",
    "USER_LOGIN_FAILURE",
];

pub(super) fn admin_event(element: &JsonElement<'_>) -> ActivityEvent {
    let (operation, resource) = (
        element.text("/operationType"),
        element.text("/resourceType"),
    );
    let Some(operation) = operation else {
        let mut event = ActivityEvent::unreadable(element.context, "has no operationType");
        element.set_time(&mut event, &["/time"]);
        return event;
    };
    let resource = resource.unwrap_or("RESOURCE");
    let path = element.text("/resourcePath").unwrap_or_default();
    let is_access = ACCESS_RESOURCES
        .iter()
        .any(|known| resource.contains(known))
        || [
            "reset-password",
            "impersonation",
            "client-secret",
            "role-mappings",
            "disable-credential",
        ]
        .iter()
        .any(|known| path.contains(known));
    let category = if is_access {
        ActivityCategory::Access
    } else {
        ActivityCategory::Change
    };
    let mut event = element.event(&["/time"], category, &format!("{resource}/{operation}"));
    (event.class, event.activity) = match resource {
        "USER" => {
            let activity = match operation {
                "CREATE" => 1,
                "DELETE" => 6,
                _ if path.ends_with("reset-password") => 4,
                _ => ocsf::OTHER,
            };
            (ocsf::ACCOUNT_CHANGE, activity)
        }
        _ if resource.ends_with("ROLE_MAPPING") => {
            let activity = if operation == "DELETE" { 2 } else { 1 };
            (ocsf::USER_ACCESS_MANAGEMENT, activity)
        }
        "GROUP_MEMBERSHIP" => {
            let activity = if operation == "DELETE" { 4 } else { 3 };
            (ocsf::GROUP_MANAGEMENT, activity)
        }
        _ => (ocsf::ENTITY_MANAGEMENT, activity_of(operation)),
    };
    event.outcome = match element.text("/error") {
        Some(_) => ActivityOutcome::Failure,
        None => ActivityOutcome::Success,
    };
    event.reason = element.text("/error").map(str::to_owned);
    let actor = element.entity_at(EntityKind::User, "/authDetails/userId");
    event.actor = actor.map(|actor| actor.named(element.text("/authDetails/username")));
    event.through = element
        .entity_at(EntityKind::Application, "/authDetails/clientId")
        .into_iter()
        .collect();
    event.targets = targets_in(element, path);
    describe(&mut event, element, "/authDetails/ipAddress");
    event.summary = summary_of(&event, &format!("{operation} {resource} {path}"));
    note_missing_time(&mut event, &["/time"], element.value);
    event
}

/// The objects that a path names: `users/9f2c/role-mappings/realm`.
fn targets_in(element: &JsonElement<'_>, path: &str) -> Vec<EntityRef> {
    let mut targets = Vec::new();
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let kind = match segment {
            "users" | "members" => EntityKind::User,
            "groups" => EntityKind::Group,
            "clients" => EntityKind::Application,
            "roles" | "roles-by-id" => EntityKind::Role,
            "instances" => EntityKind::IdentityProvider,
            "client-scopes" | "components" | "executions" | "flows" => EntityKind::Policy,
            "sessions" => EntityKind::Session,
            "credentials" => EntityKind::Credential,
            _ => continue,
        };
        if let Some(id) = segments.next_if(|id| !id.is_empty()) {
            targets.push(element.entity(kind, id));
        }
    }
    if targets.is_empty() && !path.is_empty() {
        targets.push(element.entity(EntityKind::Other, path));
    }
    targets
}

fn describe(event: &mut ActivityEvent, element: &JsonElement<'_>, address: &str) {
    event.address = element.text(address).map(str::to_owned);
    // Events of before version 26 have no id. Pages overlap, so the same event must have the same.
    event.event_id = element.id("/id").or_else(|| Some(element.digest()));
}
