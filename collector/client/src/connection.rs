//! One request and its answer: with time-outs, again where that is safe, and never anywhere but to
//! the one server.

use std::path::Path;
use std::time::Duration;

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
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::error::{ClientError, ProblemDetails};
use super::{BearerToken, ServerUrl};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for an answer's first byte. What a server does for it are some reads and writes of
/// its database.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The same where the server has to ask others first, such as a plan's sources.
const SLOW_ANSWER_TIMEOUT: Duration = Duration::from_secs(300);
/// Longest silence within an answer: streams of events have a sign of life each 15 s.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer that is read as a whole: 10,000 bundles have 5 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Bytes of one line of an answer that is read line by line.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a problem.
const PROBLEM_BYTES_MAX: usize = 1 << 20;
/// Times that a request is sent, and the first pause between two of them, which doubles: somebody
/// waits.
const ATTEMPTS_MAX: u32 = 4;
const PAUSE: Duration = Duration::from_millis(250);
/// Longest pause that a server may ask for with `Retry-After`.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A server, and as whom it is asked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ApiClient {
    http: reqwest::Client,
    pub(super) server: ServerUrl,
    token: BearerToken,
}

/// A request.
#[derive(Debug, Clone)]
pub struct ApiCall {
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    answer_timeout: Duration,
    is_repeatable: bool,
}

impl ApiCall {
    fn new(method: Method, path: impl Into<String>) -> Self {
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
        self.body = Some(serde_json::to_vec(json).expect("texts and numbers are JSON"));
        self
    }

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

    /// `None` if no header can carry the key.
    pub fn idempotency_key(mut self, key: &str) -> Option<Self> {
        self.headers
            .insert("idempotency-key", HeaderValue::from_str(key).ok()?);
        self.is_repeatable = true; // the server knows it again
        Some(self)
    }

    pub fn accept(self, kind: &'static str) -> Self {
        self.header(ACCEPT, HeaderValue::from_static(kind))
    }

    pub fn slow(mut self) -> Self {
        self.answer_timeout = SLOW_ANSWER_TIMEOUT;
        self
    }
}

