//! Admits agents, and renews their certificates.

use axum::extract::{Request, State};
use axum::response::Response;
use data_encoding::HEXLOWER;
use evidence_format::digest::Digest;
use hmac::{Hmac, KeyInit as _, Mac as _};
use platform::clock;
use protocol::enroll::{Credentials, EnrollmentRequest, RenewalChallenge, RenewalRequest};
use protocol::facts::HostFacts;
use protocol::identity::{AgentKeys, Nonce, ProofMessage};
use protocol::poll::SpoolState;
use protocol::refusal::RefusalCode;
use sha2::Sha256;
use store::ledger::{AgentCertificate, AgentLabels, AgentRow, EnrollmentOutcome, RenewalOutcome};
use tracing::{info, warn};

use super::authority::unix_seconds;
use super::copies::check_machine;
use super::gateway::{AgentsGateway, answer, check_admitted};
use super::refused::Refused;
use crate::metrics::CertificateCause;

/// How long a challenge may be answered.
const CHALLENGE_SECONDS_MAX: u64 = 300;

/// `POST /agents/v1/enroll`.
pub(super) async fn enroll(
    State(gateway): State<AgentsGateway>,
    request: Request,
) -> Result<Response, Refused> {
    gateway.0.admissions.admit()?;
    let request: EnrollmentRequest = gateway.document(request).await?;
    let keys = AgentKeys::new(request.tls_key.0.clone(), request.bundle_key.0.clone())
        .map_err(|_| proof_rejected())?;
    let message = ProofMessage::Enrollment {
        token: request.token.to_string(),
        nonce: request.nonce.clone(),
    };
    if !keys.have_signed(&message, &request.proof) {
        return Err(proof_rejected());
    }
    check_facts(&request.facts)?;
    let secret = HEXLOWER
        .decode(request.secret.as_bytes())
        .unwrap_or_default();
    let now = clock::now();
    let new = AgentRow {
        id: keys.id(),
        certificate: certificate(&gateway, &keys, 1, request.nonce)?,
        keys,
        token: request.token,
        labels: AgentLabels::new(), // the ledger fills in those of the token
        facts: request.facts,
        enrolled_at: now,
        seen_at: now,
        spool: SpoolState::default(),
        capturing: None,
        locked: None,
        revoked: None,
    };
    let secret = Digest::of(&secret);
    let agent = match gateway.ledger().enroll_agent(&new, &secret).await? {
        EnrollmentOutcome::Enrolled(agent) => *agent,
        EnrollmentOutcome::TokenRejected => {
            warn!(token = %new.token, "an enrolment was refused: its token admits nobody");
            return Err(Refused::new(
                RefusalCode::TokenRejected,
                "the token is unknown, used up, expired or revoked: create another one",
            ));
        }
        EnrollmentOutcome::AlreadyEnrolled => {
            return Err(Refused::new(
                RefusalCode::TokenRejected,
                "an agent with this key is enrolled already: it renews its certificate by itself",
            ));
        }
    };
    check_admitted(&agent)?;
    info!(agent = %agent.id, token = %agent.token, "enrolled");
    gateway
        .metrics()
        .count_certificate(CertificateCause::Enrolment);
    let credentials = credentials(&gateway, &agent);
    gateway.0.roster.update(agent);
    Ok(answer(&credentials))
}

/// `GET /agents/v1/challenge`.
pub(super) async fn challenge(State(gateway): State<AgentsGateway>) -> Result<Response, Refused> {
    let random = platform::random_hex::<16>()?;
    let challenge = challenge_of(&gateway, unix_seconds(clock::now()), &random);
    Ok(answer(&RenewalChallenge { challenge }))
}

