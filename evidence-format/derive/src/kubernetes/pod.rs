//! Pods: where they run, as whom, from which images, and when their containers started and ended.

use serde_json::Value;

use super::resource::{Emitter, Resource, entity, texts_at};
use crate::json::{bool_at, id_at, list_at, text_at, time_at};
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, EdgeRelation, EntityKind, EntityRef, ocsf,
};

/// Lists of containers in a pod's spec, and of their states in its status.
const CONTAINERS: &[&str] = &["containers", "initContainers", "ephemeralContainers"];
const STATUSES: &[&str] = &[
    "/status/containerStatuses",
    "/status/initContainerStatuses",
    "/status/ephemeralContainerStatuses",
];

pub(super) fn details(pod: &Resource<'_>) -> String {
    let mut details = pod.text("/status/phase").unwrap_or("unknown").to_owned();
    if let Some(node) = pod.text("/spec/nodeName") {
        details = format!("{details} on {node}");
    }
    let images = images_of(pod.value.pointer("/spec").unwrap_or(&Value::Null));
    match privileges(pod.value.pointer("/spec").unwrap_or(&Value::Null)) {
        privileges if privileges.is_empty() => format!("{details}, {images}"),
        privileges => format!("{details}, {images}, {}", privileges.join(", ")),
    }
}

pub(super) fn derive(pod: &Resource<'_>, emitter: &mut Emitter<'_>) {
    let node = pod
        .text("/spec/nodeName")
        .map(|node| entity("Node", None, node, pod.scope));
    if let Some(node) = &node {
        emitter.edge(pod.entity(), EdgeRelation::PartOf, node.clone(), None);
    }
    if let Some(spec) = pod.value.pointer("/spec") {
        spec_edges(pod, spec, emitter);
        let privileges = privileges(spec);
        if let (Some(node), false) = (&node, privileges.is_empty()) {
            let condition = Some(privileges.join(", "));
            emitter.edge(
                pod.entity(),
                EdgeRelation::CanAccess,
                node.clone(),
                condition,
            );
        }
    }
    for status in STATUSES.iter().flat_map(|pointer| pod.list(pointer)) {
        if let Some(image) = image_of(status) {
            let condition = text_at(status, "/name").map(|name| format!("container {name}"));
            emitter.edge(pod.entity(), EdgeRelation::Trusts, image, condition);
        }
        for state in [
            "/lastState/terminated",
            "/state/terminated",
            "/state/running",
        ] {
            if let Some(state) = status.pointer(state) {
                container_events(pod, node.as_ref(), status, state, emitter);
            }
        }
    }
}

/// Edges of a pod, or of the template that a workload makes pods of.
pub(super) fn spec_edges(owner: &Resource<'_>, spec: &Value, emitter: &mut Emitter<'_>) {
    let account = text_at(spec, "/serviceAccountName").unwrap_or("default");
    // without a token in the pod, only the node can act as the account
    let condition = (bool_at(spec, "/automountServiceAccountToken") == Some(false))
        .then(|| "no token is mounted by default".to_owned());
    let account = owner.neighbour("ServiceAccount", account);
    emitter.edge(owner.entity(), EdgeRelation::CanAssume, account, condition);
    for volume in list_at(spec, "/volumes") {
        let volume_name = text_at(volume, "/name").unwrap_or("");
        let projected = list_at(volume, "/projected/sources")
            .iter()
            .filter_map(|source| text_at(source, "/secret/name"));
        for secret in text_at(volume, "/secret/secretName")
            .into_iter()
            .chain(projected)
        {
            let condition = Some(format!("volume {volume_name}"));
            let secret = owner.neighbour("Secret", secret);
            emitter.edge(owner.entity(), EdgeRelation::Holds, secret, condition);
        }
    }
    for container in containers(spec) {
        let container_name = text_at(container, "/name").unwrap_or("");
        let variables = list_at(container, "/env")
            .iter()
            .filter_map(|variable| text_at(variable, "/valueFrom/secretKeyRef/name"));
        let all_keys = list_at(container, "/envFrom")
            .iter()
            .filter_map(|source| text_at(source, "/secretRef/name"));
        for secret in variables.chain(all_keys) {
            let condition = Some(format!("environment of container {container_name}"));
            let secret = owner.neighbour("Secret", secret);
            emitter.edge(owner.entity(), EdgeRelation::Holds, secret, condition);
        }
    }
    for secret in list_at(spec, "/imagePullSecrets") {
        if let Some(secret) = text_at(secret, "/name") {
            let secret = owner.neighbour("Secret", secret);
            let condition = Some("pulls images".to_owned());
            emitter.edge(owner.entity(), EdgeRelation::Holds, secret, condition);
        }
    }
}

