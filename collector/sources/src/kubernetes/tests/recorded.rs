//! Whole steps against a server that answers as the recorded API server did: lists in pages of any
//! size, logs, refusals, and tokens that are forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use evidence_format::coverage::{EndReason, GapReason};
use serde_json::{Value, json};
use url::Url;

use super::super::SOURCE;
use super::harness::{Captured, StepCapture};
use crate::Source as _;
use crate::config::{KubernetesConfig, SourcesConfig};

fn recordings(name: &str) -> Option<Vec<Value>> {
    let corpora = std::env::var_os("EXHIBIT_CORPORA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"),
        PathBuf::from,
    );
    let file = corpora.join("kubernetes/recorded-1.36").join(name);
    let Ok(bytes) = std::fs::read(&file) else {
        #[expect(clippy::print_stderr, reason = "says why nothing is tested")]
        {
            eprintln!("skipped: no {}", file.display());
        }
        return None;
    };
    let text = match name.ends_with(".zst") {
        true => zstd::decode_all(&*bytes).expect("zstd"),
        false => bytes,
    };
    let lines = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    Some(
        lines
            .map(|line| serde_json::from_slice(line).expect("JSON"))
            .collect(),
    )
}

/// What the server does beside what was recorded.
#[derive(Default)]
struct Misbehaviour {
    /// Lists of this resource answer 403.
    refused: Option<&'static str>,
    /// The second page of this resource is answered with 410, once.
    expired: Option<&'static str>,
    /// Containers have the value of their environment variable in clear, where the recordings have
    /// a reference to it.
    literal_values: bool,
}

/// An environment variable's value in the recordings.
const REFERENCE: &str =
    r#""valueFrom":{"configMapKeyRef":{"name":"app-config","key":"LOG_LEVEL","optional":true}}"#;

struct RecordedCluster {
    /// The body of each list by its path.
    lists: BTreeMap<String, Value>,
    /// Other answers by path and query: logs, discovery.
    answers: BTreeMap<String, (u64, String)>,
    misbehaviour: Misbehaviour,
    requests: Mutex<Vec<String>>,
    address: SocketAddr,
}

impl RecordedCluster {
    /// `None` without recordings.
    fn start(misbehaviour: Misbehaviour) -> Option<Arc<Self>> {
        let text = |exchange: &Value, at: &str| -> String {
            exchange
                .pointer(at)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let mut lists = BTreeMap::new();
        for exchange in recordings("lists-full.ndjson.zst")? {
            let mut body = text(&exchange, "/response/body");
            if misbehaviour.literal_values {
                body = body.replace(REFERENCE, r#""value":"p4ssw0rd""#);
            }
            let body: Value = serde_json::from_str(&body).expect("JSON");
            lists.insert(text(&exchange, "/request/path"), body);
        }
        let mut answers = BTreeMap::new();
        for file in ["logs.ndjson", "discovery.ndjson"] {
            for exchange in recordings(file)? {
                // answers to other identities, and discovery in a form that is not asked for
                let note = text(&exchange, "/note");
                if note.contains("identity") || note.contains("aggregated") {
                    continue;
                }
                let status = exchange["response"]["status"].as_u64().expect("a status");
                let answer = (status, text(&exchange, "/response/body"));
                answers.insert(text(&exchange, "/request/path"), answer);
            }
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let cluster = Arc::new(Self {
            lists,
            answers,
            misbehaviour,
            requests: Mutex::default(),
            address: listener.local_addr().expect("bound"),
        });
        let served = cluster.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (cluster, stream) = (served.clone(), stream.expect("a connection"));
                std::thread::spawn(move || cluster.serve(stream));
            }
        });
        Some(cluster)
    }

    fn serve(&self, mut stream: TcpStream) {
        let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(length) => request.extend_from_slice(&chunk[..length]),
            }
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        assert!(
            request
                .to_lowercase()
                .contains("authorization: bearer read-only")
        );
        let target = request.split(' ').nth(1).expect("a target").to_owned();
        let (status, body) = self.answer(&target, request.contains("PartialObjectMetadataList"));
        self.requests.lock().expect("not poisoned").push(target);
        let kind = match body.starts_with('{') {
            true => "application/json",
            false => "text/plain",
        };
        let head = format!(
            "HTTP/1.1 {status} Answer\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(body.as_bytes());
    }

