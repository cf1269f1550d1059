//! Golden file, what must hold for each event, and real records, which are not in the repository.

use serde_json::Value;

use crate::corpora::{corpora, messages};
use crate::{ActivityCategory, ActivityEvent, ActivityOutcome, golden};

const SIGN_INS: &str = "entra:auditLogs.ListSignIns";
const AUDITS: &str = "entra:auditLogs.ListDirectoryAudits";

#[test]
fn records_match_the_golden_file() {
    golden::check("entra");
}

#[test]
fn no_strange_member_costs_an_event_its_line() {
    let events = [
        SIGN_INS,
        AUDITS,
        "entra:auditLogs.ListProvisioning",
        "entra:identityProtection.ListRiskDetections",
    ];
    golden::check_events_survive("entra", &events);
}

fn one_event(endpoint: &str, record: &Value) -> ActivityEvent {
    let mut events = golden::events_of(endpoint, record);
    assert_eq!(events.len(), 1, "{record}");
    events.remove(0)
}

/// Recorded answers of Microsoft Graph.
#[test]
fn recorded_audits_are_read_in_full() {
    let Some(messages) = messages("entraid-graphapi") else {
        return;
    };
    assert!(messages.len() >= 40, "{}", messages.len());
    for record in &messages {
        let event = one_event(AUDITS, record);
        assert!(
            event.actor.is_some() && !event.targets.is_empty(),
            "{record}"
        );
        assert!(
            !event.time_text.is_empty() && event.event_id.is_some(),
            "{record}"
        );
        assert_ne!(event.outcome, ActivityOutcome::Unknown, "{record}");
        assert!(event.category.is_write(), "{record}");
    }
}

/// What Entra sends to an event hub: `properties` is what Graph answers.
#[test]
fn recorded_events_of_the_hub_are_read_in_full() {
    let Some(messages) = messages("azure-ad") else {
        return;
    };
    let mut kinds = [0; 3];
    for message in &messages {
        let record = &message["properties"];
        let (kind, endpoint) = match message["category"].as_str().expect("a category") {
            "SignInLogs" | "NonInteractiveUserSignInLogs" | "ServicePrincipalSignInLogs" => {
                (0, SIGN_INS)
            }
            "AuditLogs" => (1, AUDITS),
            "UserRiskEvents" => (2, "entra:identityProtection.ListRiskDetections"),
            _ => continue, // what Graph does not list
        };
        kinds[kind] += 1;
        let event = one_event(endpoint, record);
        assert_ne!(event.action, ActivityEvent::UNREADABLE, "{record}");
        assert!(!event.time_text.is_empty() || kind == 0, "{record}");
        let who = event.actor.as_ref().or(event.targets.first());
        assert!(who.is_some(), "{record}");
    }
    assert!(kinds.iter().all(|count| *count >= 2), "{kinds:?}");
}

#[test]
fn no_labelled_sign_in_loses_its_event() {
    let Some(path) = corpora("microsoft/panther-tests.Azure.Audit.jsonl") else {
        return;
    };
    let samples = std::fs::read_to_string(path).expect("the file");
    let mut sign_ins = 0;
    for sample in samples.lines().filter(|sample| !sample.is_empty()) {
        let sample: Value = serde_json::from_str(sample).expect("a sample is JSON");
        let log = &sample["log"];
        if log["operationName"] != "Sign-in activity" || !log["properties"].is_object() {
            continue;
        }
        let event = one_event(SIGN_INS, &log["properties"]);
        assert_eq!(event.category, ActivityCategory::Authentication, "{sample}");
        sign_ins += 1;
    }
    assert!(sign_ins >= 8, "{sign_ins}");
}
