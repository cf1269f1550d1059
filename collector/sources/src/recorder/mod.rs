//! The recorder sits under every client: it sends what they ask, writes what came over the wire,
//! and keeps within limits.
//!
//! A source decides what to ask next, and nothing else. Each exchange, failed and repeated ones
//! included, becomes WARC records in the recorder's roll the moment it ends, with credentials taken
//! out; [`super::context::Context::keep`] then makes the roll durable. The recorder obeys the
//! provider's limits ([`quota`]), repeats what may heal ([`retry`]) and measures nothing that is
//! not in the records: what a step's coverage says is read from them again when it is sealed.

mod clients;
mod quota;
mod redact;
pub(super) mod render;
mod retry;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use evidence_format::coverage::GapReason;
use evidence_format::warc::{RecordIds, TruncationReason};
use http::{Request, Response};
use tokio_util::sync::CancellationToken;

pub use clients::Service;
pub use quota::{Limit, Quotas, Rate};
pub use redact::Secrets;
pub use retry::{ResponseClassifier, RetryDecision};
pub use wire::{Transport, TransportError};

use platform::random_fraction;
use wire::Exchange;

/// Bytes of one answer that are taken: 50 CloudTrail events of 256 KiB, which is the most that each
/// may have, and room.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// Under which limit requests are sent, and how their answers are judged.
#[derive(Clone, Debug)]
pub struct RequestPolicy {
    /// The limit that they count against.
    pub limit: Limit,
    /// What it allows.
    pub rate: Rate,
    /// The provider's own words for its limits.
    pub judge: ResponseClassifier,
}

/// Why a client got no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The step's time is over, or a person stopped it.
    #[error("stopped")]
    Stopped {
        /// True if the provider's limit was used up at that time.
        throttled: bool,
    },
    /// It did not heal.
    #[error("{what} ({attempts} attempts)")]
    GaveUp {
        /// What became of it.
        reason: GapReason,
        /// In words.
        what: String,
        /// How often it was asked.
        attempts: u32,
    },
}

impl CallError {
    /// Finds this error inside of a client's own.
    #[must_use]
    pub fn find<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            // clients wrap what comes from below in a box of their own
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

/// What has been recorded and not been kept yet.
pub(super) struct RecordBuffer {
    warc: Vec<u8>,
    ids: RecordIds,
}

/// Sends requests and records them. Cheap to clone; all clones share one roll.
#[derive(Clone)]
pub struct Recorder {
    wire: Arc<Transport>,
    manner: Arc<RequestPolicy>,
    roll: Arc<Mutex<RecordBuffer>>,
    stop: CancellationToken,
}

impl Recorder {
    /// For one step. `seed` is random and used for nothing else: the records' ids come from it.
    #[must_use]
    pub fn new(
        wire: Arc<Transport>,
        manner: RequestPolicy,
        seed: [u8; 8],
        stop: CancellationToken,
    ) -> Self {
        let roll = RecordBuffer {
            warc: Vec::new(),
            ids: RecordIds::new(seed),
        };
        Self {
            wire,
            manner: Arc::new(manner),
            roll: Arc::new(Mutex::new(roll)),
            stop,
        }
    }

    /// The same roll, for requests of another kind.
    #[must_use]
    pub fn under(&self, manner: RequestPolicy) -> Self {
        Self {
            manner: Arc::new(manner),
            ..self.clone()
        }
    }

    /// A roll of its own, for a part of the step that goes on beside others.
    #[must_use]
    pub fn beside(&self, seed: [u8; 8]) -> Self {
        Self {
            roll: Arc::new(Mutex::new(RecordBuffer {
                warc: Vec::new(),
                ids: RecordIds::new(seed),
            })),
            ..self.clone()
        }
    }

    /// What all recorders share.
    #[must_use]
    pub fn wire(&self) -> &Arc<Transport> {
        &self.wire
    }

