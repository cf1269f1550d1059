//! Requests to the collector.

use std::time::Duration;

use protocol::limits::DOCUMENT_BYTES_MAX;
use protocol::path;
use protocol::poll::{PollAnswer, PollRequest};
use protocol::refusal::{GatewayRefusal, RefusalCode};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tls::{self, Authorities};

/// How long a connection may take to be made.
const CONNECT_SECONDS_MAX: u64 = 15;
/// How long a request may take that the collector answers at once.
const REQUEST_SECONDS_MAX: u64 = 60;
/// How long a poll may take: longer than any collector waits.
const POLL_SECONDS_MAX: u64 = 20 * 60;
/// Keeps NATs from forgetting the connection of a poll, and finds out if the other side is gone.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A request failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the collector's URL is invalid: {0}")]
    Url(String),
    #[error("cannot set up TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot reach the collector")]
    Unreachable(#[source] reqwest::Error),
    #[error("the collector refuses: {0}")]
    Refused(GatewayRefusal),
    #[error("the collector's answer is not of this protocol (HTTP status {status})")]
    Unintelligible { status: u16 },
}

impl ClientError {
    /// The code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<RefusalCode> {
        match self {
            Self::Refused(refusal) => Some(refusal.code),
            Self::Url(_) | Self::Tls(_) | Self::Unreachable(_) | Self::Unintelligible { .. } => {
                None
            }
        }
    }
}

/// A client of one collector. Cheap to clone.
#[derive(Clone)]
pub struct GatewayClient {
    http: Client,
    /// Without a slash at its end.
    server: String,
}

impl GatewayClient {
    pub(super) fn new(
        server: &str,
        authorities: &Authorities,
        certificate: Option<(&str, &str)>,
    ) -> Result<Self, ClientError> {
        let server = server.trim_end_matches('/').to_owned();
        if !server.starts_with("https://") {
            return Err(ClientError::Url(format!(
                "{server:?} does not begin with https://"
            )));
        }
        let tls = tls::config(authorities, certificate);
        let tls = tls.map_err(|error| ClientError::Tls(error.into()))?;
        let http = Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS_MAX))
            .tcp_keepalive(KEEPALIVE)
            .pool_max_idle_per_host(1)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ClientError::Unreachable)?;
        Ok(Self { http, server })
    }

    pub(super) async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, ClientError> {
        self.send(self.request(Method::GET, path)).await
    }

    pub(super) async fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        document: &impl Serialize,
    ) -> Result<A, ClientError> {
        self.send(json(self.request(Method::POST, path), document))
            .await
    }

    /// Polls once. The collector may hold the answer back for minutes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn poll(&self, request: &PollRequest) -> Result<PollAnswer, ClientError> {
        let request = json(self.request(Method::POST, path::POLL), request);
        let request = request.timeout(Duration::from_secs(POLL_SECONDS_MAX));
        self.send(request).await
    }

    pub(super) async fn put<A: DeserializeOwned>(
        &self,
        path: &str,
        bytes: Vec<u8>,
    ) -> Result<A, ClientError> {
        self.send(self.request(Method::PUT, path).body(bytes)).await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.server);
        let request = self.http.request(method, url);
        request.timeout(Duration::from_secs(REQUEST_SECONDS_MAX))
    }

    async fn send<A: DeserializeOwned>(&self, request: RequestBuilder) -> Result<A, ClientError> {
        let response = request.send().await.map_err(ClientError::Unreachable)?;
        let status = response.status();
        let body = read(response).await?;
        let unintelligible = ClientError::Unintelligible {
            status: status.as_u16(),
        };
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| unintelligible);
        }
        match serde_json::from_slice::<GatewayRefusal>(&body) {
            Ok(refusal) => Err(ClientError::Refused(refusal)),
            Err(_) => Err(unintelligible),
        }
    }
}

fn json(request: RequestBuilder, document: &impl Serialize) -> RequestBuilder {
    let body = serde_json::to_vec(document).expect("texts and numbers are JSON");
    request
        .header("content-type", "application/json")
        .body(body)
}

/// Reads an answer up to the protocol's limit: a hostile collector must not fill the memory.
async fn read(mut response: Response) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(ClientError::Unreachable)? {
        if body.len() as u64 + chunk.len() as u64 > DOCUMENT_BYTES_MAX {
            let status = response.status().as_u16();
            return Err(ClientError::Unintelligible { status });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