impl ApiClient {
    /// A client of `server`, which is trusted if `ca` has signed its certificate, or without one,
    /// if a CA of the system has.
    ///
    /// # Errors
    /// The CA's file cannot be used, or the system has no CA certificates.
    pub fn new(
        server: ServerUrl,
        token: BearerToken,
        ca: Option<&Path>,
    ) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .redirect(redirect::Policy::none()) // the token is for this server alone
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("exhibit/", env!("CARGO_PKG_VERSION")));
        if let Some(ca) = ca {
            builder = builder.tls_certs_only(read_ca_certificates(ca)?);
        } else if server.is_plain_http() {
            builder = builder.tls_certs_only([]); // a machine without CA certificates can still ask itself
        }
        if server.is_this_machine() {
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder.build().map_err(ClientError::TlsSetup)?,
            server,
            token,
        })
    }

    /// Which server it is.
    pub fn server(&self) -> &ServerUrl {
        &self.server
    }

    /// The URL of a path there.
    pub fn url(&self, path: &str) -> String {
        self.server.url(path).to_string()
    }

    /// Sends a request, and reads the answer.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn json<T: DeserializeOwned>(&self, call: &ApiCall) -> Result<T, ClientError> {
        let response = self.send(call).await?;
        self.read_json(response).await
    }

    /// Reads an answer that is JSON.
    pub(super) async fn read_json<T: DeserializeOwned>(
        &self,
        response: Response,
    ) -> Result<T, ClientError> {
        let body = self.read_body(response, ANSWER_BYTES_MAX).await?;
        serde_json::from_slice(&body).map_err(|error| self.unreadable(&error.to_string()))
    }

    /// Sends a request, and reads the answer as text.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn text(&self, call: &ApiCall) -> Result<String, ClientError> {
        let response = self.send(call).await?;
        String::from_utf8(self.read_body(response, ANSWER_BYTES_MAX).await?)
            .map_err(|_| self.unreadable("no UTF-8"))
    }

    /// The server's clock, to the second before: what is said to have happened by then has happened
    /// there too.
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
        date.ok_or_else(|| self.unreadable("no Date in its header"))
    }

    /// Sends a request whose answer is nothing but a success.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn execute(&self, call: &ApiCall) -> Result<(), ClientError> {
        let response = self.send(call).await?;
        self.read_body(response, ANSWER_BYTES_MAX).await.map(drop)
    }

    /// Sends a request, and hands on each line of the answer, which has no other limit than that of
    /// a line.
    ///
    /// # Errors
    /// See [`ClientError`], and those of `each`.
    pub async fn lines<E: From<ClientError>>(
        &self,
        call: &ApiCall,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut response = self.send(call).await?;
        let mut line = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            for piece in chunk.split_inclusive(|b| *b == b'\n') {
                line.extend_from_slice(piece);
                if line.len() > LINE_BYTES_MAX {
                    return Err(self
                        .unreadable(&format!("a line of more than {LINE_BYTES_MAX} bytes"))
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
            Err(self.unreadable("it ends within a line").into())
        }
    }

    /// Sends a request, again if it may, and gives the answer, of which only the header was read.
    /// It is a success.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn send(&self, call: &ApiCall) -> Result<Response, ClientError> {
        let mut pause = PAUSE;
        for attempt in 1.. {
            let (error, asked) = match self.send_once(call).await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let asked = retry_after(response.headers());
                    (self.read_error(response).await, asked)
                }
                Err(error) => (error, None),
            };
            let may_again =
                error.never_reached_server() || call.is_repeatable && error.is_transient();
            if !may_again || attempt >= ATTEMPTS_MAX {
                return Err(error);
            }
            debug!(attempt, path = call.path, "asked once more");
            sleep(asked.unwrap_or(pause).min(PAUSE_MAX)).await;
            pause *= 2;
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
        let silent = |_| ClientError::NoAnswer {
            server: self.server.to_string(),
            seconds: call.answer_timeout.as_secs(),
        };
        let sent = timeout(call.answer_timeout, request.send())
            .await
            .map_err(silent)?;
        sent.map_err(|cause| ClientError::from_send_error(&self.server, cause))
    }

    /// A request with the token.
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

    /// The next piece of an answer; `None` behind the last.
    pub(super) async fn chunk(
        &self,
        response: &mut Response,
    ) -> Result<Option<bytes::Bytes>, ClientError> {
        let server = || self.server.to_string();
        let silent = |_| ClientError::NoAnswer {
            server: server(),
            seconds: IDLE_TIMEOUT.as_secs(),
        };
        let chunk = timeout(IDLE_TIMEOUT, response.chunk())
            .await
            .map_err(silent)?;
        chunk.map_err(|cause| ClientError::ConnectionLost {
            server: server(),
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
            if body.len() + chunk.len() > bytes_max {
                return Err(self.unreadable(&format!("more than {bytes_max} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// Why an answer is no success.
    pub(super) async fn read_error(&self, response: Response) -> ClientError {
        let (server, status) = (self.server.to_string(), response.status());
        if status.is_redirection() {
            let to = response
                .headers()
                .get(LOCATION)
                .and_then(|to| to.to_str().ok())
                .unwrap_or("nowhere")
                .to_owned();
            return ClientError::Redirect { server, to };
        }
        if status == StatusCode::UNAUTHORIZED {
            return ClientError::Unauthenticated { server };
        }
        let body = self
            .read_body(response, PROBLEM_BYTES_MAX)
            .await
            .unwrap_or_default();
        match serde_json::from_slice::<ProblemDetails>(&body) {
            Ok(problem) => ClientError::Refused { server, problem },
            Err(_) if is_gateway_error(status) => {
                let detail = format!("{status}, says what stands before it: try again");
                ClientError::Refused {
                    server,
                    problem: ProblemDetails {
                        code: "unavailable".to_owned(),
                        detail,
                        ..ProblemDetails::default()
                    },
                }
            }
            Err(_) => self.unreadable(status.as_str()),
        }
    }

    pub(super) fn unreadable(&self, what: &str) -> ClientError {
        ClientError::UnreadableAnswer {
            server: self.server.to_string(),
            what: safe(what),
        }
    }
}

/// What a proxy says of a server that is away.
fn is_gateway_error(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// The seconds of a header `Retry-After`. It may have a date instead, which our servers never give.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn read_ca_certificates(path: &Path) -> Result<Vec<Certificate>, ClientError> {
    let pem = std::fs::read(path).map_err(|cause| ClientError::File {
        path: path.to_owned(),
        cause,
    })?;
    let unfit = |cause| ClientError::CaFile {
        path: path.to_owned(),
        cause,
    };
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|cause| unfit(Some(cause)))?;
    if certificates.is_empty() {
        Err(unfit(None))
    } else {
        Ok(certificates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_ask_for_a_pause() {
        let of = |value: &'static str| {
            retry_after(&HeaderMap::from_iter([(
                RETRY_AFTER,
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(of("5"), Some(Duration::from_secs(5)));
        assert_eq!(of("Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn only_what_may_be_done_twice_is_sent_again() {
        let declare = || ApiCall::post("v1/incidents", &serde_json::json!({}));
        assert!(ApiCall::get("x").is_repeatable && ApiCall::delete("x").is_repeatable);
        assert!(!declare().is_repeatable && !ApiCall::patch("x", &()).is_repeatable);
        assert!(declare().idempotency_key("k").expect("a key").is_repeatable);
        assert!(declare().idempotency_key("a\nb").is_none());
    }
}
