//! What the cluster is set up with: nodes, leases, config maps, secrets, admission webhooks,
//! certificates.

use serde_json::Value;

use super::resource::{Emitter, Resource, entity, texts_at};
use crate::json::{list_at, text_at, time_at};
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, EdgeRelation, EntityKind, EntityRef,
    ObservedObject, ocsf,
};

/// Where the API server puts the id of the credential that a request came with.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

pub(super) fn version(value: &Value, emitter: &mut Emitter<'_>) {
    let Some(version) = text_at(value, "/gitVersion") else {
        emitter.unreadable("has no gitVersion");
        return;
    };
    let cluster = emitter.scope().unwrap_or("cluster");
    emitter.observed(ObservedObject {
        entity: EntityRef::new(EntityKind::Cluster, cluster),
        version: version.to_owned(),
        created_at: None,
        summary: format!("Kubernetes {version}"),
    });
}

pub(super) fn node(node: &Resource<'_>) -> String {
    let version = node.text("/status/nodeInfo/kubeletVersion").unwrap_or("?");
    let system = node.text("/status/nodeInfo/osImage").unwrap_or("?");
    let addresses: Vec<&str> = node
        .list("/status/addresses")
        .iter()
        .filter_map(|address| text_at(address, "/address"))
        .collect();
    format!("kubelet {version}, {system}, {}", addresses.join(", "))
}

pub(super) fn lease(lease: &Resource<'_>) -> String {
    let holder = lease.text("/spec/holderIdentity").unwrap_or("nobody");
    format!("held by {holder}")
}

/// Names of the keys of a Secret or ConfigMap. Values never leave the cluster, but the managers of
/// fields name the keys that they wrote.
pub(super) fn keys(resource: &Resource<'_>) -> String {
    let mut keys: Vec<&str> = Vec::new();
    for entry in resource.list("/metadata/managedFields") {
        for data in ["/fieldsV1/f:data", "/fieldsV1/f:binaryData"] {
            keys.extend(members(entry.pointer(data)).filter_map(|key| key.strip_prefix("f:")));
        }
    }
    for data in ["/data", "/binaryData"] {
        keys.extend(members(resource.value.pointer(data)));
    }
    keys.sort_unstable();
    keys.dedup();
    match keys.as_slice() {
        [] => String::new(),
        keys => format!("keys {}", keys.join(", ")),
    }
}

fn members(value: Option<&Value>) -> impl Iterator<Item = &str> {
    value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
}

/// `inject.platform.example.com at platform/sidecar-injector`.
pub(super) fn webhooks(configuration: &Resource<'_>) -> String {
    let webhooks: Vec<String> = configuration
        .list("/webhooks")
        .iter()
        .map(|webhook| {
            let name = text_at(webhook, "/name").unwrap_or("");
            let policy = text_at(webhook, "/failurePolicy").unwrap_or("Fail");
            match callee(configuration, webhook) {
                Some(callee) => format!("{name} at {} ({policy})", callee.label()),
                None => name.to_owned(),
            }
        })
        .collect();
    webhooks.join("; ")
}

/// Who is asked by a webhook: they see every object, and can change it or refuse it.
fn callee(configuration: &Resource<'_>, webhook: &Value) -> Option<EntityRef> {
    if let Some(url) = text_at(webhook, "/clientConfig/url") {
        return Some(EntityRef::new(EntityKind::Network, url));
    }
    let name = text_at(webhook, "/clientConfig/service/name")?;
    let namespace = text_at(webhook, "/clientConfig/service/namespace");
    Some(entity("Service", namespace, name, configuration.scope))
}

pub(super) fn admission(configuration: &Resource<'_>, emitter: &mut Emitter<'_>) {
    for webhook in configuration.list("/webhooks") {
        let Some(callee) = callee(configuration, webhook) else {
            continue;
        };
        let rules: Vec<String> = list_at(webhook, "/rules")
            .iter()
            .map(|rule| {
                let operations: Vec<&str> = texts_at(rule, "/operations").collect();
                let resources: Vec<&str> = texts_at(rule, "/resources").collect();
                format!("{} of {}", operations.join(","), resources.join(","))
            })
            .collect();
        let condition = (!rules.is_empty()).then(|| rules.join("; "));
        emitter.edge(
            configuration.entity(),
            EdgeRelation::Trusts,
            callee,
            condition,
        );
    }
}

pub(super) fn signer(request: &Resource<'_>) -> String {
    let signer = request.text("/spec/signerName").unwrap_or("unknown");
    format!("signer {signer}")
}

pub(super) fn certificate_request(request: &Resource<'_>) -> String {
    let user = request.text("/spec/username").unwrap_or("unknown");
    let states: Vec<&str> = request
        .list("/status/conditions")
        .iter()
        .filter_map(|condition| text_at(condition, "/type"))
        .collect();
    let state = match (states.as_slice(), request.text("/status/certificate")) {
        ([], _) => "pending".to_owned(),
        (states, Some(_)) => format!("{}, issued", states.join(", ")),
        (states, None) => states.join(", "),
    };
    format!("by {user}, {}, {state}", signer(request))
}

/// That a certificate was asked for, and what became of it.
pub(super) fn certificate_events(request: &Resource<'_>, emitter: &mut Emitter<'_>) {
    let user = request.text("/spec/username");
    let who = user.unwrap_or("unknown");
    let label = request.label_with_kind();
    let credential = request.value.pointer("/spec/extra").and_then(|extra| {
        let id = extra.get(CREDENTIAL_ID)?.get(0)?.as_str()?;
        Some(EntityRef::new(EntityKind::Credential, id))
    });
    if let Some((time, text)) = request.created() {
        let usages: Vec<&str> = texts_at(request.value, "/spec/usages").collect();
        let mut event = certificate_event(request, "certificate.request", emitter);
        event.time = time;
        event.time_text = text;
        event.actor = user.map(|user| EntityRef::new(EntityKind::User, user).scoped(request.scope));
        event.credential = credential;
        event.summary = format!(
            "{label} asked for by {who}: {} for {}",
            signer(request),
            usages.join(", ")
        );
        emitter.event(event);
    }
    for condition in request.list("/status/conditions") {
        let Some(state) = text_at(condition, "/type") else {
            continue;
        };
        let action = format!("certificate.{}", state.to_ascii_lowercase());
        let mut event = certificate_event(request, &action, emitter);
        let time = time_at(condition, "/lastUpdateTime");
        if let Some((time, text)) = time.or_else(|| time_at(condition, "/lastTransitionTime")) {
            event.time = time;
            event.time_text = text;
        }
        event.outcome = match state {
            "Approved" => ActivityOutcome::Success,
            "Denied" | "Failed" => ActivityOutcome::Failure,
            _ => ActivityOutcome::Unknown,
        };
        event.reason = text_at(condition, "/reason").map(str::to_owned);
        let message = text_at(condition, "/message").unwrap_or("");
        event.summary = format!("{label} of {who} {}: {message}", state.to_ascii_lowercase());
        emitter.event(event);
    }
}

fn certificate_event(request: &Resource<'_>, action: &str, emitter: &Emitter<'_>) -> ActivityEvent {
    let mut event = ActivityEvent::new(emitter.record, ActivityCategory::Access, action);
    event.class = ocsf::ENTITY_MANAGEMENT;
    event.activity = match action {
        "certificate.request" => ocsf::CREATE,
        _ => ocsf::UPDATE,
    };
    event.outcome = ActivityOutcome::Success;
    event.targets = vec![request.entity()];
    event.event_id = Some(format!("{}/{action}", request.uid()));
    event
}
