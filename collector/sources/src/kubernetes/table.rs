//! The endpoints of the API server that are captured.
//!
//! kube builds the requests (path, page size, the header that asks for metadata alone), and the
//! rows say what else the walk needs to know. Every list exists twice: for the whole cluster, and
//! for one namespace, for a collector that may not read more.

use std::sync::LazyLock;

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime, SettleRule};
use evidence_format::coverage::GapReason;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::core::Request;
use kube::core::Resource as _;

use super::hidden;
use crate::recorder::{BodyFilter, RequestRate};
use crate::rest::{
    BodyShape, ChildEndpoint, ChildRepeat, Condition, DeclaredCount, Endpoint, EndpointQuota,
    Paging, PivotQuery, RestOffer, ValueFrom,
};

/// Where facts about lifetimes are published.
const EVENTS_CITATION: &str = "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/ (--event-ttl)";
const LOGS_CITATION: &str = "https://kubernetes.io/docs/concepts/cluster-administration/logging/";
const OBJECTS_CITATION: &str = "https://kubernetes.io/docs/concepts/overview/working-with-objects/";

/// Kubernetes publishes no rate: priority and fairness queues requests, and answers 429 to those that
/// wait too long. This is what kubectl allows itself for discovery.
static API: EndpointQuota = EndpointQuota {
    name: "api",
    rate: RequestRate::new(50.0, 100),
    at_once: 4,
};

/// One resource of the API.
#[derive(Clone, Copy)]
struct ResourceRow {
    /// `kubernetes:listPods`.
    id: &'static str,
    /// Empty for the core group.
    group: &'static str,
    /// May be the placeholder `{version}`.
    version: &'static str,
    /// `pods`.
    plural: &'static str,
    namespaced: bool,
    /// Objects on a page. Objects have at most 1.5 MiB (etcd's limit), and a page 16 MiB.
    page_size: u32,
    contents: ObjectContents,
    /// Narrows the list: `labelSelector=…`.
    selector: &'static str,
    pivots: &'static [PivotQuery],
    children: &'static [ChildEndpoint],
}

/// How much of the objects is asked for and written.
#[derive(Clone, Copy)]
enum ObjectContents {
    Whole,
    /// Metadata alone; nothing else crosses the wire.
    Metadata(BodyFilter),
    Filtered(BodyFilter),
}

/// Which objects of a resource are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ListScope {
    Cluster,
    /// Those of the namespace in the placeholder `{namespace}`.
    Namespace,
}

impl ResourceRow {
    const fn namespaced(
        id: &'static str,
        group: &'static str,
        version: &'static str,
        plural: &'static str,
    ) -> Self {
        Self {
            id,
            group,
            version,
            plural,
            namespaced: true,
            page_size: 250,
            contents: ObjectContents::Whole,
            selector: "",
            pivots: NAMESPACE,
            children: &[],
        }
    }

    const fn cluster_wide(
        id: &'static str,
        group: &'static str,
        version: &'static str,
        plural: &'static str,
    ) -> Self {
        Self {
            namespaced: false,
            pivots: &[],
            ..Self::namespaced(id, group, version, plural)
        }
    }

    /// False for objects without a namespace, if only one namespace is listed.
    fn is_in(&self, scope: ListScope) -> bool {
        self.namespaced || scope == ListScope::Cluster
    }

