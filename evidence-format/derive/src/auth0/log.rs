//! An event of the tenant log.
//! <https://auth0.com/docs/deploy-monitor/logs/log-event-type-codes>

use crate::element::{JsonElement, PART_CHARS_MAX, activity_of, note_missing_time, summary_of};
use crate::text::shortened;
use crate::{ActivityCategory, ActivityEvent, ActivityOutcome, EntityKind, EntityRef, ocsf};

const TIMES: &[&str] = &["/date"];

/// What Auth0's attack protection reports.
const FINDINGS: [&str; 12] = [
    "appi",
    "limit_mu",
    "limit_sul",
    "limit_wc",
    "limit_delegation",
    "mfar",
    "pwd_leak",
    "reset_pwd_leak",
    "signup_pwd_leak",
    "ublkdu",
    "gd_otp_rate_limit_exceed",
    "ferrt", // a refresh token that was used twice
];
/// Codes of changes of accounts and credentials. What failed begins with `f`.
const ACCOUNTS: [&str; 24] = [
    "ss", "fs", "scp", "fcp", "scpr", "fcpr", "sce", "fce", "scu", "fcu", "scpn", "fcpn", "sv",
    "fv", "svr", "fvr", "sdu", "fdu", "du", "fdeac", "srrt", "sui", "fui", "scph",
];

pub(super) fn log_event(element: &JsonElement<'_>) -> ActivityEvent {
    let Some(code) = element.text("/type") else {
        let mut event = ActivityEvent::unreadable(element.context, "has no type");
        element.set_time(&mut event, TIMES);
        return event;
    };
    let description = element.text("/description").unwrap_or_default();
    let category = category_of(element, code, description);
    let mut event = element.event(TIMES, category, code);
    (event.class, event.activity) = class_of(category, code, description, element);
    event.outcome = outcome_of(element, code);
    event.reason = match event.outcome {
        ActivityOutcome::Failure => {
            let why = element.first(&["/details/error/message", "/details/error", "/description"]);
            why.map(str::to_owned)
        }
        ActivityOutcome::Success | ActivityOutcome::Challenge | ActivityOutcome::Unknown => None,
    };
    let name = element.first(&["/user_name", "/details/request/auth/user/email"]);
    let user = element.entity_at(EntityKind::User, "/user_id");
    let admin = element.entity_at(EntityKind::User, "/details/request/auth/user/user_id");
    let client = element.entity_at(EntityKind::Application, "/client_id");
    let client = client.map(|client| client.named(element.text("/client_name")));
    event.actor = if is_api_call(code) {
        let user = admin.or(user).map(|user| user.named(name));
        user.or_else(|| client.clone())
    } else {
        let typed = name.map(|name| element.entity(EntityKind::User, name));
        user.map(|user| user.named(name)).or(typed)
    };
    let is_actor = |client: &EntityRef| {
        let actor = event.actor.as_ref();
        actor.is_some_and(|actor| actor.id == client.id)
    };
    let client = client.filter(|client| !is_actor(client));
    let connection = element.entity_at(EntityKind::IdentityProvider, "/connection_id");
    let connection = connection.map(|c| c.named(element.text("/connection")));
    if is_api_call(code) {
        event.through = client.into_iter().collect();
        event.targets = element
            .text("/details/request/path")
            .map(|path| target_of(element, path))
            .into_iter()
            .collect();
    } else {
        event.targets = client.into_iter().collect();
        event.through = connection.into_iter().collect();
    }
    event.credential = [
        (
            EntityKind::Credential,
            "/details/request/auth/credentials/jti",
        ),
        (EntityKind::Session, "/session_id"),
        (EntityKind::Session, "/details/session_id"),
    ]
    .iter()
    .find_map(|(kind, at)| element.entity_at(*kind, at));
    event.address = element
        .first(&["/ip", "/details/request/ip"])
        .map(str::to_owned);
    event.user_agent = element.text("/user_agent").map(str::to_owned);
    event.event_id = element.id("/log_id").or_else(|| element.id("/_id"));
    event.transaction = element.id("/tracking_id");
    let mut what = code.to_owned();
    if !description.is_empty() {
        what.extend([": ", &shortened(description, PART_CHARS_MAX)]);
    }
    event.summary = summary_of(&event, &what);
    note_missing_time(&mut event, TIMES, element.value);
    event
}

/// A call of the Management API, that succeeded or failed.
fn is_api_call(code: &str) -> bool {
    matches!(code, "sapi" | "fapi" | "mgmt_api_read")
}

