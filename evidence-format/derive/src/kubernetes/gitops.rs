//! Argo CD and Flux: which commit was deployed when, from where, and on whose behalf.

use serde_json::Value;

use super::deployment::{commit, deployed};
use super::resource::{Emitter, Resource, entity, referred, texts_at};
use crate::json::{bool_at, first_text, id_at, list_at, text_at, time_at};
use crate::{ActivityOutcome, EdgeRelation, EntityKind, EntityRef};

pub(super) fn application_details(application: &Resource<'_>) -> String {
    let sync = application.text("/status/sync/status").unwrap_or("unknown");
    let health = application
        .text("/status/health/status")
        .unwrap_or("unknown");
    let revision = application.text("/status/sync/revision").unwrap_or("?");
    format!("{sync}, {health}, at {revision}")
}

pub(super) fn application(application: &Resource<'_>, emitter: &mut Emitter<'_>) {
    if let Some(project) = application.text("/spec/project") {
        let project = application.neighbour("AppProject", project);
        emitter.edge(application.entity(), EdgeRelation::PartOf, project, None);
    }
    for source in sources(application.value.pointer("/spec").unwrap_or(&Value::Null)) {
        trust_repository(application, source, emitter);
    }
    for resource in application.list("/status/resources") {
        if let Some(resource) = referred(resource, None, application.scope) {
            emitter.edge(application.entity(), EdgeRelation::Deploys, resource, None);
        }
    }
    for entry in application.list("/status/history") {
        sync_event(application, entry, emitter);
    }
    failed_sync(application, emitter);
}

/// An application has one source or several.
fn sources(spec: &Value) -> impl Iterator<Item = &Value> {
    spec.get("source")
        .into_iter()
        .chain(list_at(spec, "/sources"))
}

fn trust_repository(application: &Resource<'_>, source: &Value, emitter: &mut Emitter<'_>) {
    let Some(url) = text_at(source, "/repoURL") else {
        return;
    };
    let conditions: Vec<String> = [
        ("path", "/path"),
        ("chart", "/chart"),
        ("revision", "/targetRevision"),
    ]
    .into_iter()
    .filter_map(|(name, pointer)| Some(format!("{name} {}", text_at(source, pointer)?)))
    .collect();
    let condition = (!conditions.is_empty()).then(|| conditions.join(", "));
    let repository = EntityRef::new(EntityKind::Repository, url);
    emitter.edge(
        application.entity(),
        EdgeRelation::Trusts,
        repository,
        condition,
    );
}

fn sync_event(application: &Resource<'_>, entry: &Value, emitter: &mut Emitter<'_>) {
    let revisions = revisions_of(entry);
    let id = id_at(entry, "/id").unwrap_or_default();
    let event_id = format!("{}/history/{id}", application.uid());
    let by = initiator(entry.get("initiatedBy"));
    let summary = format!(
        "{} synced to {} by {}",
        application.label_with_kind(),
        revisions.join(", "),
        by.label()
    );
    let time = time_at(entry, "/deployedAt");
    let target = application.entity();
    let mut event = deployed(emitter, time, "argocd.sync", target, &event_id, summary);
    let repository = sources(entry).find_map(|source| text_at(source, "/repoURL"));
    event.targets.extend(
        revisions
            .iter()
            .map(|revision| commit(revision, repository)),
    );
    event.actor = Some(by);
    emitter.event(event);
}

/// The last operation, if it failed: the history only has those that succeeded.
fn failed_sync(application: &Resource<'_>, emitter: &mut Emitter<'_>) {
    let Some(operation) = application.value.pointer("/status/operationState") else {
        return;
    };
    let phase = text_at(operation, "/phase").unwrap_or("");
    if !matches!(phase, "Failed" | "Error") {
        return;
    }
    let time = time_at(operation, "/finishedAt").or_else(|| time_at(operation, "/startedAt"));
    let at = time.as_ref().map_or("", |(_, text)| text).to_owned();
    let by = initiator(operation.pointer("/operation/initiatedBy"));
    let message = text_at(operation, "/message").unwrap_or("");
    let summary = format!(
        "{} sync by {} ended in {phase}: {message}",
        application.label_with_kind(),
        by.label()
    );
    let event_id = format!("{}/operation/{at}", application.uid());
    let target = application.entity();
    let mut event = deployed(emitter, time, "argocd.sync", target, &event_id, summary);
    event.outcome = ActivityOutcome::Failure;
    event.reason = Some(phase.to_owned());
    event.actor = Some(by);
    emitter.event(event);
}

fn revisions_of(entry: &Value) -> Vec<&str> {
    text_at(entry, "/revision")
        .into_iter()
        .chain(texts_at(entry, "/revisions"))
        .collect()
}

fn initiator(by: Option<&Value>) -> EntityRef {
    let user = by.and_then(|by| text_at(by, "/username"));
    let automated = by.and_then(|by| bool_at(by, "/automated")) == Some(true);
    match user {
        Some(user) => EntityRef::new(EntityKind::User, user),
        None if automated => EntityRef::new(EntityKind::Service, "argocd").named(Some("Argo CD")),
        None => EntityRef::new(EntityKind::User, "unknown"),
    }
}

