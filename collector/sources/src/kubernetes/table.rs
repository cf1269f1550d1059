//! What is captured of a cluster: one row for each resource.

use std::sync::LazyLock;

use domain::incident::PivotKind::{Image, Namespace, Node, ServiceAccount, Workload};
use domain::plan::{EvidenceLifetime::{self, Seconds, State}, SettleRule};

use super::hidden;
use super::resource::{
    API, KubernetesOffer, ListScope, OF_LABEL, OF_NAMESPACE, ResourceRow, cluster_wide, leak,
    namespaced,
};
use crate::rest::ValueFrom::{Element, Record};
use crate::rest::row::{DAY, HOUR, MINUTE};
use crate::rest::{
    ChildEndpoint, ChildRepeat, Condition, Endpoint, PivotQuery, RestOffer,
};

const CORE: &str = "";
const APPS: &str = "apps";
const BATCH: &str = "batch";
const RBAC: &str = "rbac.authorization.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const EXTENSIONS: &str = "apiextensions.k8s.io";
const ARGO: &str = "argoproj.io";
const FLUX_KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io";
const FLUX_HELM: &str = "helm.toolkit.fluxcd.io";
const FLUX_SOURCE: &str = "source.toolkit.fluxcd.io";

/// Secrets of releases; with their contents, and only if the configuration allows it.
const HELM_SELECTOR: &str = "&labelSelector=owner%3Dhelm&fieldSelector=type%3Dhelm.sh%2Frelease.v1";

const EVENTS: &[ResourceRow] = &[namespaced("Events", CORE).page(500).pivots(EVENT_PIVOTS)];
const PODS: &[ResourceRow] =
    &[namespaced("Pods", CORE).page(100).makes_pods().pivots(POD_PIVOTS).children(POD_LOGS)];
const NETWORK: &[ResourceRow] = &[
    namespaced("EndpointSlices", "discovery.k8s.io"),
    namespaced("Services", CORE),
    namespaced("Ingresses", NETWORKING),
    namespaced("NetworkPolicies", NETWORKING),
];
const NODES: &[ResourceRow] = &[
    cluster_wide("Nodes", CORE).pivots(NODE_PIVOTS),
    namespaced("Leases", "coordination.k8s.io").pivots(LEASE_PIVOTS),
];
const WORKLOADS: &[ResourceRow] = &[
    namespaced("ReplicaSets", APPS).makes_pods().pivots(WORKLOAD_PIVOTS),
    namespaced("ControllerRevisions", APPS).makes_pods().pivots(WORKLOAD_PIVOTS),
    namespaced("Deployments", APPS).makes_pods().pivots(WORKLOAD_PIVOTS),
    namespaced("StatefulSets", APPS).makes_pods().pivots(WORKLOAD_PIVOTS),
    namespaced("DaemonSets", APPS).makes_pods().pivots(WORKLOAD_PIVOTS),
    namespaced("Jobs", BATCH).makes_pods().pivots(WORKLOAD_PIVOTS),
    namespaced("CronJobs", BATCH).makes_pods().pivots(WORKLOAD_PIVOTS),
];
const ACCESS: &[ResourceRow] = &[
    cluster_wide("ClusterRoleBindings", RBAC),
    namespaced("RoleBindings", RBAC).pivots(ACCOUNT_NAMESPACE_PIVOTS),
    cluster_wide("ClusterRoles", RBAC),
    namespaced("Roles", RBAC).pivots(ACCOUNT_NAMESPACE_PIVOTS),
    namespaced("ServiceAccounts", CORE).pivots(ACCOUNT_PIVOTS),
    cluster_wide("MutatingWebhookConfigurations", ADMISSION),
    cluster_wide("ValidatingWebhookConfigurations", ADMISSION),
    cluster_wide("CertificateSigningRequests", CERTIFICATES),
];
const CONFIGURATION: &[ResourceRow] = &[
    cluster_wide("Namespaces", CORE).pivots(NAMESPACES_PIVOTS),
    namespaced("Secrets", CORE).metadata_only(hidden::SECRETS),
    // each may have a MiB
    namespaced("ConfigMaps", CORE).page(10).filtered(hidden::CONFIG_MAPS),
    cluster_wide("CustomResourceDefinitions", EXTENSIONS).page(10),
];
const HELM: &[ResourceRow] =
    &[namespaced("HelmReleases", CORE).of("secrets").page(10).selected_by(HELM_SELECTOR)];
