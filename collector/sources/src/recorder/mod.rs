//! The HTTP client of all sources: sends requests, records every exchange, and obeys rate limits.
//!
//! Each exchange, including failed and repeated ones, becomes WARC records in the recorder's buffer
//! as soon as it ends, with credentials removed; [`super::context::CaptureContext::persist`] makes
//! them durable. The recorder keeps within the provider's limits ([`quota`]) and repeats requests
//! that failed for a transient reason ([`retry`]). It counts nothing: a step's coverage is counted
//! from the records when they are sealed.

mod attempts;
mod aws_clock;
mod body_filter;
mod clients;
mod message;
mod parts;
mod policy;
mod quota;
mod redact;
mod redirect;
pub(super) mod render;
mod retry;
mod secrets;
mod server_certificate;
mod stream;
#[cfg(test)]
mod tests;
mod tokens;
mod transport;
mod trust;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use evidence_format::coverage::GapReason;
use evidence_format::warc::{self, RecordId, RecordIds, TruncationReason, WarcHeader};
use http::{Request, Response};
use tokio_util::sync::CancellationToken;

pub(crate) use body_filter::REMOVED;
pub use body_filter::{BodyFilter, HiddenValue};
pub use clients::RecorderService;
pub use parts::{RecordedPart, StreamedResponse};
pub use policy::RequestPolicy;
pub(crate) use quota::RESERVED_PERCENT;
pub use quota::{QuotaKey, RequestRate};
pub(crate) use redact::is_credential_parameter;
pub use retry::{ResponseClassifier, RetryDecision};
pub use secrets::Secrets;
pub use stream::StreamError;
pub use transport::Transport;
pub use trust::{TlsTrust, TransportError, TrustedRoots};

use attempts::RequestAttempts;
use quota::TokenBucket;
use transport::HttpExchange;

/// Why a request has no usable response.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The step was stopped: its deadline passed, or a person stopped the pass.
    #[error("stopped")]
    Stopped {
        /// True if the request was waiting for the provider's rate limit.
        throttled: bool,
    },
    /// The recorder does not try again.
    #[error("{detail} ({attempts} attempts)")]
    GaveUp {
        /// For the gap.
        reason: GapReason,
        /// What the last attempt failed with.
        detail: String,
        attempts: u32,
        /// If the body was longer than the policy allows: what of it was recorded.
        too_large: Option<TruncatedBody>,
    },
}

/// How much of a body was recorded that was longer than the policy allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TruncatedBody {
    pub bytes_kept: u64,
    /// Bytes of the whole body, if the server stated it.
    pub bytes_declared: Option<u64>,
}

impl CallError {
    /// Finds this error among the causes of a client library's error.
    #[must_use]
    pub(crate) fn find<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            // some clients share their cause in an `Arc`, which hides its type
            let found = error
                .downcast_ref()
                .or_else(|| error.downcast_ref::<Arc<Self>>().map(AsRef::as_ref));
            if found.is_some() {
                return found;
            }
            cause = error.source();
        }
        None
    }
}

/// Records that are not persisted yet.
struct RecordBuffer {
    warc: Vec<u8>,
    ids: RecordIds,
}

impl RecordBuffer {
    fn new(seed: [u8; 8]) -> Self {
        Self {
            warc: Vec::new(),
            ids: RecordIds::new(seed),
        }
    }

    /// Appends a record whose block is the concatenation of `block`.
    fn write(&mut self, header: &WarcHeader<'_>, block: &[&[u8]]) -> RecordId {
        warc::write_record_parts(&mut self.warc, header, &mut self.ids, block)
            .expect("the URI is bounded, and all other fields are short")
    }
}

/// Sends requests and records them. Cheap to clone; clones share one buffer.
#[derive(Clone)]
pub struct Recorder {
    transport: Arc<Transport>,
    policy: Arc<RequestPolicy>,
    /// `None` if nothing is to be recorded.
    buffer: Option<Arc<Mutex<RecordBuffer>>>,
    /// True if the bodies of all exchanges are left out of the records.
    withholds_bodies: bool,
    stop: CancellationToken,
}

impl Recorder {
    /// A recorder for one step. Record ids are derived from `seed`, which must be random and must
    /// not be used twice. Once `stop` is cancelled, all calls fail.
    #[must_use]
    pub fn new(
        transport: Arc<Transport>,
        policy: RequestPolicy,
        seed: [u8; 8],
        stop: CancellationToken,
    ) -> Self {
        Self {
            transport,
            policy: Arc::new(policy),
            buffer: Some(Arc::new(Mutex::new(RecordBuffer::new(seed)))),
            withholds_bodies: false,
            stop,
        }
    }

