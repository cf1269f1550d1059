//! How a source gets into one target: where it is, whom to trust, and how requests are signed.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use domain::incident::Pivot;
use evidence_format::id::IncidentId;
use http::{HeaderName, HeaderValue, Request};
use tokio::sync::Mutex;
use url::Url;

use crate::config::SourcesConfig;
use crate::recorder::{CallError, Recorder, TlsTrust};
use crate::secret_source::{SecretSource, TokenConfig};

/// One way into one target. Made anew for each step.
pub struct ProviderAccess {
    /// Account, tenant or organization. Quotas are counted for each.
    pub account: String,
    /// Paths of endpoints are appended to it: `https://ghes.example/api/v3`.
    pub base: Url,
    pub trust: Arc<TlsTrust>,
    pub signer: Arc<dyn RequestSigner>,
    /// Placeholders that all paths can use: `org`.
    pub names: Vec<(&'static str, String)>,
}

/// Puts credentials into requests. Must lease each secret that it uses or obtains
/// ([`Recorder::secrets`]; [`Recorder::fetch_token`] does so for what it fetches).
#[async_trait]
pub trait RequestSigner: Send + Sync {
    /// Adds credentials to `request`, and fetches them first if there are none or if they expire
    /// soon.
    ///
    /// # Errors
    /// There are no credentials.
    async fn sign(
        &self,
        request: &mut Request<Bytes>,
        recorder: &Recorder,
    ) -> Result<(), SignError>;

    /// Forgets the credentials, because the provider rejected them: the next [`Self::sign`] fetches
    /// new ones.
    async fn forget(&self);
}

/// A request cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// For whoever configured the credentials. Never has a part of a secret.
    #[error("{0}")]
    Unusable(String),
    #[error("cannot fetch a token: {0}")]
    Call(#[from] CallError),
}

/// What a source needs to find its targets and to get into them.
pub struct AccessRequest<'c> {
    pub config: &'c SourcesConfig,
    /// For requests that are needed to get in. In a check of readiness it records nothing.
    pub recorder: &'c Recorder,
    pub incident: Option<&'c IncidentId>,
    /// What the step searches for. Roots may depend on it: a repository that is searched for needs
    /// no list of repositories.
    pub pivot: Option<&'c Pivot>,
}

/// Sends a secret as it is in a header field: `Authorization: Bearer …`, `Authorization: SSWS …`,
/// `PRIVATE-TOKEN: …`. A secret that was rejected is read again, since it may have been rotated.
pub struct TokenSigner {
    header: HeaderName,
    /// Before the token: `Bearer `.
    prefix: &'static str,
    secret: SecretSource,
    token: Mutex<Option<HeaderValue>>,
}

impl TokenSigner {
    #[must_use]
    pub fn new(header: HeaderName, prefix: &'static str, secret: SecretSource) -> Self {
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
    let header = HeaderName::from_static(name);
    Ok(Arc::new(TokenSigner::new(header, prefix, token.source()?)))
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
