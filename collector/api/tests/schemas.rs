//! The schemas describe exactly what serde reads and writes.

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema};

use api::{
    CaptureKind, CaptureOptions, CaptureState, ChecklistPatch, CloseRequest, DeclareRequest,
    IncidentPatch, NoteRequest, ProblemCode, TokenRequest, WebhookEffect,
};
use domain::incident::view::IncidentView;
use domain::incident::{
    Checklist, ClosureItem, Command, Declaration, ImpactAnswer, Incident, IncidentRole,
    IncidentStatus, JournalEntry, Name, PassKind, PivotKind, Plays, ReviewPrompt, Severity,
    StatementStanding, StatementTopic, StepState, declare,
};
use domain::plan::{CapturePlan, EvidenceLifetime, LeftOutReason, UnavailableReason};
use domain::token::TokenRole;
use evidence_format::time::Timestamp;

fn schema_json<T: PartialSchema>() -> Value {
    serde_json::to_value(T::schema()).expect("JSON")
}

/// Every word of the schema is read, and written back as it was.
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
    assert_enum::<ReviewPrompt>();
    assert_enum::<Severity>();
    assert_enum::<StatementStanding>();
    assert_enum::<StatementTopic>();
    assert_enum::<StepState>();
    assert_enum::<TokenRole>();
    assert_enum::<UnavailableReason>();
    assert_enum::<WebhookEffect>();
}

/// A value that a schema describes, with all members.
fn sample(schema: &Value, schemas: &Schemas) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().expect("a name");
        // Patterns and formats, by the name of what has them.
        return match name {
            "Timestamp" => json!("2026-11-23T13:40:17Z"),
            "Day" => json!("2026-11-23"),
            "Pivot" => json!("user=mallory"),
            "HostLabel" => json!("role=web"),
            "IncidentId" => json!("INC-2026-042"),
            "StepId" => json!("first-15-1"),
            "PlayName" | "SourceName" => json!("general"),
            name => sample(&schemas[name], schemas),
        };
    }
    if let Some(words) = schema["enum"].as_array() {
        return words[0].clone();
    }
    for alternatives in ["oneOf", "anyOf"] {
        if let Some(alternatives) = schema[alternatives].as_array() {
            let value = alternatives.iter().find(|one| one["type"] != "null");
            return sample(value.expect("not only null"), schemas);
        }
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| **kind != "null"),
        kind => Some(kind),
    };
    match kind.and_then(Value::as_str) {
        Some("string") => json!("text"),
        Some("integer") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => json!([sample(&schema["items"], schemas)]),
        Some("object") => {
            let members = schema["properties"].as_object().expect("members");
            let members = members.iter().map(|(name, member)| {
                let value = match name.as_str() {
                    // The schema has no form for the names of pods.
                    "pods" => json!(["shop/checkout-7d9f"]),
                    _ => sample(member, schemas),
                };
                (name.clone(), value)
            });
            Value::Object(members.collect())
        }
        _ => panic!("no sample for {schema}"),
    }
}

type Schemas = serde_json::Map<String, Value>;

/// The schema of a type by its name, and all that it refers to.
fn schemas_of<T: ToSchema>() -> Schemas {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    schemas
        .into_iter()
        .map(|(name, schema)| (name, serde_json::to_value(schema).expect("JSON")))
        .collect()
}

/// Unknown members are rejected, so a sample is read only if the schema names each as serde does.
fn assert_read<T: ToSchema + DeserializeOwned>() {
    let schemas = schemas_of::<T>();
    let sample = sample(&schemas[&*T::name()], &schemas);
    if let Err(error) = serde_json::from_value::<T>(sample.clone()) {
        panic!("{}: {error}: {sample}", T::name());
    }
}

#[test]
fn serde_reads_what_request_schemas_describe() {
    assert_read::<CaptureOptions>();
    assert_read::<ChecklistPatch>();
    assert_read::<CloseRequest>();
    assert_read::<DeclareRequest>();
    assert_read::<IncidentPatch>();
    assert_read::<NoteRequest>();
    assert_read::<TokenRequest>();
}

#[test]
fn schema_members_of_commands_match_serde() {
    let schemas = schemas_of::<ChecklistPatch>();
    let commands = schemas["Command"]["oneOf"]
        .as_array()
        .expect("one schema for each command");
    assert!(commands.len() > 20, "{commands:?}");
    for schema in commands {
        assert_eq!(schema["additionalProperties"], json!(false), "{schema}");
        let sample = sample(schema, &schemas);
        let command: Command =
            serde_json::from_value(sample.clone()).unwrap_or_else(|e| panic!("{e}: {sample}"));
        // Written, a command has all its members: the schema lacks none.
        let written = serde_json::to_value(&command).expect("JSON");
        let names = |json: &Value| -> BTreeSet<String> {
            json.as_object()
                .expect("an object")
                .keys()
                .cloned()
                .collect()
        };
        assert_eq!(names(&written), names(&sample));
        // The required members suffice, and each of them is needed.
        let required = schema["required"].as_array().expect("required members");
        let mut minimal = sample.clone();
        let members = minimal.as_object_mut().expect("an object");
        members.retain(|name, _| required.contains(&json!(name)));
        assert!(
            serde_json::from_value::<Command>(minimal.clone()).is_ok(),
            "{minimal}"
        );
        for name in required {
            let mut lacking = minimal.clone();
            let members = lacking.as_object_mut().expect("an object");
            members.remove(name.as_str().expect("a name"));
            assert!(
                serde_json::from_value::<Command>(lacking.clone()).is_err(),
                "{lacking}"
            );
        }
    }
}

/// `written` has exactly the members of its schema, also where documents are nested.
fn assert_members<T: ToSchema>(written: &impl Serialize) {
    let schemas = schemas_of::<T>();
    let written = serde_json::to_value(written).expect("JSON");
    compare(&written, &schemas[&*T::name()], &schemas, &T::name());
}

fn compare(written: &Value, schema: &Value, schemas: &Schemas, at: &str) {
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
        "checklist": [], "startedAt": null, "report": {}, "affects": {}, "pivots": [], "trigger": null,
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
        "expiresAt": null, "requestsExpected": null, "bytesExpected": null, "secondsExpected": null,
        "limits": {"objectBytesMax": 1, "itemBytesMax": 1}, "cursor": null, "leftOut": null,
    });
    let plan: CapturePlan = serde_json::from_value(json!({
        "incident": "INC-1", "play": "general", "declaredAt": from, "plannedAt": from, "window": {"from": from, "until": until},
        "deadlineAt": until, "budget": {"bytesMax": 1, "deadlineSeconds": 1, "objectBytesMax": 1},
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
        EvidenceLifetime::DaysBetween { least: 1, most: 30 },
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
