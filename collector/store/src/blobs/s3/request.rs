//! Signed requests to one bucket, sent again until they are answered.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use evidence_format::digest::Digest;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpRequest};
use object_store::path::Path as ObjectPath;
use tokio::time::{Instant, sleep};

use super::{OUTAGE_SECONDS_MAX, warn};
use crate::blobs::BlobError;
use platform::backoff::Backoff;
use platform::random_fraction;

/// Waits between attempts.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// The most of an answer's text that goes into an error.
const REFUSAL_CHARS_MAX: usize = 300;

/// Asks one bucket, in our name.
#[derive(Debug)]
pub(super) struct Signer {
    client: HttpClient,
    credentials: AwsCredentialProvider,
    region: String,
    /// Without a slash at its end.
    url: String,
}

/// A request to be sent.
pub(super) struct Request<'s> {
    signer: &'s Signer,
    method: Method,
    key: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What the bucket says.
pub(super) struct S3Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Signer {
    pub(super) fn new(
        client: HttpClient,
        credentials: AwsCredentialProvider,
        region: String,
        endpoint: &str,
        bucket: &str,
    ) -> Self {
        Self {
            client,
            credentials,
            region,
            url: format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        }
    }

    /// A request about the object at `path`, or about the bucket.
    pub(super) fn request(&self, method: Method, path: Option<&ObjectPath>) -> Request<'_> {
        let key = path.map(ToString::to_string).unwrap_or_default();
        Request {
            signer: self,
            method,
            key,
            query: String::new(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }
}

impl Request<'_> {
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        let separator = if self.query.is_empty() { '?' } else { '&' };
        self.query = format!("{}{separator}{name}={}", self.query, percent_encoded(value));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("what we send has no control characters");
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    pub(super) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it until there is an answer that says something: not an error of the server, not a
    /// request to slow down.
    pub(super) async fn send(self, attempt: &'static str) -> Result<S3Response, BlobError> {
        let begun = Instant::now();
        for retry in 0.. {
            let outcome = self.send_once().await;
            let is_final = match &outcome {
                Ok(answer) => !answer.is_passing(),
                Err(_) => false,
            };
            if is_final || begun.elapsed() > Duration::from_secs(OUTAGE_SECONDS_MAX) {
                return match outcome {
                    Ok(answer) if is_final => Ok(answer),
                    Ok(answer) => Err(answer.refusal(attempt, &self.key)),
                    Err(cause) => Err(BlobError::Store {
                        attempt,
                        key: self.key.clone(),
                        cause,
                    }),
                };
            }
            let problem = outcome.map_or_else(
                |error| error.to_string(),
                |answer| answer.status.to_string(),
            );
            warn!(
                attempt,
                key = self.key,
                problem,
                "the object store failed, trying again"
            );
            sleep(BACKOFF.equal_jitter(retry, random_fraction())).await;
        }
        unreachable!("the outage limit ends the loop")
    }

    async fn send_once(&self) -> Result<S3Response, object_store::Error> {
        let generic =
            |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic {
                store: "S3",
                source,
            };
        let credential = self.signer.credentials.get_credential().await?;
        let separator = if self.key.is_empty() { "" } else { "/" };
        let url = format!(
            "{}{separator}{}{}",
            self.signer.url,
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
            // S3 wants a checksum of what concerns a lock, and of all uploads into a bucket that
            // locks by itself.
            let checksum = BASE64.encode(Digest::of(&self.body).as_bytes());
            let checksum = HeaderValue::from_str(&checksum).expect("base64 is ASCII");
            request
                .headers_mut()
                .insert("x-amz-checksum-sha256", checksum);
        }
        AwsAuthorizer::new(&credential, "s3", &self.signer.region)
            .try_authorize(&mut request, None)?;
        let response = self
            .signer
            .client
            .execute(request)
            .await
            .map_err(|error| generic(error.into()))?;
        let (parts, body) = response.into_parts();
        let body = body.bytes().await.map_err(|error| generic(error.into()))?;
        Ok(S3Response {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    }
}

impl S3Response {
    /// The answer as text: these requests are answered with little XML.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text of the first element of this name.
    pub(super) fn element(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (_, after) = text.split_once(&format!("<{name}>"))?;
        let (value, _) = after.split_once(&format!("</{name}>"))?;
        Some(value.to_owned())
    }

    /// A failure of the server that passes. S3 may answer a completion with 200, and then with an
    /// error after all.
    fn is_passing(&self) -> bool {
        let is_late_error = self.status == StatusCode::OK && self.text().contains("<Error>");
        self.status.is_server_error()
            || self.status == StatusCode::TOO_MANY_REQUESTS
            || is_late_error
    }

    /// It says no.
    pub(super) fn refusal(&self, attempt: &'static str, key: &str) -> BlobError {
        let said = match (self.element("Code"), self.element("Message")) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => self.text(),
        };
        let said = said
            .chars()
            .filter(|c| !c.is_control())
            .take(REFUSAL_CHARS_MAX)
            .collect();
        BlobError::Refused {
            attempt,
            key: key.to_owned(),
            status: self.status.as_u16(),
            said,
        }
    }
}

fn percent_encoded_path(key: &str) -> String {
    key.split('/')
        .map(percent_encoded)
        .collect::<Vec<_>>()
        .join("/")
}

/// As AWS's signature wants it: all but the unreserved characters of RFC 3986.
fn percent_encoded(text: &str) -> String {
    use std::fmt::Write;

    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => write!(encoded, "%{byte:02X}").expect("a string takes all"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_after_200_is_a_failure_that_passes() {
        let answer = |status, body: &'static str| S3Response {
            status,
            headers: HeaderMap::new(),
            body: body.into(),
        };
        let late = answer(
            StatusCode::OK,
            "  <Error><Code>InternalError</Code><Message>Try again.</Message></Error>",
        );
        assert!(late.is_passing());
        assert_eq!(
            late.refusal("finish", "k").to_string(),
            "cannot finish object k: the store answers 200 InternalError: Try again."
        );
        assert!(answer(StatusCode::SERVICE_UNAVAILABLE, "").is_passing());
        for (status, body) in [
            (StatusCode::OK, "<UploadId>1</UploadId>"),
            (StatusCode::FORBIDDEN, "<Error></Error>"),
        ] {
            assert!(!answer(status, body).is_passing());
        }
    }

    #[test]
    fn paths_are_encoded_as_signatures_want_it() {
        assert_eq!(percent_encoded_path("a/b=c d/é~"), "a/b%3Dc%20d/%C3%A9~");
    }
}
