//! Streams: the bundles of each signing key in sequence, each naming the previous one.
//!
//! A bundle is signed for the next position and prepared here, then published in the blob store,
//! then committed here. After a crash, the prepared row says where to look: a bundle that was
//! published is committed; one that was not is aborted, and its pass is sealed again. So a stream
//! has neither a gap nor two bundles with one sequence number.
//!
//! A key belongs to one store, where one process at a time seals. If another store had a copy of
//! the key, each would take the other's prepared bundle for that of a dead process, so a store with
//! a copied key is rejected when it is opened.
//!
//! Two workers with two keys may have worked on one pass ([`super::passes`]). Only the holder of
//! the last lease may prepare. But a worker that had prepared before, and was then held up,
//! publishes when it wakes, and its stream has no other bundle for that position: this bundle is
//! committed like any other, and names the one that it duplicates.

use evidence_format::digest::Digest;
use evidence_format::id::{KeyId, StreamId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use super::bundles::{find_bundle, first_bundle_of_pass, insert_bundle};
use super::journal::append_at_end;
use super::passes::{PassStage, check_lease, enter_stage, find_pass, pass_key, pass_query};
use super::{BundleRow, Ledger, LedgerError, NewJournalEntry, PendingBundle, StreamPosition};
use crate::database::rows::{
    digest, execute, fetch_first, get, number, optional_digest, parsed, to_i64,
};

/// A signing key and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStream {
    pub key_id: KeyId,
    /// The public key as PEM. Other stores that share the ledger verify its bundles with it.
    pub public_key: String,
    /// The only store that may sign with the key.
    pub store: String,
    /// Id of the stream, if this call begins it.
    pub id: StreamId,
}

impl Ledger {
    /// Begins the stream of a key. Idempotent for the same store.
    ///
    /// # Errors
    /// [`LedgerError::KeyOfOtherStore`] if another store signs with the key, and failures of the
    /// database.
    pub async fn begin_stream(&self, new: &NewStream) -> Result<(), LedgerError> {
        let key = &new.key_id.to_string();
        self.db
            .write("begin the stream of the key", |mut db, _| async move {
                let insert = "INSERT INTO streams (key_id, id, store, public_key, next_seq)
                    VALUES ($1, $2, $3, $4, 0) ON CONFLICT (key_id) DO NOTHING";
                let insert = query(insert)
                    .bind(key.as_str())
                    .bind(new.id.as_str())
                    .bind(new.store.as_str())
                    .bind(new.public_key.as_str());
                execute(&mut db, insert).await?;
                // The row that exists now, ours or not, says which store owns the key.
                let select =
                    query("SELECT store FROM streams WHERE key_id = $1").bind(key.as_str());
                match fetch_first(&mut db, select, |row| get::<String>(row, "store")).await? {
                    Some(store) if store == new.store => Ok((db, ())),
                    _ => Err(LedgerError::KeyOfOtherStore(new.key_id).into()),
                }
            })
            .await
    }

