//! Leases: which worker has a pass, and until when. [`super::passes`] says what a lease protects.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use sqlx::{AssertSqlSafe, query};

use super::incidents::check_incident;
use super::passes::{NewPass, PassQueue, insert_pass, pass_query, pass_row};
use super::worker::WorkerName;
use super::{Ledger, LedgerError, PassKey, PassRow};
use crate::database::rows::{
    execute, fetch_all, fetch_first, get, nanoseconds, number, parsed, time,
};
use crate::database::{DatabaseEngine, EarlierAttempts};

/// Failures of the work after a published bundle, such as deriving its timeline, for which
/// [`Ledger::is_under_way`] still reports progress. After that many, the pauses between attempts
/// are minutes long, and work that never succeeds must not keep callers waiting.
const FAILURES_AWAITED_MAX: u64 = 7;

/// A worker's request for a pass to work on.
#[derive(Clone, Debug)]
pub struct LeaseRequest<'r> {
    pub worker: &'r WorkerName,
    pub queue: PassQueue,
    /// The host's time. Passes that are due later are skipped.
    pub now: Timestamp,
    /// Duration of the lease. Without [`Ledger::renew_lease`], the pass is free afterwards.
    pub lease: Duration,
    /// Only lease passes that a worker has begun before: no new captures are wanted.
    pub only_begun: bool,
}

/// Counts of passes that are not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Passes without a lease.
    pub waiting: u64,
    /// Passes with a lease.
    pub leased: u64,
}

