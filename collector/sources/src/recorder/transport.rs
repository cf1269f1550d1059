//! The process's HTTP client, and what one exchange with a server consists of.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use evidence_format::warc::TruncationReason;
use http::{HeaderMap, Request, StatusCode, Version};
use reqwest::redirect;
use reqwest::tls::TlsInfo;
use tokio::time::timeout;

use super::quota::Quotas;
use super::redact::Secrets;
use super::{RequestPolicy, TruncatedBody};
use platform::clock;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most memory that is allocated because of a `Content-Length`, which a server can make up. Usual
/// pages have some hundred kilobytes.
const CAPACITY_BYTES_MAX: u64 = 1 << 20;

/// What all recorders of a process share: the HTTP client, the quotas and our secrets.
#[derive(Debug)]
pub struct Transport {
    client: reqwest::Client,
    pub(super) quotas: Quotas,
    /// Our own credentials, which are removed from all records.
    pub(crate) secrets: Secrets,
}

/// The HTTP client cannot be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTPS: are the system's CA certificates installed?")]
pub struct TransportError(#[from] reqwest::Error);

impl Transport {
    /// Builds the client. [`crate::crypto::install_provider`] must have been called.
    ///
    /// # Errors
    /// The system has no CA certificates.
    pub fn new() -> Result<Self, TransportError> {
        let client = reqwest::Client::builder()
            // a redirect is a response that must be recorded, so reqwest must not follow it
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tls_info(true)
            .build()?;
        Ok(Self {
            client,
            quotas: Quotas::default(),
            secrets: Secrets::default(),
        })
    }

    /// Sends `request` once, and reads the response's body up to the policy's limits.
    pub(super) async fn exchange(
        &self,
        request: &Request<Bytes>,
        policy: &RequestPolicy,
    ) -> HttpExchange {
        let mut exchange = HttpExchange::begin();
        let request = match reqwest::Request::try_from(request.clone()) {
            Ok(request) => request,
            Err(cause) => return exchange.failed(platform::chain(&cause)),
        };
        let head_timeout = policy.head_timeout;
        let response = match timeout(head_timeout, self.client.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(cause)) => return exchange.failed(platform::chain(&cause)),
            Err(_) => {
                let seconds = head_timeout.as_secs();
                return exchange.failed(format!("no response within {seconds} s"));
            }
        };
        exchange.response = Some(receive(response, policy).await);
        exchange
    }
}

async fn receive(mut response: reqwest::Response, policy: &RequestPolicy) -> ReceivedResponse {
    let body_bytes_max = policy.body_bytes_max;
    let certificate = response
        .extensions()
        .get::<TlsInfo>()
        .and_then(TlsInfo::peer_certificate)
        .map(Digest::of);
    let mut received = ReceivedResponse {
        received_at: clock::now(),
        status: response.status(),
        version: response.version(),
        headers: response.headers().clone(),
        peer: response.remote_addr(),
        certificate,
        body: Bytes::new(),
        body_bytes_declared: response.content_length(),
        truncated: None,
    };
    let capacity = received
        .body_bytes_declared
        .unwrap_or(0)
        .min(body_bytes_max)
        .min(CAPACITY_BYTES_MAX);
    let mut body = BodyBuffer {
        capacity: usize::try_from(capacity).unwrap_or(0),
        ..BodyBuffer::default()
    };
    let idle = policy.idle_timeout.unwrap_or(Duration::MAX);
    // a body that breaks off is kept as far as it came, marked with the reason
    received.truncated = loop {
        match timeout(idle, response.chunk()).await {
            Ok(Ok(None)) => break None,
            Ok(Ok(Some(chunk))) => {
                let room = usize::try_from(body_bytes_max).unwrap_or(usize::MAX) - body.len();
                body.push(chunk.slice(..chunk.len().min(room)));
                if chunk.len() > room {
                    break Some(TruncationReason::Length);
                }
            }
            Ok(Err(_)) => break Some(TruncationReason::Disconnect),
            Err(_) => break Some(TruncationReason::Time),
        }
    };
    received.body = body.into_bytes();
    received
}

/// Collects a body. One that arrives in a single chunk is not copied.
#[derive(Default)]
struct BodyBuffer {
    /// What to allocate at the second chunk.
    capacity: usize,
    /// The only chunk so far; empty once there are more.
    first: Bytes,
    /// All chunks, once there is more than one.
    all: BytesMut,
}

impl BodyBuffer {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn push(&mut self, chunk: Bytes) {
        if self.len() == 0 {
            self.first = chunk;
            return;
        }
        if self.all.is_empty() {
            let bytes = self.first.len() + chunk.len();
            self.all.reserve(self.capacity.max(bytes));
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&chunk);
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() {
            self.first
        } else {
            self.all.freeze()
        }
    }
}

/// One request sent once, and its response if there was one.
#[derive(Debug)]
pub(super) struct HttpExchange {
    pub(super) sent_at: Timestamp,
    pub(super) response: Option<ReceivedResponse>,
    /// Why there is no response; empty if there is one.
    pub(super) failure: String,
}

/// A response as it was received.
#[derive(Debug)]
pub(super) struct ReceivedResponse {
    /// When its head was received.
    pub(super) received_at: Timestamp,
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) peer: Option<SocketAddr>,
    /// SHA-256 of the server's certificate in DER.
    pub(super) certificate: Option<Digest>,
    pub(super) body: Bytes,
    /// Bytes of the whole body, if the server stated it.
    pub(super) body_bytes_declared: Option<u64>,
    /// Why the body is incomplete; `None` if it is complete.
    pub(super) truncated: Option<TruncationReason>,
}

impl ReceivedResponse {
    /// What was kept of a body that was too long; `None` if it was not.
    pub(super) fn too_large(&self) -> Option<TruncatedBody> {
        (self.truncated == Some(TruncationReason::Length)).then(|| TruncatedBody {
            bytes_kept: self.body.len() as u64,
            bytes_declared: self.body_bytes_declared,
        })
    }
}

impl HttpExchange {
    /// An exchange whose request is sent now.
    pub(super) fn begin() -> Self {
        Self {
            sent_at: clock::now(),
            response: None,
            failure: String::new(),
        }
    }

    pub(super) fn failed(mut self, failure: String) -> Self {
        self.failure = failure;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(chunks: &[&'static str]) -> Bytes {
        let mut body = BodyBuffer {
            capacity: 3,
            ..BodyBuffer::default()
        };
        for chunk in chunks {
            body.push(Bytes::from_static(chunk.as_bytes()));
        }
        assert_eq!(body.len(), chunks.concat().len());
        body.into_bytes()
    }

    #[test]
    fn body_is_all_chunks_and_single_chunk_is_not_copied() {
        for chunks in [&[][..], &["ab"], &["", "ab"], &["ab", "", "cd", "e"]] {
            assert_eq!(collect(chunks), chunks.concat(), "{chunks:?}");
        }
        let only = "ab";
        assert_eq!(collect(&[only]).as_ptr(), only.as_ptr(), "not copied");
    }
}
