//! Captures, attachments, bundles, timeline and events over the API.

use super::*;

#[tokio::test]
async fn serves_attachment_as_bundle_in_whole_and_in_ranges() {
    let server = TestServer::new().await;
    let (owner, auditor) = (
        server.token(TokenRole::Owner).await,
        server.token(TokenRole::Auditor).await,
    );
    let id = server.declare(&owner).await;
    let receipt = server.attach(&owner, &id, b"bytes of a picture").await;
    let sha256 = evidence_format::digest::Digest::of(b"bytes of a picture").to_string();
    assert_eq!(
        (&receipt["bytes"], &receipt["sha256"]),
        (&18.into(), &sha256.as_str().into()),
        "{receipt}"
    );
    let bundles = server
        .get(&auditor, &format!("/v1/incidents/{id}/bundles"))
        .await
        .json();
    let listed = &bundles["bundles"][0];
    assert_eq!(
        (&listed["id"], &listed["coverage"]["complete"]),
        (&receipt["id"], &true.into())
    );
    assert!(
        listed["sealedAt"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z'))
    );
    let path = format!("/v1/bundles/{}", receipt["id"].as_str().expect("an id"));
    let whole = server.get(&auditor, &path).await;
    assert_eq!(whole.header("content-length"), listed["size"].to_string());
    assert_eq!(
        whole.header("etag"),
        format!("\"{}\"", receipt["id"].as_str().expect("an id"))
    );
    assert!(whole.header("content-disposition").ends_with(".tar\""));
    let send = async |method: Method, name: &'static str, value: &str| {
        let mut request = request(&auditor, method, &path, None);
        request
            .headers_mut()
            .insert(name, value.parse().expect("a value"));
        TestResponse::read(server.send(request).await).await
    };
    let (size, mut parts) = (whole.bytes.len(), Vec::new());
    for begin in (0..size).step_by(1000) {
        let part = send(
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
    assert!(
        parts == whole.bytes,
        "the ranges do not add up to the bundle"
    );
    let head = send(Method::HEAD, "range", "bytes=0-9").await;
    assert_eq!(
        (
            head.status.as_u16(),
            head.bytes.len(),
            head.header("content-length")
        ),
        (200, 0, size.to_string().as_str())
    );
    assert_eq!(
        send(Method::GET, "if-none-match", whole.header("etag"))
            .await
            .status,
        304
    );
    let after_end = send(Method::GET, "range", &format!("bytes={size}-")).await;
    assert_eq!(
        (
            after_end.problem_code().as_str(),
            after_end.header("content-range")
        ),
        ("range-not-satisfiable", format!("bytes */{size}").as_str())
    );
    let exported = server
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
        "the journal has one entry for each download"
    );
    assert!(rows.iter().all(|row| {
        row["by"]
            .as_str()
            .is_some_and(|by| by.starts_with("tester (token "))
    }));
    assert_eq!(
        server
            .get(&auditor, &format!("/v1/bundles/{sha256}"))
            .await
            .problem_code(),
        "not-found"
    );
    assert_eq!(
        server
            .get(&auditor, "/v1/bundles/sha256:")
            .await
            .problem_code(),
        "not-found"
    );
}

#[tokio::test]
async fn does_not_seal_interrupted_attachment() {
    let server = TestServer::with_config("[serve]\nattachment-bytes-max = 10\n").await;
    let owner = server.token(TokenRole::Owner).await;
    let id = server.declare(&owner).await;
    let send = async |body: Body| {
        let request = Request::post(format!("/v1/incidents/{id}/attachments"))
            .header("authorization", format!("Bearer {owner}"));
        TestResponse::read(server.send(request.body(body).expect("a request")).await).await
    };
    assert_eq!(
        send(Body::from("eleven byte")).await.problem_code(),
        "too-large"
    );
    let body_of = |pieces: Vec<Result<&'static str, std::io::Error>>| {
        Body::from_stream(futures::stream::iter(pieces))
    };
    assert_eq!(
        send(body_of(vec![Ok("123456"), Ok("78901")]))
            .await
            .problem_code(),
        "too-large"
    );
    assert_eq!(
        send(body_of(vec![
            Ok("123"),
            Err(std::io::ErrorKind::ConnectionReset.into())
        ]))
        .await
        .problem_code(),
        "malformed"
    );
    let bundles = server
        .get(&owner, &format!("/v1/incidents/{id}/bundles"))
        .await
        .json();
    assert_eq!(bundles["bundles"].as_array().map(Vec::len), Some(0));
    assert_eq!(send(Body::from("ten bytes!")).await.status, 201);
}

