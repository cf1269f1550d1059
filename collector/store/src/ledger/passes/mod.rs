//! Passes: one capture of one source for one incident. A row holds the work to be done, its
//! progress, and its current worker; there is no separate queue.
//!
//! **Stages.** `waiting` → `captured` → `signed` → `published` → `derived`, or `failed`. Each stage
//! is written in the transaction that completes it, so the next worker to lease the pass resumes
//! from there.
//!
//! **Leases.** A worker leases a due pass with one statement ([`Ledger::lease_next`]) and renews
//! the lease while it works. Each lease raises the pass's `fencing_token`, and every write that
//! only the holder may make names the token of its lease. A worker that is held up for longer than
//! its lease (suspended, swapped out, cut off from the database) does not notice that another
//! worker has leased the pass. Where the two meet:
//!
//! * *The first one stores a page, or ends a step:* rejected. The second one repeats the request
//!   and resumes after the last stored page; the journal has a start for each of them.
//! * *Its page was on the way to the database when the second one read the last page:* the page
//!   stays, and the second one stores its own after it. Events that both pages have are counted as
//!   duplicates.
//! * *It has captured everything, and signs:* [`Ledger::prepare`] is rejected, before anything is
//!   published.
//! * *It had prepared, and publishes when it wakes:* its position in its stream is used, so its
//!   bundle is committed too, and the ledger and the journal record which bundle it duplicates
//!   ([`Ledger::commit`]).
//! * *It is past its commit:* the second one finds the bundle and derives the timeline; the first
//!   one may do the same. All of that is idempotent.
//!
//! The order of transactions in the database decides. Leases expire by the database's clock. Due
//! times follow the clock of the host that asks for a lease.

mod types;

pub use types::{NewPass, PassKey, PassKind, PassQueue, PassRow, PassStage, PassState};

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, SqlSafeStr, query};

use super::incidents::check_incident;
use super::{Ledger, LedgerError, TransactionError};
use crate::database::rows::{
    Query, bad_value, execute, fetch_all, fetch_first, get, nanoseconds, number, optional_digest,
    optional_time, parsed, time,
};

impl Ledger {
    /// Adds a waiting pass. Returns false, and changes nothing, if a pass has its key already.
    ///
    /// # Errors
    /// [`LedgerError::UnknownIncident`], and failures of the database.
    pub async fn add_pass(&self, new: &NewPass) -> Result<bool, LedgerError> {
        self.db
            .write("add the pass", |mut db, _| async move {
                check_incident(&mut db, &new.key.incident).await?;
                let is_new = insert_pass(&mut db, new).await?;
                Ok((db, is_new))
            })
            .await
    }

    /// # Errors
    /// Failures of the database.
    pub async fn pass(&self, key: &PassKey) -> Result<Option<PassRow>, LedgerError> {
        self.db
            .read("read the pass", |mut db| async move {
                find_pass(&mut db, key).await
            })
            .await
    }

    /// All passes of `incident`, by source and number.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn passes(&self, incident: &IncidentId) -> Result<Vec<PassRow>, LedgerError> {
        self.db
            .read("list the passes", |mut db| async move {
                let select = "SELECT * FROM passes WHERE incident = $1 ORDER BY source, pass";
                fetch_all(&mut db, query(select).bind(incident.as_str()), pass_row).await
            })
            .await
    }

    /// Marks a pass as captured, for the holder of its lease. Idempotent.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`], [`LedgerError::PassIsSealed`], [`LedgerError::UnknownPass`], and
    /// failures of the database.
    pub async fn set_captured(&self, key: &PassKey, token: u64) -> Result<(), LedgerError> {
        self.set_stage(key, token, PassStage::Captured).await
    }

    /// Abandons a pass without a bundle, for the holder of its lease.
    ///
    /// # Errors
    /// As for [`Ledger::set_captured`].
    pub async fn set_failed(&self, key: &PassKey, token: u64) -> Result<(), LedgerError> {
        self.set_stage(key, token, PassStage::Failed).await
    }

    async fn set_stage(
        &self,
        key: &PassKey,
        token: u64,
        stage: PassStage,
    ) -> Result<(), LedgerError> {
        self.db
            .write("update the stage of the pass", |mut db, _| async move {
                check_lease(&mut db, key, token).await?;
                enter_stage(&mut db, key, stage).await?;
                Ok((db, ()))
            })
            .await
    }

    /// Marks a published pass as done. Needs no lease: every worker derives the same timeline from a
    /// committed bundle.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn set_derived(&self, key: &PassKey) -> Result<(), LedgerError> {
        self.db
            .write("end the pass", |mut db, _| async move {
                let update = "UPDATE passes
                    SET stage = 'derived', worker = NULL, leased_until = NULL
                    WHERE incident = $1 AND source = $2 AND pass = $3 AND stage = 'published'";
                execute(&mut db, pass_query(update, key)).await?;
                Ok((db, ()))
            })
            .await
    }

    /// Cancels all passes of `incident` that no worker has begun, except attachments.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn cancel_waiting_passes(&self, incident: &IncidentId) -> Result<(), LedgerError> {
        self.db
            .write("cancel the waiting passes", |mut db, _| async move {
                // A pass that was ever leased has a token above 0: its worker may still seal it.
                let update = "UPDATE passes SET stage = 'failed'
                    WHERE incident = $1 AND stage = 'waiting' AND fencing_token = 0
                    AND queue <> 'attached'";
                execute(&mut db, query(update).bind(incident.as_str())).await?;
                Ok((db, ()))
            })
            .await
    }
}

