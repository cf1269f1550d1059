//! What the runtimes keep on disk about a container: its pod, its name, its image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cgroup::is_container_id;

/// A pod of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct PodFacts {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: Option<String>,
}

/// A container, as one source describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct StateFacts {
    pub(super) pod: Option<PodFacts>,
    /// The container's name in its pod, or its own.
    pub(super) name: Option<String>,
    pub(super) image: Option<String>,
    /// `sha256:` and 64 hexadecimal digits.
    pub(super) image_digest: Option<String>,
}

/// The specification of a container (OCI), as containerd and CRI-O write it.
#[derive(Deserialize)]
struct OciSpec {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// `config.v2.json` of Docker.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerState {
    #[serde(default)]
    name: String,
    /// The image's id.
    #[serde(default)]
    image: String,
    config: DockerConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    #[serde(default)]
    image: String,
    labels: Option<BTreeMap<String, String>>,
}

/// Labels and annotations by what they mean. The kubelet, containerd and CRI-O have names of their
/// own.
const POD_NAME: &[&str] = &["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"];
const POD_NAMESPACE: &[&str] = &[
    "io.kubernetes.cri.sandbox-namespace",
    "io.kubernetes.pod.namespace",
];
const POD_UID: &[&str] = &["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"];
const CONTAINER_NAME: &[&str] = &[
    "io.kubernetes.cri.container-name",
    "io.kubernetes.container.name",
];
const IMAGE: &[&str] = &[
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri-o.ImageName",
];
const IMAGE_REFERENCE: &[&str] = &["io.kubernetes.cri-o.ImageRef", "io.kubernetes.cri-o.Image"];

/// The facts in a specification of containerd or CRI-O.
pub(super) fn of_oci_spec(json: &[u8]) -> Option<StateFacts> {
    let spec: OciSpec = serde_json::from_slice(json).ok()?;
    let first = |names: &[&str]| first_of(&spec.annotations, names);
    let image = first(IMAGE);
    let references = [image.clone(), first(IMAGE_REFERENCE)];
    Some(StateFacts {
        pod: pod_of(&spec.annotations),
        name: first(CONTAINER_NAME),
        image_digest: references
            .into_iter()
            .flatten()
            .find_map(|text| digest_in(&text)),
        image,
    })
}

/// The facts in a state file of Docker.
pub(super) fn of_docker_state(json: &[u8]) -> Option<StateFacts> {
    let state: DockerState = serde_json::from_slice(json).ok()?;
    let labels = state.config.labels.unwrap_or_default();
    let own_name = state.name.trim_start_matches('/').to_owned();
    Some(StateFacts {
        pod: pod_of(&labels),
        name: first_of(&labels, CONTAINER_NAME).or(Some(own_name)),
        image_digest: digest_in(&state.config.image).or(digest_in(&state.image)),
        image: Some(state.config.image),
    })
}

/// The pod in the name of a folder of `/var/log/pods`: `namespace_name_uid`.
pub(super) fn of_log_folder(name: &str) -> Option<PodFacts> {
    // neither names nor uids may have a `_`
    let mut parts = name.split('_');
    let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
    let is_pod = parts.next().is_none() && !namespace.is_empty() && !name.is_empty();
    is_pod.then(|| PodFacts {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: Some(uid.to_owned()),
    })
}

/// Container and facts in the name of a link in `/var/log/containers`:
/// `pod_namespace_container-id.log`.
pub(super) fn of_log_link(name: &str) -> Option<(String, StateFacts)> {
    let mut parts = name.strip_suffix(".log")?.split('_');
    let (pod, namespace, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let (container, id) = rest.rsplit_once('-')?;
    let is_log = parts.next().is_none() && is_container_id(id);
    is_log.then(|| {
        let pod = PodFacts {
            namespace: namespace.to_owned(),
            name: pod.to_owned(),
            uid: None,
        };
        let facts = StateFacts {
            pod: Some(pod),
            name: Some(container.to_owned()),
            ..StateFacts::default()
        };
        (id.to_owned(), facts)
    })
}

fn pod_of(labels: &BTreeMap<String, String>) -> Option<PodFacts> {
    Some(PodFacts {
        namespace: first_of(labels, POD_NAMESPACE)?,
        name: first_of(labels, POD_NAME)?,
        uid: first_of(labels, POD_UID),
    })
}

fn first_of(labels: &BTreeMap<String, String>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| labels.get(*name)).cloned()
}

