//! Streams: each signing key's bundles in a row, each naming the one before.
//!
//! A bundle is signed for the next place and prepared here, then published in the blob store, then
//! committed. After a crash the preparation says where to look: a bundle that was published is
//! committed, one that was not is aborted and sealed again. So a stream has neither a hole nor two
//! bundles at one place.
//!
//! A key belongs to one store, where one process at a time seals; with another store that has the
//! same key, each would take the other's preparation for that of a dead process. So that store is
//! refused when it is opened.
//!
//! Two workers may have had one pass ([`super::passes`]), with two keys. Only the holder of the last
//! lease may prepare. But one that had prepared before, and was then held up, publishes when it
//! wakes, and its place in its stream is used: that bundle is committed like any other, and says
//! which one it duplicates.

use evidence_format::digest::Digest;
use evidence_format::id::{KeyId, StreamId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use super::bundles::{find_bundle, first_bundle_of_pass, insert_bundle};
use super::journal::append_at_end;
use super::passes::{PassStage, enter_stage, find_pass, pass_key, pass_query, refused};
use super::{BundleRow, Ledger, LedgerError, NewJournalEntry, PendingBundle, StreamPosition};
use crate::database::rows::{
    digest, execute, fetch_first, get, number, optional_digest, parsed, to_i64,
};

/// A signing key, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewStream {
    /// The key.
    pub key_id: KeyId,
    /// Its public half, as PEM: by it, others that share the ledger check its bundles.
    pub public_key: String,
    /// The one store that signs with it.
    pub store: String,
    /// What its stream is called if it begins now.
    pub id: StreamId,
}

impl Ledger {
    /// Begins the stream of a key, unless its store has begun it before.
    ///
    /// # Errors
    /// [`LedgerError::KeyOfOtherStore`] if another store signs with the key, and failures of the
    /// database.
    pub async fn begin_stream(&self, new: &NewStream) -> Result<(), LedgerError> {
        let key = &new.key_id.to_string();
        self.db
            .write("begin the stream of the key", |mut db, _| async move {
                let insert = "INSERT INTO streams (key_id, id, store, public_key, next_seq) VALUES ($1, $2, $3, $4, 0)
                ON CONFLICT (key_id) DO NOTHING";
                let insert = query(insert).bind(key.as_str()).bind(new.id.as_str()).bind(new.store.as_str());
                execute(&mut db, insert.bind(new.public_key.as_str())).await?;
                let select = query("SELECT store FROM streams WHERE key_id = $1").bind(key.as_str());
                match fetch_first(&mut db, select, |row| get::<String>(row, "store")).await? {
                    Some(store) if store == new.store => Ok((db, ())),
                    _ => Err(LedgerError::KeyOfOtherStore(new.key_id).into()),
                }
            })
            .await
    }

    /// The public half of a key that signs into this ledger, as PEM; `None` if no stream of it was
    /// begun.
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

    /// The next place in the stream of `key_id`. Taking a place reserves nothing: whoever announces
    /// first has it.
    ///
    /// # Errors
    /// [`LedgerError::UnknownStream`] if it was not begun, and failures of the database.
    pub async fn next_position(&self, key_id: &KeyId) -> Result<StreamPosition, LedgerError> {
        let key = &key_id.to_string();
        let place = self
            .db
            .read::<_, LedgerError, _>("take a place in the stream", |mut db| async move {
                next_place(&mut db, key).await
            })
            .await?;
        place.ok_or(LedgerError::UnknownStream(*key_id))
    }

    /// Says, for the holder of a pass's lease, that its bundle is signed and about to be published.
    /// Only one bundle of a stream is between this and its commit. The same one again is fine.
    ///
    /// [`LedgerError::StreamBusy`] names the other one. Whoever holds the lock of that stream's store
    /// finishes it: [`Ledger::commit`] if the object is in the blob store, [`Ledger::abort`] if not.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`] or [`LedgerError::PassIsSealed`] if another worker has, or had, the
    /// pass, [`LedgerError::StreamBusy`], [`LedgerError::StreamMoved`] if the place is no longer the next one,
    /// [`LedgerError::UnknownPass`], and failures of the database.
    pub async fn prepare(&self, pending: &PendingBundle, token: u64) -> Result<(), LedgerError> {
        let key = &pending.key_id.to_string();
        self.db
            .write("prepare the bundle", |mut db, _| async move {
                match find_pending(&mut db, key).await? {
                    Some(same) if same == *pending => return Ok((db, ())),
                    Some(other) => return Err(LedgerError::StreamBusy(other.bundle).into()),
                    None => {}
                }
                if let Some(refusal) = refused(&mut db, &pending.pass, token).await? {
                    return Err(refusal.into());
                }
                let found = next_place(&mut db, key).await?.map_or(0, |place| place.seq);
                if found != pending.seq {
                    let (key_id, expected) = (pending.key_id, pending.seq);
                    return Err(LedgerError::StreamMoved {
                        key_id,
                        expected,
                        found,
                    }
                    .into());
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

    /// The bundle of this key that is prepared and not committed.
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

    /// Withdraws a bundle that was prepared and not published: its pass is to be sealed again. See
    /// [`Ledger::prepare`] for who may do so. One that was aborted or committed already is fine.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn abort(&self, pending: &PendingBundle) -> Result<(), LedgerError> {
        let key = &pending.key_id.to_string();
        self.db
            .write("abort the pending bundle", |mut db, _| async move {
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

    /// Takes a published bundle into the ledger: it is listed, its stream moves on, its pass is
    /// published, what `entries` says of it is at the end of the incident's journal, and nothing is
    /// pending any more; all of it or nothing. The same bundle again is fine. The bundle as it was
    /// committed: if its pass has one already, it says so.
    ///
    /// # Errors
    /// [`LedgerError::NotPrepared`] if it was not, or other values were; and failures of the
    /// database.
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
                let pending = find_pending(&mut db, key).await?;
                let next = next_place(&mut db, key).await?;
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
                // what follows a pass is done for its first bundle
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

async fn next_place(
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
    fetch_first(
        db,
        query("SELECT * FROM pending WHERE key_id = $1").bind(key),
        pending_row,
    )
    .await
}

async fn clear_pending(
    db: &mut AnyConnection,
    key: &str,
    bundle: &Digest,
) -> Result<u64, sqlx::Error> {
    execute(
        db,
        query("DELETE FROM pending WHERE key_id = $1 AND bundle = $2")
            .bind(key)
            .bind(bundle.hex()),
    )
    .await
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