/// A statement whose first three parameters are the key of a pass.
pub(super) fn pass_query<'q>(sql: impl SqlSafeStr, key: &'q PassKey) -> Query<'q> {
    query(sql)
        .bind(key.incident.as_str())
        .bind(key.source.as_str())
        .bind(i64::from(key.pass))
}

/// Reads the key of a pass. Its three columns have the same names in every table.
pub(super) fn pass_key(row: &AnyRow) -> Result<PassKey, sqlx::Error> {
    Ok(PassKey {
        incident: parsed(row, "incident")?,
        source: get(row, "source")?,
        pass: number(row, "pass")?,
    })
}

/// Adds a pass. Returns false if a pass has its key already.
pub(super) async fn insert_pass(
    db: &mut AnyConnection,
    new: &NewPass,
) -> Result<bool, sqlx::Error> {
    let insert = "INSERT INTO passes (incident, source, pass, kind, queue, stage, due_at, failures,
            fencing_token, plan, supplements)
        VALUES ($1, $2, $3, $4, $5, 'waiting', $6, 0, 0, $7, $8) ON CONFLICT DO NOTHING";
    // A pass that exists stays as it is, even if `new` differs: it may be in progress.
    let insert = pass_query(insert, &new.key)
        .bind(new.kind.as_str())
        .bind(new.queue.as_str())
        .bind(nanoseconds(new.due_at))
        .bind(new.plan.as_deref())
        .bind(new.supplements.map(|bundle| bundle.hex()));
    Ok(execute(db, insert).await? == 1)
}

/// Moves a pass to `stage`. The caller has checked the lease.
pub(super) async fn enter_stage(
    db: &mut AnyConnection,
    key: &PassKey,
    stage: PassStage,
) -> Result<(), TransactionError> {
    // Progress resets the backoff: failures count within one stage.
    let update = "UPDATE passes SET stage = $4, failures = 0, retry_at = NULL
        WHERE incident = $1 AND source = $2 AND pass = $3";
    match execute(db, pass_query(update, key).bind(stage.as_str())).await? {
        1 => Ok(()),
        _ => Err(LedgerError::UnknownPass(Box::new(key.clone())).into()),
    }
}

pub(super) async fn find_pass(
    db: &mut AnyConnection,
    key: &PassKey,
) -> Result<Option<PassRow>, sqlx::Error> {
    let select = "SELECT * FROM passes WHERE incident = $1 AND source = $2 AND pass = $3";
    fetch_first(db, pass_query(select, key), pass_row).await
}

pub(super) fn pass_row(row: &AnyRow) -> Result<PassRow, sqlx::Error> {
    Ok(PassRow {
        key: pass_key(row)?,
        kind: enum_column(row, "kind", &PassKind::ALL)?,
        due_at: time(row, "due_at")?,
        supplements: optional_digest(row, "supplements")?,
        stage: enum_column(row, "stage", &PassStage::ALL)?,
        fencing_token: number(row, "fencing_token")?,
        failures: number(row, "failures")?,
        began_at: optional_time(row, "began_at")?,
        plan: get(row, "plan")?,
        leased_until: lease_end(row)?,
        retry_at: optional_time(row, "retry_at")?,
    })
}

/// When the last lease ends. The clocks of both databases count in milliseconds.
fn lease_end(row: &AnyRow) -> Result<Option<Timestamp>, sqlx::Error> {
    let milliseconds: Option<i64> = get(row, "leased_until")?;
    let time = |milliseconds: i64| {
        Timestamp::from_unix_nanoseconds(i128::from(milliseconds) * 1_000_000)
            .ok_or_else(|| bad_value("leased_until", milliseconds))
    };
    milliseconds.map(time).transpose()
}

/// Rejects a write by any worker but the holder of the last lease, and any write to a sealed pass.
pub(super) async fn check_lease(
    db: &mut AnyConnection,
    key: &PassKey,
    token: u64,
) -> Result<(), TransactionError> {
    let pass = Box::new(key.clone());
    let error = match find_pass(db, key).await? {
        None => LedgerError::UnknownPass(pass),
        Some(row) if row.stage.has_bundle() => LedgerError::PassIsSealed(pass),
        Some(row) if row.fencing_token != token => LedgerError::LeaseLost {
            pass,
            token,
            last: row.fencing_token,
        },
        Some(_) => return Ok(()),
    };
    Err(error.into())
}

/// Reads a column that holds the name of an enum's value.
pub(super) fn enum_column<T: Copy>(
    row: &AnyRow,
    column: &'static str,
    names: &[(T, &str)],
) -> Result<T, sqlx::Error> {
    let text: &str = get(row, column)?;
    names
        .iter()
        .find(|(_, name)| *name == text)
        .map(|(value, _)| *value)
        .ok_or_else(|| bad_value(column, text))
}
