//! Agents: the authorities that issue their certificates, the tokens that admit them, their keys and
//! their state; and the [`orders`] that they capture.
//!
//! **Trusted.** An attacker who can write here can admit an agent, or change which host an agent
//! vouches for. One who can read `agent_authorities` can issue certificates: pose as a collector
//! towards agents, which then capture and hand over what their own configuration allows; and open
//! connections as any agent, but not sign bundles as one.

mod findings;
mod orders;
mod tokens;

pub use findings::AgentFinding;
pub use orders::{DeliveredBundle, OrderRequest};
pub use tokens::EnrollmentTokenRow;

use std::collections::BTreeMap;

use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use protocol::facts::HostFacts;
use protocol::identity::{AgentId, AgentKeys, Nonce, WireKey};
use protocol::poll::{OrderId, SpoolState};
use protocol::token::EnrollmentTokenId;
use protocol::version::{PROTOCOL, PROTOCOL_MIN};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use super::numbers::draw_number;
use super::{Ledger, LedgerError};
use crate::database::rows::{
    bad_value, digest, execute, fetch_all, fetch_first, get, nanoseconds, number, optional_time,
    parsed, time, to_i64,
};
use findings::insert_finding;
use tokens::{TokenUse, use_token};

// `Ledger::agent_counts` compares with one version.
const _: () = assert!(PROTOCOL == PROTOCOL_MIN);

/// The counter of [`Ledger::agent_changes`].
const CHANGES: &str = "agent_changes";

/// The labels of an agent: key and value.
pub type AgentLabels = BTreeMap<String, String>;

/// An authority: its certificate and its secret key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorityRow {
    pub generation: u64,
    pub certificate: String,
    pub secret_key: String,
    pub created_at: Timestamp,
}

/// An agent as the ledger stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRow {
    pub id: AgentId,
    pub keys: AgentKeys,
    /// The token that admitted it.
    pub token: EnrollmentTokenId,
    pub labels: AgentLabels,
    pub facts: HostFacts,
    pub certificate: AgentCertificate,
    pub enrolled_at: Timestamp,
    /// Its last contact, some seconds old.
    pub seen_at: Timestamp,
    pub spool: SpoolState,
    /// The order that it carried out at its last contact.
    pub capturing: Option<OrderId>,
    pub locked: Option<AgentBan>,
    pub revoked: Option<AgentBan>,
}

/// A contact of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentContact {
    pub agent: AgentId,
    pub at: Timestamp,
    pub spool: SpoolState,
    pub capturing: Option<OrderId>,
}

/// What an agent has said at its last contact, as the column `spool` has it.
#[derive(Serialize, Deserialize)]
struct StoredContact {
    #[serde(flatten)]
    spool: SpoolState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capturing: Option<OrderId>,
}

/// The current certificate of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentCertificate {
    pub generation: u64,
    /// Of the request that it answers.
    pub nonce: Nonce,
    pub pem: String,
    /// SHA-256 of its DER.
    pub digest: Digest,
    pub until: Timestamp,
}

/// Since when an agent may not connect, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentBan {
    pub at: Timestamp,
    pub reason: String,
}

/// Agents in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentCounts {
    pub connected: u64,
    pub silent: u64,
    /// They speak a protocol that this collector does not speak.
    pub incompatible: u64,
    pub locked: u64,
    pub revoked: u64,
}

/// What became of an enrolment.
#[derive(Debug, PartialEq, Eq)]
pub enum EnrollmentOutcome {
    Enrolled(Box<AgentRow>),
    /// The token is unknown, used up, expired or revoked, or the secret is wrong.
    TokenRejected,
    /// An agent with this id is enrolled already, by another request.
    AlreadyEnrolled,
}

/// What became of a renewal.
#[derive(Debug, PartialEq, Eq)]
pub enum RenewalOutcome {
    /// With the new certificate, or with the one that the same request got before.
    Renewed(Box<AgentRow>),
    UnknownAgent,
    /// Another user of the same keys has renewed. The agent is locked from now on.
    Forked(Box<AgentRow>),
}

