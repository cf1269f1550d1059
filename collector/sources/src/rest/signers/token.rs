//! A secret that is sent as it is.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use tokio::sync::Mutex;

use crate::recorder::Recorder;
use crate::rest::access::{RequestSigner, SignError};
use crate::secret_source::{SecretSource, TokenConfig};

/// Sends a secret as it is in a header field: `Authorization: Bearer …`, `Authorization: SSWS …`,
/// `PRIVATE-TOKEN: …`. A secret that was rejected is read again, since it may have been rotated.
struct TokenSigner {
    header: HeaderName,
    /// Before the token: `Bearer `.
    prefix: &'static str,
    secret: SecretSource,
    token: Mutex<Option<HeaderValue>>,
}

impl TokenSigner {
    fn new(header: HeaderName, prefix: &'static str, secret: SecretSource) -> Self {
        Self {
            header,
            prefix,
            secret,
            token: Mutex::new(None),
        }
    }
}

/// Sends the configured token in the header field `name`, which is in lower case, after `prefix`.
///
/// # Errors
/// None of the settings of `token` is given, or several are.
pub fn token_in_header(
    name: &'static str,
    prefix: &'static str,
    token: &TokenConfig,
) -> Result<Arc<dyn RequestSigner>, String> {
    token_in_field(HeaderName::from_static(name), prefix, token)
}

/// The same for a name that the configuration has.
///
/// # Errors
/// None of the settings of `token` is given, or several are.
pub(crate) fn token_in_field(
    name: HeaderName,
    prefix: &'static str,
    token: &TokenConfig,
) -> Result<Arc<dyn RequestSigner>, String> {
    Ok(Arc::new(TokenSigner::new(name, prefix, token.source()?)))
}

/// Signs nothing, for what everybody may read.
pub(crate) fn unsigned() -> Arc<dyn RequestSigner> {
    Arc::new(Unsigned)
}

struct Unsigned;

#[async_trait]
impl RequestSigner for Unsigned {
    async fn sign(&self, _: &mut Request<Bytes>, _: &Recorder) -> Result<(), SignError> {
        Ok(())
    }

    async fn forget(&self) {}
}

#[async_trait]
impl RequestSigner for TokenSigner {
    async fn sign(
        &self,
        request: &mut Request<Bytes>,
        recorder: &Recorder,
    ) -> Result<(), SignError> {
        let mut token = self.token.lock().await;
        if token.is_none() {
            let secret = self
                .secret
                .read()
                .await
                .map_err(|error| SignError::Unusable(error.to_string()))?;
            recorder.secrets().add(&secret);
            *token = Some(header_value(self.prefix, &secret)?);
        }
        let value = token.clone().expect("just read");
        request.headers_mut().insert(self.header.clone(), value);
        Ok(())
    }

    async fn forget(&self) {
        *self.token.lock().await = None;
    }
}

/// A header field's value that is not shown in logs.
pub(crate) fn header_value(prefix: &str, secret: &str) -> Result<HeaderValue, SignError> {
    let mut value = HeaderValue::try_from(format!("{prefix}{secret}"))
        .map_err(|_| SignError::Unusable("the token has characters no header can hold".into()))?;
    value.set_sensitive(true);
    Ok(value)
}
