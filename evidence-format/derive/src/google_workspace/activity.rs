//! An activity of the Reports API. It has one or more events, by one actor at one time.

use serde_json::Value;

use crate::element::{
    JsonElement, PART_CHARS_MAX, activity_of, note_missing_time, summary_of, visit_event,
};
use crate::json::{id_at, list_at, text_at};
use crate::text::shortened;
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, EntityKind, EntityRef, ocsf,
};

const TIMES: &[&str] = &["/id/time"];
/// Events of one activity that are read. Google sends tens.
const EVENTS_MAX: usize = 1000;

pub(super) fn activity(element: &JsonElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let events = list_at(element.value, "/events");
    if events.is_empty() {
        let mut event = ActivityEvent::unreadable(element.context, "has no events");
        element.set_time(&mut event, TIMES);
        event.actor = actor(element);
        return visit_event(event, visit);
    }
    for (index, part) in events.iter().take(EVENTS_MAX).enumerate() {
        visit_event(event_of(element, index, part), visit);
    }
}

fn event_of(element: &JsonElement<'_>, index: usize, part: &Value) -> ActivityEvent {
    let application = element.text("/id/applicationName").unwrap_or("unknown");
    let Some(name) = text_at(part, "/name") else {
        let mut event = ActivityEvent::unreadable(element.context, "an event without a name");
        element.set_time(&mut event, TIMES);
        event.actor = actor(element);
        return event;
    };
    let category = category_of(
        application,
        text_at(part, "/type").unwrap_or_default(),
        name,
    );
    let mut event = element.event(TIMES, category, &format!("{application}/{name}"));
    (event.class, event.activity) = class_of(category, application, name);
    event.outcome = outcome_of(part, name);
    event.reason = parameter(part, "login_failure_type")
        .or_else(|| parameter(part, "login_challenge_status"))
        .filter(|_| event.outcome != ActivityOutcome::Success);
    event.actor = actor(element);
    let client = parameter(part, "client_id");
    if let Some(client) = client.clone().filter(|_| application == "token") {
        let client = element.entity(EntityKind::Application, client);
        event.through = vec![client.named(parameter(part, "app_name").as_deref())];
    }
    event.targets = targets(element, part);
    event.address = element.text("/ipAddress").map(str::to_owned);
    event.user_agent = parameter(part, "user_agent").or_else(|| parameter(part, "USER_AGENT"));
    let id = element
        .id("/id/uniqueQualifier")
        .or_else(|| element.id("/id/uniqQualifier"));
    // The same number occurs in two applications, and at two times.
    let id = id.unwrap_or_else(|| element.digest());
    let time = element.text("/id/time").unwrap_or_default();
    event.event_id = Some(format!("{application}/{time}/{id}/{index}"));
    event.transaction = Some(id);
    let mut what = format!("{application}: {name}");
    for value in said(part) {
        what.extend([" (", &shortened(&value, PART_CHARS_MAX / 2), ")"]);
    }
    event.summary = summary_of(&event, &what);
    note_missing_time(&mut event, TIMES, element.value);
    event
}

fn actor(element: &JsonElement<'_>) -> Option<EntityRef> {
    let email = element.text("/actor/email");
    let (kind, id) = match element.text("/actor/callerType") {
        Some("KEY" | "APPLICATION") => {
            let app = element.id("/actor/applicationInfo/oauthClientId");
            (EntityKind::Service, element.id("/actor/key").or(app))
        }
        _ => (EntityKind::User, element.id("/actor/profileId")),
    };
    let id = id.or_else(|| email.map(str::to_owned))?;
    Some(element.entity(kind, id).named(email))
}

/// A parameter's value as text; lists are joined.
fn parameter(event: &Value, name: &str) -> Option<String> {
    let mut parameters = list_at(event, "/parameters").iter();
    value_of(parameters.find(|parameter| text_at(parameter, "/name") == Some(name))?)
}

fn value_of(parameter: &Value) -> Option<String> {
    if let Some(truth) = parameter.pointer("/boolValue").and_then(Value::as_bool) {
        return Some(truth.to_string());
    }
    let one = id_at(parameter, "/value").or_else(|| id_at(parameter, "/intValue"));
    one.or_else(|| {
        let many = list_at(parameter, "/multiValue")
            .iter()
            .filter_map(Value::as_str);
        let many = many.collect::<Vec<&str>>().join(", ");
        Some(many).filter(|text| !text.is_empty())
    })
}

/// What was granted, changed or said, in the words of the parameters.
fn said(event: &Value) -> Vec<String> {
    const NAMES: [&str; 12] = [
        "ROLE_NAME",
        "SETTING_NAME",
        "NEW_VALUE",
        "APPLICATION_NAME",
        "DOMAIN_NAME",
        "API_SCOPES",
        "scope",
        "visibility",
        "new_value",
        "login_type",
        "email_forwarding_destination_address",
        "destination_application_name",
    ];
    let said = NAMES.iter().filter_map(|name| parameter(event, name));
    said.filter(|text| !text.is_empty()).take(3).collect()
}

