//! Webhooks of Alertmanager and PagerDuty.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use domain::incident::{ClosureItem, IncidentEvent};
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

/// A group of Alertmanager: the name, severity, status and start of each alert.
fn group(status: &str, alerts: &[(&str, &str, &str, &str)]) -> Value {
    let alerts: Vec<_> = alerts
        .iter()
        .map(|(name, severity, status, starts)| {
            serde_json::json!({"status": status, "startsAt": starts, "labels": {"alertname": name, "severity": severity}})
        })
        .collect();
    serde_json::json!({"version": "4", "groupKey": "{}:{team=\"a\"}", "status": status, "alerts": alerts})
}

async fn send_group(server: &TestServer, group: Value) -> (String, String) {
    let response = server
        .post("0123456789abcdef0123", "/v1/hooks/alertmanager", group)
        .await;
    let json = response.json();
    let text = |member: &str| json[member].as_str().unwrap_or_default().to_owned();
    (text("outcome"), text("id"))
}

async fn journal(server: &TestServer, id: &str) -> Vec<(String, String)> {
    let id = id.parse().expect("an id");
    let entries = server.pipeline.entries(&id).await.expect("a journal");
    let entries = entries.iter().map(|entry| {
        let json = serde_json::to_value(&entry.event).expect("JSON");
        (entry.kind().to_owned(), json.to_string())
    });
    entries.collect()
}

#[tokio::test]
async fn firing_group_is_one_incident_until_it_is_resolved() {
    let server = TestServer::with_config(CONFIG).await;
    let a = ("A", "warning", "firing", "2026-11-20T08:00:00Z");
    let b = ("B", "warning", "firing", "2026-11-20T08:05:00Z");
    let early = ("E", "warning", "firing", "2026-11-20T07:00:00Z");
    let (outcome, id) = send_group(&server, group("firing", &[a])).await;
    assert_eq!(outcome, "declared");
    // Others join, the oldest leaves, another joins that began before all of them.
    let over = ("A", "warning", "resolved", "2026-11-20T08:00:00Z");
    for alerts in [&[a, b][..], &[over, b], &[b], &[b, early], &[early]] {
        let again = send_group(&server, group("firing", alerts)).await;
        assert_eq!(again, ("known".to_owned(), id.clone()), "{alerts:?}");
    }
    let ended = ("E", "warning", "resolved", "2026-11-20T07:00:00Z");
    let resolved = send_group(&server, group("resolved", &[ended])).await;
    assert_eq!(resolved, ("updated".to_owned(), id.clone()));
    let anew = ("A", "warning", "firing", "2026-11-20T09:00:00Z");
    let (outcome, second) = send_group(&server, group("firing", &[anew])).await;
    assert_eq!(outcome, "declared");
    assert_ne!(id, second);
    let noted = journal(&server, &id).await;
    assert!(
        noted
            .iter()
            .any(|(kind, text)| kind == "note" && text.contains(&second)),
        "the first incident is still open: {noted:?}"
    );
    let again = send_group(&server, group("firing", &[anew])).await;
    assert_eq!(again, ("known".to_owned(), second));
}

#[tokio::test]
async fn late_end_of_earlier_firing_leaves_current_incident_open() {
    let server = TestServer::with_config(CONFIG).await;
    let at = |name, status, starts| group(status, &[(name, "warning", status, starts)]);
    let (_, first) = send_group(&server, at("A", "firing", "2026-11-20T08:00:00Z")).await;
    let end = || at("A", "resolved", "2026-11-20T08:00:00Z");
    assert_eq!(send_group(&server, end()).await.0, "updated");
    let (outcome, second) = send_group(&server, at("A", "firing", "2026-11-20T09:00:00Z")).await;
    assert_eq!(outcome, "declared");
    // The first end again, and that of an alert which no earlier delivery began with.
    let of_other = at("B", "resolved", "2026-11-20T08:05:00Z");
    for (late, outcome) in [(end(), "known"), (of_other, "updated")] {
        let response = send_group(&server, late).await;
        assert_eq!(response, (outcome.to_owned(), first.clone()));
    }
    let worse = group(
        "firing",
        &[("A", "critical", "firing", "2026-11-20T08:00:00Z")],
    );
    assert_eq!(
        send_group(&server, worse).await,
        ("updated".to_owned(), second.clone()),
        "the group fires, so it is about the incident that people work on"
    );
    let again = send_group(&server, at("A", "firing", "2026-11-20T09:00:00Z")).await;
    assert_eq!(again, ("known".to_owned(), second.clone()));
    let joined = send_group(&server, at("C", "firing", "2026-11-20T09:30:00Z")).await;
    assert_eq!(
        joined,
        ("known".to_owned(), second.clone()),
        "it still fires"
    );
    let (outcome, ended) = send_group(&server, at("C", "resolved", "2026-11-20T09:30:00Z")).await;
    assert_eq!((outcome.as_str(), &ended), ("updated", &second));
    let (outcome, _) = send_group(&server, at("A", "firing", "2026-11-20T10:00:00Z")).await;
    assert_eq!(outcome, "declared");
}

