//! Opens the gateway, and serves it: its listener, its router and its background tasks.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post, put};
use protocol::path;
use protocol::refusal::RefusalCode;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::admissions::Admissions;
use super::authority::{AuthorityError, CertificateAuthority};
use super::config::AgentsConfig;
use super::gateway::{AgentsGateway, GatewayState};
use super::roster::Roster;
use super::stops::OrderStops;
use super::{background, enrollment, other_versions, poll, upload};
use crate::listener::{Listener, ListenerSettings, ServeError};
use crate::request_body::BodyBudget;
use crate::state::ServerState;

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
    /// Opens the gateway; at first use, creates the agents' authority. Its metrics are those of
    /// `server`, whose `drain` ends polls.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn open(server: &ServerState, config: AgentsConfig) -> Result<Self, AuthorityError> {
        let pipeline = server.patient_pipeline().with_patience(DATABASE_WAIT);
        let authority = CertificateAuthority::open(&pipeline.parts.ledger).await?;
        Ok(Self(Arc::new(GatewayState {
            authority: RwLock::new(Arc::new(authority)),
            roster: Roster::default(),
            bodies: BodyBudget::default(),
            admissions: Admissions::new(config.per_second),
            contact_news: Notify::new(),
            stops: OrderStops::default(),
            uploads: pipeline.work_folder().join("uploads"),
            pipeline,
            config,
            drain: server.drain().clone(),
            server: server.clone(),
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
            .layer(from_fn_with_state(self.clone(), count_refusal))
            .with_state(self.clone())
    }

    /// Keeps the roster and the listener's certificate fresh, tells agents of their orders, and
    /// stores their contacts, until `drain`.
    pub async fn run(&self, listener: ListenerSettings) {
        background::run(self, &listener).await;
    }
}

/// Counts requests that are refused; those for certificates once more.
async fn count_refusal(
    State(gateway): State<AgentsGateway>,
    request: Request,
    next: Next,
) -> Response {
    let is_for_certificate = [path::ENROLL, path::RENEW].contains(&request.uri().path());
    let response = next.run(request).await;
    if let Some(code) = response.extensions().get::<RefusalCode>() {
        gateway.metrics().count_refused_request(*code);
        if is_for_certificate {
            gateway.metrics().count_refused_certificate(*code);
        }
    }
    response
}
