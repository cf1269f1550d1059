//! The API on a scratch store, asked without sockets.

mod access;
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

use super::token::{NewToken, VALID_BY_DEFAULT, issue};
use super::{ServerState, router};
use crate::config::ServeConfig;
use domain::token::TokenRole;
use domain::trigger::HooksConfig;
use pipeline::{Pipeline, PipelineConfig};
use serde::Deserialize;

/// A collector that nobody works for: captures wait.
struct Scratch {
    pipeline: Pipeline,
    state: ServerState,
    router: Router,
    drain: CancellationToken,
    _folder: TempDir,
}

/// The sections of `exhibit.toml` that the API has.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Sections {
    serve: ServeConfig,
    hooks: HooksConfig,
}

/// An answer, whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Bytes,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("it is sent whole").to_bytes();
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

    /// That of the answer, which must be a problem.
    fn code(&self) -> String {
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

impl Scratch {
    async fn new() -> Self {
        Self::configured("").await
    }

    async fn configured(sections: &str) -> Self {
        sources::crypto::install_provider();
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = PipelineConfig::default();
        config.sources.aws_cloudtrail.enabled = false; // nothing of the test leaves this machine
        let pipeline = Pipeline::open(folder.path(), &config, CancellationToken::new())
            .await
            .expect("a fresh store");
        let drain = CancellationToken::new();
        let Sections { serve, hooks } = toml::from_str(sections).expect("sections of exhibit.toml");
        let state =
            ServerState::new(pipeline.clone(), serve, hooks, drain.clone()).expect("no issuer");
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
        self.token_for(role, None, VALID_BY_DEFAULT).await.1
    }

    /// A token's id and text.
    async fn token_for(
        &self,
        role: TokenRole,
        incident: Option<&str>,
        valid: Duration,
    ) -> (String, String) {
        let incident = incident.map(|id| id.parse::<IncidentId>().expect("an id"));
        let wanted = NewToken {
            role,
            label: "tester".parse().expect("a label"),
            incident,
            valid,
        };
        let (row, secret) = issue(&self.pipeline.parts.ledger, wanted)
            .await
            .expect("a database");
        (row.id.to_string(), secret.text())
    }

    async fn send(&self, request: Request<Body>) -> Response {
        self.router
            .clone()
            .oneshot(request)
            .await
            .expect("it never fails")
    }

    async fn call(&self, token: &str, method: Method, path: &str, json: Option<Value>) -> Answer {
        Answer::of(self.send(request(token, method, path, json)).await).await
    }

    async fn get(&self, token: &str, path: &str) -> Answer {
        self.call(token, Method::GET, path, None).await
    }

    async fn post(&self, token: &str, path: &str, json: Value) -> Answer {
        self.call(token, Method::POST, path, Some(json)).await
    }

    async fn patch(&self, token: &str, path: &str, json: Value) -> Answer {
        self.call(token, Method::PATCH, path, Some(json)).await
    }

    /// Declares an incident and captures nothing.
    async fn declare(&self, token: &str) -> String {
        let declare = serde_json::json!({"title": "Leaked key", "severity": 2, "play": "leaked-secret", "capture": null});
        let answer = self.post(token, "/v1/incidents", declare).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Attaches a file; its receipt.
    async fn attach(&self, token: &str, id: &str, bytes: &'static [u8]) -> Value {
        let path = format!("/v1/incidents/{id}/attachments?name=shot.png");
        let request = Request::post(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "image/png");
        let answer = Answer::of(
            self.send(request.body(Body::from(bytes)).expect("a request"))
                .await,
        )
        .await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
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
