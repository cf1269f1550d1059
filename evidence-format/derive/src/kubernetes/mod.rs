//! Kubernetes: what the API server lists and watches.
//!
//! An element of a list does not say what it is; the endpoint does, so [`ENDPOINTS`] is the one
//! place that maps endpoints to kinds. Kubernetes keeps no log of who did what outside the API
//! server's audit log, which another source captures. What its objects say about the past is
//! derived here: events of the cluster, the managers of fields (who wrote which field last, by user
//! agent), starts and ends of containers, and the histories of deployments.

mod changes;
mod cluster_event;
mod config;
mod deployment;
mod gitops;
mod network;
mod pod;
mod rbac;
mod resource;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::json::{list_at, parse_record, text_at};
use crate::{ActivityEvent, Derivation, Deriver, RecordContext};
use resource::{Emitter, Resource};

/// An endpoint of the API server, and what its answers hold.
pub struct KubernetesEndpoint {
    /// `kubernetes:listPods`: the `Exhibit-Endpoint` of its records.
    pub id: &'static str,
    /// Kind of the objects in its answers: `Pod`.
    pub kind: &'static str,
    reader: ObjectReader,
}

/// How the objects of one kind are read.
enum ObjectReader {
    /// Something that exists. Besides what all objects have, `details` says what people want to see
    /// in one line, and `derive` reads what only this kind has.
    Resource {
        details: fn(&Resource<'_>) -> String,
        derive: fn(&Resource<'_>, &mut Emitter<'_>),
    },
    /// Events of the cluster.
    ClusterEvent,
    /// Which version of Kubernetes answers.
    Version,
    /// Evidence that is read as it is: logs of containers, answers about ourselves.
    Opaque,
}

const fn resource(
    id: &'static str,
    kind: &'static str,
    details: fn(&Resource<'_>) -> String,
    derive: fn(&Resource<'_>, &mut Emitter<'_>),
) -> KubernetesEndpoint {
    KubernetesEndpoint {
        id,
        kind,
        reader: ObjectReader::Resource { details, derive },
    }
}

const fn other(id: &'static str, kind: &'static str, reader: ObjectReader) -> KubernetesEndpoint {
    KubernetesEndpoint { id, kind, reader }
}

/// All endpoints that this deriver knows. `kubernetes:watch…` has the objects of `kubernetes:list…`
/// and needs no row.
pub static ENDPOINTS: &[KubernetesEndpoint] = &[
    other("kubernetes:listEvents", "Event", ObjectReader::ClusterEvent),
    resource("kubernetes:listPods", "Pod", pod::details, pod::derive),
    other("kubernetes:podLog", "Pod", ObjectReader::Opaque),
    resource("kubernetes:listNodes", "Node", config::node, no_more),
    resource("kubernetes:listLeases", "Lease", config::lease, no_more),
    resource(
        "kubernetes:listNamespaces",
        "Namespace",
        no_details,
        no_more,
    ),
    resource(
        "kubernetes:listDeployments",
        "Deployment",
        deployment::details,
        deployment::workload,
    ),
    resource(
        "kubernetes:listReplicaSets",
        "ReplicaSet",
        deployment::details,
        deployment::replica_set,
    ),
    resource(
        "kubernetes:listStatefulSets",
        "StatefulSet",
        deployment::details,
        deployment::workload,
    ),
    resource(
        "kubernetes:listDaemonSets",
        "DaemonSet",
        deployment::details,
        deployment::workload,
    ),
    resource(
        "kubernetes:listControllerRevisions",
        "ControllerRevision",
        deployment::revision_details,
        deployment::controller_revision,
    ),
    resource(
        "kubernetes:listJobs",
        "Job",
        deployment::details,
        deployment::job,
    ),
    resource(
        "kubernetes:listCronJobs",
        "CronJob",
        deployment::cron_job_details,
        deployment::cron_job,
    ),
    resource(
        "kubernetes:listServices",
        "Service",
        network::service,
        no_more,
    ),
    resource(
        "kubernetes:listEndpointSlices",
        "EndpointSlice",
        no_details,
        network::endpoint_slice,
    ),
    resource(
        "kubernetes:listIngresses",
        "Ingress",
        no_details,
        network::ingress,
    ),
    resource(
        "kubernetes:listNetworkPolicies",
        "NetworkPolicy",
        network::policy,
        no_more,
    ),
    resource(
        "kubernetes:listServiceAccounts",
        "ServiceAccount",
        no_details,
        rbac::service_account,
    ),
    resource("kubernetes:listRoles", "Role", rbac::rules, rbac::role),
    resource(
        "kubernetes:listClusterRoles",
        "ClusterRole",
        rbac::rules,
        rbac::role,
    ),
    resource(
        "kubernetes:listRoleBindings",
        "RoleBinding",
        rbac::grant,
        rbac::binding,
    ),
    resource(
        "kubernetes:listClusterRoleBindings",
        "ClusterRoleBinding",
        rbac::grant,
        rbac::binding,
    ),
    resource(
        "kubernetes:listMutatingWebhookConfigurations",
        "MutatingWebhookConfiguration",
        config::webhooks,
        config::admission,
    ),
    resource(
        "kubernetes:listValidatingWebhookConfigurations",
        "ValidatingWebhookConfiguration",
        config::webhooks,
        config::admission,
    ),
    resource(
        "kubernetes:listCustomResourceDefinitions",
        "CustomResourceDefinition",
        no_details,
        no_more,
    ),
    resource(
        "kubernetes:listCertificateSigningRequests",
        "CertificateSigningRequest",
        config::certificate_request,
        config::certificate_events,
    ),
    resource(
        "kubernetes:listPodCertificateRequests",
        "PodCertificateRequest",
        config::signer,
        no_more,
    ),
    resource(
        "kubernetes:listClusterTrustBundles",
        "ClusterTrustBundle",
        config::signer,
        no_more,
    ),
    resource(
        "kubernetes:listConfigMaps",
        "ConfigMap",
        config::keys,
        no_more,
    ),
    resource(
        "kubernetes:listSecrets",
        "Secret",
        config::keys,
        deployment::helm_release,
    ),
    resource(
        "kubernetes:listHelmReleases",
        "Secret",
        config::keys,
        deployment::helm_release,
    ),
    resource(
        "kubernetes:listApplications",
        "Application",
        gitops::application_details,
        gitops::application,
    ),
    resource(
        "kubernetes:listAppProjects",
        "AppProject",
        no_details,
        gitops::app_project,
    ),
    resource(
        "kubernetes:listKustomizations",
        "Kustomization",
        gitops::flux_details,
        gitops::kustomization,
    ),
    resource(
        "kubernetes:listFluxHelmReleases",
        "HelmRelease",
        gitops::flux_details,
        gitops::helm_release,
    ),
    resource(
        "kubernetes:listGitRepositories",
        "GitRepository",
        gitops::git_repository_details,
        gitops::git_repository,
    ),
    other("kubernetes:getVersion", "Version", ObjectReader::Version),
    other("kubernetes:listApiGroups", "APIGroup", ObjectReader::Opaque),
    other(
        "kubernetes:getEventsVersion",
        "EventList",
        ObjectReader::Opaque,
    ),
    other("kubernetes:getPodsVersion", "PodList", ObjectReader::Opaque),
    other(
        "kubernetes:createSelfSubjectReview",
        "SelfSubjectReview",
        ObjectReader::Opaque,
    ),
];

fn no_details(_: &Resource<'_>) -> String {
    String::new()
}

fn no_more(_: &Resource<'_>, _: &mut Emitter<'_>) {}

/// Derives from answers of a Kubernetes API server.
pub(crate) struct KubernetesDeriver;

impl Deriver for KubernetesDeriver {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn version(&self) -> u32 {
        1
    }

    fn reads(&self, record: &RecordContext<'_>) -> bool {
        // an error of the API server is a gap of the capture, not something about the cluster
        record.status < 400
            && endpoint_of(record.endpoint)
                .is_some_and(|endpoint| !matches!(endpoint.reader, ObjectReader::Opaque))
    }

    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
        let Some(endpoint) = endpoint_of(record.endpoint).filter(|_| self.reads(record)) else {
            return;
        };
        let mut emitter = Emitter::new(record, visit);
        match parse_record(record.bytes) {
            Some(value) => derive_value(endpoint, &value, &mut emitter),
            None => emitter.event(ActivityEvent::unreadable(record, "not JSON")),
        }
    }
}

fn endpoint_of(id: &str) -> Option<&'static KubernetesEndpoint> {
    let watched = id
        .strip_prefix("kubernetes:watch")
        .map(|resource| format!("kubernetes:list{resource}"));
    let id = watched.as_deref().unwrap_or(id);
    ENDPOINTS.iter().find(|endpoint| endpoint.id == id)
}

