//! Golden lines of hand-made answers, and truths about recordings of a real API server.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use evidence_format::segment::{SegmentKind, Segmenter};
use serde_json::Value;

use super::{ENDPOINTS, KubernetesDeriver};
use crate::corpora::corpora;
use crate::json::{list_at, text_at};
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, Deriver as _, EdgeRelation,
    EntityKind, RecordContext, derive_record,
};

/// What all records of one body say.
fn derive(endpoint: &str, status: u16, body: &[u8]) -> Vec<Derivation> {
    let mut derivations = Vec::new();
    let mut segmenter = Segmenter::sniff(body);
    let mut segments = Vec::new();
    segmenter.push(body, &mut |kind, len| segments.push((kind, len)));
    segmenter.finish(&mut |kind, len| segments.push((kind, len)));
    let (mut at, mut frame) = (0, None);
    for (kind, len) in segments {
        let end = at + usize::try_from(len).expect("fits memory");
        if kind == SegmentKind::Record {
            let record = RecordContext {
                endpoint,
                uri: "https://cluster.example/api",
                status,
                captured_at: "2026-11-23T13:20:00Z".parse().expect("a time"),
                account: Some("prod"),
                frame: frame.get_or_insert_with(|| body[..at].to_vec()),
                offset: at as u64,
                preceding: &[],
                booted_at: None,
                process_uid: None,
                bytes: &body[at..end],
            };
            derive_record(&record, &mut |derivation| derivations.push(derivation));
        }
        at = end;
    }
    derivations
}

fn events(derivations: &[Derivation]) -> Vec<&ActivityEvent> {
    derivations
        .iter()
        .filter_map(|derivation| match derivation {
            Derivation::Event(event) => Some(&**event),
            Derivation::Object(_) | Derivation::Edge(_) => None,
        })
        .collect()
}

fn line(derivation: &Derivation) -> String {
    match derivation {
        Derivation::Event(event) => format!("event {}", to_json(event)),
        Derivation::Object(object) => format!("object {}", to_json(object)),
        Derivation::Edge(edge) => format!("edge {}", to_json(edge)),
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("serializable")
}

/// With `EXHIBIT_GOLDEN=write` the file is written anew, to be read in the diff.
#[test]
fn golden_lines_change_only_with_version() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kubernetes/fixtures");
    let mut lines = format!("version {}\n", KubernetesDeriver.version());
    for fixture in include_str!("fixtures/cluster.ndjson").lines() {
        let fixture: Value = serde_json::from_str(fixture).expect("JSON");
        let endpoint = text_at(&fixture, "/endpoint").expect("an endpoint");
        writeln!(lines, "# {endpoint}").expect("writes to memory");
        let body = serde_json::to_vec(&fixture["body"]).expect("serializable");
        for derivation in derive(endpoint, 200, &body) {
            writeln!(lines, "{}", line(&derivation)).expect("writes to memory");
        }
    }
    let golden = folder.join("cluster.golden");
    if std::env::var_os("EXHIBIT_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&golden, &lines).expect("writable");
    }
    let golden = std::fs::read_to_string(&golden).expect("a golden file");
    for (now, then) in lines.lines().zip(golden.lines()) {
        assert_eq!(now, then);
    }
    assert_eq!(lines.lines().count(), golden.lines().count());
}

#[test]
fn every_endpoint_has_one_row_of_this_deriver() {
    let ids: BTreeSet<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.id).collect();
    assert_eq!(ids.len(), ENDPOINTS.len());
    assert!(ids.iter().all(|id| id.starts_with("kubernetes:")));
}

#[test]
fn refused_request_says_nothing_about_the_cluster() {
    let status = br#"{"kind":"Status","status":"Failure","reason":"Forbidden","code":403}"#;
    assert_eq!(derive("kubernetes:listPods", 403, status), []);
}

#[test]
fn record_that_is_not_json_becomes_an_event() {
    let derivations = derive(
        "kubernetes:listPods",
        200,
        b"404 page not found, said a proxy\n",
    );
    let events = events(&derivations);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].action, ActivityEvent::UNREADABLE);
}