    fn endpoint(&self, scope: ListScope) -> &'static Endpoint {
        let api_version = match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        };
        let resource = ApiResource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            api_version,
            kind: String::new(), // is not part of a URL
            plural: self.plural.to_owned(),
        };
        let namespace = (scope == ListScope::Namespace && self.namespaced).then_some("{namespace}");
        let builder = Request::new(DynamicObject::url_path(&resource, namespace));
        let parameters = ListParams::default().limit(self.page_size);
        let (request, body_filter) = match self.contents {
            ObjectContents::Whole => (builder.list(&parameters), None),
            ObjectContents::Filtered(filter) => (builder.list(&parameters), Some(filter)),
            ObjectContents::Metadata(filter) => (builder.list_metadata(&parameters), Some(filter)),
        };
        let request = request.expect("the parameters of the table are valid");
        let path = request.uri().to_string().replace("?&", "?");
        let path = match self.selector {
            "" => path,
            selector => format!("{path}&{selector}"),
        };
        // without a fallback: a server that cannot send metadata alone must not send the objects
        let accept = request.headers().get(http::header::ACCEPT);
        let headers: &'static [(&'static str, &'static str)] = match accept {
            Some(_) => METADATA_HEADERS,
            None => Endpoint::GET.headers,
        };
        let grant = match self.group {
            "" => format!("list {}", self.plural),
            group => format!("list {}.{group}", self.plural),
        };
        leak(Endpoint {
            id: self.id,
            path: String::leak(path),
            headers,
            paging: Paging::TokenToParameter {
                at: "/metadata/continue",
                parameter: "continue",
            },
            body: match self.plural {
                "events" => BodyShape::Events {
                    list: "/items",
                    time: "/metadata/creationTimestamp",
                    id: "/metadata/uid",
                },
                _ => BodyShape::Objects {
                    list: "/items",
                    id: "/metadata/uid",
                    version: "/metadata/resourceVersion",
                    name: "/metadata/name",
                },
            },
            declared: Some(DeclaredCount::AfterThisPage("/metadata/remainingItemCount")),
            quota: &API,
            grant: String::leak(grant),
            pivots: self.pivots,
            children: self.children,
            // a token for the next page lives for about five minutes
            restarts_on: &[410],
            // the group is there, but this cluster's version of it has no such resource
            losses: match self.version {
                DISCOVERED => &[(404, None)],
                _ => &[],
            },
            body_filter,
            ..Endpoint::GET
        })
    }
}

/// What kube sends to list metadata; a test compares them.
const METADATA_HEADERS: &[(&str, &str)] = &[(
    "accept",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
)];

const NAMESPACE: &[PivotQuery] = &[PivotQuery {
    kind: PivotKind::Namespace,
    query: "&fieldSelector=metadata.namespace%3D{pivot}",
}];

/// Field selectors that pods have (`spec.nodeName` and so on); all others must be searched in what
/// was captured.
const POD_PIVOTS: &[PivotQuery] = &[
    NAMESPACE[0],
    PivotQuery {
        kind: PivotKind::Node,
        query: "&fieldSelector=spec.nodeName%3D{pivot}",
    },
];

const EVENT_PIVOTS: &[PivotQuery] = &[
    NAMESPACE[0],
    PivotQuery {
        kind: PivotKind::Node,
        query: "&fieldSelector=involvedObject.kind%3DNode%2CinvolvedObject.name%3D{pivot}",
    },
];

/// The log of a container, from the first line that its node still has.
static LOG: Endpoint = Endpoint {
    path: "/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}&timestamps=true",
    ..LOG_TEMPLATE
};

/// The log of the container that ran before this one was started again.
static PREVIOUS_LOG: Endpoint = Endpoint {
    path: "/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}&previous=true&timestamps=true",
    ..LOG_TEMPLATE
};

const LOG_TEMPLATE: Endpoint = Endpoint {
    id: "kubernetes:podLog",
    headers: &[("accept", "*/*")],
    body: BodyShape::Lines,
    quota: &API,
    grant: "get pods/log",
    losses: NO_LOG,
    ..Endpoint::GET
};

/// 400 says that a container has not started yet, or has no predecessor: there is no log to miss.
const NO_LOG: &[(u16, Option<GapReason>)] = &[(400, None)];

const fn log_of(containers: &'static str) -> ChildEndpoint {
    ChildEndpoint {
        takes: POD_NAMES,
        each: ChildRepeat::Elements(containers),
        ..ChildEndpoint::of(&LOG)
    }
}

const fn previous_log_of(statuses: &'static str) -> ChildEndpoint {
    ChildEndpoint {
        takes: POD_NAMES,
        each: ChildRepeat::Elements(statuses),
        only: &[Condition::AtLeast(ValueFrom::Element("/restartCount"), 1)],
        ..ChildEndpoint::of(&PREVIOUS_LOG)
    }
}

const POD_NAMES: &[(&str, ValueFrom)] = &[
    ("namespace", ValueFrom::Record("/metadata/namespace")),
    ("pod", ValueFrom::Record("/metadata/name")),
    ("container", ValueFrom::Element("/name")),
];

/// Previous logs first: the next restart replaces them.
const POD_LOGS: &[ChildEndpoint] = &[
    previous_log_of("/status/containerStatuses"),
    previous_log_of("/status/initContainerStatuses"),
    log_of("/spec/containers"),
    log_of("/spec/initContainers"),
    log_of("/spec/ephemeralContainers"),
];

