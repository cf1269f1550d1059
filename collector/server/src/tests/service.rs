//! Tokens, problems, headers, metrics, plays and sources.

use super::*;

#[tokio::test]
async fn creates_lists_and_revokes_tokens() {
    let server = TestServer::new().await;
    let admin = server.token(TokenRole::Admin).await;
    let id = server.declare(&admin).await;
    let create = serde_json::json!({"role": "auditor", "label": "counsel", "incident": id, "validSeconds": 60});
    let created = server.post(&admin, "/v1/tokens", create).await;
    assert_eq!(created.status, 201, "{created:?}");
    let (created, token) = (
        created.json(),
        created.json()["token"]
            .as_str()
            .expect("a token")
            .to_owned(),
    );
    let caller = server.get(&token, "/v1/whoami").await.json();
    assert_eq!(
        (&caller["id"], &caller["role"], &caller["incident"]),
        (&created["id"], &"auditor".into(), &id.as_str().into())
    );
    let list = server.get(&admin, "/v1/tokens").await;
    assert_eq!(list.json()["tokens"].as_array().map(Vec::len), Some(2));
    assert!(
        !String::from_utf8_lossy(&list.bytes).contains(&token[25..]),
        "the list shows a secret"
    );
    let path = format!("/v1/tokens/{}", created["id"].as_str().expect("an id"));
    assert_eq!(
        server
            .call(&admin, Method::DELETE, &path, None)
            .await
            .status,
        204
    );
    assert_eq!(
        server.get(&token, "/v1/whoami").await.problem_code(),
        "unauthenticated"
    );
    for wrong in [
        serde_json::json!({"role": "root", "label": "x"}),
        serde_json::json!({"role": "owner", "label": "x", "incident": "INC-9"}),
        serde_json::json!({"role": "owner", "label": "x", "validSeconds": 99_999_999}),
        serde_json::json!({"role": "owner"}),
    ] {
        assert_eq!(
            server
                .post(&admin, "/v1/tokens", wrong.clone())
                .await
                .problem_code(),
            "invalid",
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn answers_invalid_requests_with_problems() {
    let server = TestServer::with_config("[serve]\nbody-bytes-max = 1000\n").await;
    let owner = server.token(TokenRole::Owner).await;
    assert_eq!(
        server.get(&owner, "/v1/incident").await.problem_code(),
        "not-found"
    );
    assert_eq!(server.get("", "/").await.problem_code(), "not-found");
    let put = server
        .call(&owner, Method::PUT, "/v1/incidents", None)
        .await;
    assert_eq!(put.problem_code(), "method-not-allowed");
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
        TestResponse::read(
            server
                .send(
                    request
                        .body(Body::from(body.to_owned()))
                        .expect("a request"),
                )
                .await,
        )
        .await
    };
    assert_eq!(
        send(None, "{}").await.problem_code(),
        "unsupported-media-type"
    );
    assert_eq!(
        send(Some("text/plain"), "{}").await.problem_code(),
        "unsupported-media-type"
    );
    assert_eq!(
        send(Some("application/json"), "{").await.problem_code(),
        "malformed"
    );
    assert_eq!(
        send(Some("application/json"), &" ".repeat(1001))
            .await
            .problem_code(),
        "too-large"
    );
    let unknown = send(Some("application/json"), r#"{"titel": "x", "severity": 1}"#).await;
    assert_eq!(unknown.problem_code(), "invalid");
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
        let response = send(
            Some("application/json"),
            &format!(r#"{{"title": "x", "severity": {severity}}}"#),
        )
        .await;
        assert_eq!(response.problem_code(), code, "{severity}");
        assert!(
            response.json()["detail"]
                .as_str()
                .is_some_and(|text| text.contains("1 to 4")),
            "{response:?}"
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
    assert_eq!(play.problem_code(), "invalid");
    for id in ["..", "%2e%2e", "INC%00", "x y", "a%2fb", "%ff"] {
        assert_eq!(
            server
                .get(&owner, &format!("/v1/incidents/{id}").replace(' ', "%20"))
                .await
                .problem_code(),
            "not-found",
            "{id}"
        );
    }
}

#[tokio::test]
async fn gives_every_response_an_id_and_keeps_it_out_of_caches() {
    let server = TestServer::new().await;
    let ready = server.get("", "/readyz").await;
    assert_eq!(
        (ready.status.as_u16(), ready.bytes.as_ref()),
        (200, &b"ready\n"[..])
    );
    let (one, other) = (
        server.get("", "/healthz").await,
        server.get("", "/nowhere").await,
    );
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
    assert_eq!(
        (
            one.header("cache-control"),
            one.header("x-content-type-options")
        ),
        ("no-store", "nosniff")
    );
    server.drain.cancel();
    assert_eq!(
        server.get("", "/readyz").await.status,
        503,
        "a draining server must not be ready"
    );
}

#[tokio::test]
async fn metrics_count_without_naming_incidents() {
    let server = TestServer::new().await;
    let owner = server.token(TokenRole::Owner).await;
    let id = server.declare(&owner).await;
    server.attach(&owner, &id, b"bytes").await;
    server
        .post(
            &owner,
            &format!("/v1/incidents/{id}/captures"),
            serde_json::json!({"sources": ["host"]}),
        )
        .await;
    server.get("", &format!("/v1/incidents/{id}/secret")).await;
    let metrics = server.get("", "/metrics").await;
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

/// A metric with the names and values of its labels.
type Selector = (String, Vec<(String, String)>);

/// The selectors of our metrics, and of those of the process, in rules, a dashboard or a scrape.
/// Labels that only Prometheus adds are left out.
fn selectors(text: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text;
    while let Some(at) = ["exhibit_", "process_"]
        .iter()
        .filter_map(|name| rest.find(name))
        .min()
    {
        let name: String = rest[at..].chars().take_while(|c| is_name(*c)).collect();
        rest = &rest[at + name.len()..];
        let braces = rest.strip_prefix('{').and_then(|rest| {
            let end = rest.match_indices('}').find(|(end, _)| {
                // `route="/v1/hooks/{vendor}"` has braces too
                rest[..*end].matches('"').count() % 2 == 0
            })?;
            Some(&rest[..end.0])
        });
        let matchers = braces.unwrap_or_default().split(',').filter_map(|matcher| {
            let (label, value) = matcher.trim().split_once('=')?;
            let label = label.trim_end_matches('!').to_owned();
            let value = value.trim_matches(['~', '"']).to_owned();
            (!["job", "instance", "le"].contains(&label.as_str())).then_some((label, value))
        });
        found.push((name, matchers.collect()));
        rest = &rest[braces.map_or(0, str::len)..];
    }
    found
}

#[tokio::test]
async fn alert_rules_and_dashboard_ask_for_metrics_that_exist() {
    let hooks = "[hooks.alertmanager]\nsecrets = ['0123456789abcdef0123']\n";
    let server = TestServer::with_config(hooks).await;
    server
        .post("wrong", "/v1/hooks/alertmanager", serde_json::json!({}))
        .await;
    server.get("wrong", "/v1/whoami").await;
    let gateway = agents::TestGateway::new(&server).await;
    let order = "INC-1/0/1";
    let bundle = format!("sha256:{}", "0".repeat(64));
    let offer = serde_json::json!({"order": order, "bundle": bundle, "bytes": 1});
    let refused = gateway.post(protocol::path::UPLOADS, offer).await;
    assert_eq!(refused.status, 409, "{refused:?}");
    gateway
        .post(protocol::path::RENEW, serde_json::json!({}))
        .await;
    let metrics = server.get("", "/metrics").await;
    let text = String::from_utf8_lossy(&metrics.bytes).into_owned();
    for line in [
        "exhibit_agents{state=\"connected\"} 1",
        "exhibit_agents{state=\"incompatible\"} 0",
        "exhibit_agent_certificates_issued_total{cause=\"enrolment\"} 1",
        "exhibit_agent_certificates_refused_total{reason=\"malformed\"} 1",
        "exhibit_agent_requests_refused_total{reason=\"order-ended\"} 1",
        "exhibit_agent_bundles_refused_total{reason=\"not-ordered\"} 1",
        "exhibit_agent_orders_total 0",
        "exhibit_agent_deliveries_total 0",
        "exhibit_agent_delivered_bytes_total 0",
    ] {
        assert!(text.lines().any(|other| other == line), "no {line}: {text}");
    }
    let scraped: Vec<Selector> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(selectors)
        .collect();
    let names = |labels: &[(String, String)]| -> Vec<String> {
        labels.iter().map(|(name, _)| name.clone()).collect()
    };
    let rules = include_str!("../../../../deploy/prometheus/alerts.yml");
    let dashboard = include_str!("../../../../deploy/grafana/exhibit.json").replace("\\\"", "\"");
    let mut asked = selectors(rules);
    assert!(asked.len() > 10, "{asked:?}");
    asked.extend(selectors(&dashboard));
    for (name, labels) in asked {
        let known = scraped.iter().any(|(other, has)| {
            *other == name
                && labels.iter().all(|(label, value)| {
                    // These values depend on what has happened.
                    let is_open = ["status", "route", "vendor", "reason"].contains(&label.as_str());
                    has.iter()
                        .any(|(other, has)| label == other && (is_open || value == has))
                })
        });
        assert!(known, "no {name} {labels:?} in {text}");
    }
    // What the rules are tested with is what a scrape has.
    let tests = include_str!("../../../../deploy/prometheus/alerts.test.yml");
    for line in tests.lines().filter(|line| line.contains("series: '")) {
        for (name, labels) in selectors(line) {
            let mut labels = names(&labels);
            labels.sort();
            let known = scraped.iter().any(|(other, has)| {
                let mut has = names(has);
                has.sort();
                *other == name && has == labels
            });
            assert!(known, "no {name} {labels:?} in {text}");
        }
    }
}

#[tokio::test]
async fn source_that_is_switched_off_counts_as_no_failure() {
    let server = TestServer::new().await; // without CloudTrail
    let owner = server.token(TokenRole::Owner).await;
    let id = server.declare(&owner).await;
    let path = format!("/v1/incidents/{id}/captures");
    let sources = serde_json::json!({"sources": ["aws_cloudtrail"]});
    server.post(&owner, &path, sources).await;
    server.pipeline.work(pipeline::WorkUntil::Idle).await;
    let metrics = server.get("", "/metrics").await;
    let text = String::from_utf8_lossy(&metrics.bytes).into_owned();
    for line in [
        "exhibit_passes{state=\"not-configured\"} 1",
        "exhibit_passes{state=\"failed\"} 0",
        "exhibit_oldest_due_pass_age_seconds 0.0",
    ] {
        assert!(text.lines().any(|other| other == line), "no {line}: {text}");
    }
}

#[tokio::test]
async fn serves_plays_sources_and_plans_without_incident() {
    let server = TestServer::new().await;
    let (automation, auditor) = (
        server.token(TokenRole::Automation).await,
        server.token(TokenRole::Auditor).await,
    );
    let key = server.get(&automation, "/v1/key").await;
    assert_eq!(key.header("content-type"), "application/x-pem-file");
    assert_eq!(key.bytes, server.pipeline.key.public().to_pem());
    let plays = server.get(&automation, "/v1/plays").await.json();
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
    let sources = server
        .get(&auditor, "/v1/sources?play=leaked-secret")
        .await
        .json();
    let host = sources["sources"]
        .as_array()
        .expect("sources")
        .iter()
        .find(|source| source["source"] == "host")
        .expect("the source host");
    assert_eq!(
        (&host["state"], &host["isState"], &host["windowSeconds"]),
        (&"ready".into(), &true.into(), &7_776_000.into())
    );
    let plan = server
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
        let refused = server.get(&auditor, path).await;
        assert_eq!(refused.problem_code(), "invalid", "{path}");
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
    let server = TestServer::new().await;
    let admin = server.token(TokenRole::Admin).await;
    assert_eq!(
        server.get(&admin, "/v1/bundles/%ff").await.problem_code(),
        "not-found"
    );
    assert_eq!(
        server
            .call(&admin, Method::DELETE, "/v1/tokens/%ff", None)
            .await
            .problem_code(),
        "not-found"
    );
    assert_eq!(
        server
            .post("", "/v1/hooks/%ff", serde_json::json!({}))
            .await
            .problem_code(),
        "not-found"
    );
    assert_eq!(
        server.get("", "/v1/incidents/%ff").await.problem_code(),
        "unauthenticated"
    );
    assert_eq!(
        server
            .get(&admin, "/v1/incidents?limit=%ff")
            .await
            .problem_code(),
        "invalid"
    );
}

#[tokio::test]
async fn answers_500_if_handler_panics() {
    let server = TestServer::new().await;
    let observe =
        axum::middleware::from_fn_with_state(server.state.clone(), crate::observe::observe);
    let panicking = Router::new()
        .route(
            "/",
            axum::routing::get(async || -> &'static str { panic!("a bug") }),
        )
        .layer(observe);
    let response = TestResponse::read(
        panicking
            .oneshot(request("", Method::GET, "/", None))
            .await
            .expect("the router is infallible"),
    )
    .await;
    assert_eq!(
        (response.status.as_u16(), response.problem_code().as_str()),
        (500, "internal")
    );
    assert!(!response.header("x-request-id").is_empty());
}
