//! Sends requests to one server and reads the answers, with time-outs and limits. Repeats a request
//! where that is safe.

use std::path::Path;
use std::time::Duration;

use api::ProblemCode;
use bytes::BytesMut;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    RETRY_AFTER,
};
use reqwest::{Certificate, Method, Response, StatusCode, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::error::{ClientError, ProblemDetails};
use super::{BearerToken, ServerUrl};
use platform::backoff::Backoff;
use platform::random_fraction;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the first byte of an answer. The server usually only reads and writes its
/// database.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for requests for which the server first asks others, such as the sources of a plan.
const SLOW_ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest silence within an answer. A stream of events has a keep-alive comment every 15 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Limit of an answer that is held in memory. A list of 10,000 bundles has 5 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Limit of a line in an answer that is read line by line.
const LINE_BYTES_MAX: usize = 1 << 20;
const PROBLEM_BYTES_MAX: usize = 1 << 20;
/// Times that a request is sent, and the waits between them: somebody waits.
const ATTEMPTS_MAX: u32 = 4;
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(1));
/// Somebody looks at the screen: no request is repeated later than this after its first attempt.
const RETRYING_MAX: Duration = Duration::from_secs(4);

/// A server, and the token to send to it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiClient {
    http: reqwest::Client,
    pub(super) server: ServerUrl,
    token: BearerToken,
}

/// A request to the API.
#[derive(Debug, Clone)]
pub struct ApiCall {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    answer_timeout: Duration,
    /// True if the request may be sent twice, because a second one has no further effect.
    is_repeatable: bool,
}

impl ApiCall {
    fn new(method: Method, path: impl Into<String>) -> Self {
        // These methods are idempotent (RFC 9110 §9.2.2).
        let is_repeatable = matches!(method, Method::GET | Method::DELETE);
        let (query, headers) = (Vec::new(), HeaderMap::new());
        Self {
            method,
            path: path.into(),
            query,
            headers,
            body: None,
            answer_timeout: ANSWER_TIMEOUT,
            is_repeatable,
        }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub fn post(path: impl Into<String>, json: &impl Serialize) -> Self {
        Self::new(Method::POST, path).json(json)
    }

    pub fn patch(path: impl Into<String>, json: &impl Serialize) -> Self {
        Self::new(Method::PATCH, path).json(json)
    }

    fn json(mut self, json: &impl Serialize) -> Self {
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = Some(serde_json::to_vec(json).expect("requests are JSON"));
        self
    }

    /// Adds a query parameter for each value.
    #[must_use]
    pub fn query(
        mut self,
        name: &'static str,
        values: impl IntoIterator<Item = impl ToString>,
    ) -> Self {
        self.query
            .extend(values.into_iter().map(|value| (name, value.to_string())));
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Makes the request repeatable: the server recognises the key. `None` if the key cannot be
    /// sent in a header.
    pub fn idempotency_key(mut self, key: &str) -> Option<Self> {
        self.headers
            .insert("idempotency-key", HeaderValue::from_str(key).ok()?);
        self.is_repeatable = true;
        Some(self)
    }

    #[must_use]
    pub fn accept(self, media_type: &'static str) -> Self {
        self.header(ACCEPT, HeaderValue::from_static(media_type))
    }

    /// Waits longer for the answer, for requests that make the server ask others.
    #[must_use]
    pub fn slow(mut self) -> Self {
        self.answer_timeout = SLOW_ANSWER_TIMEOUT;
        self
    }
}

impl ApiClient {
    /// A client for `server`, whose certificate must be signed by `ca`, or if that is `None`, by a
    /// CA of the system.
    ///
    /// # Errors
    /// The CA's file cannot be used, or the system has no CA certificates.
    pub fn new(
        server: ServerUrl,
        token: BearerToken,
        ca: Option<&Path>,
    ) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .redirect(redirect::Policy::none()) // the token is for this server only
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("exhibit/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = ca {
            builder = builder.tls_certs_only(read_ca_certificates(ca)?);
        } else if server.is_plain_http() {
            // Plain HTTP must work on a machine that has no CA certificates.
            builder = builder.tls_certs_only([]);
        }
        if server.is_this_machine() {
            // A proxy would send the request to its own loopback address.
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder.build().map_err(ClientError::TlsSetup)?,
            server,
            token,
        })
    }

