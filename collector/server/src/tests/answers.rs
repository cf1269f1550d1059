//! What is answered.

use super::*;

#[tokio::test]
async fn an_incident_is_declared_once_for_each_key() {
    let scratch = Scratch::new().await;
    let token = scratch.token(TokenRole::Automation).await;
    let declare = |key: &'static str, token: &str| {
        let json = serde_json::json!({"title": "t", "severity": "SEV-3"});
        let mut request = request(token, Method::POST, "/v1/incidents", Some(json));
        request
            .headers_mut()
            .insert("idempotency-key", key.parse().expect("a value"));
        request
    };
    let first = Answer::of(scratch.send(declare("a", &token)).await).await;
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        (first.status, first.header("location")),
        (StatusCode::CREATED, format!("/v1/incidents/{id}").as_str())
    );
    let again = Answer::of(scratch.send(declare("a", &token)).await).await;
    assert_eq!(
        (again.status, again.json()),
        (StatusCode::OK, serde_json::json!({"id": id, "new": false}))
    );
    let other_key = Answer::of(scratch.send(declare("b", &token)).await).await;
    let other_client = Answer::of(
        scratch
            .send(declare("a", &scratch.token(TokenRole::Owner).await))
            .await,
    )
    .await;
    for other in [&other_key, &other_client] {
        assert_eq!(other.status, 201);
        assert_ne!(other.json()["id"], id.as_str());
    }
    let passes = scratch
        .pipeline
        .parts
        .ledger
        .passes(&id.parse().expect("an id"))
        .await
        .expect("a database");
    assert!(
        passes.iter().any(|row| row.key.source == "host"),
        "it is captured: {passes:?}"
    );
    let journal = scratch
        .pipeline
        .entries(&id.parse().expect("an id"))
        .await
        .expect("a journal");
    assert!(
        journal[0].by.as_str().starts_with("tester (token "),
        "{:?}",
        journal[0].by
    );
    let long = "x".repeat(257);
    let mut refused = declare("a", &token);
    refused
        .headers_mut()
        .insert("idempotency-key", long.parse().expect("a value"));
    assert_eq!(
        Answer::of(scratch.send(refused).await).await.code(),
        "invalid"
    );
}

#[tokio::test]
async fn all_that_is_declared_is_kept() {
    let scratch = Scratch::new().await;
    let token = scratch.token(TokenRole::Owner).await;
    let declare = serde_json::json!({
        "id": "INC-77", "title": "Zoë's key", "severity": 1, "play": "cloud-admin", "started": "2026-11-20T08:00:00Z",
        "report": {"reportedBy": "Eve", "affectedSystems": ["ci"], "suspectedImpact": "read access"},
        "affects": {"customerData": "yes"}, "pivots": ["user=mallory"],
        "capture": {"sources": ["host"], "from": "2026-11-19T00:00:00Z", "until": "2026-11-20T00:00:00Z", "deadlineSeconds": 60},
    });
    assert_eq!(
        scratch
            .post(&token, "/v1/incidents", declare.clone())
            .await
            .status,
        201
    );
    let view = scratch.get(&token, "/v1/incidents/INC-77").await.json();
    for (member, value) in [
        ("/id", "INC-77"),
        ("/name", "Zoë's key"),
        ("/severity", "SEV-1"),
        ("/started", "2026-11-20T08:00:00Z"),
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
        scratch.post(&token, "/v1/incidents", declare).await.code(),
        "conflict"
    );
}

#[tokio::test]
async fn incidents_are_listed_page_by_page() {
    let scratch = Scratch::new().await;
    let token = scratch.token(TokenRole::Commander).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(0, scratch.declare(&token).await);
    }
    let contained = format!("/v1/incidents/{}", ids[2]);
    assert_eq!(
        scratch
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
            let page = scratch
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
        scratch
            .get(&token, "/v1/incidents?cursor=INC-9")
            .await
            .code(),
        "invalid"
    );
}