#[tokio::test]
async fn serves_timeline_in_pages_and_lines() {
    let server = TestServer::new().await;
    let owner = server.token(TokenRole::Owner).await;
    let path = format!("/v1/incidents/{}", server.declare(&owner).await);
    for number in 0..3 {
        let note = serde_json::json!({"text": format!("note {number}")});
        server.post(&owner, &format!("{path}/notes"), note).await;
    }
    let page = server
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
    let lines = TestResponse::read(server.send(lines).await).await;
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
            server
                .get(&owner, &format!("{path}/timeline?{wrong}"))
                .await
                .problem_code(),
            "invalid",
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn filters_of_events_exclude_the_journal_and_are_checked() {
    let server = TestServer::new().await;
    let owner = server.token(TokenRole::Owner).await;
    let path = format!("/v1/incidents/{}", server.declare(&owner).await);
    for filter in [
        "writes=true",
        "category=change&category=access",
        "outcome=failure",
        "actor=ann",
        "credential=AKIA1",
        "target=bucket",
        "address=203.0.113.7",
    ] {
        let page = server
            .get(&owner, &format!("{path}/timeline?{filter}"))
            .await
            .json();
        assert_eq!(page["rows"], Value::Array(Vec::new()), "{filter}");
    }
    for wrong in ["writes=yes", "category=changes", "outcome=ok", "actors=ann"] {
        let answer = server
            .get(&owner, &format!("{path}/timeline?{wrong}"))
            .await;
        assert_eq!(answer.problem_code(), "invalid", "{wrong}");
    }
}

#[tokio::test]
async fn serves_the_record_that_a_line_names() {
    let server = TestServer::new().await;
    let (owner, automation) = (
        server.token(TokenRole::Owner).await,
        server.token(TokenRole::Automation).await,
    );
    let id = server.declare(&owner).await;
    let receipt = server.attach(&owner, &id, b"one\ntwo\n").await;
    let bundle = receipt["id"].as_str().expect("an id");
    let path = format!("/v1/incidents/{id}/record");
    let page = server
        .get(&owner, &format!("/v1/incidents/{id}/timeline"))
        .await
        .json();
    let rows = page["rows"].as_array().expect("rows");
    assert_eq!(rows[0]["line"], "j1", "{rows:?}");
    let item = "shot.png";
    let record = server
        .get(&owner, &format!("{path}?line={bundle}/{item}/0"))
        .await;
    assert_eq!(record.header("content-type"), "application/octet-stream");
    assert_eq!(
        record.header("exhibit-evidence"),
        format!("{bundle}/{item}/0")
    );
    assert_eq!(&record.bytes[..], b"one\ntwo\n");
    for (line, code) in [
        ("", "invalid"),
        ("?line=x", "invalid"),
        ("?line=j1", "invalid"),
        ("?line=j999", "not-found"),
        ("?line=0123456789", "not-found"),
    ] {
        let answer = server.get(&owner, &format!("{path}{line}")).await;
        assert_eq!(answer.problem_code(), code, "{line:?}");
    }
    let answer = server.get(&automation, &format!("{path}?line=j1")).await;
    assert_eq!(answer.problem_code(), "forbidden");
    // a bundle of another incident is not shown as evidence of this one
    let other = server.declare(&owner).await;
    let answer = server
        .get(
            &owner,
            &format!("/v1/incidents/{other}/record?line={bundle}/{item}/0"),
        )
        .await;
    assert_eq!(answer.problem_code(), "not-found");
    let read = server
        .get(
            &owner,
            &format!("/v1/incidents/{id}/timeline?kind=evidence.read"),
        )
        .await
        .json();
    assert_eq!(read["rows"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn event_stream_ends_with_its_token() {
    let server = TestServer::new().await;
    let (admin, owner) = (
        server.token(TokenRole::Admin).await,
        server.token(TokenRole::Owner).await,
    );
    let path = format!("/v1/incidents/{}/events", server.declare(&owner).await);
    let short = server.token_for(TokenRole::Owner, None, Duration::from_secs(2));
    let (_, short) = short.await;
    let (id, revoked) = server
        .token_for(TokenRole::Owner, None, VALIDITY_DEFAULT)
        .await;
    let mut ends = Vec::new();
    for token in [&short, &revoked] {
        let stream = server.send(request(token, Method::GET, &path, None)).await;
        assert_eq!(stream.status(), 200);
        ends.push(tokio::spawn(TestResponse::read(stream)));
    }
    let revoke = format!("/v1/tokens/{id}");
    server.call(&admin, Method::DELETE, &revoke, None).await;
    for end in ends {
        let end = tokio::time::timeout(Duration::from_secs(8), end).await;
        assert!(end.is_ok(), "the stream outlives its token");
    }
}

#[tokio::test]
async fn streams_events_and_resumes_after_last_event_id() {
    let server = TestServer::new().await;
    let owner = server.token(TokenRole::Owner).await;
    let path = format!("/v1/incidents/{}", server.declare(&owner).await);
    let connect = async |last: Option<&str>| {
        let mut request = request(&owner, Method::GET, &format!("{path}/events"), None);
        if let Some(last) = last {
            request
                .headers_mut()
                .insert("last-event-id", last.parse().expect("a value"));
        }
        server.send(request).await
    };
    let mut stream = connect(None).await;
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
    server
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
    let mut resumed = connect(Some("1")).await;
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
        "the stream restarted from the first entry"
    );
    server.drain.cancel();
    for stream in [stream, resumed] {
        TestResponse::read(stream).await; // ends, or the test hangs
    }
    assert_eq!(
        TestResponse::read(connect(Some("x")).await)
            .await
            .problem_code(),
        "invalid"
    );
}

#[tokio::test]
async fn starts_and_stops_captures() {
    let server = TestServer::new().await;
    let owner = server.token(TokenRole::Owner).await;
    let id = server.declare(&owner).await;
    let path = format!("/v1/incidents/{id}");
    let capture = async |json: Value| server.post(&owner, &format!("{path}/captures"), json).await;
    let states = async || {
        let view = server.get(&owner, &path).await.json();
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
    let stopped = server
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
        "a capture after a stop was not started"
    );
    for wrong in [
        serde_json::json!({"from": "2026-01-01T00:00:00Z"}),
        serde_json::json!({"from": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}),
        serde_json::json!({"source": ["host"]}),
    ] {
        assert_eq!(capture(wrong).await.problem_code(), "invalid");
    }
    let plan = server
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
async fn reports_running_captures_and_failure_reasons() {
    let server = TestServer::new().await;
    let (owner, automation) = (
        server.token(TokenRole::Owner).await,
        server.token(TokenRole::Automation).await,
    );
    let declared = server
        .post(
            &automation,
            "/v1/incidents",
            serde_json::json!({"title": "t", "severity": 3}),
        )
        .await
        .json();
    let path = format!("/v1/incidents/{}", declared["id"].as_str().expect("an id"));
    for token in [&owner, &automation] {
        assert_eq!(server.get(token, &path).await.json()["underWay"], true);
    }
    assert_eq!(
        server
            .call(&owner, Method::DELETE, &format!("{path}/captures"), None)
            .await
            .status,
        202
    );
    let full = server.get(&owner, &path).await.json();
    assert_eq!(full["underWay"], false);
    assert!(
        full["passes"]
            .as_array()
            .is_some_and(|passes| passes.iter().all(|pass| pass["why"] == "stopped")),
        "{full}"
    );
    let summary = server.get(&automation, &path).await.json();
    assert!(
        summary["passes"][0].get("why").is_none(),
        "automation must not see reasons, which may quote a source: {summary}"
    );
}

#[tokio::test]
async fn missing_file_of_a_bundle_is_gone_and_no_fault_of_the_collector() {
    let server = TestServer::new().await;
    let owner = server.token(TokenRole::Owner).await;
    let incident = server.declare(&owner).await;
    let receipt = server.attach(&owner, &incident, b"bytes").await;
    let id = receipt["id"].as_str().expect("an id");
    let row = server.pipeline.parts.ledger.bundle(id).await;
    let row = row.expect("a database").expect("it was sealed");
    let path = server.pipeline.parts.blobs.local_path(&row.object_key);
    std::fs::remove_file(path.expect("a folder")).expect("it is there");
    let path = format!("/v1/bundles/{id}");
    let answer = server.get(&owner, &path).await;
    assert_eq!(answer.status, StatusCode::GONE);
    assert_eq!(answer.problem_code(), "gone");
    let head = server.call(&owner, Method::HEAD, &path, None).await;
    assert_eq!(head.status, StatusCode::GONE);
}
