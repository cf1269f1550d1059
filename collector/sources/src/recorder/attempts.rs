//! One request and its attempts: waits for the quota, sends, records, and decides whether to
//! repeat.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use evidence_format::coverage::GapReason;
use evidence_format::time::Timestamp;
use evidence_format::warc::TruncationReason;
use http::{Request, Response, Uri, header};

use super::quota::{self, SendPermit};
use super::redirect::RequestedUri;
use super::render::{self, AttemptInfo, WithheldBodies};
use super::retry::{self, RetryDecision};
use super::tokens::{self, FoundSecret};
use super::transport::{self, HttpExchange, ReceivedResponse, ResponseBody};
use super::{CallError, Recorder, lock};
use platform::{clock, random_fraction};

/// The outcome of an exchange that a stop interrupted.
const STOPPED: &str = "stopped";

pub(super) struct RequestAttempts<'r> {
    recorder: &'r Recorder,
    pub(super) request: Request<Bytes>,
    client: reqwest::Client,
    /// The current attempt; 1 is the first.
    pub(super) attempt: u32,
    /// True if the provider's limit delays the request.
    throttled: bool,
}

/// An attempt whose response has begun. It counts as on its way until it is dropped.
pub(super) struct OpenResponse {
    pub(super) sent_at: Timestamp,
    pub(super) body: ResponseBody,
    permit: SendPermit,
}

impl<'r> RequestAttempts<'r> {
    pub(super) fn new(
        recorder: &'r Recorder,
        mut request: Request<Bytes>,
    ) -> Result<Self, CallError> {
        // a compressed body could not be searched for our secrets
        request.headers_mut().remove(header::ACCEPT_ENCODING);
        let host = request.uri().host().unwrap_or_default();
        let client = recorder.transport.client(&recorder.policy.trust, host);
        let client = client.map_err(|cause| CallError::GaveUp {
            reason: GapReason::Unreachable,
            detail: platform::chain(&cause),
            attempts: 0,
            too_large: None,
        })?;
        Ok(Self {
            recorder,
            request,
            client,
            attempt: 0,
            throttled: false,
        })
    }

    /// Sends the request until a response begins.
    pub(super) async fn next_response(&mut self) -> Result<OpenResponse, CallError> {
        let recorder = self.recorder;
        loop {
            self.attempt += 1;
            let mut permit = self.wait_for_permit().await?;
            let sent_at = clock::now();
            let certificates = &recorder.transport.certificates;
            let policy = &recorder.policy;
            let sending = transport::send(&self.client, &self.request, policy, certificates);
            match recorder.until_stopped(sending).await {
                Some(Ok(body)) => {
                    permit.mark_answered();
                    let quotas = &recorder.transport.quotas;
                    let headers = &body.head.headers;
                    quotas.observe(
                        &policy.endpoint_key(),
                        policy.rate,
                        &permit,
                        headers,
                        SystemTime::now(),
                    );
                    return Ok(OpenResponse {
                        sent_at,
                        body,
                        permit,
                    });
                }
                Some(Err(failure)) => {
                    drop(permit);
                    self.conclude(HttpExchange::failed(sent_at, failure))
                        .await?;
                }
                None => {
                    // it may have reached the provider, so it is recorded as well
                    let failure = "stopped before a response came".to_owned();
                    return Err(self.stopped(HttpExchange::failed(sent_at, failure)));
                }
            }
        }
    }

    /// Reads the rest of a response, and concludes its attempt.
    pub(super) async fn finish(
        &mut self,
        open: OpenResponse,
    ) -> Result<Option<Response<Bytes>>, CallError> {
        let OpenResponse {
            sent_at,
            mut body,
            permit,
        } = open;
        let read = body.read(&self.recorder.policy);
        let Some(truncated) = self.recorder.until_stopped(read).await else {
            let received = body.into_received(Some(TruncationReason::Time));
            return Err(self.stopped(HttpExchange::answered(sent_at, received)));
        };
        drop(permit);
        let received = body.into_received(truncated);
        self.conclude(HttpExchange::answered(sent_at, received))
            .await
    }

    /// Records an attempt, and waits if it is to be repeated. Returns the response if there is
    /// nothing to repeat.
    pub(super) async fn conclude(
        &mut self,
        exchange: HttpExchange,
    ) -> Result<Option<Response<Bytes>>, CallError> {
        let decision = self.recorder.classify(&exchange);
        self.record(&exchange, decision.as_str());
        let headers = exchange.response.as_ref().map(|response| &response.headers);
        let requested_wait =
            headers.and_then(|headers| quota::retry_after(headers, SystemTime::now()));
        let is_exhausted = headers.is_some_and(quota::is_exhausted);
        let unstated = if is_exhausted {
            Duration::ZERO // the reset is stated, and the quota waits for it
        } else {
            self.recorder.policy.throttled_wait
        };
        let attempt = self.attempt;
        let delay = retry::delay(
            decision,
            attempt,
            requested_wait,
            unstated,
            random_fraction(),
        );
        let Some(delay) = delay else {
            return into_result(self.request.uri(), exchange, decision, self.attempt).map(Some);
        };
        self.throttled = decision == RetryDecision::Throttled;
        if self.throttled {
            // The limit holds for all requests of this quota, so all of them wait for a permit.
            self.recorder.bucket().pause(delay);
            // With requests left of its own limit, it was that of all requests to the account.
            let quotas = &self.recorder.transport.quotas;
            if !is_exhausted && let Some(shared) = quotas.shared_bucket(&self.recorder.policy.quota)
            {
                shared.pause(delay);
            }
        } else {
            let waited = self.recorder.until_stopped(tokio::time::sleep(delay)).await;
            waited.ok_or(CallError::Stopped { throttled: false })?;
        }
        Ok(None)
    }

