//! The endpoints of the API server that are captured: one row for each resource.
//!
//! kube builds the requests (path, page size, the header that asks for metadata alone), and the
//! rows say what else the walk needs to know. Every list exists twice: for the whole cluster, and
//! for one namespace, for a collector that may not read more.

use std::sync::LazyLock;

use domain::incident::PivotKind;
use domain::plan::{EvidenceLifetime, SettleRule};
use evidence_format::coverage::GapReason;
use http::Request;
use kube::api::{ApiResource, DynamicObject, ListParams, WatchParams};
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

/// Kubernetes publishes no rate: priority and fairness queues requests, and answers 429 to those
/// that wait too long. This is what kubectl allows itself for discovery.
static API: EndpointQuota = EndpointQuota {
    name: "api",
    rate: RequestRate::new(50.0, 100),
    at_once: 4,
};

/// Watches stay open, and must not keep other requests from being sent.
static WATCH: EndpointQuota = EndpointQuota {
    name: "watch",
    rate: RequestRate {
        concurrent_max: 1000,
        ..RequestRate::new(50.0, 100)
    },
    at_once: 1,
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

#[rustfmt::skip]
mod rows {
    use super::*;

    pub(super) const EVENTS: &[ResourceRow] = &[
        namespaced("Events", CORE).page(500).pivots(EVENT_PIVOTS),
    ];
    pub(super) const PODS: &[ResourceRow] = &[
        namespaced("Pods", CORE).page(100).pivots(POD_PIVOTS).children(POD_LOGS),
    ];
    pub(super) const NETWORK: &[ResourceRow] = &[
        namespaced("EndpointSlices", "discovery.k8s.io"),
        namespaced("Services", CORE),
        namespaced("Ingresses", NETWORKING),
        namespaced("NetworkPolicies", NETWORKING),
    ];
    pub(super) const NODES: &[ResourceRow] = &[
        cluster_wide("Nodes", CORE).pivots(NODE_PIVOTS),
        namespaced("Leases", "coordination.k8s.io").pivots(LEASE_PIVOTS),
    ];
    pub(super) const WORKLOADS: &[ResourceRow] = &[
        namespaced("ReplicaSets", APPS).pivots(WORKLOAD_PIVOTS),
        namespaced("ControllerRevisions", APPS).pivots(WORKLOAD_PIVOTS),
        namespaced("Deployments", APPS).pivots(WORKLOAD_PIVOTS),
        namespaced("StatefulSets", APPS).pivots(WORKLOAD_PIVOTS),
        namespaced("DaemonSets", APPS).pivots(WORKLOAD_PIVOTS),
        namespaced("Jobs", BATCH).pivots(WORKLOAD_PIVOTS),
        namespaced("CronJobs", BATCH).pivots(WORKLOAD_PIVOTS),
    ];
    pub(super) const ACCESS: &[ResourceRow] = &[
        cluster_wide("ClusterRoleBindings", RBAC),
        namespaced("RoleBindings", RBAC).pivots(ACCOUNT_NAMESPACE_PIVOTS),
        cluster_wide("ClusterRoles", RBAC),
        namespaced("Roles", RBAC).pivots(ACCOUNT_NAMESPACE_PIVOTS),
        namespaced("ServiceAccounts", CORE).pivots(ACCOUNT_PIVOTS),
        cluster_wide("MutatingWebhookConfigurations", ADMISSION),
        cluster_wide("ValidatingWebhookConfigurations", ADMISSION),
        cluster_wide("CertificateSigningRequests", CERTIFICATES),
    ];
    pub(super) const CONFIGURATION: &[ResourceRow] = &[
        cluster_wide("Namespaces", CORE).pivots(NAMESPACES_PIVOTS),
        namespaced("Secrets", CORE).metadata_only(hidden::secrets),
        // each may have a MiB
        namespaced("ConfigMaps", CORE).page(10).filtered(hidden::config_maps),
        cluster_wide("CustomResourceDefinitions", EXTENSIONS).page(10),
    ];
    pub(super) const HELM: &[ResourceRow] = &[
        namespaced("HelmReleases", CORE).of("secrets").page(10).selected_by(HELM_SELECTOR),
    ];
    /// Resources of groups that not every cluster has; found by [`list_api_groups`].
    pub(super) const DISCOVERED: &[ResourceRow] = &[
        namespaced("Applications", ARGO).discovered().page(50),
        namespaced("AppProjects", ARGO).discovered(),
        namespaced("Kustomizations", FLUX_KUSTOMIZE).discovered(),
        namespaced("FluxHelmReleases", FLUX_HELM).of("helmreleases").discovered(),
        namespaced("GitRepositories", FLUX_SOURCE).discovered(),
        namespaced("PodCertificateRequests", CERTIFICATES).discovered(),
        cluster_wide("ClusterTrustBundles", CERTIFICATES).discovered(),
    ];

    // Only these fields can be selected by; all else is searched for in what was captured.
    // `{pivot_namespace}` and `{pivot_name}` are the ends of a value such as `namespace/name`.
    const NAMESPACE: PivotQuery = by(PivotKind::Namespace, "&fieldSelector=metadata.namespace%3D{pivot}");
    const LABEL: PivotQuery = by(PivotKind::Label, "&labelSelector={pivot}");
    const WORKLOAD: PivotQuery = by(PivotKind::Workload, "&fieldSelector=metadata.namespace%3D{pivot_namespace}");
    const ACCOUNT_NAMESPACE: PivotQuery = by(PivotKind::ServiceAccount, "&fieldSelector=metadata.namespace%3D{pivot_namespace}");
    const OF_ACCOUNT: &str = "&fieldSelector=metadata.namespace%3D{pivot_namespace}%2Cspec.serviceAccountName%3D{pivot_name}";
    const ACCOUNT: &str = "&fieldSelector=metadata.namespace%3D{pivot_namespace}%2Cmetadata.name%3D{pivot_name}";
    const NODE_EVENTS: &str = "&fieldSelector=involvedObject.kind%3DNode%2CinvolvedObject.name%3D{pivot}";
    const NODE_LEASE: &str = "&fieldSelector=metadata.namespace%3Dkube-node-lease%2Cmetadata.name%3D{pivot}";

    pub(super) const NAMESPACED_PIVOTS: &[PivotQuery] = &[NAMESPACE, LABEL];
    pub(super) const CLUSTER_WIDE_PIVOTS: &[PivotQuery] = &[LABEL];
    const EVENT_PIVOTS: &[PivotQuery] = &[NAMESPACE, WORKLOAD, ACCOUNT_NAMESPACE, by(PivotKind::Node, NODE_EVENTS)];
    const POD_PIVOTS: &[PivotQuery] = &[
        NAMESPACE, LABEL, WORKLOAD, // pods of a workload, and of an image, are told apart by `POD_LOGS`
        by(PivotKind::Node, "&fieldSelector=spec.nodeName%3D{pivot}"),
        by(PivotKind::ServiceAccount, OF_ACCOUNT),
        by(PivotKind::Image, ""),
    ];
    const NODE_PIVOTS: &[PivotQuery] = &[LABEL, by(PivotKind::Node, "&fieldSelector=metadata.name%3D{pivot}")];
    const LEASE_PIVOTS: &[PivotQuery] = &[NAMESPACE, by(PivotKind::Node, NODE_LEASE)];
    const WORKLOAD_PIVOTS: &[PivotQuery] = &[NAMESPACE, LABEL, WORKLOAD];
    const ACCOUNT_NAMESPACE_PIVOTS: &[PivotQuery] = &[NAMESPACE, LABEL, ACCOUNT_NAMESPACE];
    const ACCOUNT_PIVOTS: &[PivotQuery] = &[NAMESPACE, LABEL, by(PivotKind::ServiceAccount, ACCOUNT)];
    const NAMESPACES_PIVOTS: &[PivotQuery] = &[LABEL, by(PivotKind::Namespace, "&fieldSelector=metadata.name%3D{pivot}")];

    /// Previous logs first: the next restart replaces them.
    const POD_LOGS: &[ChildEndpoint] = &[
        log(&PREVIOUS_LOG, "/status/containerStatuses", RESTARTED),
        log(&PREVIOUS_LOG, "/status/initContainerStatuses", RESTARTED),
        log(&LOG, "/spec/containers", SEARCHED),
        log(&LOG, "/spec/initContainers", SEARCHED),
        log(&LOG, "/spec/ephemeralContainers", SEARCHED),
    ];
    const RESTARTED: &[Condition] = &[Condition::AtLeast(ValueFrom::Element("/restartCount"), 1), SEARCHED[0], SEARCHED[1]];
    /// In a step for an image or a workload, only pods that have its digest anywhere, or its name
    /// in their metadata: their own name, or their owner's.
    const SEARCHED: &[Condition] = &[
        Condition::Mentions(ValueFrom::Record(""), "pivot_image"),
        Condition::Mentions(ValueFrom::Record("/metadata"), "pivot_workload"),
    ];
}

/// A list of one resource.
#[derive(Clone, Copy)]
struct ResourceRow {
    /// `Pods`: its id is `kubernetes:listPods`.
    name: &'static str,
    /// Empty for the core group.
    group: &'static str,
    /// As in the URL, if it is not the name in lower case.
    plural: Option<&'static str>,
    /// The group's version is the placeholder `{version}`, from the answer to [`list_api_groups`].
    is_discovered: bool,
    is_namespaced: bool,
    /// Objects on a page. Objects have at most 1.5 MiB (etcd's limit), and a page 16 MiB.
    page_size: u32,
    contents: ObjectContents,
    /// Narrows the list: `&labelSelector=…`.
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
enum ListScope {
    Cluster,
    /// Those of the namespace in the placeholder `{namespace}`.
    Namespace,
}

const fn namespaced(name: &'static str, group: &'static str) -> ResourceRow {
    ResourceRow {
        name,
        group,
        plural: None,
        is_discovered: false,
        is_namespaced: true,
        page_size: 250,
        contents: ObjectContents::Whole,
        selector: "",
        pivots: rows::NAMESPACED_PIVOTS,
        children: &[],
    }
}

const fn cluster_wide(name: &'static str, group: &'static str) -> ResourceRow {
    ResourceRow {
        is_namespaced: false,
        pivots: rows::CLUSTER_WIDE_PIVOTS,
        ..namespaced(name, group)
    }
}

const fn by(kind: PivotKind, query: &'static str) -> PivotQuery {
    PivotQuery { kind, query }
}

const fn log(
    endpoint: &'static Endpoint,
    containers: &'static str,
    only: &'static [Condition],
) -> ChildEndpoint {
    ChildEndpoint {
        takes: &[
            ("namespace", ValueFrom::Record("/metadata/namespace")),
            ("pod", ValueFrom::Record("/metadata/name")),
            ("container", ValueFrom::Element("/name")),
        ],
        each: ChildRepeat::Elements(containers),
        only,
        ..ChildEndpoint::of(endpoint)
    }
}

impl ResourceRow {
    const fn of(self, plural: &'static str) -> Self {
        let plural = Some(plural);
        Self { plural, ..self }
    }

    const fn page(self, page_size: u32) -> Self {
        Self { page_size, ..self }
    }

    const fn pivots(self, pivots: &'static [PivotQuery]) -> Self {
        Self { pivots, ..self }
    }

    const fn children(self, children: &'static [ChildEndpoint]) -> Self {
        Self { children, ..self }
    }

    const fn metadata_only(self, filter: BodyFilter) -> Self {
        let contents = ObjectContents::Metadata(filter);
        Self { contents, ..self }
    }

    const fn filtered(self, filter: BodyFilter) -> Self {
        let contents = ObjectContents::Filtered(filter);
        Self { contents, ..self }
    }

    /// Only the objects that `selector` selects; the API server takes one selector of a kind, so
    /// there are no pivots.
    const fn selected_by(self, selector: &'static str) -> Self {
        Self {
            selector,
            pivots: &[],
            ..self
        }
    }

    /// Children of [`list_api_groups`], which pivots do not reach.
    const fn discovered(self) -> Self {
        Self {
            is_discovered: true,
            pivots: &[],
            ..self
        }
    }

    fn plural(&self) -> String {
        self.plural
            .map_or_else(|| self.name.to_lowercase(), str::to_owned)
    }

    /// False for objects without a namespace, if only one namespace is listed.
    fn is_in(&self, scope: ListScope) -> bool {
        self.is_namespaced || scope == ListScope::Cluster
    }

    /// kube's builder of requests for this resource.
    fn requests(&self, scope: ListScope) -> kube::core::Request {
        let version = if self.is_discovered {
            "{version}"
        } else {
            "v1"
        };
        let resource = ApiResource {
            group: self.group.to_owned(),
            version: version.to_owned(),
            api_version: match self.group {
                "" => version.to_owned(),
                group => format!("{group}/{version}"),
            },
            kind: String::new(), // is not part of a URL
            plural: self.plural(),
        };
        let in_namespace = scope == ListScope::Namespace && self.is_namespaced;
        let namespace = in_namespace.then_some("{namespace}");
        kube::core::Request::new(DynamicObject::url_path(&resource, namespace))
    }

    /// `list pods`, `watch deployments.apps`.
    fn grant(&self, verb: &str) -> &'static str {
        let plural = self.plural();
        String::leak(match self.group {
            "" => format!("{verb} {plural}"),
            group => format!("{verb} {plural}.{group}"),
        })
    }

    fn list(&self, scope: ListScope) -> &'static Endpoint {
        let builder = self.requests(scope);
        let parameters = ListParams::default().limit(self.page_size);
        let (request, body_filter) = match self.contents {
            ObjectContents::Whole => (builder.list(&parameters), None),
            ObjectContents::Filtered(filter) => (builder.list(&parameters), Some(filter)),
            ObjectContents::Metadata(filter) => (builder.list_metadata(&parameters), Some(filter)),
        };
        let request = request.expect("the parameters of the table are valid");
        // without a fallback: a server that cannot send metadata alone must not send the objects
        let accept = request.headers().get(http::header::ACCEPT);
        let is_events = self.name == "Events";
        leak(Endpoint {
            id: String::leak(format!("kubernetes:list{}", self.name)),
            path: String::leak(path_of(&request) + self.selector),
            headers: accept.map_or(Endpoint::GET.headers, |_| METADATA_HEADERS),
            paging: Paging::TokenToParameter {
                at: "/metadata/continue",
                parameter: "continue",
            },
            body: if is_events {
                BodyShape::Events {
                    list: "/items",
                    time: "/metadata/creationTimestamp",
                    id: "/metadata/uid",
                }
            } else {
                BodyShape::Objects {
                    list: "/items",
                    id: "/metadata/uid",
                    version: "/metadata/resourceVersion",
                    name: "/metadata/name",
                }
            },
            declared: Some(DeclaredCount::AfterThisPage("/metadata/remainingItemCount")),
            quota: &API,
            grant: self.grant("list"),
            pivots: self.pivots,
            children: self.children,
            // a token for the next page lives for about five minutes
            restarts_on: &[410],
            // the group is there, but this cluster's version of it has no such resource
            losses: if self.is_discovered {
                &[(404, None)]
            } else {
                &[]
            },
            body_filter,
            ..Endpoint::GET
        })
    }

    /// Tells the version of the list, and watches from it on.
    fn watch(&self, scope: ListScope) -> &'static Endpoint {
        let builder = self.requests(scope);
        let list = builder.list(&ListParams::default().limit(1));
        let watch = builder.watch(&WatchParams::default(), "VERSION");
        let watch = watch.expect("the parameters of the table are valid");
        let watch = leak(Endpoint {
            id: String::leak(format!("kubernetes:watch{}", self.name)),
            path: String::leak(path_of(&watch).replace("VERSION", "{version}")),
            body: BodyShape::Lines,
            quota: &WATCH,
            grant: self.grant("watch"),
            body_bytes_max: Some(u64::MAX), // the item's limit ends it
            idle_timeout: None,
            ..Endpoint::GET
        });
        let version = "/metadata/resourceVersion";
        leak(Endpoint {
            id: String::leak(format!("kubernetes:get{}Version", self.name)),
            path: String::leak(path_of(&list.expect("the limit is valid"))),
            body: BodyShape::Object {
                id: version,
                version,
                name: version,
            },
            quota: &API,
            grant: self.grant("list"),
            children: Vec::leak(vec![ChildEndpoint {
                takes: &[("version", ValueFrom::Record("/metadata/resourceVersion"))],
                ..ChildEndpoint::of(watch)
            }]),
            ..Endpoint::GET
        })
    }
}

