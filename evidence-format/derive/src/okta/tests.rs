//! Golden files, and what must hold for each record. Real data is in [`corpora`].

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::json::text_at;
use crate::{ActivityEvent, Derivation, RecordContext, derive_record};

mod corpora;

const ACCOUNT: &str = "acme.okta.example";

/// Everything that the deriver says of a record, one JSON text for each.
pub(super) fn lines_of(endpoint: &str, uri: &str, bytes: &[u8]) -> Vec<String> {
    derivations_of(endpoint, uri, 200, bytes)
        .iter()
        .map(|derivation| {
            let line = match derivation {
                Derivation::Event(event) => serde_json::to_string(event),
                Derivation::Object(object) => serde_json::to_string(object),
                Derivation::Edge(edge) => serde_json::to_string(edge),
            };
            line.expect("derivations are JSON")
        })
        .collect()
}

pub(super) fn derivations_of(
    endpoint: &str,
    uri: &str,
    status: u16,
    bytes: &[u8],
) -> Vec<Derivation> {
    let record = RecordContext {
        endpoint,
        uri,
        status,
        captured_at: "2026-11-03T00:00:00Z".parse().expect("a time"),
        booted_at: None,
        process_uid: None,
        account: Some(ACCOUNT),
        frame: b"[",
        preceding: b"",
        offset: 1,
        bytes,
    };
    let mut derivations = Vec::new();
    derive_record(&record, &mut |derivation| derivations.push(derivation));
    derivations
}

/// The one event of a log record.
pub(super) fn event_of(bytes: &[u8]) -> ActivityEvent {
    let mut derivations = derivations_of("okta:listLogEvents", "/api/v1/logs", 200, bytes);
    match (derivations.pop(), derivations.is_empty()) {
        (Some(Derivation::Event(event)), true) => *event,
        other => panic!("{other:?} is not one event"),
    }
}

/// Compares with the golden file, or writes it if `EXHIBIT_UPDATE_GOLDEN` is set. A change of a
/// golden file needs a new version of the deriver.
fn check_golden(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/okta/fixtures");
    let records = fs::read_to_string(folder.join(format!("{name}.jsonl"))).expect("a fixture");
    let mut golden = String::new();
    for record in records.lines() {
        let record: Value = serde_json::from_str(record).expect("a fixture is JSON");
        let text = |pointer| text_at(&record, pointer).expect("a member of each fixture");
        let bytes = format!("{},\n", record["record"]);
        golden.push_str(&format!("# {}\n", text("/case")));
        for line in lines_of(text("/endpoint"), text("/uri"), bytes.as_bytes()) {
            golden.push_str(&line);
            golden.push('\n');
        }
    }
    let path = folder.join(format!("{name}.golden"));
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
fn log_events_match_the_golden_file() {
    check_golden("events");
}

#[test]
fn listings_match_the_golden_file() {
    check_golden("listings");
}

#[test]
fn record_that_is_not_json_is_an_event_that_says_so() {
    for bytes in [
        &b"<html>502</html>"[..],
        b"",
        b"{\"eventType\":",
        b"\xff\xfe",
    ] {
        let event = event_of(bytes);
        assert_eq!(event.action, ActivityEvent::UNREADABLE);
        assert!(event.summary.contains("not JSON"), "{}", event.summary);
    }
}

#[test]
fn refusal_is_no_event() {
    let error = br#"{"errorCode":"E0000006","errorSummary":"no permission","id":"x"}"#;
    for endpoint in ["okta:listLogEvents", "okta:listUsers"] {
        assert_eq!(derivations_of(endpoint, "/api/v1/x", 403, error), []);
    }
}

#[test]
fn use_of_an_api_token_does_not_change_it() {
    let token = |member: &str, value: &str| {
        let mut token = serde_json::json!({
            "id": "00T1", "name": "terraform", "userId": "00u2",
            "network": {"connection": "ANYWHERE"},
            "lastUpdated": "2026-11-01T00:00:00.000Z", "expiresAt": "2026-12-01T00:00:00.000Z",
        });
        token[member] = value.into();
        let token = token.to_string();
        match derivations_of("okta:listApiTokens", "/", 200, token.as_bytes()).remove(0) {
            Derivation::Object(object) => object.version,
            other => panic!("{other:?}"),
        }
    };
    let version = token("name", "terraform");
    assert_eq!(token("expiresAt", "2026-12-02T00:00:00.000Z"), version);
    assert_eq!(token("lastUpdated", "2026-11-02T00:00:00.000Z"), version);
    assert_ne!(token("userId", "00u3"), version);
    assert_ne!(token("network", "none"), version);
}

#[test]
fn version_does_not_depend_on_the_place_in_the_list() {
    let lines = |bytes: &str| lines_of("okta:listUsers", "/api/v1/users", bytes.as_bytes());
    assert_eq!(lines("{\"id\":\"00u3\"},\n"), lines("{\"id\":\"00u3\"}"));
    assert_ne!(
        lines("{\"id\":\"00u3\"}"),
        lines("{\"id\":\"00u3\",\"status\":\"LOCKED_OUT\"}")
    );
}

#[test]
fn more_targets_than_an_event_may_have_are_cut() {
    let targets: Vec<Value> = (0..40)
        .map(|index| serde_json::json!({"id": format!("0oa{index}"), "type": "AppInstance"}))
        .collect();
    let record =
        serde_json::json!({"eventType": "application.lifecycle.update", "target": targets});
    let event = event_of(record.to_string().as_bytes());
    assert_eq!(event.targets.len(), ActivityEvent::TARGETS_MAX);
    assert!(event.summary.contains("and 37 more"), "{}", event.summary);
}

#[test]
fn event_id_is_the_uuid() {
    let record = serde_json::json!({"eventType": "zone.create", "uuid": "u-1", "id": "other"});
    let event = event_of(record.to_string().as_bytes());
    assert_eq!(event.event_id.as_deref(), Some("u-1"));
}

/// Each member of each fixture, in turn, becomes something that it should not be.
#[test]
fn no_strange_member_costs_a_log_event_its_line() {
    let strange = [
        Value::Null,
        serde_json::json!(9_007_199_254_740_993_u64),
        serde_json::json!([["x"]]),
        serde_json::json!("é".repeat(600)),
        serde_json::json!({"id": {"id": 1}, "type": []}),
    ];
    let records = include_str!("fixtures/events.jsonl").lines();
    for record in records {
        let fixture: Value = serde_json::from_str(record).expect("a fixture is JSON");
        let mut pointers = Vec::new();
        pointers_of(&fixture["record"], "/record", &mut pointers);
        for pointer in &pointers {
            for value in &strange {
                let mut changed = fixture.clone();
                *changed.pointer_mut(pointer).expect("a member") = value.clone();
                // Fails if there is no event, or more than one.
                let event = event_of(changed["record"].to_string().as_bytes());
                assert!(!event.summary.is_empty(), "{pointer}");
                assert!(event.summary.len() <= ActivityEvent::TEXT_BYTES_MAX);
            }
        }
    }
}

fn pointers_of(value: &Value, pointer: &str, pointers: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| (name.clone(), member))
            .collect(),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .map(|(index, element)| (index.to_string(), element))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
    };
    for (name, member) in members {
        let pointer = format!("{pointer}/{name}");
        pointers_of(member, &pointer, pointers);
        pointers.push(pointer);
    }
}
