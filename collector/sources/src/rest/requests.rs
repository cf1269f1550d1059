//! Builds, signs and sends the requests of a walk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use tokio::sync::Mutex;
use url::Url;

use super::access::{ProviderAccess, SignError};
use super::endpoint::{Endpoint, PAGE_BYTES_MAX, Paging, RedirectRule};
use super::source::RestSource;
use super::template::{self, Encoding, Names, TemplateError};
use crate::Incomplete;
use crate::config::SourcesConfig;
use crate::recorder::{
    CallError, QuotaKey, RecordedPart, Recorder, RequestPolicy, RequestRate, ResponseClassifier,
    StreamError, StreamedResponse,
};
use evidence_format::coverage::{EndReason, GapReason};
use evidence_format::id::IncidentId;

/// Sends requests to one target.
pub(crate) struct Requester<'a> {
    pub(crate) provider: &'static str,
    pub(crate) access: &'a ProviderAccess,
    pub(crate) classify: ResponseClassifier,
    throttled_wait: Duration,
    /// See [`RequestPolicy::rank`].
    pub(crate) rank: u32,
    /// Longest body of lines or opaque bytes, unless the endpoint says otherwise.
    pub(crate) object_bytes_max: u64,
    config: &'a SourcesConfig,
    /// So that the provider's log tells our requests from those of others.
    user_agent: HeaderValue,
    /// Raised when credentials are renewed: requests that were signed before do not renew them
    /// again.
    generation: AtomicU64,
    renewing: Mutex<()>,
}

/// One request of a walk.
pub(crate) struct PageRequest<'r> {
    pub(crate) endpoint: &'static Endpoint,
    pub(crate) names: &'r Names,
    /// What a pivot adds to the path, or the path that polling uses instead.
    pub(crate) path: &'r str,
    /// Position of the page; `None` is the first.
    pub(crate) position: Option<&'r str>,
}

/// A request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error(transparent)]
    Call(CallError),
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Only for this request: a record has a value that cannot be asked for.
    #[error(transparent)]
    Template(#[from] TemplateError),
    #[error("cannot build the request: {0}")]
    Build(String),
    /// A part of the answer could not be persisted.
    #[error("cannot persist the answer")]
    Persist(Incomplete),
}

impl From<StreamError<Incomplete>> for RequestError {
    fn from(error: StreamError<Incomplete>) -> Self {
        match error {
            StreamError::Call(error) => Self::Call(error),
            StreamError::Part(incomplete) => Self::Persist(incomplete),
        }
    }
}

impl RequestError {
    /// What the error means for the step; `operation` is the endpoint's id.
    pub(crate) fn incomplete(self, operation: &str) -> Incomplete {
        let failed = |reason, what: String| Incomplete {
            ended: EndReason::Failed,
            reason,
            what: format!("{operation}: {what}"),
        };
        match self {
            Self::Persist(incomplete) => incomplete,
            Self::Call(error) | Self::Sign(SignError::Call(error)) => {
                Incomplete::from_call_error(&error, operation)
            }
            Self::Sign(SignError::Unusable(what)) => failed(GapReason::Unauthenticated, what),
            Self::Template(error) => failed(GapReason::Malformed, error.to_string()),
            Self::Build(what) => failed(GapReason::Malformed, what),
        }
    }
}

impl<'a> Requester<'a> {
    pub(crate) fn new(
        source: &dyn RestSource,
        access: &'a ProviderAccess,
        config: &'a SourcesConfig,
        incident: Option<&IncidentId>,
    ) -> Self {
        let agent = incident.map_or("exhibit".to_owned(), |incident| {
            format!("exhibit-{incident}")
        });
        Self {
            provider: source.provider(),
            access,
            classify: source.classifier(),
            throttled_wait: source.throttled_wait(),
            rank: 0,
            object_bytes_max: PAGE_BYTES_MAX,
            config,
            user_agent: HeaderValue::try_from(agent).expect("ids of incidents are ASCII"),
            generation: AtomicU64::new(0),
            renewing: Mutex::new(()),
        }
    }

