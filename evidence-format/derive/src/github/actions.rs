//! Workflow runs, their jobs and artifacts, workflows, and pushes.

use crate::json::{list_at, text_at, time_at};
use crate::ocsf;
use crate::text::shortened;
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, EdgeRelation, EntityKind,
    EntityRef, RecordContext,
};

use super::element::{
    DerivationSink, GitHubElement, conditional_edge, edge, repository, segments_after, short,
};

/// Activities of OCSF's Application Lifecycle: a run starts, and stops.
const START: u8 = 3;
const STOP: u8 = 4;
/// Longest name of a workflow, job or artifact in a summary.
const NAME_CHARS_MAX: usize = 80;

/// A run as lists and `getWorkflowRun` give it: its latest attempt.
pub(super) fn run(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    run_attempt(element, visit);
    let Some(run) = run_entity(element) else {
        return;
    };
    let title = element.text("/display_title").unwrap_or_default();
    let summary = format!(
        "{}: {}",
        run_label(element),
        shortened(title, NAME_CHARS_MAX)
    );
    visit(Derivation::Object(element.object(run.clone(), summary)));
    if let Some(workflow) = workflow_of_run(element) {
        visit(edge(run.clone(), EdgeRelation::PartOf, workflow));
    }
    if let Some(commit) = element.commit("/head_sha") {
        visit(edge(run, EdgeRelation::Trusts, commit));
    }
    for used in list_at(element.value, "/referenced_workflows") {
        let (Some(path), Some(workflow)) = (text_at(used, "/path"), workflow_of_run(element))
        else {
            continue;
        };
        let sha = text_at(used, "/sha").map(str::to_owned);
        let used = EntityRef::new(EntityKind::Workflow, path);
        visit(conditional_edge(workflow, EdgeRelation::Trusts, used, sha));
    }
}

/// One attempt of a run: its start, and its end if it has ended. They are events of their own, so
/// that a run that was under way at one capture and over at the next is not told twice.
pub(super) fn run_attempt(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(run) = run_entity(element) else {
        return;
    };
    let attempt = element.id("/run_attempt").unwrap_or_else(|| "1".to_owned());
    let event_id = format!("run/{}/{attempt}", run.id);
    let actor = element
        .account("/triggering_actor")
        .or_else(|| element.account("/actor"));
    let trigger = element.text("/event").unwrap_or("unknown event");
    let place = place_of_run(element);
    let label = run_label(element);
    let by = actor
        .as_ref()
        .map_or_else(String::new, |actor| format!(" by {}", actor.id));

    let times = ["/run_started_at", "/created_at"];
    let mut started = element.event(&times, ActivityCategory::Execution, "workflow_run.started");
    started.class = ocsf::APPLICATION_LIFECYCLE;
    started.activity = START;
    started.reason = Some(trigger.to_owned());
    started.targets = targets_of_run(element, &run);
    started.transaction = Some(run.id.clone());
    started.event_id = Some(format!("{event_id}/started"));
    started.summary = format!("{label} started on {trigger}{by}{place}");
    // Whoever started the run again is not who caused it at first; both had a hand in it.
    let first_actor = element.account("/actor");
    started.through = first_actor
        .filter(|first| Some(first) != actor.as_ref())
        .into_iter()
        .collect();
    started.actor = actor;
    let ended = (element.text("/status") == Some("completed")).then(|| {
        let conclusion = element.text("/conclusion").unwrap_or("no conclusion");
        let mut ended = ActivityEvent {
            action: "workflow_run.completed".to_owned(),
            activity: STOP,
            outcome: outcome_of(conclusion),
            reason: Some(conclusion.to_owned()),
            event_id: Some(format!("{event_id}/completed")),
            summary: format!("{label} ended: {conclusion}{place}"),
            ..started.clone()
        };
        set_time(&mut ended, element, "/updated_at");
        ended
    });
    visit(Derivation::Event(Box::new(started)));
    if let Some(ended) = ended {
        visit(Derivation::Event(Box::new(ended)));
    }
}

