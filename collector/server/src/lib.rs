//! The API over HTTP: what people's and machines' programs ask of a collector that runs on.
//!
//! [`routes`] is the one table: which path, who may ask for it, and what answers. The router is
//! built from it, and so is the [description](openapi) of the API. [`auth`] stands before every
//! handler, [`error`] is how each of them says no, and [`server`] is the sockets under it.
//!
//! **Trust.** Nothing that arrives here is trusted before [`auth`] has let it through, and then for
//! what its role may. Whoever holds an admin's token can read all evidence and make tokens; he
//! cannot change a bundle, nor sign one.

mod auth;
mod body;
mod checklist;
pub mod config;
mod download;
mod error;
mod events;
mod evidence;
mod health;
mod hooks;
mod incidents;
mod loose;
mod metrics;
mod observe;
mod oidc;
mod openapi;
mod passes;
mod plays;
mod query;
mod routes;
mod server;
mod shapes;
mod sources;
pub mod telemetry;
#[cfg(test)]
mod tests;
mod timeline;
pub mod token;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio_util::sync::CancellationToken;

pub use error::{Code, Problem};
pub use oidc::OidcError;
pub use server::{Listener, ServeError};

/// What answers hold: for the command line, which shows the same of a server as of a store of its
/// own.
pub mod answers {
    pub use super::events::{Happened, Progress, Watching};
    pub use super::evidence::{List as Bundles, Listed as Bundle, Receipt, listed as bundles};
    pub use super::incidents::{
        Capture, ChangeView, Changed, Declared, Full, Listed, Page, full, listed,
    };
    pub use super::passes::Pass;
    pub use super::plays::{List as Plays, PlayView, views as plays};
    pub use super::sources::{List as Sources, SourceView, look};
    pub use super::tokens::{Created, List as Tokens, Listed as Token, Who, listed as token};
}

use self::metrics::Metrics;
use self::oidc::Oidc;
use crate::config::ServeConfig;
use domain::trigger::HooksConfig;
use pipeline::Pipeline;
use store::ledger::Ledger;

/// How long a request waits for a database that is away: clients give up after 10 s, as webhooks
/// do, and are better told to come again. A connection that is refused is tried for 5 s, which come
/// on top.
const PATIENCE: Duration = Duration::from_secs(1);

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

struct Shared {
    pipeline: Pipeline,
    /// For what has taken its client long to send.
    patient: Pipeline,
    config: ServeConfig,
    hooks: HooksConfig,
    metrics: Metrics,
    oidc: Option<Oidc>,
    /// Ends what would go on for ever, such as streams of events.
    drain: CancellationToken,
}

impl Api {
    /// An API to `pipeline`, whose endless answers `drain` ends. Webhooks are those of `hooks`,
    /// with their secrets.
    ///
    /// # Errors
    /// See [`OidcError`].
    pub fn new(
        pipeline: Pipeline,
        config: ServeConfig,
        hooks: HooksConfig,
        drain: CancellationToken,
    ) -> Result<Self, OidcError> {
        let oidc = config.oidc.clone().map(Oidc::new).transpose()?;
        Ok(Self(Arc::new(Shared {
            pipeline: pipeline.with_patience(PATIENCE),
            patient: pipeline,
            config,
            hooks,
            metrics: Metrics::new(),
            oidc,
            drain,
        })))
    }

    fn pipeline(&self) -> &Pipeline {
        &self.0.pipeline
    }

    fn patient_pipeline(&self) -> &Pipeline {
        &self.0.patient
    }

    fn ledger(&self) -> &Ledger {
        &self.0.pipeline.parts.ledger
    }

    fn config(&self) -> &ServeConfig {
        &self.0.config
    }

    fn hooks(&self) -> &HooksConfig {
        &self.0.hooks
    }

    fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn oidc(&self) -> Option<&Oidc> {
        self.0.oidc.as_ref()
    }

    fn drain(&self) -> &CancellationToken {
        &self.0.drain
    }

    /// Everything that can be asked for.
    pub fn router(&self) -> Router {
        let routed = routes::router(self);
        let routed = routed
            .fallback(routes::unknown)
            .method_not_allowed_fallback(routes::not_done);
        routed
            .layer(from_fn_with_state(self.clone(), observe::observe))
            .with_state(self.clone())
    }
}
