//! Pipelines, their jobs, and deployments.

use super::element::{GitLabElement, edge};
use crate::text::shortened;
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, EdgeRelation, EntityKind,
    EntityRef, ocsf,
};

/// Activities of OCSF's Application Lifecycle.
const INSTALL: u8 = 1;
const START: u8 = 3;
const STOP: u8 = 4;
/// Longest name of a pipeline or job in a summary.
const NAME_CHARS_MAX: usize = 80;

/// A pipeline: its creation, and its end if it has ended. They are events of their own, so that a
/// pipeline that was running at one capture and over at the next is one event more, not another.
/// Lists do not say when it started, or who started it: the jobs do.
pub(super) fn pipeline(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(id) = element.id("/id") else {
        return visit(element.unreadable("a pipeline without an id"));
    };
    let pipeline = pipeline_entity(element, &id).named(element.text("/name"));
    let label = format!("pipeline {}", shortened(pipeline.label(), NAME_CHARS_MAX));
    let commit = element.commit("/sha");
    let mut started = element.event(
        &["/created_at"],
        ActivityCategory::Execution,
        "pipeline.created",
    );
    started.class = ocsf::APPLICATION_LIFECYCLE;
    started.activity = START;
    started.reason = element.text("/source").map(str::to_owned);
    started.actor = element.user("/user");
    started.targets = [Some(pipeline.clone()), element.project(), commit.clone()]
        .into_iter()
        .flatten()
        .collect();
    started.transaction = Some(id.clone());
    started.event_id = Some(format!("pipeline/{id}/created"));
    let source = element.text("/source").unwrap_or("unknown");
    started.summary = format!(
        "{label} created, trigger {source}{}",
        place(element, &started)
    );
    visit_with_end(element, started, &label, "pipeline.ended", visit);

    let summary = format!("{label}, {}", status_of(element));
    visit(element.object(pipeline.clone(), summary));
    if let Some(commit) = commit {
        visit(edge(pipeline, EdgeRelation::Trusts, commit));
    }
}

/// A job, or a bridge, which starts a pipeline of another project.
pub(super) fn job(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(id) = element.id("/id") else {
        return visit(element.unreadable("a job without an id"));
    };
    let job = element.entity(EntityKind::WorkflowRun, format!("job/{id}"));
    let job = job.named(element.text("/name"));
    let pipeline = element.id("/pipeline/id");
    let pipeline = pipeline.map(|id| pipeline_entity(element, &id));
    let runner = element.id("/runner/id").map(|id| {
        element
            .entity(EntityKind::Runner, id)
            .named(element.text("/runner/description"))
    });
    let downstream = element.id("/downstream_pipeline/id");
    let downstream = downstream.map(|id| pipeline_entity(element, &id));
    let label = format!("job {}", shortened(job.label(), NAME_CHARS_MAX));

    // A job that waits, or that nobody has started, has not run.
    if element.has("/started_at") {
        let mut started =
            element.event(&["/started_at"], ActivityCategory::Execution, "job.started");
        started.class = ocsf::APPLICATION_LIFECYCLE;
        started.activity = START;
        started.actor = element.user("/user");
        let targets = [Some(job.clone()), pipeline.clone(), element.project()];
        let targets = targets.into_iter().chain([
            element.commit("/commit/id"),
            runner.clone(),
            downstream.clone(),
        ]);
        started.targets = targets.flatten().collect();
        started.transaction = pipeline.as_ref().map(|pipeline| pipeline.id.clone());
        started.event_id = Some(format!("job/{id}/started"));
        let on = runner.as_ref().map_or_else(String::new, |runner| {
            format!(" on runner {}", shortened(runner.label(), NAME_CHARS_MAX))
        });
        started.summary = format!("{label} started{on}{}", place(element, &started));
        visit_with_end(element, started, &label, "job.ended", visit);
    }
    if element.has("/erased_at") {
        visit(erased(element, &id, &job, &label));
    }
    let summary = format!("{label}, {}", status_of(element));
    visit(element.object(job.clone(), summary));
    if let Some(pipeline) = pipeline {
        visit(edge(job.clone(), EdgeRelation::PartOf, pipeline));
    }
    if let Some(runner) = runner {
        visit(edge(job.clone(), EdgeRelation::PartOf, runner));
    }
    if let Some(downstream) = downstream {
        visit(edge(downstream, EdgeRelation::Trusts, job));
    }
}

/// Somebody erased the trace and the artifacts of the job. GitLab does not say who.
fn erased(element: &GitLabElement<'_>, id: &str, job: &EntityRef, label: &str) -> Derivation {
    let mut event = element.event(&["/erased_at"], ActivityCategory::Change, "job.erased");
    event.class = ocsf::ENTITY_MANAGEMENT;
    event.activity = ocsf::DELETE;
    event.outcome = ActivityOutcome::Success;
    let targets = [Some(job.clone()), element.project()];
    event.targets = targets.into_iter().flatten().collect();
    event.transaction = element.id("/pipeline/id");
    event.event_id = Some(format!("job/{id}/erased"));
    let place = place(element, &event);
    event.summary = format!("trace and artifacts of {label} erased{place}");
    Derivation::Event(Box::new(event))
}

