//! The audit log, with git events.

use serde_json::Value;

use crate::json::{bool_at, first_text, id_at, text_at};
use crate::text::shortened;
use crate::{ActivityEvent, ActivityOutcome, Derivation, EntityKind, EntityRef};

use super::classes::{self, AuditClass};
use super::element::{DerivationSink, GitHubElement, account, commit, organization, repository};

/// Members whose value is worth a place in the line: what was changed, and to what.
const DETAILS: [(&str, &str); 9] = [
    ("/permission", "permission"),
    ("/old_permission", "was"),
    ("/visibility", "visibility"),
    ("/previous_visibility", "was"),
    ("/ruleset_enforcement", "enforcement"),
    ("/ruleset_old_enforcement", "was"),
    ("/old_user", "formerly"),
    ("/transport_protocol_name", "over"),
    ("/explanation", "because"),
];
/// Longest of these values.
const DETAIL_CHARS_MAX: usize = 60;

/// Entries of before and after 2024 spell several members in two ways; both are read.
pub(super) fn entry(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let value = element.value;
    let Some(action) = element.text("/action") else {
        return;
    };
    let AuditClass {
        category,
        class,
        activity,
    } = classes::classify(action, element.text("/operation_type"));
    // The time of the act; `created_at` is when it was logged. The third name is Panther's.
    let times = ["/@timestamp", "/created_at", "/at_sign_timestamp"];
    let mut event = element.event(&times, category, action);
    event.class = class;
    event.activity = activity;
    (event.outcome, event.reason) = outcome(value, action);
    event.actor = first_text(value, &["/actor", "/data/actor"]).map(|login| {
        let mut actor = account(login);
        if bool_at(value, "/actor_is_bot") == Some(true) {
            actor.kind = EntityKind::Service;
        }
        actor
    });
    event.credential = credential(value);
    event.through = through(value, event.credential.is_some());
    event.targets = targets(element);
    event.address = text_at(value, "/actor_ip").map(str::to_owned);
    event.user_agent = text_at(value, "/user_agent").map(str::to_owned);
    event.event_id = text_at(value, "/_document_id").map(str::to_owned);
    event.transaction = id_at(value, "/workflow_run_id").or_else(|| id_at(value, "/request_id"));
    event.summary = summary(&event, value);
    visit(Derivation::Event(Box::new(event)));
}

/// GitHub logs what was done. Only a few actions can fail, and say so in one way each.
fn outcome(value: &Value, action: &str) -> (ActivityOutcome, Option<String>) {
    if let Some(conclusion) = text_at(value, "/conclusion") {
        let outcome = super::actions::outcome_of(conclusion);
        return (outcome, Some(conclusion.to_owned()));
    }
    let status = value.pointer("/status_code").and_then(Value::as_u64);
    if let Some(status) = status {
        let outcome = match status {
            0..400 => ActivityOutcome::Success,
            400.. => ActivityOutcome::Failure,
        };
        return (outcome, Some(status.to_string()));
    }
    let failed =
        action.contains("failed") || action.contains("denied") || action.contains("reject");
    let outcome = if failed {
        ActivityOutcome::Failure
    } else {
        ActivityOutcome::Success
    };
    (outcome, text_at(value, "/explanation").map(str::to_owned))
}

/// The token or key that was used, by its public id. GitHub hashes tokens with SHA-256, in base64.
fn credential(value: &Value) -> Option<EntityRef> {
    let token_id = id_at(value, "/token_id").filter(|id| id != "0");
    let id = first_text(value, &["/hashed_token"])
        .map(str::to_owned)
        .or(token_id)
        .or_else(|| id_at(value, "/deploy_key_fingerprint"))?;
    let kind = text_at(value, "/programmatic_access_type");
    Some(EntityRef::new(EntityKind::Credential, id).named(kind))
}

/// The app whose token was used, and the kind of token if the credential does not say it.
fn through(value: &Value, has_credential: bool) -> Vec<EntityRef> {
    let app = first_text(
        value,
        &[
            "/integration",
            "/oauth_application_name",
            "/application_name",
        ],
    );
    let app = app.map(|app| EntityRef::new(EntityKind::Application, app));
    let kind = text_at(value, "/programmatic_access_type").filter(|_| !has_credential);
    let kind = kind.map(|kind| EntityRef::new(EntityKind::Credential, kind));
    app.into_iter().chain(kind).collect()
}