#[test]
fn hostile_role_gives_a_bounded_number_of_edges() {
    let many: Vec<String> = (0..300).map(|number| format!("r{number}")).collect();
    let role = serde_json::json!({"metadata": {"name": "big"},
        "rules": [{"verbs": ["*"], "apiGroups": many, "resources": many}]});
    let body = serde_json::to_vec(&role).expect("serializable");
    let edges = derive("kubernetes:listClusterRoles", 200, &body).len();
    assert!((1000..1100).contains(&edges), "{edges}");
}

fn recording(name: &str) -> Option<Vec<u8>> {
    let file = corpora(&format!("kubernetes/recorded-1.36/{name}"))?;
    Some(std::fs::read(file).expect("a file of the corpora"))
}

/// The exchanges in a file of recordings of a real API server.
fn recordings(name: &str) -> Option<Vec<Value>> {
    let bytes = recording(name)?;
    let text = if name.ends_with(".zst") {
        zstd::decode_all(&*bytes).expect("zstd")
    } else {
        bytes
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

/// The endpoint of a list, by the kind of its elements: two kinds are called by the plural of
/// another API.
fn endpoint_of_path(path: &str) -> Option<&'static str> {
    let plural = path.split('?').next()?.rsplit('/').next()?;
    let plural = plural.replace("networkpolicies", "networkpolicys");
    ENDPOINTS
        .iter()
        .filter(|endpoint| endpoint.id.starts_with("kubernetes:list"))
        .find(|endpoint| format!("{}s", endpoint.kind.to_ascii_lowercase()) == plural)
        .map(|endpoint| endpoint.id)
}

struct Recorded {
    by_path: BTreeMap<String, Vec<Derivation>>,
    truths: Value,
}

fn recorded() -> Option<Recorded> {
    let lists = recordings("lists-full.ndjson.zst")?;
    let mut by_path = BTreeMap::new();
    for exchange in &lists {
        let path = text_at(exchange, "/request/path").expect("a path");
        let body = text_at(exchange, "/response/body").expect("a body");
        if let Some(endpoint) = endpoint_of_path(path) {
            by_path.insert(path.to_owned(), derive(endpoint, 200, body.as_bytes()));
        }
    }
    let truths = recordings_truths()?;
    Some(Recorded { by_path, truths })
}

fn recordings_truths() -> Option<Value> {
    let bytes = recording("truths.json")?;
    Some(serde_json::from_slice(&bytes).expect("JSON"))
}

impl Recorded {
    fn list(&self, path: &str) -> &[Derivation] {
        &self.by_path[path]
    }

    fn summaries(&self, path: &str) -> Vec<&str> {
        events(self.list(path))
            .iter()
            .map(|event| event.summary.as_str())
            .collect()
    }
}

#[test]
fn every_object_of_the_recordings_is_an_object() {
    let Some(recorded) = recorded() else { return };
    let counts = recorded.truths["counts"].as_object().expect("counts");
    let mut compared = 0;
    for (path, derivations) in &recorded.by_path {
        let plural = path.rsplit('/').next().expect("a plural");
        if plural == "events" {
            continue;
        }
        let objects: BTreeSet<&str> = derivations
            .iter()
            .filter_map(|derivation| match derivation {
                Derivation::Object(object) => Some(object.entity.id.as_str()),
                Derivation::Event(_) | Derivation::Edge(_) => None,
            })
            .collect();
        assert_eq!(
            objects.len() as u64,
            counts[plural].as_u64().expect("a count"),
            "{path}"
        );
        compared += 1;
        let unreadable = events(derivations)
            .iter()
            .filter(|event| event.action == ActivityEvent::UNREADABLE)
            .count();
        assert_eq!(unreadable, 0, "{path}");
    }
    assert!(compared >= 25, "{compared} lists");
}

#[test]
fn every_event_of_the_recordings_is_an_event() {
    let Some(recorded) = recorded() else { return };
    let core = events(recorded.list("/api/v1/events"));
    let ids: BTreeSet<&str> = core
        .iter()
        .filter_map(|event| event.event_id.as_deref())
        .filter(|id| !id.contains('/'))
        .collect();
    assert_eq!(ids.len(), 528);
    assert!(
        core.iter()
            .all(|event| event.action != ActivityEvent::UNREADABLE)
    );
    let warnings = core
        .iter()
        .filter(|event| event.outcome == ActivityOutcome::Failure)
        .filter(|event| !event.event_id.as_ref().is_some_and(|id| id.contains('/')))
        .count();
    assert_eq!(warnings, 13);
    // both groups of the API show the same events
    let grouped = events(recorded.list("/apis/events.k8s.io/v1/events"));
    let lines =
        |events: &[&ActivityEvent]| -> BTreeSet<String> { events.iter().map(to_json).collect() };
    assert_eq!(lines(&core), lines(&grouped));
    assert!(
        core.iter()
            .any(|event| event.summary.contains("(42 times by now)"))
    );
}

#[test]
fn revisions_of_deployments_are_deployment_events() {
    let Some(recorded) = recorded() else { return };
    let path = "/apis/apps/v1/replicasets";
    let summaries = recorded.summaries(path);
    let deployments = recorded.truths["deployments"]
        .as_object()
        .expect("deployments");
    let mut revisions = 0;
    for (deployment, truth) in deployments {
        for set in list_at(truth, "/replicasets") {
            let image = text_at(set, "/image").expect("an image");
            let revision = &set["revision"];
            let expected = format!("Deployment {deployment} revision {revision}: {image}");
            assert!(
                summaries.iter().any(|line| line.starts_with(&expected)),
                "{expected}"
            );
            revisions += 1;
        }
    }
    assert_eq!(summaries.len(), revisions);
    let returned = summaries
        .iter()
        .filter(|line| line.contains("earlier revision"))
        .count();
    assert!(
        returned >= 2,
        "a rollback is a ReplicaSet that is used again"
    );
    assert_eq!(
        recorded
            .summaries("/apis/apps/v1/controllerrevisions")
            .len(),
        4
    );
}

#[test]
fn late_grant_of_cluster_admin_is_found() {
    let Some(recorded) = recorded() else { return };
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let list = recorded.list(path);
    let grants = events(list);
    assert_eq!(
        grants.len(),
        4,
        "bindings of the cluster's birth are no events"
    );
    assert!(
        grants
            .iter()
            .all(|event| event.category == ActivityCategory::Access)
    );
    assert!(grants.iter().any(|event| event.summary
        == "ClusterRoleBinding runner-cache-reader created with kubectl-create: ClusterRole \
            cluster-admin to system:serviceaccount:ci:runner"));
    let can_assume = list.iter().any(|derivation| match derivation {
        Derivation::Edge(edge) => {
            edge.relation == EdgeRelation::CanAssume
                && edge.from.id == "system:serviceaccount:ci:runner"
                && edge.to.id == "cluster-admin"
                && edge.condition.as_deref() == Some("by ClusterRoleBinding runner-cache-reader")
        }
        Derivation::Event(_) | Derivation::Object(_) => false,
    });
    assert!(can_assume);
}

#[test]
fn troubled_pods_of_the_recordings_are_told() {
    let Some(recorded) = recorded() else { return };
    let list = recorded.list("/api/v1/pods");
    let summaries = recorded.summaries("/api/v1/pods");
    for expected in [
        "container checkout-api of Pod payments/checkout-api-698f57ddfb-6cq6m ended: OOMKilled, \
         exit code 137",
        "container fraud-scorer of Pod payments/fraud-scorer-6dc9fc89cc-cff2b ended: Error, exit \
         code 1",
        "Pod ci/debug-shell created with kubectl-client-side-apply",
        "Pod payments/ledger-8679976c9-cz2v9 changed (ephemeralcontainers) with kubectl",
    ] {
        assert!(
            summaries.iter().any(|line| line.starts_with(expected)),
            "{expected}"
        );
    }
    let privileged = list.iter().any(|derivation| match derivation {
        Derivation::Edge(edge) => {
            edge.from.id == "ci/debug-shell"
                && edge.relation == EdgeRelation::CanAccess
                && edge.to.kind == EntityKind::Node
                && edge
                    .condition
                    .as_ref()
                    .is_some_and(|text| text.contains("privileged"))
        }
        Derivation::Event(_) | Derivation::Object(_) => false,
    });
    assert!(privileged);
}

#[test]
fn helm_argo_and_certificates_of_the_recordings_are_told() {
    let Some(recorded) = recorded() else { return };
    let secrets = recorded.summaries("/api/v1/secrets");
    let releases: Vec<&&str> = secrets
        .iter()
        .filter(|line| line.starts_with("Helm release platform/session-cache"))
        .collect();
    assert_eq!(releases.len(), 3);
    assert!(
        releases
            .iter()
            .any(|line| line.ends_with("revision 3, now deployed"))
    );

    let syncs = events(recorded.list("/apis/argoproj.io/v1alpha1/applications"));
    let syncs: Vec<&&ActivityEvent> = syncs
        .iter()
        .filter(|event| event.action == "argocd.sync")
        .collect();
    assert_eq!(syncs.len(), 3);
    let last = syncs.last().expect("a sync");
    assert_eq!(
        last.actor.as_ref().map(|actor| actor.id.as_str()),
        Some("mira.kovacs")
    );
    assert!(
        last.targets
            .iter()
            .any(|target| target.kind == EntityKind::Commit
                && target.id == "c0ffee00112233445566778899aabbccddeeff01")
    );

    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let actions: Vec<&str> = events(recorded.list(path))
        .iter()
        .map(|event| event.action.as_str())
        .collect();
    assert_eq!(
        actions,
        [
            "certificate.request",
            "certificate.approved",
            "certificate.request"
        ]
    );
}

#[test]
fn values_of_secrets_reach_no_derivation() {
    let Some(recorded) = recorded() else { return };
    // even a list with values, which the source never asks for
    let Some(lists) = recordings("lists-full.ndjson.zst") else {
        return;
    };
    let body = lists
        .iter()
        .find(|exchange| text_at(exchange, "/request/path") == Some("/api/v1/secrets"))
        .and_then(|exchange| text_at(exchange, "/response/body"))
        .expect("a list of secrets");
    let body: Value = serde_json::from_str(body).expect("JSON");
    let lines: String = recorded.list("/api/v1/secrets").iter().map(line).collect();
    for secret in list_at(&body, "/items") {
        for value in secret["data"].as_object().into_iter().flatten() {
            let value = value.1.as_str().expect("base64");
            assert!(!lines.contains(value), "{}", value);
        }
    }
}

#[test]
fn watched_objects_are_read_like_listed_ones() {
    let Some(watches) = recordings("watch.ndjson.zst") else {
        return;
    };
    let mut derived = 0;
    for exchange in &watches {
        let path = text_at(exchange, "/request/path").expect("a path");
        let list = endpoint_of_path(path).expect("a known resource");
        let watch = list.replace(":list", ":watch");
        let body = text_at(exchange, "/response/body").expect("a body");
        let derivations = derive(&watch, 200, body.as_bytes());
        let unreadable = events(&derivations)
            .iter()
            .filter(|event| event.action == ActivityEvent::UNREADABLE)
            .count();
        assert_eq!(unreadable, 0, "{path}");
        derived += derivations.len();
    }
    assert!(derived > 50, "{derived}");
}

#[test]
fn event_has_the_same_line_whether_it_is_listed_or_watched() {
    let event = r#"{"metadata":{"name":"web.1","namespace":"shop","uid":"u1","resourceVersion":"7"},"reason":"Killing","message":"Stopping container web","involvedObject":{"kind":"Pod","namespace":"shop","name":"web"},"firstTimestamp":"2026-11-23T13:19:01Z","lastTimestamp":"2026-11-23T13:19:01Z","count":1}"#;
    let list = format!(r#"{{"kind":"EventList","items":[{event}]}}"#);
    let listed = derive("kubernetes:listEvents", 200, list.as_bytes());
    // the server sends it again with a bookmark, and when the watch is resumed
    let change = |kind: &str| format!("{{\"type\":\"{kind}\",\"object\":{event}}}\n");
    let bookmark =
        r#"{"type":"BOOKMARK","object":{"kind":"Event","metadata":{"resourceVersion":"8"}}}"#;
    let body = format!("{}{bookmark}\n{}", change("ADDED"), change("DELETED"));
    let watched = derive("kubernetes:watchEvents", 200, body.as_bytes());
    assert_eq!(watched, listed, "expiry says nothing");
    assert_eq!(events(&watched)[0].event_id.as_deref(), Some("u1"));
}