/// Resources of groups that not every cluster has; found by [`list_api_groups`].
const DISCOVERED: &[ResourceRow] = &[
    namespaced("Applications", ARGO).discovered().page(50),
    namespaced("AppProjects", ARGO).discovered(),
    namespaced("Kustomizations", FLUX_KUSTOMIZE).discovered(),
    namespaced("FluxHelmReleases", FLUX_HELM).of("helmreleases").discovered(),
    namespaced("GitRepositories", FLUX_SOURCE).discovered(),
    namespaced("PodCertificateRequests", CERTIFICATES).discovered(),
    cluster_wide("ClusterTrustBundles", CERTIFICATES).discovered(),
];

// Only these fields can be selected by; all else is searched for in what was captured.
const OF_WORKLOAD: PivotQuery =
    PivotQuery::by(Workload, "&fieldSelector=metadata.namespace%3D{pivot_first}");
const IN_ACCOUNT_NAMESPACE: PivotQuery =
    PivotQuery::by(ServiceAccount, "&fieldSelector=metadata.namespace%3D{pivot_first}");

const EVENT_PIVOTS: &[PivotQuery] = &[OF_NAMESPACE, OF_WORKLOAD, IN_ACCOUNT_NAMESPACE,
    PivotQuery::by(Node,
        "&fieldSelector=involvedObject.kind%3DNode%2CinvolvedObject.name%3D{pivot}")];
const POD_PIVOTS: &[PivotQuery] = &[OF_NAMESPACE, OF_LABEL,
    // pods of a workload, and of an image, are told apart by `SEARCHED`
    OF_WORKLOAD, PivotQuery::by(Image, ""),
    PivotQuery::by(Node, "&fieldSelector=spec.nodeName%3D{pivot}"),
    PivotQuery::by(ServiceAccount,
        "&fieldSelector=metadata.namespace%3D{pivot_first}%2Cspec.serviceAccountName%3D{pivot_last}")];
const NODE_PIVOTS: &[PivotQuery] =
    &[OF_LABEL, PivotQuery::by(Node, "&fieldSelector=metadata.name%3D{pivot}")];
const LEASE_PIVOTS: &[PivotQuery] = &[OF_NAMESPACE, PivotQuery::by(Node,
    "&fieldSelector=metadata.namespace%3Dkube-node-lease%2Cmetadata.name%3D{pivot}")];
const WORKLOAD_PIVOTS: &[PivotQuery] = &[OF_NAMESPACE, OF_LABEL, OF_WORKLOAD];
const ACCOUNT_NAMESPACE_PIVOTS: &[PivotQuery] = &[OF_NAMESPACE, OF_LABEL, IN_ACCOUNT_NAMESPACE];
const ACCOUNT_PIVOTS: &[PivotQuery] = &[OF_NAMESPACE, OF_LABEL, PivotQuery::by(ServiceAccount,
    "&fieldSelector=metadata.namespace%3D{pivot_first}%2Cmetadata.name%3D{pivot_last}")];
const NAMESPACES_PIVOTS: &[PivotQuery] =
    &[OF_LABEL, PivotQuery::by(Namespace, "&fieldSelector=metadata.name%3D{pivot}")];

/// 400 says that a container has not started yet, or has no predecessor: there is no log to miss.
const fn log(path: &'static str) -> Endpoint {
    Endpoint::get("kubernetes:podLog", path)
        .lines().headers(&[("accept", "*/*")])
        .quota(&API).grant("get pods/log").losses(&[(400, None)])
}
/// From the first line that its node still has.
static LOG: Endpoint = log(
    "/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}&timestamps=true");
/// Of the container that ran before this one was started again.
static PREVIOUS_LOG: Endpoint = log(
    "/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}&previous=true&timestamps=true");

const fn of_each(
    log: &'static Endpoint, containers: &'static str, only: &'static [Condition],
) -> ChildEndpoint {
    ChildEndpoint::of(log)
        .takes(&[
            ("namespace", Record("/metadata/namespace")), ("pod", Record("/metadata/name")),
            ("container", Element("/name")),
        ])
        .each(ChildRepeat::Elements(containers)).only(only)
}
/// Previous logs first: the next restart replaces them.
const POD_LOGS: &[ChildEndpoint] = &[
    of_each(&PREVIOUS_LOG, "/status/containerStatuses", RESTARTED),
    of_each(&PREVIOUS_LOG, "/status/initContainerStatuses", RESTARTED),
    of_each(&LOG, "/spec/containers", SEARCHED),
    of_each(&LOG, "/spec/initContainers", SEARCHED),
    of_each(&LOG, "/spec/ephemeralContainers", SEARCHED),
];
const RESTARTED: &[Condition] =
    &[Condition::AtLeast(Element("/restartCount"), 1), SEARCHED[0], SEARCHED[1]];
