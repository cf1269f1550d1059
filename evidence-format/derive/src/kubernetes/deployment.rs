//! What was brought into service, and when: workloads with their revisions, jobs, Helm releases.

use evidence_format::time::Timestamp;
use serde_json::Value;

use super::pod::{images_of, spec_edges};
use super::resource::{Emitter, Resource, entity};
use crate::json::{id_at, text_at, time_at};
use crate::{ActivityCategory, ActivityEvent, ActivityOutcome, EntityKind, EntityRef, ocsf};

const TEMPLATE: &str = "/spec/template/spec";
const CRON_TEMPLATE: &str = "/spec/jobTemplate/spec/template/spec";

pub(super) fn details(workload: &Resource<'_>) -> String {
    images_at(workload, TEMPLATE)
}

pub(super) fn cron_job_details(job: &Resource<'_>) -> String {
    let schedule = job.text("/spec/schedule").unwrap_or("");
    format!("{schedule}, {}", images_at(job, CRON_TEMPLATE))
}

pub(super) fn revision_details(revision: &Resource<'_>) -> String {
    let number = id_at(revision.value, "/revision").unwrap_or_default();
    let images = images_at(revision, "/data/spec/template/spec");
    format!("revision {number}, {images}")
}

fn images_at(resource: &Resource<'_>, pointer: &str) -> String {
    images_of(resource.value.pointer(pointer).unwrap_or(&Value::Null))
}

pub(super) fn workload(workload: &Resource<'_>, emitter: &mut Emitter<'_>) {
    if let Some(spec) = workload.value.pointer(TEMPLATE) {
        spec_edges(workload, spec, emitter);
    }
}

pub(super) fn cron_job(job: &Resource<'_>, emitter: &mut Emitter<'_>) {
    if let Some(spec) = job.value.pointer(CRON_TEMPLATE) {
        spec_edges(job, spec, emitter);
    }
}

/// A revision of a Deployment: the ReplicaSet was created when the revision was first rolled out.
pub(super) fn replica_set(set: &Resource<'_>, emitter: &mut Emitter<'_>) {
    let Some(deployment) = set.controller("Deployment") else {
        return;
    };
    let revision = set.annotation("deployment.kubernetes.io/revision");
    let mut summary = rolled_out(set, "Deployment", deployment, revision, TEMPLATE);
    // a ReplicaSet that is used again keeps its time of creation; only this says that it was
    if let Some(earlier) = set.annotation("deployment.kubernetes.io/revision-history") {
        summary = format!("{summary}; earlier revision {earlier} was the same");
    }
    if let Some(cause) = set.annotation("kubernetes.io/change-cause") {
        summary = format!("{summary} ({cause})");
    }
    let target = set.neighbour("Deployment", deployment);
    let time = set.created();
    let event = deployed(
        emitter,
        time,
        "deployment.revision",
        target,
        set.uid(),
        summary,
    );
    emitter.event(event);
}

/// A revision of a StatefulSet or a DaemonSet.
pub(super) fn controller_revision(revision: &Resource<'_>, emitter: &mut Emitter<'_>) {
    for kind in ["StatefulSet", "DaemonSet"] {
        let Some(owner) = revision.controller(kind) else {
            continue;
        };
        let number = id_at(revision.value, "/revision");
        let images = "/data/spec/template/spec";
        let summary = rolled_out(revision, kind, owner, number.as_deref(), images);
        let target = revision.neighbour(kind, owner);
        let action = "controllerrevision.revision";
        let time = revision.created();
        let event = deployed(emitter, time, action, target, revision.uid(), summary);
        emitter.event(event);
    }
}

/// `Deployment payments/checkout-api revision 4: …/checkout-api:1.8.5`.
fn rolled_out(
    revision: &Resource<'_>,
    kind: &str,
    owner: &str,
    number: Option<&str>,
    images: &str,
) -> String {
    format!(
        "{kind} {}/{owner} revision {}: {}",
        revision.namespace.unwrap_or(""),
        number.unwrap_or("?"),
        images_at(revision, images)
    )
}

