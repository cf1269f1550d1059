//! Stand-ins for providers with a REST API: GitHub, GitLab, Kubernetes and Okta, each on a loopback
//! port of its own. They share no code with the product.
//!
//! Each has a small world of records with the providers' own shapes ([`github`], [`gitlab`],
//! [`kubernetes`], [`okta`]), keeps its provider's published quotas and announces them as the
//! provider does ([`quota`]), checks credentials, misbehaves on request ([`Behaviour`]), and keeps
//! a record of everything that it was asked.

pub mod github;
pub mod gitlab;
pub mod kubernetes;
pub mod okta;
mod query;
pub mod quota;

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::acceptor::Acceptor;
use crate::aws::http;
pub use query::RestRequest;
use quota::QuotaState;
pub use quota::{Dialect, Quota};

/// A provider's side of the conversation.
pub trait RestProvider: Send + Sync + 'static {
    /// The answer to an authenticated request.
    fn answer(&self, request: &RestRequest) -> RestResponse;

    /// True if `request` has a valid credential, or needs none.
    fn accepts(&self, request: &RestRequest) -> bool;

    /// The quota that `request` counts against, as an index of [`Self::quotas`].
    fn quota_of(&self, request: &RestRequest) -> Option<usize>;

    fn quotas(&self) -> Vec<Quota>;
}

/// What a double does beside answering.
#[derive(Clone, Copy, Debug, Default)]
pub struct Behaviour {
    /// Time before each answer.
    pub latency: Duration,
    /// Never answers again after this many requests.
    pub hangs_after: Option<usize>,
    /// Repeats the caller's credential in bodies and header fields, as careless servers do, in
    /// several encodings.
    pub echoes_credentials: bool,
    /// Rejects the first request for each page with 401, and some with 500.
    pub fails_first: bool,
    /// Ignores quotas.
    pub is_unlimited: bool,
}

impl Behaviour {
    /// True if the request with this number is not answered.
    fn hangs_at(&self, index: usize) -> bool {
        self.hangs_after.is_some_and(|answered| index >= answered)
    }
}

#[derive(Debug)]
pub struct RestResponse {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl RestResponse {
    #[must_use]
    pub fn json(body: &Value) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        }
    }

    #[must_use]
    pub fn text(body: String) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", "text/plain; charset=utf-8".to_owned())],
            body: body.into_bytes(),
        }
    }

    #[must_use]
    pub fn error(status: u16, message: &str) -> Self {
        Self {
            status,
            ..Self::json(&json!({"message": message}))
        }
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// A request as a double has seen it.
#[derive(Clone, Debug)]
pub struct RestRecord {
    /// When it arrived.
    pub at: Instant,
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The name of the quota that it counted against.
    pub quota: Option<&'static str>,
    /// The status of the answer; 0 if there was none.
    pub status: u16,
    /// The `x-request-id` of the answer.
    pub request_id: String,
    /// True once all of the answer was written to the connection.
    pub is_served: bool,
    /// The incident in the user agent; absent in checks of readiness.
    pub incident: Option<String>,
}

/// A running double, stopped on drop.
pub struct RestDouble {
    service: Arc<DoubleService>,
    acceptor: Acceptor,
}

struct DoubleService {
    provider: Box<dyn RestProvider>,
    behaviour: Behaviour,
    begun_at: Instant,
    name: &'static str,
    state: Mutex<DoubleState>,
}

struct DoubleState {
    quotas: Vec<QuotaState>,
    records: Vec<RestRecord>,
    /// Targets that were asked for at least once.
    seen: HashSet<String>,
    /// Credentials that were presented, whether or not they were accepted.
    credentials: BTreeSet<String>,
}

impl RestDouble {
    /// Starts a double on its own thread. It accepts connections when this returns. `name` begins
    /// its request ids.
    ///
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn start(name: &'static str, provider: impl RestProvider, behaviour: Behaviour) -> Self {
        let begun_at = Instant::now();
        let quotas = provider.quotas().into_iter();
        let service = Arc::new(DoubleService {
            behaviour,
            begun_at,
            name,
            state: Mutex::new(DoubleState {
                quotas: quotas.map(QuotaState::new).collect(),
                records: Vec::new(),
                seen: HashSet::new(),
                credentials: BTreeSet::new(),
            }),
            provider: Box::new(provider),
        });
        let theirs = Arc::clone(&service);
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let acceptor = Acceptor::start(any_port, move |stream| serve(stream, Arc::clone(&theirs)));
        Self { service, acceptor }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.acceptor.address)
    }

    #[must_use]
    pub fn begun_at(&self) -> Instant {
        self.service.begun_at
    }

    /// All requests so far, in the order of their arrival.
    #[must_use]
    pub fn records(&self) -> Vec<RestRecord> {
        self.service.state().records.clone()
    }

    /// All credentials that were presented so far: tokens, passwords, signed assertions.
    #[must_use]
    pub fn credentials(&self) -> BTreeSet<String> {
        self.service.state().credentials.clone()
    }

    /// How many requests arrived so far.
    #[must_use]
    pub fn request_count(&self) -> usize {
        self.service.state().records.len()
    }

    /// Each quota's name, and what it allows in the time `since` the double was started.
    #[must_use]
    pub fn allowances(&self, from: Duration, until: Duration) -> Vec<(&'static str, f64)> {
        let state = self.service.state();
        let quotas = state.quotas.iter();
        quotas
            .map(|quota| (quota.name(), quota.allowed(from, until)))
            .collect()
    }
}

