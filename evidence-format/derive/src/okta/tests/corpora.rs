//! Real records, which are not in the repository: the tests say so and pass where they are absent.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::super::event_types::{is_listed, meaning_of};
use super::event_of;
use crate::corpora::{corpora, skipped};
use crate::json::text_at;
use crate::{ActivityCategory, ActivityEvent, ActivityOutcome};

fn event_of_value(value: &Value) -> ActivityEvent {
    event_of(value.to_string().as_bytes())
}

fn count<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

#[test]
fn hundred_real_events_are_read_in_full() {
    let Some(path) = corpora("okta/cribl-okta-rest-100.json") else {
        return;
    };
    let pages: Value = serde_json::from_slice(&fs::read(path).expect("the file")).expect("JSON");
    let events: Vec<ActivityEvent> = pages
        .as_array()
        .expect("a list")
        .iter()
        .map(|page| event_of(text_at(page, "/_raw").expect("a record").as_bytes()))
        .collect();
    assert_eq!(events.len(), 100);
    for event in &events {
        assert!(event.time_text.starts_with("2025-07-21T14:4"), "{event:?}");
        assert_eq!(event.time.to_string()[..19], event.time_text[..19]);
        assert!(
            event.actor.is_some() && event.event_id.is_some(),
            "{event:?}"
        );
        assert!(event.credential.is_some(), "each has a session: {event:?}");
        assert_ne!(event.category, ActivityCategory::Other, "{event:?}");
    }
    // Times that end in a zero are not canonical, and must be read all the same.
    let zeros = events
        .iter()
        .filter(|event| event.time_text.ends_with("0Z"));
    assert_eq!(zeros.count(), 16);
    let with_address = events.iter().filter(|event| event.address.is_some());
    assert_eq!(with_address.count(), 5);
    assert_eq!(
        count(events.iter().map(|event| event.category.as_str())),
        BTreeMap::from([("access", 66), ("authentication", 1), ("change", 33)])
    );
    assert_eq!(
        count(events.iter().map(|event| event.outcome.as_str())),
        BTreeMap::from([("challenge", 1), ("success", 99)])
    );
    let transactions = events.iter().filter(|event| event.transaction.is_some());
    assert_eq!(transactions.count(), 31, "the others are \"unknown\"");
    let granted = events
        .iter()
        .find(|event| event.action == "user.account.privilege.grant");
    assert_eq!(
        granted.expect("one grant").summary,
        "Grant user privilege (Super administrator) on User jdoe@acme.com, ROLE_ASSIGNED Role \
         Assigned, ROLE KNKVARKSL5AUITKJJY by system@okta.com (trsO_a-ceESRuu8aypWeEBL9A)"
    );
}

/// Okta's catalogue, with the OCSF class that another mapping has for each type.
fn catalogue() -> Option<Vec<(String, u16)>> {
    let text = fs::read_to_string(corpora("okta/cribl-okta-event-types.csv")?).expect("the file");
    // Descriptions may have commas and are quoted then: only the first and the last but one column
    // are needed, and these have none.
    let rows = text.lines().skip(1).filter_map(|line| {
        let (event_type, rest) = line.split_once(',')?;
        let class = rest.rsplit(',').nth(1)?.parse().unwrap_or_default();
        Some((event_type.to_owned(), class))
    });
    Some(rows.collect())
}

#[test]
fn each_event_type_of_the_catalogue_has_a_category_of_its_own() {
    let Some(catalogue) = catalogue() else { return };
    let unlisted: Vec<&str> = catalogue
        .iter()
        .map(|(event_type, _)| event_type.as_str())
        .filter(|event_type| !is_listed(event_type))
        .collect();
    assert_eq!(unlisted, Vec::<&str>::new());
    // The other mapping has 947 of them in one class.
    let counts = count(
        catalogue
            .iter()
            .map(|(event_type, _)| meaning_of(event_type).category),
    );
    let expected = [
        (ActivityCategory::Change, 296),
        (ActivityCategory::Access, 367),
        (ActivityCategory::Authentication, 83),
        (ActivityCategory::Execution, 21),
        (ActivityCategory::Deployment, 3),
        (ActivityCategory::Read, 23),
        (ActivityCategory::Finding, 16),
        (ActivityCategory::Other, 204),
    ];
    assert_eq!(counts, BTreeMap::from(expected));
}

/// Where a class of ours differs from one that the other mapping chose, and why ours is right. Its
/// 3001 (Account Change) is not in here: it is what it gives to all that it did not look at.
const DISAGREEMENTS: [(&str, u16, &str); 10] = [
    (
        "group.user_membership.rule.error",
        0,
        "no group was changed",
    ),
    (
        "group.user_membership.rule.evaluation",
        0,
        "no group was changed",
    ),
    (
        "system.api_token.create",
        3004,
        "a credential was made, not an API called",
    ),
    ("system.api_token.enable", 3004, "as above"),
    ("system.api_token.revoke", 3004, "as above"),
    ("system.api_token.update", 3004, "as above"),
    (
        "system.api_token.request_outside_allowed_range",
        2004,
        "Okta reports that a token was used where it may not be",
    ),
    (
        "user.session.clear",
        3002,
        "a logoff; 3003 is for privileges of a new session",
    ),
    ("user.session.expire", 3002, "as above"),
    (
        "user.session.context.change",
        3002,
        "the session goes on, nothing was assigned",
    ),
];

