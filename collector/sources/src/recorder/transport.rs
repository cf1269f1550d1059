//! The wire: one HTTP client for the whole process, and what came back over it.

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
use platform::clock;

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest wait for an answer's first byte: CloudTrail was seen to take 35 s.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Longest silence within an answer. There is no limit on the whole: large answers take their time.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Most memory that is taken on a server's word alone: usual pages have some hundred kilobytes.
const CAPACITY_BYTES_MAX: u64 = 1 << 20;

/// What all recorders of a process share.
#[derive(Debug)]
pub struct Transport {
    client: reqwest::Client,
    /// The buckets of all limits.
    pub quotas: Quotas,
    /// Our own credentials, which never reach an item.
    pub secrets: Secrets,
    /// Longest wait for an answer's first byte, and longest silence within it.
    pub(super) patience: (Duration, Duration),
}

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTPS: are the system's CA certificates installed?")]
pub struct TransportError(#[from] reqwest::Error);

impl Transport {
    /// Sets up the client. A provider of cryptography for rustls must have been installed.
    ///
    /// # Errors
    /// The system has no CA certificates.
    pub fn new() -> Result<Self, TransportError> {
        let client = reqwest::Client::builder()
            .redirect(redirect::Policy::none()) // each request is one exchange, and a redirect is an answer
            .connect_timeout(CONNECT_MAX)
            .tls_info(true)
            .build()?;
        Ok(Self {
            client,
            quotas: Quotas::default(),
            secrets: Secrets::default(),
            patience: (ANSWER_MAX, SILENCE_MAX),
        })
    }

    /// Sends `request` once, and takes up to `body_bytes_max` of the answer's body.
    pub(super) async fn exchange(
        &self,
        request: &Request<Bytes>,
        body_bytes_max: u64,
    ) -> HttpExchange {
        let mut exchange = HttpExchange::new();
        let request = match reqwest::Request::try_from(request.clone()) {
            Ok(request) => request,
            Err(cause) => return exchange.failed(platform::chain(&cause)),
        };
        let response = match timeout(self.patience.0, self.client.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(cause)) => return exchange.failed(platform::chain(&cause)),
            Err(_) => {
                return exchange
                    .failed(format!("no answer within {} s", self.patience.0.as_secs()));
            }
        };
        exchange.answer = Some(self.read(response, body_bytes_max).await);
        exchange
    }

    async fn read(&self, mut response: reqwest::Response, body_bytes_max: u64) -> ReceivedResponse {
        let certificate = response
            .extensions()
            .get::<TlsInfo>()
            .and_then(TlsInfo::peer_certificate)
            .map(Digest::of);
        let mut answer = ReceivedResponse {
            at: clock::now(),
            status: response.status(),
            version: response.version(),
            headers: response.headers().clone(),
            peer: response.remote_addr(),
            certificate,
            body: Bytes::new(),
            cut: None,
        };
        let announced = response
            .content_length()
            .unwrap_or(0)
            .min(body_bytes_max)
            .min(CAPACITY_BYTES_MAX);
        let mut body = BodyBuffer {
            announced: usize::try_from(announced).unwrap_or(0),
            ..BodyBuffer::default()
        };
        answer.cut = loop {
            match timeout(self.patience.1, response.chunk()).await {
                Ok(Ok(None)) => break None,
                Ok(Ok(Some(chunk))) => {
                    let room = usize::try_from(body_bytes_max).unwrap_or(usize::MAX) - body.len();
                    body.add(chunk.slice(..chunk.len().min(room)));
                    if chunk.len() > room {
                        break Some(TruncationReason::Length);
                    }
                }
                Ok(Err(_)) => break Some(TruncationReason::Disconnect),
                Err(_) => break Some(TruncationReason::Time),
            }
        };
        answer.body = body.whole();
        answer
    }
}

/// A body that is coming in. One that comes in one chunk is not copied.
#[derive(Default)]
struct BodyBuffer {
    announced: usize,
    first: Bytes,
    /// All of it, once there is a second chunk.
    all: BytesMut,
}

impl BodyBuffer {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn add(&mut self, chunk: Bytes) {
        if self.len() == 0 {
            self.first = chunk;
            return;
        }
        if self.all.is_empty() {
            self.all
                .reserve(self.announced.max(self.first.len() + chunk.len()));
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&chunk);
    }

    fn whole(self) -> Bytes {
        if self.all.is_empty() {
            self.first
        } else {
            self.all.freeze()
        }
    }
}

/// One request, and what came of it.
#[derive(Debug)]
pub(super) struct HttpExchange {
    /// When the request was sent.
    pub(super) began: Timestamp,
    pub(super) answer: Option<ReceivedResponse>,
    /// Why there is no answer.
    pub(super) failure: String,
}

/// What the server sent.
#[derive(Debug)]
pub(super) struct ReceivedResponse {
    /// When its head was there.
    pub(super) at: Timestamp,
    pub(super) status: StatusCode,
    pub(super) version: Version,
    pub(super) headers: HeaderMap,
    pub(super) peer: Option<SocketAddr>,
    /// SHA-256 of the server's certificate in DER.
    pub(super) certificate: Option<Digest>,
    pub(super) body: Bytes,
    /// Why the body is not whole.
    pub(super) cut: Option<TruncationReason>,
}

impl HttpExchange {
    pub(super) fn new() -> Self {
        Self {
            began: clock::now(),
            answer: None,
            failure: String::new(),
        }
    }

    pub(super) fn failed(mut self, why: String) -> Self {
        self.failure = why;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_its_chunks() {
        let gathered = |chunks: &[&'static str]| {
            let mut body = BodyBuffer {
                announced: 3,
                ..BodyBuffer::default()
            };
            chunks
                .iter()
                .for_each(|chunk| body.add(Bytes::from_static(chunk.as_bytes())));
            assert_eq!(body.len(), chunks.concat().len());
            body.whole()
        };
        for chunks in [&[][..], &["ab"], &["", "ab"], &["ab", "", "cd", "e"]] {
            assert_eq!(gathered(chunks), chunks.concat(), "{chunks:?}");
        }
        let only = "ab";
        assert_eq!(gathered(&[only]).as_ptr(), only.as_ptr(), "not copied");
    }
}