pub(super) fn job(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(id) = element.id("/id") else {
        return;
    };
    let name = element.text("/name").unwrap_or(&id);
    let job = element
        .scoped(EntityKind::WorkflowRun, format!("job/{id}"))
        .named(Some(name));
    let run = element.id("/run_id");
    let runner = runner_of_job(element);
    let label = format!("job {}", shortened(name, NAME_CHARS_MAX));
    let of_run = run
        .as_ref()
        .map_or_else(String::new, |run| format!(" of run {run}"));
    let place = place_of_run(element);

    let mut started = element.event(
        &["/started_at", "/created_at"],
        ActivityCategory::Execution,
        "workflow_job.in_progress",
    );
    started.class = ocsf::APPLICATION_LIFECYCLE;
    started.activity = START;
    started.transaction = run.clone();
    started.event_id = Some(format!("job/{id}/started"));
    started.summary = match &runner {
        Some(runner) => format!(
            "{label}{of_run} started on runner {}{place}",
            runner.label()
        ),
        None => format!("{label}{of_run} started{place}"),
    };
    let run = run.map(|run| element.scoped(EntityKind::WorkflowRun, run));
    let targets = [Some(job.clone()), run.clone(), runner.clone()];
    let repository = [element.commit("/head_sha"), element.repository()];
    started.targets = targets.into_iter().chain(repository).flatten().collect();

    let conclusion = element.text("/conclusion");
    let ended = conclusion.map(|conclusion| {
        let mut ended = ActivityEvent {
            action: "workflow_job.completed".to_owned(),
            activity: STOP,
            outcome: outcome_of(conclusion),
            reason: Some(conclusion.to_owned()),
            event_id: Some(format!("job/{id}/completed")),
            summary: format!("{label}{of_run} ended: {conclusion}{place}"),
            ..started.clone()
        };
        set_time(&mut ended, element, "/completed_at");
        ended
    });
    // A job that waits or was skipped ran nowhere.
    if runner.is_some() || matches!(element.text("/status"), Some("in_progress")) {
        visit(Derivation::Event(Box::new(started)));
    }
    if let Some(ended) = ended {
        visit(Derivation::Event(Box::new(ended)));
    }
    if let Some(run) = run {
        visit(edge(job.clone(), EdgeRelation::PartOf, run));
    }
    if let Some(runner) = runner {
        visit(edge(job, EdgeRelation::PartOf, runner));
    }
}

pub(super) fn artifact(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(id) = element.id("/id") else {
        return;
    };
    let name = element.text("/name").unwrap_or(&id);
    let artifact = element
        .scoped(EntityKind::Artifact, format!("artifact/{id}"))
        .named(Some(name));
    let bytes = element.id("/size_in_bytes").unwrap_or_default();
    let name = shortened(name, NAME_CHARS_MAX);
    let run = element.id("/workflow_run/id");
    let of_run = run
        .as_ref()
        .map_or_else(String::new, |run| format!(" by run {run}"));

    let mut event = element.event(
        &["/created_at"],
        ActivityCategory::Change,
        "artifact.upload",
    );
    event.class = ocsf::API_ACTIVITY;
    event.activity = ocsf::CREATE;
    event.outcome = ActivityOutcome::Success;
    event.transaction = run.clone();
    event.event_id = Some(format!("artifact/{id}"));
    event.summary = format!("artifact {name} ({bytes} bytes) uploaded{of_run}");
    let run = run.map(|run| element.scoped(EntityKind::WorkflowRun, run));
    event.targets = [Some(artifact.clone()), run.clone(), element.repository()]
        .into_iter()
        .flatten()
        .collect();
    visit(Derivation::Event(Box::new(event)));

    let expired = if element.flag("/expired") {
        ", expired"
    } else {
        ""
    };
    let summary = format!("artifact {name}, {bytes} bytes{expired}");
    visit(Derivation::Object(element.object_by_content(
        artifact.clone(),
        &[],
        summary,
    )));
    if let Some(run) = run {
        visit(edge(artifact, EdgeRelation::PartOf, run));
    }
}

pub(super) fn workflow(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let Some(path) = element.text("/path") else {
        return;
    };
    let workflow = element
        .scoped(EntityKind::Workflow, path)
        .named(element.text("/name"));
    let state = element.text("/state").unwrap_or("unknown");
    let summary = format!("workflow {} is {state}", workflow.label());
    // Whoever disables a workflow does not touch its file, so its time of change stays.
    let object = element.object_by_content(workflow.clone(), &[], summary);
    visit(Derivation::Object(object));
    if let Some(repository) = element.repository() {
        visit(edge(workflow, EdgeRelation::PartOf, repository));
    }
}

/// An entry of a repository's activity view: a push, with the commits before and after it.
pub(super) fn activity(element: &GitHubElement<'_>, visit: &mut DerivationSink<'_>) {
    let kind = element.text("/activity_type").unwrap_or("activity");
    let branch = element.text("/ref").map(branch_name);
    let (before, after) = (element.text("/before"), element.text("/after"));
    let actor = element.account("/actor");

    let mut event = element.event(&["/timestamp"], ActivityCategory::Change, kind);
    event.class = ocsf::API_ACTIVITY;
    event.activity = match kind {
        "branch_creation" => ocsf::CREATE,
        "branch_deletion" => ocsf::DELETE,
        _ => ocsf::UPDATE,
    };
    event.outcome = ActivityOutcome::Success;
    event.event_id = element.id("/id").map(|id| format!("activity/{id}"));
    let by = actor
        .as_ref()
        .map_or("an unknown account", EntityRef::label);
    event.summary = format!(
        "{kind} on {} in {} by {by}: {}..{}",
        branch.unwrap_or("unknown ref"),
        element.scope().unwrap_or("unknown repository"),
        short(before.unwrap_or_default()),
        short(after.unwrap_or_default()),
    );
    let branch = branch.map(|branch| element.scoped(EntityKind::Branch, branch));
    event.targets = [
        branch,
        element.commit("/after"),
        element.commit("/before"),
        element.repository(),
    ]
    .into_iter()
    .flatten()
    // the id of no commit: before the first push and after the deletion of a branch
    .filter(|target| target.id.bytes().any(|byte| byte != b'0'))
    .collect();
    event.actor = actor;
    visit(Derivation::Event(Box::new(event)));
}