    /// Sends `request`, signed. Credentials that the provider rejects are renewed once. Returns the
    /// answer and the URL that was asked. `persist` is called after each part of a streamed body.
    pub(crate) async fn send<P>(
        &self,
        recorder: &Recorder,
        request: &PageRequest<'_>,
        persist: impl Fn() -> P,
    ) -> Result<(Response<Bytes>, Url), RequestError>
    where
        P: Future<Output = Result<(), Incomplete>>,
    {
        let url = self.url(request)?;
        let recorder = recorder.with_policy(self.policy(request.endpoint));
        let mut is_retry = false;
        loop {
            let generation = self.generation.load(Ordering::SeqCst);
            let http = self.signed(request, &url, &recorder).await?;
            let response = self
                .exchange(&recorder, request.endpoint, http, &persist)
                .await?;
            if response.status() != StatusCode::UNAUTHORIZED || is_retry {
                return Ok((response, url));
            }
            is_retry = true;
            self.renew(generation).await;
        }
    }

    /// Sends `request` like [`Self::send`], for a body that the caller asks for again where it broke
    /// off. `on_part` gets each part but the last, which is in the answer.
    pub(crate) async fn stream<F, P>(
        &self,
        recorder: &Recorder,
        request: &PageRequest<'_>,
        mut on_part: F,
    ) -> Result<StreamedResponse, RequestError>
    where
        F: FnMut(RecordedPart) -> P,
        P: Future<Output = Result<(), Incomplete>>,
    {
        let url = self.url(request)?;
        let recorder = recorder.with_policy(RequestPolicy {
            resumes_bodies: true,
            ..self.policy(request.endpoint)
        });
        let mut is_retry = false;
        loop {
            let generation = self.generation.load(Ordering::SeqCst);
            let http = self.signed(request, &url, &recorder).await?;
            let streamed = recorder.stream(http, &mut on_part).await?;
            if streamed.response.status() != StatusCode::UNAUTHORIZED || is_retry {
                return Ok(streamed);
            }
            is_retry = true;
            self.renew(generation).await;
        }
    }

    async fn exchange<P>(
        &self,
        recorder: &Recorder,
        endpoint: &'static Endpoint,
        request: Request<Bytes>,
        persist: &impl Fn() -> P,
    ) -> Result<Response<Bytes>, RequestError>
    where
        P: Future<Output = Result<(), Incomplete>>,
    {
        let response = exchange_once(recorder, endpoint, request, persist).await?;
        let RedirectRule::FollowOnce { hosts } = endpoint.redirect else {
            return Ok(response);
        };
        let own = self.access.redirect_hosts.iter().map(String::as_str);
        let hosts: Vec<&str> = hosts.iter().copied().chain(own).collect();
        match recorder.redirect(&response, &hosts) {
            Some((recorder, request)) => exchange_once(&recorder, endpoint, request, persist).await,
            None => Ok(response),
        }
    }

    /// Makes the signer forget its credentials, unless that has happened since `generation`.
    async fn renew(&self, generation: u64) {
        let _renewing = self.renewing.lock().await;
        if self.generation.load(Ordering::SeqCst) == generation {
            self.access.signer.forget().await;
            self.generation.store(generation + 1, Ordering::SeqCst);
        }
    }

