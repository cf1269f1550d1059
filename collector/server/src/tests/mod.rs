//! Tests of the API on a temporary store, without sockets.

mod access;
mod agents;
mod answers;
mod evidence;
mod incidents;
mod service;
mod webhooks;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use evidence_format::id::IncidentId;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::token::{NewToken, VALIDITY_DEFAULT, issue};
use super::{ServerState, router};
use crate::config::ServeConfig;
use domain::token::TokenRole;
use domain::trigger::HooksConfig;
use pipeline::{Pipeline, PipelineConfig};
use serde::Deserialize;

/// The API of a collector without workers: its captures stay waiting.
struct TestServer {
    pipeline: Pipeline,
    state: ServerState,
    router: Router,
    drain: CancellationToken,
    _folder: TempDir,
}

/// The sections of `exhibit.toml` that configure the API.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TestConfig {
    serve: ServeConfig,
    hooks: HooksConfig,
}

/// A response with its whole body.
#[derive(Debug)]
struct TestResponse {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Bytes,
}

impl TestResponse {
    async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        Self {
            status: parts.status,
            headers: parts.headers,
            bytes,
        }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The code of the problem that the response must have.
    fn problem_code(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let json = self.json();
        assert_eq!(json["status"], self.status.as_u16(), "{json}");
        json["code"].as_str().expect("a code").to_owned()
    }
}

impl TestServer {
    async fn new() -> Self {
        Self::with_config("").await
    }

    async fn with_config(config: &str) -> Self {
        sources::crypto::install_provider();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut pipeline_config = PipelineConfig::default();
        pipeline_config.sources.aws_cloudtrail.enabled = false; // the tests use no network
        let pipeline = Pipeline::open(folder.path(), &pipeline_config, CancellationToken::new())
            .await
            .expect("a fresh store");
        let drain = CancellationToken::new();
        let TestConfig { serve, hooks } = toml::from_str(config).expect("valid sections");
        let state = ServerState::new(pipeline.clone(), serve, hooks, drain.clone())
            .expect("no issuer is configured");
        let router = router(&state);
        Self {
            pipeline,
            state,
            router,
            drain,
            _folder: folder,
        }
    }

    async fn token(&self, role: TokenRole) -> String {
        self.token_for(role, None, VALIDITY_DEFAULT).await.1
    }

    /// Creates a token and returns its id and text.
    async fn token_for(
        &self,
        role: TokenRole,
        incident: Option<&str>,
        validity: Duration,
    ) -> (String, String) {
        let incident = incident.map(|id| id.parse::<IncidentId>().expect("an id"));
        let new_token = NewToken {
            role,
            label: "tester".parse().expect("a label"),
            incident,
            validity,
        };
        let (row, token) = issue(&self.pipeline.parts.ledger, new_token)
            .await
            .expect("a database");
        (row.id.to_string(), token.text())
    }

    async fn send(&self, request: Request<Body>) -> Response {
        self.router
            .clone()
            .oneshot(request)
            .await
            .expect("the router is infallible")
    }

    async fn call(
        &self,
        token: &str,
        method: Method,
        path: &str,
        json: Option<Value>,
    ) -> TestResponse {
        TestResponse::read(self.send(request(token, method, path, json)).await).await
    }

    async fn get(&self, token: &str, path: &str) -> TestResponse {
        self.call(token, Method::GET, path, None).await
    }

    async fn post(&self, token: &str, path: &str, json: Value) -> TestResponse {
        self.call(token, Method::POST, path, Some(json)).await
    }

    async fn patch(&self, token: &str, path: &str, json: Value) -> TestResponse {
        self.call(token, Method::PATCH, path, Some(json)).await
    }

    /// Declares an incident without captures and returns its id.
    async fn declare(&self, token: &str) -> String {
        let declare = serde_json::json!({"title": "Leaked key", "severity": 2, "play": "leaked-secret", "capture": null});
        let response = self.post(token, "/v1/incidents", declare).await;
        assert_eq!(response.status, 201, "{response:?}");
        response.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Attaches a file and returns the receipt.
    async fn attach(&self, token: &str, id: &str, bytes: &'static [u8]) -> Value {
        let path = format!("/v1/incidents/{id}/attachments?name=shot.png");
        let request = Request::post(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "image/png");
        let response = TestResponse::read(
            self.send(request.body(Body::from(bytes)).expect("a request"))
                .await,
        )
        .await;
        assert_eq!(response.status, 201, "{response:?}");
        response.json()
    }
}

fn request(token: &str, method: Method, path: &str, json: Option<Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    match json {
        None => request.body(Body::empty()),
        Some(json) => request
            .header("content-type", "application/json")
            .body(Body::from(json.to_string())),
    }
    .expect("a request")
}