const CORE: &str = "";
const RBAC: &str = "rbac.authorization.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const FLUX_KUSTOMIZE: &str = "kustomize.toolkit.fluxcd.io";
const FLUX_HELM: &str = "helm.toolkit.fluxcd.io";
const FLUX_SOURCE: &str = "source.toolkit.fluxcd.io";
const ARGO: &str = "argoproj.io";
/// Version of a group that is not in every cluster, from the answer to [`listApiGroups`].
const DISCOVERED: &str = "{version}";

const EVENTS: &[ResourceRow] = &[ResourceRow {
    page_size: 500,
    pivots: EVENT_PIVOTS,
    ..ResourceRow::namespaced("kubernetes:listEvents", CORE, "v1", "events")
}];

const PODS: &[ResourceRow] = &[ResourceRow {
    page_size: 100,
    pivots: POD_PIVOTS,
    children: POD_LOGS,
    ..ResourceRow::namespaced("kubernetes:listPods", CORE, "v1", "pods")
}];

const NODES: &[ResourceRow] = &[
    ResourceRow::cluster_wide("kubernetes:listNodes", CORE, "v1", "nodes"),
    ResourceRow::namespaced(
        "kubernetes:listLeases",
        "coordination.k8s.io",
        "v1",
        "leases",
    ),
];

const WORKLOADS: &[ResourceRow] = &[
    ResourceRow::namespaced("kubernetes:listReplicaSets", "apps", "v1", "replicasets"),
    ResourceRow::namespaced(
        "kubernetes:listControllerRevisions",
        "apps",
        "v1",
        "controllerrevisions",
    ),
    ResourceRow::namespaced("kubernetes:listDeployments", "apps", "v1", "deployments"),
    ResourceRow::namespaced("kubernetes:listStatefulSets", "apps", "v1", "statefulsets"),
    ResourceRow::namespaced("kubernetes:listDaemonSets", "apps", "v1", "daemonsets"),
    ResourceRow::namespaced("kubernetes:listJobs", "batch", "v1", "jobs"),
    ResourceRow::namespaced("kubernetes:listCronJobs", "batch", "v1", "cronjobs"),
];

const NETWORK: &[ResourceRow] = &[
    ResourceRow::namespaced(
        "kubernetes:listEndpointSlices",
        "discovery.k8s.io",
        "v1",
        "endpointslices",
    ),
    ResourceRow::namespaced("kubernetes:listServices", CORE, "v1", "services"),
    ResourceRow::namespaced("kubernetes:listIngresses", NETWORKING, "v1", "ingresses"),
    ResourceRow::namespaced(
        "kubernetes:listNetworkPolicies",
        NETWORKING,
        "v1",
        "networkpolicies",
    ),
];

const ACCESS: &[ResourceRow] = &[
    ResourceRow::cluster_wide(
        "kubernetes:listClusterRoleBindings",
        RBAC,
        "v1",
        "clusterrolebindings",
    ),
    ResourceRow::namespaced("kubernetes:listRoleBindings", RBAC, "v1", "rolebindings"),
    ResourceRow::cluster_wide("kubernetes:listClusterRoles", RBAC, "v1", "clusterroles"),
    ResourceRow::namespaced("kubernetes:listRoles", RBAC, "v1", "roles"),
    ResourceRow::namespaced(
        "kubernetes:listServiceAccounts",
        CORE,
        "v1",
        "serviceaccounts",
    ),
    ResourceRow::cluster_wide(
        "kubernetes:listMutatingWebhookConfigurations",
        ADMISSION,
        "v1",
        "mutatingwebhookconfigurations",
    ),
    ResourceRow::cluster_wide(
        "kubernetes:listValidatingWebhookConfigurations",
        ADMISSION,
        "v1",
        "validatingwebhookconfigurations",
    ),
    ResourceRow::cluster_wide(
        "kubernetes:listCertificateSigningRequests",
        CERTIFICATES,
        "v1",
        "certificatesigningrequests",
    ),
];

