//! Incidents over the API: declared, listed, changed and closed.

use super::*;

#[tokio::test]
async fn patches_at_once_keep_each_others_members() {
    let server = TestServer::new().await;
    let admin = server.token(TokenRole::Admin).await;
    let id = server.declare(&admin).await;
    let path = format!("/v1/incidents/{id}");
    let patches = [
        serde_json::json!({"report": {"reportedBy": "Bob"}}),
        serde_json::json!({"report": {"suspectedImpact": "customer data"}}),
        serde_json::json!({"report": {"currentEvidence": "a log line"}}),
        serde_json::json!({"report": {"affectedSystems": ["ci"]}}),
        serde_json::json!({"affects": {"customerData": "yes"}}),
        serde_json::json!({"affects": {"privilegedAccess": "no"}}),
    ];
    let sent = patches.map(|patch| server.patch(&admin, &path, patch));
    for response in futures::future::join_all(sent).await {
        assert_eq!(response.status, 200, "{response:?}");
    }
    let incident = server.pipeline.incident(&id.parse().expect("an id")).await;
    let incident = incident.expect("declared");
    let report = serde_json::to_value(&incident.report).expect("JSON");
    for member in ["reportedBy", "suspectedImpact", "currentEvidence"] {
        assert!(report[member].is_string(), "{member}: {report}");
    }
    assert_eq!(report["affectedSystems"], serde_json::json!(["ci"]));
    let affects = serde_json::to_value(incident.affects).expect("JSON");
    assert_eq!(
        (&affects["customerData"], &affects["privilegedAccess"]),
        (&"yes".into(), &"no".into())
    );
}

#[tokio::test]
async fn declares_one_incident_per_idempotency_key() {
    let server = TestServer::new().await;
    let token = server.token(TokenRole::Automation).await;
    let declare = |key: &'static str, token: &str| {
        let json = serde_json::json!({"title": "t", "severity": "SEV-3"});
        let mut request = request(token, Method::POST, "/v1/incidents", Some(json));
        request
            .headers_mut()
            .insert("idempotency-key", key.parse().expect("a value"));
        request
    };
    let first = TestResponse::read(server.send(declare("a", &token)).await).await;
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        (first.status, first.header("location")),
        (StatusCode::CREATED, format!("/v1/incidents/{id}").as_str())
    );
    let again = TestResponse::read(server.send(declare("a", &token)).await).await;
    assert_eq!(
        (again.status, again.json()),
        (StatusCode::OK, serde_json::json!({"id": id, "new": false}))
    );
    let mut other_body = request(
        &token,
        Method::POST,
        "/v1/incidents",
        Some(serde_json::json!({"title": "another", "severity": "SEV-3"})),
    );
    other_body
        .headers_mut()
        .insert("idempotency-key", "a".parse().expect("a value"));
    let other_body = TestResponse::read(server.send(other_body).await).await;
    assert_eq!(other_body.problem_code(), "invalid");
    assert_eq!(other_body.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        other_body.json()["detail"]
            .as_str()
            .is_some_and(|text| text.contains(&id))
    );
    let other_key = TestResponse::read(server.send(declare("b", &token)).await).await;
    let other_client = TestResponse::read(
        server
            .send(declare("a", &server.token(TokenRole::Owner).await))
            .await,
    )
    .await;
    for other in [&other_key, &other_client] {
        assert_eq!(other.status, 201);
        assert_ne!(other.json()["id"], id.as_str());
    }
    let passes = server
        .pipeline
        .parts
        .ledger
        .passes(&id.parse().expect("an id"))
        .await
        .expect("a database");
    assert!(
        passes.iter().any(|row| row.key.source == "host"),
        "the declaration started no capture: {passes:?}"
    );
    let journal = server
        .pipeline
        .entries(&id.parse().expect("an id"))
        .await
        .expect("a journal");
    assert!(
        journal[0].by.as_str().starts_with("tester (token "),
        "{:?}",
        journal[0].by
    );
    let too_long = "x".repeat(257);
    let mut refused = declare("a", &token);
    refused
        .headers_mut()
        .insert("idempotency-key", too_long.parse().expect("a value"));
    assert_eq!(
        TestResponse::read(server.send(refused).await)
            .await
            .problem_code(),
        "invalid"
    );
}

