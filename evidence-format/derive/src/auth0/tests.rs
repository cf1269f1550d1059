//! Golden file, what must hold for each event, and labelled samples, which are not in the
//! repository.

use serde_json::Value;

use crate::corpora::corpora;
use crate::{ActivityCategory, ActivityEvent, ActivityOutcome, golden};

const LOGS: &str = "auth0:get_logs";

#[test]
fn records_match_the_golden_file() {
    golden::check("auth0");
}

#[test]
fn no_strange_member_costs_an_event_its_line() {
    golden::check_events_survive("auth0", &[LOGS]);
}

#[test]
fn no_labelled_sample_loses_its_event() {
    let Some(path) = corpora("idp-other/panther-tests.Auth0.Events.jsonl") else {
        return;
    };
    let samples = std::fs::read_to_string(path).expect("the file");
    let mut count = 0;
    for sample in samples.lines().filter(|sample| !sample.is_empty()) {
        let sample: Value = serde_json::from_str(sample).expect("a sample is JSON");
        let events = golden::events_of(LOGS, &sample["log"]["data"]);
        let [event] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_ne!(event.action, ActivityEvent::UNREADABLE, "{sample}");
        let data = &sample["log"]["data"]; // one sample was cut out without its id
        let has_id = data.get("log_id").or(data.get("_id")).is_some();
        assert_eq!(event.event_id.is_some(), has_id, "{sample}");
        // what a rule fires on may have to be undone, was found by Auth0 itself, or failed
        if sample["expected_match"] == Value::Bool(true) {
            let is_known = event.is_write()
                || event.category == ActivityCategory::Finding
                || event.outcome == ActivityOutcome::Failure;
            assert!(is_known, "{event:?}");
        }
        count += 1;
    }
    assert!(count >= 30, "{count}");
}
