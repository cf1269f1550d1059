//! Enrolment tokens: how many agents they admit, and until when.

use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use protocol::token::EnrollmentTokenId;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use super::{AgentLabels, json, json_column};
use crate::database::rows::{
    digest, execute, fetch_all, fetch_first, get, nanoseconds, number, optional_time, parsed, time,
    to_i64,
};
use crate::ledger::{Ledger, LedgerError};

/// An enrolment token as the ledger stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrollmentTokenRow {
    pub id: EnrollmentTokenId,
    pub secret_digest: Digest,
    /// The labels of the agents that it admits.
    pub labels: AgentLabels,
    pub uses_max: u64,
    pub uses: u64,
    pub created_at: Timestamp,
    pub created_by: String,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

impl EnrollmentTokenRow {
    /// True if it admits another agent.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at && self.uses < self.uses_max
    }
}

/// What [`use_token`] did.
pub(super) enum TokenUse {
    /// One use is counted; with the labels of the new agent.
    Counted(AgentLabels),
    Rejected,
}

impl Ledger {
    /// Adds an enrolment token.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn add_enrollment_token(&self, row: &EnrollmentTokenRow) -> Result<(), LedgerError> {
        self.db
            .write("add the enrolment token", |mut db, _| async move {
                // Ids are random: one that exists is that of an earlier attempt of this call.
                let insert = "INSERT INTO agent_tokens (id, secret_digest, labels, uses_max, uses,
                        created_at, created_by, expires_at, revoked_at)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
                let insert = query(insert)
                    .bind(row.id.as_str())
                    .bind(row.secret_digest.hex())
                    .bind(json(&row.labels))
                    .bind(to_i64(row.uses_max))
                    .bind(to_i64(row.uses))
                    .bind(nanoseconds(row.created_at))
                    .bind(row.created_by.as_str())
                    .bind(nanoseconds(row.expires_at))
                    .bind(row.revoked_at.map(nanoseconds));
                execute(&mut db, insert).await?;
                Ok((db, ()))
            })
            .await
    }

    /// All enrolment tokens, the newest first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn enrollment_tokens(&self) -> Result<Vec<EnrollmentTokenRow>, LedgerError> {
        self.db
            .read("list the enrolment tokens", |mut db| async move {
                let select = "SELECT * FROM agent_tokens ORDER BY created_at DESC, id";
                fetch_all(&mut db, query(select), token_row).await
            })
            .await
    }

    /// Revokes an enrolment token. Agents that it has admitted stay.
    ///
    /// # Errors
    /// [`LedgerError::UnknownEnrollmentToken`], and failures of the database.
    pub async fn revoke_enrollment_token(
        &self,
        id: &EnrollmentTokenId,
        at: Timestamp,
    ) -> Result<Timestamp, LedgerError> {
        self.db
            .write("revoke the enrolment token", |mut db, _| async move {
                let update = "UPDATE agent_tokens SET revoked_at = $2
                    WHERE id = $1 AND revoked_at IS NULL";
                let update = query(update).bind(id.as_str()).bind(nanoseconds(at));
                execute(&mut db, update).await?;
                let revoked_at = find_token(&mut db, id)
                    .await?
                    .and_then(|token| token.revoked_at)
                    .ok_or_else(|| LedgerError::UnknownEnrollmentToken(id.clone()))?;
                Ok((db, revoked_at))
            })
            .await
    }
}

/// Counts one use of a token. The one statement decides, so a token never admits too many.
pub(super) async fn use_token(
    db: &mut AnyConnection,
    id: &EnrollmentTokenId,
    secret: &Digest,
    now: Timestamp,
) -> Result<TokenUse, sqlx::Error> {
    // The digest is compared by the database: what its time reveals of a digest of random bytes
    // does not help to guess them.
    let update = "UPDATE agent_tokens SET uses = uses + 1
        WHERE id = $1 AND secret_digest = $2 AND revoked_at IS NULL AND uses < uses_max
        AND expires_at > $3 RETURNING labels";
    let update = query(update)
        .bind(id.as_str())
        .bind(secret.hex())
        .bind(nanoseconds(now));
    let labels = fetch_first(db, update, |row| json_column(row, "labels")).await?;
    Ok(labels.map_or(TokenUse::Rejected, TokenUse::Counted))
}

async fn find_token(
    db: &mut AnyConnection,
    id: &EnrollmentTokenId,
) -> Result<Option<EnrollmentTokenRow>, sqlx::Error> {
    let select = query("SELECT * FROM agent_tokens WHERE id = $1").bind(id.as_str());
    fetch_first(db, select, token_row).await
}

fn token_row(row: &AnyRow) -> Result<EnrollmentTokenRow, sqlx::Error> {
    Ok(EnrollmentTokenRow {
        id: parsed(row, "id")?,
        secret_digest: digest(row, "secret_digest")?,
        labels: json_column(row, "labels")?,
        uses_max: number(row, "uses_max")?,
        uses: number(row, "uses")?,
        created_at: time(row, "created_at")?,
        created_by: get(row, "created_by")?,
        expires_at: time(row, "expires_at")?,
        revoked_at: optional_time(row, "revoked_at")?,
    })
}
