//! Who changed an object: each manager of fields has the time of its last write. The manager is
//! taken from the client's user agent, so it names a program (`kubectl-edit`) and not a person.

use evidence_format::time::Timestamp;
use serde_json::Value;

use super::resource::{Emitter, Resource};
use crate::json::{text_at, time_at};
use crate::{ActivityCategory, ActivityEvent, ActivityOutcome, ocsf};

/// Components that write all the time; what they did is in events and in histories.
const CONTROL_PLANE: &[&str] = &[
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "clusterrole-aggregation-controller",
    "cloud-controller-manager",
];

/// Most paths of changed fields in a summary.
const PATHS_MAX: usize = 4;

/// Derives one event for each write by something other than the control plane.
pub(super) fn derive(resource: &Resource<'_>, details: &str, emitter: &mut Emitter<'_>) {
    if !is_changed_by_people(resource) {
        return;
    }
    let managers = resource.list("/metadata/managedFields");
    if managers.is_empty() {
        // servers before 1.18, and proxies that strip them
        if category_of(resource.kind, None) == ActivityCategory::Access
            && let Some((time, text)) = resource.created()
        {
            let write = FieldWrite {
                manager: None,
                verb: "create",
                time,
                text,
                fields: &Value::Null,
            };
            emitter.event(write.event(resource, details, emitter));
        }
        return;
    }
    let created = resource.created().map(|(time, _)| time);
    for entry in managers {
        let subresource = text_at(entry, "/subresource");
        let Some(manager) = text_at(entry, "/manager") else {
            continue;
        };
        let Some((time, text)) = time_at(entry, "/time") else {
            continue;
        };
        if CONTROL_PLANE.contains(&manager) || subresource == Some("status") {
            continue;
        }
        let write = FieldWrite {
            manager: Some(manager),
            verb: match subresource {
                Some(subresource) => subresource,
                None if created == Some(time) => "create",
                None => "update",
            },
            time,
            text,
            fields: entry.get("fieldsV1").unwrap_or(&Value::Null),
        };
        emitter.event(write.event(resource, details, emitter));
    }
}

/// Derives the event for an object that went while it was watched.
pub(super) fn deleted(kind: &'static str, object: &Value, emitter: &mut Emitter<'_>) {
    // events expire, which says nothing
    if kind == "Event" {
        return;
    }
    let Some(resource) = Resource::new(kind, object, emitter.scope()) else {
        emitter.unreadable("has no name");
        return;
    };
    let category = category_of(kind, None);
    let mut event = ActivityEvent::new(emitter.record, category, &format!("{kind}.delete"));
    // without a time of its own, it was gone at the latest when the line came
    if let Some((time, text)) = time_at(object, "/metadata/deletionTimestamp") {
        event.time = time;
        event.time_text = text;
    }
    event.class = ocsf::ENTITY_MANAGEMENT;
    event.activity = ocsf::DELETE;
    event.outcome = ActivityOutcome::Success;
    event.targets = vec![resource.entity()];
    event.event_id = Some(format!("{}/deleted", resource.uid()));
    event.summary = format!("{} deleted", resource.label_with_kind());
    emitter.event(event);
}

fn is_changed_by_people(resource: &Resource<'_>) -> bool {
    match resource.kind {
        // written by controllers alone, or shown by events of their own
        "Lease"
        | "EndpointSlice"
        | "ReplicaSet"
        | "ControllerRevision"
        | "CertificateSigningRequest" => false,
        "Secret" => resource.label("owner") != Some("helm"),
        // the roles that every cluster is born with
        _ => resource.label("kubernetes.io/bootstrapping").is_none(),
    }
}

/// One manager's last write to an object.
struct FieldWrite<'v> {
    /// `None` if the server did not say.
    manager: Option<&'v str>,
    /// `create`, `update`, or the subresource.
    verb: &'v str,
    time: Timestamp,
    text: String,
    fields: &'v Value,
}

