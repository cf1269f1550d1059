//! Objects of Kubernetes, how they are named, and what is emitted about them.

use evidence_format::time::Timestamp;
use serde_json::Value;

use crate::json::{id_at, list_at, text_at, time_at};
use crate::{
    ActivityEvent, Derivation, EdgeRelation, EntityKind, EntityRef, ObjectEdge, ObservedObject,
    RecordContext,
};

/// One object of the cluster.
pub(super) struct Resource<'v> {
    pub(super) kind: &'static str,
    pub(super) name: &'v str,
    pub(super) namespace: Option<&'v str>,
    pub(super) value: &'v Value,
    /// The cluster.
    pub(super) scope: Option<&'v str>,
}

impl<'v> Resource<'v> {
    /// `None` if `value` is not an object of Kubernetes.
    pub(super) fn new(
        kind: &'static str,
        value: &'v Value,
        scope: Option<&'v str>,
    ) -> Option<Self> {
        Some(Self {
            kind,
            name: text_at(value, "/metadata/name")?,
            namespace: text_at(value, "/metadata/namespace"),
            value,
            scope,
        })
    }

    pub(super) fn entity(&self) -> EntityRef {
        entity(self.kind, self.namespace, self.name, self.scope)
    }

    /// An object that this one refers to. Names without a namespace are looked up in its own.
    pub(super) fn neighbour(&self, kind: &str, name: &str) -> EntityRef {
        entity(kind, self.namespace, name, self.scope)
    }

    pub(super) fn text(&self, pointer: &str) -> Option<&'v str> {
        text_at(self.value, pointer)
    }

    pub(super) fn list(&self, pointer: &str) -> &'v [Value] {
        list_at(self.value, pointer)
    }

    pub(super) fn annotation(&self, name: &str) -> Option<&'v str> {
        member(self.value, "/metadata/annotations", name)
    }

    pub(super) fn label(&self, name: &str) -> Option<&'v str> {
        member(self.value, "/metadata/labels", name)
    }

    pub(super) fn created(&self) -> Option<(Timestamp, String)> {
        time_at(self.value, "/metadata/creationTimestamp")
    }

    /// Differs between two objects that had the same name one after the other.
    pub(super) fn uid(&self) -> &'v str {
        self.text("/metadata/uid").unwrap_or(self.name)
    }

    /// The object that controls this one, if its kind is `kind`.
    pub(super) fn controller(&self, kind: &str) -> Option<&'v str> {
        self.list("/metadata/ownerReferences")
            .iter()
            .find(|owner| text_at(owner, "/kind") == Some(kind))
            .and_then(|owner| text_at(owner, "/name"))
    }

    /// `Pod payments/checkout-api-698f57ddfb-4fmmx`.
    pub(super) fn label_with_kind(&self) -> String {
        match self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }
}

/// The text of a member whose name has slashes and dots, which JSON pointers would escape.
pub(super) fn member<'v>(value: &'v Value, pointer: &str, name: &str) -> Option<&'v str> {
    value
        .pointer(pointer)?
        .get(name)?
        .as_str()
        .filter(|text| !text.is_empty())
}

/// All texts of the list at `pointer`, such as verbs and resources of a rule.
pub(super) fn texts_at<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v str> {
    list_at(value, pointer).iter().filter_map(Value::as_str)
}