/// The file of a workflow as a run used it: which foreign code it runs.
pub(super) fn workflow_file(record: &RecordContext<'_>, visit: &mut DerivationSink<'_>) {
    let value = serde_json::Value::Null;
    let element = GitHubElement::new(record, &value);
    let path: Vec<String> = segments_after(record.uri, "contents").collect();
    let workflow = element.scoped(EntityKind::Workflow, path.join("/"));
    for line in String::from_utf8_lossy(record.bytes).lines() {
        let line = line.trim_start().trim_start_matches("- ").trim_start();
        let Some(used) = line.strip_prefix("uses:") else {
            continue;
        };
        let used = used.split(" #").next().unwrap_or_default();
        let used = used.trim().trim_matches(['"', '\'']);
        // an action in the repository itself is at the run's commit, and a container is no action
        let foreign = !used.starts_with("./") && !used.starts_with("docker://");
        let Some((action, version)) = used.split_once('@').filter(|_| foreign) else {
            continue;
        };
        let mut names = action.split('/');
        let (Some(owner), Some(name)) = (names.next(), names.next()) else {
            continue;
        };
        visit(conditional_edge(
            workflow.clone(),
            EdgeRelation::Trusts,
            repository(&format!("{owner}/{name}")),
            Some(format!("{action}@{version}")),
        ));
    }
}

fn run_entity(element: &GitHubElement<'_>) -> Option<EntityRef> {
    let name = element.text("/name").or(element.text("/display_title"));
    let run = element.scoped(EntityKind::WorkflowRun, element.id("/id")?);
    Some(run.named(name))
}

fn workflow_of_run(element: &GitHubElement<'_>) -> Option<EntityRef> {
    // Required workflows have a path with `@ref` after it, which is not part of the file's name.
    let path = element.text("/path")?.split('@').next()?;
    let workflow = element.scoped(EntityKind::Workflow, path);
    Some(workflow.named(element.text("/name")))
}

/// `run 21 of CI`, with the attempt unless it is the first.
fn run_label(element: &GitHubElement<'_>) -> String {
    let number = element.id("/run_number").unwrap_or_default();
    let name = element.text("/name").or(element.text("/path"));
    let name = shortened(name.unwrap_or("an unnamed workflow"), NAME_CHARS_MAX);
    match element.id("/run_attempt").as_deref() {
        None | Some("1") => format!("run {number} of {name}"),
        Some(attempt) => format!("run {number} of {name}, attempt {attempt},"),
    }
}

/// `, main at b49a973e in owner/name`.
fn place_of_run(element: &GitHubElement<'_>) -> String {
    let branch = element.text("/head_branch").unwrap_or("unknown branch");
    let sha = short(element.text("/head_sha").unwrap_or("unknown commit"));
    let repository = element.scope().unwrap_or("unknown repository");
    format!(", {branch} at {sha} in {repository}")
}

fn targets_of_run(element: &GitHubElement<'_>, run: &EntityRef) -> Vec<EntityRef> {
    let branch = element
        .text("/head_branch")
        .map(|branch| element.scoped(EntityKind::Branch, branch));
    // a run of a fork's pull request runs foreign code
    let fork = element
        .text("/head_repository/full_name")
        .filter(|name| Some(*name) != element.scope())
        .map(repository);
    [
        Some(run.clone()),
        workflow_of_run(element),
        element.commit("/head_sha"),
        branch,
        element.repository(),
        fork,
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn runner_of_job(element: &GitHubElement<'_>) -> Option<EntityRef> {
    let id = element.id("/runner_id").filter(|id| id != "0");
    let name = element.text("/runner_name");
    let id = id.or_else(|| name.map(str::to_owned))?;
    let runner = EntityRef::new(EntityKind::Runner, id).named(name);
    Some(runner.scoped(element.text("/runner_group_name")))
}

/// `main` of `refs/heads/main`; other refs stay as they are.
fn branch_name(reference: &str) -> &str {
    reference.strip_prefix("refs/heads/").unwrap_or(reference)
}

pub(super) fn outcome_of(conclusion: &str) -> ActivityOutcome {
    match conclusion {
        "success" => ActivityOutcome::Success,
        "failure" | "timed_out" | "startup_failure" => ActivityOutcome::Failure,
        "action_required" => ActivityOutcome::Challenge,
        _ => ActivityOutcome::Unknown, // cancelled, skipped, neutral, stale
    }
}

fn set_time(event: &mut ActivityEvent, element: &GitHubElement<'_>, pointer: &str) {
    if let Some((time, text)) = time_at(element.value, pointer) {
        (event.time, event.time_text) = (time, text);
    }
}