const CONFIGURATION: &[ResourceRow] = &[
    ResourceRow::cluster_wide("kubernetes:listNamespaces", CORE, "v1", "namespaces"),
    ResourceRow {
        contents: ObjectContents::Metadata(hidden::secrets),
        ..ResourceRow::namespaced("kubernetes:listSecrets", CORE, "v1", "secrets")
    },
    ResourceRow {
        page_size: 10, // each may have a MiB
        contents: ObjectContents::Filtered(hidden::config_maps),
        ..ResourceRow::namespaced("kubernetes:listConfigMaps", CORE, "v1", "configmaps")
    },
    ResourceRow {
        page_size: 10,
        ..ResourceRow::cluster_wide(
            "kubernetes:listCustomResourceDefinitions",
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
        )
    },
];

/// Secrets with their contents; only if the configuration allows it.
const HELM: &[ResourceRow] = &[ResourceRow {
    page_size: 10,
    selector: "labelSelector=owner%3Dhelm&fieldSelector=type%3Dhelm.sh%2Frelease.v1",
    pivots: &[],
    ..ResourceRow::namespaced("kubernetes:listHelmReleases", CORE, "v1", "secrets")
}];

/// Resources of groups that not every cluster has.
const DISCOVERED_RESOURCES: &[ResourceRow] = &[
    ResourceRow {
        page_size: 50,
        ..ResourceRow::namespaced(
            "kubernetes:listApplications",
            ARGO,
            DISCOVERED,
            "applications",
        )
    },
    ResourceRow::namespaced(
        "kubernetes:listAppProjects",
        ARGO,
        DISCOVERED,
        "appprojects",
    ),
    ResourceRow::namespaced(
        "kubernetes:listKustomizations",
        FLUX_KUSTOMIZE,
        DISCOVERED,
        "kustomizations",
    ),
    ResourceRow::namespaced(
        "kubernetes:listFluxHelmReleases",
        FLUX_HELM,
        DISCOVERED,
        "helmreleases",
    ),
    ResourceRow::namespaced(
        "kubernetes:listGitRepositories",
        FLUX_SOURCE,
        DISCOVERED,
        "gitrepositories",
    ),
    ResourceRow::namespaced(
        "kubernetes:listPodCertificateRequests",
        CERTIFICATES,
        DISCOVERED,
        "podcertificaterequests",
    ),
    ResourceRow::cluster_wide(
        "kubernetes:listClusterTrustBundles",
        CERTIFICATES,
        DISCOVERED,
        "clustertrustbundles",
    ),
];

/// What cannot be asked for in a list: which APIs there are, and in them what not every cluster
/// has.
fn list_api_groups(scope: ListScope) -> &'static Endpoint {
    let children = DISCOVERED_RESOURCES
        .iter()
        .filter(|row| row.is_in(scope))
        .map(|row| ChildEndpoint {
            takes: &[("version", ValueFrom::Record("/preferredVersion/version"))],
            only: Vec::leak(vec![Condition::OneOf(
                ValueFrom::Record("/name"),
                Vec::leak(vec![row.group]),
            )]),
            ..ChildEndpoint::of(row.endpoint(scope))
        });
    let children = Vec::leak(children.collect());
    leak(Endpoint {
        id: "kubernetes:listApiGroups",
        path: "/apis",
        body: BodyShape::Objects {
            list: "/groups",
            id: "/name",
            version: "/preferredVersion/version",
            name: "/name",
        },
        quota: &API,
        children,
        ..Endpoint::GET
    })
}

/// As whom we ask. Every authenticated identity may ask this since 1.28.
pub(super) static SELF_SUBJECT_REVIEW: Endpoint = Endpoint {
    id: "kubernetes:createSelfSubjectReview",
    path: "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    post: Some(r#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}"#),
    body: BodyShape::Object {
        id: "/status/userInfo/username",
        version: "",
        name: "/status/userInfo/username",
    },
    quota: &API,
    ..Endpoint::GET
};

static GET_VERSION: Endpoint = Endpoint {
    id: "kubernetes:getVersion",
    path: "/version",
    body: BodyShape::Object {
        id: "/gitVersion",
        version: "/gitVersion",
        name: "/gitVersion",
    },
    quota: &API,
    ..Endpoint::GET
};

/// An offer, with its roots for either scope.
pub(super) struct KubernetesOffer {
    /// Its roots list the whole cluster.
    pub(super) offer: &'static RestOffer,
    /// The same for one namespace; objects without a namespace are left out.
    pub(super) roots_in_namespace: Vec<&'static Endpoint>,
}

/// Item of the offer that is captured only if the configuration allows it.
pub(super) const HELM_ITEM: &str = "kubernetes-helm";