/// Reads an object, a whole list, or a line of a watch.
fn derive_value(endpoint: &KubernetesEndpoint, value: &Value, emitter: &mut Emitter<'_>) {
    // a list that is short enough is one record, above all an empty one
    if text_at(value, "/kind").is_some_and(|kind| kind.ends_with("List"))
        || value.pointer("/items").is_some_and(Value::is_array)
    {
        for item in list_at(value, "/items") {
            derive_object(endpoint, item, emitter);
        }
        return;
    }
    match (text_at(value, "/type"), value.get("object")) {
        // bookmarks only carry a version; an error ends the watch, which its coverage says
        (Some("BOOKMARK" | "ERROR"), Some(_)) => {}
        (Some("DELETED"), Some(object)) => changes::deleted(endpoint.kind, object, emitter),
        (Some(_), Some(object)) => derive_object(endpoint, object, emitter),
        _ => derive_object(endpoint, value, emitter),
    }
}

fn derive_object(endpoint: &KubernetesEndpoint, value: &Value, emitter: &mut Emitter<'_>) {
    match &endpoint.reader {
        ObjectReader::ClusterEvent => cluster_event::derive(value, emitter),
        ObjectReader::Version => config::version(value, emitter),
        ObjectReader::Opaque => {}
        ObjectReader::Resource { details, derive } => {
            let Some(resource) = Resource::new(endpoint.kind, value, emitter.scope()) else {
                emitter.unreadable("has no name");
                return;
            };
            let details = details(&resource);
            emitter.object(&resource, &details);
            emitter.owners(&resource);
            changes::derive(&resource, &details, emitter);
            derive(&resource, emitter);
        }
    }
}
