//! GitHub's records of the corpora.

mod corpora;

use std::collections::BTreeMap;

use corpora::{corpora, derive, tar_files, text};
use evidence_derive::github::endpoints;
use evidence_derive::{ActivityCategory, ActivityEvent, Derivation};
use serde_json::Value;

fn events(derived: Vec<Derivation>) -> Vec<ActivityEvent> {
    let event = |derivation| match derivation {
        Derivation::Event(event) => Some(*event),
        Derivation::Object(_) | Derivation::Edge(_) => None,
    };
    derived.into_iter().filter_map(event).collect()
}

fn audit_event(entry: &Value) -> ActivityEvent {
    let uri = "https://api.github.com/orgs/acme/audit-log";
    let bytes = entry.to_string();
    let mut events = events(derive(endpoints::AUDIT_LOG, uri, bytes.as_bytes()));
    assert_eq!(events.len(), 1, "{entry}");
    events.remove(0)
}

/// Labelled samples of what detections look for: none may get lost, or be taken for a read.
#[test]
fn labelled_samples_give_one_event_each() {
    let Some(corpora) = corpora() else { return };
    let samples = text(&corpora.join("github/panther-tests.GitHub.Audit.jsonl"));
    let mut counts = BTreeMap::new();
    for sample in samples.lines() {
        let sample: Value = serde_json::from_str(sample).expect("JSON");
        let entry = &sample["log"];
        let event = audit_event(entry);
        assert_eq!(event.action, entry["action"].as_str().expect("an action"));
        let actor = event.actor.as_ref().map(|actor| actor.id.as_str());
        assert_eq!(
            actor,
            entry["actor"].as_str().filter(|name| !name.is_empty())
        );
        if let Some(repo) = entry["repo"].as_str().filter(|name| !name.is_empty()) {
            assert!(
                event.targets.iter().any(|target| target.id == repo),
                "{entry}"
            );
        }
        let reads = ["git.clone", "git.fetch"].contains(&event.action.as_str());
        assert_eq!(event.category == ActivityCategory::Read, reads, "{entry}");
        *counts.entry(event.category).or_insert(0) += 1;
    }
    let counts: Vec<_> = counts.into_iter().collect();
    let expected = [
        (ActivityCategory::Change, 39),
        (ActivityCategory::Access, 29),
        (ActivityCategory::Execution, 2),
        (ActivityCategory::Read, 3),
        (ActivityCategory::Finding, 1),
    ];
    assert_eq!(counts, expected);
}

/// OCSF's own examples give the same class and activity, but for one: they call a push "other",
/// which is an update of the repository to us.
#[test]
fn classes_are_those_of_the_ocsf_examples() {
    let Some(corpora) = corpora() else { return };
    let pairs = corpora.join("internal-only/ocsf-pairs/ocsf-examples-raw-and-mapped.tar.zst");
    let files: BTreeMap<String, Vec<u8>> = tar_files(&pairs).into_iter().collect();
    let mut disagreements = Vec::new();
    let mut compared = 0;
    for (name, raw) in &files {
        let Some(stem) = name
            .strip_suffix(".raw")
            .filter(|_| name.contains("GitHub"))
        else {
            continue;
        };
        let raw: Value = serde_json::from_slice(raw).expect("JSON");
        let mapped: Value = serde_json::from_slice(&files[&format!("{stem}.ocsf")]).expect("JSON");
        let event = audit_event(&raw);
        let ours = (u64::from(event.class), u64::from(event.activity));
        let theirs = (
            mapped["class_uid"].as_u64().expect("a class"),
            mapped["activity_id"].as_u64().expect("an activity"),
        );
        if ours != theirs {
            disagreements.push((event.action.clone(), theirs, ours));
        }
        let actor = mapped["actor"]["user"]["name"].as_str();
        assert_eq!(event.actor.map(|actor| actor.id).as_deref(), actor);
        // one example has an address in its result that is not in its event
        assert_eq!(event.address.as_deref(), raw["actor_ip"].as_str());
        assert_eq!(
            i128::from(mapped["time"].as_i64().expect("milliseconds")) * 1_000_000,
            event.time.unix_nanoseconds()
        );
        compared += 1;
    }
    assert_eq!(compared, 5);
    assert_eq!(
        disagreements,
        [("git.push".to_owned(), (6003, 99), (6003, 3))]
    );
}