    #[must_use]
    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// The full URL of an API path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.server.url(path).to_string()
    }

    /// Sends a request and reads the JSON answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn json<T: DeserializeOwned>(&self, call: &ApiCall) -> Result<T, ClientError> {
        let response = self.send(call).await?;
        self.read_json(response).await
    }

    pub(super) async fn read_json<T: DeserializeOwned>(
        &self,
        response: Response,
    ) -> Result<T, ClientError> {
        let body = self.read_body(response, ANSWER_BYTES_MAX).await?;
        serde_json::from_slice(&body).map_err(|error| self.unreadable(&error.to_string()))
    }

    /// Sends a request and reads the answer as text.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn text(&self, call: &ApiCall) -> Result<String, ClientError> {
        let response = self.send(call).await?;
        String::from_utf8(self.read_body(response, ANSWER_BYTES_MAX).await?)
            .map_err(|_| self.unreadable("not UTF-8"))
    }

    /// The time of the server's clock, rounded down to the second, so it is never in the server's
    /// future.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn server_time(&self) -> Result<Timestamp, ClientError> {
        let response = self.send(&ApiCall::get("v1/whoami")).await?;
        let date = response
            .headers()
            .get(DATE)
            .and_then(|date| date.to_str().ok());
        let date = date
            .and_then(|date| httpdate::parse_http_date(date).ok())
            .and_then(|date| Timestamp::try_from(date).ok());
        date.ok_or_else(|| self.unreadable("the header `Date` is missing or invalid"))
    }

    /// Sends a request and ignores the content of the answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn execute(&self, call: &ApiCall) -> Result<(), ClientError> {
        let response = self.send(call).await?;
        self.read_body(response, ANSWER_BYTES_MAX).await.map(drop)
    }

    /// Sends a request and calls `each` for every line of the answer, including its line feed. Only
    /// the length of a line is limited, not that of the answer.
    ///
    /// # Errors
    /// See [`ClientError`], and the errors of `each`.
    pub async fn lines<E: From<ClientError>>(
        &self,
        call: &ApiCall,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut response = self.send(call).await?;
        let mut line = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            // A chunk may hold several lines, or only a part of one.
            for piece in chunk.split_inclusive(|b| *b == b'\n') {
                line.extend_from_slice(piece);
                if line.len() > LINE_BYTES_MAX {
                    return Err(self
                        .unreadable(&format!("a line exceeds {LINE_BYTES_MAX} bytes"))
                        .into());
                }
                if piece.ends_with(b"\n") {
                    each(&line)?;
                    line.clear();
                }
            }
        }
        if line.is_empty() {
            Ok(())
        } else {
            Err(self.unreadable("the last line is incomplete").into())
        }
    }

    /// Passes an answer to `each` chunk by chunk, so that it may be larger than memory. Returns the
    /// value of its header `name`.
    ///
    /// # Errors
    /// See [`ClientError`], and the errors of `each`.
    pub async fn chunks<E: From<ClientError>>(
        &self,
        call: &ApiCall,
        name: &'static str,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<String, E> {
        let mut response = self.send(call).await?;
        let value = response.headers().get(name);
        let value = value
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let value = value.ok_or_else(|| self.unreadable(&format!("no header {name}")))?;
        while let Some(chunk) = self.chunk(&mut response).await? {
            each(&chunk)?;
        }
        Ok(value)
    }

    /// Sends a request and returns a successful answer whose body is not yet read. Repeats the
    /// request after transient failures, if it is repeatable.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn send(&self, call: &ApiCall) -> Result<Response, ClientError> {
        let began = Instant::now();
        for attempt in 1.. {
            let (error, asked) = match self.send_once(call).await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let asked = retry_after(response.headers());
                    (self.read_error(response).await, asked)
                }
                Err(error) => (error, None),
            };
            // A request that never arrived has no effect, so even a POST may be repeated.
            let may_again =
                error.never_reached_server() || call.is_repeatable && error.is_transient();
            let wait =
                asked.unwrap_or_else(|| BACKOFF.equal_jitter(attempt - 1, random_fraction()));
            let is_over = attempt >= ATTEMPTS_MAX || began.elapsed() + wait > RETRYING_MAX;
            if !may_again || is_over {
                return Err(error);
            }
            debug!(attempt, path = call.path, "request failed, repeating it");
            sleep(wait).await;
        }
        unreachable!("the last attempt returns")
    }

    async fn send_once(&self, call: &ApiCall) -> Result<Response, ClientError> {
        let mut request = self
            .request(call.method.clone(), &call.path, &call.query)
            .headers(call.headers.clone());
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let answered = timeout(call.answer_timeout, request.send())
            .await
            .map_err(|_| ClientError::NoAnswer {
                server: self.server.to_string(),
                seconds: call.answer_timeout.as_secs(),
            })?;
        answered.map_err(|cause| ClientError::from_send_error(&self.server, cause))
    }

    /// A request that carries the token.
    pub(super) fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&'static str, String)],
    ) -> reqwest::RequestBuilder {
        let mut url = self.server.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http
            .request(method, url)
            .header(AUTHORIZATION, self.token.header())
    }

    /// The next chunk of an answer's body; `None` after the last.
    pub(super) async fn chunk(
        &self,
        response: &mut Response,
    ) -> Result<Option<bytes::Bytes>, ClientError> {
        let chunk =
            timeout(IDLE_TIMEOUT, response.chunk())
                .await
                .map_err(|_| ClientError::NoAnswer {
                    server: self.server.to_string(),
                    seconds: IDLE_TIMEOUT.as_secs(),
                })?;
        chunk.map_err(|cause| ClientError::ConnectionLost {
            server: self.server.to_string(),
            cause: cause.without_url(),
        })
    }

    async fn read_body(
        &self,
        mut response: Response,
        bytes_max: usize,
    ) -> Result<Vec<u8>, ClientError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            // The limit holds for what arrives: Content-Length may be absent or wrong.
            if body.len() + chunk.len() > bytes_max {
                return Err(self.unreadable(&format!("the answer exceeds {bytes_max} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// The error that an unsuccessful answer stands for.
    pub(super) async fn read_error(&self, response: Response) -> ClientError {
        let (server, status) = (self.server.to_string(), response.status());
        if status.is_redirection() {
            let target = response
                .headers()
                .get(LOCATION)
                .and_then(|target| target.to_str().ok())
                .unwrap_or("an unreadable address")
                .to_owned();
            return ClientError::Redirect { server, target };
        }
        // The remedy is the same whatever the body says.
        if status == StatusCode::UNAUTHORIZED {
            return ClientError::Unauthenticated { server };
        }
        let body = self
            .read_body(response, PROBLEM_BYTES_MAX)
            .await
            .unwrap_or_default();
        match serde_json::from_slice::<ProblemDetails>(&body) {
            Ok(problem) => ClientError::Refused { server, problem },
            // A proxy in front of the server answers in its own words.
            Err(_) if is_gateway_error(status) => ClientError::Refused {
                server,
                problem: ProblemDetails {
                    code: Some(ProblemCode::Unavailable),
                    detail: format!("a proxy in front of it says {status}: try again"),
                },
            },
            Err(_) => self.unreadable(status.as_str()),
        }
    }

    /// The error for an answer that is not what the API defines. `what` may quote the server.
    pub(super) fn unreadable(&self, what: &str) -> ClientError {
        ClientError::UnreadableAnswer {
            server: self.server.to_string(),
            what: safe(what),
        }
    }
}

/// True for the statuses with which proxies report that the server is unreachable.
fn is_gateway_error(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// The wait that `Retry-After` asks for. Its other form, a date, is ignored: our servers never send
/// it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn read_ca_certificates(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let pem = std::fs::read(path).map_err(|cause| ClientError::File {
        path: path.to_owned(),
        cause,
    })?;
    let invalid = |cause| ClientError::CaFile {
        path: path.to_owned(),
        cause,
    };
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|cause| invalid(Some(cause)))?;
    if certificates.is_empty() {
        Err(invalid(None))
    } else {
        Ok(certificates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_retry_after_in_seconds_only() {
        let read = |value: &'static str| {
            retry_after(&HeaderMap::from_iter([(
                RETRY_AFTER,
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(read("5"), Some(Duration::from_secs(5)));
        assert_eq!(read("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn repeats_only_requests_that_are_safe_to_repeat() {
        let declare = || ApiCall::post("v1/incidents", &serde_json::json!({}));
        assert!(ApiCall::get("x").is_repeatable && ApiCall::delete("x").is_repeatable);
        assert!(!declare().is_repeatable && !ApiCall::patch("x", &()).is_repeatable);
        assert!(declare().idempotency_key("k").expect("a key").is_repeatable);
        assert!(declare().idempotency_key("a\nb").is_none());
    }
}