#[tokio::test]
async fn alert_that_fires_again_under_its_old_start_is_noted_once() {
    let server = TestServer::with_config(CONFIG).await;
    let old = |status| group(status, &[("A", "warning", status, "2026-11-20T08:00:00Z")]);
    let (_, id) = send_group(&server, old("firing")).await;
    let notes = async |id: &str| {
        let entries = journal(&server, id).await;
        entries.iter().filter(|(kind, _)| kind == "note").count()
    };
    for (status, outcome, noted) in [
        ("resolved", "updated", 1),
        ("resolved", "known", 1),
        ("firing", "updated", 2),
        ("resolved", "updated", 3),
        ("resolved", "known", 3),
        ("firing", "updated", 4),
        ("firing", "known", 4),
    ] {
        let response = send_group(&server, old(status)).await;
        assert_eq!(response, (outcome.to_owned(), id.clone()), "{status}");
        assert_eq!(notes(&id).await, noted, "{status}");
    }
    assert_eq!(send_group(&server, old("resolved")).await.0, "updated");
    // It fires again, and the next delivery has only another alert: the group has fired all the
    // while, as the journal says.
    let again = send_group(&server, old("firing")).await;
    assert_eq!(again, ("updated".to_owned(), id.clone()));
    let rolled = ("C", "warning", "firing", "2026-11-20T08:30:00Z");
    let rolled = send_group(&server, group("firing", &[rolled])).await;
    assert_eq!(rolled, ("known".to_owned(), id.clone()));
    // It fires by now: what joins it is no second incident, and its end ends it.
    let new = ("B", "critical", "firing", "2026-11-20T09:00:00Z");
    let joined = send_group(&server, group("firing", &[new])).await;
    assert_eq!(joined, ("updated".to_owned(), id.clone()));
    let ended = ("B", "critical", "resolved", "2026-11-20T09:00:00Z");
    let ended = send_group(&server, group("resolved", &[ended])).await;
    assert_eq!(ended, ("updated".to_owned(), id.clone()));
    let next = ("A", "warning", "firing", "2026-11-20T10:00:00Z");
    let (outcome, second) = send_group(&server, group("firing", &[next])).await;
    assert_eq!(outcome, "declared");
    assert_ne!(second, id);
}

#[tokio::test]
async fn end_of_alert_with_old_start_ends_the_current_firing() {
    let server = TestServer::with_config(CONFIG).await;
    let admin = server.token(TokenRole::Admin).await;
    let a = |status, ends: &str| {
        let mut one = group(status, &[("A", "warning", status, "2026-11-20T08:00:00Z")]);
        one["alerts"][0]["endsAt"] = ends.into();
        one
    };
    send_group(&server, a("firing", "0001-01-01T00:00:00Z")).await;
    let (_, first) = send_group(&server, a("resolved", "2026-11-20T08:30:00Z")).await;
    let b = ("B", "warning", "firing", "2026-11-20T09:00:00Z");
    let (outcome, second) = send_group(&server, group("firing", &[b])).await;
    assert_eq!(outcome, "declared");
    // A fires again and keeps its start; B leaves.
    for alerts in [
        &[("A", "warning", "firing", "2026-11-20T08:00:00Z"), b][..],
        &[b],
    ] {
        let again = send_group(&server, group("firing", alerts)).await;
        assert_eq!(again, ("known".to_owned(), second.clone()));
    }
    // What people have found out about the start says nothing about the alerts.
    let earlier = serde_json::json!({"startedAt": "2026-11-01T00:00:00Z"});
    let path = format!("/v1/incidents/{second}");
    assert_eq!(server.patch(&admin, &path, earlier).await.status, 200);
    let late = send_group(&server, a("resolved", "2026-11-20T08:30:00Z")).await;
    assert_eq!(late, ("known".to_owned(), first), "the first end once more");
    let ended = send_group(&server, a("resolved", "2026-11-20T09:40:00Z")).await;
    assert_eq!(ended, ("updated".to_owned(), second.clone()));
    let next = ("C", "warning", "firing", "2026-11-20T10:00:00Z");
    let (outcome, third) = send_group(&server, group("firing", &[next])).await;
    assert_eq!(outcome, "declared", "the second firing is over");
    assert_ne!(third, second);
}

