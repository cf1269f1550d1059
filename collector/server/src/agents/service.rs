//! Opens the gateway, and serves it: its listener, its router and its background tasks.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post, put};
use pipeline::Pipeline;
use protocol::path;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::admissions::Admissions;
use super::authority::{AuthorityError, CertificateAuthority};
use super::config::AgentsConfig;
use super::gateway::{AgentsGateway, GatewayState};
use super::roster::Roster;
use super::stops::OrderStops;
use super::{background, enrollment, other_versions, poll, upload};
use crate::listener::{Listener, ListenerSettings, ServeError};
use crate::request_body::BodyBudget;

/// How long a request of an agent waits for a database that is away: agents try again.
const DATABASE_WAIT: Duration = Duration::from_secs(5);

/// The listener for agents cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Listen(#[from] ServeError),
}

impl AgentsGateway {
    /// Opens the gateway; at first use, creates the agents' authority. `drain` ends polls.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn open(
        pipeline: &Pipeline,
        config: AgentsConfig,
        drain: CancellationToken,
    ) -> Result<Self, AuthorityError> {
        let pipeline = pipeline.with_patience(DATABASE_WAIT);
        let authority = CertificateAuthority::open(&pipeline.parts.ledger).await?;
        Ok(Self(Arc::new(GatewayState {
            authority: RwLock::new(Arc::new(authority)),
            roster: Roster::default(),
            bodies: BodyBudget::default(),
            admissions: Admissions::new(config.per_second),
            stops: OrderStops::default(),
            uploads: pipeline.work_folder().join("uploads"),
            pipeline,
            config,
            drain,
        })))
    }

    /// Binds the listener of the configuration.
    ///
    /// # Errors
    /// See [`GatewayError`].
    pub async fn bind(&self) -> Result<Listener, GatewayError> {
        let config = &self.0.config;
        let tls = self.tls(&self.authority())?;
        let listener = Listener::bind_with_clients(config.listen, tls, config.connections_max);
        Ok(listener.await?)
    }

    /// TLS with a new certificate of this collector.
    pub(super) fn tls(
        &self,
        authority: &CertificateAuthority,
    ) -> Result<TlsAcceptor, AuthorityError> {
        let url = url::Url::parse(&self.0.config.url).ok();
        authority.tls(url.as_ref().and_then(|url| url.host_str()))
    }

    /// The routes of the protocol.
    pub fn router(&self) -> Router {
        Router::new()
            .route(path::ENROLL, post(enrollment::enroll))
            .route(path::CHALLENGE, get(enrollment::challenge))
            .route(path::RENEW, post(enrollment::renew))
            .route(path::POLL, post(poll::poll))
            .route(path::UPLOADS, post(upload::offer))
            .route(path::UPLOAD, put(upload::receive))
            .route(path::COMMIT, post(upload::commit))
            .fallback(other_versions::refuse)
            .with_state(self.clone())
    }

    /// Keeps the roster and the listener's certificate fresh, tells agents of their orders, and
    /// stores their contacts, until `drain`.
    pub async fn run(&self, listener: ListenerSettings) {
        background::run(self, &listener).await;
    }
}
