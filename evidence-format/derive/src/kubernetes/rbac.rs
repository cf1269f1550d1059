//! Who may do what: roles, bindings and service accounts.

use serde_json::Value;

use super::resource::{Emitter, Resource, entity, texts_at};
use crate::json::{list_at, text_at};
use crate::{EdgeRelation, EntityKind, EntityRef};

/// Most edges of one role. A rule is the product of its groups and resources, which whoever writes
/// it can make large.
const EDGES_MAX: usize = 1000;

/// Most rights in the line about a role.
const RULES_SHOWN_MAX: usize = 4;

/// `secrets, pods/log: get, list`.
pub(super) fn rules(role: &Resource<'_>) -> String {
    let rules = role.list("/rules");
    let mut shown: Vec<String> = rules
        .iter()
        .take(RULES_SHOWN_MAX)
        .map(|rule| {
            let mut what: Vec<&str> = texts_at(rule, "/resources").collect();
            what.extend(texts_at(rule, "/nonResourceURLs"));
            let verbs: Vec<&str> = texts_at(rule, "/verbs").collect();
            format!("{} {}", verbs.join(","), what.join(","))
        })
        .collect();
    if rules.len() > RULES_SHOWN_MAX {
        shown.push(format!("and {} rules more", rules.len() - RULES_SHOWN_MAX));
    }
    shown.join("; ")
}

pub(super) fn role(role: &Resource<'_>, emitter: &mut Emitter<'_>) {
    let mut edges = 0;
    for rule in role.list("/rules") {
        let verbs: Vec<&str> = texts_at(rule, "/verbs").collect();
        let names: Vec<&str> = texts_at(rule, "/resourceNames").collect();
        for (group, resource) in resources(rule) {
            if edges == EDGES_MAX {
                let rest = EntityRef::new(EntityKind::Other, "…").scoped(role.scope);
                let condition = Some(format!("more than {EDGES_MAX} rights: see the record"));
                emitter.edge(role.entity(), EdgeRelation::CanAccess, rest, condition);
                return;
            }
            edges += 1;
            right(role, &verbs, &names, group, resource, emitter);
        }
        for url in texts_at(rule, "/nonResourceURLs") {
            let to = EntityRef::new(EntityKind::Other, url).scoped(role.scope);
            let condition = Some(verbs.join(", "));
            emitter.edge(role.entity(), EdgeRelation::CanAccess, to, condition);
        }
    }
}

/// Pairs of API group and resource of a rule.
fn resources(rule: &Value) -> impl Iterator<Item = (&str, &str)> {
    texts_at(rule, "/resources")
        .flat_map(move |resource| texts_at(rule, "/apiGroups").map(move |group| (group, resource)))
}

/// One right of a role, on all objects of a resource or on those in `names`.
fn right(
    role: &Resource<'_>,
    verbs: &[&str],
    names: &[&str],
    group: &str,
    resource: &str,
    emitter: &mut Emitter<'_>,
) {
    let mut conditions = vec![verbs.join(", ")];
    if let Some(namespace) = role.namespace {
        conditions.push(format!("in namespace {namespace}"));
    }
    if !names.is_empty() {
        conditions.push(format!("only {}", names.join(", ")));
    }
    // as kubectl spells resources: `deployments.apps`
    let id = match group {
        "" => resource.to_owned(),
        group => format!("{resource}.{group}"),
    };
    let to = EntityRef::new(kind_of_resource(resource), id).scoped(role.scope);
    let condition = conditions.join("; ");
    // whoever may impersonate is whoever they like
    if verbs.contains(&"impersonate") {
        let condition = Some(condition.clone());
        emitter.edge(
            role.entity(),
            EdgeRelation::CanAssume,
            to.clone(),
            condition,
        );
    }
    emitter.edge(role.entity(), EdgeRelation::CanAccess, to, Some(condition));
}