#[tokio::test]
async fn what_is_known_is_changed_all_at_once_or_not_at_all() {
    let scratch = Scratch::new().await;
    let token = scratch.token(TokenRole::Commander).await;
    let path = format!("/v1/incidents/{}", scratch.declare(&token).await);
    let patch = serde_json::json!({
        "title": "Leaked CI key", "severity": "1", "reason": "it was used", "started": "2026-11-20T08:00:00Z",
        "roles": {"Incident commander": "alice"}, "report": {"suspectedImpact": "builds"},
        "affects": {"privilegedAccess": "yes"}, "pivots": ["user=mallory"], "nextUpdate": "2099-01-01T12:00:00Z",
        "commands": [{"type": "add-statement", "topic": "impact", "standing": "confirmed", "text": "Builds were readable"}],
    });
    let mut patch = patch;
    patch["roles"] = serde_json::json!({scratch.get(&token, &path).await.json()["roles"][0]["role"].as_str().expect("a role"): "alice"});
    let changed = scratch.patch(&token, &path, patch).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(
        changed.json()["changes"].as_array().map(Vec::len),
        Some(9),
        "{changed:?}"
    );
    let view = scratch.get(&token, &path).await.json();
    assert_eq!(
        (&view["severity"], &view["roles"][0]["holder"]),
        (&"SEV-1".into(), &"alice".into())
    );
    assert_eq!(view["nextUpdate"], "2099-01-01T12:00:00Z");
    let none = scratch
        .patch(&token, &path, serde_json::json!({"nextUpdate": null}))
        .await;
    assert_eq!(none.json()["incident"]["nextUpdate"], Value::Null);
    let half = serde_json::json!({"title": "other", "started": "2999-01-01T00:00:00Z"});
    assert_eq!(scratch.patch(&token, &path, half).await.code(), "invalid");
    assert_eq!(
        scratch.get(&token, &path).await.json()["name"],
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
            scratch.patch(&token, &path, refused.clone()).await.code(),
            code,
            "{refused}"
        );
    }
}