fn targets(element: &GitHubElement<'_>) -> Vec<EntityRef> {
    let value = element.value;
    let text = |pointers: &[&str]| first_text(value, pointers);
    let repository_name = text(&["/repo", "/repository", "/data/repo"]);
    let org_name = text(&["/org"]).or_else(|| element.organization());
    let scope = repository_name.or(org_name);
    let of = |kind: EntityKind, id: &str| EntityRef::new(kind, id).scoped(scope);
    let action = text(&["/action"]).unwrap_or_default();
    let mut targets = Vec::new();

    let user = text(&[
        "/user",
        "/target_login",
        "/blocked_user",
        "/invitee",
        "/data/user",
    ]);
    targets.extend(user.map(account));
    let team = text(&["/team", "/data/team"]);
    targets.extend(team.map(|team| EntityRef::new(EntityKind::Group, team).scoped(org_name)));
    if let Some(hook) = id_at(value, "/hook_id").or_else(|| id_at(value, "/data/hook_id")) {
        targets.push(of(EntityKind::Webhook, &hook));
    }
    if let Some(run) = id_at(value, "/workflow_run_id") {
        targets.push(of(EntityKind::WorkflowRun, &run).named(text(&["/name"])));
    }
    targets.extend(text(&["/head_sha"]).map(commit));
    targets.extend(text(&["/head_branch", "/branch"]).map(|name| of(EntityKind::Branch, name)));
    if action.starts_with("protected_branch.") {
        targets.extend(text(&["/name"]).map(|name| of(EntityKind::Branch, name)));
    }
    if let Some(ruleset) = id_at(value, "/ruleset_id") {
        let ruleset = of(EntityKind::Policy, &format!("ruleset/{ruleset}"));
        targets.push(ruleset.named(text(&["/ruleset_name"])));
    }
    targets.extend(secret_of(value, action, &of));
    let environment = text(&["/environment_name", "/environment"]);
    targets.extend(environment.map(|name| of(EntityKind::Environment, name)));
    // which key was added or removed; the one that was used is the credential
    if classes::is_about_keys(action) {
        let key = text(&["/fingerprint", "/deploy_key_fingerprint"]);
        let key = key.map(|key| of(EntityKind::Credential, key).named(text(&["/title"])));
        targets.extend(key);
    }
    let app = text(&["/integration", "/oauth_application_name"]);
    if action.starts_with("integration_installation") || action.starts_with("oauth_") {
        targets.extend(app.map(|app| EntityRef::new(EntityKind::Application, app)));
    }
    let package = text(&["/package"]);
    targets.extend(package.map(|name| of(EntityKind::Artifact, name)));
    if let Some(runner) = id_at(value, "/runner_id") {
        targets.push(EntityRef::new(EntityKind::Runner, runner).named(text(&["/runner_name"])));
    }

    targets.extend(repository_name.map(repository));
    targets.extend(org_name.map(organization));
    let business = text(&["/business"]);
    targets.extend(business.map(|name| EntityRef::new(EntityKind::Account, name)));
    targets
}

/// `org.create_actions_secret` and its like name the secret or variable in `key`.
fn secret_of(
    value: &Value,
    action: &str,
    of: &dyn Fn(EntityKind, &str) -> EntityRef,
) -> Option<EntityRef> {
    let context = match action {
        _ if action.ends_with("_secret") => "secrets",
        _ if action.ends_with("_variable") => "vars",
        _ => return None,
    };
    let name = first_text(value, &["/key", "/name", "/secret_name"])?;
    Some(of(EntityKind::Secret, &format!("{context}.{name}")))
}

/// `team.add_member alice, my-team in my-org by bob (OAuth access token 0771cae4…) from 1.2.3.4`
fn summary(event: &ActivityEvent, value: &Value) -> String {
    let is_place =
        |target: &&EntityRef| matches!(target.kind, EntityKind::Organization | EntityKind::Account);
    let labels: Vec<&str> = event
        .targets
        .iter()
        .filter(|target| !is_place(target))
        .map(EntityRef::label)
        .collect();
    let mut line = event.action.clone();
    if !labels.is_empty() {
        line = format!("{line} {}", shortened(&labels.join(", "), 160));
    }
    if let Some(place) = event.targets.iter().find(is_place) {
        line = format!("{line} in {}", place.label());
    }
    if let Some(actor) = &event.actor {
        line = format!("{line} by {}", actor.label());
    }
    if let Some(credential) = &event.credential {
        let kind = credential.name.as_deref().unwrap_or("token");
        line = format!("{line} ({kind} {})", shortened(&credential.id, 12));
    } else if let Some(through) = event.through.last() {
        line = format!("{line} ({})", through.label());
    }
    if let Some(address) = &event.address {
        line = format!("{line} from {}", shortened(address, 45));
    }
    for (pointer, word) in DETAILS {
        if let Some(detail) = text_at(value, pointer) {
            line = format!("{line}, {word} {}", shortened(detail, DETAIL_CHARS_MAX));
        }
    }
    if event.outcome == ActivityOutcome::Failure {
        line.push_str(": failed");
    }
    line
}