fn targets(element: &JsonElement<'_>, event: &Value) -> Vec<EntityRef> {
    const TARGETS: [(&str, EntityKind); 18] = [
        ("USER_EMAIL", EntityKind::User),
        ("affected_email_address", EntityKind::User),
        ("target_user", EntityKind::User),
        ("member_id", EntityKind::User),
        ("GROUP_EMAIL", EntityKind::Group),
        ("group_id", EntityKind::Group),
        ("group_email", EntityKind::Group),
        ("doc_id", EntityKind::File),
        ("ROLE_ID", EntityKind::Role),
        ("ROLE_NAME", EntityKind::Role),
        ("APPLICATION_NAME", EntityKind::Application),
        ("APP_ID", EntityKind::Application),
        ("API_CLIENT_NAME", EntityKind::Application),
        ("DOMAIN_NAME", EntityKind::Domain),
        ("ORG_UNIT_NAME", EntityKind::Organization),
        ("DEVICE_ID", EntityKind::Host),
        ("calendar_id", EntityKind::Other),
        ("resource_name", EntityKind::Other),
    ];
    let mut targets: Vec<EntityRef> = Vec::new();
    for (name, kind) in TARGETS {
        if let Some(id) = parameter(event, name).filter(|id| !id.is_empty()) {
            let title = parameter(event, "doc_title").filter(|_| name == "doc_id");
            targets.push(element.entity(kind, id).named(title.as_deref()));
        }
    }
    targets
}

fn outcome_of(event: &Value, name: &str) -> ActivityOutcome {
    let status = text_at(event, "/status/eventStatus").unwrap_or_default();
    if name.contains("failure")
        || name.contains("FAILED")
        || name.ends_with("_denied")
        || status == "FAILED"
    {
        ActivityOutcome::Failure
    } else if name == "login_challenge" {
        ActivityOutcome::Challenge
    } else {
        ActivityOutcome::Success // what is refused is not an activity
    }
}

/// Words of names of events, in lower case, that say what Google found suspicious.
const FINDING_WORDS: [&str; 11] = [
    "account_disabled",
    "attack_warning",
    "leaked",
    "malware",
    "password_leak",
    "phishing",
    "risky_sensitive",
    "rule_match",
    "rule_trigger",
    "suspicious",
    "unsafe",
];
/// Words of names or types of events that are matters of rights, credentials and trust.
const ACCESS_WORDS: [&str; 33] = [
    "2sv",
    "access",
    "acl",
    "add_application",
    "admin",
    "alias",
    "api_client",
    "app_password",
    "asp",
    "authorize",
    "autho",
    "delegat",
    "domain",
    "email_forwarding",
    "grant",
    "invite",
    "member",
    "owner",
    "password",
    "permission",
    "privilege",
    "recovery",
    "revoke",
    "role",
    "saml",
    "scope",
    "security",
    "share",
    "sharing",
    "sso",
    "strong_auth",
    "titanium",
    "visibility",
];
const READ_WORDS: [&str; 8] = [
    "view", "download", "preview", "print", "copy", "search", "takeout", "export",
];

fn category_of(application: &str, kind: &str, name: &str) -> ActivityCategory {
    let lower = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let kind = kind.to_lowercase();
    if application == "rules" || has(&FINDING_WORDS) {
        ActivityCategory::Finding
    } else if matches!(application, "login" | "saml") && (has(&["login", "logout", "challenge"])) {
        ActivityCategory::Authentication
    } else if matches!(application, "token" | "groups_enterprise" | "user_accounts")
        || has(&ACCESS_WORDS)
        || ["security", "domain", "delegated", "user_settings"]
            .iter()
            .any(|w| kind.contains(w))
    {
        if application == "token" && lower == "activity" {
            ActivityCategory::Read // a call with a token
        } else {
            ActivityCategory::Access
        }
    } else if has(&READ_WORDS) || application == "access_transparency" {
        ActivityCategory::Read
    } else if matches!(application, "meet" | "chat" | "gmail" | "mobile") && !has(&["delete"]) {
        ActivityCategory::Other
    } else {
        ActivityCategory::Change
    }
}

fn class_of(category: ActivityCategory, application: &str, name: &str) -> (u16, u8) {
    let verb = activity_of(name);
    match category {
        ActivityCategory::Authentication => {
            (ocsf::AUTHENTICATION, if name == "logout" { 2 } else { 1 })
        }
        ActivityCategory::Finding => (ocsf::DETECTION_FINDING, 1),
        ActivityCategory::Access if application == "token" => (
            ocsf::USER_ACCESS_MANAGEMENT,
            if name == "revoke" { 2 } else { 1 },
        ),
        ActivityCategory::Access if application.starts_with("groups") => {
            let activity = match name {
                "add_member" | "add_user" | "join" => 3,
                "remove_member" | "remove_user" => 4,
                _ => ocsf::OTHER,
            };
            (ocsf::GROUP_MANAGEMENT, activity)
        }
        ActivityCategory::Access | ActivityCategory::Change
            if application == "admin" && name.ends_with("_USER") =>
        {
            let activity = match name {
                "CREATE_USER" => 1,
                "DELETE_USER" => 6,
                "SUSPEND_USER" => 5,
                "UNSUSPEND_USER" => 2,
                _ => ocsf::OTHER,
            };
            (ocsf::ACCOUNT_CHANGE, activity)
        }
        ActivityCategory::Read => (ocsf::ENTITY_MANAGEMENT, ocsf::READ),
        ActivityCategory::Access
        | ActivityCategory::Change
        | ActivityCategory::Deployment
        | ActivityCategory::Execution => (ocsf::ENTITY_MANAGEMENT, verb),
        ActivityCategory::Other => (ocsf::BASE_EVENT, ocsf::OTHER),
    }
}
