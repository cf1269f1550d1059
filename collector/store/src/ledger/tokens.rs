//! API tokens: who may use the API, and for what.

use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use super::incidents::check_incident;
use super::{Ledger, LedgerError};
use crate::database::rows::{
    digest, execute, fetch_all, fetch_first, get, nanoseconds, optional_parsed, optional_time,
    parsed, time,
};
use domain::token::{TokenId, TokenRole};

/// A token as the ledger stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    pub id: TokenId,
    pub secret_digest: Digest,
    pub role: TokenRole,
    /// Tells people whose token it is.
    pub label: String,
    /// The only incident that it may see; `None` for all.
    pub incident: Option<IncidentId>,
    pub created_at: Timestamp,
    /// The token is invalid from this time on.
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
}

impl TokenRow {
    /// False if it has expired or was revoked.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

impl Ledger {
    /// Adds a token. Idempotent.
    ///
    /// # Errors
    /// [`LedgerError::UnknownIncident`] if it is limited to an incident that does not exist,
    /// [`LedgerError::TokenExists`] if another token has its id, and failures of the database.
    pub async fn add_token(&self, token: &TokenRow) -> Result<(), LedgerError> {
        self.db
            .write("add the token", |mut db, _| async move {
                if let Some(incident) = &token.incident {
                    check_incident(&mut db, incident).await?;
                }
                match find_token(&mut db, &token.id).await? {
                    // An earlier attempt has added it, and only its response was lost.
                    Some(known) if known == *token => return Ok((db, ())),
                    Some(_) => return Err(LedgerError::TokenExists(token.id.clone()).into()),
                    None => {}
                }
                let insert = "INSERT INTO tokens
                    (id, secret_digest, role, label, incident, created_at, expires_at, revoked_at)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
                let insert = query(insert)
                    .bind(token.id.as_str())
                    .bind(token.secret_digest.hex())
                    .bind(token.role.as_str())
                    .bind(token.label.as_str())
                    .bind(token.incident.as_ref().map(IncidentId::as_str))
                    .bind(nanoseconds(token.created_at))
                    .bind(nanoseconds(token.expires_at))
                    .bind(token.revoked_at.map(nanoseconds));
                execute(&mut db, insert).await?;
                Ok((db, ()))
            })
            .await
    }

    /// # Errors
    /// Failures of the database.
    pub async fn token(&self, id: &TokenId) -> Result<Option<TokenRow>, LedgerError> {
        self.db
            .read("read the token", |mut db| async move {
                find_token(&mut db, id).await
            })
            .await
    }

    /// All tokens, the newest first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, LedgerError> {
        let select = "SELECT * FROM tokens ORDER BY created_at DESC, id";
        self.db
            .read("list the tokens", |mut db| async move {
                fetch_all(&mut db, query(select), token_row).await
            })
            .await
    }

    /// Revokes a token, and returns when it was revoked: if it was before, that earlier time.
    ///
    /// # Errors
    /// [`LedgerError::UnknownToken`], and failures of the database.
    pub async fn revoke_token(
        &self,
        id: &TokenId,
        at: Timestamp,
    ) -> Result<Timestamp, LedgerError> {
        self.db
            .write("revoke the token", |mut db, _| async move {
                let update =
                    "UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
                let update = query(update).bind(id.as_str()).bind(nanoseconds(at));
                execute(&mut db, update).await?;
                // Read it back: the update has not touched a token that was revoked before.
                let revoked_at = find_token(&mut db, id)
                    .await?
                    .and_then(|token| token.revoked_at)
                    .ok_or_else(|| LedgerError::UnknownToken(id.clone()))?;
                Ok((db, revoked_at))
            })
            .await
    }
}

async fn find_token(db: &mut AnyConnection, id: &TokenId) -> Result<Option<TokenRow>, sqlx::Error> {
    let select = query("SELECT * FROM tokens WHERE id = $1").bind(id.as_str());
    fetch_first(db, select, token_row).await
}

fn token_row(row: &AnyRow) -> Result<TokenRow, sqlx::Error> {
    Ok(TokenRow {
        id: parsed(row, "id")?,
        secret_digest: digest(row, "secret_digest")?,
        role: parsed(row, "role")?,
        label: get(row, "label")?,
        incident: optional_parsed(row, "incident")?,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        revoked_at: optional_time(row, "revoked_at")?,
    })
}