    /// Records an attempt that a stop interrupted.
    pub(super) fn stopped(&self, exchange: HttpExchange) -> CallError {
        self.record(&exchange, STOPPED);
        CallError::Stopped {
            throttled: self.throttled,
        }
    }

    /// Which bodies of an exchange are credentials. What they contain is masked from now on.
    pub(super) fn withhold_credentials(
        &self,
        response: Option<&ReceivedResponse>,
    ) -> WithheldBodies {
        let (request, now) = (&self.request, SystemTime::now());
        let all = self.recorder.withholds_bodies;
        let withheld = WithheldBodies {
            request: all || tokens::request_has_credentials(request),
            response: all
                || response.is_some_and(|response| {
                    tokens::response_has_credentials(request, &response.body)
                }),
        };
        let mut found = Vec::new();
        if withheld.request {
            found.extend(tokens::secrets_of_request(request.body(), now));
        }
        if let Some(response) = response {
            found.extend(tokens::secrets_of_location(&response.headers, now));
            if withheld.response {
                found.extend(tokens::secrets_of_response(&response.body, now));
            }
        }
        for FoundSecret { secret, until } in found {
            self.recorder.transport.secrets.lease(&secret, until);
        }
        withheld
    }

    async fn wait_for_permit(&mut self) -> Result<SendPermit, CallError> {
        let policy = &self.recorder.policy;
        let endpoint = policy.endpoint_key();
        let quotas = &self.recorder.transport.quotas;
        let waiting = quotas.permit(&endpoint, policy.rate, policy.rank);
        let Some(permit) = self.recorder.until_stopped(waiting).await else {
            return Err(CallError::Stopped {
                throttled: self.throttled || self.recorder.bucket().is_throttled(),
            });
        };
        self.throttled |= permit.was_throttled;
        Ok(permit)
    }

    fn record(&self, exchange: &HttpExchange, outcome: &'static str) {
        // also without a buffer: what is learned here is masked in the records of others
        let withheld = self.withhold_credentials(exchange.response.as_ref());
        let Some(buffer) = &self.recorder.buffer else {
            return;
        };
        let mut buffer = lock(buffer);
        let info = self.attempt_info(outcome, withheld);
        render::write_exchange(&mut buffer, &self.request, exchange, info);
    }

    /// What the records of this attempt say about it.
    pub(super) fn attempt_info(
        &self,
        outcome: &'static str,
        withheld: WithheldBodies,
    ) -> AttemptInfo<'r> {
        AttemptInfo {
            endpoint: self.recorder.policy.endpoint,
            attempt: self.attempt,
            outcome,
            withheld,
            body_filter: self.recorder.policy.body_filter,
            secrets: &self.recorder.transport.secrets,
        }
    }
}

/// What the client library gets of an exchange that is not repeated.
fn into_result(
    uri: &Uri,
    exchange: HttpExchange,
    decision: RetryDecision,
    attempts: u32,
) -> Result<Response<Bytes>, CallError> {
    match (decision, exchange.response) {
        (RetryDecision::Answered, Some(received)) => Ok(into_response(uri, received)),
        (RetryDecision::Transient(reason) | RetryDecision::Permanent(reason), received) => {
            let too_large = received.as_ref().and_then(ReceivedResponse::too_large);
            let detail = received.map_or(exchange.failure, |received| match received.truncated {
                Some(TruncationReason::Length) => {
                    format!("the response is longer than {} bytes", received.body.len())
                }
                Some(
                    TruncationReason::Time
                    | TruncationReason::Disconnect
                    | TruncationReason::Unspecified,
                ) => "the response was cut off".to_owned(),
                None => format!("answered with {}", received.status),
            });
            Err(CallError::GaveUp {
                reason,
                detail,
                attempts,
                too_large,
            })
        }
        (RetryDecision::Throttled, _) => unreachable!("a throttled request is always repeated"),
        (RetryDecision::Answered, None) => unreachable!("only a response counts as answered"),
    }
}

pub(super) fn into_response(uri: &Uri, received: ReceivedResponse) -> Response<Bytes> {
    let mut response = Response::new(received.body);
    *response.status_mut() = received.status;
    *response.headers_mut() = received.headers;
    response.extensions_mut().insert(RequestedUri(uri.clone()));
    response
}