impl Ledger {
    /// The authorities, the newest first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn agent_authorities(&self) -> Result<Vec<AuthorityRow>, LedgerError> {
        self.db
            .read("read the agents' authorities", |mut db| async move {
                let select = "SELECT * FROM agent_authorities ORDER BY generation DESC";
                fetch_all(&mut db, query(select), authority_row).await
            })
            .await
    }

    /// Adds an authority unless one of its generation exists. Of collectors that do so at once, one
    /// adds it, and all read that one.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn add_agent_authority(&self, new: &AuthorityRow) -> Result<(), LedgerError> {
        self.db
            .write("add an authority of agents", |mut db, _| async move {
                let insert = "INSERT INTO agent_authorities
                    (generation, certificate, secret_key, created_at) VALUES ($1, $2, $3, $4)
                    ON CONFLICT DO NOTHING";
                let insert = query(insert)
                    .bind(to_i64(new.generation))
                    .bind(new.certificate.as_str())
                    .bind(new.secret_key.as_str())
                    .bind(nanoseconds(new.created_at));
                execute(&mut db, insert).await?;
                Ok((db, ()))
            })
            .await
    }

    /// Admits an agent and counts one use of its token, in one transaction. Idempotent for the same
    /// keys and nonce. The labels are those of the token.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn enroll_agent(
        &self,
        new: &AgentRow,
        secret: &Digest,
    ) -> Result<EnrollmentOutcome, LedgerError> {
        self.db
            .write("enrol an agent", |mut db, _| async move {
                if let Some(known) = find_agent(&mut db, &new.id).await? {
                    // The answer to an earlier attempt was lost.
                    let is_same = known.keys == new.keys
                        && known.token == new.token
                        && known.certificate.nonce == new.certificate.nonce;
                    let outcome = if is_same {
                        EnrollmentOutcome::Enrolled(Box::new(known))
                    } else {
                        EnrollmentOutcome::AlreadyEnrolled
                    };
                    return Ok((db, outcome));
                }
                let now = new.enrolled_at;
                let labels = match use_token(&mut db, &new.token, secret, now).await? {
                    TokenUse::Counted(labels) => labels,
                    TokenUse::Rejected => return Ok((db, EnrollmentOutcome::TokenRejected)),
                };
                let agent = AgentRow {
                    labels,
                    ..new.clone()
                };
                insert_agent(&mut db, &agent).await?;
                Ok((db, EnrollmentOutcome::Enrolled(Box::new(agent))))
            })
            .await
    }

    /// Replaces the certificate of generation `from` by `new`. Repeated with the same nonce, it
    /// returns the certificate that it made before. If another request has replaced that generation,
    /// two parties use the agent's keys: the agent is locked, and the finding is stored.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn renew_agent(
        &self,
        id: &AgentId,
        from: u64,
        new: &AgentCertificate,
        facts: &HostFacts,
        now: Timestamp,
    ) -> Result<RenewalOutcome, LedgerError> {
        self.db
            .write("renew the certificate of an agent", |mut db, _| async move {
                let Some(known) = find_agent(&mut db, id).await? else {
                    return Ok((db, RenewalOutcome::UnknownAgent));
                };
                let last = &known.certificate;
                if last.generation == from + 1 && last.nonce == new.nonce {
                    return Ok((db, RenewalOutcome::Renewed(Box::new(known))));
                }
                if last.generation != from {
                    let reason = format!(
                        "two users of one key: one has certificate {}, another asked to replace {from}",
                        last.generation
                    );
                    lock(&mut db, &known, now, &reason).await?;
                    let known = find_agent(&mut db, id).await?.unwrap_or(known);
                    return Ok((db, RenewalOutcome::Forked(Box::new(known))));
                }
                let update = "UPDATE agents SET generation = $2, nonce = $3, certificate = $4,
                    certificate_digest = $5, certificate_until = $6, facts = $7, seen_at = $8
                    WHERE id = $1";
                let update = query(update)
                    .bind(id.as_str())
                    .bind(to_i64(new.generation))
                    .bind(new.nonce.as_str())
                    .bind(new.pem.as_str())
                    .bind(new.digest.hex())
                    .bind(nanoseconds(new.until))
                    .bind(json(facts))
                    .bind(nanoseconds(now));
                execute(&mut db, update).await?;
                let renewed = AgentRow {
                    certificate: new.clone(),
                    facts: facts.clone(),
                    seen_at: now,
                    ..known
                };
                Ok((db, RenewalOutcome::Renewed(Box::new(renewed))))
            })
            .await
    }

    /// # Errors
    /// Failures of the database.
    pub async fn agent(&self, id: &AgentId) -> Result<Option<AgentRow>, LedgerError> {
        self.db
            .read("read the agent", |mut db| async move {
                find_agent(&mut db, id).await
            })
            .await
    }

    /// The agent whose current certificate this is.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn agent_by_certificate(
        &self,
        certificate: &Digest,
    ) -> Result<Option<AgentRow>, LedgerError> {
        let digest = &certificate.hex();
        self.db
            .read("find the agent of a certificate", |mut db| async move {
                let select = "SELECT * FROM agents WHERE certificate_digest = $1";
                fetch_first(&mut db, query(select).bind(digest.as_str()), agent_row).await
            })
            .await
    }

    /// Counts the changes that people have made to agents, and the locks. A collector that knows the
    /// number need not read the agents again.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn agent_changes(&self) -> Result<u64, LedgerError> {
        self.db
            .read("count the changes of agents", |mut db| async move {
                let select = query("SELECT last FROM numbers WHERE name = $1").bind(CHANGES);
                let last = fetch_first(&mut db, select, |row| number(row, "last")).await?;
                Ok(last.unwrap_or(0))
            })
            .await
    }

    /// All agents, by id. Some MiB for 10,000.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn agents(&self) -> Result<Vec<AgentRow>, LedgerError> {
        self.db
            .read("list the agents", |mut db| async move {
                let select = query("SELECT * FROM agents ORDER BY id");
                fetch_all(&mut db, select, agent_row).await
            })
            .await
    }

    /// How many agents there are in each state. One that had no contact since `silent_since` is silent.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn agent_counts(&self, silent_since: Timestamp) -> Result<AgentCounts, LedgerError> {
        // The facts are JSON that this program has written, in which a quote in a text is escaped: so
        // no text of an agent can look like the member.
        let select = "SELECT state, COUNT(*) AS agents FROM (SELECT CASE
                WHEN revoked_at IS NOT NULL THEN 'revoked'
                WHEN locked_at IS NOT NULL THEN 'locked'
                WHEN facts LIKE '%\"protocol\":%' AND facts NOT LIKE $2 THEN 'incompatible'
                WHEN seen_at < $1 THEN 'silent'
                ELSE 'connected' END AS state FROM agents) AS states GROUP BY state";
        let spoken = &format!("%\"protocol\":{PROTOCOL},%");
        self.db
            .read("count the agents", |mut db| async move {
                let select = query(select)
                    .bind(nanoseconds(silent_since))
                    .bind(spoken.as_str());
                let count =
                    |row: &AnyRow| Ok((get::<String>(row, "state")?, number(row, "agents")?));
                let mut counts = AgentCounts::default();
                for (state, agents) in fetch_all(&mut db, select, count).await? {
                    *match state.as_str() {
                        "revoked" => &mut counts.revoked,
                        "locked" => &mut counts.locked,
                        "incompatible" => &mut counts.incompatible,
                        "silent" => &mut counts.silent,
                        _ => &mut counts.connected,
                    } = agents;
                }
                Ok(counts)
            })
            .await
    }

    /// Revokes an agent for good. Returns when it was revoked: if it was before, that earlier time.
    ///
    /// # Errors
    /// [`LedgerError::UnknownAgent`], and failures of the database.
    pub async fn revoke_agent(
        &self,
        id: &AgentId,
        ban: &AgentBan,
    ) -> Result<Timestamp, LedgerError> {
        self.db
            .write("revoke the agent", |mut db, _| async move {
                let update = "UPDATE agents SET revoked_at = $2, revoked_reason = $3
                    WHERE id = $1 AND revoked_at IS NULL";
                execute(&mut db, ban_query(update, id, ban)).await?;
                draw_number(&mut db, CHANGES).await?;
                let known = find_agent(&mut db, id).await?;
                let known = known.ok_or_else(|| LedgerError::UnknownAgent(id.clone()))?;
                let at = known.revoked.map_or(ban.at, |revoked| revoked.at);
                Ok((db, at))
            })
            .await
    }

    /// Locks an agent, and stores why as a finding. Changes nothing if it is locked.
    ///
    /// # Errors
    /// [`LedgerError::UnknownAgent`], and failures of the database.
    pub async fn lock_agent(&self, id: &AgentId, ban: &AgentBan) -> Result<(), LedgerError> {
        self.db
            .write("lock the agent", |mut db, _| async move {
                let known = find_agent(&mut db, id).await?;
                let known = known.ok_or_else(|| LedgerError::UnknownAgent(id.clone()))?;
                lock(&mut db, &known, ban.at, &ban.reason).await?;
                Ok((db, ()))
            })
            .await
    }

    /// Unlocks an agent. The certificate that it has counts as the current one.
    ///
    /// # Errors
    /// [`LedgerError::UnknownAgent`], and failures of the database.
    pub async fn unlock_agent(&self, id: &AgentId) -> Result<(), LedgerError> {
        let update = "UPDATE agents SET locked_at = NULL, locked_reason = NULL WHERE id = $1";
        self.update_agent("unlock the agent", id, || query(update).bind(id.as_str()))
            .await
    }

    /// Replaces the labels of an agent.
    ///
    /// # Errors
    /// [`LedgerError::UnknownAgent`], and failures of the database.
    pub async fn label_agent(&self, id: &AgentId, labels: &AgentLabels) -> Result<(), LedgerError> {
        let update = "UPDATE agents SET labels = $2 WHERE id = $1";
        let labels = &json(labels);
        self.update_agent("label the agent", id, || {
            query(update).bind(id.as_str()).bind(labels.as_str())
        })
        .await
    }

    /// Stores what an agent says about its host.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn set_agent_facts(
        &self,
        id: &AgentId,
        facts: &HostFacts,
    ) -> Result<(), LedgerError> {
        let facts = &json(facts);
        self.db
            .write_once("store the facts of the agent", |mut db| async move {
                let update = query("UPDATE agents SET facts = $2 WHERE id = $1");
                execute(&mut db, update.bind(id.as_str()).bind(facts.as_str())).await?;
                Ok(())
            })
            .await
    }

    /// Stores the last contacts of many agents, in one transaction.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn touch_agents(&self, contacts: &[AgentContact]) -> Result<(), LedgerError> {
        self.db
            .write("store the contacts of agents", |mut db, _| async move {
                for contact in contacts {
                    // Collectors write in batches: an older contact must not replace a newer one.
                    let update = "UPDATE agents SET seen_at = $2, spool = $3
                        WHERE id = $1 AND seen_at < $2";
                    let update = query(update)
                        .bind(contact.agent.as_str())
                        .bind(nanoseconds(contact.at))
                        .bind(stored_contact(contact.spool, contact.capturing.as_ref()));
                    execute(&mut db, update).await?;
                }
                Ok((db, ()))
            })
            .await
    }

    async fn update_agent<'q>(
        &self,
        attempt: &'static str,
        id: &AgentId,
        update: impl Fn() -> crate::database::rows::Query<'q>,
    ) -> Result<(), LedgerError> {
        self.db
            .write(attempt, |mut db, _| {
                let update = update();
                async move {
                    if execute(&mut db, update).await? == 0 {
                        return Err(LedgerError::UnknownAgent(id.clone()).into());
                    }
                    draw_number(&mut db, CHANGES).await?;
                    Ok((db, ()))
                }
            })
            .await
    }
}

