//! An entry of an audit log (`LogEntry` with an `AuditLog`).

use serde_json::Value;

use crate::element::{JsonElement, PART_CHARS_MAX, activity_of, note_missing_time, summary_of};
use crate::json::{list_at, text_at};
use crate::text::shortened;
use crate::{ActivityCategory, ActivityEvent, ActivityOutcome, EntityKind, EntityRef, ocsf};

const TIMES: &[&str] = &["/timestamp", "/receiveTimestamp"];

/// Parts of methods, in lower case, that are matters of rights, credentials and trust.
const ACCESS_PARTS: [&str; 28] = [
    "accesspolic",
    "addgroupmember",
    "apikey",
    "createkey",
    "cryptokeyversion",
    "domain",
    "generateaccesstoken",
    "generateidtoken",
    "groupmember",
    "iampermissions",
    "inboundsso",
    "oauth",
    "password",
    "recovery",
    "role",
    "secret",
    "serviceaccount",
    "setiam",
    "setiampolicy",
    "signblob",
    "signjwt",
    "sshkey",
    "sso",
    "titanium",
    "workforcepool",
    "workloadidentity",
    "createbrand",
    "serviceperimeter",
];
const EXECUTION_PARTS: [&str; 6] = [
    "cloudbuild",
    "createbuild",
    "pods.exec",
    "pods.attach",
    "jobs.run",
    "functions.call",
];

pub(super) fn audit_entry(element: &JsonElement<'_>) -> ActivityEvent {
    let Some(method) = element.text("/protoPayload/methodName") else {
        let mut event = ActivityEvent::unreadable(element.context, "has no methodName");
        element.set_time(&mut event, TIMES);
        describe(&mut event, element);
        return event;
    };
    let log = element.text("/logName").unwrap_or_default();
    let category = category_of(element, log, method);
    let mut event = element.event(TIMES, category, method);
    let verb = activity_of(last_word(method));
    let lower = method.to_lowercase();
    (event.class, event.activity) = if category == ActivityCategory::Authentication {
        let activity = if lower.contains("logout") { 2 } else { 1 };
        (ocsf::AUTHENTICATION, activity)
    } else if category == ActivityCategory::Finding {
        (ocsf::DETECTION_FINDING, 1)
    } else if category == ActivityCategory::Access && lower.contains("setiam") {
        let takes = deltas(element)
            .iter()
            .all(|delta| delta.starts_with("REMOVE"));
        (ocsf::USER_ACCESS_MANAGEMENT, if takes { 2 } else { 1 })
    } else {
        (ocsf::API_ACTIVITY, verb)
    };
    describe(&mut event, element);
    let mut what = method.to_owned();
    for delta in deltas(element).iter().take(2) {
        what.extend([" (", delta, ")"]);
    }
    event.summary = summary_of(&event, &what);
    note_missing_time(&mut event, TIMES, element.value);
    event
}

/// `SetIamPolicy` of `google.iam.admin.v1.SetIamPolicy`.
fn last_word(method: &str) -> &str {
    method.rsplit('.').next().unwrap_or(method)
}

fn category_of(element: &JsonElement<'_>, log: &str, method: &str) -> ActivityCategory {
    let lower = method.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let service = element
        .text("/protoPayload/serviceName")
        .unwrap_or_default();
    if has(&[
        "attackwarning",
        "suspicious",
        "accountdisabled",
        "passwordleak",
    ]) {
        ActivityCategory::Finding
    } else if service == "login.googleapis.com"
        && has(&[
            "loginsuccess",
            "loginfailure",
            "logout",
            "loginchallenge",
            "loginverification",
        ])
    {
        ActivityCategory::Authentication
    } else if has(&EXECUTION_PARTS) {
        ActivityCategory::Execution
    } else if has(&ACCESS_PARTS) && !is_read(&lower) {
        ActivityCategory::Access
    } else if has(&[
        "deploymentmanager",
        "run.v1.services",
        "services.createservice",
    ]) && !is_read(&lower)
    {
        ActivityCategory::Deployment
    } else if is_read(&lower) {
        ActivityCategory::Read
    } else if log.ends_with("%2Fdata_access") {
        // writes of data are in this log too
        match activity_of(last_word(method)) {
            ocsf::CREATE | ocsf::UPDATE | ocsf::DELETE => ActivityCategory::Change,
            _ => ActivityCategory::Read,
        }
    } else {
        ActivityCategory::Change
    }
}

fn is_read(method: &str) -> bool {
    let last = last_word(method);
    [
        "get",
        "list",
        "search",
        "read",
        "testiampermissions",
        "query",
        "aggregated",
        "batchget",
    ]
    .iter()
    .any(|word| last.starts_with(word))
}

