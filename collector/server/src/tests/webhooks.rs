//! Webhooks of Alertmanager and PagerDuty.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use store::ledger::OverviewQuery;

use super::*;

const CONFIG: &str =
    "[hooks.alertmanager]\nsecrets = ['0123456789abcdef0123']\nplay = 'leaked-secret'\n";

fn alert(status: &str, key: &str) -> Value {
    let alert = serde_json::json!({
        "status": status, "labels": {"alertname": "KeyUsed", "severity": "critical"}, "annotations": {"summary": "A key was used"},
        "startsAt": "2026-11-20T08:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "ab12",
    });
    serde_json::json!({
        "version": "4", "groupKey": key, "truncatedAlerts": 0, "status": status, "receiver": "exhibit",
        "groupLabels": {"alertname": "KeyUsed"}, "commonLabels": {"alertname": "KeyUsed", "severity": "critical"},
        "commonAnnotations": {"summary": "A key was used"}, "externalURL": "http://alertmanager", "alerts": [alert],
    })
}

#[tokio::test]
async fn repeated_webhook_declares_one_incident() {
    let server = TestServer::with_config(CONFIG).await;
    let send = async |json: &Value| {
        server
            .post(
                "0123456789abcdef0123",
                "/v1/hooks/alertmanager",
                json.clone(),
            )
            .await
    };
    let first = send(&alert("firing", "{}:{alertname=\"KeyUsed\"}")).await;
    assert_eq!(first.status, 201, "{first:?}");
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    let again = send(&alert("firing", "{}:{alertname=\"KeyUsed\"}")).await;
    assert_eq!(again.status, 200, "{again:?}");
    let ids = declared_ids(&server).await;
    assert_eq!(
        ids.iter().map(IncidentId::as_str).collect::<Vec<_>>(),
        [id.as_str()]
    );
    let incident = server
        .pipeline
        .incident(&ids[0])
        .await
        .expect("it was declared");
    assert!(
        incident
            .trigger
            .as_ref()
            .is_some_and(|trigger| trigger.as_str().contains("Alertmanager")),
        "{incident:?}"
    );
    assert_eq!(incident.play.as_str(), "leaked-secret");
    let passes = server
        .pipeline
        .parts
        .ledger
        .passes(&ids[0])
        .await
        .expect("a database");
    assert!(
        passes.iter().any(|row| row.key.source == "host"),
        "the declaration started no capture: {passes:?}"
    );
    let other = send(&alert("firing", "{}:{alertname=\"Other\"}")).await;
    assert_eq!(other.status, 201, "{other:?}");
}

#[tokio::test]
async fn rejects_unauthentic_and_malformed_webhooks() {
    let server = TestServer::with_config(CONFIG).await;
    let (good, path) = ("0123456789abcdef0123", "/v1/hooks/alertmanager");
    assert_eq!(
        server
            .post(good, "/v1/hooks/pagerduty", serde_json::json!({}))
            .await
            .problem_code(),
        "not-found",
        "PagerDuty is not configured"
    );
    assert_eq!(
        server
            .post(good, "/v1/hooks/nobody", serde_json::json!({}))
            .await
            .problem_code(),
        "not-found"
    );
    assert_eq!(
        server
            .post("", path, alert("firing", "k"))
            .await
            .problem_code(),
        "unauthenticated"
    );
    assert_eq!(
        server
            .post("0123456789abcdef0124", path, alert("firing", "k"))
            .await
            .problem_code(),
        "unauthenticated"
    );
    assert_eq!(
        server
            .post(good, path, serde_json::json!({}))
            .await
            .problem_code(),
        "malformed"
    );
    let large = serde_json::json!({"version": "4", "text": "x".repeat(1 << 20)});
    assert_eq!(
        server.post(good, path, large).await.problem_code(),
        "too-large"
    );
    assert!(declared_ids(&server).await.is_empty());
    let owner = server.token(TokenRole::Owner).await;
    assert_eq!(
        server
            .post(&owner, path, alert("firing", "k"))
            .await
            .problem_code(),
        "unauthenticated",
        "a token must not authenticate a webhook"
    );
}