pub(super) fn deployment(element: &GitLabElement<'_>, visit: &mut dyn FnMut(Derivation)) {
    let Some(id) = element.id("/id") else {
        return visit(element.unreadable("a deployment without an id"));
    };
    let deployment = element.entity(EntityKind::Deployment, id.as_str());
    let environment = element.id("/environment/id").map(|id| {
        let environment = element.entity(EntityKind::Environment, id);
        environment.named(element.text("/environment/name"))
    });
    let commit = element.commit("/sha");
    let mut event = element.event(
        &["/created_at"],
        ActivityCategory::Deployment,
        "deployment.created",
    );
    event.class = ocsf::APPLICATION_LIFECYCLE;
    event.activity = INSTALL;
    event.actor = element.user("/user");
    event.through = element
        .id("/deployable/id")
        .map(|id| {
            let job = element.entity(EntityKind::WorkflowRun, format!("job/{id}"));
            job.named(element.text("/deployable/name"))
        })
        .into_iter()
        .collect();
    let targets = [
        environment.clone(),
        Some(deployment.clone()),
        element.project(),
        commit.clone(),
    ];
    event.targets = targets.into_iter().flatten().collect();
    event.transaction = element.id("/deployable/pipeline/id");
    event.event_id = Some(format!("deployment/{id}/created"));
    let to = environment
        .as_ref()
        .map_or("an unknown environment", EntityRef::label);
    let label = format!("deployment {id} to {}", shortened(to, NAME_CHARS_MAX));
    event.summary = format!("{label} created{}", place(element, &event));
    visit_with_end(element, event, &label, "deployment.ended", visit);
    let summary = format!("{label}, {}", status_of(element));
    visit(element.object(deployment.clone(), summary));
    if let Some(commit) = commit {
        visit(edge(deployment.clone(), EdgeRelation::Deploys, commit));
    }
    if let Some(environment) = environment {
        visit(edge(deployment, EdgeRelation::PartOf, environment));
    }
}

/// Visits `begun`, and the end of the same thing if it has ended.
fn visit_with_end(
    element: &GitLabElement<'_>,
    begun: ActivityEvent,
    label: &str,
    action: &str,
    visit: &mut dyn FnMut(Derivation),
) {
    let status = status_of(element);
    let ended = matches!(status, "success" | "failed" | "canceled").then(|| {
        // `updated_at` is later than the end if somebody starts a job of the pipeline again.
        let times = ["/finished_at", "/updated_at"];
        let ended = element.event(&times, begun.category, action);
        let reason = element.text("/failure_reason").unwrap_or(status);
        let begin_id = begun.event_id.as_deref().unwrap_or_default();
        let (id, _) = begin_id.rsplit_once('/').unwrap_or((begin_id, ""));
        ActivityEvent {
            time: ended.time,
            time_text: ended.time_text,
            activity: if begun.activity == START {
                STOP
            } else {
                begun.activity
            },
            action: action.to_owned(),
            outcome: outcome_of(status),
            reason: Some(reason.to_owned()),
            event_id: Some(format!("{id}/ended")),
            summary: format!("{label} ended, {reason}{}", place(element, &begun)),
            ..begun.clone()
        }
    });
    visit(Derivation::Event(Box::new(begun)));
    if let Some(ended) = ended {
        visit(Derivation::Event(Box::new(ended)));
    }
}

/// The status; deployments of old versions have the one of their job alone.
fn status_of<'r>(element: &GitLabElement<'r>) -> &'r str {
    let status = element.text("/status");
    status
        .or_else(|| element.text("/deployable/status"))
        .unwrap_or("unknown")
}

/// ` by root, main at a91957a8 in group/project`.
fn place(element: &GitLabElement<'_>, event: &ActivityEvent) -> String {
    let mut place = String::new();
    if let Some(actor) = &event.actor {
        place.extend([" by ", actor.label()]);
    }
    if let Some(branch) = element.text("/ref") {
        place.extend([", ", &shortened(branch, NAME_CHARS_MAX)]);
    }
    let sha = element.text("/sha").or(element.text("/commit/id"));
    if let Some(sha) = sha {
        place.extend([" at ", &sha[..sha.floor_char_boundary(8)]]);
    }
    if let Some(project) = element.project() {
        place.extend([" in ", project.label()]);
    }
    place
}

/// Pipelines and jobs have numbers of their own, which may be the same.
fn pipeline_entity(element: &GitLabElement<'_>, id: &str) -> EntityRef {
    element.entity(EntityKind::WorkflowRun, id)
}

fn outcome_of(status: &str) -> ActivityOutcome {
    match status {
        "success" => ActivityOutcome::Success,
        "failed" | "canceled" => ActivityOutcome::Failure,
        _ => ActivityOutcome::Unknown, // it waits or runs, or was skipped
    }
}