/// `sha256:…` in `registry/name@sha256:…`, `sha256:…`, or an id of 64 digits.
fn digest_in(text: &str) -> Option<String> {
    let hex = match text.rsplit_once("sha256:") {
        Some((_, hex)) => hex,
        None => text,
    };
    is_container_id(hex).then(|| format!("sha256:{hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> Option<PodFacts> {
        Some(PodFacts {
            namespace: "shop".to_owned(),
            name: "checkout-1".to_owned(),
            uid: Some("u-1".to_owned()),
        })
    }

    #[test]
    fn state_of_each_runtime_names_pod_and_image() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let containerd = format!(
            r#"{{"ociVersion":"1.1","process":{{"env":["A=secret"]}},"annotations":{{
                "io.kubernetes.cri.sandbox-name":"checkout-1","io.kubernetes.cri.sandbox-namespace":"shop",
                "io.kubernetes.cri.sandbox-uid":"u-1","io.kubernetes.cri.container-name":"app",
                "io.kubernetes.cri.image-name":"registry.example/checkout@{digest}"}}}}"#
        );
        let crio = format!(
            r#"{{"annotations":{{"io.kubernetes.pod.name":"checkout-1","io.kubernetes.pod.namespace":"shop",
                "io.kubernetes.pod.uid":"u-1","io.kubernetes.container.name":"app",
                "io.kubernetes.cri-o.ImageName":"registry.example/checkout:1",
                "io.kubernetes.cri-o.ImageRef":"{}"}}}}"#,
            "ab".repeat(32)
        );
        let docker = format!(
            r#"{{"Name":"/k8s_app","Image":"{digest}","Config":{{"Image":"registry.example/checkout:1","Labels":{{
                "io.kubernetes.pod.name":"checkout-1","io.kubernetes.pod.namespace":"shop",
                "io.kubernetes.pod.uid":"u-1","io.kubernetes.container.name":"app"}}}}}}"#
        );
        for facts in [
            of_oci_spec(containerd.as_bytes()),
            of_oci_spec(crio.as_bytes()),
            of_docker_state(docker.as_bytes()),
        ] {
            let facts = facts.expect("valid");
            assert_eq!((facts.pod, facts.name.as_deref()), (shop(), Some("app")));
            assert_eq!(facts.image_digest.as_deref(), Some(&*digest));
            assert!(
                facts
                    .image
                    .is_some_and(|image| image.starts_with("registry.example/checkout"))
            );
        }
        let alone = of_docker_state(br#"{"Name":"/db","Config":{"Image":"pg","Labels":null}}"#);
        let alone = alone.expect("valid");
        assert_eq!((alone.pod, alone.name.as_deref()), (None, Some("db")));
        assert_eq!(of_oci_spec(b"{\"annotations\":3}"), None);
        assert_eq!(of_docker_state(b"\xff"), None);
    }

    #[test]
    fn names_of_logs_tell_pods_and_containers() {
        assert_eq!(of_log_folder("shop_checkout-1_u-1"), shop());
        assert_eq!(of_log_folder("shop_checkout-1"), None);
        assert_eq!(of_log_folder("a_b_c_d"), None);
        let id = "12".repeat(32);
        let (found, facts) =
            of_log_link(&format!("checkout-1_shop_my-app-{id}.log")).expect("a log");
        assert_eq!((found, facts.name.as_deref()), (id, Some("my-app")));
        assert_eq!(facts.pod.map(|pod| pod.namespace).as_deref(), Some("shop"));
        assert_eq!(of_log_link("checkout-1_shop_app-12.log"), None);
    }
}
