//! Rows of the table: resources of the API server.
//!
//! kube builds the requests (path, page size, the header that asks for metadata alone), and the
//! rows say what else the walk needs to know. Every list exists twice: for the whole cluster, and
//! for one namespace, for a collector that may not read more.

use domain::incident::PivotKind;
use http::Request;
use kube::api::{ApiResource, DynamicObject, ListParams, WatchParams};
use kube::core::Resource as _;

use super::hidden;
use crate::config::SourcesConfig;
use crate::recorder::{BodyFilter, RequestRate};
use crate::rest::{
    BodyShape, ChildEndpoint, Condition, DeclaredCount, Endpoint, EndpointQuota, Paging,
    PivotQuery, RestOffer, ValueFrom,
};

/// Kubernetes publishes no rate: priority and fairness queues requests, and answers 429 to those
/// that wait too long. This is what kubectl allows itself for discovery.
pub(super) static API: EndpointQuota = EndpointQuota {
    name: "api",
    rate: RequestRate::new(50.0, 100),
    at_once: 4,
};

const VERSION: &str = "/metadata/resourceVersion";
/// Watches stay open, and must not keep other requests from being sent.
static WATCH: EndpointQuota = EndpointQuota {
    name: "watch",
    rate: RequestRate {
        concurrent_max: 1000,
        ..RequestRate::new(50.0, 100)
    },
    at_once: 1,
};

pub(super) const OF_NAMESPACE: PivotQuery = PivotQuery::by(
    PivotKind::Namespace,
    "&fieldSelector=metadata.namespace%3D{pivot}",
);
pub(super) const OF_LABEL: PivotQuery = PivotQuery::by(PivotKind::Label, "&labelSelector={pivot}");

/// A list of one resource.
#[derive(Clone, Copy)]
pub(super) struct ResourceRow {
    /// `Pods`: its id is `kubernetes:listPods`.
    name: &'static str,
    /// Empty for the core group.
    pub(super) group: &'static str,
    /// As in the URL, if it is not the name in lower case.
    plural: Option<&'static str>,
    /// The group's version is the placeholder `{version}`, from the list of API groups.
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
    /// Filtered, unless the configuration wants the values of environment variables.
    MakesPods,
}

/// Which objects of a resource are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ListScope {
    Cluster,
    /// Those of the namespace in the placeholder `{namespace}`.
    Namespace,
}

pub(super) const fn namespaced(name: &'static str, group: &'static str) -> ResourceRow {
    ResourceRow {
        name,
        group,
        plural: None,
        is_discovered: false,
        is_namespaced: true,
        page_size: 250,
        contents: ObjectContents::Whole,
        selector: "",
        pivots: &[OF_NAMESPACE, OF_LABEL],
        children: &[],
    }
}

pub(super) const fn cluster_wide(name: &'static str, group: &'static str) -> ResourceRow {
    ResourceRow {
        is_namespaced: false,
        pivots: &[OF_LABEL],
        ..namespaced(name, group)
    }
}

impl ResourceRow {
    pub(super) const fn of(self, plural: &'static str) -> Self {
        let plural = Some(plural);
        Self { plural, ..self }
    }

    pub(super) const fn page(self, page_size: u32) -> Self {
        Self { page_size, ..self }
    }

    pub(super) const fn pivots(self, pivots: &'static [PivotQuery]) -> Self {
        Self { pivots, ..self }
    }

    pub(super) const fn children(self, children: &'static [ChildEndpoint]) -> Self {
        Self { children, ..self }
    }

    pub(super) const fn metadata_only(self, filter: BodyFilter) -> Self {
        let contents = ObjectContents::Metadata(filter);
        Self { contents, ..self }
    }

    pub(super) const fn filtered(self, filter: BodyFilter) -> Self {
        let contents = ObjectContents::Filtered(filter);
        Self { contents, ..self }
    }

    /// Has the specification of a pod, with the values of environment variables.
    pub(super) const fn makes_pods(self) -> Self {
        let contents = ObjectContents::MakesPods;
        Self { contents, ..self }
    }

    /// Only the objects that `selector` selects; the API server takes one selector of a kind, so
    /// there are no pivots.
    pub(super) const fn selected_by(self, selector: &'static str) -> Self {
        Self {
            selector,
            pivots: &[],
            ..self
        }
    }