async fn lock(
    db: &mut AnyConnection,
    agent: &AgentRow,
    at: Timestamp,
    reason: &str,
) -> Result<(), sqlx::Error> {
    if agent.locked.is_some() {
        return Ok(()); // the finding is known
    }
    let ban = AgentBan {
        at,
        reason: reason.to_owned(),
    };
    let update = "UPDATE agents SET locked_at = $2, locked_reason = $3 WHERE id = $1";
    execute(db, ban_query(update, &agent.id, &ban)).await?;
    draw_number(db, CHANGES).await?;
    insert_finding(db, &agent.id, at, reason).await
}

fn ban_query<'q>(
    update: &'static str,
    id: &'q AgentId,
    ban: &'q AgentBan,
) -> crate::database::rows::Query<'q> {
    query(update)
        .bind(id.as_str())
        .bind(nanoseconds(ban.at))
        .bind(ban.reason.clone())
}

async fn insert_agent(db: &mut AnyConnection, agent: &AgentRow) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO agents (id, tls_key, bundle_key, token, labels, facts, generation,
            nonce, certificate, certificate_digest, certificate_until, enrolled_at, seen_at, spool)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    let AgentCertificate {
        generation,
        nonce,
        pem,
        digest,
        until,
    } = &agent.certificate;
    let insert = query(insert)
        .bind(agent.id.as_str())
        .bind(WireKey(agent.keys.tls.clone()).to_string())
        .bind(WireKey(agent.keys.bundle.clone()).to_string())
        .bind(agent.token.as_str())
        .bind(json(&agent.labels))
        .bind(json(&agent.facts))
        .bind(to_i64(*generation))
        .bind(nonce.as_str())
        .bind(pem.as_str())
        .bind(digest.hex())
        .bind(nanoseconds(*until))
        .bind(nanoseconds(agent.enrolled_at))
        .bind(nanoseconds(agent.seen_at))
        .bind(stored_contact(agent.spool, agent.capturing.as_ref()));
    execute(db, insert).await?;
    Ok(())
}