#[tokio::test]
async fn severity_only_rises_when_deliveries_arrive_together() {
    let server = TestServer::with_config(PAGERDUTY).await;
    let event = |event: &str, kind: &str, priority: &str| {
        serde_json::json!({
            "id": event, "event_type": kind, "occurred_at": "2026-11-20T08:00:00Z",
            "data": {"id": "P1", "type": "incident", "title": "A key was used", "priority": {"summary": priority}},
        })
    };
    let first = send_pagerduty(&server, event("E0", "incident.triggered", "P4")).await;
    let id: IncidentId = first.json()["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    let updates = (0..24).map(|number| {
        let priority = ["P1", "P2", "P3"][number % 3];
        // Each event is sent twice.
        let name = format!("E{}", 1 + number / 6 * 3 + number % 3);
        send_pagerduty(&server, event(&name, "incident.priority_updated", priority))
    });
    let updates: Vec<_> = futures::future::join_all(updates.collect::<Vec<_>>()).await;
    let updated = updates
        .iter()
        .filter(|one| one.json()["outcome"] == "updated");
    assert_eq!(updated.count(), 12, "each event has an effect once");
    let entries = server.pipeline.entries(&id).await.expect("a journal");
    let mut severity = None;
    for entry in &entries {
        if let IncidentEvent::SeverityChanged { from, to, .. } = &entry.event {
            assert!(to < from, "lowered from {from:?} to {to:?}");
            severity = Some(*to);
        }
    }
    assert_eq!(severity, Some(domain::incident::Severity::Sev1));
    let notes = entries
        .iter()
        .filter(|entry| entry.kind() == "note")
        .count();
    assert_eq!(notes, 12, "{entries:?}");
}

#[tokio::test]
async fn equal_groups_that_arrive_together_have_one_effect() {
    let server = TestServer::with_config(CONFIG).await;
    let a = |severity, status, starts| group(status, &[("A", severity, status, starts)]);
    let together = async |body: &Value| {
        let sent: Vec<_> = (0..8).map(|_| send_group(&server, body.clone())).collect();
        let mut outcomes = futures::future::join_all(sent).await;
        outcomes.sort();
        let ids: std::collections::BTreeSet<_> =
            outcomes.iter().map(|(_, id)| id.clone()).collect();
        assert_eq!(ids.len(), 1, "{outcomes:?}");
        outcomes.retain(|(outcome, _)| outcome != "known");
        outcomes
    };
    let early = "2026-11-20T08:00:00Z";
    for (severity, status, starts, outcome) in [
        ("warning", "firing", early, "declared"),
        ("critical", "firing", early, "updated"),
        ("critical", "resolved", early, "updated"),
        ("critical", "firing", "2026-11-20T09:00:00Z", "declared"),
        ("critical", "resolved", "2026-11-20T09:00:00Z", "updated"),
        ("critical", "firing", early, "updated"),
    ] {
        let outcomes = together(&a(severity, status, starts)).await;
        assert_eq!(
            outcomes.len(),
            1,
            "{severity} {status} {starts}: {outcomes:?}"
        );
        assert_eq!(outcomes[0].0, outcome);
    }
    assert_eq!(declared_ids(&server).await.len(), 2);
}

