//! The state that all handlers share.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::ServeConfig;
use crate::metrics::Metrics;
use crate::oidc::{OidcError, OidcProvider};
use crate::probe_locks::ProbeLocks;
use crate::request_body::BodyBudget;
use crate::token_refusal::{TokenRefusal, TokenRefusalLog};
use domain::trigger::HooksConfig;
use pipeline::Pipeline;
use store::ledger::Ledger;

/// How long a request waits for an unreachable database. Webhook clients give up after 10 s, so an
/// early 503 with `Retry-After` serves them better. A refused connection is tried for 5 s, which
/// add to this.
const DATABASE_WAIT: Duration = Duration::from_secs(1);

/// When readiness was last checked, and the reason if it was not ready. Locked while it is checked.
pub(crate) type LastCheck = Mutex<Option<(Instant, Result<(), &'static str>)>>;

/// The state that all handlers share. Cheap to clone.
#[derive(Clone)]
pub struct ServerState(Arc<SharedState>);

struct SharedState {
    /// Fails fast if the database is away.
    pipeline: Pipeline,
    /// Waits for the database: for requests whose body took the client long to send.
    patient_pipeline: Pipeline,
    settings: RwLock<Arc<ServerSettings>>,
    metrics: Metrics,
    drain: CancellationToken,
    bodies: BodyBudget,
    last_check: Arc<LastCheck>,
    probe_locks: ProbeLocks,
    refused_tokens: TokenRefusalLog,
}

/// What a reload of the configuration changes.
pub struct ServerSettings {
    pub(crate) config: ServeConfig,
    pub(crate) hooks: HooksConfig,
    pub(crate) oidc: Option<OidcProvider>,
}

impl ServerSettings {
    fn new(config: ServeConfig, hooks: HooksConfig) -> Result<Self, OidcError> {
        Ok(Self {
            oidc: config.oidc.clone().map(OidcProvider::new).transpose()?,
            config,
            hooks,
        })
    }
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
        let settings = ServerSettings::new(config, hooks)?;
        Ok(Self(Arc::new(SharedState {
            pipeline: pipeline.with_patience(DATABASE_WAIT),
            patient_pipeline: pipeline,
            settings: RwLock::new(Arc::new(settings)),
            metrics: Metrics::new(),
            drain,
            bodies: BodyBudget::default(),
            last_check: Arc::default(),
            probe_locks: ProbeLocks::default(),
            refused_tokens: TokenRefusalLog::default(),
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

    /// What [`Self::replace`] takes over: `[serve]` and `[hooks]` of a configuration that was read
    /// anew.
    ///
    /// # Errors
    /// See [`OidcError`].
    pub fn prepare(
        &self,
        config: ServeConfig,
        hooks: HooksConfig,
    ) -> Result<ServerSettings, OidcError> {
        let before = self.settings();
        let mut settings = ServerSettings::new(config, hooks)?;
        if settings.config.oidc == before.config.oidc {
            // Its keys stay known: the identity provider may be away just now.
            settings.oidc.clone_from(&before.oidc);
        }
        Ok(settings)
    }

    /// Takes over new settings. Requests that are being served keep the old ones.
    pub fn replace(&self, settings: ServerSettings) {
        let mut current = self
            .0
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(settings);
    }

    /// The configuration at this moment. A request takes it once, so that all of it is of one time.
    pub(crate) fn settings(&self) -> Arc<ServerSettings> {
        let current = self
            .0
            .settings
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Counts and logs that a token was refused: see [`TokenRefusalLog::refuse`].
    pub(crate) fn refuse_token(&self, refusal: TokenRefusal, who: &str, detail: &str) {
        let log = &self.0.refused_tokens;
        log.refuse(&self.0.metrics, refusal, who, detail);
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn last_check(&self) -> &Arc<LastCheck> {
        &self.0.last_check
    }

    pub(crate) fn probe_locks(&self) -> &ProbeLocks {
        &self.0.probe_locks
    }

    pub(crate) fn bodies(&self) -> &BodyBudget {
        &self.0.bodies
    }

    pub(crate) fn drain(&self) -> &CancellationToken {
        &self.0.drain
    }
}
