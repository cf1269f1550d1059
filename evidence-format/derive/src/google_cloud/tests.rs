//! Golden file, what must hold for each event, and real records, which are not in the repository.

use serde_json::Value;

use crate::corpora::{corpora, messages};
use crate::{ActivityCategory, ActivityEvent, ActivityOutcome, golden};

const ENTRIES: &str = "google_cloud:logging.entries.list";

#[test]
fn records_match_the_golden_file() {
    golden::check("google_cloud");
}

#[test]
fn no_strange_member_costs_an_event_its_line() {
    golden::check_events_survive("google_cloud", &[ENTRIES]);
}

/// Entries as Cloud Logging exports them.
#[test]
fn recorded_entries_are_read_in_full() {
    let Some(messages) = messages("gcp-audit") else {
        return;
    };
    assert!(messages.len() >= 14, "{}", messages.len());
    for record in &messages {
        let events = golden::events_of(ENTRIES, record);
        let [event] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_ne!(event.action, ActivityEvent::UNREADABLE, "{record}");
        assert!(
            !event.time_text.is_empty() && !event.targets.is_empty(),
            "{record}"
        );
        assert_ne!(event.outcome, ActivityOutcome::Unknown, "{record}");
    }
}

#[test]
fn no_labelled_sample_loses_its_event() {
    let Some(path) = corpora("gcp/panther-tests.GCP.AuditLog.jsonl") else {
        return;
    };
    let samples = std::fs::read_to_string(path).expect("the file");
    let (mut matches, mut said) = (0, 0);
    for sample in samples.lines().filter(|sample| !sample.is_empty()) {
        let sample: Value = serde_json::from_str(sample).expect("a sample is JSON");
        let log = &sample["log"];
        if !log["protoPayload"]["methodName"].is_string() {
            continue; // cut down to what its rule reads
        }
        let events = golden::events_of(ENTRIES, log);
        let [event] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_ne!(event.action, ActivityEvent::UNREADABLE, "{sample}");
        if sample["expected_match"] == Value::Bool(true) {
            matches += 1;
            let is_known = event.is_write() || event.category == ActivityCategory::Finding;
            said += usize::from(is_known || event.outcome == ActivityOutcome::Failure);
        }
    }
    // the others are reads of data, such as decryption
    assert!(
        matches >= 40 && said * 10 >= matches * 8,
        "{said} of {matches}"
    );
}