    /// The public key of a stream, as PEM; `None` if no stream of `key_id` was begun.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn public_key(&self, key_id: &KeyId) -> Result<Option<String>, LedgerError> {
        let key = &key_id.to_string();
        self.db
            .read("read the public key", |mut db| async move {
                let select =
                    query("SELECT public_key FROM streams WHERE key_id = $1").bind(key.as_str());
                fetch_first(&mut db, select, |row| get(row, "public_key")).await
            })
            .await
    }

    /// The next position in the stream of `key_id`. Reading it reserves nothing: the first bundle
    /// that is prepared gets it.
    ///
    /// # Errors
    /// [`LedgerError::UnknownStream`] if the stream was not begun, and failures of the database.
    pub async fn next_position(&self, key_id: &KeyId) -> Result<StreamPosition, LedgerError> {
        let key = &key_id.to_string();
        let position = self
            .db
            .read::<_, LedgerError, _>(
                "read the next position of the stream",
                |mut db| async move { find_next_position(&mut db, key).await },
            )
            .await?;
        position.ok_or(LedgerError::UnknownStream(*key_id))
    }

    /// Records, for the holder of a pass's lease, that its bundle is signed and about to be
    /// published. A stream has at most one bundle between prepare and commit. Idempotent.
    ///
    /// [`LedgerError::StreamBusy`] names that other bundle. The process that holds the seal lock of
    /// the stream's store must finish it: [`Ledger::commit`] if the object is in the blob store,
    /// [`Ledger::abort`] if not.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`] or [`LedgerError::PassIsSealed`] if another worker has the pass,
    /// or had it, [`LedgerError::StreamBusy`], [`LedgerError::StreamMoved`] if the bundle's
    /// position is no longer the next one, [`LedgerError::UnknownPass`], and failures of the
    /// database.
    pub async fn prepare(&self, pending: &PendingBundle, token: u64) -> Result<(), LedgerError> {
        let key = &pending.key_id.to_string();
        self.db
            .write("prepare the bundle", |mut db, _| async move {
                match find_pending(&mut db, key).await? {
                    Some(same) if same == *pending => return Ok((db, ())),
                    Some(other) => return Err(LedgerError::StreamBusy(other.bundle).into()),
                    None => {}
                }
                check_lease(&mut db, &pending.pass, token).await?;
                // The bundle names its position and predecessor in its signature, so it is useless
                // at any other position.
                let found = find_next_position(&mut db, key)
                    .await?
                    .map_or(0, |position| position.seq);
                if found != pending.seq {
                    let moved = LedgerError::StreamMoved {
                        key_id: pending.key_id,
                        expected: pending.seq,
                        found,
                    };
                    return Err(moved.into());
                }
                let insert =
                    "INSERT INTO pending (incident, source, pass, key_id, seq, bundle, object_key)
                    VALUES ($1, $2, $3, $4, $5, $6, $7)";
                let insert = pass_query(insert, &pending.pass)
                    .bind(key.as_str())
                    .bind(to_i64(pending.seq))
                    .bind(pending.bundle.hex())
                    .bind(pending.object_key.as_str());
                execute(&mut db, insert).await?;
                enter_stage(&mut db, &pending.pass, PassStage::Signed).await?;
                Ok((db, ()))
            })
            .await
    }

    /// The bundle of the key's stream that is prepared and not committed.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn pending(&self, key_id: &KeyId) -> Result<Option<PendingBundle>, LedgerError> {
        let key = &key_id.to_string();
        self.db
            .read("read the pending bundle", |mut db| async move {
                find_pending(&mut db, key).await
            })
            .await
    }

    /// Withdraws a bundle that was prepared and not published: its pass must be sealed again. See
    /// [`Ledger::prepare`] for who may do so. Changes nothing if the bundle was already aborted or
    /// committed.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn abort(&self, pending: &PendingBundle) -> Result<(), LedgerError> {
        let key = &pending.key_id.to_string();
        self.db
            .write("abort the pending bundle", |mut db, _| async move {
                // Another worker may have sealed the pass since: then it keeps its stage.
                let is_signed = find_pass(&mut db, &pending.pass)
                    .await?
                    .is_some_and(|row| row.stage == PassStage::Signed);
                if clear_pending(&mut db, key, &pending.bundle).await? == 1 && is_signed {
                    enter_stage(&mut db, &pending.pass, PassStage::Captured).await?;
                }
                Ok((db, ()))
            })
            .await
    }

    /// Commits a published bundle: adds its row, advances its stream, marks its pass as published,
    /// appends `entries` to the incident's journal, and clears the pending row; all of it or
    /// nothing. Idempotent. Returns the bundle as committed: if its pass already has a bundle,
    /// `duplicate_of` is set.
    ///
    /// # Errors
    /// [`LedgerError::NotPrepared`] if the bundle was not prepared, or was prepared with other
    /// values; and failures of the database.
    pub async fn commit(
        &self,
        bundle: &BundleRow,
        entries: impl Fn(&BundleRow) -> Vec<NewJournalEntry>,
    ) -> Result<BundleRow, LedgerError> {
        let (key, entries) = (&bundle.key_id.to_string(), &entries);
        self.db
            .write("commit the bundle", |mut db, _| async move {
                if let Some(committed) = find_bundle(&mut db, &bundle.id).await? {
                    return Ok((db, committed));
                }
                // Only the bundle that was prepared may take the position, with the same values.
                let pending = find_pending(&mut db, key).await?;
                let next = find_next_position(&mut db, key).await?;
                if pending != Some(bundle.pending()) || next.as_ref() != Some(&bundle.position) {
                    return Err(LedgerError::NotPrepared(bundle.id).into());
                }
                let first = first_bundle_of_pass(&mut db, &bundle.pass).await?;
                let bundle = BundleRow {
                    duplicate_of: first.map(|first| first.id),
                    ..bundle.clone()
                };
                insert_bundle(&mut db, &bundle).await?;
                let update =
                    "UPDATE streams SET next_seq = next_seq + 1, prev = $2 WHERE key_id = $1";
                let update = query(update).bind(key.as_str()).bind(bundle.id.hex());
                execute(&mut db, update).await?;
                // A duplicate leaves the pass alone: its first bundle has moved it on.
                if bundle.duplicate_of.is_none() {
                    enter_stage(&mut db, &bundle.pass, PassStage::Published).await?;
                }
                append_at_end(&mut db, &bundle.pass.incident, &entries(&bundle)).await?;
                clear_pending(&mut db, key, &bundle.id).await?;
                Ok((db, bundle))
            })
            .await
    }
}

async fn find_next_position(
    db: &mut AnyConnection,
    key: &str,
) -> Result<Option<StreamPosition>, sqlx::Error> {
    let select = "SELECT id, next_seq, prev FROM streams WHERE key_id = $1";
    fetch_first(db, query(select).bind(key), |row| {
        Ok(StreamPosition {
            stream: parsed(row, "id")?,
            seq: number(row, "next_seq")?,
            prev: optional_digest(row, "prev")?,
        })
    })
    .await
}

async fn find_pending(
    db: &mut AnyConnection,
    key: &str,
) -> Result<Option<PendingBundle>, sqlx::Error> {
    let select = query("SELECT * FROM pending WHERE key_id = $1").bind(key);
    fetch_first(db, select, pending_row).await
}

async fn clear_pending(
    db: &mut AnyConnection,
    key: &str,
    bundle: &Digest,
) -> Result<u64, sqlx::Error> {
    let delete = query("DELETE FROM pending WHERE key_id = $1 AND bundle = $2")
        .bind(key)
        .bind(bundle.hex());
    execute(db, delete).await
}

fn pending_row(row: &AnyRow) -> Result<PendingBundle, sqlx::Error> {
    Ok(PendingBundle {
        key_id: parsed(row, "key_id")?,
        seq: number(row, "seq")?,
        bundle: digest(row, "bundle")?,
        pass: pass_key(row)?,
        object_key: get(row, "object_key")?,
    })
}