/// The images of a pod's spec as people write them, without repetitions.
pub(super) fn images_of(spec: &Value) -> String {
    let mut images: Vec<&str> = Vec::new();
    for image in containers(spec).filter_map(|container| text_at(container, "/image")) {
        if !images.contains(&image) {
            images.push(image);
        }
    }
    images.join(", ")
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    CONTAINERS
        .iter()
        .filter_map(|list| spec.get(list)?.as_array())
        .flatten()
}

/// What lets a pod leave its isolation from the node.
fn privileges(spec: &Value) -> Vec<String> {
    let mut privileges: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|name| spec.get(name).and_then(Value::as_bool) == Some(true))
        .map(str::to_owned)
        .collect();
    for path in list_at(spec, "/volumes")
        .iter()
        .filter_map(|volume| text_at(volume, "/hostPath/path"))
    {
        privileges.push(format!("hostPath {path}"));
    }
    for container in containers(spec) {
        let name = text_at(container, "/name").unwrap_or("");
        if bool_at(container, "/securityContext/privileged") == Some(true) {
            privileges.push(format!("container {name} is privileged"));
        }
        for capability in texts_at(container, "/securityContext/capabilities/add") {
            privileges.push(format!("container {name} has {capability}"));
        }
    }
    privileges
}

/// The image that a container really runs, by its digest if the runtime said so.
fn image_of(status: &Value) -> Option<EntityRef> {
    let image = text_at(status, "/image");
    let digest = text_at(status, "/imageID")
        // Docker's runtime marks digests that a registry knows
        .map(|id| id.strip_prefix("docker-pullable://").unwrap_or(id));
    // an image belongs to its registry, not to the cluster
    Some(EntityRef::new(EntityKind::Artifact, digest.or(image)?).named(image))
}

/// The start of a container, and its end if it ended.
fn container_events(
    pod: &Resource<'_>,
    node: Option<&EntityRef>,
    status: &Value,
    state: &Value,
    emitter: &mut Emitter<'_>,
) {
    let name = text_at(status, "/name").unwrap_or("");
    // a terminated container has an id of its own, since the status is that of its successor
    let id = text_at(state, "/containerID").or_else(|| text_at(status, "/containerID"));
    let container_id = id.map_or_else(|| format!("{}/{name}", pod.uid()), str::to_owned);
    let container = EntityRef::new(EntityKind::Container, container_id.clone())
        .named(Some(name))
        .scoped(pod.scope);
    let image = image_of(status);
    let targets: Vec<EntityRef> = [pod.entity(), container]
        .into_iter()
        .chain(image.clone())
        .chain(node.cloned())
        .collect();
    let whose = format!("container {name} of {}", pod.label_with_kind());
    if let Some((time, text)) = time_at(state, "/startedAt") {
        let category = ActivityCategory::Execution;
        let mut event = ActivityEvent::new(emitter.record, category, "container.start");
        event.time = time;
        event.time_text = text;
        event.class = ocsf::APPLICATION_LIFECYCLE;
        event.activity = 3;
        event.outcome = ActivityOutcome::Success;
        event.targets.clone_from(&targets);
        event.event_id = Some(format!("{container_id}/start"));
        let image = image.as_ref().map_or("", EntityRef::label);
        event.summary = format!("{whose} started: {image}");
        emitter.event(event);
    }
    let Some((time, text)) = time_at(state, "/finishedAt") else {
        return;
    };
    let code = id_at(state, "/exitCode").unwrap_or_default();
    let reason = text_at(state, "/reason");
    let category = ActivityCategory::Execution;
    let mut event = ActivityEvent::new(emitter.record, category, "container.stop");
    event.time = time;
    event.time_text = text;
    event.class = ocsf::APPLICATION_LIFECYCLE;
    event.activity = 4;
    event.outcome = if code == "0" {
        ActivityOutcome::Success
    } else {
        ActivityOutcome::Failure
    };
    event.reason = reason.map(str::to_owned);
    event.targets = targets;
    event.event_id = Some(format!("{container_id}/stop"));
    event.summary = format!("{whose} ended: {}, exit code {code}", reason.unwrap_or(""));
    emitter.event(event);
}