/// Answers of the real API, recorded by hub4j: each is read.
#[test]
fn recorded_answers_are_read() {
    let Some(corpora) = corpora() else { return };
    let files: BTreeMap<String, Vec<u8>> =
        tar_files(&corpora.join("github/hub4j-rest-replay.tar.zst"))
            .into_iter()
            .collect();
    let mut counts: BTreeMap<&str, (u32, u32, u32)> = BTreeMap::new();
    for (name, mapping) in files.iter().filter(|(name, _)| name.contains("/mappings/")) {
        let Ok(mapping) = serde_json::from_slice::<Value>(mapping) else {
            continue; // templates, which are no JSON
        };
        let (request, response) = (&mapping["request"], &mapping["response"]);
        let path = ["url", "urlPath"]
            .iter()
            .find_map(|key| request[*key].as_str());
        let file = response["bodyFileName"].as_str();
        let (Some(path), Some(file)) = (path, file) else {
            continue;
        };
        // this recording has another body than its request asks for
        let is_wrong = name.contains("getPublicKey") && path.starts_with("/orgs/");
        if request["method"] != "GET" || response["status"] != 200 || is_wrong {
            continue;
        }
        let Some(endpoint) = endpoint_of(path) else {
            continue;
        };
        let folder = name.split("mappings/").next().expect("a folder");
        let Some(body) = files.get(&format!("{folder}__files/{file}")) else {
            continue; // some names are templates
        };
        let count = counts.entry(endpoint).or_default();
        for derivation in derive(endpoint, path, body) {
            match derivation {
                Derivation::Event(event) => {
                    assert_ne!(event.action, ActivityEvent::UNREADABLE, "{name}");
                    count.0 += 1;
                }
                Derivation::Object(_) => count.1 += 1,
                Derivation::Edge(_) => count.2 += 1,
            }
        }
    }
    assert!(counts.len() >= 14, "{counts:?}");
    let (events, objects, edges) = counts[endpoints::RUNS];
    assert!(events >= 30 && objects >= 20 && edges >= 40, "{counts:?}");
}

/// The endpoint that `path` belongs to.
fn endpoint_of(path: &str) -> Option<&'static str> {
    let path = path.split('?').next()?;
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    Some(match &segments[..] {
        ["repos", _, _] => endpoints::REPOSITORY,
        ["repos", _, _, "actions", "runs"] => endpoints::RUNS,
        ["repos", _, _, "actions", "workflows", _, "runs"] => endpoints::RUNS_OF_WORKFLOW,
        ["repos", _, _, "actions", "runs", _] => endpoints::RUN,
        ["repos", _, _, "actions", "runs", _, "jobs"] => endpoints::JOBS,
        ["repos", _, _, "actions", "runs", _, "artifacts"] => endpoints::RUN_ARTIFACTS,
        ["repos", _, _, "actions", "artifacts"] => endpoints::ARTIFACTS,
        ["repos", _, _, "actions", "workflows"] => endpoints::WORKFLOWS,
        ["repos", _, _, "branches"] => endpoints::BRANCHES,
        ["repos", _, _, "branches", _, "protection"] => endpoints::BRANCH_PROTECTION,
        ["repos" | "repositories", .., "collaborators"] => endpoints::COLLABORATORS,
        ["repos", _, _, "deployments", _] => endpoints::DEPLOYMENTS,
        ["repos", _, _, "hooks"] => endpoints::REPOSITORY_HOOKS,
        ["repos", _, _, "releases"] => endpoints::RELEASES,
        ["orgs", _] => endpoints::ORGANIZATION,
        ["orgs", _, "members"] => endpoints::MEMBERS,
        ["orgs", _, "outside_collaborators"] => endpoints::OUTSIDE_COLLABORATORS,
        ["installation", "repositories"] => endpoints::INSTALLATION_REPOSITORIES,
        _ => return None,
    })
}
