//! What a source decides about its requests: quota, pace, limits, and TLS settings.

use std::sync::Arc;
use std::time::Duration;

use super::body_filter::BodyFilter;
use super::quota::{QuotaKey, RequestRate};
use super::retry::ResponseClassifier;
use super::trust::TlsTrust;

/// Longest body by default. A page of CloudTrail has at most 50 events of 256 KiB, which is 12.5
/// MiB.
const BODY_BYTES_MAX: u64 = 16 << 20;
/// CloudTrail was seen to take 35 s.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// There is no limit on the whole body: large ones take their time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How requests of one kind are paced, limited and sent, and how their responses are classified.
#[derive(Clone, Debug)]
pub struct RequestPolicy {
    /// The API operation, such as `okta:listUsers`; the part before the colon names the deriver
    /// that reads its records. Written into each record as `Exhibit-Endpoint`; left out if empty.
    pub endpoint: &'static str,
    /// The quota that the requests count against.
    pub quota: QuotaKey,
    /// Its rate until responses state another.
    pub rate: RequestRate,
    /// Order inside the quota: a waiting request with a smaller number is sent first. Steps pass
    /// their place in the plan, so that volatile evidence comes first (RFC 3227 §2.1).
    pub rank: u32,
    /// Recognises the provider's own ways to say that a limit is exceeded.
    pub classify: ResponseClassifier,
    /// Wait after a response that a limit is exceeded which does not say how long to wait, and
    /// twice as long each time that the same request is refused again.
    pub throttled_wait: Duration,
    /// Longest body that is recorded. [`super::Recorder::call`] fails if a body is longer;
    /// [`super::Recorder::stream`] ends there.
    pub body_bytes_max: u64,
    /// Hides parts of the bodies of successful responses before anything is written. Does not
    /// apply to streamed bodies.
    pub body_filter: Option<BodyFilter>,
    /// From sending the request to the response's head.
    pub head_timeout: Duration,
    /// Between two chunks of the body; `None` for watches, which may be silent for hours.
    pub idle_timeout: Option<Duration>,
    /// A streamed body that breaks off is no gap: the caller asks for the rest, as a watch does.
    pub resumes_bodies: bool,
    /// Certificate authorities, client identity, server name and proxy of the connection.
    pub trust: Arc<TlsTrust>,
}

impl RequestPolicy {
    /// A policy for requests against `quota`: classified by the rules of HTTP, trusting the
    /// system's certificate authorities.
    #[must_use]
    pub fn new(quota: QuotaKey, rate: RequestRate) -> Self {
        Self {
            endpoint: "",
            quota,
            rate,
            rank: 0,
            classify: |_, _, _| None,
            throttled_wait: Duration::ZERO,
            body_bytes_max: BODY_BYTES_MAX,
            body_filter: None,
            head_timeout: HEAD_TIMEOUT,
            idle_timeout: Some(IDLE_TIMEOUT),
            resumes_bodies: false,
            trust: Arc::default(),
        }
    }

    /// What the requests count against.
    pub(super) fn endpoint_key(&self) -> (QuotaKey, &'static str) {
        (self.quota.clone(), self.endpoint)
    }
}