    async fn signed(
        &self,
        request: &PageRequest<'_>,
        url: &Url,
        recorder: &Recorder,
    ) -> Result<Request<Bytes>, RequestError> {
        let endpoint = request.endpoint;
        let body = post_body(request)?;
        let mut http = Request::builder()
            .method(if body.is_some() { "POST" } else { "GET" })
            .uri(url.as_str())
            .body(body.clone().map_or_else(Bytes::new, Bytes::from))
            .map_err(|cause| RequestError::Build(cause.to_string()))?;
        let headers = http.headers_mut();
        headers.insert(http::header::USER_AGENT, self.user_agent.clone());
        if body.is_some() {
            let json = HeaderValue::from_static("application/json");
            headers.insert(http::header::CONTENT_TYPE, json);
        }
        for (name, value) in endpoint.headers {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        self.access.signer.sign(&mut http, recorder).await?;
        Ok(http)
    }

    fn url(&self, request: &PageRequest<'_>) -> Result<Url, RequestError> {
        let base = self.access.base_of(request.endpoint);
        let parse = |text: &str| Url::parse(text).map_err(|e| RequestError::Build(e.to_string()));
        let filled = template::fill(request.path, request.names, Encoding::Url)?;
        let first = format!("{}{filled}", base.as_str().trim_end_matches('/'));
        let with_parameter = |name: &str, value: &str| {
            let separator = if first.contains('?') { '&' } else { '?' };
            format!(
                "{first}{separator}{name}={}",
                template::percent_encoded(value)
            )
        };
        let position = request.position;
        let url = match (request.endpoint.paging, position) {
            (Paging::Link | Paging::LinkQuery | Paging::NextUrl { .. }, Some(path)) => {
                format!("{}{path}", base.origin().ascii_serialization())
            }
            (
                Paging::TokenToParameter { parameter, .. }
                | Paging::HeaderToParameter { parameter, .. }
                | Paging::PageNumber { parameter, .. }
                | Paging::Offset { parameter, .. },
                Some(position),
            ) => with_parameter(parameter, position),
            (
                Paging::PageNumber {
                    parameter, first, ..
                },
                None,
            ) => with_parameter(parameter, &first.to_string()),
            (Paging::Offset { parameter, .. }, None) => with_parameter(parameter, "0"),
            (Paging::None | Paging::TokenToBody { .. }, _)
            | (
                Paging::Link
                | Paging::LinkQuery
                | Paging::NextUrl { .. }
                | Paging::TokenToParameter { .. }
                | Paging::HeaderToParameter { .. },
                None,
            ) => first,
        };
        parse(&url)
    }

    fn policy(&self, endpoint: &'static Endpoint) -> RequestPolicy {
        let quota = QuotaKey {
            provider: self.provider,
            account: self.access.account.clone(),
            region: String::new(),
            endpoint: endpoint.quota.name,
        };
        let default_bytes_max = if endpoint.body.is_streamed() {
            self.object_bytes_max
        } else {
            PAGE_BYTES_MAX
        };
        let shows_values = endpoint
            .hides_unless
            .is_some_and(|is_wanted| is_wanted(self.config));
        let rate = RequestRate {
            reserved_percent: self.config.reserved_percent.get(),
            ..endpoint.quota.rate
        };
        RequestPolicy {
            endpoint: endpoint.id,
            rank: self.rank,
            classify: self.classify,
            throttled_wait: self.throttled_wait,
            body_bytes_max: endpoint.body_bytes_max.unwrap_or(default_bytes_max),
            body_filter: endpoint.body_filter.filter(|_| !shows_values),
            idle_timeout: endpoint.idle_timeout,
            trust: self.access.trust.clone(),
            ..RequestPolicy::new(quota, rate)
        }
    }
}

async fn exchange_once<P>(
    recorder: &Recorder,
    endpoint: &'static Endpoint,
    request: Request<Bytes>,
    persist: &impl Fn() -> P,
) -> Result<Response<Bytes>, RequestError>
where
    P: Future<Output = Result<(), Incomplete>>,
{
    if !endpoint.body.is_streamed() {
        return recorder.call(request).await.map_err(RequestError::Call);
    }
    // a body that was cut at its limit says so in its records
    Ok(recorder.stream(request, |_| persist()).await?.response)
}

/// The body of a `POST`, with the page's token; `None` for a `GET`.
fn post_body(request: &PageRequest<'_>) -> Result<Option<String>, RequestError> {
    let Some(template) = request.endpoint.post else {
        return Ok(None);
    };
    let filled = template::fill(template, request.names, Encoding::Json)?;
    let (Paging::TokenToBody { member, .. }, Some(token)) =
        (request.endpoint.paging, request.position)
    else {
        return Ok(Some(filled));
    };
    let mut body: serde_json::Value =
        serde_json::from_str(&filled).map_err(|cause| RequestError::Build(cause.to_string()))?;
    let object = body
        .as_object_mut()
        .ok_or_else(|| RequestError::Build("the body is not an object".to_owned()))?;
    object.insert(member.to_owned(), token.into());
    Ok(Some(body.to_string()))
}