/// In a step for an image or a workload, only pods that have its digest anywhere, or its name in
/// their metadata: their own name, or their owner's.
const SEARCHED: &[Condition] = &[
    Condition::Mentions(Record(""), Image), Condition::Mentions(Record("/metadata"), Workload),
];

/// What cannot be asked for in a list: which APIs there are, and in them what not every cluster
/// has.
fn list_api_groups(scope: ListScope) -> &'static Endpoint {
    let rows = DISCOVERED.iter().filter(|row| row.is_in(scope));
    let children = rows.map(|row| {
        let is_group = Condition::OneOf(Record("/name"), Vec::leak(vec![row.group]));
        ChildEndpoint::of(row.list(scope))
            .takes(&[("version", Record("/preferredVersion/version"))])
            .only(Vec::leak(vec![is_group]))
    });
    leak(Endpoint::get("kubernetes:listApiGroups", "/apis")
        .objects("/groups", "/name", "/preferredVersion/version", "/name")
        .quota(&API).children(Vec::leak(children.collect())))
}

/// As whom we ask. Every authenticated identity may ask this since 1.28.
pub(super) static SELF_SUBJECT_REVIEW: Endpoint = Endpoint {
    post: Some(r#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}"#),
    ..Endpoint::get("kubernetes:createSelfSubjectReview",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .object("/status/userInfo/username", "", "/status/userInfo/username").quota(&API)
};

static GET_VERSION: Endpoint = Endpoint::get("kubernetes:getVersion", "/version")
    .object("/gitVersion", "/gitVersion", "/gitVersion").quota(&API);

/// Items of the offers that are captured only if the configuration wants them.
pub(super) const HELM_ITEM: &str = "kubernetes-helm";
pub(super) const WATCH_ITEM: &str = "kubernetes-watch";

const EVENT_DOCS: &str =
    "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/ (--event-ttl)";
const LOG_DOCS: &str = "https://kubernetes.io/docs/concepts/cluster-administration/logging/";
const OBJECT_DOCS: &str = "https://kubernetes.io/docs/concepts/overview/working-with-objects/";

/// Shortly before the first events of the incident are gone.
const EVENT_SETTLES: &[SettleRule] =
    &[SettleRule::after(15 * MINUTE), SettleRule::after(50 * MINUTE)];

const fn objects(
    item: &'static str, what: &'static str, lifetime: EvidenceLifetime,
) -> RestOffer {
    RestOffer::new(item, what, lifetime, OBJECT_DOCS).full_page(250, 500_000)
}

/// All offers, most volatile first.
pub(super) static OFFERS: LazyLock<Vec<KubernetesOffer>> = LazyLock::new(|| vec![
    KubernetesOffer::with_roots(
        objects(WATCH_ITEM, "changes of events and pods until containment", State(MINUTE)), &[],
        &|scope| vec![EVENTS[0].watch(scope), PODS[0].watch(scope)]),
    KubernetesOffer::of(
        RestOffer::new("kubernetes-events", "events of the cluster", Seconds(HOUR), EVENT_DOCS)
            .settles(EVENT_SETTLES).full_page(500, 500_000), EVENTS),
    // logs go with their pod, and a node keeps 5 files of 10 MiB for each container
    KubernetesOffer::of(
        RestOffer::new("kubernetes-pods",
            "pods, and the previous and current logs of every container",
            State(10 * MINUTE), LOG_DOCS).full_page(100, 500_000), PODS),
    KubernetesOffer::of(objects("kubernetes-network",
        "services, endpoint slices, ingresses and network policies", State(20 * MINUTE)), NETWORK),
    KubernetesOffer::of(objects("kubernetes-nodes", "nodes and leases", State(HOUR)), NODES),
    KubernetesOffer::of(objects("kubernetes-workloads",
        "workloads with the history of their revisions, and jobs", State(2 * HOUR)), WORKLOADS),
    // clusters differ most by their version and their APIs
    KubernetesOffer::with_roots(objects("kubernetes-delivery",
        "version and APIs of the cluster, Argo CD, Flux, certificates of pods", State(4 * HOUR)),
        DISCOVERED, &|scope| vec![list_api_groups(scope), &GET_VERSION]),
    KubernetesOffer::of(objects("kubernetes-access",
        "service accounts, RBAC, admission webhooks and certificate requests", State(DAY)), ACCESS),
    KubernetesOffer::of(objects("kubernetes-configuration",
        "namespaces, metadata of secrets, digests of config maps, custom resources", State(DAY)),
        CONFIGURATION),
    KubernetesOffer::of(objects(HELM_ITEM,
        "releases of Helm with their templates and values", State(DAY)), HELM),
]);
