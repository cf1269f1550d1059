//! How a source gets into one target: where it is, whom to trust, and how requests are signed. The
//! signers themselves are in [`super::signers`].

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use domain::incident::Pivot;
use evidence_format::id::IncidentId;
use http::Request;
use url::Url;

use super::endpoint::Endpoint;
use crate::config::SourcesConfig;
use crate::recorder::{CallError, Recorder, TlsTrust};

/// One way into one target. Made anew for each step.
pub struct ProviderAccess {
    /// Account, tenant or organization. Quotas are counted for each.
    pub account: String,
    /// Paths of endpoints are appended to it: `https://ghes.example/api/v3`.
    pub base: Url,
    /// Where the paths of rows with an [`super::Endpoint::service`] are appended; those of services
    /// that are not here are appended to `base`.
    pub services: Vec<(&'static str, Url)>,
    pub trust: Arc<TlsTrust>,
    pub signer: Arc<dyn RequestSigner>,
    /// Placeholders that all paths can use: `org`.
    pub names: Vec<(&'static str, String)>,
    /// Hosts that redirects may lead to, beside those that the table names: stores of the customer's
    /// own. See [`super::RedirectRule::FollowOnce`].
    pub redirect_hosts: Vec<String>,
}

impl ProviderAccess {
    pub(super) fn base_of(&self, endpoint: &Endpoint) -> &Url {
        let mut services = self.services.iter();
        let own = services.find(|(service, _)| *service == endpoint.service);
        own.map_or(&self.base, |(_, base)| base)
    }
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
