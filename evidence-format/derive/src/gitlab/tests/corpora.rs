//! GitLab's own examples, which are not in the repository: the tests say so and pass where they are
//! absent.

use std::process::Command;

use serde_json::Value;

use super::derivations_of;
use crate::corpora::{corpora, skipped};
use crate::{ActivityCategory, ActivityEvent, Derivation};

/// The elements of an example in the archive.
fn example(name: &str) -> Option<Vec<Value>> {
    let archive = corpora("gitlab/gitlab4j-json.tar.zst")?;
    let member = format!("gitlab4j-models/src/test/resources/org/gitlab4j/models/{name}.json");
    let unpacked = Command::new("tar")
        .arg("--zstd")
        .arg("-xOf")
        .arg(archive)
        .arg(member)
        .output();
    match unpacked {
        Ok(output) if output.status.success() => {
            match serde_json::from_slice(&output.stdout).expect("an example is JSON") {
                Value::Array(elements) => Some(elements),
                element => Some(vec![element]),
            }
        }
        other => {
            skipped(&format!("tar with zstd is needed, and gives {other:?}"));
            None
        }
    }
}

fn events_of(operation: &str, element: &Value) -> Vec<ActivityEvent> {
    let endpoint = format!("gitlab:{operation}");
    let bytes = element.to_string();
    let derivations = derivations_of(&endpoint, "/api/v4/projects/1/x", 200, bytes.as_bytes());
    let events = derivations
        .into_iter()
        .filter_map(|derivation| match derivation {
            Derivation::Event(event) => Some(*event),
            Derivation::Object(_) | Derivation::Edge(_) => None,
        });
    events.collect()
}

#[test]
fn examples_of_audit_events_are_read_in_full() {
    for (name, actions) in [
        (
            "audit-events",
            vec!["project_archived", "add.group", "change.email_address"],
        ),
        (
            "project-audit-events",
            vec![
                "change.prevent_merge_request_approval_from_reviewers",
                "change.prevent_merge_request_approval_from_authors",
            ],
        ),
    ] {
        let Some(elements) = example(name) else {
            return;
        };
        let mut found = Vec::new();
        for element in &elements {
            let events = events_of("getApiV4AuditEvents", element);
            let [event] = events.as_slice() else {
                panic!("{events:?}");
            };
            assert!(
                event.actor.is_some() && !event.time_text.is_empty(),
                "{event:?}"
            );
            assert!(!event.targets.is_empty(), "{event:?}");
            assert!(event.category.is_write(), "{event:?}");
            found.push(event.action.clone());
        }
        assert_eq!(found, actions);
    }
}

#[test]
fn examples_of_runs_and_deployments_are_read_in_full() {
    for (name, operation, count, category) in [
        (
            "pipeline",
            "getApiV4ProjectsIdPipelines",
            2,
            ActivityCategory::Execution,
        ),
        (
            "job",
            "getApiV4ProjectsIdPipelinesPipelineIdJobs",
            3,
            ActivityCategory::Execution,
        ),
        (
            "bridge",
            "getApiV4ProjectsIdPipelinesPipelineIdBridges",
            2,
            ActivityCategory::Execution,
        ),
        (
            "deployment",
            "getApiV4ProjectsIdDeployments",
            2,
            ActivityCategory::Deployment,
        ),
    ] {
        let Some(elements) = example(name) else {
            return;
        };
        for element in &elements {
            let events = events_of(operation, element);
            assert_eq!(events.len(), count, "{name}");
            // The example of a job has been erased, and GitLab does not say by whom.
            let known = events.iter().filter(|event| event.action != "job.erased");
            for event in known {
                assert_eq!(event.category, category);
                let actor = event.actor.as_ref().and_then(|actor| actor.name.as_deref());
                assert_eq!(actor, Some("root"), "{event:?}");
                assert!(!event.time_text.is_empty(), "{event:?}");
            }
        }
    }
}

#[test]
fn no_labelled_sample_loses_its_event() {
    let Some(path) = corpora("gitlab/panther-tests.GitLab.Audit.jsonl") else {
        return;
    };
    let samples = std::fs::read_to_string(path).expect("the file");
    for sample in samples.lines().filter(|sample| !sample.is_empty()) {
        let sample: Value = serde_json::from_str(sample).expect("a sample is JSON");
        // The samples are of GitLab's log file, which spells `details` in the singular.
        let element = serde_json::json!({"details": sample["log"]["detail"]});
        let events = events_of("getApiV4AuditEvents", &element);
        let [event] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_ne!(event.action, ActivityEvent::UNREADABLE);
        if sample["expected_match"] == Value::Bool(true) {
            assert_eq!(event.category, ActivityCategory::Access, "{event:?}");
        }
    }
}
