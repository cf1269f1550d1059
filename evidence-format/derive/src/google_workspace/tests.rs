//! Golden file, what must hold for each event, and real records, which are not in the repository.

use serde_json::{Value, json};

use crate::corpora::{corpora, messages};
use crate::{ActivityCategory, ActivityEvent, golden};

const ACTIVITIES: &str = "google_workspace:reports.activities.list";

#[test]
fn records_match_the_golden_file() {
    golden::check("google_workspace");
}

#[test]
fn no_strange_member_costs_an_event_its_line() {
    golden::check_events_survive("google_workspace", &[ACTIVITIES]);
}

/// Recorded answers of the Reports API: numbers beyond 64 bits, keys as actors, several events
/// each.
#[test]
fn recorded_activities_are_read_in_full() {
    let Some(messages) = messages("google-workspace-reports") else {
        return;
    };
    assert!(messages.len() >= 20, "{}", messages.len());
    let mut ids = Vec::new();
    for record in &messages {
        let events = golden::events_of(ACTIVITIES, record);
        let parts = record["events"].as_array().map_or(1, Vec::len);
        assert_eq!(events.len(), parts, "{record}");
        for event in events {
            assert_ne!(event.action, ActivityEvent::UNREADABLE, "{record}");
            assert!(
                event.actor.is_some() && !event.time_text.is_empty(),
                "{record}"
            );
            ids.extend(event.event_id);
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "ids are unique");
}

/// The samples are flattened: one event of an activity, whose parameters are an object.
#[test]
fn no_labelled_sample_loses_its_event() {
    let Some(path) = corpora("google_workspace/panther-tests.GSuite.ActivityEvent.jsonl") else {
        return;
    };
    let samples = std::fs::read_to_string(path).expect("the file");
    let (mut matches, mut said) = (0, 0);
    for sample in samples.lines().filter(|sample| !sample.is_empty()) {
        let sample: Value = serde_json::from_str(sample).expect("a sample is JSON");
        let log = &sample["log"];
        if !log["name"].is_string() {
            continue; // an event must have one
        }
        let parameters = log["parameters"].as_object().cloned().unwrap_or_default();
        let parameters = parameters.into_iter().map(|(name, value)| {
            let member = if value.is_array() {
                "multiValue"
            } else {
                "value"
            };
            json!({"name": name, member: value})
        });
        let parameters: Vec<Value> = parameters.collect();
        let record = json!({"id": log["id"], "actor": log["actor"], "ipAddress": log["ipAddress"],
            "events": [{"type": log["type"], "name": log["name"], "parameters": parameters}]});
        let events = golden::events_of(ACTIVITIES, &record);
        let [event] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_ne!(event.action, ActivityEvent::UNREADABLE, "{sample}");
        if sample["expected_match"] == Value::Bool(true) {
            matches += 1;
            said += usize::from(event.is_write() || event.category == ActivityCategory::Finding);
        }
    }
    // the others are logins, mails, and what somebody read
    assert!(
        matches >= 40 && said * 3 >= matches * 2,
        "{said} of {matches}"
    );
}