    fn answer(&self, target: &str, only_metadata: bool) -> (u64, String) {
        let url = Url::parse(&format!("http://cluster{target}")).expect("a path");
        let path = url.path();
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        if path.ends_with("/log") {
            return self.log(target);
        }
        let Some((list, namespace)) = self.list(path) else {
            let not_found = (404, "404 page not found\n".to_owned());
            return self.answers.get(path).cloned().unwrap_or(not_found);
        };
        let plural = path.rsplit('/').next().expect("a plural");
        if self.misbehaviour.refused == Some(plural) {
            return (403, status_body(403, "Forbidden"));
        }
        let begin = query
            .get("continue")
            .map_or(0, |token| token.parse().expect("ours"));
        if begin > 0 && self.misbehaviour.expired == Some(plural) {
            let asked = self.requests.lock().expect("not poisoned");
            let is_first = !asked.iter().any(|asked| asked == target);
            if is_first {
                return (410, status_body(410, "Expired"));
            }
        }
        let selector = query.get("fieldSelector").map(String::as_str);
        let label = query
            .get("labelSelector")
            .and_then(|term| term.split_once('='));
        let items: Vec<&Value> = list["items"]
            .as_array()
            .expect("items")
            .iter()
            .filter(|item| namespace.is_none_or(|it| item["metadata"]["namespace"] == it))
            .filter(|item| selector.is_none_or(|selector| selects(selector, item)))
            .filter(|item| {
                label.is_none_or(|(name, value)| item["metadata"]["labels"][name] == value)
            })
            .collect();
        let limit: usize = query["limit"].parse().expect("a limit");
        let end = items.len().min(begin + limit);
        let mut page = list.clone();
        page["items"] = items[begin..end]
            .iter()
            .map(|item| match only_metadata {
                true => json!({"kind": "PartialObjectMetadata", "metadata": item["metadata"]}),
                false => (*item).clone(),
            })
            .collect();
        if end < items.len() {
            page["metadata"]["continue"] = end.to_string().into();
            page["metadata"]["remainingItemCount"] = (items.len() - end).into();
        }
        (200, page.to_string())
    }

    fn log(&self, target: &str) -> (u64, String) {
        // recorded without times for most containers
        let without_times = target.replace("&timestamps=true", "");
        let recorded = self
            .answers
            .get(target)
            .or_else(|| self.answers.get(&without_times));
        let line = "2026-11-23T13:19:08.000000000Z level=info msg=\"not recorded\"\n".to_owned();
        recorded.cloned().unwrap_or((200, line))
    }

    /// The recorded list, and the namespace to narrow it to.
    fn list<'p>(&self, path: &'p str) -> Option<(&Value, Option<&'p str>)> {
        if let Some(list) = self.lists.get(path) {
            return Some((list, None));
        }
        let (before, after) = path.split_once("/namespaces/")?;
        let (namespace, plural) = after.split_once('/')?;
        let list = self.lists.get(&format!("{before}/{plural}"))?;
        Some((list, Some(namespace)))
    }
}

fn selects(selector: &str, item: &Value) -> bool {
    selector.split(',').all(|term| {
        let (field, value) = term.split_once('=').expect("a term");
        item.pointer(&format!("/{}", field.replace('.', "/")))
            .is_none_or(|found| found == value)
    })
}

fn status_body(code: u64, reason: &str) -> String {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code})
        .to_string()
}

