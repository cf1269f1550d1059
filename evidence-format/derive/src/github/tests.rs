//! Golden files of our own; `tests/github.rs` has real data.

use std::fs;
use std::path::Path;

use evidence_format::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{ActivityEvent, Derivation, RecordContext, derive_record};

/// One record of a golden file.
#[derive(Deserialize)]
struct GoldenRecord {
    endpoint: String,
    uri: String,
    record: Value,
}

fn captured_at() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().expect("a time")
}

fn derive(endpoint: &str, uri: &str, bytes: &[u8]) -> Vec<Derivation> {
    let record = RecordContext {
        endpoint,
        uri,
        status: 200,
        captured_at: captured_at(),
        booted_at: None,
        process_uid: None,
        account: None,
        frame: b"",
        offset: 0,
        preceding: b"",
        bytes,
    };
    let mut derived = Vec::new();
    derive_record(&record, &mut |derivation| derived.push(derivation));
    derived
}

/// `golden/NAME.json` has the records, `golden/NAME.jsonl` what they must give. With
/// `UPDATE_GOLDEN` set, the latter are written anew; then raise the deriver's version.
#[test]
fn golden_records_give_the_same_lines() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/github/golden");
    for name in ["audit", "deployments", "jobs", "runs", "settings"] {
        let records = fs::read(folder.join(format!("{name}.json"))).expect("readable");
        let records: Vec<GoldenRecord> = serde_json::from_slice(&records).expect("records");
        let mut lines = String::new();
        for GoldenRecord {
            endpoint,
            uri,
            record,
        } in records
        {
            let derived = derive(&endpoint, &uri, record.to_string().as_bytes());
            assert!(!derived.is_empty(), "{endpoint} gives nothing for {record}");
            for derivation in &derived {
                let line = serde_json::to_value(derivation).expect("JSON");
                lines.push_str(&line.to_string());
                lines.push('\n');
            }
        }
        let expected = folder.join(format!("{name}.jsonl"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &lines).expect("writable");
        }
        let expected = fs::read_to_string(&expected).expect("readable");
        for (line, expected) in lines.lines().zip(expected.lines()) {
            assert_eq!(line, expected, "in {name}");
        }
        assert_eq!(lines.lines().count(), expected.lines().count(), "{name}");
        assert!(!lines.contains("hunter2") && !lines.contains("not-to-be-shown"));
    }
}

#[test]
fn refusals_and_logs_of_jobs_give_nothing() {
    let refusal = RecordContext {
        endpoint: super::endpoints::RUNS,
        uri: "/repos/o/r/actions/runs",
        status: 404,
        captured_at: captured_at(),
        booted_at: None,
        process_uid: None,
        account: None,
        frame: b"",
        offset: 0,
        preceding: b"",
        bytes: b"{\"message\":\"Not Found\"}",
    };
    derive_record(&refusal, &mut |derivation| panic!("{derivation:?}"));
    let log = derive(
        super::endpoints::JOB_LOGS,
        "/x",
        b"2026-11-20T10:55:50.1Z ##[group]Run x\n",
    );
    assert_eq!(log, []);
}

#[test]
fn page_that_was_kept_whole_gives_each_element() {
    let page = br#"{"total_count":2,"repository_selection":"all","repositories":[{"full_name":"o/a"},{"full_name":"o/b"}]}"#;
    let derived = derive(
        super::endpoints::INSTALLATION_REPOSITORIES,
        "/installation/repositories",
        page,
    );
    assert_eq!(derived.len(), 2);
    let empty = br#"{"total_count":0,"workflow_runs":[]}"#;
    assert_eq!(
        derive(super::endpoints::RUNS, "/repos/o/r/actions/runs", empty),
        []
    );
}

#[test]
fn workflow_file_shows_foreign_actions() {
    let file = b"jobs:\n  a:\n    steps:\n      - uses: actions/checkout@v4 # pinned soon\n      - uses: \"tj-actions/changed-files/sub@0e58ed8\"\n      - uses: ./local\n      - uses: docker://alpine@sha256:00\n    uses: o/ci/.github/workflows/x.yml@main\n";
    let uri =
        "https://api.github.com/repos/o/r/contents/.github/workflows/x.yml?ref=b49a973e2a387787";
    let derived = derive(super::endpoints::CONTENT, uri, file);
    let conditions: Vec<_> = derived
        .iter()
        .map(|derivation| match derivation {
            Derivation::Edge(edge) => edge.condition.as_deref().expect("an action"),
            Derivation::Event(_) | Derivation::Object(_) => panic!("{derivation:?}"),
        })
        .collect();
    assert_eq!(
        conditions,
        [
            "actions/checkout@v4",
            "tj-actions/changed-files/sub@0e58ed8",
            "o/ci/.github/workflows/x.yml@main"
        ]
    );
}

/// Pictures are on several hosts, and counters change by themselves: neither is a change of the
/// object.
#[test]
fn version_changes_with_the_object_only() {
    let version = |repository: Value| match &derive(
        super::endpoints::REPOSITORY,
        "/repos/o/r",
        repository.to_string().as_bytes(),
    )[0]
    {
        Derivation::Object(object) => object.version.clone(),
        other => panic!("{other:?}"),
    };
    let repository = |host: &str, stars: u32, private: bool| {
        json!({"full_name": "o/r", "private": private, "stargazers_count": stars,
               "owner": {"login": "o", "avatar_url": format!("https://{host}/u/1")}})
    };
    let first = version(repository("avatars0.example", 1, true));
    assert_eq!(first, version(repository("avatars3.example", 2, true)));
    assert_ne!(first, version(repository("avatars0.example", 1, false)));
}

#[test]
fn element_that_cannot_be_read_gives_an_event_that_says_so() {
    for (endpoint, uri, bytes) in [
        (super::endpoints::RUNS, "/repos/o/r/actions/runs", "{}"),
        (
            super::endpoints::DEPLOY_KEYS,
            "/repos/o/r/keys",
            "[{\"id\":1},{\"title\":\"x\"}]",
        ),
        (super::endpoints::AUDIT_LOG, "/orgs/o/audit-log", "<html>"),
    ] {
        let derived = derive(endpoint, uri, bytes.as_bytes());
        let unreadable = derived.iter().filter(|derivation| match derivation {
            Derivation::Event(event) => event.action == ActivityEvent::UNREADABLE,
            Derivation::Object(_) | Derivation::Edge(_) => false,
        });
        assert_eq!(unreadable.count(), 1, "{endpoint}");
    }
}