/// What a project allows, and to whom.
pub(super) fn app_project(project: &Resource<'_>, emitter: &mut Emitter<'_>) {
    for url in texts_at(project.value, "/spec/sourceRepos") {
        let repository = EntityRef::new(EntityKind::Repository, url);
        emitter.edge(project.entity(), EdgeRelation::Trusts, repository, None);
    }
    for role in project.list("/spec/roles") {
        let Some(name) = text_at(role, "/name") else {
            continue;
        };
        let id = format!("proj:{}:{name}", project.name);
        let role_entity = EntityRef::new(EntityKind::Role, id).scoped(project.scope);
        for group in texts_at(role, "/groups") {
            let group = EntityRef::new(EntityKind::Group, group);
            emitter.edge(group, EdgeRelation::CanAssume, role_entity.clone(), None);
        }
        for policy in texts_at(role, "/policies") {
            let condition = Some(policy.to_owned());
            let to = project.entity();
            emitter.edge(role_entity.clone(), EdgeRelation::CanAccess, to, condition);
        }
    }
}

pub(super) fn flux_details(object: &Resource<'_>) -> String {
    first_text(
        object.value,
        &[
            "/status/lastAppliedRevision",
            "/status/history/0/chartVersion",
            "/status/lastAttemptedRevision",
        ],
    )
    .map(|revision| format!("at {revision}"))
    .unwrap_or_default()
}

pub(super) fn kustomization(object: &Resource<'_>, emitter: &mut Emitter<'_>) {
    flux_source(object, "/spec/sourceRef", emitter);
    for entry in object.list("/status/inventory/entries") {
        // `payments_checkout-api_apps_Deployment`
        let parts = text_at(entry, "/id").map(|id| id.split('_').collect::<Vec<_>>());
        if let Some([namespace, name, _group, kind]) = parts.as_deref() {
            let namespace = (!namespace.is_empty()).then_some(*namespace);
            let to = entity(kind, namespace, name, object.scope);
            emitter.edge(object.entity(), EdgeRelation::Deploys, to, None);
        }
    }
    if let Some(revision) = object.text("/status/lastAppliedRevision") {
        let ready = object
            .list("/status/conditions")
            .iter()
            .find(|condition| text_at(condition, "/type") == Some("Ready"));
        let time = ready.and_then(|condition| time_at(condition, "/lastTransitionTime"));
        let summary = format!("{} applied {revision}", object.label_with_kind());
        let event_id = format!("{}/{revision}", object.uid());
        let target = object.entity();
        let mut event = deployed(emitter, time, "flux.apply", target, &event_id, summary);
        event.targets.push(commit(revision, None));
        emitter.event(event);
    }
}

pub(super) fn helm_release(object: &Resource<'_>, emitter: &mut Emitter<'_>) {
    flux_source(object, "/spec/chart/spec/sourceRef", emitter);
    flux_source(object, "/spec/chartRef", emitter);
    for entry in object.list("/status/history") {
        let version = id_at(entry, "/version").unwrap_or_default();
        let status = text_at(entry, "/status").unwrap_or("unknown");
        let chart = text_at(entry, "/chartName").unwrap_or("");
        let chart_version = text_at(entry, "/chartVersion").unwrap_or("");
        let summary = format!(
            "{} revision {version}: chart {chart} {chart_version}, now {status}",
            object.label_with_kind()
        );
        let time = time_at(entry, "/lastDeployed");
        let event_id = format!("{}/history/{version}", object.uid());
        let target = object.entity();
        let mut event = deployed(emitter, time, "flux.release", target, &event_id, summary);
        if status == "failed" {
            event.outcome = ActivityOutcome::Failure;
        }
        emitter.event(event);
    }
}

fn flux_source(object: &Resource<'_>, pointer: &str, emitter: &mut Emitter<'_>) {
    let source = object.value.pointer(pointer);
    if let Some(source) = source.and_then(|source| referred(source, object.namespace, object.scope))
    {
        emitter.edge(object.entity(), EdgeRelation::Trusts, source, None);
    }
}

pub(super) fn git_repository_details(repository: &Resource<'_>) -> String {
    let url = repository.text("/spec/url").unwrap_or("");
    let revision = repository.text("/status/artifact/revision").unwrap_or("?");
    format!("{url} at {revision}")
}

pub(super) fn git_repository(repository: &Resource<'_>, emitter: &mut Emitter<'_>) {
    if let Some(url) = repository.text("/spec/url") {
        let remote = EntityRef::new(EntityKind::Repository, url);
        let branch = repository.text("/spec/ref/branch");
        let condition = branch.map(|branch| format!("branch {branch}"));
        emitter.edge(repository.entity(), EdgeRelation::Trusts, remote, condition);
    }
    if let Some(secret) = repository.text("/spec/secretRef/name") {
        let secret = repository.neighbour("Secret", secret);
        emitter.edge(repository.entity(), EdgeRelation::Holds, secret, None);
    }
}
