//! An API server with pods, their logs, Secrets and ConfigMaps.

use std::time::Duration;

use data_encoding::BASE64;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Dialect, Quota, RestProvider, RestRequest, RestResponse};

/// How large the cluster is, and as whom it is asked.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    /// Values of `Authorization` that are accepted.
    pub authorizations: Vec<String>,
    pub pods: usize,
    pub events: usize,
    /// Objects on a page.
    pub page_size: usize,
    /// Bytes of a container's log.
    pub log_bytes: usize,
    /// What Secrets and ConfigMaps have as values; must not be recorded.
    pub secret_value: String,
    pub config_value: String,
    /// Time of the newest record, in seconds since 1970.
    pub newest: i64,
}

impl Kubernetes {
    #[must_use]
    pub fn new(token: &str, newest: i64) -> Self {
        Self {
            authorizations: vec![format!("Bearer {token}")],
            pods: 4,
            events: 6,
            page_size: 2,
            log_bytes: 2000,
            secret_value: "value-of-a-secret".to_owned(),
            config_value: "value-of-a-config-map".to_owned(),
            newest,
        }
    }

    /// A kubeconfig for the cluster at `url`; `user` is its user's credential, as YAML.
    #[must_use]
    pub fn kubeconfig(url: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: production\n\
             clusters: [{{name: c, cluster: {{server: \"{url}\"}}}}]\n\
             contexts: [{{name: production, context: {{cluster: c, user: u}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\n"
        )
    }

    fn time(&self, number: usize) -> String {
        let seconds = self.newest - 60 * i64::try_from(number).expect("small");
        Timestamp::from_second(seconds)
            .expect("in range")
            .to_string()
    }

    fn metadata(&self, name: &str) -> Value {
        json!({"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": "7",
            "creationTimestamp": self.time(0)})
    }

    fn list(
        &self,
        request: &RestRequest,
        kind: &str,
        count: usize,
        of: impl Fn(usize) -> Value,
    ) -> RestResponse {
        let begin = request.number("continue").unwrap_or(0);
        let end = count.min(begin + self.page_size);
        let items: Vec<Value> = (begin..end).map(of).collect();
        let mut metadata = json!({"resourceVersion": "90"});
        if end < count {
            metadata["continue"] = json!(end.to_string());
            metadata["remainingItemCount"] = json!(count - end);
        }
        RestResponse::json(
            &json!({"kind": kind, "apiVersion": "v1", "metadata": metadata, "items": items}),
        )
    }

    fn event(&self, number: usize) -> Value {
        json!({
            "metadata": self.metadata(&format!("pod-{number}.17")),
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": format!("pod-{number}"), "uid": "p"},
            "reason": "Pulled", "message": "Container image \"tools:1\" already present on machine", "type": "Normal",
            "source": {"component": "kubelet", "host": "node-a"}, "count": 1,
            "firstTimestamp": self.time(number), "lastTimestamp": self.time(number),
        })
    }

    fn pod(&self, number: usize) -> Value {
        let mut metadata = self.metadata(&format!("pod-{number}"));
        metadata["managedFields"] = json!([{"manager": "kubectl-run", "operation": "Update", "time": self.time(number),
            "fieldsV1": {"f:spec": {}}}]);
        json!({
            "metadata": metadata,
            "spec": {"nodeName": "node-a", "serviceAccountName": "runner", "containers": [{"name": "app", "image": "tools:1"}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "app", "image": "tools:1", "restartCount": 1,
                "containerID": "containerd://c1", "state": {"running": {"startedAt": self.time(number)}}}]},
        })
    }

    /// Metadata alone, if the client asks for it as it should; otherwise with everything.
    fn secret(&self, request: &RestRequest, number: usize) -> Value {
        let mut secret = json!({"metadata": self.metadata(&format!("secret-{number}"))});
        secret["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration":
            json!({"stringData": {"password": self.secret_value}}).to_string()});
        let accept = request.header("accept").unwrap_or_default();
        if !accept.contains("PartialObjectMetadataList") {
            secret["data"] = json!({"password": BASE64.encode(self.secret_value.as_bytes())});
        }
        secret
    }

    fn config_map(&self, number: usize) -> Value {
        json!({"metadata": self.metadata(&format!("config-{number}")),
            "data": {"application.yaml": format!("password: {}", self.config_value)},
            "binaryData": {"keystore": BASE64.encode(self.config_value.as_bytes())}})
    }

    fn binding(&self, plural: &str, number: usize) -> Value {
        json!({"metadata": self.metadata(&format!("{plural}-{number}")),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "mallory"}]})
    }

    fn log(&self, pod: &str) -> RestResponse {
        let line = format!("{} {pod} serves GET /cart 200\n", self.time(0));
        RestResponse::text(line.repeat(self.log_bytes.div_ceil(line.len())))
    }
}

impl RestProvider for Kubernetes {
    fn answer(&self, request: &RestRequest) -> RestResponse {
        let named =
            |kind: &str, n: usize| json!({"metadata": self.metadata(&format!("{kind}-{n}"))});
        match request.parts()[..] {
            ["version"] => {
                RestResponse::json(&json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0"}))
            }
            ["apis"] => RestResponse::json(
                &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [
                {"name": "apps", "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
                    "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"}}]}),
            ),
            ["apis", "authentication.k8s.io", "v1", "selfsubjectreviews"] => {
                RestResponse::json(&json!({
                "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
                "status": {"userInfo": {"username": "system:serviceaccount:exhibit:collector", "groups": []}}}))
            }
            ["api", "v1", "events"] => {
                self.list(request, "EventList", self.events, |n| self.event(n))
            }
            ["api", "v1", "pods"] => self.list(request, "PodList", self.pods, |n| self.pod(n)),
            ["api", "v1", "namespaces", _, "pods", pod, "log"] => self.log(pod),
            ["api", "v1", "secrets"] => self.list(request, "PartialObjectMetadataList", 2, |n| {
                self.secret(request, n)
            }),
            ["api", "v1", "configmaps"] => {
                self.list(request, "ConfigMapList", 2, |n| self.config_map(n))
            }
            [
                "apis",
                "rbac.authorization.k8s.io",
                "v1",
                plural @ ("clusterrolebindings" | "rolebindings"),
            ] => self.list(request, "List", 1, |n| self.binding(plural, n)),
            ["api", "v1", plural] | ["apis", _, _, plural] => {
                self.list(request, "List", 1, |n| named(plural, n))
            }
            _ => RestResponse::error(404, "the server could not find the requested resource"),
        }
    }

    fn accepts(&self, request: &RestRequest) -> bool {
        let authorization = request.header("authorization").unwrap_or_default();
        self.authorizations
            .iter()
            .any(|known| known == authorization)
    }

    fn quota_of(&self, _: &RestRequest) -> Option<usize> {
        Some(0)
    }

    /// Kubernetes publishes none. This is what its own client library for controllers was built
    /// for: 50 requests a second, and 100 at once.
    fn quotas(&self) -> Vec<Quota> {
        vec![Quota {
            name: "api",
            limit: 50,
            window: Duration::from_secs(1),
            elapsed: Duration::ZERO,
            dialect: Dialect::Kubernetes,
        }]
    }
}