/// Serves one connection until it is closed.
async fn serve(mut stream: TcpStream, service: Arc<DoubleService>) {
    let _ = stream.set_nodelay(true);
    let mut rest = Vec::new();
    while let Ok(Some(request)) = http::read(&mut stream, &mut rest).await {
        let request = RestRequest::new(request);
        let (index, response) = service.handle(&request);
        if service.behaviour.hangs_at(index) {
            std::future::pending::<()>().await;
        }
        if !service.behaviour.latency.is_zero() {
            tokio::time::sleep(service.behaviour.latency).await;
        }
        if stream.write_all(&bytes_of(&response)).await.is_err() {
            return;
        }
        service.state().records[index].is_served = true;
    }
}

fn bytes_of(response: &RestResponse) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {} Status\r\n", response.status).into_bytes();
    for (name, value) in &response.headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    let length = response.body.len();
    bytes.extend_from_slice(format!("content-length: {length}\r\n\r\n").as_bytes());
    bytes.extend_from_slice(&response.body);
    bytes
}

impl DoubleService {
    fn state(&self) -> MutexGuard<'_, DoubleState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer, and the index of its record.
    fn handle(&self, request: &RestRequest) -> (usize, RestResponse) {
        let at = Instant::now();
        let quota = self.provider.quota_of(request);
        let (refusal, announced, is_first) = {
            let mut state = self.state();
            state.credentials.extend(request.all_credentials());
            let is_first = state
                .seen
                .insert(format!("{} {}", request.method, request.target));
            let counted = quota.map(|index| state.quotas[index].count(at - self.begun_at));
            match counted.filter(|_| !self.behaviour.is_unlimited) {
                Some(counted) => (counted.refusal, counted.headers, is_first),
                None => (None, Vec::new(), is_first),
            }
        };
        let credentials = request.all_credentials();
        let credential = credentials.first().cloned().unwrap_or_default();
        let mut response = match refusal {
            Some(refusal) => refusal,
            None if !self.provider.accepts(request) => RestResponse::error(401, "Bad credentials"),
            None if self.behaviour.fails_first && is_first => {
                let status = if request.target.len().is_multiple_of(5) {
                    500
                } else {
                    401
                };
                RestResponse::error(status, &format!("not with the token {credential}"))
            }
            None => self.provider.answer(request),
        };
        response.headers.extend(announced);
        if self.behaviour.echoes_credentials {
            for credential in &credentials {
                echo(&mut response, credential);
            }
        }
        let mut state = self.state();
        let index = state.records.len();
        let request_id = format!("{}-{index:08}", self.name);
        response.headers.push(("x-request-id", request_id.clone()));
        response.headers.push(("date", quota::http_date()));
        let hangs = self.behaviour.hangs_at(index);
        let status = if hangs { 0 } else { response.status };
        let name = quota.map(|index| state.quotas[index].name());
        state.records.push(RestRecord {
            at,
            method: request.method.clone(),
            target: request.target.clone(),
            quota: name,
            status,
            request_id,
            is_served: false,
            incident: request.incident(),
        });
        (index, response)
    }
}

/// Puts `credential` where careless servers and proxies put it: a header field, a link, a member of
/// the body, and that as it is, in base64, in hexadecimal and percent-encoded.
fn echo(response: &mut RestResponse, credential: &str) {
    let percent: String = url::form_urlencoded::byte_serialize(credential.as_bytes()).collect();
    let forms = [
        credential.to_owned(),
        BASE64.encode(credential.as_bytes()),
        HEXLOWER.encode(credential.as_bytes()),
        percent,
    ];
    let link = format!("</debug?trace={}>; rel=\"debug\"", forms[3]);
    response
        .headers
        .push(("x-debug-authorization", forms[0].clone()));
    response.headers.push(("x-debug-base64", forms[1].clone()));
    response.headers.push(("x-debug-hex", forms[2].clone()));
    response.headers.push(("x-debug-link", link));
    match serde_json::from_slice(&response.body) {
        Ok(Value::Object(mut members)) => {
            members.insert(format!("debug{}", members.len()), json!({"echo": forms}));
            response.body = Value::Object(members).to_string().into_bytes();
        }
        Ok(Value::Array(mut elements)) => {
            for element in elements.iter_mut().filter_map(Value::as_object_mut) {
                element.insert(format!("debug{}", element.len()), json!({"echo": forms}));
            }
            response.body = Value::Array(elements).to_string().into_bytes();
        }
        Ok(_) | Err(_) => {
            for form in forms {
                response.body.extend_from_slice(
                    format!("2026-11-27T10:00:00.000000000Z + curl -H 'Authorization: {form}'\n")
                        .as_bytes(),
                );
            }
        }
    }
}
