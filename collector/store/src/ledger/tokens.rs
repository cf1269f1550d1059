//! Tokens: who may ask the API, and for what.

use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use domain::token::{TokenId, TokenRole};

use super::journal::count_entries;
use super::{Ledger, LedgerError};
use crate::database::rows::{
    all, bad_value, digest, execute, first, get, nanoseconds, parsed, time,
};

/// A token as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// Its id.
    pub id: TokenId,
    /// The digest of its secret.
    pub secret_digest: Digest,
    /// What it may do.
    pub role: TokenRole,
    /// Whose it is, for people.
    pub label: String,
    /// The only incident that it may see; `None` is all.
    pub incident: Option<IncidentId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl TokenRow {
    /// False if it expired or was revoked.
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

impl Ledger {
    /// Adds a token. The same again is fine.
    ///
    /// # Errors
    /// [`LedgerError::UnknownIncident`] if it is to see one that there is not,
    /// [`LedgerError::TokenExists`] if another one has its id, and failures of the database.
    pub async fn add_token(&self, token: &TokenRow) -> Result<(), LedgerError> {
        self.db
            .write("add the token", |mut db, _| async move {
                if let Some(incident) = &token.incident {
                    count_entries(&mut db, incident).await?;
                }
                match find_token(&mut db, &token.id).await? {
                    Some(known) if known == *token => return Ok((db, ())), // only its answer was lost
                    Some(_) => return Err(LedgerError::TokenExists(token.id.clone()).into()),
                    None => {}
                }
                let insert = "INSERT INTO tokens (id, secret_digest, role, label, incident, created_at, expires_at, revoked_at)
                    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
                let insert = query(insert).bind(token.id.as_str()).bind(token.secret_digest.hex()).bind(token.role.as_str());
                let insert = insert.bind(token.label.as_str()).bind(token.incident.as_ref().map(IncidentId::as_str));
                let insert = insert.bind(nanoseconds(token.created_at)).bind(nanoseconds(token.expires_at));
                execute(&mut db, insert.bind(token.revoked_at.map(nanoseconds))).await?;
                Ok((db, ()))
            })
            .await
    }

    /// The token of this id.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn token(&self, id: &TokenId) -> Result<Option<TokenRow>, LedgerError> {
        self.db
            .read("read the token", |mut db| async move {
                find_token(&mut db, id).await
            })
            .await
    }

    /// All tokens, the last made first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, LedgerError> {
        let select = "SELECT * FROM tokens ORDER BY created_at DESC, id";
        self.db
            .read("list the tokens", |mut db| async move {
                all(&mut db, query(select), token_row).await
            })
            .await
    }

    /// Makes a token worth nothing. When that was: of one that was revoked before, the first time.
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
                execute(
                    &mut db,
                    query(update).bind(id.as_str()).bind(nanoseconds(at)),
                )
                .await?;
                let token = find_token(&mut db, id).await?;
                let revoked_at = token.and_then(|token| token.revoked_at);
                Ok((
                    db,
                    revoked_at.ok_or_else(|| LedgerError::UnknownToken(id.clone()))?,
                ))
            })
            .await
    }
}

async fn find_token(db: &mut AnyConnection, id: &TokenId) -> Result<Option<TokenRow>, sqlx::Error> {
    first(
        db,
        query("SELECT * FROM tokens WHERE id = $1").bind(id.as_str()),
        token_row,
    )
    .await
}

fn token_row(row: &AnyRow) -> Result<TokenRow, sqlx::Error> {
    let incident: Option<&str> = get(row, "incident")?;
    let revoked_at: Option<i64> = get(row, "revoked_at")?;
    let time_of = |nanoseconds: i64| {
        Timestamp::from_unix_nanoseconds(nanoseconds.into())
            .ok_or_else(|| bad_value("revoked_at", nanoseconds))
    };
    Ok(TokenRow {
        id: parsed(row, "id")?,
        secret_digest: digest(row, "secret_digest")?,
        role: parsed(row, "role")?,
        label: get(row, "label")?,
        incident: incident
            .map(|text| text.parse().map_err(|_| bad_value("incident", text)))
            .transpose()?,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        revoked_at: revoked_at.map(time_of).transpose()?,
    })
}
