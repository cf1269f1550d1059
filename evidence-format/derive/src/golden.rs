//! Golden files of derivers: what each fixture says, and that no strange member costs it a line.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::json::text_at;
use crate::{ActivityEvent, Derivation, RecordContext, derive_record};

pub(crate) fn derivations_of(endpoint: &str, uri: &str, bytes: &[u8]) -> Vec<Derivation> {
    let record = RecordContext {
        endpoint,
        uri,
        status: 200,
        captured_at: "2026-11-03T00:00:00Z".parse().expect("a time"),
        booted_at: None,
        process_uid: None,
        account: Some("acme.example"),
        frame: b"[",
        preceding: b"",
        offset: 1,
        bytes,
    };
    let mut derivations = Vec::new();
    derive_record(&record, &mut |derivation| derivations.push(derivation));
    derivations
}

/// The events that `value` gives as a record of `endpoint`.
pub(crate) fn events_of(endpoint: &str, value: &Value) -> Vec<ActivityEvent> {
    let derivations = derivations_of(
        endpoint,
        "https://acme.example/",
        value.to_string().as_bytes(),
    );
    let events = derivations
        .into_iter()
        .filter_map(|derivation| match derivation {
            Derivation::Event(event) => Some(*event),
            Derivation::Object(_) | Derivation::Edge(_) => None,
        });
    events.collect()
}

struct Fixture {
    case: String,
    endpoint: String,
    uri: String,
    record: Value,
}

fn fixtures(folder: &Path) -> Vec<Fixture> {
    let records = fs::read_to_string(folder.join("records.jsonl")).expect("a fixture");
    let lines = records.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("a fixture is JSON");
        let text = |pointer| {
            text_at(&line, pointer)
                .expect("a member of each fixture")
                .to_owned()
        };
        Fixture {
            case: text("/case"),
            endpoint: text("/endpoint"),
            uri: text("/uri"),
            record: line["record"].clone(),
        }
    });
    lines.collect()
}

/// Compares what the fixtures of `deriver` give with its golden file, or writes it if
/// `EXHIBIT_UPDATE_GOLDEN` is set. A change of a golden file needs a new version of the deriver.
pub(crate) fn check(deriver: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{deriver}/fixtures"));
    let mut golden = String::new();
    for fixture in fixtures(&folder) {
        let bytes = format!("{},\n", fixture.record);
        golden.extend(["# ", &fixture.case, "\n"]);
        for derivation in derivations_of(&fixture.endpoint, &fixture.uri, bytes.as_bytes()) {
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

/// Each record of `events` still gives an event if one of its members, in turn, is something that it
/// should not be, and if it is no JSON at all.
pub(crate) fn check_events_survive(deriver: &str, events: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{deriver}/fixtures"));
    let strange = [
        Value::Null,
        json!(9_007_199_254_740_993_u64),
        json!([["x"]]),
        json!("é".repeat(600)),
        json!({"id": {"id": 1}, "type": []}),
    ];
    let is_event = |derivation: &Derivation| match derivation {
        Derivation::Event(event) => {
            assert!(!event.summary.is_empty(), "{event:?}");
            assert!(event.summary.len() <= ActivityEvent::TEXT_BYTES_MAX);
            true
        }
        Derivation::Object(_) | Derivation::Edge(_) => false,
    };
    let mut tested = 0;
    for fixture in fixtures(&folder) {
        if !events.contains(&fixture.endpoint.as_str()) {
            continue;
        }
        let mut pointers = Vec::new();
        pointers_of(&fixture.record, "", &mut pointers);
        for (pointer, value) in pointers
            .iter()
            .flat_map(|p| strange.iter().map(move |v| (p, v)))
        {
            let mut changed = fixture.record.clone();
            *changed.pointer_mut(pointer).expect("a member") = value.clone();
            let bytes = changed.to_string();
            let given = derivations_of(&fixture.endpoint, &fixture.uri, bytes.as_bytes());
            assert!(
                given.iter().any(is_event),
                "{} {pointer} {value}",
                fixture.case
            );
            tested += 1;
        }
    }
    assert!(tested > 50, "{tested}");
    for endpoint in events {
        for bytes in [&b"<html>502</html>"[..], b"", b"{\"id\":", b"\xff\xfe"] {
            let given = derivations_of(endpoint, "https://acme.example/", bytes);
            let [Derivation::Event(event)] = given.as_slice() else {
                panic!("{endpoint}: {given:?}");
            };
            assert_eq!(event.action, ActivityEvent::UNREADABLE);
        }
    }
}

fn pointers_of(value: &Value, pointer: &str, pointers: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, v)| (name.clone(), v)).collect(),
        Value::Array(elements) => {
            let elements = elements.iter().enumerate();
            elements.map(|(index, v)| (index.to_string(), v)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return,
    };
    for (name, member) in members {
        let name = name.replace('~', "~0").replace('/', "~1");
        let pointer = format!("{pointer}/{name}");
        pointers_of(member, &pointer, pointers);
        pointers.push(pointer);
    }
}
