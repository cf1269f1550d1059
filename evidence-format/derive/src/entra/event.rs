//! What Entra's logs say.

use serde_json::Value;

use crate::element::{JsonElement, PART_CHARS_MAX, activity_of, note_missing_time, summary_of};
use crate::json::{list_at, text_at};
use crate::text::shortened;
use crate::{ActivityCategory, ActivityEvent, ActivityOutcome, EntityKind, EntityRef, ocsf};

const CREATED: &[&str] = &["/createdDateTime"];
const ACTIVITY: &[&str] = &["/activityDateTime"];
const DETECTED: &[&str] = &["/detectedDateTime", "/activityDateTime"];

/// Error codes of sign-ins after which more was asked for: a second factor, a consent, a choice.
/// <https://learn.microsoft.com/en-us/entra/identity-platform/reference-error-codes>
const CHALLENGES: [u64; 9] = [
    16000, 50058, 50072, 50074, 50076, 50079, 50125, 50140, 65001,
];

/// A sign-in of any of the four kinds.
pub(super) fn sign_in(element: &JsonElement<'_>) -> ActivityEvent {
    let kind = list_at(element.value, "/signInEventTypes").first();
    let kind = kind.and_then(Value::as_str).unwrap_or("interactiveUser");
    let mut event = element.event(
        CREATED,
        ActivityCategory::Authentication,
        &format!("signIn/{kind}"),
    );
    (event.class, event.activity) = (ocsf::AUTHENTICATION, 1);
    let code = element
        .value
        .pointer("/status/errorCode")
        .and_then(Value::as_u64);
    event.outcome = match code {
        Some(0) => ActivityOutcome::Success,
        Some(code) if CHALLENGES.contains(&code) => ActivityOutcome::Challenge,
        Some(_) => ActivityOutcome::Failure,
        None => ActivityOutcome::Unknown,
    };
    let why = element.first(&["/status/failureReason", "/status/additionalDetails"]);
    event.reason = match (code, why) {
        (None | Some(0), _) => None,
        (Some(code), Some(why)) => Some(format!("{code}: {}", shortened(why, PART_CHARS_MAX))),
        (Some(code), None) => Some(code.to_string()),
    };
    let user = element.entity_at(EntityKind::User, "/userId");
    let user = user.map(|user| user.named(element.text("/userPrincipalName")));
    let application = element.entity_at(EntityKind::Application, "/appId");
    let application = application.map(|app| app.named(element.text("/appDisplayName")));
    let principal = element.entity_at(EntityKind::Service, "/servicePrincipalId");
    let principal = principal.map(|app| app.named(element.text("/servicePrincipalName")));
    event.actor = match kind {
        "servicePrincipal" | "managedIdentity" => {
            principal.or(user).or_else(|| application.clone())
        }
        _ => user.or(principal),
    };
    event.through = application.into_iter().collect();
    let resource = element.entity_at(EntityKind::Application, "/resourceId");
    let resource = resource.map(|to| to.named(element.text("/resourceDisplayName")));
    event.targets = resource.into_iter().collect();
    let credential = [
        (EntityKind::Credential, "/servicePrincipalCredentialKeyId"),
        (EntityKind::Session, "/sessionId"),
    ];
    let credential = credential
        .iter()
        .find_map(|(kind, at)| element.entity_at(*kind, at));
    event.credential = credential.filter(|credential| !credential.id.is_empty());
    event.address = element.text("/ipAddress").map(str::to_owned);
    event.user_agent = element.text("/userAgent").map(str::to_owned);
    event.event_id = element.id("/id");
    event.transaction = element.id("/correlationId");
    let with = element.text("/appDisplayName").unwrap_or("an application");
    let mut what = format!("sign-in ({kind}) with {}", shortened(with, PART_CHARS_MAX));
    if let Some(protocol) = element
        .text("/authenticationProtocol")
        .filter(|p| *p != "none")
    {
        what.extend([", ", protocol]);
    }
    event.summary = summary_of(&event, &what);
    note_missing_time(&mut event, CREATED, element.value);
    event
}

/// Words of an activity that make it a matter of rights and credentials, beside its category.
const ACCESS_WORDS: [&str; 22] = [
    "access",
    "administrator",
    "app role",
    "authentication",
    "certificate",
    "consent",
    "credential",
    "delegated permission",
    "domain",
    "federat",
    "grant",
    "member",
    "owner",
    "password",
    "permission",
    "policy",
    "registered security info",
    "role",
    "secret",
    "strong",
    "token",
    "trust",
];
const ACCESS_CATEGORIES: [&str; 6] = [
    "Authentication",
    "Authorization",
    "GroupManagement",
    "KeyManagement",
    "Policy",
    "RoleManagement",
];

