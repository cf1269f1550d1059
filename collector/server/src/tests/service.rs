//! Tokens, problems, headers, metrics, plays and sources.

use super::*;

#[tokio::test]
async fn creates_lists_and_revokes_tokens() {
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
async fn answers_invalid_requests_with_problems() {
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
async fn gives_every_response_an_id_and_keeps_it_out_of_caches() {
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
async fn metrics_have_no_names() {
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
async fn serves_plays_sources_and_plans_without_incident() {
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
async fn rejects_ids_that_are_not_utf8() {
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
async fn answers_500_if_handler_panics() {
    let scratch = Scratch::new().await;
    let observe =
        axum::middleware::from_fn_with_state(scratch.state.clone(), crate::observe::observe);
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
