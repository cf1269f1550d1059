//! What people do with agents: tokens that admit them, and the list.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use api::{
    AgentDetails, AgentFindingInfo, AgentInfo, AgentPatch, AgentStanding, EnrollmentTokenInfo,
    EnrollmentTokenRequest, EnrollmentTokenWithSecret,
};
use domain::hosts::{HostLabel, source_of_agent};
use domain::incident::Name;
use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use platform::clock;
use protocol::identity::AgentId;
use protocol::keyring::AgentKeyring;
use protocol::token::{EnrollmentToken, EnrollmentTokenId};
use store::ledger::{AgentBan, AgentLabels, AgentRow, EnrollmentTokenRow, Ledger, LedgerError};

use super::authority::{AuthorityError, CertificateAuthority};

/// How long an enrolment token is valid by default: as long as it takes to copy it to a host.
const VALIDITY_DEFAULT: Duration = Duration::from_secs(15 * 60);
/// The longest validity: images and automation get a new token in time.
const VALIDITY_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// Agents that one token may admit.
const USES_MAX: u64 = 100_000;

/// No token was created.
#[derive(Debug, thiserror::Error)]
pub enum EnrollmentTokenError {
    #[error("an enrolment token is valid for {} days at most", VALIDITY_MAX.as_secs() / 86_400)]
    TooLong,
    #[error("an enrolment token admits 1 to {USES_MAX} agents")]
    Uses,
    #[error("cannot get randomness from the operating system")]
    Random(#[from] io::Error),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Creates an enrolment token; at first use, also the authority that it names. Its secret exists
/// only in the returned value.
///
/// # Errors
/// See [`EnrollmentTokenError`].
pub async fn create_token(
    ledger: &Ledger,
    request: EnrollmentTokenRequest,
    by: &Name,
    server: Option<String>,
) -> Result<EnrollmentTokenWithSecret, EnrollmentTokenError> {
    let EnrollmentTokenRequest {
        labels,
        uses,
        valid_seconds,
    } = request;
    let uses = uses.unwrap_or(1);
    if !(1..=USES_MAX).contains(&uses) {
        return Err(EnrollmentTokenError::Uses);
    }
    let validity = valid_seconds.map_or(VALIDITY_DEFAULT, Duration::from_secs);
    let now = clock::now();
    let nanoseconds = i128::try_from(validity.as_nanos()).unwrap_or(i128::MAX);
    let expires_at =
        Timestamp::from_unix_nanoseconds(now.unix_nanoseconds().saturating_add(nanoseconds));
    let expires_at = expires_at
        .filter(|_| validity <= VALIDITY_MAX)
        .ok_or(EnrollmentTokenError::TooLong)?;
    let authority = CertificateAuthority::open(ledger).await?;
    let token = EnrollmentToken {
        id: EnrollmentTokenId::from_random(platform::random()?),
        secret: platform::random()?,
        pin: authority.pin,
    };
    let row = EnrollmentTokenRow {
        id: token.id.clone(),
        secret_digest: Digest::of(&token.secret),
        labels: label_map(labels),
        uses_max: uses,
        uses: 0,
        created_at: now,
        created_by: by.as_str().to_owned(),
        expires_at,
        revoked_at: None,
    };
    ledger.add_enrollment_token(&row).await?;
    Ok(EnrollmentTokenWithSecret {
        token: token.text(),
        server,
        info: token_info(row),
    })
}

/// An enrolment token as the API shows it.
#[must_use]
pub fn token_info(row: EnrollmentTokenRow) -> EnrollmentTokenInfo {
    EnrollmentTokenInfo {
        id: row.id,
        labels: row.labels,
        uses: row.uses,
        uses_max: row.uses_max,
        created_at: row.created_at,
        created_by: row.created_by,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
    }
}

/// All agents as the API shows them.
///
/// # Errors
/// Failures of the database.
pub async fn agents(ledger: &Ledger) -> Result<Vec<AgentInfo>, LedgerError> {
    let rows = ledger.agents().await?;
    let mut latest: HashMap<String, &AgentRow> = HashMap::new();
    for row in rows.iter().filter(|row| row.revoked.is_none()) {
        let latest = latest.entry(host_key(row)).or_insert(row);
        if latest.enrolled_at < row.enrolled_at {
            *latest = row;
        }
    }
    let with_successor = |row: &AgentRow| AgentInfo {
        successor: latest
            .get(&host_key(row))
            .filter(|latest| latest.enrolled_at > row.seen_at)
            .map(|latest| latest.id.clone()),
        ..agent_info(row)
    };
    Ok(rows.iter().map(with_successor).collect())
}

/// The name by which people know the host.
fn host_key(row: &AgentRow) -> String {
    row.facts.host.to_ascii_lowercase()
}

/// An agent as the API shows it, without the others.
fn agent_info(row: &AgentRow) -> AgentInfo {
    let refusal = protocol::version::refusal(row.facts.protocol);
    let (standing, reason) = match (&row.revoked, &row.locked, refusal) {
        (Some(ban), _, _) => (AgentStanding::Revoked, Some(ban.reason.clone())),
        (None, Some(ban), _) => (AgentStanding::Locked, Some(ban.reason.clone())),
        (None, None, Some(refusal)) => (AgentStanding::Incompatible, Some(refusal)),
        (None, None, None) => (AgentStanding::Admitted, None),
    };
    let facts = row.facts.clone();
    AgentInfo {
        id: row.id.clone(),
        host: facts.host,
        labels: row.labels.clone(),
        standing,
        reason,
        enrolled_at: row.enrolled_at,
        seen_at: row.seen_at,
        version: facts.version,
        protocol: facts.protocol,
        os: facts.os,
        kernel: facts.kernel,
        machine_id: facts.machine_id,
        addresses: facts.addresses,
        cloud_instance: facts.cloud_instance,
        kubernetes_node: facts.kubernetes_node,
        successor: None,
        undelivered_bundles: row.spool.bundles,
        undelivered_bytes: row.spool.bytes,
        key: row.keys.bundle.id().fingerprint(),
        token: row.token.clone(),
    }
}

/// An agent with the findings about it.
///
/// # Errors
/// [`LedgerError::UnknownAgent`], and failures of the database.
pub async fn agent_details(ledger: &Ledger, id: &AgentId) -> Result<AgentDetails, LedgerError> {
    let mut agents = agents(ledger).await?.into_iter();
    let info = agents.find(|agent| agent.id == *id);
    let info = info.ok_or_else(|| LedgerError::UnknownAgent(id.clone()))?;
    let findings = ledger.agent_findings(id).await?;
    let findings = findings.into_iter().map(|finding| AgentFindingInfo {
        found_at: finding.found_at,
        detail: finding.detail,
    });
    Ok(AgentDetails {
        info,
        findings: findings.collect(),
    })
}

/// Changes an agent. A revoked one has no more orders: the absence of its bundles is sealed at once.
///
/// # Errors
/// [`LedgerError::UnknownAgent`], and failures of the database.
pub async fn change_agent(
    ledger: &Ledger,
    id: &AgentId,
    patch: AgentPatch,
) -> Result<(), LedgerError> {
    let AgentPatch {
        labels,
        locked,
        revoke,
    } = patch;
    if let Some(labels) = labels {
        ledger.label_agent(id, &label_map(labels)).await?;
    }
    if locked == Some(false) {
        ledger.unlock_agent(id).await?;
    }
    if let Some(reason) = revoke {
        let ban = AgentBan {
            at: clock::now(),
            reason: reason.to_string(),
        };
        ledger.revoke_agent(id, &ban).await?;
        ledger.end_orders(&source_of_agent(id), ban.at).await?;
    }
    Ok(())
}

/// The keyring of all agents, for auditors: also of those that were revoked, which vouched for their
/// hosts until then.
///
/// # Errors
/// Failures of the database.
pub async fn keyring(ledger: &Ledger) -> Result<AgentKeyring, LedgerError> {
    let agents = ledger.agents().await?;
    Ok(AgentKeyring {
        agents: agents.iter().map(pipeline::keyring_agent).collect(),
    })
}

fn label_map(labels: Vec<HostLabel>) -> AgentLabels {
    let labels = labels.into_iter();
    labels
        .map(|HostLabel { key, value }| (key, value))
        .collect()
}
