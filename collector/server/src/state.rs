//! The state that all handlers share.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::ServeConfig;
use crate::metrics::Metrics;
use crate::oidc::{OidcError, OidcProvider};
use domain::trigger::HooksConfig;
use pipeline::Pipeline;
use store::ledger::Ledger;

/// How long a request waits for an unreachable database. Webhook clients give up after 10 s, so an
/// early 503 with `Retry-After` serves them better. A refused connection is tried for 5 s, which
/// add to this.
const DATABASE_WAIT: Duration = Duration::from_secs(1);

/// The state that all handlers share. Cheap to clone.
#[derive(Clone)]
pub struct ServerState(Arc<SharedState>);

struct SharedState {
    /// Fails fast if the database is away.
    pipeline: Pipeline,
    /// Waits for the database: for requests whose body took the client long to send.
    patient_pipeline: Pipeline,
    config: ServeConfig,
    hooks: HooksConfig,
    metrics: Metrics,
    oidc: Option<OidcProvider>,
    drain: CancellationToken,
}

impl ServerState {
    /// State for an API to `pipeline`. `drain` ends responses without an end, such as event
    /// streams. `hooks` holds the secrets of webhooks.
    ///
    /// # Errors
    /// See [`OidcError`].
    pub fn new(
        pipeline: Pipeline,
        config: ServeConfig,
        hooks: HooksConfig,
        drain: CancellationToken,
    ) -> Result<Self, OidcError> {
        let oidc = config.oidc.clone().map(OidcProvider::new).transpose()?;
        Ok(Self(Arc::new(SharedState {
            pipeline: pipeline.with_patience(DATABASE_WAIT),
            patient_pipeline: pipeline,
            config,
            hooks,
            metrics: Metrics::new(),
            oidc,
            drain,
        })))
    }

    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.0.pipeline
    }

    pub(crate) fn patient_pipeline(&self) -> &Pipeline {
        &self.0.patient_pipeline
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.pipeline.parts.ledger
    }

    pub(crate) fn config(&self) -> &ServeConfig {
        &self.0.config
    }

    pub(crate) fn hooks(&self) -> &HooksConfig {
        &self.0.hooks
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn oidc(&self) -> Option<&OidcProvider> {
        self.0.oidc.as_ref()
    }

    pub(crate) fn drain(&self) -> &CancellationToken {
        &self.0.drain
    }
}