/// Captures all of `offer`, or what matches `pivot`.
async fn capture(
    cluster: &RecordedCluster,
    offer: &'static str,
    change: impl FnOnce(&mut KubernetesConfig),
    pivot: Option<&'static str>,
) -> Captured {
    let step = StepCapture {
        pivot,
        ..StepCapture::of(offer)
    };
    step.from(cluster.address, change).await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_every_list_are_captured_whole() {
    let Some(cluster) = RecordedCluster::start(Misbehaviour::default()) else {
        return;
    };
    let mut listed = 0;
    for offer in SOURCE.offers() {
        let captured = capture(&cluster, offer.item, |_| {}, None).await;
        let names: BTreeSet<&str> = captured.answers.iter().map(|a| &*a.endpoint).collect();
        for endpoint in names
            .iter()
            .filter(|name| name.starts_with("kubernetes:list"))
        {
            let Some(path) = captured
                .of(endpoint)
                .next()
                .map(|answer| answer.uri.clone())
            else {
                continue;
            };
            let url = Url::parse(&path).expect("a URL");
            if let Some(list) = cluster.lists.get(url.path()) {
                let expected = list["items"].as_array().expect("items").len();
                assert_eq!(captured.objects(endpoint).len(), expected, "{endpoint}");
                listed += 1;
            }
        }
        // resources of which there are no recordings: ingresses
        if let Err(incomplete) = &captured.ended {
            assert_eq!(offer.item, "kubernetes-network", "{incomplete:?}");
            assert!(
                incomplete.what.contains("kubernetes:listIngresses"),
                "{incomplete:?}"
            );
        }
        assert!(
            captured
                .cursors
                .iter()
                .all(|cursor| cursor.len() < 64 << 10)
        );
    }
    assert!(listed >= 24, "{listed} lists");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_container_has_its_log_and_restarted_ones_two() {
    let Some(cluster) = RecordedCluster::start(Misbehaviour::default()) else {
        return;
    };
    let captured = capture(&cluster, "kubernetes-pods", |_| {}, None).await;
    let pods = cluster.lists["/api/v1/pods"]["items"]
        .as_array()
        .expect("pods");
    let (mut containers, mut restarted) = (0, 0);
    for pod in pods {
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            containers += pod["spec"][list].as_array().map_or(0, Vec::len);
        }
        let statuses = pod["status"]["containerStatuses"].as_array();
        let restarts = statuses
            .into_iter()
            .flatten()
            .filter_map(|s| s["restartCount"].as_u64());
        restarted += restarts.filter(|count| *count > 0).count();
    }
    let uris: BTreeSet<&str> = captured.of("kubernetes:podLog").map(|a| &*a.uri).collect();
    let previous = uris
        .iter()
        .filter(|uri| uri.contains("previous=true"))
        .count();
    assert_eq!((uris.len() - previous, previous), (containers, restarted));
    assert!(restarted >= 2);
    // the container that was killed for memory: its log before and after
    let killed = "checkout-api-698f57ddfb-6cq6m/log?container=checkout-api&previous=true";
    let log = captured
        .of("kubernetes:podLog")
        .find(|answer| answer.uri.contains(killed));
    assert!(log.is_some_and(|answer| answer.body.contains("level=info msg=\"starting\"")));
    // a container that never started has no log, and nothing is missing; a node that does not
    // answer is a gap
    let waiting = captured
        .of("kubernetes:podLog")
        .any(|answer| answer.status == 400);
    assert!(waiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_secrets_and_config_maps_are_nowhere() {
    let Some(cluster) = RecordedCluster::start(Misbehaviour::default()) else {
        return;
    };
    let captured = capture(&cluster, "kubernetes-configuration", |_| {}, None).await;
    let warc = String::from_utf8_lossy(&captured.warc);
    let mut values = 0;
    for secret in cluster.lists["/api/v1/secrets"]["items"]
        .as_array()
        .expect("secrets")
    {
        for (_, value) in secret["data"].as_object().into_iter().flatten() {
            let value = value.as_str().expect("base64");
            assert!(!warc.contains(value), "{value}");
            values += 1;
        }
    }
    assert!(values >= 8);
    for map in cluster.lists["/api/v1/configmaps"]["items"]
        .as_array()
        .expect("config maps")
    {
        for (_, value) in map["data"].as_object().into_iter().flatten() {
            let value = value.as_str().expect("text");
            let escaped = Value::from(value).to_string();
            // short ones are words and dates that also occur elsewhere
            assert!(
                value.len() < 24 || !warc.contains(escaped.trim_matches('"')),
                "{value}"
            );
        }
    }
    let secrets = captured
        .of("kubernetes:listSecrets")
        .next()
        .expect("secrets");
    let removed = secrets.removed.as_deref().unwrap_or_default();
    assert!(
        removed.contains("copies of objects in annotations=5"),
        "{removed}"
    );
    assert!(warc.contains("sha256:"));
    // keys are evidence
    assert!(secrets.body.contains("f:password"));
}

/// Adds the values of all environment variables in `value`.
fn environment_values(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| environment_values(element, found)),
        Value::Object(members) => {
            let variables = members.get("env").and_then(Value::as_array);
            let values = variables.into_iter().flatten();
            found
                .extend(values.filter_map(|variable| Some(variable["value"].as_str()?.to_owned())));
            members
                .values()
                .for_each(|member| environment_values(member, found));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_environment_variables_are_captured_only_if_wanted() {
    let literal = Misbehaviour {
        literal_values: true,
        ..Misbehaviour::default()
    };
    let Some(cluster) = RecordedCluster::start(literal) else {
        return;
    };
    for offer in ["kubernetes-pods", "kubernetes-workloads"] {
        let mut counts = Vec::new();
        for is_wanted in [false, true] {
            let change = |config: &mut KubernetesConfig| config.environment_values = is_wanted;
            let captured = capture(&cluster, offer, change, None).await;
            let mut values = Vec::new();
            for answer in &captured.answers {
                let body = serde_json::from_str(&answer.body).unwrap_or_default();
                environment_values(&body, &mut values);
            }
            let are_removed = values.iter().all(|value| value == "removed");
            assert_eq!(are_removed, !is_wanted, "{offer} {values:?}");
            counts.push(values.len());
            let mut removed = captured.answers.iter().filter_map(|a| a.removed.as_deref());
            let is_stated = removed.any(|text| text.contains("values of environment variables"));
            assert_eq!(is_stated, !is_wanted, "{offer}");
        }
        assert!(
            counts[0] > 0 && counts[0] == counts[1],
            "{offer} {counts:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_page_token_starts_the_list_again() {
    let expired = Misbehaviour {
        expired: Some("events"),
        ..Misbehaviour::default()
    };
    let Some(cluster) = RecordedCluster::start(expired) else {
        return;
    };
    let captured = capture(&cluster, "kubernetes-events", |_| {}, None).await;
    assert_eq!(captured.ended, Ok(()));
    let statuses: Vec<u16> = captured
        .of("kubernetes:listEvents")
        .map(|answer| answer.status)
        .collect();
    assert_eq!(statuses, [200, 410, 200, 200]);
    assert_eq!(captured.objects("kubernetes:listEvents").len(), 528);
    let [gap] = &captured.coverage.gaps[..] else {
        panic!("the restart is stated: {:?}", captured.coverage.gaps);
    };
    assert_eq!((gap.reason, gap.count), (GapReason::Vanished, 1));
    assert!(gap.examples[0].contains("began again"), "{gap:?}");
    assert_eq!(captured.coverage.duplicates, 500, "of the first page");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_resource_costs_only_itself() {
    let refused = Misbehaviour {
        refused: Some("secrets"),
        ..Misbehaviour::default()
    };
    let Some(cluster) = RecordedCluster::start(refused) else {
        return;
    };
    let captured = capture(&cluster, "kubernetes-configuration", |_| {}, None).await;
    let incomplete = captured.ended.clone().expect_err("secrets are refused");
    assert!(
        incomplete.what.contains("kubernetes:listSecrets"),
        "{incomplete:?}"
    );
    assert_eq!(captured.objects("kubernetes:listConfigMaps").len(), 23);
    assert_eq!(captured.objects("kubernetes:listNamespaces").len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_of_the_configuration_are_all_that_is_asked() {
    let Some(cluster) = RecordedCluster::start(Misbehaviour::default()) else {
        return;
    };
    let only = |config: &mut KubernetesConfig| {
        config.namespaces = Some(vec!["ci".to_owned(), "platform".to_owned()]);
    };
    let captured = capture(&cluster, "kubernetes-pods", only, None).await;
    assert_eq!(captured.objects("kubernetes:listPods").len(), 3 + 11);
    let captured = capture(&cluster, "kubernetes-access", only, None).await;
    assert_eq!(captured.of("kubernetes:listClusterRoles").count(), 0);
    assert_eq!(captured.of("kubernetes:listRoleBindings").count(), 2);
    let asked = cluster.requests.lock().expect("not poisoned");
    let elsewhere = asked
        .iter()
        .filter(|target| !target.contains("/namespaces/"))
        .count();
    assert_eq!(elsewhere, 2, "who we are, once in each step");
}

/// Captures the step of a pivot; returns the names of the pods that are listed, and of those whose
/// logs are there.
async fn pods_of(cluster: &RecordedCluster, pivot: &'static str) -> [BTreeSet<String>; 2] {
    let captured = capture(cluster, "kubernetes-pods", |_| {}, Some(pivot)).await;
    assert_eq!(captured.ended, Ok(()), "{pivot}");
    let mut listed = BTreeSet::new();
    for answer in captured.of("kubernetes:listPods") {
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        for pod in body["items"].as_array().expect("items") {
            listed.insert(pod["metadata"]["name"].as_str().expect("a name").to_owned());
        }
    }
    let logged = captured.of("kubernetes:podLog").map(|answer| {
        let after = answer.uri.split("/pods/").nth(1).expect("a pod");
        after.split('/').next().expect("a name").to_owned()
    });
    [listed, logged.collect()]
}

/// Names of the recorded pods that satisfy `condition`.
fn pods_where(cluster: &RecordedCluster, condition: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let pods = cluster.lists["/api/v1/pods"]["items"].as_array();
    let pods = pods.expect("pods").iter().filter(|pod| condition(pod));
    pods.map(|pod| pod["metadata"]["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pivot_narrows_list_where_server_can_select() {
    let Some(cluster) = RecordedCluster::start(Misbehaviour::default()) else {
        return;
    };
    for (pivot, at, value) in [
        ("node=wrk-a1", "/spec/nodeName", "wrk-a1"),
        ("namespace=ci", "/metadata/namespace", "ci"),
        ("label=app=ledger", "/metadata/labels/app", "ledger"),
        (
            "service-account=payments/checkout-api",
            "/spec/serviceAccountName",
            "checkout-api",
        ),
    ] {
        let expected = pods_where(&cluster, |pod| {
            pod.pointer(at).is_some_and(|found| found == value)
        });
        assert!(!expected.is_empty() && expected.len() < 31, "{pivot}");
        let [listed, _] = pods_of(&cluster, pivot).await;
        assert_eq!(listed, expected, "{pivot}");
    }
    let asked = cluster.requests.lock().expect("not poisoned");
    let selector =
        "&fieldSelector=metadata.namespace%3Dpayments%2Cspec.serviceAccountName%3Dcheckout-api";
    assert!(asked.iter().any(|target| target.ends_with(selector)));
}

#[tokio::test(flavor = "multi_thread")]
async fn pivot_narrows_logs_where_server_cannot_select() {
    let Some(cluster) = RecordedCluster::start(Misbehaviour::default()) else {
        return;
    };
    let [listed, logged] = pods_of(&cluster, "workload=payments/deployment/ledger").await;
    let of_ledger = pods_where(&cluster, |pod| {
        let name = pod["metadata"]["name"].as_str().expect("a name");
        name.starts_with("ledger-")
    });
    assert_eq!(
        (listed.len(), &logged),
        (17, &of_ledger),
        "of the namespace"
    );
    let [_, logged] = pods_of(&cluster, "workload=ci/pod/debug-shell").await;
    assert_eq!(logged, BTreeSet::from(["debug-shell".to_owned()]));

    let digest = cluster.lists["/api/v1/pods"]["items"]
        .as_array()
        .into_iter()
        .flatten()
        .find_map(|pod| {
            let image = pod["status"]["containerStatuses"][0]["imageID"].as_str()?;
            image.split_once('@').map(|(_, digest)| digest.to_owned())
        })
        .expect("a digest");
    let running = pods_where(&cluster, |pod| pod.to_string().contains(&digest));
    let pivot: &'static str = String::leak(format!("image={digest}"));
    let [listed, logged] = pods_of(&cluster, pivot).await;
    assert_eq!((listed.len(), logged), (31, running));
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_without_namespace_are_stated_as_missing() {
    let Some(cluster) = RecordedCluster::start(Misbehaviour::default()) else {
        return;
    };
    let only = |config: &mut KubernetesConfig| config.namespaces = Some(vec!["ci".to_owned()]);
    let captured = capture(&cluster, "kubernetes-nodes", only, None).await;
    let incomplete = captured.ended.expect_err("nodes are missing");
    assert_eq!(
        (incomplete.ended, incomplete.reason),
        (EndReason::Complete, GapReason::PermissionDenied)
    );
    let what = "not captured: nodes, which have no namespace; [sources.kubernetes] names ci";
    assert_eq!(incomplete.what, what);
    let captured = capture(&cluster, "kubernetes-pods", only, None).await;
    assert_eq!(captured.ended, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_of_helm_releases_need_permission() {
    let Some(cluster) = RecordedCluster::start(Misbehaviour::default()) else {
        return;
    };
    let captured = capture(&cluster, "kubernetes-helm", |_| {}, None).await;
    assert_eq!(captured.of("kubernetes:listHelmReleases").count(), 0);
    let allow = |config: &mut KubernetesConfig| config.helm_secrets = true;
    let captured = capture(&cluster, "kubernetes-helm", allow, None).await;
    assert!(captured.of("kubernetes:listHelmReleases").count() > 0);
}

/// Captures a real cluster: `EXHIBIT_TEST_KUBECONFIG=~/.kube/config cargo nextest run --workspace
/// --lib --offline -E 'package(sources) and test(captures_real_cluster)'`. Any version from 1.20;
/// the identity needs the rights of `deploy/kubernetes/cluster-role.yaml`.
#[tokio::test(flavor = "multi_thread")]
async fn captures_real_cluster() {
    let Some(kubeconfig) = std::env::var_os("EXHIBIT_TEST_KUBECONFIG") else {
        #[expect(clippy::print_stderr, reason = "says why nothing is tested")]
        {
            eprintln!("skipped: EXHIBIT_TEST_KUBECONFIG names no kubeconfig");
        }
        return;
    };
    let mut config = SourcesConfig::default();
    config.kubernetes.kubeconfig = Some(kubeconfig.into());
    config.kubernetes.watch = true;
    let config = Arc::new(config);
    for offer in SOURCE.offers() {
        let captured = StepCapture::of(offer.item).with(&config).await;
        let refused: Vec<&str> = captured
            .answers
            .iter()
            // servers before 1.28 do not know it
            .filter(|answer| answer.endpoint != "kubernetes:createSelfSubjectReview")
            .filter(|answer| matches!(answer.status, 401 | 403))
            .map(|answer| &*answer.uri)
            .collect();
        assert_eq!(refused, [""; 0], "{}: {:?}", offer.item, captured.ended);
        let answered = captured.answers.iter().any(|answer| answer.status == 200);
        assert!(
            answered || offer.item == "kubernetes-helm",
            "{}",
            offer.item
        );
        // resources that a server of 1.20 has in another version, and a watch that goes on
        let ends = [EndReason::NotFound, EndReason::Deadline];
        let ended = captured.ended.as_ref();
        assert!(
            ended
                .err()
                .is_none_or(|incomplete| ends.contains(&incomplete.ended)),
            "{}: {ended:?}",
            offer.item
        );
    }
}
