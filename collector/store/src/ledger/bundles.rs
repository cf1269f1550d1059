//! Committed bundles.

use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, KeyId, StreamId};
use evidence_format::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use super::numbers::draw_number;
use super::passes::{pass_key, pass_query};
use super::{Ledger, LedgerError, PassKey};
use crate::database::rows::{
    digest, execute, fetch_all, fetch_first, get, nanoseconds, number, optional_digest, parsed,
    time, to_i64,
};

/// A sealed bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleRow {
    /// The digest of its statement.
    pub id: Digest,
    pub pass: PassKey,
    /// The key that signed it.
    pub key_id: KeyId,
    /// Its position in the key's stream.
    pub position: StreamPosition,
    /// The time of sealing that its statement gives.
    pub sealed_at: Timestamp,
    /// Its object in the blob store.
    pub object_key: String,
    /// Size of that object.
    pub bytes: u64,
    /// Summary of its coverage and gaps, as JSON.
    pub coverage: String,
    /// The bundle of the same pass that was committed first, if this one is a duplicate: two
    /// workers had the pass, and both had prepared a bundle.
    pub duplicate_of: Option<Digest>,
}

/// A position in a stream of bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPosition {
    pub stream: StreamId,
    /// Sequence number in the stream, from 0.
    pub seq: u64,
    /// The previous bundle; `None` for the first.
    pub prev: Option<Digest>,
}

/// A prepared bundle: signed, and about to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingBundle {
    /// The key that signed it.
    pub key_id: KeyId,
    /// Its sequence number in the key's stream.
    pub seq: u64,
    pub bundle: Digest,
    pub pass: PassKey,
    /// Its future object in the blob store.
    pub object_key: String,
}

impl BundleRow {
    /// What to [`Ledger::prepare`] before this bundle is published.
    #[must_use]
    pub fn pending(&self) -> PendingBundle {
        PendingBundle {
            key_id: self.key_id,
            seq: self.position.seq,
            bundle: self.id,
            pass: self.pass.clone(),
            object_key: self.object_key.clone(),
        }
    }
}

impl Ledger {
    /// The bundles of `incident`, in commit order.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn bundles(&self, incident: &IncidentId) -> Result<Vec<BundleRow>, LedgerError> {
        self.db
            .read("list the bundles", |mut db| async move {
                let select = "SELECT * FROM bundles WHERE incident = $1 ORDER BY number";
                fetch_all(&mut db, query(select).bind(incident.as_str()), bundle_row).await
            })
            .await
    }

    /// The bundles of the incident and the source of `pass`, in the order of their commits. An
    /// incident may have ten thousand of other hosts.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn bundles_of_source(&self, pass: &PassKey) -> Result<Vec<BundleRow>, LedgerError> {
        self.db
            .read("list the bundles of the source", |mut db| async move {
                let select = "SELECT * FROM bundles WHERE incident = $1 AND source = $2
                    ORDER BY number";
                let select = query(select)
                    .bind(pass.incident.as_str())
                    .bind(pass.source.as_str());
                fetch_all(&mut db, select, bundle_row).await
            })
            .await
    }

    /// The bundle of a pass that was committed first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn bundle_of_pass(&self, pass: &PassKey) -> Result<Option<BundleRow>, LedgerError> {
        self.db
            .read("find the bundle of the pass", |mut db| async move {
                first_bundle_of_pass(&mut db, pass).await
            })
            .await
    }

    /// The bundles of all incidents with a commit number above `number`, in that order.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn bundles_after(&self, number: u64) -> Result<Vec<BundleRow>, LedgerError> {
        self.db
            .read("list the last bundles", |mut db| async move {
                let select = "SELECT * FROM bundles WHERE number > $1 ORDER BY number";
                fetch_all(&mut db, query(select).bind(to_i64(number)), bundle_row).await
            })
            .await
    }

    /// The commit number of the last bundle; 0 if there is none.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn last_bundle_number(&self) -> Result<u64, LedgerError> {
        self.db
            .read("find the last bundle", |mut db| async move {
                let select = "SELECT COALESCE(MAX(number), 0) AS number FROM bundles";
                let number =
                    fetch_first(&mut db, query(select), |row| number(row, "number")).await?;
                Ok(number.unwrap_or(0))
            })
            .await
    }

    /// The bundle whose id begins with `prefix`, which may itself begin with `sha256:`. `None` if
    /// there is none, or if `prefix` cannot begin an id.
    ///
    /// # Errors
    /// [`LedgerError::AmbiguousBundle`] if several ids begin with it, and failures of the database.
    pub async fn bundle(&self, prefix: &str) -> Result<Option<BundleRow>, LedgerError> {
        let hex = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        if hex.is_empty()
            || hex.len() > 64
            || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Ok(None);
        }
        // A range, so that the index on `id` serves the search; 'g' follows the last hex digit.
        let past_all = &format!("{hex}g");
        let select = "SELECT * FROM bundles WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 2";
        let mut found = self
            .db
            .read::<_, LedgerError, _>("find the bundle", |mut db| async move {
                let select = query(select).bind(hex).bind(past_all.as_str());
                fetch_all(&mut db, select, bundle_row).await
            })
            .await?;
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => Err(LedgerError::AmbiguousBundle(hex.to_owned())),
        }
    }
}