pub(super) fn directory_audit(element: &JsonElement<'_>) -> ActivityEvent {
    let Some(activity) = element.text("/activityDisplayName") else {
        let mut event = ActivityEvent::unreadable(element.context, "has no activityDisplayName");
        element.set_time(&mut event, ACTIVITY);
        describe_audit(&mut event, element);
        return event;
    };
    let lower = activity.to_lowercase();
    let kind = element.text("/category").unwrap_or_default();
    let is_access =
        ACCESS_CATEGORIES.contains(&kind) || ACCESS_WORDS.iter().any(|word| lower.contains(word));
    let category = if is_access {
        ActivityCategory::Access
    } else {
        ActivityCategory::Change
    };
    let mut event = element.event(ACTIVITY, category, activity);
    (event.class, event.activity) = audit_class(&lower, kind);
    describe_audit(&mut event, element);
    let mut what = activity.to_owned();
    for change in changes(element).iter().take(2) {
        what.extend([" (", change, ")"]);
    }
    event.summary = summary_of(&event, &what);
    note_missing_time(&mut event, ACTIVITY, element.value);
    event
}

fn audit_class(activity: &str, category: &str) -> (u16, u8) {
    let removes = ["remove", "delete", "revoke"]
        .iter()
        .any(|word| activity.contains(word));
    if activity.contains("member to role")
        || activity.contains("member from role")
        || activity.contains("app role assignment")
        || activity.contains("permission grant")
        || activity.contains("consent")
    {
        (ocsf::USER_ACCESS_MANAGEMENT, if removes { 2 } else { 1 })
    } else if category == "GroupManagement" {
        let activity = match (activity.contains("member"), removes) {
            (true, false) => 3,
            (true, true) => 4,
            (false, true) => 5,
            (false, false) if activity.starts_with("add group") => 6,
            (false, false) => ocsf::OTHER,
        };
        (ocsf::GROUP_MANAGEMENT, activity)
    } else if category == "UserManagement" {
        let activity = match activity {
            "add user" => 1,
            "enable account" => 2,
            "disable account" => 5,
            "delete user" => 6,
            "change user password" | "change password (self-service)" => 3,
            text if text.contains("reset") && text.contains("password") => 4,
            text if text.contains("registered security info") => 10,
            text if text.contains("deleted security info") => 11,
            _ => ocsf::OTHER,
        };
        (ocsf::ACCOUNT_CHANGE, activity)
    } else {
        (ocsf::ENTITY_MANAGEMENT, activity_of(activity))
    }
}

fn describe_audit(event: &mut ActivityEvent, element: &JsonElement<'_>) {
    (event.outcome, event.reason) = match element.text("/result") {
        Some("success") => (ActivityOutcome::Success, None),
        Some("failure" | "timeout") => {
            let why = element.first(&["/resultReason", "/result"]);
            (ActivityOutcome::Failure, why.map(str::to_owned))
        }
        _ => (ActivityOutcome::Unknown, event.reason.take()),
    };
    let user = element.entity_at(EntityKind::User, "/initiatedBy/user/id");
    let name = element.first(&[
        "/initiatedBy/user/userPrincipalName",
        "/initiatedBy/user/displayName",
    ]);
    let user = user.map(|user| user.named(name));
    let user = user.or_else(|| Some(element.entity(EntityKind::User, name?)));
    let app = [
        "/initiatedBy/app/servicePrincipalId",
        "/initiatedBy/app/appId",
    ];
    let app = app
        .iter()
        .find_map(|at| element.entity_at(EntityKind::Service, at));
    let app_name = element.first(&[
        "/initiatedBy/app/displayName",
        "/initiatedBy/app/servicePrincipalName",
    ]);
    let app = app.map(|app| app.named(app_name));
    let app = app.or_else(|| Some(element.entity(EntityKind::Service, app_name?)));
    event.actor = match (user, app) {
        (Some(user), app) => {
            event.through = app.into_iter().collect();
            Some(user)
        }
        (None, app) => app,
    };
    let targets = list_at(element.value, "/targetResources").iter();
    event.targets = targets
        .filter_map(|target| target_of(element, target))
        .collect();
    event.address = element
        .first(&["/initiatedBy/user/ipAddress"])
        .map(str::to_owned);
    event.user_agent = element.text("/userAgent").map(str::to_owned);
    event.event_id = element.id("/id");
    event.transaction = element.id("/correlationId");
}

