//! Refuses agents that speak another version of the protocol, and notes that they do.

use axum::extract::{FromRequestParts as _, Request, State};
use protocol::refusal::RefusalCode;
use protocol::version;
use tracing::warn;

use super::gateway::{AgentsGateway, RequestAgent};
use super::refused::Refused;
use super::roster::RosterEntry;

/// Any path that the gateway does not know.
pub(super) async fn refuse(State(gateway): State<AgentsGateway>, request: Request) -> Refused {
    let (mut parts, _) = request.into_parts();
    let spoken = version::of_path(parts.uri.path());
    let Some((spoken, detail)) = spoken.and_then(|v| Some((v, version::refusal(v)?))) else {
        return Refused::new(RefusalCode::Malformed, "no such path");
    };
    // An agent that was upgraded still has its certificate, so `exhibit agents` can show it.
    if let Ok(RequestAgent(entry)) = RequestAgent::from_request_parts(&mut parts, &gateway).await
        && let Err(refused) = note(&gateway, &entry, spoken).await
    {
        return refused;
    }
    Refused::new(RefusalCode::ProtocolUnsupported, detail)
}

/// Stores which version an agent speaks. Served again, it states its facts anew.
async fn note(gateway: &AgentsGateway, entry: &RosterEntry, spoken: u32) -> Result<(), Refused> {
    let known = entry.row();
    if known.facts.protocol == spoken {
        return Ok(());
    }
    gateway.0.admissions.admit()?; // a hostile agent changes its mind all the time
    let mut row = known.as_ref().clone();
    row.facts.protocol = spoken;
    gateway
        .ledger()
        .set_agent_facts(&row.id, &row.facts)
        .await?;
    warn!(agent = %row.id, protocol = spoken, "an agent speaks another protocol");
    gateway.0.roster.update(row);
    Ok(())
}