#[tokio::test]
async fn keeps_every_member_of_declaration() {
    let server = TestServer::new().await;
    let token = server.token(TokenRole::Owner).await;
    let declare = serde_json::json!({
        "id": "INC-77", "title": "Zoë's key", "severity": 1, "play": "cloud-admin", "startedAt": "2026-11-20T08:00:00Z",
        "report": {"reportedBy": "Eve", "affectedSystems": ["ci"], "suspectedImpact": "read access"},
        "affects": {"customerData": "yes"}, "pivots": ["user=mallory"],
        "capture": {"sources": ["host"], "from": "2026-11-19T00:00:00Z", "until": "2026-11-20T00:00:00Z", "deadlineSeconds": 60},
    });
    assert_eq!(
        server
            .post(&token, "/v1/incidents", declare.clone())
            .await
            .status,
        201
    );
    let view = server.get(&token, "/v1/incidents/INC-77").await.json();
    for (member, value) in [
        ("/id", "INC-77"),
        ("/name", "Zoë's key"),
        ("/severity", "SEV-1"),
        ("/startedAt", "2026-11-20T08:00:00Z"),
        ("/report/reportedBy", "Eve"),
        ("/affects/customerData", "yes"),
        ("/pivots/0", "user=mallory"),
        ("/trigger", "API"),
        ("/passes/0/source", "host"),
        ("/passes/0/state", "waiting"),
    ] {
        assert_eq!(
            view.pointer(member),
            Some(&Value::from(value)),
            "{member} of {view}"
        );
    }
    assert_eq!(
        server
            .post(&token, "/v1/incidents", declare)
            .await
            .problem_code(),
        "conflict"
    );
}

#[tokio::test]
async fn lists_incidents_page_by_page() {
    let server = TestServer::new().await;
    let token = server.token(TokenRole::Commander).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, server.declare(&token).await);
    }
    let contained = format!("/v1/incidents/{}", ids[2]);
    assert_eq!(
        server
            .patch(
                &token,
                &contained,
                serde_json::json!({"status": "Contained"})
            )
            .await
            .status,
        200
    );
    let list = async |filter: &str| {
        let (mut seen, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = server
                .get(&token, &format!("/v1/incidents?limit=2{filter}{cursor}"))
                .await
                .json();
            let incidents = page["incidents"].as_array().expect("a list").clone();
            seen.extend(
                incidents
                    .iter()
                    .map(|incident| incident["id"].as_str().expect("an id").to_owned()),
            );
            pages += 1;
            let Some(next) = page["next"].as_str() else {
                return (seen, pages);
            };
            cursor = format!("&cursor={next}");
        }
    };
    assert_eq!(list("").await, (ids.clone(), 3));
    assert_eq!(list("&status=Contained").await.0, [ids[2].clone()]);
    assert_eq!(list("&status=Closed").await.0, Vec::<String>::new());
    assert_eq!(
        server
            .get(&token, "/v1/incidents?cursor=INC-9")
            .await
            .problem_code(),
        "invalid"
    );
}

