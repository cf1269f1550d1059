//! The gateway's state, and which agent a request is of.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::header;
use http::request::Parts;
use pipeline::Pipeline;
use platform::clock;
use protocol::limits::DOCUMENT_BYTES_MAX;
use protocol::refusal::RefusalCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::ledger::{AgentRow, Ledger};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::admissions::Admissions;
use super::authority::CertificateAuthority;
use super::config::AgentsConfig;
use super::refused::Refused;
use super::roster::{Roster, RosterEntry};
use super::stops::OrderStops;
use crate::listener::PeerCertificate;
use crate::metrics::AgentMetrics;
use crate::request_body::BodyBudget;
use crate::state::ServerState;

/// The gateway. Cheap to clone.
#[derive(Clone)]
pub struct AgentsGateway(pub(super) Arc<GatewayState>);

pub(super) struct GatewayState {
    pub(super) pipeline: Pipeline,
    /// Has the metrics.
    pub(super) server: ServerState,
    pub(super) config: AgentsConfig,
    pub(super) authority: RwLock<Arc<CertificateAuthority>>,
    pub(super) roster: Roster,
    pub(super) bodies: BodyBudget,
    pub(super) admissions: Admissions,
    /// A contact should be stored soon: people wait for it.
    pub(super) contact_news: Notify,
    pub(super) stops: OrderStops,
    /// Holds parts of bundles that are being uploaded.
    pub(super) uploads: PathBuf,
    pub(super) drain: CancellationToken,
}

impl AgentsGateway {
    /// The authorities as of now; a new one may come at any time.
    pub(super) fn authority(&self) -> Arc<CertificateAuthority> {
        let authority = { self.0.authority.read() }.unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&authority)
    }

    pub(super) fn set_authority(&self, new: CertificateAuthority) {
        let mut authority = { self.0.authority.write() }.unwrap_or_else(PoisonError::into_inner);
        *authority = Arc::new(new);
    }

    pub(super) fn metrics(&self) -> &AgentMetrics {
        self.0.server.metrics().agents()
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.0.pipeline.parts.ledger
    }

    /// Reads a JSON document of the protocol.
    pub(super) async fn document<T: DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<T, Refused> {
        let body = request.into_body();
        let body = self.0.bodies.read(body, DOCUMENT_BYTES_MAX).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Refused::new(RefusalCode::Malformed, error.to_string()))
    }
}

/// The agent of a request: the holder of the key of its connection's certificate.
pub(crate) struct RequestAgent(pub(crate) Arc<RosterEntry>);

impl FromRequestParts<AgentsGateway> for RequestAgent {
    type Rejection = Refused;

    async fn from_request_parts(
        parts: &mut Parts,
        gateway: &AgentsGateway,
    ) -> Result<Self, Refused> {
        let needed = || {
            Refused::new(
                RefusalCode::CertificateNeeded,
                "no certificate, or not the last one: renew it",
            )
        };
        let PeerCertificate(digest) = *parts.extensions.get().ok_or_else(needed)?;
        let entry = match gateway.0.roster.find(&digest) {
            Some(entry) => entry,
            // Issued by another collector, or before the start of this one.
            None => {
                let row = gateway.ledger().agent_by_certificate(&digest).await?;
                gateway.0.roster.update(row.ok_or_else(needed)?)
            }
        };
        check_admitted(&entry.row())?;
        if entry.row().certificate.until <= clock::now() {
            return Err(needed()); // TLS checks this only when the connection begins
        }
        entry.touch();
        Ok(Self(entry))
    }
}

/// Refuses an agent that is revoked or locked.
pub(super) fn check_admitted(agent: &AgentRow) -> Result<(), Refused> {
    if let Some(ban) = &agent.revoked {
        let detail = format!("this agent was revoked: {}", ban.reason);
        return Err(Refused::new(RefusalCode::Revoked, detail));
    }
    if let Some(ban) = &agent.locked {
        let detail = format!("this agent is locked: {}", ban.reason);
        return Err(Refused::new(RefusalCode::Locked, detail));
    }
    Ok(())
}

/// A document of the protocol as a response.
pub(super) fn answer(document: &impl Serialize) -> Response {
    let json = serde_json::to_vec(document).expect("texts and numbers are JSON");
    ([(header::CONTENT_TYPE, "application/json")], json).into_response()
}
