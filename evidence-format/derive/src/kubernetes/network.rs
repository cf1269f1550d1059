//! Who can reach what: services, their endpoints, ingresses and policies.

use serde_json::Value;

use super::resource::{Emitter, Resource, entity, referred, texts_at};
use crate::json::{first_text, id_at, list_at, text_at};
use crate::{EdgeRelation, EntityKind, EntityRef};

/// The label by which an EndpointSlice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

pub(super) fn service(service: &Resource<'_>) -> String {
    let kind = service.text("/spec/type").unwrap_or("ClusterIP");
    let mut details = vec![format!("{kind} {}", ports(service.list("/spec/ports")))];
    details.extend(texts_at(service.value, "/spec/externalIPs").map(str::to_owned));
    for address in service.list("/status/loadBalancer/ingress") {
        details.extend(first_text(address, &["/hostname", "/ip"]).map(str::to_owned));
    }
    details.join(", ")
}

/// `443/TCP, 53/UDP`.
fn ports(ports: &[Value]) -> String {
    let ports: Vec<String> = ports
        .iter()
        .map(|port| {
            let number = id_at(port, "/port").unwrap_or_default();
            format!("{number}/{}", text_at(port, "/protocol").unwrap_or("TCP"))
        })
        .collect();
    ports.join(", ")
}

pub(super) fn endpoint_slice(slice: &Resource<'_>, emitter: &mut Emitter<'_>) {
    let Some(service) = slice.label(SERVICE_NAME) else {
        return;
    };
    let service = slice.neighbour("Service", service);
    let ports = ports(slice.list("/ports"));
    for endpoint in slice.list("/endpoints") {
        let pod = endpoint
            .get("targetRef")
            .and_then(|pod| referred(pod, slice.namespace, slice.scope));
        // addresses outside the cluster belong to no object
        let to = pod.or_else(|| {
            let address = text_at(endpoint, "/addresses/0")?;
            Some(EntityRef::new(EntityKind::Network, address))
        });
        if let Some(to) = to {
            let condition = (!ports.is_empty()).then(|| ports.clone());
            emitter.edge(service.clone(), EdgeRelation::CanReach, to, condition);
        }
    }
}

pub(super) fn ingress(ingress: &Resource<'_>, emitter: &mut Emitter<'_>) {
    if let Some(service) = ingress.text("/spec/defaultBackend/service/name") {
        let service = ingress.neighbour("Service", service);
        let condition = Some("all other requests".to_owned());
        emitter.edge(ingress.entity(), EdgeRelation::CanReach, service, condition);
    }
    for rule in ingress.list("/spec/rules") {
        let host = text_at(rule, "/host").unwrap_or("*");
        let domain = EntityRef::new(EntityKind::Domain, host);
        for path in list_at(rule, "/http/paths") {
            let Some(service) = text_at(path, "/backend/service/name") else {
                continue;
            };
            let service = ingress.neighbour("Service", service);
            let path = text_at(path, "/path").unwrap_or("/");
            let condition = format!("path {path}, by {}", ingress.label_with_kind());
            let to = service.clone();
            emitter.edge(domain.clone(), EdgeRelation::CanReach, to, Some(condition));
            emitter.edge(ingress.entity(), EdgeRelation::CanReach, service, None);
        }
    }
    for secret in ingress.list("/spec/tls") {
        if let Some(secret) = text_at(secret, "/secretName") {
            let secret = entity("Secret", ingress.namespace, secret, ingress.scope);
            let condition = Some("TLS".to_owned());
            emitter.edge(ingress.entity(), EdgeRelation::Holds, secret, condition);
        }
    }
}

pub(super) fn policy(policy: &Resource<'_>) -> String {
    let types: Vec<&str> = texts_at(policy.value, "/spec/policyTypes").collect();
    let selector = policy.value.pointer("/spec/podSelector/matchLabels");
    let labels: Vec<String> = selector
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or("")))
        .collect();
    let pods = match labels.as_slice() {
        [] => "all pods".to_owned(),
        labels => format!("pods {}", labels.join(",")),
    };
    format!("{} of {pods}", types.join(" and "))
}