/// `POST /agents/v1/renew`.
pub(super) async fn renew(
    State(gateway): State<AgentsGateway>,
    request: Request,
) -> Result<Response, Refused> {
    gateway.0.admissions.admit()?;
    let request: RenewalRequest = gateway.document(request).await?;
    if !is_fresh(&gateway, &request.challenge) {
        return Err(proof_rejected());
    }
    let known = gateway.ledger().agent(&request.agent).await?;
    let known = known.ok_or_else(|| {
        Refused::new(
            RefusalCode::UnknownAgent,
            "no such agent is enrolled: enrol it",
        )
    })?;
    let message = ProofMessage::Renewal {
        challenge: request.challenge,
        generation: request.generation,
        nonce: request.nonce.clone(),
    };
    // Before anything is said about the agent: only its owner may learn of it.
    if !known.keys.have_signed(&message, &request.proof) {
        return Err(proof_rejected());
    }
    check_admitted(&known)?;
    check_facts(&request.facts)?;
    check_machine(&gateway, &known, &request.facts).await?;
    let next = request.generation.saturating_add(1);
    let new = certificate(&gateway, &known.keys, next, request.nonce)?;
    let renewed = gateway.ledger().renew_agent(
        &known.id,
        request.generation,
        &new,
        &request.facts,
        clock::now(),
    );
    match renewed.await? {
        RenewalOutcome::Renewed(agent) => {
            gateway
                .metrics()
                .count_certificate(CertificateCause::Renewal);
            let credentials = credentials(&gateway, &agent);
            gateway.0.roster.update(*agent);
            Ok(answer(&credentials))
        }
        RenewalOutcome::UnknownAgent => Err(Refused::new(
            RefusalCode::UnknownAgent,
            "no such agent is enrolled: enrol it",
        )),
        RenewalOutcome::Forked(agent) => {
            let reason = agent.locked.as_ref().map(|ban| ban.reason.clone());
            let reason = reason.unwrap_or_default();
            warn!(agent = %agent.id, reason, "an agent was locked");
            gateway
                .0
                .pipeline
                .tell_open_incidents(&agent, &reason)
                .await?;
            let entry = gateway.0.roster.update(*agent);
            entry.wake.notify_waiters();
            Err(Refused::new(
                RefusalCode::Locked,
                format!("this agent is locked: {reason}"),
            ))
        }
    }
}

pub(super) fn check_facts(facts: &HostFacts) -> Result<(), Refused> {
    if facts.is_within_limits() {
        Ok(())
    } else {
        let detail = "what the agent says about its host exceeds the protocol's limits";
        Err(Refused::new(RefusalCode::Malformed, detail))
    }
}

fn certificate(
    gateway: &AgentsGateway,
    keys: &AgentKeys,
    generation: u64,
    nonce: Nonce,
) -> Result<AgentCertificate, Refused> {
    let authority = gateway.authority();
    let issued = authority.issue(&keys.id(), generation, &keys.tls)?;
    Ok(AgentCertificate {
        generation,
        nonce,
        pem: issued.pem,
        digest: issued.digest,
        until: issued.until,
    })
}

fn credentials(gateway: &AgentsGateway, agent: &AgentRow) -> Credentials {
    let AgentCertificate {
        generation,
        pem,
        until,
        ..
    } = &agent.certificate;
    let left = unix_seconds(*until).saturating_sub(unix_seconds(clock::now()));
    Credentials {
        agent: agent.id.clone(),
        generation: *generation,
        certificate: pem.clone(),
        authorities: gateway.authority().told.clone(),
        expires_at: *until,
        renew_after_seconds: renewal_delay(left, platform::random_fraction()),
    }
}

/// At two thirds of the time that is left, up to a twelfth earlier: agents that were enrolled
/// together must not come back together.
fn renewal_delay(left_seconds: u64, random: f64) -> u64 {
    (left_seconds as f64 * (2.0 / 3.0 - random / 12.0)) as u64
}

/// A challenge that every collector of the database recognises: none has to remember it.
fn challenge_of(gateway: &AgentsGateway, seconds: u64, random: &str) -> String {
    let secret = gateway.authority().shared_secret;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(format!("{seconds}.{random}").as_bytes());
    let tag = HEXLOWER.encode(&mac.finalize().into_bytes());
    format!("{seconds}.{random}.{tag}")
}

fn is_fresh(gateway: &AgentsGateway, challenge: &str) -> bool {
    let mut parts = challenge.split('.');
    let (Some(seconds), Some(random)) = (parts.next(), parts.next()) else {
        return false;
    };
    let Ok(seconds) = seconds.parse::<u64>() else {
        return false;
    };
    let own = challenge_of(gateway, seconds, random);
    let is_own = subtle::ConstantTimeEq::ct_eq(own.as_bytes(), challenge.as_bytes());
    let age = unix_seconds(clock::now()).abs_diff(seconds);
    bool::from(is_own) && age <= CHALLENGE_SECONDS_MAX
}

fn proof_rejected() -> Refused {
    Refused::new(
        RefusalCode::ProofRejected,
        "the signatures do not prove both keys, or the challenge is too old",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_comes_between_seven_twelfths_and_two_thirds() {
        assert_eq!(renewal_delay(1200, 0.0), 800);
        assert_eq!(renewal_delay(1200, 0.999_999), 700);
        assert_eq!(renewal_delay(0, 0.5), 0);
    }
}
