//! The schemas describe exactly what serde reads and writes.

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema};

use api::{CaptureKind, CaptureState, ChecklistPatch, ProblemCode, WebhookEffect};
use domain::incident::view::IncidentView;
use domain::incident::{
    Checklist, ClosureItem, Command, Declaration, ImpactAnswer, Incident, IncidentRole,
    IncidentStatus, JournalEntry, Name, PassKind, PivotKind, Plays, Severity, StatementStanding,
    StatementTopic, StepState, declare,
};
use domain::plan::{CapturePlan, EvidenceLifetime, LeftOutReason, UnavailableReason};
use domain::token::TokenRole;
use evidence_format::time::Timestamp;

fn schema_json<T: PartialSchema>() -> Value {
    serde_json::to_value(T::schema()).expect("JSON")
}

/// Every word of the schema is read, written back as it was, and no other word is read.
fn assert_enum<T: ToSchema + Serialize + DeserializeOwned + Debug>() {
    let schema = schema_json::<T>();
    let words = schema["enum"].as_array().cloned().unwrap_or_else(|| {
        let alternatives = schema["oneOf"].as_array().expect("an enum");
        let words = alternatives.iter().map(|one| one["enum"][0].clone());
        words.collect()
    });
    for word in &words {
        let value: T = serde_json::from_value(word.clone()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(serde_json::to_value(value).expect("JSON"), *word);
    }
    // serde lists the words that it knows, if it is asked for an unknown one.
    let error = serde_json::from_value::<T>(json!("?"))
        .expect_err("unknown")
        .to_string();
    for known in error.split('`').skip(3).step_by(2) {
        assert!(words.contains(&json!(known)), "{} lacks {known}", T::name());
    }
}

#[test]
fn schema_enum_values_match_serde() {
    assert_enum::<CaptureKind>();
    assert_enum::<CaptureState>();
    assert_enum::<Checklist>();
    assert_enum::<ClosureItem>();
    assert_enum::<ImpactAnswer>();
    assert_enum::<IncidentRole>();
    assert_enum::<IncidentStatus>();
    assert_enum::<LeftOutReason>();
    assert_enum::<PassKind>();
    assert_enum::<PivotKind>();
    assert_enum::<ProblemCode>();
    assert_enum::<Severity>();
    assert_enum::<StatementStanding>();
    assert_enum::<StatementTopic>();
    assert_enum::<StepState>();
    assert_enum::<TokenRole>();
    assert_enum::<UnavailableReason>();
    assert_enum::<WebhookEffect>();
}

/// The members that serde knows of a command, by its answer to an unknown one.
fn known_members(command: &str) -> BTreeSet<String> {
    let json = json!({"type": command, "?": 1});
    let error = serde_json::from_value::<Command>(json)
        .expect_err("unknown")
        .to_string();
    let members = error.split('`').skip(3).step_by(2);
    members.map(str::to_owned).collect()
}

#[test]
fn schema_members_of_commands_match_serde() {
    let mut schemas = Vec::new();
    ChecklistPatch::schemas(&mut schemas);
    let (_, schema) = schemas
        .into_iter()
        .find(|(name, _)| name == "Command")
        .expect("patches refer to commands");
    let schema = serde_json::to_value(schema).expect("JSON");
    let alternatives = schema["oneOf"]
        .as_array()
        .expect("one schema for each command");
    assert!(alternatives.len() > 20, "{schema}");
    for command in alternatives {
        let name = command["properties"]["type"]["enum"][0]
            .as_str()
            .unwrap_or_else(|| panic!("no type in {command}"));
        let properties = command["properties"].as_object().expect("members");
        let members = properties.keys().filter(|name| *name != "type").cloned();
        assert_eq!(
            members.collect::<BTreeSet<_>>(),
            known_members(name),
            "{name}"
        );
        let required = command["required"].as_array().expect("required members");
        assert!(required.contains(&json!("type")), "{name}");
        assert_eq!(command["additionalProperties"], json!(false), "{name}");
        // What is not required may be left out, and nothing else.
        let error = serde_json::from_value::<Command>(json!({"type": name}))
            .err()
            .map(|error| error.to_string());
        let needs_more = required.len() > 1;
        assert_eq!(
            error.is_some_and(|error| error.starts_with("missing field")),
            needs_more,
            "{name}"
        );
    }
}

/// `written` has exactly the members of its schema, also where documents are nested.
fn assert_members<T: ToSchema>(written: &impl Serialize) {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    let schemas: serde_json::Map<String, Value> = schemas
        .into_iter()
        .map(|(name, schema)| (name, serde_json::to_value(schema).expect("JSON")))
        .collect();
    let written = serde_json::to_value(written).expect("JSON");
    compare(&written, &schemas[&*T::name()], &schemas, &T::name());
}

fn compare(written: &Value, schema: &Value, schemas: &serde_json::Map<String, Value>, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().expect("a name");
        return compare(written, &schemas[name], schemas, at);
    }
    match written {
        Value::Array(items) => {
            for item in items {
                compare(item, &schema["items"], schemas, at);
            }
        }
        Value::Object(members) => {
            let alternatives = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
            if let Some(alternatives) = alternatives {
                // `null` or the document itself.
                let document = alternatives.iter().find(|one| one["type"] != "null");
                return compare(written, document.expect("a document"), schemas, at);
            }
            let Some(properties) = schema["properties"].as_object() else {
                return; // a map, or text that a program wrote
            };
            let names: BTreeSet<_> = members.keys().collect();
            let described: BTreeSet<_> = properties.keys().collect();
            assert!(names.is_subset(&described), "{at}: {names:?} {described:?}");
            for required in schema["required"].as_array().into_iter().flatten() {
                let required = required.as_str().expect("a name");
                assert!(members.contains_key(required), "{at} lacks {required}");
            }
            for (name, value) in members {
                compare(value, &properties[name], schemas, &format!("{at}.{name}"));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn schema_of_incident_matches_what_is_written() {
    let now: Timestamp = "2026-11-23T13:40:17Z".parse().expect("a time");
    let declaration: Declaration = serde_json::from_value(json!({
        "incident": "INC-1", "name": "Leaked key", "severity": "SEV-1", "play": "general",
        "checklist": [], "started": null, "report": {}, "affects": {}, "pivots": [], "trigger": null,
    }))
    .expect("a declaration");
    let event = declare(declaration, &Plays::built_in(), now).expect("a built-in play");
    let entry = JournalEntry {
        seq: 1,
        at: now,
        by: Name::escaped("Ann"),
        event,
    };
    let incident = Incident::replay(&[entry]).expect("a declaration");
    assert_members::<IncidentView>(&IncidentView::of(&incident, now));
}

#[test]
fn schema_of_plan_matches_what_is_written() {
    let (from, until) = ("2026-11-23T13:40:17Z", "2026-11-23T14:40:17Z");
    let step = json!({
        "item": "host", "offer": "host", "api": "host", "target": {"account": null, "region": null, "identity": null, "name": null},
        "what": "x", "pivot": null, "asked": null, "effective": null, "clipped": null, "lifetime": "forever", "citation": "x",
        "expires": null, "requestsExpected": null, "bytesExpected": null, "secondsExpected": null,
        "limits": {"objectBytesMax": 1, "itemBytesMax": 1}, "cursor": null, "leftOut": null,
    });
    let plan: CapturePlan = serde_json::from_value(json!({
        "incident": "INC-1", "play": "general", "declared": from, "planned": from, "window": {"from": from, "until": until},
        "deadline": until, "budget": {"bytesMax": 1, "deadlineSeconds": 1, "objectBytesMax": 1},
        "passes": [{"source": "host", "number": 1, "kind": "first", "steps": [step]}],
        "unavailable": [{"source": "okta", "api": null, "why": "scope", "problems": []}],
        "notices": [{"source": null, "text": "x"}], "pivotsUnused": [], "pivotsWanted": [],
    }))
    .expect("a plan");
    assert_members::<CapturePlan>(&plan);
    for lifetime in [
        EvidenceLifetime::Forever,
        EvidenceLifetime::State(1),
        EvidenceLifetime::Seconds(1),
        EvidenceLifetime::Days(1),
    ] {
        let written = serde_json::to_value(lifetime).expect("JSON");
        let schema = schema_json::<EvidenceLifetime>();
        let alternatives = schema["oneOf"].as_array().expect("four");
        let fits = alternatives.iter().any(|one| match &written {
            Value::Object(members) => members.keys().eq(one["properties"]
                .as_object()
                .into_iter()
                .flat_map(serde_json::Map::keys)),
            word => one["enum"]
                .as_array()
                .is_some_and(|words| words.contains(word)),
        });
        assert!(fits, "{written} is not in {schema}");
    }
}