fn describe(event: &mut ActivityEvent, element: &JsonElement<'_>) {
    let code = element
        .value
        .pointer("/protoPayload/status/code")
        .and_then(Value::as_i64);
    event.outcome = match code {
        None | Some(0) if element.value.pointer("/protoPayload").is_some() => {
            ActivityOutcome::Success
        }
        Some(code) if code != 0 => ActivityOutcome::Failure,
        _ => ActivityOutcome::Unknown,
    };
    if event.action.to_lowercase().ends_with("loginfailure") || is_denied(element) {
        event.outcome = ActivityOutcome::Failure;
    }
    if event.outcome == ActivityOutcome::Failure {
        let why = element.first(&[
            "/protoPayload/status/message",
            "/protoPayload/metadata/violationReason",
        ]);
        let code = code.map(|code| code.to_string());
        event.reason = why.map(str::to_owned).or(code);
    }
    const EMAIL: &str = "/protoPayload/authenticationInfo/principalEmail";
    const SUBJECT: &str = "/protoPayload/authenticationInfo/principalSubject";
    event.actor = element.first(&[EMAIL, SUBJECT]).map(|who| {
        let is_service = who.ends_with("gserviceaccount.com") || who.starts_with("system:");
        let kind = if is_service {
            EntityKind::Service
        } else {
            EntityKind::User
        };
        element.entity(kind, who)
    });
    // whoever let a service account act for them
    const DELEGATION: &str = "/protoPayload/authenticationInfo/serviceAccountDelegationInfo";
    let delegation = list_at(element.value, DELEGATION).iter();
    event.through = delegation
        .filter_map(|step| {
            text_at(step, "/firstPartyPrincipal/principalEmail")
                .or(text_at(step, "/principalSubject"))
        })
        .map(|who| element.entity(EntityKind::Service, who))
        .collect();
    // the last segment is the key's id, and what is before it names the account again
    const KEY: &str = "/protoPayload/authenticationInfo/serviceAccountKeyName";
    let key = element.text(KEY).and_then(|name| name.rsplit('/').next());
    event.credential = key.map(|key| element.entity(EntityKind::Credential, key));
    event.targets = targets(element);
    const ADDRESS: [&str; 2] = [
        "/protoPayload/requestMetadata/callerIp",
        "/protoPayload/requestMetadata/callerIP",
    ];
    event.address = element.first(&ADDRESS).map(str::to_owned);
    const AGENT: &str = "/protoPayload/requestMetadata/callerSuppliedUserAgent";
    event.user_agent = element.text(AGENT).map(str::to_owned);
    // unique with its log and time only
    let log = element.text("/logName").unwrap_or_default();
    let time = element.text("/timestamp").unwrap_or_default();
    let id = element.id("/insertId").unwrap_or_else(|| element.digest());
    event.event_id = Some(format!("{log}/{time}/{id}"));
    event.transaction = element.id("/operation/id");
}

fn is_denied(element: &JsonElement<'_>) -> bool {
    let checks = list_at(element.value, "/protoPayload/authorizationInfo").iter();
    let mut denied = checks.filter(|check| check["granted"] == Value::Bool(false));
    let log = element.text("/logName").unwrap_or_default();
    log.ends_with("%2Fpolicy") || denied.next().is_some()
}

fn targets(element: &JsonElement<'_>) -> Vec<EntityRef> {
    let resource = element.text("/protoPayload/resourceName").map(|name| {
        let collection = name.rsplit('/').nth(1).unwrap_or_default();
        let kind = match collection {
            "serviceAccounts" => EntityKind::Service,
            "keys" => EntityKind::Credential,
            "instances" => EntityKind::Host,
            "buckets" => EntityKind::Bucket,
            "objects" => EntityKind::File,
            "secrets" | "versions" => EntityKind::Secret,
            "firewalls" | "networks" | "subnetworks" => EntityKind::Network,
            "projects" => EntityKind::Account,
            "organizations" | "folders" => EntityKind::Organization,
            "roles" => EntityKind::Role,
            "sinks" => EntityKind::AuditLog,
            "clusters" => EntityKind::Cluster,
            "pods" => EntityKind::Pod,
            "workloadIdentityPools" | "workforcePools" | "providers" => {
                EntityKind::IdentityProvider
            }
            _ => EntityKind::Other,
        };
        element.entity(kind, name)
    });
    let project = element.entity_at(EntityKind::Account, "/resource/labels/project_id");
    let mut targets: Vec<EntityRef> = resource.into_iter().collect();
    targets.extend(project.filter(|project| {
        targets
            .iter()
            .all(|known| known.id != format!("projects/{}", project.id))
    }));
    targets
}

/// `ADD roles/owner to user:mallory@evil.example`: what a policy gave or took.
fn deltas(element: &JsonElement<'_>) -> Vec<String> {
    let deltas = list_at(
        element.value,
        "/protoPayload/serviceData/policyDelta/bindingDeltas",
    );
    let said = deltas.iter().filter_map(|delta| {
        let (action, role) = (text_at(delta, "/action")?, text_at(delta, "/role")?);
        let member = text_at(delta, "/member").unwrap_or("nobody");
        Some(shortened(
            &format!("{action} {role} to {member}"),
            PART_CHARS_MAX,
        ))
    });
    said.collect()
}