impl Ledger {
    /// Leases the free pass of a queue that has been due the longest; `None` if there is none. This
    /// is one statement, so only one of several workers gets the pass.
    ///
    /// If the database's response is lost, the retry leases another pass, and the first one stays
    /// unused until its lease expires.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn lease_next(
        &self,
        request: &LeaseRequest<'_>,
    ) -> Result<Option<PassRow>, LedgerError> {
        let (now, is_leased) = (self.clock(), self.is_leased());
        let skip = match self.db.engine() {
            DatabaseEngine::Sqlite => "", // has one writer at a time
            // Without this, workers that ask at once would wait for the same row, and then
            // conflict.
            DatabaseEngine::Postgres => "FOR UPDATE SKIP LOCKED",
        };
        // Due times are compared with the clock of the host, leases with that of the database. A
        // pass with a token above 0 was begun before.
        let update = format!(
            "UPDATE passes SET worker = $1, leased_until = {now} + $2,
                fencing_token = fencing_token + 1, began_at = COALESCE(began_at, $3)
            WHERE (incident, source, pass) = (
                SELECT incident, source, pass FROM passes
                WHERE queue = $4 AND stage IN ('waiting', 'captured', 'signed', 'published')
                AND due_at <= $3 AND (retry_at IS NULL OR retry_at <= $3)
                AND NOT {is_leased}
                AND ($5 = 0 OR fencing_token > 0)
                ORDER BY due_at LIMIT 1 {skip})
            RETURNING *"
        );
        self.db
            .write_once("lease a pass", |mut db| {
                let update = query(AssertSqlSafe(update.clone()))
                    .bind(request.worker.as_str())
                    .bind(milliseconds(request.lease))
                    .bind(nanoseconds(request.now))
                    .bind(request.queue.as_str())
                    .bind(i64::from(request.only_begun));
                async move {
                    // Reads all rows and not only the first: a failing commit of this statement is
                    // reported after its row.
                    Ok(fetch_all(&mut db, update, pass_row).await?.pop())
                }
            })
            .await
    }

    /// Adds a pass that is already captured and leases it to `worker`. Returns the fencing token,
    /// or `None` if a pass has its key already.
    ///
    /// # Errors
    /// [`LedgerError::UnknownIncident`], and failures of the database.
    pub async fn add_captured(
        &self,
        new: &NewPass,
        worker: &WorkerName,
        lease: Duration,
    ) -> Result<Option<u64>, LedgerError> {
        let update = &format!(
            "UPDATE passes SET stage = 'captured', fencing_token = 1, began_at = due_at,
                worker = $1, leased_until = {} + $2
            WHERE incident = $3 AND source = $4 AND pass = $5",
            self.clock()
        );
        let was_inserted = &AtomicBool::new(false);
        self.db
            .write("add the pass", |mut db, earlier| async move {
                check_incident(&mut db, &new.key.incident).await?;
                if !insert_pass(&mut db, new).await? {
                    // The pass is ours if an earlier attempt of this call has inserted it, and only
                    // the response to its commit was lost.
                    let may_be_ours =
                        earlier == EarlierAttempts::Unknown && was_inserted.load(Ordering::Relaxed);
                    let select = pass_query(
                        "SELECT 1 AS one FROM passes WHERE incident = $1 AND source = $2
                        AND pass = $3 AND worker = $4 AND fencing_token = 1",
                        &new.key,
                    )
                    .bind(worker.as_str());
                    let leased_by_us = fetch_first(&mut db, select, |_| Ok(())).await?.is_some();
                    return Ok((db, (may_be_ours && leased_by_us).then_some(1)));
                }
                was_inserted.store(true, Ordering::Relaxed);
                let update = query(AssertSqlSafe(update.clone()))
                    .bind(worker.as_str())
                    .bind(milliseconds(lease))
                    .bind(new.key.incident.as_str())
                    .bind(new.key.source.as_str())
                    .bind(i64::from(new.key.pass));
                execute(&mut db, update).await?;
                Ok((db, Some(1)))
            })
            .await
    }

    /// Extends a lease to last for `lease` from now on. Returns false if the lease was lost or
    /// released: another worker has the pass, or may get it at any time.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn renew_lease(
        &self,
        key: &PassKey,
        token: u64,
        lease: Duration,
    ) -> Result<bool, LedgerError> {
        // An expired lease may be renewed while its token is the last one, but a released lease
        // must not: a late renewal would hold a pass on which nobody works.
        let update = format!(
            "UPDATE passes SET leased_until = {} + $1
            WHERE incident = $2 AND source = $3 AND pass = $4 AND fencing_token = $5
            AND worker IS NOT NULL",
            self.clock()
        );
        self.db
            .write_once("renew the lease", |mut db| {
                let update = query(AssertSqlSafe(update.clone()))
                    .bind(milliseconds(lease))
                    .bind(key.incident.as_str())
                    .bind(key.source.as_str())
                    .bind(i64::from(key.pass))
                    .bind(token.cast_signed());
                async move { Ok(execute(&mut db, update).await? == 1) }
            })
            .await
    }

    /// Releases a lease: the pass is free at once. Changes nothing if another worker has the pass.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn release_lease(&self, key: &PassKey, token: u64) -> Result<(), LedgerError> {
        let update = format!(
            "UPDATE passes SET {}
            WHERE incident = $1 AND source = $2 AND pass = $3 AND fencing_token = $4",
            self.ended_lease()
        );
        self.db
            .write_once("release the lease", |mut db| {
                let update = AssertSqlSafe(update.clone());
                let update = pass_query(update, key).bind(token.cast_signed());
                async move {
                    execute(&mut db, update).await?;
                    Ok(())
                }
            })
            .await
    }

    /// Releases a lease after a failure: the pass is free from `retry_at` on. Counts one failure
    /// for each lease, however often it is called.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn postpone(
        &self,
        key: &PassKey,
        token: u64,
        retry_at: Timestamp,
    ) -> Result<(), LedgerError> {
        // Only a held lease can fail, so a repeated call does not count again.
        let update = &format!(
            "UPDATE passes SET {}, failures = failures + 1, retry_at = $5
            WHERE incident = $1 AND source = $2 AND pass = $3 AND fencing_token = $4
            AND worker IS NOT NULL",
            self.ended_lease()
        );
        self.db
            .write("postpone the pass", |mut db, _| async move {
                let update = pass_query(AssertSqlSafe(update.clone()), key)
                    .bind(token.cast_signed())
                    .bind(nanoseconds(retry_at));
                execute(&mut db, update).await?;
                Ok((db, ()))
            })
            .await
    }

    /// Makes passes that failed due at once: somebody asks for them, and may have mended the cause.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn retry_failed_passes(&self) -> Result<(), LedgerError> {
        self.db
            .write("make failed passes due", |mut db, _| async move {
                let update = "UPDATE passes SET retry_at = NULL
                    WHERE retry_at IS NOT NULL AND worker IS NULL";
                execute(&mut db, query(update)).await?;
                Ok((db, ()))
            })
            .await
    }

    /// Releases the leases of processes of this machine that have died. Leases of other machines
    /// expire.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn release_dead_leases(&self, own: &WorkerName) -> Result<(), LedgerError> {
        let workers: BTreeSet<String> = self
            .db
            .read::<_, LedgerError, _>("list the workers", |mut db| async move {
                let select = "SELECT DISTINCT worker FROM passes WHERE worker IS NOT NULL";
                let workers = fetch_all(&mut db, query(select), |row| get(row, "worker")).await?;
                Ok(workers.into_iter().collect())
            })
            .await?;
        let ended = self.ended_lease();
        for dead in workers.iter().filter(|worker| own.is_known_dead(worker)) {
            let update = &format!("UPDATE passes SET {ended} WHERE worker = $1");
            self.db
                .write_once::<_, LedgerError, _>(
                    "release the leases of a dead worker",
                    |mut db| async move {
                        let update = query(AssertSqlSafe(update.clone()));
                        execute(&mut db, update.bind(dead.as_str())).await?;
                        Ok(())
                    },
                )
                .await?;
        }
        Ok(())
    }

    /// True if a pass is leased, or due now. Attachments do not count: the attaching process waits
    /// for them itself. With `only_begun`, a pass that no worker has begun does not count either.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn is_busy(&self, now: Timestamp, only_begun: bool) -> Result<bool, LedgerError> {
        let is_leased = self.is_leased();
        let select = format!(
            "SELECT 1 AS one FROM passes
            WHERE queue IN ('remote', 'local', 'agent')
            AND stage IN ('waiting', 'captured', 'signed', 'published') AND due_at <= $1
            AND ({is_leased} OR ((retry_at IS NULL OR retry_at <= $1)
                AND ($2 = 0 OR fencing_token > 0)))
            LIMIT 1"
        );
        self.db
            .read("check for due passes", |mut db| {
                let select = query(AssertSqlSafe(select.clone()))
                    .bind(nanoseconds(now))
                    .bind(i64::from(only_begun));
                async move { Ok(fetch_first(&mut db, select, |_| Ok(())).await?.is_some()) }
            })
            .await
    }

    /// The incidents with passes that are due and not done, including those that are tried again
    /// later.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn incidents_with_due_passes(
        &self,
        now: Timestamp,
    ) -> Result<Vec<IncidentId>, LedgerError> {
        self.db
            .read("list the incidents with due passes", |mut db| async move {
                let select = "SELECT DISTINCT incident FROM passes
                    WHERE queue IN ('remote', 'local', 'agent')
                    AND stage IN ('waiting', 'captured', 'signed', 'published') AND due_at <= $1
                    ORDER BY incident";
                let select = query(select).bind(nanoseconds(now));
                fetch_all(&mut db, select, |row| parsed(row, "incident")).await
            })
            .await
    }

    /// True if a pass of `incident` is due now and not done: it must be captured, or its published
    /// bundle has work left that is retried soon. Attachments do not count, nor does what an agent
    /// may still deliver after its time.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn is_under_way(
        &self,
        incident: &IncidentId,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        self.db
            .read(
                "check whether the incident is captured",
                |mut db| async move {
                    let select = "SELECT 1 AS one FROM passes
                    WHERE incident = $1 AND queue <> 'attached'
                    AND (due_at <= $2 OR (queue = 'agent' AND kind <> 'continuation'))
                    AND (stage IN ('waiting', 'captured', 'signed')
                        OR (stage = 'published' AND failures <= $3))
                    LIMIT 1";
                    let select = query(select)
                        .bind(incident.as_str())
                        .bind(nanoseconds(now))
                        .bind(FAILURES_AWAITED_MAX.cast_signed());
                    Ok(fetch_first(&mut db, select, |_| Ok(())).await?.is_some())
                },
            )
            .await
    }

    /// When the next pass that no worker has begun is due; `None` if there is none.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, LedgerError> {
        self.db
            .read("find the next due pass", |mut db| async move {
                // The redundant condition on `stage` is that of the partial index, which SQLite
                // uses only if the query repeats it.
                let select = "SELECT due_at FROM passes
                    WHERE queue = $1 AND stage IN ('waiting', 'captured', 'signed', 'published')
                    AND stage = 'waiting' AND fencing_token = 0 ORDER BY due_at LIMIT 1";
                let mut next = None;
                for queue in [PassQueue::Remote, PassQueue::Local] {
                    let select = query(select).bind(queue.as_str());
                    let due = fetch_first(&mut db, select, |row| time(row, "due_at")).await?;
                    next = due.into_iter().chain(next).min();
                }
                Ok(next)
            })
            .await
    }

    /// The due time of the pass that has waited longest for a worker; `None` if there is none.
    /// One that failed, or whose worker has died, waits again. A published bundle is safe, and does
    /// not count.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn oldest_waiting(&self, now: Timestamp) -> Result<Option<Timestamp>, LedgerError> {
        let is_leased = self.is_leased();
        // The redundant condition on `stage`: as in `next_due`.
        let select = format!(
            "SELECT due_at FROM passes
            WHERE queue = $1 AND stage IN ('waiting', 'captured', 'signed', 'published')
            AND stage <> 'published' AND due_at <= $2
            AND NOT {is_leased} ORDER BY due_at LIMIT 1"
        );
        let select = &select;
        self.db
            .read("find the oldest waiting pass", |mut db| async move {
                let mut oldest = None;
                for queue in [PassQueue::Remote, PassQueue::Local] {
                    let select = query(AssertSqlSafe(select.clone()))
                        .bind(queue.as_str())
                        .bind(nanoseconds(now));
                    let due = fetch_first(&mut db, select, |row| time(row, "due_at")).await?;
                    oldest = due.into_iter().chain(oldest).min();
                }
                Ok(oldest)
            })
            .await
    }

    /// Counts the passes that are not done.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn backlog(&self) -> Result<Backlog, LedgerError> {
        let is_leased = self.is_leased();
        let select = format!(
            "SELECT COUNT(*) AS open,
                CAST(COALESCE(SUM(CASE WHEN {is_leased} THEN 1 ELSE 0 END), 0) AS BIGINT) AS leased
            FROM passes WHERE stage IN ('waiting', 'captured', 'signed', 'published')"
        );
        self.db
            .read("count the backlog", |mut db| {
                let select = query(AssertSqlSafe(select.clone()));
                async move {
                    let backlog = fetch_first(&mut db, select, |row| {
                        let (open, leased): (u64, u64) =
                            (number(row, "open")?, number(row, "leased")?);
                        Ok(Backlog {
                            waiting: open - leased,
                            leased,
                        })
                    });
                    Ok(backlog.await?.unwrap_or_default())
                }
            })
            .await
    }

    /// The condition that a worker has the pass.
    fn is_leased(&self) -> String {
        format!("(worker IS NOT NULL AND leased_until > {})", self.clock())
    }

    /// The columns of a lease that ends now, or has ended: nobody has the pass, and people see since
    /// when.
    fn ended_lease(&self) -> String {
        let now = self.clock();
        format!(
            "worker = NULL, leased_until = CASE WHEN leased_until < {now} THEN leased_until
            ELSE {now} END"
        )
    }

    /// SQL for the database's time in milliseconds since 1970. All workers share this clock, so a
    /// wrong clock on one host cannot shorten or prolong a lease.
    pub(super) fn clock(&self) -> &'static str {
        match self.db.engine() {
            DatabaseEngine::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            // Rounded down: a lease that ends now must not end in the future.
            DatabaseEngine::Postgres => {
                "CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)"
            }
        }
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
