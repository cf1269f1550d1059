//! An event of the Activity Log (`EventData`).

use crate::element::{JsonElement, activity_of, note_missing_time, summary_of};
use crate::{ActivityCategory, ActivityEvent, ActivityOutcome, EntityKind, EntityRef, ocsf};

const TIMES: &[&str] = &["/eventTimestamp", "/submissionTimestamp"];

/// Parts of an operation, in lower case, that make it a matter of rights and credentials.
const ACCESS_PARTS: [&str; 16] = [
    "accesspolicies",
    "authorization/",
    "elevateaccess",
    "federatedidentitycredentials",
    "generatekeys",
    "getsecret",
    "listaccountsas",
    "listcredentials",
    "listkeys",
    "listservicesas",
    "publishingcredentials",
    "regeneratekey",
    "roleassignments",
    "roledefinitions",
    "secrets",
    "vaults/write",
];
/// Parts that make it code that runs.
const EXECUTION_PARTS: [&str; 5] = [
    "runcommand",
    "virtualmachines/extensions",
    "automationaccounts/jobs",
    "containerexec",
    "deploymentscripts",
];

pub(super) fn activity(element: &JsonElement<'_>) -> ActivityEvent {
    let Some(operation) = element.first(&["/operationName/value", "/operationName/localizedValue"])
    else {
        let mut event = ActivityEvent::unreadable(element.context, "has no operationName");
        element.set_time(&mut event, TIMES);
        return event;
    };
    let lower = operation.to_lowercase();
    let kind = element.text("/category/value").unwrap_or_default();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let category = if matches!(kind, "Security" | "Alert") {
        ActivityCategory::Finding
    } else if matches!(
        kind,
        "ServiceHealth" | "ResourceHealth" | "Recommendation" | "Autoscale"
    ) {
        ActivityCategory::Other
    } else if has(&ACCESS_PARTS) {
        ActivityCategory::Access
    } else if has(&EXECUTION_PARTS) {
        ActivityCategory::Execution
    } else if lower.contains("resources/deployments/") {
        ActivityCategory::Deployment
    } else if lower.ends_with("/read") || kind == "Policy" {
        ActivityCategory::Read
    } else {
        ActivityCategory::Change
    };
    let mut event = element.event(TIMES, category, operation);
    (event.class, event.activity) = if category == ActivityCategory::Finding {
        (ocsf::DETECTION_FINDING, 1)
    } else if lower.contains("roleassignments") {
        let activity = if lower.ends_with("/delete") { 2 } else { 1 };
        (ocsf::USER_ACCESS_MANAGEMENT, activity)
    } else {
        (ocsf::API_ACTIVITY, verb_of(&lower))
    };
    let status = element.text("/status/value");
    event.outcome = match status {
        Some("Succeeded" | "Success" | "Resolved") => ActivityOutcome::Success,
        Some("Failed" | "Failure") => ActivityOutcome::Failure,
        _ => ActivityOutcome::Unknown, // started, accepted, active
    };
    event.reason = element
        .first(&["/subStatus/value", "/status/value"])
        .filter(|_| event.outcome != ActivityOutcome::Success)
        .map(str::to_owned);
    event.actor = actor(element);
    let app = element.entity_at(EntityKind::Application, "/claims/appid");
    event.through = app
        .into_iter()
        .filter(|app| is_another(app, event.actor.as_ref()))
        .collect();
    event.credential = ["/claims/uti", "/claims/aio"]
        .iter()
        .find_map(|at| element.entity_at(EntityKind::Session, at));
    event.targets = targets(element);
    event.address = element
        .first(&["/httpRequest/clientIpAddress", "/claims/ipaddr"])
        .map(str::to_owned);
    event.event_id = element.id("/eventDataId");
    event.transaction = element.id("/correlationId");
    event.summary = summary_of(&event, operation);
    note_missing_time(&mut event, TIMES, element.value);
    event
}

fn verb_of(operation: &str) -> u8 {
    match operation.rsplit('/').next().unwrap_or_default() {
        "write" => ocsf::UPDATE,
        "delete" => ocsf::DELETE,
        "read" => ocsf::READ,
        "action" => ocsf::OTHER,
        verb => activity_of(verb),
    }
}

/// Who called: by object id where the token says it, with the name that the log shows.
fn actor(element: &JsonElement<'_>) -> Option<EntityRef> {
    const OBJECT_ID: &str =
        "/claims/http:~1~1schemas.microsoft.com~1identity~1claims~1objectidentifier";
    const NAME: &str = "/claims/http:~1~1schemas.xmlsoap.org~1ws~12005~105~1identity~1claims~1upn";
    let caller = element.text("/caller");
    let name = element.text(NAME).or(caller);
    let kind = match (element.text("/claims/idtyp"), name) {
        (Some("app"), _) => EntityKind::Service,
        (_, Some(name)) if !name.contains('@') => EntityKind::Service,
        _ => EntityKind::User,
    };
    let id = element.text(OBJECT_ID).or(name)?;
    Some(element.entity(kind, id).named(name))
}

fn is_another(app: &EntityRef, actor: Option<&EntityRef>) -> bool {
    actor.is_none_or(|actor| actor.id != app.id && actor.name.as_deref() != Some(&app.id))
}

fn targets(element: &JsonElement<'_>) -> Vec<EntityRef> {
    let resource = element.first(&["/resourceId", "/authorization/scope"]);
    let resource = resource.map(|id| {
        let parts: Vec<&str> = id.rsplit('/').collect();
        let kind = match parts.get(1).map(|part| part.to_lowercase()).as_deref() {
            Some("virtualmachines") => EntityKind::Host,
            Some("storageaccounts") => EntityKind::Bucket,
            Some("roleassignments") => EntityKind::Policy,
            Some("roledefinitions") => EntityKind::Role,
            Some("managedclusters") => EntityKind::Cluster,
            Some("subscriptions") => EntityKind::Account,
            Some("vaults" | "secrets" | "keys") => EntityKind::Secret,
            Some("networksecuritygroups" | "securityrules") => EntityKind::Network,
            _ => EntityKind::Other,
        };
        element.entity(kind, id).named(parts.first().copied())
    });
    let subscription = element.entity_at(EntityKind::Account, "/subscriptionId");
    let mut targets: Vec<EntityRef> = resource.into_iter().chain(subscription).collect();
    targets.dedup();
    targets
}