    /// Sends `request` until it is answered, and records each attempt.
    ///
    /// # Errors
    /// See [`CallError`]. An answer that refuses is no error: the client reads it.
    pub async fn call(&self, request: Request<Bytes>) -> Result<Response<Bytes>, CallError> {
        let bucket = self
            .wire
            .quotas
            .bucket(&self.manner.limit, self.manner.rate);
        let mut throttled = false;
        for attempt in 1.. {
            self.or_stop(bucket.take())
                .await
                .ok_or(CallError::Stopped { throttled })?;
            let began = Exchange::new();
            let exchange = self
                .or_stop(self.wire.exchange(&request, BODY_BYTES_MAX))
                .await;
            let stopped = exchange.is_none();
            let exchange = exchange
                .unwrap_or_else(|| began.failed("stopped before an answer came".to_owned()));
            let verdict = self.judge(&exchange);
            self.record(
                &request,
                &exchange,
                attempt,
                if stopped { "stopped" } else { verdict.as_str() },
            );
            if stopped {
                return Err(CallError::Stopped { throttled });
            }
            let headers = exchange.answer.as_ref().map(|answer| &answer.headers);
            if let Some(headers) = headers {
                bucket.learn(headers, SystemTime::now());
            }
            let asked = headers.and_then(|headers| quota::retry_after(headers, SystemTime::now()));
            let Some(wait) = retry::wait(verdict, attempt, asked, random_fraction()) else {
                return answer(exchange, verdict, attempt);
            };
            throttled = verdict == RetryDecision::Throttled;
            if throttled {
                bucket.pause(wait); // the limit is everybody's: all who share it wait
            } else {
                self.or_stop(tokio::time::sleep(wait))
                    .await
                    .ok_or(CallError::Stopped { throttled })?;
            }
        }
        unreachable!("attempts do not end by themselves")
    }

    /// Takes what has been recorded since the last time.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.roll().warc)
    }

    async fn or_stop<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.stop.run_until_cancelled(work).await
    }

    fn judge(&self, exchange: &Exchange) -> RetryDecision {
        let Some(answer) = &exchange.answer else {
            return RetryDecision::Transient(GapReason::Unreachable);
        };
        match answer.cut {
            Some(TruncationReason::Length) => RetryDecision::Hopeless(GapReason::TooLarge),
            Some(_) => RetryDecision::Transient(GapReason::Malformed),
            None => (self.manner.judge)(answer.status, &answer.headers, &answer.body)
                .unwrap_or_else(|| retry::by_status(answer.status, &answer.headers)),
        }
    }

    fn record(
        &self,
        request: &Request<Bytes>,
        exchange: &Exchange,
        attempt: u32,
        outcome: &'static str,
    ) {
        let mut roll = self.roll();
        let RecordBuffer { warc, ids } = &mut *roll;
        let notes = render::Notes { attempt, outcome };
        render::exchange(warc, ids, request, exchange, &notes, &self.wire.secrets);
    }

    fn roll(&self) -> MutexGuard<'_, RecordBuffer> {
        self.roll.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("limit", &self.manner.limit)
            .finish_non_exhaustive()
    }
}

/// What the client gets.
fn answer(
    exchange: Exchange,
    verdict: RetryDecision,
    attempts: u32,
) -> Result<Response<Bytes>, CallError> {
    match (verdict, exchange.answer) {
        (RetryDecision::Answered, Some(answer)) => {
            let mut response = Response::new(answer.body);
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        }
        (RetryDecision::Transient(reason) | RetryDecision::Hopeless(reason), answer) => {
            let what = answer.map_or(exchange.failure, |answer| match answer.cut {
                Some(TruncationReason::Length) => {
                    format!("answer is longer than {BODY_BYTES_MAX} bytes")
                }
                Some(_) => "answer was cut off".to_owned(),
                None => format!("answered with {}", answer.status),
            });
            Err(CallError::GaveUp {
                reason,
                what,
                attempts,
            })
        }
        (RetryDecision::Throttled | RetryDecision::Answered, _) => {
            unreachable!("throttled is asked again, answered has an answer")
        }
    }
}