fn kind_of_resource(resource: &str) -> EntityKind {
    // `pods/exec` acts on a pod
    match resource.split('/').next().unwrap_or("") {
        "pods" => EntityKind::Pod,
        "nodes" => EntityKind::Node,
        "namespaces" => EntityKind::Namespace,
        "secrets" => EntityKind::Secret,
        "serviceaccounts" => EntityKind::Service,
        "users" => EntityKind::User,
        "groups" => EntityKind::Group,
        "roles" | "clusterroles" => EntityKind::Role,
        "rolebindings" | "clusterrolebindings" => EntityKind::Policy,
        "deployments" | "replicasets" | "statefulsets" | "daemonsets" | "jobs" | "cronjobs" => {
            EntityKind::Workload
        }
        _ => EntityKind::Other,
    }
}

/// `ClusterRole cluster-admin to system:serviceaccount:ci:runner`.
pub(super) fn grant(binding: &Resource<'_>) -> String {
    let subjects: Vec<String> = binding
        .list("/subjects")
        .iter()
        .filter_map(|subject| Some(subject_of(binding, subject)?.id))
        .collect();
    let kind = binding.text("/roleRef/kind").unwrap_or("");
    let role = binding.text("/roleRef/name").unwrap_or("");
    match subjects.as_slice() {
        [] => format!("{kind} {role} to nobody"),
        subjects => format!("{kind} {role} to {}", subjects.join(", ")),
    }
}

pub(super) fn binding(binding: &Resource<'_>, emitter: &mut Emitter<'_>) {
    let (Some(kind), Some(name)) = (binding.text("/roleRef/kind"), binding.text("/roleRef/name"))
    else {
        emitter.unreadable("has no roleRef");
        return;
    };
    // A role binding may refer to a cluster role; its rights then hold in the binding's namespace.
    let role = entity(kind, binding.namespace, name, binding.scope);
    let mut condition = format!("by {}", binding.label_with_kind());
    if let Some(namespace) = binding.namespace {
        condition = format!("in namespace {namespace}, {condition}");
    }
    for subject in binding.list("/subjects") {
        if let Some(subject) = subject_of(binding, subject) {
            let condition = Some(condition.clone());
            emitter.edge(subject, EdgeRelation::CanAssume, role.clone(), condition);
        }
    }
}

fn subject_of(binding: &Resource<'_>, subject: &Value) -> Option<EntityRef> {
    let kind = text_at(subject, "/kind")?;
    let name = text_at(subject, "/name")?;
    let namespace = text_at(subject, "/namespace").or(binding.namespace);
    // users and groups may be service accounts by another name
    if kind == "User" && name.starts_with("system:serviceaccount:") {
        return Some(EntityRef::new(EntityKind::Service, name).scoped(binding.scope));
    }
    Some(entity(kind, namespace, name, binding.scope))
}

/// What a service account holds, and which identity of a cloud provider it can assume.
pub(super) fn service_account(account: &Resource<'_>, emitter: &mut Emitter<'_>) {
    for (field, what) in [("/secrets", "token"), ("/imagePullSecrets", "pulls images")] {
        for secret in list_at(account.value, field) {
            if let Some(secret) = text_at(secret, "/name") {
                let secret = account.neighbour("Secret", secret);
                let condition = Some(what.to_owned());
                emitter.edge(account.entity(), EdgeRelation::Holds, secret, condition);
            }
        }
    }
    // workload identity of EKS, GKE and AKS
    for (annotation, kind) in [
        ("eks.amazonaws.com/role-arn", EntityKind::Role),
        ("iam.gke.io/gcp-service-account", EntityKind::Service),
        ("azure.workload.identity/client-id", EntityKind::Application),
    ] {
        if let Some(id) = account.annotation(annotation) {
            let condition = Some(format!("annotation {annotation}"));
            let to = EntityRef::new(kind, id);
            emitter.edge(account.entity(), EdgeRelation::CanAssume, to, condition);
        }
    }
}