#[tokio::test]
async fn an_incident_is_worked_on_and_closed() {
    let scratch = Scratch::new().await;
    let token = scratch.token(TokenRole::Commander).await;
    let path = format!("/v1/incidents/{}", scratch.declare(&token).await);
    assert_eq!(
        scratch
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
        scratch
            .patch(&token, &format!("{path}/checklist"), step)
            .await
            .status,
        200
    );
    let lists = scratch
        .get(&token, &format!("{path}/checklist"))
        .await
        .json();
    assert_eq!(lists["checklists"][0]["settled"], 1, "{lists}");
    let other = serde_json::json!({"commands": [{"type": "rename", "to": "x"}]});
    assert_eq!(
        scratch
            .patch(&token, &format!("{path}/checklist"), other)
            .await
            .code(),
        "invalid"
    );
    let close = async || {
        scratch
            .post(&token, &format!("{path}/close"), serde_json::json!({}))
            .await
    };
    let refused = close().await;
    assert_eq!(refused.code(), "not-ready-to-close");
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
    let wishes: Vec<_> = items.map(waive).collect();
    assert_eq!(
        scratch
            .patch(
                &token,
                &format!("{path}/checklist"),
                serde_json::json!({"commands": wishes})
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
    let brief = scratch.get(&token, &format!("{path}/brief")).await;
    assert_eq!(brief.header("content-type"), "text/plain; charset=utf-8");
    assert!(brief.bytes.starts_with(b"Incident: Leaked key"));
    let external = scratch
        .get(&token, &format!("{path}/brief?audience=external"))
        .await;
    assert!(external.bytes.starts_with(b"Security incident"));
    assert_eq!(
        scratch
            .get(&token, &format!("{path}/brief?audience=press"))
            .await
            .code(),
        "invalid"
    );
}

#[tokio::test]
async fn an_attachment_comes_back_as_a_bundle_also_in_parts() {
    let scratch = Scratch::new().await;
    let (owner, auditor) = (
        scratch.token(TokenRole::Owner).await,
        scratch.token(TokenRole::Auditor).await,
    );
    let id = scratch.declare(&owner).await;
    let receipt = scratch.attach(&owner, &id, b"bytes of a picture").await;
    let sha256 = evidence_format::digest::Digest::of(b"bytes of a picture").to_string();
    assert_eq!(
        (&receipt["bytes"], &receipt["sha256"]),
        (&18.into(), &sha256.as_str().into()),
        "{receipt}"
    );
    let bundles = scratch
        .get(&auditor, &format!("/v1/incidents/{id}/bundles"))
        .await
        .json();
    let listed = &bundles["bundles"][0];
    assert_eq!(
        (&listed["id"], &listed["coverage"]["complete"]),
        (&receipt["id"], &true.into())
    );
    assert!(
        listed["sealed_at"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z'))
    );
    let path = format!("/v1/bundles/{}", receipt["id"].as_str().expect("an id"));
    let whole = scratch.get(&auditor, &path).await;
    assert_eq!(whole.header("content-length"), listed["size"].to_string());
    assert_eq!(
        whole.header("etag"),
        format!("\"{}\"", receipt["id"].as_str().expect("an id"))
    );
    assert!(whole.header("content-disposition").ends_with(".tar\""));
    let ask = async |method: Method, name: &'static str, value: &str| {
        let mut request = request(&auditor, method, &path, None);
        request
            .headers_mut()
            .insert(name, value.parse().expect("a value"));
        Answer::of(scratch.send(request).await).await
    };
    let (size, mut parts) = (whole.bytes.len(), Vec::new());
    for begin in (0..size).step_by(1000) {
        let part = ask(
            Method::GET,
            "range",
            &format!("bytes={begin}-{}", begin + 999),
        )
        .await;
        let last = (begin + 999).min(size - 1);
        assert_eq!(
            (part.status.as_u16(), part.header("content-range")),
            (206, format!("bytes {begin}-{last}/{size}").as_str())
        );
        parts.extend(part.bytes);
    }
    assert!(parts == whole.bytes, "the parts are the whole");
    let head = ask(Method::HEAD, "range", "bytes=0-9").await;
    assert_eq!(
        (
            head.status.as_u16(),
            head.bytes.len(),
            head.header("content-length")
        ),
        (200, 0, size.to_string().as_str())
    );
    assert_eq!(
        ask(Method::GET, "if-none-match", whole.header("etag"))
            .await
            .status,
        304
    );
    let behind = ask(Method::GET, "range", &format!("bytes={size}-")).await;
    assert_eq!(
        (behind.code().as_str(), behind.header("content-range")),
        ("range-not-satisfiable", format!("bytes */{size}").as_str())
    );
    let exported = scratch
        .get(
            &auditor,
            &format!("/v1/incidents/{id}/timeline?kind=evidence.exported"),
        )
        .await
        .json();
    let rows = exported["rows"].as_array().expect("rows");
    assert_eq!(
        rows.len(),
        1 + size.div_ceil(1000),
        "every download is in the journal, and nothing else"
    );
    assert!(rows.iter().all(|row| {
        row["by"]
            .as_str()
            .is_some_and(|by| by.starts_with("tester (token "))
    }));
    assert_eq!(
        scratch
            .get(&auditor, &format!("/v1/bundles/{sha256}"))
            .await
            .code(),
        "not-found"
    );
    assert_eq!(
        scratch.get(&auditor, "/v1/bundles/sha256:").await.code(),
        "not-found"
    );
}

#[tokio::test]
async fn an_attachment_that_is_cut_off_is_not_sealed() {
    let scratch = Scratch::configured("[serve]\nattachment-bytes-max = 10\n").await;
    let owner = scratch.token(TokenRole::Owner).await;
    let id = scratch.declare(&owner).await;
    let send = async |body: Body| {
        let request = Request::post(format!("/v1/incidents/{id}/attachments"))
            .header("authorization", format!("Bearer {owner}"));
        Answer::of(scratch.send(request.body(body).expect("a request")).await).await
    };
    assert_eq!(send(Body::from("eleven byte")).await.code(), "too-large");
    let pieces = |pieces: Vec<Result<&'static str, std::io::Error>>| {
        Body::from_stream(futures::stream::iter(pieces))
    };
    assert_eq!(
        send(pieces(vec![Ok("123456"), Ok("78901")])).await.code(),
        "too-large"
    );
    assert_eq!(
        send(pieces(vec![
            Ok("123"),
            Err(std::io::ErrorKind::ConnectionReset.into())
        ]))
        .await
        .code(),
        "malformed"
    );
    let bundles = scratch
        .get(&owner, &format!("/v1/incidents/{id}/bundles"))
        .await
        .json();
    assert_eq!(bundles["bundles"].as_array().map(Vec::len), Some(0));
    assert_eq!(send(Body::from("ten bytes!")).await.status, 201);
}

#[tokio::test]
async fn a_timeline_is_read_in_pages_and_in_lines() {
    let scratch = Scratch::new().await;
    let owner = scratch.token(TokenRole::Owner).await;
    let path = format!("/v1/incidents/{}", scratch.declare(&owner).await);
    for number in 0..3 {
        let note = serde_json::json!({"text": format!("note {number}")});
        scratch.post(&owner, &format!("{path}/notes"), note).await;
    }
    let page = scratch
        .get(&owner, &format!("{path}/timeline?kind=note&contains=NOTE"))
        .await
        .json();
    let notes: Vec<_> = page["rows"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["summary"].as_str().expect("text"))
        .collect();
    assert_eq!(notes, ["note: note 0", "note: note 1", "note: note 2"]);
    assert_eq!(page.get("next"), None);
    let mut lines = request(
        &owner,
        Method::GET,
        &format!("{path}/timeline?kind=note"),
        None,
    );
    lines
        .headers_mut()
        .insert("accept", "application/x-ndjson".parse().expect("a value"));
    let lines = Answer::of(scratch.send(lines).await).await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    let rows: Vec<Value> = lines
        .bytes
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).expect("JSON"))
        .collect();
    assert_eq!(Value::from(rows), page["rows"]);
    for wrong in [
        "kinds=note",
        "cursor=x",
        "from=yesterday",
        "limit=-1",
        "from=2026-01-01",
    ] {
        assert_eq!(
            scratch
                .get(&owner, &format!("{path}/timeline?{wrong}"))
                .await
                .code(),
            "invalid",
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn events_follow_the_journal_and_go_on_where_they_broke_off() {
    let scratch = Scratch::new().await;
    let owner = scratch.token(TokenRole::Owner).await;
    let path = format!("/v1/incidents/{}", scratch.declare(&owner).await);
    let follow = async |last: Option<&str>| {
        let mut request = request(&owner, Method::GET, &format!("{path}/events"), None);
        if let Some(last) = last {
            request
                .headers_mut()
                .insert("last-event-id", last.parse().expect("a value"));
        }
        scratch.send(request).await
    };
    let mut stream = follow(None).await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let first = stream
        .body_mut()
        .frame()
        .await
        .expect("an event")
        .expect("no error")
        .into_data()
        .expect("data");
    let text = String::from_utf8(first.to_vec()).expect("UTF-8");
    assert!(
        text.contains("event: entry")
            && text.contains("id: 1\n")
            && text.contains("incident.declared"),
        "{text}"
    );
    scratch
        .post(
            &owner,
            &format!("{path}/notes"),
            serde_json::json!({"text": "later"}),
        )
        .await;
    let next = stream
        .body_mut()
        .frame()
        .await
        .expect("an event")
        .expect("no error")
        .into_data()
        .expect("data");
    assert!(String::from_utf8_lossy(&next).contains("note: later"));
    let mut resumed = follow(Some("1")).await;
    let next = resumed
        .body_mut()
        .frame()
        .await
        .expect("an event")
        .expect("no error")
        .into_data()
        .expect("data");
    assert!(
        String::from_utf8_lossy(&next).contains("note: later"),
        "it does not begin anew"
    );
    scratch.drain.cancel();
    for stream in [stream, resumed] {
        Answer::of(stream).await; // it ends
    }
    assert_eq!(Answer::of(follow(Some("x")).await).await.code(), "invalid");
}

#[tokio::test]
async fn captures_are_asked_for_again_and_stopped() {
    let scratch = Scratch::new().await;
    let owner = scratch.token(TokenRole::Owner).await;
    let id = scratch.declare(&owner).await;
    let path = format!("/v1/incidents/{id}");
    let capture = async |json: Value| {
        scratch
            .post(&owner, &format!("{path}/captures"), json)
            .await
    };
    let states = async || {
        let view = scratch.get(&owner, &path).await.json();
        view["passes"]
            .as_array()
            .expect("passes")
            .iter()
            .map(|pass| pass["state"].as_str().expect("a state").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        capture(serde_json::json!({"sources": ["host"]}))
            .await
            .status,
        202
    );
    assert_eq!(states().await, ["waiting"]);
    let stopped = scratch
        .call(&owner, Method::DELETE, &format!("{path}/captures"), None)
        .await;
    assert_eq!(stopped.status, 202);
    assert_eq!(states().await, ["failed"]);
    assert_eq!(
        capture(serde_json::json!({"sources": ["host"]}))
            .await
            .status,
        202
    );
    assert_eq!(
        states().await,
        ["failed", "waiting"],
        "who asks again is asked for"
    );
    for wrong in [
        serde_json::json!({"from": "2026-01-01T00:00:00Z"}),
        serde_json::json!({"from": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}),
        serde_json::json!({"source": ["host"]}),
    ] {
        assert_eq!(capture(wrong).await.code(), "invalid");
    }
    let plan = scratch
        .get(&owner, &format!("{path}/plan?source=host"))
        .await;
    assert_eq!(plan.status, 200, "{plan:?}");
    assert!(
        plan.json()["passes"]
            .as_array()
            .is_some_and(|passes| !passes.is_empty()),
        "{plan:?}"
    );
}

#[tokio::test]
async fn tokens_are_made_listed_and_revoked() {
    let scratch = Scratch::new().await;
    let admin = scratch.token(TokenRole::Admin).await;
    let id = scratch.declare(&admin).await;
    let create = serde_json::json!({"role": "auditor", "label": "counsel", "incident": id, "validSeconds": 60});
    let made = scratch.post(&admin, "/v1/tokens", create).await;
    assert_eq!(made.status, 201, "{made:?}");
    let (made, token) = (
        made.json(),
        made.json()["token"].as_str().expect("a token").to_owned(),
    );
    let who = scratch.get(&token, "/v1/whoami").await.json();
    assert_eq!(
        (&who["id"], &who["role"], &who["incident"]),
        (&made["id"], &"auditor".into(), &id.as_str().into())
    );
    let list = scratch.get(&admin, "/v1/tokens").await;
    assert_eq!(list.json()["tokens"].as_array().map(Vec::len), Some(2));
    assert!(
        !String::from_utf8_lossy(&list.bytes).contains(&token[25..]),
        "no secret is told twice"
    );
    let path = format!("/v1/tokens/{}", made["id"].as_str().expect("an id"));
    assert_eq!(
        scratch
            .call(&admin, Method::DELETE, &path, None)
            .await
            .status,
        204
    );
    assert_eq!(
        scratch.get(&token, "/v1/whoami").await.code(),
        "unauthenticated"
    );
    for wrong in [
        serde_json::json!({"role": "root", "label": "x"}),
        serde_json::json!({"role": "owner", "label": "x", "incident": "INC-9"}),
        serde_json::json!({"role": "owner", "label": "x", "validSeconds": 99_999_999}),
        serde_json::json!({"role": "owner"}),
    ] {
        assert_eq!(
            scratch
                .post(&admin, "/v1/tokens", wrong.clone())
                .await
                .code(),
            "invalid",
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_a_problem() {
    let scratch = Scratch::configured("[serve]\nbody-bytes-max = 1000\n").await;
    let owner = scratch.token(TokenRole::Owner).await;
    assert_eq!(
        scratch.get(&owner, "/v1/incident").await.code(),
        "not-found"
    );
    assert_eq!(scratch.get("", "/").await.code(), "not-found");
    let put = scratch
        .call(&owner, Method::PUT, "/v1/incidents", None)
        .await;
    assert_eq!(put.code(), "method-not-allowed");
    let allow = put.header("allow");
    assert!(
        ["GET", "HEAD", "POST"]
            .iter()
            .all(|method| allow.contains(method)),
        "{allow}"
    );
    let send = async |kind: Option<&str>, body: &str| {
        let mut request =
            Request::post("/v1/incidents").header("authorization", format!("Bearer {owner}"));
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        Answer::of(
            scratch
                .send(
                    request
                        .body(Body::from(body.to_owned()))
                        .expect("a request"),
                )
                .await,
        )
        .await
    };
    assert_eq!(send(None, "{}").await.code(), "unsupported-media-type");
    assert_eq!(
        send(Some("text/plain"), "{}").await.code(),
        "unsupported-media-type"
    );
    assert_eq!(
        send(Some("application/json"), "{").await.code(),
        "malformed"
    );
    assert_eq!(
        send(Some("application/json"), &" ".repeat(1001))
            .await
            .code(),
        "too-large"
    );
    let unknown = send(Some("application/json"), r#"{"titel": "x", "severity": 1}"#).await;
    assert_eq!(unknown.code(), "invalid");
    assert!(
        unknown.json()["detail"]
            .as_str()
            .is_some_and(|text| text.contains("did you mean \"title\"?")),
        "{unknown:?}"
    );
    for (severity, code) in [
        ("0", "invalid"),
        ("5", "invalid"),
        ("\"SEV-9\"", "invalid"),
        ("true", "invalid"),
        ("1.5", "invalid"),
    ] {
        let answer = send(
            Some("application/json"),
            &format!(r#"{{"title": "x", "severity": {severity}}}"#),
        )
        .await;
        assert_eq!(answer.code(), code, "{severity}");
        assert!(
            answer.json()["detail"]
                .as_str()
                .is_some_and(|text| text.contains("1 to 4")),
            "{answer:?}"
        );
    }
    let play = send(
        Some("application/json"),
        r#"{"title": "x", "severity": 1, "play": "genral"}"#,
    )
    .await;
    assert!(
        play.json()["detail"]
            .as_str()
            .is_some_and(|text| text.contains("general")),
        "{play:?}"
    );
    assert_eq!(play.code(), "invalid");
    for id in ["..", "%2e%2e", "INC%00", "x y", "a%2fb", "%ff"] {
        assert_eq!(
            scratch
                .get(&owner, &format!("/v1/incidents/{id}").replace(' ', "%20"))
                .await
                .code(),
            "not-found",
            "{id}"
        );
    }
}

#[tokio::test]
async fn every_answer_has_an_id_and_stays_out_of_caches() {
    let scratch = Scratch::new().await;
    let ready = scratch.get("", "/readyz").await;
    assert_eq!(
        (ready.status.as_u16(), ready.bytes.as_ref()),
        (200, &b"ready\n"[..])
    );
    let (one, other) = (
        scratch.get("", "/healthz").await,
        scratch.get("", "/nowhere").await,
    );
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    assert_eq!(
        (
            one.header("cache-control"),
            one.header("x-content-type-options")
        ),
        ("no-store", "nosniff")
    );
    scratch.drain.cancel();
    assert_eq!(
        scratch.get("", "/readyz").await.status,
        503,
        "who drains takes no more"
    );
}

#[tokio::test]
async fn numbers_are_told_without_names() {
    let scratch = Scratch::new().await;
    let owner = scratch.token(TokenRole::Owner).await;
    let id = scratch.declare(&owner).await;
    scratch.attach(&owner, &id, b"bytes").await;
    scratch
        .post(
            &owner,
            &format!("/v1/incidents/{id}/captures"),
            serde_json::json!({"sources": ["host"]}),
        )
        .await;
    scratch.get("", &format!("/v1/incidents/{id}/secret")).await;
    let metrics = scratch.get("", "/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let text = String::from_utf8_lossy(&metrics.bytes).into_owned();
    for line in [
        "exhibit_http_requests_total{method=\"POST\",route=\"/v1/incidents\",status=\"201\"} 1",
        "exhibit_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"} 1",
        "exhibit_incidents 1",
        "exhibit_bundles 1",
        "exhibit_gaps 0",
        "exhibit_passes{state=\"sealed\"} 1",
        "exhibit_passes{state=\"waiting\"} 1",
        "exhibit_jobs{state=\"waiting\"} 1",
    ] {
        assert!(
            text.lines().any(|other| other == line),
            "no {line} in {text}"
        );
    }
    assert!(
        text.lines()
            .any(|line| line.starts_with("exhibit_bundles_bytes ") && !line.ends_with(" 0")),
        "{text}"
    );
    assert!(!text.contains(&id) && text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test]
async fn a_client_learns_what_it_needs_before_there_is_an_incident() {
    let scratch = Scratch::new().await;
    let (automation, auditor) = (
        scratch.token(TokenRole::Automation).await,
        scratch.token(TokenRole::Auditor).await,
    );
    let key = scratch.get(&automation, "/v1/key").await;
    assert_eq!(key.header("content-type"), "application/x-pem-file");
    assert_eq!(key.bytes, scratch.pipeline.key.public().to_pem());
    let plays = scratch.get(&automation, "/v1/plays").await.json();
    let names: Vec<_> = plays["plays"]
        .as_array()
        .expect("plays")
        .iter()
        .map(|play| play["name"].clone())
        .collect();
    assert_eq!(
        names,
        ["ci-token", "cloud-admin", "general", "leaked-secret"]
    );
    assert!(
        plays["plays"][1]["absent"]
            .as_array()
            .is_some_and(|absent| absent.iter().all(|name| name != "host")),
        "{plays}"
    );
    let sources = scratch
        .get(&auditor, "/v1/sources?play=leaked-secret")
        .await
        .json();
    let host = sources["sources"]
        .as_array()
        .expect("sources")
        .iter()
        .find(|source| source["source"] == "host")
        .expect("it");
    assert_eq!(
        (&host["state"], &host["isState"], &host["windowSeconds"]),
        (&"ready".into(), &true.into(), &7_776_000.into())
    );
    let plan = scratch
        .get(
            &auditor,
            "/v1/plan?play=general&source=host&pivot=user=mallory",
        )
        .await
        .json();
    assert_eq!(
        (&plan["play"], &plan["passes"][0]["source"]),
        (&"general".into(), &"host".into())
    );
    for path in ["/v1/sources?play=genral", "/v1/plan?play=genral"] {
        let refused = scratch.get(&auditor, path).await;
        assert_eq!(refused.code(), "invalid", "{path}");
        assert!(
            refused.json()["detail"]
                .as_str()
                .is_some_and(|text| text.contains("did you mean \"general\"?")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn it_is_told_whether_captures_go_on_and_why_one_did_not() {
    let scratch = Scratch::new().await;
    let (owner, automation) = (
        scratch.token(TokenRole::Owner).await,
        scratch.token(TokenRole::Automation).await,
    );
    let declared = scratch
        .post(
            &automation,
            "/v1/incidents",
            serde_json::json!({"title": "t", "severity": 3}),
        )
        .await
        .json();
    let path = format!("/v1/incidents/{}", declared["id"].as_str().expect("an id"));
    for token in [&owner, &automation] {
        assert_eq!(scratch.get(token, &path).await.json()["underWay"], true);
    }
    assert_eq!(
        scratch
            .call(&owner, Method::DELETE, &format!("{path}/captures"), None)
            .await
            .status,
        202
    );
    let full = scratch.get(&owner, &path).await.json();
    assert_eq!(full["underWay"], false);
    assert!(
        full["passes"]
            .as_array()
            .is_some_and(|passes| passes.iter().all(|pass| pass["why"] == "stopped")),
        "{full}"
    );
    let glance = scratch.get(&automation, &path).await.json();
    assert!(
        glance["passes"][0].get("why").is_none(),
        "a reason may quote a source: {glance}"
    );
}

#[tokio::test]
async fn names_that_are_no_text_name_nothing() {
    let scratch = Scratch::new().await;
    let admin = scratch.token(TokenRole::Admin).await;
    assert_eq!(
        scratch.get(&admin, "/v1/bundles/%ff").await.code(),
        "not-found"
    );
    assert_eq!(
        scratch
            .call(&admin, Method::DELETE, "/v1/tokens/%ff", None)
            .await
            .code(),
        "not-found"
    );
    assert_eq!(
        scratch
            .post("", "/v1/hooks/%ff", serde_json::json!({}))
            .await
            .code(),
        "not-found"
    );
    assert_eq!(
        scratch.get("", "/v1/incidents/%ff").await.code(),
        "unauthenticated"
    );
    assert_eq!(
        scratch.get(&admin, "/v1/incidents?limit=%ff").await.code(),
        "invalid"
    );
}

#[tokio::test]
async fn a_crash_is_one_answer_and_no_more() {
    let scratch = Scratch::new().await;
    let observe =
        axum::middleware::from_fn_with_state(scratch.api.clone(), crate::observe::observe);
    let crashing = Router::new()
        .route(
            "/",
            axum::routing::get(async || -> &'static str { panic!("our own fault") }),
        )
        .layer(observe);
    let answer = Answer::of(
        crashing
            .oneshot(request("", Method::GET, "/", None))
            .await
            .expect("it never fails"),
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), answer.code().as_str()),
        (500, "internal")
    );
    assert!(!answer.header("x-request-id").is_empty());
}
