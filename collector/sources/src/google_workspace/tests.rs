//! What only Workspace has: empty lists that are left out, and events that come days late.

use domain::plan::EvidenceLifetime;
use serde_json::{Value, json};

use super::SOURCE;
use crate::Source as _;
use crate::rest::stub::{SECRET, Stub, capture, ok};

fn section(stub: &Stub) -> Value {
    json!({"google_workspace": {"customers": [{
        "domain": "acme.example", "url": stub.url,
        "token-command": ["printf", "%s", SECRET],
    }]}})
}

#[tokio::test]
async fn application_without_activities_is_complete_and_each_is_asked() {
    let stub = Stub::start(|request| {
        let page = json!({"kind": "admin#reports#activities", "etag": "x"});
        ok(match request.target.contains("/login?") {
            false => page,
            true => json!({"kind": "admin#reports#activities", "items": [{
                "id": {"time": "2025-11-27T00:10:00.000Z", "uniqueQualifier": "-4196699999999999999999"},
            }]}),
        })
    })
    .await;
    let mut asked = 0;
    for item in ["google-workspace-identity", "google-workspace-data"] {
        let captured = capture(&SOURCE, section(&stub), item, None).await;
        assert_eq!(captured.result, Ok(()), "{item}");
        let reports = captured
            .requests
            .iter()
            .filter(|r| r.contains("/applications/"));
        asked += reports.count();
    }
    assert_eq!(asked, 42, "the applications of the discovery document");
}

#[tokio::test]
async fn search_for_a_user_asks_for_that_user_only() {
    let stub = Stub::start(|_| ok(json!({"kind": "admin#reports#activities"}))).await;
    let pivot = Some("user=alice@acme.example");
    let captured = capture(&SOURCE, section(&stub), "google-workspace-identity", pivot).await;
    assert_eq!(captured.result, Ok(()));
    let mut reports = captured
        .requests
        .iter()
        .filter(|r| r.contains("/applications/"));
    assert!(
        reports.all(|r| r.contains("/users/alice@acme.example/")),
        "{:?}",
        captured.requests
    );
}

#[test]
fn events_are_asked_for_again_after_three_days() {
    let events = SOURCE.offers().iter();
    let events = events.filter(|offer| matches!(offer.lifetime, EvidenceLifetime::Days(_)));
    let mut tested = 0;
    for offer in events {
        let last = offer.settles.last().expect("a rule");
        assert_eq!(
            (last.after_seconds, last.look_back_seconds),
            (72 * 3600, None)
        );
        assert_eq!(
            offer.arrives_late_seconds,
            Some(72 * 3600),
            "provisional until then"
        );
        tested += 1;
    }
    assert_eq!(tested, 2);
}