fn category_of(element: &JsonElement<'_>, code: &str, description: &str) -> ActivityCategory {
    const ACCESS_WORDS: [&str; 20] = [
        "anomaly",
        "attack",
        "authenticat",
        "client secret",
        "connection",
        "credential",
        "grant",
        "identity",
        "invitation",
        "key",
        "member",
        "mfa",
        "multi-factor",
        "password",
        "permission",
        "polic",
        "risk",
        "role",
        "rotate",
        "token",
    ];
    let lower = description.to_lowercase();
    if FINDINGS.contains(&code) {
        ActivityCategory::Finding
    } else if code == "mgmt_api_read" || element.text("/details/request/method") == Some("get") {
        ActivityCategory::Read
    } else if is_api_call(code) {
        match ACCESS_WORDS.iter().any(|word| lower.contains(word)) {
            true => ActivityCategory::Access,
            false => ActivityCategory::Change,
        }
    } else if ACCOUNTS.contains(&code) || code.starts_with("gd_") && code.contains("enroll") {
        ActivityCategory::Access
    } else if code.starts_with("gd_tenant") || code == "cls" || code == "cs" {
        ActivityCategory::Other
    } else {
        ActivityCategory::Authentication
    }
}

fn class_of(
    category: ActivityCategory,
    code: &str,
    description: &str,
    element: &JsonElement<'_>,
) -> (u16, u8) {
    if category == ActivityCategory::Finding {
        return (ocsf::DETECTION_FINDING, 1);
    }
    if category == ActivityCategory::Authentication {
        let is_logout = matches!(code, "slo" | "flo");
        return (ocsf::AUTHENTICATION, if is_logout { 2 } else { 1 });
    }
    if is_api_call(code) {
        let activity = match element.text("/details/request/method") {
            Some("post") => ocsf::CREATE,
            Some("put" | "patch") => ocsf::UPDATE,
            Some("delete") => ocsf::DELETE,
            Some("get") => ocsf::READ,
            _ => activity_of(description),
        };
        return (ocsf::API_ACTIVITY, activity);
    }
    let activity = match code {
        "ss" => 1,
        "scp" | "fcp" => 3,
        "scpr" | "fcpr" => 4,
        "sdu" | "fdu" | "du" => 6,
        _ if code.contains("enroll") => 10,
        _ => ocsf::OTHER,
    };
    (ocsf::ACCOUNT_CHANGE, activity)
}

/// Codes begin with `s` if it succeeded and with `f` if it failed; a few are words.
fn outcome_of(element: &JsonElement<'_>, code: &str) -> ActivityOutcome {
    let status = element.value.pointer("/details/response/statusCode");
    match status.and_then(serde_json::Value::as_u64) {
        Some(200..=299) => return ActivityOutcome::Success,
        Some(400..) => return ActivityOutcome::Failure,
        Some(_) | None => {}
    }
    if FINDINGS.contains(&code) && code != "ferrt" {
        ActivityOutcome::Unknown
    } else if code.contains("fail") || code.starts_with('f') {
        ActivityOutcome::Failure
    } else if code == "gd_start_auth" || code == "mfa_required" {
        ActivityOutcome::Challenge
    } else if code.starts_with('s') || code.ends_with("_complete") || code.ends_with("_succeed") {
        ActivityOutcome::Success
    } else {
        ActivityOutcome::Unknown
    }
}

/// The object of `/api/v2/clients/abc`.
fn target_of(element: &JsonElement<'_>, path: &str) -> EntityRef {
    let path = path
        .trim_start_matches("/api")
        .trim_start_matches("/v2")
        .trim_start_matches('/');
    let mut segments = path.split('/');
    let kind = match segments.next().unwrap_or_default() {
        "users" => EntityKind::User,
        "clients" | "client-grants" | "grants" => EntityKind::Application,
        "roles" => EntityKind::Role,
        "connections" => EntityKind::IdentityProvider,
        "organizations" => EntityKind::Organization,
        "actions" | "rules" | "hooks" => EntityKind::Workflow,
        "log-streams" => EntityKind::AuditLog,
        "attack-protection" | "guardian" | "risk-assessments" => EntityKind::Policy,
        _ => EntityKind::Other,
    };
    match segments.next() {
        Some(id) if kind != EntityKind::Policy => element.entity(kind, id).named(Some(path)),
        _ => element.entity(kind, path),
    }
}