const PAGERDUTY: &str = "[hooks.pagerduty]\nsecrets = ['a secret of PagerDuty']\n";

/// Sends an event of PagerDuty, signed as PagerDuty documents it.
async fn send_pagerduty(server: &TestServer, event: Value) -> TestResponse {
    let body = serde_json::json!({ "event": event }).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"a secret of PagerDuty").expect("any length");
    mac.update(body.as_bytes());
    let signature = format!("v1={}", HEXLOWER.encode(&mac.finalize().into_bytes()));
    let request = Request::post("/v1/hooks/pagerduty").header("x-pagerduty-signature", signature);
    TestResponse::read(
        server
            .send(request.body(Body::from(body)).expect("a request"))
            .await,
    )
    .await
}

#[tokio::test]
async fn applies_each_later_event_of_vendor_once() {
    let server = TestServer::with_config(PAGERDUTY).await;
    let triggered = serde_json::json!({
        "id": "E1", "event_type": "incident.triggered", "occurred_at": "2026-11-20T08:00:00Z",
        "data": {"id": "P1", "type": "incident", "title": "A key was used", "urgency": "high", "priority": {"summary": "P2"}},
    });
    let annotated = |event: &str, incident: &str| {
        serde_json::json!({
            "id": event, "event_type": "incident.annotated", "occurred_at": "2026-11-20T08:10:00Z",
            "data": {"incident": {"id": incident}, "id": "N1", "content": "The key is revoked", "type": "incident_note"},
        })
    };
    let first = send_pagerduty(&server, triggered.clone()).await;
    assert_eq!(first.status, 201, "{first:?}");
    let id: IncidentId = first.json()["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    for (event, outcome) in [("E2", "updated"), ("E2", "known"), ("E3", "updated")] {
        let response = send_pagerduty(&server, annotated(event, "P1")).await;
        assert_eq!(
            (response.status.as_u16(), &response.json()["outcome"]),
            (200, &outcome.into()),
            "{event}"
        );
    }
    let raised = serde_json::json!({
        "id": "E4", "event_type": "incident.priority_updated", "occurred_at": "2026-11-20T08:20:00Z",
        "data": {"id": "P1", "type": "incident", "title": "A key was used", "priority": {"summary": "P1"}},
    });
    assert_eq!(
        send_pagerduty(&server, raised).await.json()["outcome"],
        "updated"
    );
    let entries = server.pipeline.entries(&id).await.expect("a journal");
    let count = |kind: &str| entries.iter().filter(|entry| entry.kind() == kind).count();
    assert_eq!(
        (count("note"), count("incident.severity")),
        (3, 1),
        "{entries:?}"
    );
    assert_eq!(
        send_pagerduty(&server, annotated("E5", "P9")).await.json()["outcome"],
        "ignored"
    );
    // The first event of this incident was never delivered.
    let mut reopened = annotated("E6", "P2");
    reopened["event_type"] = "incident.reopened".into();
    reopened["data"] = serde_json::json!({"id": "P2", "type": "incident", "title": "Another one", "priority": {"summary": "P1"}});
    assert_eq!(
        send_pagerduty(&server, reopened.clone()).await.json()["outcome"],
        "declared"
    );
    assert_eq!(
        send_pagerduty(&server, reopened).await.json()["outcome"],
        "known",
        "the repeated event was applied again"
    );
}

/// The ids of all incidents, the last declared first.
async fn declared_ids(server: &TestServer) -> Vec<IncidentId> {
    let all = OverviewQuery {
        limit: 100,
        ..OverviewQuery::default()
    };
    let overviews = server.pipeline.parts.ledger.overviews(&all).await;
    let overviews = overviews.expect("a database");
    overviews.into_iter().map(|overview| overview.id).collect()
}