#[test]
fn classes_agree_with_another_mapping_but_for_the_listed_reasons() {
    let Some(catalogue) = catalogue() else { return };
    let disagreements = catalogue.iter().filter_map(|(event_type, theirs)| {
        let ours = meaning_of(event_type).class;
        // 0: the mapping has no class, or the row's description breaks its columns.
        let differs = ours != *theirs && !matches!(theirs, 0 | 3001);
        differs.then_some((event_type.as_str(), ours))
    });
    let expected = DISAGREEMENTS.map(|(event_type, ours, _)| (event_type, ours));
    assert_eq!(
        count(disagreements),
        count(expected.into_iter()),
        "each disagreement needs a reason"
    );
}

/// A sample as Okta sends it: Panther wrote the names of members in small letters, and the time
/// with a space and without its zone, which is UTC.
fn as_on_the_wire(sample: &Value) -> Value {
    let mut record = serde_json::Map::new();
    for (name, value) in sample.as_object().expect("a sample is an object") {
        let name = match name.as_str() {
            "eventtype" => "eventType",
            "displaymessage" => "displayMessage",
            "authenticationcontext" => "authenticationContext",
            "debugcontext" => "debugContext",
            other => other,
        };
        let value = match (name, value) {
            ("published", Value::String(time)) => time.replace(' ', "T").into(),
            (_, value) => value.clone(),
        };
        record.insert(name.to_owned(), value);
    }
    if let Some(Value::String(time)) = record.get_mut("published")
        && !time.ends_with('Z')
    {
        time.push('Z');
    }
    Value::Object(record)
}

#[test]
fn no_labelled_sample_loses_its_event() {
    let Some(path) = corpora("okta/panther-tests.Okta.SystemLog.jsonl") else {
        return;
    };
    let samples = fs::read_to_string(path).expect("the file");
    let mut read = 0;
    for sample in samples.lines() {
        let sample: Value = serde_json::from_str(sample).expect("a sample is JSON");
        // As it is: one event, readable or not. `event_of` fails for any other number.
        let raw = event_of_value(&sample["log"]);
        let record = as_on_the_wire(&sample["log"]);
        let event = event_of_value(&record);
        let misspelt = sample["log"].get("eventType").is_none();
        assert_eq!(raw.action == ActivityEvent::UNREADABLE, misspelt);
        assert_ne!(event.action, ActivityEvent::UNREADABLE, "{event:?}");
        // Some have no time, one has "redacted".
        let timed = text_at(&record, "/published").is_some_and(|time| time.starts_with("20"));
        assert_eq!(
            timed,
            !event.summary.contains("cannot be read"),
            "{event:?}"
        );
        // What a detection fires on is something to look at, limits of rates aside.
        if sample["expected_match"] == Value::Bool(true) {
            let limit = event.action.contains("rate_limit");
            assert_ne!(
                (event.category, limit),
                (ActivityCategory::Other, false),
                "{event:?}"
            );
            read += 1;
        }
    }
    assert_eq!((samples.lines().count(), read), (66, 35));
}

/// Type, class and activity that another project gives to an event.
type MappedEvent = (String, u16, u8);

/// The events that another project maps, and what it maps them to.
fn mapped_events() -> Option<(Vec<ActivityEvent>, Vec<MappedEvent>)> {
    let archive = corpora("internal-only/ocsf-pairs/tenzir-okta-raw-and-ocsf.tar.zst")?;
    let unpacked = Command::new("tar")
        .arg("--zstd")
        .arg("-xOf")
        .arg(archive)
        .output();
    let unpacked = match unpacked {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout).expect("text"),
        other => {
            skipped(&format!("tar with zstd is needed, and gives {other:?}"));
            return None;
        }
    };
    let records = unpacked.lines().filter(|line| line.starts_with("{\""));
    let events = records.map(|record| event_of(record.as_bytes())).collect();
    let (mut mapped, mut class, mut activity) = (Vec::new(), 0, 0);
    for line in unpacked.lines() {
        let Some((name, value)) = line.trim().trim_end_matches(',').split_once(": ") else {
            continue;
        };
        match name {
            "activity_id" => activity = value.parse().expect("a number"),
            "class_uid" => class = value.parse().expect("a number"),
            "event_code" => mapped.push((value.trim_matches('"').to_owned(), class, activity)),
            _ => {}
        }
    }
    Some((events, mapped))
}

#[test]
fn pairs_agree_but_for_the_listed_reasons() {
    let Some((events, mapped)) = mapped_events() else {
        return;
    };
    assert_eq!((events.len(), mapped.len()), (14, 14));
    let mut disagreements = Vec::new();
    for (event_type, class, activity) in &mapped {
        let event = events.iter().find(|event| event.action == *event_type);
        let event = event.expect("an event for each pair");
        if (event.class, event.activity) != (*class, *activity) {
            disagreements.push((event_type.as_str(), event.class, event.activity));
        }
    }
    disagreements.sort_unstable();
    let expected = [
        // Theirs is Entity Management: Create. A user got a right in an app; nothing was created.
        ("application.user_membership.add", 3005, 1),
        // Theirs is Base Event: Unknown. The activity is known, OCSF has no number for it.
        ("system.email.delivery", 0, 99),
    ];
    assert_eq!(disagreements, expected);
    let denied = events
        .iter()
        .find(|event| event.action == "security.threat.detected");
    assert_eq!(denied.expect("an event").outcome, ActivityOutcome::Failure);
}