fn path_of<B>(request: &Request<B>) -> String {
    request.uri().to_string().replace("?&", "?")
}

/// What kube sends to list metadata; a test compares them.
const METADATA_HEADERS: &[(&str, &str)] = &[(
    "accept",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
)];

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

/// What cannot be asked for in a list: which APIs there are, and in them what not every cluster
/// has.
fn list_api_groups(scope: ListScope) -> &'static Endpoint {
    let children = rows::DISCOVERED
        .iter()
        .filter(|row| row.is_in(scope))
        .map(|row| ChildEndpoint {
            takes: &[("version", ValueFrom::Record("/preferredVersion/version"))],
            only: Vec::leak(vec![Condition::OneOf(
                ValueFrom::Record("/name"),
                Vec::leak(vec![row.group]),
            )]),
            ..ChildEndpoint::of(row.list(scope))
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
    /// The same for one namespace.
    pub(super) roots_in_namespace: Vec<&'static Endpoint>,
    /// Resources that have no namespace, and so are not in [`Self::roots_in_namespace`].
    pub(super) without_namespace: Vec<String>,
}

/// Items of the offers that are captured only if the configuration wants them.
pub(super) const HELM_ITEM: &str = "kubernetes-helm";
pub(super) const WATCH_ITEM: &str = "kubernetes-watch";

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

/// All offers, most volatile first.
pub(super) static OFFERS: LazyLock<Vec<KubernetesOffer>> = LazyLock::new(|| {
    let state = EvidenceLifetime::State;
    let objects = |item, what, lifetime| RestOffer {
        item,
        what,
        lifetime,
        citation: OBJECTS_CITATION,
        page_bytes: Some(500_000),
        records_per_page: 250,
        ..RestOffer::STATE
    };
    let events = RestOffer {
        lifetime: EvidenceLifetime::Seconds(HOUR),
        citation: EVENTS_CITATION,
        settles: EVENT_SETTLES,
        records_per_page: 500,
        ..objects("kubernetes-events", "events of the cluster", state(0))
    };
    let pods = RestOffer {
        citation: LOGS_CITATION,
        records_per_page: 100,
        ..objects(
            "kubernetes-pods",
            "pods, and the previous and current logs of every container",
            // logs go with their pod, and a node keeps 5 files of 10 MiB for each container
            state(600),
        )
    };
    let network = "services, endpoint slices, ingresses and network policies";
    let workloads = "workloads with the history of their revisions, and jobs";
    let access = "service accounts, RBAC, admission webhooks and certificate requests";
    let configuration = "namespaces, metadata of secrets, digests of config maps, custom resources";
    let helm = "releases of Helm with their templates and values";
    let day = state(24 * HOUR);
    vec![
        watch_offer(objects(
            WATCH_ITEM,
            "changes of events and pods until containment",
            state(60),
        )),
        offer(events, rows::EVENTS),
        offer(pods, rows::PODS),
        offer(
            objects("kubernetes-network", network, state(1200)),
            rows::NETWORK,
        ),
        offer(
            objects("kubernetes-nodes", "nodes and leases", state(HOUR)),
            rows::NODES,
        ),
        offer(
            objects("kubernetes-workloads", workloads, state(2 * HOUR)),
            rows::WORKLOADS,
        ),
        delivery_offer(objects(
            "kubernetes-delivery",
            "version and APIs of the cluster, Argo CD, Flux, certificates of pods",
            state(4 * HOUR),
        )),
        offer(objects("kubernetes-access", access, day), rows::ACCESS),
        offer(
            objects("kubernetes-configuration", configuration, day),
            rows::CONFIGURATION,
        ),
        offer(objects(HELM_ITEM, helm, day), rows::HELM),
    ]
});

fn offer(facts: RestOffer, rows: &'static [ResourceRow]) -> KubernetesOffer {
    with_roots(facts, rows, &|scope| {
        let lists = rows.iter().filter(|row| row.is_in(scope));
        lists.map(|row| row.list(scope)).collect()
    })
}

/// Clusters differ most by their version and their APIs.
fn delivery_offer(facts: RestOffer) -> KubernetesOffer {
    with_roots(facts, rows::DISCOVERED, &|scope| {
        vec![list_api_groups(scope), &GET_VERSION]
    })
}

fn watch_offer(facts: RestOffer) -> KubernetesOffer {
    with_roots(facts, &[], &|scope| {
        let watched = [&rows::EVENTS[0], &rows::PODS[0]];
        watched.iter().map(|row| row.watch(scope)).collect()
    })
}

fn with_roots(
    facts: RestOffer,
    rows: &[ResourceRow],
    roots: &dyn Fn(ListScope) -> Vec<&'static Endpoint>,
) -> KubernetesOffer {
    let without_namespace = rows.iter().filter(|row| !row.is_namespaced);
    KubernetesOffer {
        offer: Box::leak(Box::new(RestOffer {
            roots: Vec::leak(roots(ListScope::Cluster)),
            ..facts
        })),
        roots_in_namespace: roots(ListScope::Namespace),
        without_namespace: without_namespace.map(ResourceRow::plural).collect(),
    }
}

/// Rows are static. These are made once, from constants.
fn leak(endpoint: Endpoint) -> &'static Endpoint {
    Box::leak(Box::new(endpoint))
}
