//! Keys of incidents: by them a repeated request, or a later message about an incident, is known.
//!
//! Two writers may change a key at once, so each change names the incident that it expects: what
//! another writer has linked meanwhile stays.

use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use sqlx::{AnyConnection, query};

use super::incidents::check_incident;
use super::{Ledger, LedgerError};
use crate::database::rows::{execute, fetch_first, parsed};

/// A change of a key, made in the transaction that appends the entries that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange<'k> {
    /// Links the key to the incident. If it is linked to it already, the entries are a repetition,
    /// and nothing is written.
    Once(&'k str),
    /// Unlinks the key. If it is not linked to the incident, another writer was first, and nothing
    /// is written.
    Take(&'k str),
    /// Links the key to the incident, whatever it was linked to before.
    Link(&'k str),
    /// Unlinks the key, if it is linked to the incident.
    Forget(&'k str),
}

impl Ledger {
    /// The incident that was declared with this key, or that the key was linked to.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn incident_by_key(&self, key: &str) -> Result<Option<IncidentId>, LedgerError> {
        let digest = key_digest(key);
        let digest = Some(digest.as_str());
        self.db
            .read("find the declaration", |mut db| async move {
                incident_of_key(&mut db, digest).await
            })
            .await
    }

    /// Links one more key to `incident`, such as that of a message about it. A key that is already
    /// linked stays with its incident.
    ///
    /// # Errors
    /// [`LedgerError::UnknownIncident`], and failures of the database.
    pub async fn remember_key(&self, key: &str, incident: &IncidentId) -> Result<(), LedgerError> {
        let digest = &key_digest(key);
        self.db
            .write("remember the key", |mut db, _| async move {
                check_incident(&mut db, incident).await?;
                let insert = "INSERT INTO declarations (key_digest, incident) VALUES ($1, $2)
                    ON CONFLICT (key_digest) DO NOTHING";
                let insert = query(insert).bind(digest.as_str()).bind(incident.as_str());
                execute(&mut db, insert).await?;
                Ok((db, ()))
            })
            .await
    }

    /// Moves a key of `incident`, so that the next declaration with it declares another one, and
    /// this one is found by `to`. Does nothing if another incident has the key, or none: another
    /// writer was first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn move_key(
        &self,
        from: &str,
        to: &str,
        incident: &IncidentId,
    ) -> Result<(), LedgerError> {
        let (from, to) = (&key_digest(from), &key_digest(to));
        self.db
            .write("move the key", |mut db, _| async move {
                let is_ours =
                    incident_of_key(&mut db, Some(from)).await?.as_ref() == Some(incident);
                if is_ours {
                    unlink_key(&mut db, from, incident).await?;
                    link_key(&mut db, to, incident).await?;
                }
                Ok((db, ()))
            })
            .await
    }

    /// Links a key of the incident `from` to another one. Does nothing if `from` does not have the
    /// key: another writer was first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn relink_key(
        &self,
        key: &str,
        from: &IncidentId,
        to: &IncidentId,
    ) -> Result<(), LedgerError> {
        let digest = &key_digest(key);
        self.db
            .write("relink the key", |mut db, _| async move {
                let update = "UPDATE declarations SET incident = $3
                    WHERE key_digest = $1 AND incident = $2";
                let update = query(update)
                    .bind(digest.as_str())
                    .bind(from.as_str())
                    .bind(to.as_str());
                execute(&mut db, update).await?;
                Ok((db, ()))
            })
            .await
    }
}

pub(super) fn key_digest(key: &str) -> String {
    Digest::of(key.as_bytes()).hex()
}

/// True if the keys show that what they belong to is in the journal already.
pub(super) async fn was_done(
    db: &mut AnyConnection,
    incident: &IncidentId,
    keys: &[KeyChange<'_>],
) -> Result<bool, sqlx::Error> {
    for change in keys {
        let (key, linked_if_done) = match change {
            KeyChange::Once(key) => (key, true),
            KeyChange::Take(key) => (key, false),
            KeyChange::Link(_) | KeyChange::Forget(_) => continue,
        };
        let linked = incident_of_key(db, Some(&key_digest(key))).await?;
        if (linked.as_ref() == Some(incident)) == linked_if_done {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) async fn change_key(
    db: &mut AnyConnection,
    incident: &IncidentId,
    change: KeyChange<'_>,
) -> Result<(), sqlx::Error> {
    match change {
        KeyChange::Once(key) | KeyChange::Link(key) => {
            link_key(db, &key_digest(key), incident).await
        }
        KeyChange::Take(key) | KeyChange::Forget(key) => {
            unlink_key(db, &key_digest(key), incident).await
        }
    }
}

pub(super) async fn link_key(
    db: &mut AnyConnection,
    digest: &str,
    incident: &IncidentId,
) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO declarations (key_digest, incident) VALUES ($1, $2)
        ON CONFLICT (key_digest) DO UPDATE SET incident = excluded.incident";
    execute(db, query(insert).bind(digest).bind(incident.as_str())).await?;
    Ok(())
}

pub(super) async fn unlink_key(
    db: &mut AnyConnection,
    digest: &str,
    incident: &IncidentId,
) -> Result<(), sqlx::Error> {
    let delete = "DELETE FROM declarations WHERE key_digest = $1 AND incident = $2";
    execute(db, query(delete).bind(digest).bind(incident.as_str())).await?;
    Ok(())
}

pub(super) async fn incident_of_key(
    db: &mut AnyConnection,
    key_digest: Option<&str>,
) -> Result<Option<IncidentId>, sqlx::Error> {
    let Some(key) = key_digest else {
        return Ok(None);
    };
    let select = "SELECT incident FROM declarations WHERE key_digest = $1";
    fetch_first(db, query(select).bind(key), |row| parsed(row, "incident")).await
}