/// An event of category deployment; `time` defaults to that of the capture.
pub(super) fn deployed(
    emitter: &Emitter<'_>,
    time: Option<(Timestamp, String)>,
    action: &str,
    target: EntityRef,
    event_id: &str,
    summary: String,
) -> ActivityEvent {
    let mut event = ActivityEvent::new(emitter.record, ActivityCategory::Deployment, action);
    if let Some((time, text)) = time {
        event.time = time;
        event.time_text = text;
    }
    event.class = ocsf::APPLICATION_LIFECYCLE;
    event.activity = 8; // update
    event.outcome = ActivityOutcome::Success;
    event.targets = vec![target];
    event.event_id = Some(event_id.to_owned());
    event.summary = summary;
    event
}

pub(super) fn job(job: &Resource<'_>, emitter: &mut Emitter<'_>) {
    workload(job, emitter);
    let label = job.label_with_kind();
    if let Some(time) = time_at(job.value, "/status/startTime") {
        let summary = format!("{label} started: {}", details(job));
        job_event(
            job,
            time,
            ("job.start", 3),
            ActivityOutcome::Success,
            summary,
            emitter,
        );
    }
    if let Some(time) = time_at(job.value, "/status/completionTime") {
        let summary = format!("{label} completed");
        job_event(
            job,
            time,
            ("job.complete", 4),
            ActivityOutcome::Success,
            summary,
            emitter,
        );
    }
    let failed = job.list("/status/conditions").iter().find(|condition| {
        text_at(condition, "/type") == Some("Failed")
            && text_at(condition, "/status") == Some("True")
    });
    if let Some(failed) = failed
        && let Some(time) = time_at(failed, "/lastTransitionTime")
    {
        let why = text_at(failed, "/message").unwrap_or("");
        let summary = format!("{label} failed: {why}");
        job_event(
            job,
            time,
            ("job.fail", 4),
            ActivityOutcome::Failure,
            summary,
            emitter,
        );
    }
}

fn job_event(
    job: &Resource<'_>,
    (time, text): (Timestamp, String),
    (action, activity): (&str, u8),
    outcome: ActivityOutcome,
    summary: String,
    emitter: &mut Emitter<'_>,
) {
    let mut event = ActivityEvent::new(emitter.record, ActivityCategory::Execution, action);
    event.time = time;
    event.time_text = text;
    event.class = ocsf::APPLICATION_LIFECYCLE;
    event.activity = activity;
    event.outcome = outcome;
    event.targets = vec![job.entity()];
    event.event_id = Some(format!("{}/{action}", job.uid()));
    event.summary = summary;
    emitter.event(event);
}

/// Helm keeps each revision of a release in a Secret, and says in its labels what it is.
pub(super) fn helm_release(secret: &Resource<'_>, emitter: &mut Emitter<'_>) {
    if secret.label("owner") != Some("helm") {
        return;
    }
    let (Some(release), Some(namespace)) = (secret.label("name"), secret.namespace) else {
        return;
    };
    let revision = secret.label("version").unwrap_or("?");
    let status = secret.label("status").unwrap_or("unknown");
    let target = entity("Helm", Some(namespace), release, secret.scope);
    let summary = format!("Helm release {namespace}/{release} revision {revision}, now {status}");
    let time = secret.created();
    let mut event = deployed(emitter, time, "helm.release", target, secret.uid(), summary);
    event.targets.push(secret.entity());
    event.outcome = match status {
        "failed" => ActivityOutcome::Failure,
        "deployed" | "superseded" | "uninstalled" => ActivityOutcome::Success,
        _ => ActivityOutcome::Unknown,
    };
    emitter.event(event);
}

/// A commit or another revision that a deployment was made of.
pub(super) fn commit(revision: &str, repository: Option<&str>) -> EntityRef {
    EntityRef::new(EntityKind::Commit, revision).scoped(repository)
}