impl FieldWrite<'_> {
    fn event(
        &self,
        resource: &Resource<'_>,
        details: &str,
        emitter: &Emitter<'_>,
    ) -> ActivityEvent {
        let Self { manager, verb, .. } = *self;
        let category = match verb {
            "ephemeralcontainers" => ActivityCategory::Execution,
            _ => category_of(resource.kind, Some(self.fields)),
        };
        let action = format!("{}.{verb}", resource.kind);
        let mut event = ActivityEvent::new(emitter.record, category, &action);
        event.time = self.time;
        event.time_text.clone_from(&self.text);
        let is_grant = resource.kind.ends_with("RoleBinding");
        (event.class, event.activity) = match verb {
            "create" | "update" if is_grant => (ocsf::USER_ACCESS_MANAGEMENT, ocsf::CREATE),
            "create" => (ocsf::ENTITY_MANAGEMENT, ocsf::CREATE),
            "update" => (ocsf::ENTITY_MANAGEMENT, ocsf::UPDATE),
            _ => (ocsf::ENTITY_MANAGEMENT, ocsf::OTHER),
        };
        event.outcome = ActivityOutcome::Success;
        event.user_agent = manager.map(str::to_owned);
        event.targets = vec![resource.entity()];
        event.event_id = Some(format!(
            "{}/{}/{verb}/{}",
            resource.uid(),
            manager.unwrap_or(""),
            self.time
        ));
        event.summary = self.summary(resource, details);
        event
    }

    fn summary(&self, resource: &Resource<'_>, details: &str) -> String {
        let did = match self.verb {
            "create" => "created".to_owned(),
            "update" => "changed".to_owned(),
            subresource => format!("changed ({subresource})"),
        };
        let mut summary = format!("{} {did}", resource.label_with_kind());
        if let Some(manager) = self.manager {
            summary = format!("{summary} with {manager}");
        }
        if self.verb == "update" {
            let mut paths = Vec::new();
            collect_paths(self.fields, &mut String::new(), &mut paths);
            if !paths.is_empty() {
                summary = format!("{summary} in {}", paths.join(", "));
            }
        }
        if !details.is_empty() {
            summary = format!("{summary}: {details}");
        }
        summary
    }
}

/// Collects the first paths of a field set (`{"f:spec":{"f:replicas":{}}}` is `spec.replicas`).
fn collect_paths(fields: &Value, path: &mut String, paths: &mut Vec<String>) {
    /// Deep enough for `spec.template.spec.containers`.
    const DEPTH_MAX: usize = 4;
    let members: Vec<(&str, &Value)> = fields
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, below)| Some((name.strip_prefix("f:")?, below)))
        .collect();
    let is_leaf = members.is_empty() || path.matches('.').count() + 1 >= DEPTH_MAX;
    if is_leaf && !path.is_empty() {
        if paths.len() < PATHS_MAX {
            paths.push(path.clone());
        }
        return;
    }
    for (name, below) in members {
        let length = path.len();
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        collect_paths(below, path, paths);
        path.truncate(length);
    }
}

fn category_of(kind: &str, fields: Option<&Value>) -> ActivityCategory {
    match kind {
        "Role"
        | "ClusterRole"
        | "RoleBinding"
        | "ClusterRoleBinding"
        | "ServiceAccount"
        | "CertificateSigningRequest"
        | "PodCertificateRequest"
        | "ClusterTrustBundle"
        | "Secret"
        | "MutatingWebhookConfiguration"
        | "ValidatingWebhookConfiguration"
        | "NetworkPolicy" => ActivityCategory::Access,
        "Pod" | "Job" => ActivityCategory::Execution,
        "Deployment" | "StatefulSet" | "DaemonSet" | "CronJob"
            if fields.is_some_and(sets_image) =>
        {
            ActivityCategory::Deployment
        }
        _ => ActivityCategory::Change,
    }
}

fn sets_image(fields: &Value) -> bool {
    fields
        .as_object()
        .into_iter()
        .flatten()
        .any(|(name, below)| name == "f:image" || sets_image(below))
}