async fn find_agent(db: &mut AnyConnection, id: &AgentId) -> Result<Option<AgentRow>, sqlx::Error> {
    let select = query("SELECT * FROM agents WHERE id = $1").bind(id.as_str());
    fetch_first(db, select, agent_row).await
}

fn agent_row(row: &AnyRow) -> Result<AgentRow, sqlx::Error> {
    let (tls, bundle): (WireKey, WireKey) = (parsed(row, "tls_key")?, parsed(row, "bundle_key")?);
    let keys = AgentKeys::new(tls.0, bundle.0);
    let StoredContact { spool, capturing } = json_column(row, "spool")?;
    Ok(AgentRow {
        id: parsed(row, "id")?,
        keys: keys.map_err(|error| bad_value("tls_key", error))?,
        token: parsed(row, "token")?,
        labels: json_column(row, "labels")?,
        facts: json_column(row, "facts")?,
        certificate: AgentCertificate {
            generation: number(row, "generation")?,
            nonce: parsed(row, "nonce")?,
            pem: get(row, "certificate")?,
            digest: digest(row, "certificate_digest")?,
            until: time(row, "certificate_until")?,
        },
        enrolled_at: time(row, "enrolled_at")?,
        seen_at: time(row, "seen_at")?,
        spool,
        capturing,
        locked: ban(row, "locked_at", "locked_reason")?,
        revoked: ban(row, "revoked_at", "revoked_reason")?,
    })
}

fn ban(
    row: &AnyRow,
    at: &'static str,
    reason: &'static str,
) -> Result<Option<AgentBan>, sqlx::Error> {
    let Some(at) = optional_time(row, at)? else {
        return Ok(None);
    };
    let reason: Option<String> = get(row, reason)?;
    Ok(Some(AgentBan {
        at,
        reason: reason.unwrap_or_default(),
    }))
}

fn authority_row(row: &AnyRow) -> Result<AuthorityRow, sqlx::Error> {
    Ok(AuthorityRow {
        generation: number(row, "generation")?,
        certificate: get(row, "certificate")?,
        secret_key: get(row, "secret_key")?,
        created_at: time(row, "created_at")?,
    })
}

fn stored_contact(spool: SpoolState, capturing: Option<&OrderId>) -> String {
    json(&StoredContact {
        spool,
        capturing: capturing.cloned(),
    })
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers are JSON")
}

fn json_column<T: DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<T, sqlx::Error> {
    let text: &str = get(row, column)?;
    serde_json::from_str(text).map_err(|_| bad_value(column, text))
}
