//! Signed requests to one bucket, retried through a short outage.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use evidence_format::digest::Digest;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequest};
use object_store::path::Path as ObjectPath;
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::warn;
use crate::blobs::BlobError;
use platform::backoff::Backoff;
use platform::random_fraction;

/// Waits between attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Waits between two lines of the log about one request.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Longest part of a response that goes into an error text.
const REFUSAL_CHARS_MAX: usize = 300;

/// Sends requests to one bucket, signed with the credentials of the collector.
#[derive(Clone, Debug)]
pub(super) struct S3Client {
    client: HttpClient,
    credentials: AwsCredentialProvider,
    region: String,
    /// URL of the bucket, without a slash at its end.
    url: String,
    /// How long one request is retried.
    patience: Duration,
}

pub(super) struct S3Request<'s> {
    client: &'s S3Client,
    method: Method,
    key: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
    expected: fn(&S3Response) -> bool,
}

pub(super) struct S3Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// `None` if the body is not the whole of a document that we know.
    pub(super) document: Option<S3Document>,
    body: Bytes,
}

/// The documents that S3 sends in response to our requests, named as in its API reference.
#[derive(Debug, Deserialize)]
#[serde(rename_all_fields = "PascalCase")]
pub(super) enum S3Document {
    InitiateMultipartUploadResult {
        upload_id: String,
    },
    CompleteMultipartUploadResult {},
    Retention {
        mode: String,
        retain_until_date: String,
    },
    LegalHold {
        status: String,
    },
    ObjectLockConfiguration {
        object_lock_enabled: Option<String>,
    },
    Error {
        code: String,
        #[serde(default)]
        message: String,
    },
}

/// Errors after which a request may succeed without a change to it.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
const TRANSIENT_ERRORS: [&str; 4] = [
    "InternalError",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
];

impl S3Client {
    pub(super) fn new(
        client: HttpClient,
        credentials: AwsCredentialProvider,
        region: String,
        url: String,
        patience: Duration,
    ) -> Self {
        Self {
            client,
            credentials,
            region,
            url,
            patience,
        }
    }

    pub(super) fn with_patience(&self, patience: Duration) -> Self {
        Self {
            patience,
            ..self.clone()
        }
    }

    /// Begins a request for the object at `path`, or for the bucket.
    pub(super) fn request(&self, method: Method, path: Option<&ObjectPath>) -> S3Request<'_> {
        let key = path.map(ToString::to_string).unwrap_or_default();
        S3Request {
            client: self,
            method,
            key,
            query: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            expected: |_| true,
        }
    }
}

