//! Golden file, what must hold for each event, and labelled samples, which are not in the
//! repository.

use serde_json::{Value, json};

use crate::corpora::corpora;
use crate::{ActivityEvent, golden};

const EVENTS: [&str; 2] = [
    "azure_activity:ActivityLogs_List",
    "azure_activity:TenantActivityLogs_List",
];

#[test]
fn records_match_the_golden_file() {
    golden::check("azure_activity");
}

#[test]
fn no_strange_member_costs_an_event_its_line() {
    golden::check_events_survive("azure_activity", &EVENTS);
}

/// The samples have the form in which Azure sends the log to an event hub. Its members are put
/// where the REST API has them, so that this tests words, and not the wire.
#[test]
fn no_labelled_sample_loses_its_event() {
    let Some(path) = corpora("microsoft/panther-tests.Azure.MonitorActivity.jsonl") else {
        return;
    };
    let samples = std::fs::read_to_string(path).expect("the file");
    let (mut matches, mut writes) = (0_u32, 0_u32);
    for sample in samples.lines().filter(|sample| !sample.is_empty()) {
        let sample: Value = serde_json::from_str(sample).expect("a sample is JSON");
        let log = &sample["log"];
        let Some(operation) = log["operationName"].as_str() else {
            continue;
        };
        let record = json!({
            "operationName": {"value": operation}, "eventTimestamp": log["time"],
            "resourceId": log["resourceId"], "status": {"value": log["resultType"]},
            "httpRequest": {"clientIpAddress": log["callerIpAddress"]},
            "category": {"value": log["category"]}, "correlationId": log["correlationId"],
        });
        let events = golden::events_of(EVENTS[0], &record);
        let [event] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_ne!(event.action, ActivityEvent::UNREADABLE);
        assert_eq!(event.action, operation);
        // what a rule fires on may have to be undone, but for reads and recommendations: 82 of 93
        if sample["expected_match"] == Value::Bool(true) {
            matches += 1;
            writes += u32::from(event.is_write());
        }
    }
    assert!(
        matches >= 50 && writes * 20 >= matches * 17,
        "{writes} of {matches}"
    );
}