fn target_of(element: &JsonElement<'_>, target: &Value) -> Option<EntityRef> {
    let kind = text_at(target, "/type").or(text_at(target, "/Type"));
    let kind = match kind.unwrap_or_default() {
        "User" => EntityKind::User,
        "Group" => EntityKind::Group,
        "ServicePrincipal" => EntityKind::Service,
        "Application" | "App" => EntityKind::Application,
        "Role" => EntityKind::Role,
        "Policy" => EntityKind::Policy,
        "Device" => EntityKind::Host,
        "Directory" => EntityKind::Organization,
        "Domain" => EntityKind::Domain,
        _ => EntityKind::Other,
    };
    let name = text_at(target, "/userPrincipalName").or(text_at(target, "/displayName"));
    let id = text_at(target, "/id").or(name)?;
    Some(element.entity(kind, id).named(name))
}

/// `AppRole.Value = Mail.Read`: the new values of what changed, which say what was granted.
fn changes(element: &JsonElement<'_>) -> Vec<String> {
    const NAMES: [&str; 8] = [
        "AppRole.Value",
        "DelegatedPermissionGrant.Scope",
        "Role.DisplayName",
        "ConsentAction.Permissions",
        "KeyDescription",
        "IssuerUri",
        "AccountEnabled",
        "StrongAuthenticationMethod",
    ];
    let targets = list_at(element.value, "/targetResources").iter();
    let properties = targets.flat_map(|target| list_at(target, "/modifiedProperties"));
    let known = properties.filter_map(|property| {
        let name = text_at(property, "/displayName").filter(|name| NAMES.contains(name))?;
        let value = text_at(property, "/newValue")?.trim_matches(['"', '[', ']']);
        let value = shortened(value, PART_CHARS_MAX / 2);
        Some(format!("{name} = {value}")).filter(|_| !value.is_empty())
    });
    known.collect()
}

/// What was provisioned into another application.
pub(super) fn provisioning(element: &JsonElement<'_>) -> ActivityEvent {
    let action = element
        .first(&["/provisioningAction", "/action"])
        .unwrap_or("other");
    let mut event = element.event(
        ACTIVITY,
        ActivityCategory::Change,
        &format!("provisioning/{action}"),
    );
    (event.class, event.activity) = (ocsf::ENTITY_MANAGEMENT, activity_of(action));
    let status = element.first(&["/provisioningStatusInfo/status", "/statusInfo/status"]);
    event.outcome = match status {
        Some("success") => ActivityOutcome::Success,
        Some("failure") => ActivityOutcome::Failure,
        _ => ActivityOutcome::Unknown,
    };
    let why = element.text("/provisioningStatusInfo/errorInformation/reason");
    event.reason = why
        .or(status.filter(|s| *s != "success"))
        .map(str::to_owned);
    let actor = element.entity_at(EntityKind::Service, "/initiatedBy/id");
    event.actor = actor.map(|actor| actor.named(element.text("/initiatedBy/displayName")));
    for (id, name) in [
        ("/targetIdentity/id", "/targetIdentity/displayName"),
        ("/sourceIdentity/id", "/sourceIdentity/displayName"),
    ] {
        let identity = element.entity_at(EntityKind::User, id);
        event
            .targets
            .extend(identity.map(|user| user.named(element.text(name))));
    }
    let system = element.entity_at(EntityKind::Application, "/servicePrincipal/id");
    let system_name = element.text("/servicePrincipal/displayName");
    event.through = system
        .map(|app| app.named(system_name))
        .into_iter()
        .collect();
    event.event_id = element.id("/id");
    event.transaction = element.id("/cycleId");
    event.summary = summary_of(&event, &format!("provisioning: {action}"));
    note_missing_time(&mut event, ACTIVITY, element.value);
    event
}

pub(super) fn risk_detection(element: &JsonElement<'_>) -> ActivityEvent {
    let risk = element
        .first(&["/riskEventType", "/riskType"])
        .unwrap_or("unknown risk");
    let mut event = element.event(DETECTED, ActivityCategory::Finding, &format!("risk/{risk}"));
    (event.class, event.activity) = (ocsf::DETECTION_FINDING, 1);
    event.reason = element.text("/riskState").map(str::to_owned);
    let user = element.entity_at(EntityKind::User, "/userId");
    let name = element.first(&["/userPrincipalName", "/userDisplayName"]);
    event.targets = user.map(|user| user.named(name)).into_iter().collect();
    event.address = element.text("/ipAddress").map(str::to_owned);
    event.event_id = element.id("/id");
    event.transaction = element.id("/correlationId");
    let words = element.words(&["/riskLevel", "/riskState", "/riskDetail", "/source"]);
    event.summary = summary_of(&event, &format!("risk: {risk}{words}"));
    note_missing_time(&mut event, DETECTED, element.value);
    event
}