pub(super) async fn find_bundle(
    db: &mut AnyConnection,
    id: &Digest,
) -> Result<Option<BundleRow>, sqlx::Error> {
    let select = query("SELECT * FROM bundles WHERE id = $1").bind(id.hex());
    fetch_first(db, select, bundle_row).await
}

/// The bundle of a pass that was committed first.
pub(super) async fn first_bundle_of_pass(
    db: &mut AnyConnection,
    pass: &PassKey,
) -> Result<Option<BundleRow>, sqlx::Error> {
    let select = "SELECT * FROM bundles
        WHERE incident = $1 AND source = $2 AND pass = $3 AND duplicate_of IS NULL";
    fetch_first(db, pass_query(select, pass), bundle_row).await
}

pub(super) async fn insert_bundle(
    db: &mut AnyConnection,
    bundle: &BundleRow,
) -> Result<(), sqlx::Error> {
    // Drawn in the transaction of the commit, so numbers follow the order of commits.
    let number = draw_number(db, "bundle").await?;
    let insert =
        "INSERT INTO bundles (incident, source, pass, number, id, key_id, stream, seq, prev,
            sealed_at, object_key, bytes, coverage, duplicate_of)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
    let position = &bundle.position;
    let insert = pass_query(insert, &bundle.pass)
        .bind(number)
        .bind(bundle.id.hex())
        .bind(bundle.key_id.to_string())
        .bind(position.stream.as_str())
        .bind(to_i64(position.seq))
        .bind(position.prev.map(|prev| prev.hex()))
        .bind(nanoseconds(bundle.sealed_at))
        .bind(bundle.object_key.as_str())
        .bind(to_i64(bundle.bytes))
        .bind(bundle.coverage.as_str())
        .bind(bundle.duplicate_of.map(|first| first.hex()));
    execute(db, insert).await?;
    Ok(())
}

fn bundle_row(row: &AnyRow) -> Result<BundleRow, sqlx::Error> {
    let position = StreamPosition {
        stream: parsed(row, "stream")?,
        seq: number(row, "seq")?,
        prev: optional_digest(row, "prev")?,
    };
    Ok(BundleRow {
        id: digest(row, "id")?,
        pass: pass_key(row)?,
        key_id: parsed(row, "key_id")?,
        position,
        sealed_at: time(row, "sealed_at")?,
        object_key: get(row, "object_key")?,
        bytes: number(row, "bytes")?,
        coverage: get(row, "coverage")?,
        duplicate_of: optional_digest(row, "duplicate_of")?,
    })
}