#[tokio::test]
async fn another_content_under_a_known_delivery_id_is_noted() {
    let secret = data_encoding::BASE64.encode(&[7; 32]);
    let config = format!("{PAGERDUTY}[hooks.standard]\nsecrets = ['whsec_{secret}']\n");
    let server = TestServer::with_config(&config).await;
    let alert = |title: &str| serde_json::json!({"type": "alert.fired", "data": {"title": title}});
    let first = send_standard(&server, "1", alert("A key was used")).await;
    for (title, outcome) in [
        ("A key was used", "known"),
        ("The disk is full", "updated"),
        ("The disk is full", "known"),
        ("A key was used", "known"),
    ] {
        let response = send_standard(&server, "1", alert(title)).await;
        assert_eq!(
            (&response["outcome"], &response["id"]),
            (&outcome.into(), &first["id"])
        );
    }
    let entries = journal(&server, first["id"].as_str().expect("an id")).await;
    let notes: Vec<_> = entries.iter().filter(|(kind, _)| kind == "note").collect();
    assert!(
        notes.len() == 1 && notes[0].1.contains("The disk is full"),
        "{notes:?}"
    );
    // The same for an update.
    let note = |text: &str| serde_json::json!({"id": "E1", "event_type": "incident.annotated", "data": {"incident": {"id": "P1"}, "content": text}});
    let triggered = serde_json::json!({"id": "E0", "event_type": "incident.triggered", "data": {"id": "P1", "title": "T"}});
    assert_eq!(send_pagerduty(&server, triggered).await.status, 201);
    for (text, outcome) in [
        ("one", "updated"),
        ("two", "updated"),
        ("one", "known"),
        ("two", "known"),
    ] {
        let response = send_pagerduty(&server, note(text)).await.json();
        assert_eq!(response["outcome"], outcome, "{text}");
    }
}

#[tokio::test]
async fn alert_that_fires_after_people_closed_its_group_is_another_incident() {
    let server = TestServer::with_config(CONFIG).await;
    let admin = server.token(TokenRole::Admin).await;
    let old = ("A", "warning", "firing", "2026-11-20T08:00:00Z");
    let (_, closed) = send_group(&server, group("firing", &[old])).await;
    let path = format!("/v1/incidents/{closed}");
    let waived = ClosureItem::ALL.map(|item| {
        serde_json::json!({"type": "waive-closure-item", "item": item, "reason": "a drill", "by": null})
    });
    let commands = serde_json::json!({ "commands": waived });
    let path_of = |rest: &str| format!("{path}/{rest}");
    let waived = server.patch(&admin, &path_of("checklist"), commands).await;
    assert_eq!(waived.status, 200, "{waived:?}");
    let close = serde_json::json!({});
    assert_eq!(
        server.post(&admin, &path_of("close"), close).await.status,
        200
    );
    let again = send_group(&server, group("firing", &[old])).await;
    assert_eq!(again, ("known".to_owned(), closed.clone()));
    // The oldest alert still fires, and a new one joins it.
    let new = ("B", "warning", "firing", "2100-01-01T00:00:00Z");
    let (outcome, second) = send_group(&server, group("firing", &[old, new])).await;
    assert_eq!(outcome, "declared");
    assert_ne!(second, closed);
    let again = send_group(&server, group("firing", &[old, new])).await;
    assert_eq!(again, ("known".to_owned(), second));
}

#[tokio::test]
async fn worse_alert_raises_severity_once_and_never_lowers_it() {
    let server = TestServer::with_config(CONFIG).await;
    let admin = server.token(TokenRole::Admin).await;
    let slow = ("Slow", "warning", "firing", "2026-11-20T08:00:00Z");
    let down = ("Down", "critical", "firing", "2026-11-20T08:05:00Z");
    let (_, id) = send_group(&server, group("firing", &[slow])).await;
    let incident = id.parse().expect("an id");
    let severity = async || {
        let incident = server.pipeline.incident(&incident).await;
        incident.expect("declared").severity.as_str()
    };
    assert_eq!(severity().await, "SEV-3");
    let worse = send_group(&server, group("firing", &[slow, down])).await;
    assert_eq!(worse, ("updated".to_owned(), id.clone()));
    assert_eq!(severity().await, "SEV-1");
    for alerts in [&[slow, down][..], &[slow]] {
        let (outcome, _) = send_group(&server, group("firing", alerts)).await;
        assert_eq!((outcome.as_str(), severity().await), ("known", "SEV-1"));
    }
    let lower = serde_json::json!({"severity": 3, "reason": "only the test system"});
    server
        .patch(&admin, &format!("/v1/incidents/{id}"), lower)
        .await;
    send_group(&server, group("firing", &[slow, down])).await;
    assert_eq!(severity().await, "SEV-3", "the commander is not overruled");
    let entries = journal(&server, &id).await;
    let of = |kind: &str| entries.iter().filter(|(other, _)| other == kind).count();
    assert_eq!((of("note"), of("incident.severity")), (1, 2), "{entries:?}");
    let note = entries.iter().find(|(kind, _)| kind == "note");
    let note = &note.expect("a note").1;
    assert!(
        note.contains("now SEV-1") && note.contains("Down"),
        "{note}"
    );
}

