//! The process's HTTP clients, and what one exchange with a server consists of.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use evidence_format::time::Timestamp;
use evidence_format::warc::TruncationReason;
use http::{HeaderMap, Request, StatusCode, Version};
use reqwest::tls::TlsInfo;
use tokio::time::timeout;
use url::Url;

use super::aws_clock::ClockCorrection;
use super::quota::Quotas;
use super::secrets::Secrets;
use super::server_certificate::{CertificateCache, ServerCertificate};
use super::trust::{self, ClientCache, TransportError};
use super::{RequestPolicy, TlsTrust, TruncatedBody};
use platform::clock;

/// Most memory that is allocated because of a `Content-Length`, which a server can make up. Usual
/// pages have some hundred kilobytes.
const CAPACITY_BYTES_MAX: u64 = 1 << 20;

/// What all recorders of a process share: HTTP clients, quotas, and our secrets.
#[derive(Debug)]
pub struct Transport {
    clients: ClientCache,
    pub(super) quotas: Quotas,
    pub(super) certificates: CertificateCache,
    /// Our own credentials, which are removed from all records.
    pub(crate) secrets: Secrets,
    /// AWS' clock, as far as it is known.
    pub(crate) aws_clock: ClockCorrection,
}

impl Transport {
    /// Builds the client for targets without settings of their own.
    /// [`crate::crypto::install_provider`] must have been called.
    ///
    /// # Errors
    /// The system has no CA certificates.
    pub fn new() -> Result<Self, TransportError> {
        let transport = Self {
            clients: ClientCache::default(),
            quotas: Quotas::default(),
            certificates: CertificateCache::default(),
            secrets: Secrets::default(),
            aws_clock: ClockCorrection::default(),
        };
        transport.client(&Arc::default(), "")?;
        Ok(transport)
    }

    /// The client for requests to `host` under `trust`.
    pub(super) fn client(
        &self,
        trust: &Arc<TlsTrust>,
        host: &str,
    ) -> Result<reqwest::Client, TransportError> {
        let proxy = trust.proxy.as_deref().and_then(|url| Url::parse(url).ok());
        if let Some(password) = proxy.as_ref().and_then(Url::password) {
            self.secrets.add(password);
        }
        self.clients.client(trust, host)
    }
}

/// Sends `request` once, and waits for the response's head.
///
/// # Errors
/// Why there is no response.
pub(super) async fn send(
    client: &reqwest::Client,
    request: &Request<Bytes>,
    policy: &RequestPolicy,
    certificates: &CertificateCache,
) -> Result<ResponseBody, String> {
    let describe = |cause: reqwest::Error| platform::chain(&cause.without_url());
    let mut request = reqwest::Request::try_from(request.clone()).map_err(describe)?;
    trust::apply_server_name(&policy.trust, &mut request);
    match timeout(policy.head_timeout, client.execute(request)).await {
        Ok(Ok(response)) => Ok(ResponseBody::new(response, certificates)),
        Ok(Err(cause)) => Err(describe(cause)),
        Err(_) => {
            let seconds = policy.head_timeout.as_secs();
            Err(format!("no response within {seconds} s"))
        }
    }
}

/// A response whose body is being read.
pub(super) struct ResponseBody {
    response: reqwest::Response,
    /// What is known of it; without its body.
    pub(super) head: ReceivedResponse,
    /// What [`Self::read`] has read.
    buffer: BodyBuffer,
}

impl ResponseBody {
    fn new(response: reqwest::Response, certificates: &CertificateCache) -> Self {
        let certificate = response
            .extensions()
            .get::<TlsInfo>()
            .and_then(TlsInfo::peer_certificate)
            .map(|der| certificates.read(der));
        let head = ReceivedResponse {
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
        Self {
            response,
            head,
            buffer: BodyBuffer::default(),
        }
    }

    /// Waits for the next bytes of the body, at most `wait`. A call that is dropped loses nothing.
    pub(super) async fn next_chunk(&mut self, wait: Duration) -> BodyChunk {
        match timeout(wait, self.response.chunk()).await {
            Ok(Ok(Some(bytes))) => BodyChunk::Bytes(bytes),
            Ok(Ok(None)) => BodyChunk::End,
            Ok(Err(_)) => BodyChunk::Disconnected,
            Err(_) => BodyChunk::Silent,
        }
    }

    /// Reads the body up to the limits of `policy`. Returns why it is incomplete, or `None` if it
    /// is complete.
    pub(super) async fn read(&mut self, policy: &RequestPolicy) -> Option<TruncationReason> {
        let declared = self.head.body_bytes_declared.unwrap_or(0);
        let capacity = declared.min(policy.body_bytes_max).min(CAPACITY_BYTES_MAX);
        self.buffer.capacity = usize::try_from(capacity).unwrap_or(0);
        let body_bytes_max = usize::try_from(policy.body_bytes_max).unwrap_or(usize::MAX);
        let idle_timeout = policy.idle_timeout.unwrap_or(Duration::MAX);
        loop {
            match self.next_chunk(idle_timeout).await {
                BodyChunk::End => return None,
                BodyChunk::Disconnected => return Some(TruncationReason::Disconnect),
                BodyChunk::Silent => return Some(TruncationReason::Time),
                BodyChunk::Bytes(chunk) => {
                    let room = body_bytes_max - self.buffer.len();
                    self.buffer.push(chunk.slice(..chunk.len().min(room)));
                    if chunk.len() > room {
                        return Some(TruncationReason::Length);
                    }
                }
            }
        }
    }

    /// The response with the body that [`Self::read`] has read.
    pub(super) fn into_received(self, truncated: Option<TruncationReason>) -> ReceivedResponse {
        ReceivedResponse {
            body: self.buffer.into_bytes(),
            truncated,
            ..self.head
        }
    }
}

/// What came next of a body.
pub(super) enum BodyChunk {
    Bytes(Bytes),
    End,
    Disconnected,
    /// Nothing came for as long as was waited.
    Silent,
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
    /// The server's certificate; `None` for plain HTTP.
    pub(super) certificate: Option<ServerCertificate>,
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
    pub(super) fn answered(sent_at: Timestamp, response: ReceivedResponse) -> Self {
        Self {
            sent_at,
            response: Some(response),
            failure: String::new(),
        }
    }

    pub(super) fn failed(sent_at: Timestamp, failure: String) -> Self {
        Self {
            sent_at,
            response: None,
            failure,
        }
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
