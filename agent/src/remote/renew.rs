//! Renews the agent's certificate: in time, or after months.

use std::time::Duration;

use evidence_format::time::Timestamp;
use platform::clock;
use protocol::enroll::{Credentials, RenewalChallenge, RenewalRequest};
use protocol::facts::HostFacts;
use protocol::identity::{Nonce, ProofMessage};
use protocol::path;

use super::client::GatewayClient;
use super::error::RunError;
use super::state::{AgentIdentity, AgentState};
use super::tls::Authorities;

/// Gets a new certificate and stores it.
///
/// The nonce is stored before it is sent. If the answer is lost, the same request is repeated and
/// gets the same certificate; a new one would look like a second user of the agent's keys.
pub(super) async fn renew(
    state: &AgentState,
    identity: &mut AgentIdentity,
    facts: &HostFacts,
) -> Result<(), RunError> {
    let nonce = match &identity.pending {
        Some(nonce) => nonce.clone(),
        None => {
            let nonce = Nonce::from_random(platform::random().map_err(RunError::Random)?);
            identity.pending = Some(nonce.clone());
            state.store(identity)?;
            nonce
        }
    };
    // Without a certificate: the one that it replaces may have expired.
    let authorities = Authorities::Known(identity.credentials.authorities.clone());
    let client = GatewayClient::new(&identity.server, &authorities, None)?;
    let RenewalChallenge { challenge } = client.get(path::CHALLENGE).await?;
    let generation = identity.credentials.generation;
    let message = ProofMessage::Renewal {
        challenge: challenge.clone(),
        generation,
        nonce: nonce.clone(),
    };
    let (tls, bundle) = (state.tls_key.signer(), state.bundle_key.signer());
    let request = RenewalRequest {
        agent: state.keys.id(),
        generation,
        nonce,
        challenge,
        proof: message.sign(&state.keys, tls, bundle)?,
        facts: facts.clone(),
    };
    let credentials: Credentials = client.post(path::RENEW, &request).await?;
    identity.renew_at = renew_at(&credentials);
    identity.credentials = credentials;
    identity.pending = None;
    Ok(state.store(identity)?)
}

/// When the agent renews, by its own clock.
pub(super) fn renew_at(credentials: &Credentials) -> Timestamp {
    let delay = Duration::from_secs(credentials.renew_after_seconds);
    let now = clock::now();
    let nanoseconds = i128::try_from(delay.as_nanos()).unwrap_or(i128::MAX);
    Timestamp::from_unix_nanoseconds(now.unix_nanoseconds().saturating_add(nanoseconds))
        .unwrap_or(now)
}
