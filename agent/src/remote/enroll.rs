//! Enrolment: the token admits this machine, once.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use evidence_format::keyring::SignError;
use platform::{durable, random_fraction};
use protocol::enroll::{Credentials, EnrollmentRequest};
use protocol::identity::{AgentId, Nonce, ProofMessage, WireKey};
use protocol::path;
use protocol::refusal::RefusalCode;
use protocol::token::EnrollmentToken;
use tokio::time::sleep;

use super::client::{ClientError, GatewayClient};
use super::facts::{facts, machine_id};
use super::renew::renew_at;
use super::run::{RETRY, say};
use super::state::{AgentIdentity, AgentState, StateError, read_failed, write_failed};
use super::tls::Authorities;

/// The nonce of an enrolment whose answer is not stored yet.
const ENROLLING: &str = "enrolling.nonce";
/// How long an enrolment waits for its turn.
const BUSY_MAX: Duration = Duration::from_secs(10 * 60);

/// What an enrolment needs.
#[derive(Clone, Debug)]
pub struct EnrollOptions {
    /// The URL of the collector's listener for agents.
    pub server: String,
    pub token: EnrollmentToken,
    /// The state folder.
    pub state: PathBuf,
    /// The host's root folder: `/`, or where a container has it mounted.
    pub root: PathBuf,
}

/// The machine was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    #[error("this machine is enrolled already, as agent {0}")]
    Enrolled(AgentId),
    #[error(transparent)]
    State(#[from] StateError),
    #[error("cannot enrol at {server}")]
    Client {
        server: String,
        #[source]
        cause: ClientError,
    },
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("cannot get randomness from the operating system")]
    Random(#[source] io::Error),
    /// The collector, or somebody in its place, has answered for another agent.
    #[error("the collector answered for agent {0}, which is not this one")]
    OtherAgent(AgentId),
}

/// Enrols this machine. Durable when this returns. Repeated after a lost answer, it uses the token
/// once.
///
/// # Errors
/// See [`EnrollError`].
pub async fn enroll(options: EnrollOptions) -> Result<AgentId, EnrollError> {
    let state = AgentState::open_or_create(&options.state)?;
    if let Some(identity) = state.identity()? {
        state.check_machine(&identity, machine_id(&options.root).as_deref())?;
        return Err(EnrollError::Enrolled(identity.credentials.agent));
    }
    let EnrollmentToken { id, secret, pin } = options.token;
    let nonce = nonce(&state)?;
    let message = ProofMessage::Enrollment {
        token: id.to_string(),
        nonce: nonce.clone(),
    };
    let (tls, bundle) = (state.tls_key.signer(), state.bundle_key.signer());
    let facts = facts(&options.root, &[]); // the service tells the rest
    let machine_id = facts.machine_id.clone();
    let request = EnrollmentRequest {
        token: id,
        secret: HEXLOWER.encode(&secret),
        tls_key: WireKey(state.keys.tls.clone()),
        bundle_key: WireKey(state.keys.bundle.clone()),
        nonce,
        proof: message.sign(&state.keys, tls, bundle)?,
        facts,
    };
    let sent = async {
        let client = GatewayClient::new(&options.server, &Authorities::Pinned(pin), None)?;
        send(&client, &request).await
    };
    let credentials = sent.await.map_err(|cause| EnrollError::Client {
        server: options.server.clone(),
        cause,
    })?;
    if credentials.agent != state.keys.id() {
        return Err(EnrollError::OtherAgent(credentials.agent));
    }
    let agent = credentials.agent.clone();
    state.store(&AgentIdentity {
        server: options.server,
        renew_at: renew_at(&credentials),
        credentials,
        machine_id,
        pending: None,
    })?;
    // if it stays, nothing reads it
    let _ = fs::remove_file(state.path(ENROLLING));
    Ok(agent)
}

/// Sends the request; again while the collector is busy with others, since whole fleets enrol at once.
async fn send(
    client: &GatewayClient,
    request: &EnrollmentRequest,
) -> Result<Credentials, ClientError> {
    let begun = Instant::now();
    let mut attempts = 0;
    loop {
        match client.post(path::ENROLL, request).await {
            Err(error) if error.code() == Some(RefusalCode::Busy) && begun.elapsed() < BUSY_MAX => {
                if attempts == 0 {
                    say(&format!("{error}; this enrolment waits for its turn"));
                }
                sleep(RETRY.equal_jitter(attempts, random_fraction())).await;
                attempts += 1;
            }
            answered => return answered,
        }
    }
}

/// The nonce of this enrolment. Stored before it is sent, and read again if the answer was lost.
fn nonce(state: &AgentState) -> Result<Nonce, EnrollError> {
    let path = state.path(ENROLLING);
    let new = Nonce::from_random(platform::random().map_err(EnrollError::Random)?);
    durable::create_new(&path, new.as_str().as_bytes(), 0o600).map_err(write_failed(&path))?;
    let stored = fs::read_to_string(&path).map_err(read_failed(&path))?;
    Ok(stored.parse().unwrap_or(new))
}