/// Sends an event signed as Standard Webhooks demand.
async fn send_standard(server: &TestServer, message: &str, event: Value) -> Value {
    let time = platform::clock::now().unix_nanoseconds() / 1_000_000_000;
    let body = event.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).expect("any length");
    mac.update(format!("{message}.{time}.{body}").as_bytes());
    let signature = data_encoding::BASE64.encode(&mac.finalize().into_bytes());
    let request = Request::post("/v1/hooks/standard")
        .header("webhook-id", message)
        .header("webhook-timestamp", time.to_string())
        .header("webhook-signature", format!("v1,{signature}"));
    let request = request.body(Body::from(body)).expect("a request");
    TestResponse::read(server.send(request).await).await.json()
}

#[tokio::test]
async fn alert_that_fires_again_after_its_end_is_noted() {
    let secret = data_encoding::BASE64.encode(&[7; 32]);
    let config = format!("[hooks.standard]\nsecrets = ['whsec_{secret}']\n");
    let server = TestServer::with_config(&config).await;
    let event = |kind: &str, severity: &str| serde_json::json!({"type": kind, "data": {"id": "L1", "title": "Leak", "severity": severity}});
    let first = send_standard(&server, "m1", event("alert.fired", "low")).await;
    let id = first["id"].as_str().expect("an id").to_owned();
    for (message, kind, severity, outcome) in [
        ("m2", "alert.fired", "low", "known"),
        ("m3", "alert.acknowledged", "low", "updated"),
        ("m4", "alert.fired", "low", "known"),
        ("m5", "alert.resolved", "low", "updated"),
        ("m6", "alert.fired", "low", "updated"),
        ("m7", "alert.fired", "low", "known"),
        ("m8", "alert.fired", "P0", "updated"),
        ("m9", "alert.fired", "P0", "known"),
    ] {
        let response = send_standard(&server, message, event(kind, severity)).await;
        assert_eq!(response["outcome"], outcome, "{message} {kind}: {response}");
        assert_eq!(response["id"], id.as_str());
    }
    let entries = journal(&server, &id).await;
    let last: Vec<_> = entries
        .iter()
        .filter(|(kind, _)| kind == "note" || kind == "incident.severity")
        .map(|(_, text)| text)
        .collect();
    assert_eq!(last.len(), 5, "{entries:?}");
    assert!(
        last[2].contains("reported again after it was over"),
        "{last:?}"
    );
    assert!(last[4].contains("SEV-1"), "{last:?}");
}

#[tokio::test]
async fn refuses_before_the_body_and_counts_refusals() {
    let secret = data_encoding::BASE64.encode(&[7; 32]);
    let config = format!(
        "[hooks.standard]\nsecrets = ['whsec_{secret}']\n[hooks.pagerduty]\nsecrets = ['a secret of PagerDuty']\n{CONFIG}"
    );
    let server = TestServer::with_config(&config).await;
    // Nothing of the body ever arrives.
    let endless = || Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    for (path, header) in [
        ("/v1/hooks/standard", ("x-none", "")),
        ("/v1/hooks/standard", ("webhook-signature", "v1,AAAA")),
        ("/v1/hooks/pagerduty", ("x-pagerduty-signature", "v1=")),
        ("/v1/hooks/alertmanager", ("authorization", "Bearer wrong")),
    ] {
        let request = Request::post(path).header(header.0, header.1);
        let sent = server.send(request.body(endless()).expect("a request"));
        let response = tokio::time::timeout(Duration::from_secs(5), sent).await;
        let status = response.expect("without a body").status();
        assert_eq!(status, 401, "{path} {header:?}");
    }
    let metrics = server.get("", "/metrics").await;
    let text = String::from_utf8_lossy(&metrics.bytes).into_owned();
    let line = "exhibit_webhooks_refused_total{vendor=\"standard\",reason=\"not-authentic\"} 2";
    assert!(text.contains(line), "{text}");
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