impl S3Request<'_> {
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        let separator = if self.query.is_empty() { '?' } else { '&' };
        self.query = format!("{}{separator}{name}={}", self.query, percent_encoded(value));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("our values have no control characters");
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    pub(super) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Says how a success looks. A proxy, a captive portal and a store that gives up late also
    /// respond with status 200; without what is expected here, that is a failure of the network.
    pub(super) fn expect(mut self, expected: fn(&S3Response) -> bool) -> Self {
        self.expected = expected;
        self
    }

    /// Sends the request, and retries it after network errors, server errors and requests to slow
    /// down. Any other response, a rejection included, is returned: its status is 200 only if it is
    /// as expected, or an error that S3 found after it had sent the status.
    pub(super) async fn send(self, attempt: &'static str) -> Result<S3Response, BlobError> {
        let begun = Instant::now();
        let mut retries = 0;
        let mut warned: Option<Instant> = None;
        loop {
            let (problem, error) = match self.send_once().await {
                Ok(response) if !response.is_transient(self.expected) => return Ok(response),
                Ok(response) => (
                    response.status.to_string(),
                    response.rejection(attempt, &self.key),
                ),
                Err(cause) => (
                    cause.to_string(),
                    BlobError::Store {
                        attempt,
                        key: self.key.clone(),
                        cause: Box::new(cause),
                    },
                ),
            };
            if begun.elapsed() > self.client.patience {
                return Err(error);
            }
            // A request that is given up soon tells its caller instead.
            let is_patient = self.client.patience > WARNING_INTERVAL;
            if is_patient && warned.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
                warn!(
                    attempt,
                    key = self.key,
                    problem,
                    "the object store failed, trying again"
                );
                warned = Some(Instant::now());
            }
            sleep(BACKOFF.equal_jitter(retries, random_fraction())).await;
            retries += 1;
        }
    }

    async fn send_once(&self) -> Result<S3Response, object_store::Error> {
        let generic =
            |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic {
                store: "S3",
                source,
            };
        let credential = self.client.credentials.get_credential().await?;
        let separator = if self.key.is_empty() { "" } else { "/" };
        let url = format!(
            "{}{separator}{}{}",
            self.client.url,
            percent_encoded_path(&self.key),
            self.query
        );
        let mut request = HttpRequest::new(self.body.clone().into());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = url
            .parse()
            .map_err(|error: http::uri::InvalidUri| generic(error.into()))?;
        *request.headers_mut() = self.headers.clone();
        if self.method == Method::PUT {
            // S3 requires a checksum for requests that set a lock, and for all uploads to a bucket
            // with a default lock.
            let checksum = BASE64.encode(Digest::of(&self.body).as_bytes());
            let checksum = HeaderValue::from_str(&checksum).expect("base64 is ASCII");
            request
                .headers_mut()
                .insert("x-amz-checksum-sha256", checksum);
        }
        AwsAuthorizer::new(&credential, "s3", &self.client.region)
            .try_authorize(&mut request, None)?;
        let response = self
            .client
            .client
            .execute(request)
            .await
            .map_err(|error| generic(error.into()))?;
        let (parts, body) = response.into_parts();
        let body = body.bytes().await.map_err(|error| generic(error.into()))?;
        Ok(S3Response {
            status: parts.status,
            headers: parts.headers,
            document: document(&body),
            body,
        })
    }
}

impl S3Response {
    /// The body as text: responses to these requests are short XML documents.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn has_etag(&self) -> bool {
        self.headers.contains_key(http::header::ETAG)
    }

    pub(super) fn error_code(&self) -> Option<&str> {
        match &self.document {
            Some(S3Document::Error { code, .. }) => Some(code),
            _ => None,
        }
    }

    /// True if a retry may succeed.
    fn is_transient(&self, expected: fn(&Self) -> bool) -> bool {
        match self.error_code() {
            Some(code) if TRANSIENT_ERRORS.contains(&code) => true,
            // S3 may respond to the completion of an upload with status 200, and report an error in
            // the body.
            Some(_) if self.status == StatusCode::OK => false,
            _ if self.status == StatusCode::OK => !expected(self),
            _ => self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// The error for a response that rejects the request.
    pub(super) fn rejection(&self, attempt: &'static str, key: &str) -> BlobError {
        let text = match &self.document {
            Some(S3Document::Error { code, message }) => format!("{code}: {message}"),
            _ if self.status == StatusCode::OK => {
                format!("OK, but not as S3 does: {:?}", self.text())
            }
            _ => self.text(),
        };
        BlobError::Refused {
            attempt,
            key: key.to_owned(),
            status: self.status.as_u16(),
            // The text comes from the network and ends up in terminals and logs.
            message: text
                .chars()
                .filter(|c| !c.is_control())
                .take(REFUSAL_CHARS_MAX)
                .collect(),
        }
    }
}

/// Reads a response of S3, which may begin with white space that kept the connection open.
fn document(body: &[u8]) -> Option<S3Document> {
    quick_xml::de::from_str(std::str::from_utf8(body).ok()?.trim_ascii_start()).ok()
}

fn percent_encoded_path(key: &str) -> String {
    key.split('/')
        .map(percent_encoded)
        .collect::<Vec<_>>()
        .join("/")
}

/// Encodes everything but the unreserved characters of RFC 3986, as AWS's signature requires.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;

    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => write!(encoded, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_paths_as_signatures_require() {
        assert_eq!(percent_encoded_path("a/b=c d/é~"), "a/b%3Dc%20d/%C3%A9~");
    }
}