#[tokio::test]
async fn patches_incident_atomically() {
    let server = TestServer::new().await;
    let token = server.token(TokenRole::Commander).await;
    let path = format!("/v1/incidents/{}", server.declare(&token).await);
    let patch = serde_json::json!({
        "title": "Leaked CI key", "severity": "1", "reason": "it was used", "startedAt": "2026-11-20T08:00:00Z",
        "roles": {"incident-commander": "alice"}, "report": {"suspectedImpact": "builds"},
        "affects": {"privilegedAccess": "yes"}, "pivots": ["user=mallory"], "nextUpdateAt": "2099-01-01T12:00:00Z",
        "commands": [{"type": "add-statement", "topic": "impact", "standing": "confirmed", "text": "Builds were readable"}],
    });
    let changed = server.patch(&token, &path, patch).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(
        changed.json()["changes"].as_array().map(Vec::len),
        Some(9),
        "{changed:?}"
    );
    let view = server.get(&token, &path).await.json();
    assert_eq!(
        (&view["severity"], &view["roles"][0]["holder"]),
        (&"SEV-1".into(), &"alice".into())
    );
    assert_eq!(view["nextUpdateAt"], "2099-01-01T12:00:00Z");
    let unset = server
        .patch(&token, &path, serde_json::json!({"nextUpdateAt": null}))
        .await;
    assert_eq!(unset.json()["incident"]["nextUpdateAt"], Value::Null);
    let half_valid = serde_json::json!({"title": "other", "startedAt": "2999-01-01T00:00:00Z"});
    assert_eq!(
        server.patch(&token, &path, half_valid).await.problem_code(),
        "invalid"
    );
    assert_eq!(
        server.get(&token, &path).await.json()["name"],
        "Leaked CI key"
    );
    for (refused, code) in [
        (serde_json::json!({}), "invalid"),
        (serde_json::json!({"severity": 3}), "invalid"),
        (serde_json::json!({"severity": 9, "reason": "x"}), "invalid"),
        (serde_json::json!({"titel": "x"}), "invalid"),
        (
            serde_json::json!({"status": "Closed"}),
            "not-ready-to-close",
        ),
    ] {
        assert_eq!(
            server
                .patch(&token, &path, refused.clone())
                .await
                .problem_code(),
            code,
            "{refused}"
        );
    }
}

#[tokio::test]
async fn works_through_checklists_and_closes_incident() {
    let server = TestServer::new().await;
    let token = server.token(TokenRole::Commander).await;
    let path = format!("/v1/incidents/{}", server.declare(&token).await);
    assert_eq!(
        server
            .post(
                &token,
                &format!("{path}/notes"),
                serde_json::json!({"text": "seen"})
            )
            .await
            .status,
        201
    );
    let step = serde_json::json!({"commands": [{"type": "change-step", "step": "first-15-1", "state": "done", "owner": null, "note": "#inc"}]});
    assert_eq!(
        server
            .patch(&token, &format!("{path}/checklist"), step)
            .await
            .status,
        200
    );
    let lists = server
        .get(&token, &format!("{path}/checklist"))
        .await
        .json();
    assert_eq!(lists["checklists"][0]["settled"], 1, "{lists}");
    let other = serde_json::json!({"commands": [{"type": "rename", "to": "x"}]});
    assert_eq!(
        server
            .patch(&token, &format!("{path}/checklist"), other)
            .await
            .problem_code(),
        "invalid"
    );
    let close = async || {
        server
            .post(&token, &format!("{path}/close"), serde_json::json!({}))
            .await
    };
    let refused = close().await;
    assert_eq!(refused.problem_code(), "not-ready-to-close");
    assert!(
        refused.json()["missing"]
            .as_array()
            .is_some_and(|missing| missing.len() > 3),
        "{refused:?}"
    );
    let items = lists["closure"]["items"]
        .as_array()
        .expect("items")
        .iter()
        .filter(|item| item["required"] == true);
    let waive = |item: &Value| serde_json::json!({"type": "waive-closure-item", "item": item["item"], "reason": "a drill", "by": null});
    let commands: Vec<_> = items.map(waive).collect();
    assert_eq!(
        server
            .patch(
                &token,
                &format!("{path}/checklist"),
                serde_json::json!({"commands": commands})
            )
            .await
            .status,
        200
    );
    let closed = close().await;
    assert_eq!(
        (closed.status.as_u16(), &closed.json()["incident"]["status"]),
        (200, &"Closed".into()),
        "{closed:?}"
    );
    let brief = server.get(&token, &format!("{path}/brief")).await;
    assert_eq!(brief.header("content-type"), "text/plain; charset=utf-8");
    assert!(brief.bytes.starts_with(b"Incident: Leaked key"));
    let external = server
        .get(&token, &format!("{path}/brief?audience=external"))
        .await;
    assert!(external.bytes.starts_with(b"Security incident"));
    assert_eq!(
        server
            .get(&token, &format!("{path}/brief?audience=press"))
            .await
            .problem_code(),
        "invalid"
    );
}