/// All offers, most volatile first.
pub(super) static OFFERS: LazyLock<Vec<KubernetesOffer>> = LazyLock::new(|| {
    vec![
        offer(
            RestOffer {
                item: "kubernetes-events",
                what: "events of the cluster",
                lifetime: EvidenceLifetime::Seconds(HOUR),
                citation: EVENTS_CITATION,
                settles: EVENT_SETTLES,
                records_per_page: 500,
                page_bytes: Some(500_000),
                ..RestOffer::STATE
            },
            EVENTS,
            &[],
        ),
        offer(
            RestOffer {
                item: "kubernetes-pods",
                what: "pods, and the previous and current logs of every container",
                // logs go with their pod, and a node keeps 5 files of 10 MiB for each container
                lifetime: EvidenceLifetime::State(600),
                citation: LOGS_CITATION,
                page_bytes: Some(600_000),
                ..RestOffer::STATE
            },
            PODS,
            &[],
        ),
        offer(
            RestOffer {
                item: "kubernetes-network",
                what: "services, endpoint slices, ingresses and network policies",
                lifetime: EvidenceLifetime::State(1200),
                ..OBJECTS
            },
            NETWORK,
            &[],
        ),
        offer(
            RestOffer {
                item: "kubernetes-nodes",
                what: "nodes and leases",
                lifetime: EvidenceLifetime::State(HOUR),
                ..OBJECTS
            },
            NODES,
            &[],
        ),
        offer(
            RestOffer {
                item: "kubernetes-workloads",
                what: "workloads with the history of their revisions, and jobs",
                lifetime: EvidenceLifetime::State(2 * HOUR),
                ..OBJECTS
            },
            WORKLOADS,
            &[],
        ),
        offer(
            RestOffer {
                item: "kubernetes-delivery",
                what: "version and APIs of the cluster, Argo CD, Flux, certificates of pods",
                lifetime: EvidenceLifetime::State(4 * HOUR),
                ..OBJECTS
            },
            &[],
            &[list_api_groups],
        ),
        offer(
            RestOffer {
                item: "kubernetes-access",
                what: "service accounts, RBAC, admission webhooks and certificate requests",
                ..OBJECTS
            },
            ACCESS,
            &[],
        ),
        offer(
            RestOffer {
                item: "kubernetes-configuration",
                what: "namespaces, metadata of secrets, digests of config maps, custom resources",
                ..OBJECTS
            },
            CONFIGURATION,
            &[],
        ),
        offer(
            RestOffer {
                item: HELM_ITEM,
                what: "releases of Helm with their templates and values",
                ..OBJECTS
            },
            HELM,
            &[],
        ),
    ]
});

const HOUR: u64 = 3600;

/// Shortly before the first events of the incident are gone.
const EVENT_SETTLES: &[SettleRule] = &[
    SettleRule {
        after_seconds: 15 * 60,
        look_back_seconds: None,
    },
    SettleRule {
        after_seconds: 50 * 60,
        look_back_seconds: None,
    },
];

const OBJECTS: RestOffer = RestOffer {
    citation: OBJECTS_CITATION,
    page_bytes: Some(500_000),
    records_per_page: 250,
    ..RestOffer::STATE
};

fn offer(
    facts: RestOffer,
    rows: &'static [ResourceRow],
    others: &[fn(ListScope) -> &'static Endpoint],
) -> KubernetesOffer {
    let roots = |scope| -> Vec<&'static Endpoint> {
        let lists = rows.iter().filter(|row| row.is_in(scope));
        let others = others.iter().map(|other| other(scope));
        lists.map(|row| row.endpoint(scope)).chain(others).collect()
    };
    let roots_in_namespace = roots(ListScope::Namespace);
    let mut roots_in_cluster = roots(ListScope::Cluster);
    // Clusters differ most by their version, and this is the offer about the cluster itself.
    if facts.item == "kubernetes-delivery" {
        roots_in_cluster.push(&GET_VERSION);
    }
    KubernetesOffer {
        offer: Box::leak(Box::new(RestOffer {
            roots: Vec::leak(roots_in_cluster),
            ..facts
        })),
        roots_in_namespace,
    }
}

/// Rows are static. These are made once, from constants.
fn leak(endpoint: Endpoint) -> &'static Endpoint {
    Box::leak(Box::new(endpoint))
}