    /// A child of the list of API groups, which pivots do not reach.
    pub(super) const fn discovered(self) -> Self {
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
    pub(super) fn is_in(&self, scope: ListScope) -> bool {
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

    /// `kubernetes:listPods`.
    fn row(&self, id: String, path: String, verb: &str) -> Endpoint {
        Endpoint::get(String::leak(id), String::leak(path))
            .quota(&API)
            .grant(self.grant(verb))
    }

    pub(super) fn list(&self, scope: ListScope) -> &'static Endpoint {
        let builder = self.requests(scope);
        let parameters = ListParams::default().limit(self.page_size);
        let (request, body_filter) = match self.contents {
            ObjectContents::Whole => (builder.list(&parameters), None),
            ObjectContents::Filtered(filter) => (builder.list(&parameters), Some(filter)),
            ObjectContents::MakesPods => (builder.list(&parameters), Some(hidden::ENVIRONMENT)),
            ObjectContents::Metadata(filter) => (builder.list_metadata(&parameters), Some(filter)),
        };
        let request = request.expect("the parameters of the table are valid");
        // without a fallback: a server that cannot send metadata alone must not send the objects
        let accept = request.headers().get(http::header::ACCEPT);
        let (id, version) = ("/metadata/uid", VERSION);
        let path = path_of(&request) + self.selector;
        let list = self.row(format!("kubernetes:list{}", self.name), path, "list");
        let list = match self.name {
            "Events" => list.events("/items", "/metadata/creationTimestamp", id),
            _ => list.objects("/items", id, version, "/metadata/name"),
        };
        leak(Endpoint {
            headers: accept.map_or(Endpoint::GET.headers, |_| METADATA_HEADERS),
            // a token for the next page lives for about five minutes
            restarts_on: &[410],
            // the group is there, but this cluster's version of it has no such resource
            losses: if self.is_discovered {
                &[(404, None)]
            } else {
                &[]
            },
            shortfalls: match self.name {
                "Applications" => FULL_HISTORY,
                _ => &[],
            },
            body_filter,
            hides_unless: self.hides_unless(),
            ..list
                .pages(Paging::TokenToParameter {
                    at: "/metadata/continue",
                    parameter: "continue",
                })
                .declares(DeclaredCount::AfterThisPage("/metadata/remainingItemCount"))
                .pivots(self.pivots)
                .children(self.children)
        })
    }

    fn hides_unless(&self) -> Option<fn(&SourcesConfig) -> bool> {
        match self.contents {
            ObjectContents::MakesPods => Some(|config| config.kubernetes.environment_values),
            ObjectContents::Whole | ObjectContents::Metadata(_) | ObjectContents::Filtered(_) => {
                None
            }
        }
    }

    /// Tells the version of the list, and watches from it on.
    pub(super) fn watch(&self, scope: ListScope) -> &'static Endpoint {
        let builder = self.requests(scope);
        let list = builder.list(&ListParams::default().limit(1));
        let list = path_of(&list.expect("the limit is valid"));
        let watch = builder.watch(&WatchParams::default(), "VERSION");
        let watch = path_of(&watch.expect("the parameters of the table are valid"));
        let watch = watch.replace("VERSION", "{version}");
        let watch = leak(Endpoint {
            body: BodyShape::Lines,
            quota: &WATCH,
            body_bytes_max: Some(u64::MAX), // the item's limit ends it
            idle_timeout: None,
            body_filter: self.hides_unless().map(|_| hidden::ENVIRONMENT_IN_CHANGES),
            hides_unless: self.hides_unless(),
            ..self.row(format!("kubernetes:watch{}", self.name), watch, "watch")
        });
        let from_version =
            ChildEndpoint::of(watch).takes(&[("version", ValueFrom::Record(VERSION))]);
        leak(
            self.row(format!("kubernetes:get{}Version", self.name), list, "list")
                .object(VERSION, VERSION, VERSION)
                .auxiliary()
                .children(Vec::leak(vec![from_version])),
        )
    }
}

/// Argo CD keeps 10 syncs of an application, unless the application says otherwise.
const FULL_HISTORY: &[(Condition, &str)] = &[(
    Condition::AtLeast(ValueFrom::Record("/status/history"), 10),
    "the history of an application is full (10 syncs): older ones are gone",
)];

fn path_of<B>(request: &Request<B>) -> String {
    request.uri().to_string().replace("?&", "?")
}

/// What kube sends to list metadata; a test compares them.
const METADATA_HEADERS: &[(&str, &str)] = &[(
    "accept",
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
)];

/// Rows are static. These are made once, from constants.
pub(super) fn leak(endpoint: Endpoint) -> &'static Endpoint {
    Box::leak(Box::new(endpoint))
}

/// An offer, with its roots for either scope.
pub(super) struct KubernetesOffer {
    /// Its roots list the whole cluster.
    pub(super) offer: &'static RestOffer,
    /// The same for one namespace.
    pub(super) roots_in_namespace: Vec<&'static Endpoint>,
    /// Resources that have no namespace, and so are not in [`Self::roots_in_namespace`].
    pub(super) without_namespace: Vec<String>,
}

impl KubernetesOffer {
    /// Begins at the lists of `rows`.
    pub(super) fn of(facts: RestOffer, rows: &'static [ResourceRow]) -> Self {
        Self::with_roots(facts, rows, &|scope| {
            let lists = rows.iter().filter(|row| row.is_in(scope));
            lists.map(|row| row.list(scope)).collect()
        })
    }

    pub(super) fn with_roots(
        facts: RestOffer,
        rows: &[ResourceRow],
        roots: &dyn Fn(ListScope) -> Vec<&'static Endpoint>,
    ) -> Self {
        let without_namespace = rows.iter().filter(|row| !row.is_namespaced);
        Self {
            offer: Box::leak(Box::new(facts.roots(Vec::leak(roots(ListScope::Cluster))))),
            roots_in_namespace: roots(ListScope::Namespace),
            without_namespace: without_namespace.map(ResourceRow::plural).collect(),
        }
    }
}
