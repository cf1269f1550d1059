//! What only Google Cloud has: requests in bodies, pages without entries that lead on, and tokens
//! of pages that expire.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::SOURCE;
use crate::rest::stub::{SECRET, Stub, StubAnswer, StubRequest, capture, ok};

fn section(stub: &Stub) -> Value {
    json!({"google_cloud": {"scopes": [{
        "name": "acme", "url": stub.url, "organizations": ["1"], "projects": ["p-9"],
        "token-command": ["printf", "%s", SECRET],
    }]}})
}

fn entry(id: &str) -> Value {
    json!({"insertId": id, "timestamp": "2025-11-27T00:10:00.123456789Z"})
}

/// Organization 1 has the project p-2.
fn answer(request: &StubRequest, entries: impl Fn(&Value) -> StubAnswer) -> StubAnswer {
    if request.target.contains(":searchAllResources") {
        return ok(json!({"results": [{"name": "//x/projects/p-2", "project": "projects/2"}]}));
    }
    if !request.target.contains("entries:list") {
        return ok(json!({"email": "exhibit@p.iam.gserviceaccount.com"}));
    }
    entries(&serde_json::from_str(&request.body).expect("a body is JSON"))
}

#[tokio::test]
async fn page_without_entries_does_not_end_the_search() {
    let stub = Stub::start(|request| {
        answer(request, |body| {
            let resource = body["resourceNames"][0].as_str().expect("a resource");
            ok(match body["pageToken"].as_str() {
                None => json!({"nextPageToken": "1"}), // partial: nothing found so far
                Some("1") => {
                    json!({"entries": [entry(&format!("a-{resource}"))], "nextPageToken": "2"})
                }
                Some(_) => json!({}),
            })
        })
    })
    .await;
    let captured = capture(&SOURCE, section(&stub), "google-cloud-activity", None).await;
    assert_eq!(captured.result, Ok(()));
    for resource in ["organizations/1", "projects/2", "projects/p-9"] {
        assert!(
            captured.text.contains(&format!("a-{resource}")),
            "{resource}"
        );
    }
    assert_eq!(
        captured.coverage.events,
        Some(4),
        "a project, and an entry of each"
    );
    let asked = captured.requests.join("\n");
    assert!(
        asked.contains("cloudaudit.googleapis.com/activity"),
        "{asked}"
    );
    assert!(
        !asked.contains("data_access"),
        "it dies sooner, and is an offer of its own"
    );
}

/// A token of a page lives for a day.
#[tokio::test]
async fn listing_whose_token_expired_begins_again() {
    let is_first = AtomicBool::new(true);
    let stub = Stub::start(move |request| {
        answer(request, |body| {
            if body["resourceNames"][0] != "projects/p-9" {
                return ok(json!({}));
            }
            match body["pageToken"].as_str() {
                None => ok(json!({"entries": [entry("a")], "nextPageToken": "1"})),
                Some(_) if is_first.swap(false, Ordering::SeqCst) => (
                    400,
                    String::new(),
                    json!({"error": {"status": "INVALID_ARGUMENT"}}),
                ),
                Some(_) => ok(json!({"entries": [entry("b")]})),
            }
        })
    })
    .await;
    let captured = capture(&SOURCE, section(&stub), "google-cloud-data-access", None).await;
    assert_eq!(captured.result, Ok(()));
    assert_eq!(
        (captured.coverage.events, captured.coverage.duplicates),
        (Some(4), 1)
    );
    let gaps: Vec<&String> = captured
        .coverage
        .gaps
        .iter()
        .flat_map(|gap| &gap.examples)
        .collect();
    assert!(
        gaps.iter().any(|gap| gap.contains("began again")),
        "{gaps:?}"
    );
}

#[tokio::test]
async fn search_narrows_the_filter_in_the_body_and_cannot_end_it() {
    let stub = Stub::start(|request| answer(request, |_| ok(json!({})))).await;
    let item = "google-cloud-activity";
    let captured = capture(&SOURCE, section(&stub), item, Some("user=a\" OR b=\"c")).await;
    assert_eq!(captured.result, Ok(()));
    let filter = r#"principalEmail=\"a\\\" OR b=\\\"c\""#;
    let logs = captured
        .requests
        .iter()
        .filter(|request| request.contains("entries:list"));
    let logs: Vec<&String> = logs.collect();
    assert_eq!(logs.len(), 3, "{logs:?}");
    assert!(
        logs.iter().all(|request| request.contains(filter)),
        "{logs:?}"
    );
}
