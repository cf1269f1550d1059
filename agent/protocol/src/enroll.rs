//! Enrolment, and the renewal of certificates.

use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::facts::HostFacts;
use crate::identity::{AgentId, KeyProof, Nonce, WireKey};
use crate::token::EnrollmentTokenId;

/// Asks to be admitted. Repeated with the same keys and nonce, it gets the same answer and uses the
/// token once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentRequest {
    pub token: EnrollmentTokenId,
    /// Hex digits of the token's secret.
    pub secret: String,
    pub tls_key: WireKey,
    pub bundle_key: WireKey,
    pub nonce: Nonce,
    /// Both keys over [`ProofMessage::Enrollment`](crate::identity::ProofMessage::Enrollment).
    pub proof: KeyProof,
    pub facts: HostFacts,
}

/// What a renewal must sign. Valid for some minutes, at every collector of the same database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RenewalChallenge {
    pub challenge: String,
}

/// Asks for a new certificate. Needs no certificate itself: an agent that was off for months
/// recovers by the same request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewalRequest {
    pub agent: AgentId,
    /// The generation of the last certificate that the agent has stored.
    pub generation: u64,
    pub nonce: Nonce,
    pub challenge: String,
    /// Both keys over [`ProofMessage::Renewal`](crate::identity::ProofMessage::Renewal).
    pub proof: KeyProof,
    pub facts: HostFacts,
}

/// A certificate for the agent's TLS key, and the authorities by which it knows collectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    pub agent: AgentId,
    /// Counts the agent's certificates, from 1. Two users of one key ask for the same number twice,
    /// and are both locked.
    pub generation: u64,
    /// PEM.
    pub certificate: String,
    /// PEM of each authority whose collectors the agent may believe: two while one replaces the
    /// other.
    pub authorities: Vec<String>,
    pub expires_at: Timestamp,
    /// Seconds until the agent should renew: relative, since its clock may be wrong.
    pub renew_after_seconds: u64,
}