    /// The same recorder and buffer, for requests under another policy.
    #[must_use]
    pub(crate) fn with_policy(&self, policy: RequestPolicy) -> Self {
        Self {
            policy: Arc::new(policy),
            ..self.clone()
        }
    }

    /// The same recorder with a separate buffer, for a part of the step that is persisted
    /// independently of other parts. For `seed` see [`Self::new`].
    #[must_use]
    pub(crate) fn with_own_buffer(&self, seed: [u8; 8]) -> Self {
        Self {
            buffer: Some(Arc::new(Mutex::new(RecordBuffer::new(seed)))),
            ..self.clone()
        }
    }

    /// The same recorder and buffer, and a token that stops its requests and no others. They stop
    /// with this recorder's, too.
    #[must_use]
    pub(crate) fn with_own_stop(&self) -> (Self, CancellationToken) {
        let stop = self.stop.child_token();
        let recorder = Self {
            stop: stop.clone(),
            ..self.clone()
        };
        (recorder, stop)
    }

    /// The same recorder, but nothing is recorded: for checks of readiness, and for client
    /// libraries that fetch credentials. Quotas, retries and the registration of secrets stay the
    /// same.
    #[must_use]
    pub fn without_recording(&self) -> Self {
        Self {
            buffer: None,
            ..self.clone()
        }
    }

    /// Sends a request that is answered with credentials. The exchange is recorded without its
    /// bodies, and the credentials in the response are masked in all further records.
    ///
    /// # Errors
    /// See [`Self::call`].
    pub async fn fetch_token(&self, request: Request<Bytes>) -> Result<Response<Bytes>, CallError> {
        let withholding = Self {
            withholds_bodies: true,
            ..self.clone()
        };
        withholding.call(request).await
    }

    /// Our own credentials: what is leased here is masked in all records.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.transport.secrets
    }

    /// The policy of this recorder's requests.
    #[must_use]
    pub fn policy(&self) -> &RequestPolicy {
        &self.policy
    }

    #[must_use]
    pub(crate) fn transport(&self) -> &Arc<Transport> {
        &self.transport
    }

    /// Sends `request` until it is answered, and records each attempt.
    ///
    /// # Errors
    /// See [`CallError`]. A response with an error status that no retry would change, such as 403,
    /// is returned: the client library reads it.
    pub async fn call(&self, request: Request<Bytes>) -> Result<Response<Bytes>, CallError> {
        let mut attempts = RequestAttempts::new(self, request)?;
        loop {
            let open = attempts.next_response().await?;
            if let Some(response) = attempts.finish(open).await? {
                return Ok(response);
            }
        }
    }

    /// Takes the records that were buffered since the last call.
    pub(super) fn take_buffered(&self) -> Vec<u8> {
        match &self.buffer {
            Some(buffer) => std::mem::take(&mut lock(buffer).warc),
            None => Vec::new(),
        }
    }

    /// Waits for `work`; `None` if the recorder is stopped first.
    pub(crate) async fn until_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.stop.run_until_cancelled(work).await
    }

    fn classify(&self, exchange: &HttpExchange) -> RetryDecision {
        let Some(response) = &exchange.response else {
            return RetryDecision::Transient(GapReason::Unreachable);
        };
        match response.truncated {
            // it would be as long the next time
            Some(TruncationReason::Length) => RetryDecision::Permanent(GapReason::TooLarge),
            Some(
                TruncationReason::Time
                | TruncationReason::Disconnect
                | TruncationReason::Unspecified,
            ) => RetryDecision::Transient(GapReason::Malformed),
            None => (self.policy.classify)(response.status, &response.headers, &response.body)
                .unwrap_or_else(|| retry::classify_by_status(response.status, &response.headers)),
        }
    }

    fn bucket(&self) -> Arc<TokenBucket> {
        let policy = &self.policy;
        let quotas = &self.transport.quotas;
        quotas.bucket(&policy.endpoint_key(), policy.rate)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("quota", &self.policy.quota)
            .finish_non_exhaustive()
    }
}

fn lock(buffer: &Mutex<RecordBuffer>) -> MutexGuard<'_, RecordBuffer> {
    buffer.lock().unwrap_or_else(PoisonError::into_inner)
}
