//! A golden file, and GitLab's own examples.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::json::text_at;
use crate::{ActivityEvent, Derivation, RecordContext, derive_record};

mod corpora;

fn derivations_of(endpoint: &str, uri: &str, status: u16, bytes: &[u8]) -> Vec<Derivation> {
    let record = RecordContext {
        endpoint,
        uri,
        status,
        captured_at: "2026-11-03T00:00:00Z".parse().expect("a time"),
        booted_at: None,
        process_uid: None,
        account: Some("gitlab.acme.example"),
        frame: b"[",
        preceding: b"",
        offset: 1,
        bytes,
    };
    let mut derivations = Vec::new();
    derive_record(&record, &mut |derivation| derivations.push(derivation));
    derivations
}

/// Compares with the golden file, or writes it if `EXHIBIT_UPDATE_GOLDEN` is set. A change of a
/// golden file needs a new version of the deriver.
#[test]
fn records_match_the_golden_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gitlab/fixtures");
    let records = fs::read_to_string(folder.join("records.jsonl")).expect("a fixture");
    let mut golden = String::new();
    for record in records.lines() {
        let record: Value = serde_json::from_str(record).expect("a fixture is JSON");
        let text = |pointer| text_at(&record, pointer).expect("a member of each fixture");
        let bytes = format!("{},\n", record["record"]);
        golden.extend(["# ", text("/case"), "\n"]);
        for derivation in derivations_of(text("/endpoint"), text("/uri"), 200, bytes.as_bytes()) {
            let line = match derivation {
                Derivation::Event(event) => serde_json::to_string(&event),
                Derivation::Object(object) => serde_json::to_string(&object),
                Derivation::Edge(edge) => serde_json::to_string(&edge),
            };
            golden.extend([&line.expect("derivations are JSON"), "\n"]);
        }
    }
    let path = folder.join("records.golden");
    if std::env::var_os("EXHIBIT_UPDATE_GOLDEN").is_some() {
        fs::write(&path, &golden).expect("the golden file is written");
    }
    let expected = fs::read_to_string(&path).expect("a golden file");
    for (line, expected) in golden.lines().zip(expected.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(golden.len(), expected.len());
}

#[test]
fn record_that_is_not_json_is_an_event_that_says_so() {
    for operation in ["getApiV4AuditEvents", "getApiV4ProjectsIdPipelines"] {
        let derivations = derivations_of(&format!("gitlab:{operation}"), "/", 200, b"<html>");
        let [Derivation::Event(event)] = derivations.as_slice() else {
            panic!("{derivations:?}");
        };
        assert_eq!(event.action, ActivityEvent::UNREADABLE);
    }
}

#[test]
fn refusal_and_trace_are_no_events() {
    let forbidden = br#"{"message":"403 Forbidden","id":1}"#;
    assert_eq!(
        derivations_of("gitlab:getApiV4AuditEvents", "/", 403, forbidden),
        []
    );
    let trace = "gitlab:getApiV4ProjectsIdJobsJobIdTrace";
    assert_eq!(derivations_of(trace, "/", 200, b"{\"id\":1}"), []);
}