/// The one way to name an object, so that edges from several records meet in it. Kinds that share
/// an [`EntityKind`] have their kind in the id.
pub(super) fn entity(
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    scope: Option<&str>,
) -> EntityRef {
    let entity_kind = match kind {
        "Pod" => EntityKind::Pod,
        "Node" => EntityKind::Node,
        "Namespace" => EntityKind::Namespace,
        "ServiceAccount" => EntityKind::Service,
        "Secret" => EntityKind::Secret,
        "User" => EntityKind::User,
        "Group" => EntityKind::Group,
        "Role" | "ClusterRole" => EntityKind::Role,
        "RoleBinding" | "ClusterRoleBinding" => EntityKind::Policy,
        "Deployment"
        | "ReplicaSet"
        | "StatefulSet"
        | "DaemonSet"
        | "Job"
        | "CronJob"
        | "ReplicationController" => EntityKind::Workload,
        "ControllerRevision" => EntityKind::Deployment,
        "Service" | "EndpointSlice" | "Endpoints" | "Ingress" | "NetworkPolicy" => {
            EntityKind::Network
        }
        "CertificateSigningRequest" | "PodCertificateRequest" | "ClusterTrustBundle" => {
            EntityKind::Credential
        }
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => EntityKind::Webhook,
        "Application" | "AppProject" | "Kustomization" | "HelmRelease" | "Helm" => {
            EntityKind::Application
        }
        "GitRepository" => EntityKind::Repository,
        _ => EntityKind::Other,
    };
    let id = match (kind, namespace) {
        // as the API server's audit log and cloud providers' trust policies spell it
        ("ServiceAccount", Some(namespace)) => format!("system:serviceaccount:{namespace}:{name}"),
        ("Node" | "Namespace" | "User" | "Group" | "ClusterRole", _) => name.to_owned(),
        ("Pod" | "Secret" | "Role", Some(namespace)) => format!("{namespace}/{name}"),
        (_, Some(namespace)) => format!("{namespace}/{}/{name}", kind.to_ascii_lowercase()),
        (_, None) => format!("{}/{name}", kind.to_ascii_lowercase()),
    };
    EntityRef::new(entity_kind, id).scoped(scope)
}

/// The object that a reference with `kind`, `namespace` and `name` names. Kinds that have no
/// namespace may be given one by whoever wrote the reference.
pub(super) fn referred(
    reference: &Value,
    namespace: Option<&str>,
    scope: Option<&str>,
) -> Option<EntityRef> {
    let kind = text_at(reference, "/kind")?;
    let name = text_at(reference, "/name")?;
    let namespace = text_at(reference, "/namespace").or(namespace);
    Some(entity(kind, namespace, name, scope))
}

/// Passes on what a record says.
pub(super) struct Emitter<'e> {
    pub(super) record: &'e RecordContext<'e>,
    visit: &'e mut dyn FnMut(Derivation),
}

impl<'e> Emitter<'e> {
    pub(super) fn new(record: &'e RecordContext<'e>, visit: &'e mut dyn FnMut(Derivation)) -> Self {
        Self { record, visit }
    }

    /// The cluster.
    pub(super) fn scope(&self) -> Option<&'e str> {
        self.record.account
    }

    pub(super) fn event(&mut self, event: ActivityEvent) {
        (self.visit)(Derivation::Event(Box::new(event)));
    }

    pub(super) fn unreadable(&mut self, why: &str) {
        self.event(ActivityEvent::unreadable(self.record, why));
    }

    pub(super) fn edge(
        &mut self,
        from: EntityRef,
        relation: EdgeRelation,
        to: EntityRef,
        condition: Option<String>,
    ) {
        (self.visit)(Derivation::Edge(ObjectEdge {
            from,
            relation,
            to,
            condition,
        }));
    }

    pub(super) fn object(&mut self, resource: &Resource<'_>, details: &str) {
        let mut summary = resource.label_with_kind();
        if !details.is_empty() {
            summary = format!("{summary}: {details}");
        }
        self.observed(ObservedObject {
            entity: resource.entity(),
            version: version(resource),
            created_at: resource.created().map(|(time, _)| time),
            summary,
        });
    }

    pub(super) fn observed(&mut self, object: ObservedObject) {
        (self.visit)(Derivation::Object(object));
    }

    /// Edges to the objects that own `resource`: they created it, and it is deleted with them.
    pub(super) fn owners(&mut self, resource: &Resource<'_>) {
        for owner in resource.list("/metadata/ownerReferences") {
            // the owner of a namespaced object is in its namespace, or has none
            let namespace = match text_at(owner, "/kind") {
                Some("Node") => None,
                _ => resource.namespace,
            };
            if let Some(owner) = referred(owner, namespace, resource.scope) {
                self.edge(resource.entity(), EdgeRelation::PartOf, owner, None);
            }
        }
    }
}

/// What changes whenever the object does.
fn version(resource: &Resource<'_>) -> String {
    let resource_version = resource.text("/metadata/resourceVersion").unwrap_or("");
    if resource.kind == "Lease" {
        // A lease is renewed every few seconds; that the same holder still lives is no change.
        let holder = resource.text("/spec/holderIdentity").unwrap_or("");
        let transitions = id_at(resource.value, "/spec/leaseTransitions").unwrap_or_default();
        return format!("{holder} {transitions}").trim_end().to_owned();
    }
    resource_version.to_owned()
}
