//! Who works on which pass, and until when. [`super::passes`] says what a lease protects.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use sqlx::{AssertSqlSafe, query};

use super::incidents::incident_exists;
use super::passes::{NewPass, PassQueue, insert_pass, pass_query, pass_row};
use super::worker::WorkerName;
use super::{Ledger, LedgerError, PassKey, PassRow};
use crate::database::rows::{execute, fetch_all, fetch_first, get, nanoseconds, number, time};
use crate::database::{DatabaseEngine, EarlierAttempts};

/// Failures after which nobody waits for what follows a published bundle: the pauses between them
/// are minutes by then, and what never succeeds must not keep anybody waiting.
const FAILURES_AWAITED_MAX: u64 = 7;

/// Who asks for a pass to work on, and for how long.
#[derive(Clone, Debug)]
pub struct LeaseRequest<'r> {
    /// Whose lease it will be.
    pub worker: &'r WorkerName,
    /// From which queue.
    pub queue: PassQueue,
    /// The host's time: passes that are due later are left.
    pub now: Timestamp,
    /// After so long without [`Ledger::renew_lease`] the pass is free for others.
    pub lease: Duration,
    /// Only passes that somebody has begun: those that nobody has are not wanted any more.
    pub only_begun: bool,
}

/// Passes that are not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Passes that nobody works on now.
    pub waiting: u64,
    /// Passes with a lease.
    pub leased: u64,
}

impl Ledger {
    /// Leases the pass of a queue that is due the longest and that nobody works on; `None` if there
    /// is none. One statement, so that of any number of workers one has it.
    ///
    /// If the answer of the database is lost, a pass may stay leased to nobody until the lease ends.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn lease_next(
        &self,
        request: &LeaseRequest<'_>,
    ) -> Result<Option<PassRow>, LedgerError> {
        let now = self.clock();
        let skip = match self.db.engine() {
            DatabaseEngine::Sqlite => "", // its writers take turns
            DatabaseEngine::Postgres => "FOR UPDATE SKIP LOCKED",
        };
        let update = format!(
            "UPDATE passes SET worker = $1, leased_until = {now} + $2,
                fencing_token = fencing_token + 1, began_at = COALESCE(began_at, $3)
            WHERE (incident, source, pass) = (
                SELECT incident, source, pass FROM passes
                WHERE queue = $4 AND stage IN ('waiting', 'captured', 'signed', 'published')
                AND due_at <= $3 AND (retry_at IS NULL OR retry_at <= $3)
                AND (leased_until IS NULL OR leased_until <= {now})
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
                    // to its end: a commit that fails does so after its row was answered
                    Ok(fetch_all(&mut db, update, pass_row).await?.pop())
                }
            })
            .await
    }

    /// Adds a pass that is captured already, leased to `worker`; its fencing token. `None` if there is
    /// one of its key.
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
                if !incident_exists(&mut db, &new.key.incident).await? {
                    return Err(LedgerError::UnknownIncident(new.key.incident.clone()).into());
                }
                if !insert_pass(&mut db, new).await? {
                    // a commit whose answer was lost may have added it
                    let select = pass_query(
                        "SELECT 1 AS one FROM passes WHERE incident = $1 AND source = $2
                        AND pass = $3 AND worker = $4 AND fencing_token = 1",
                        &new.key,
                    );
                    let ours =
                        fetch_first(&mut db, select.bind(worker.as_str()), |_| Ok(())).await?;
                    let was_tried =
                        earlier == EarlierAttempts::Unknown && was_inserted.load(Ordering::Relaxed);
                    let is_ours = was_tried && ours.is_some();
                    return Ok((db, is_ours.then_some(1)));
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

    /// Makes a lease last for `lease` from now on. False if it was lost or given back: another
    /// worker has the pass, or may have it at any time.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn renew_lease(
        &self,
        key: &PassKey,
        token: u64,
        lease: Duration,
    ) -> Result<bool, LedgerError> {
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

    /// Gives a lease back: the pass is free at once. One that was lost stays with whoever has it.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn release_lease(&self, key: &PassKey, token: u64) -> Result<(), LedgerError> {
        let update = "UPDATE passes SET worker = NULL, leased_until = NULL
            WHERE incident = $1 AND source = $2 AND pass = $3 AND fencing_token = $4";
        self.db
            .write_once("release the lease", |mut db| {
                let update = pass_query(update, key).bind(token.cast_signed());
                async move {
                    execute(&mut db, update).await?;
                    Ok(())
                }
            })
            .await
    }

    /// Gives a lease back after a failure: the pass is free from `retry_at` on. One lease fails
    /// once.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn postpone(
        &self,
        key: &PassKey,
        token: u64,
        retry_at: Timestamp,
    ) -> Result<(), LedgerError> {
        self.db
            .write("postpone the pass", |mut db, _| async move {
                let update = "UPDATE passes SET worker = NULL, leased_until = NULL,
                    failures = failures + 1, retry_at = $5
                    WHERE incident = $1 AND source = $2 AND pass = $3 AND fencing_token = $4
                    AND worker IS NOT NULL";
                let update = pass_query(update, key)
                    .bind(token.cast_signed())
                    .bind(nanoseconds(retry_at));
                execute(&mut db, update).await?;
                Ok((db, ()))
            })
            .await
    }

    /// Frees what processes of this machine had leased that have ended since. Others wait for the
    /// end of their leases.
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
        for dead in workers.iter().filter(|worker| own.is_known_dead(worker)) {
            let update = "UPDATE passes SET worker = NULL, leased_until = NULL WHERE worker = $1";
            self.db
                .write_once::<_, LedgerError, _>("free leases of the dead", |mut db| async move {
                    execute(&mut db, query(update).bind(dead.as_str())).await?;
                    Ok(())
                })
                .await?;
        }
        Ok(())
    }

    /// True if a pass is leased, or due now. Attachments do not count: whoever attaches waits for
    /// them. With `only_begun`, those that nobody has begun do not count either.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn is_busy(&self, now: Timestamp, only_begun: bool) -> Result<bool, LedgerError> {
        let select = format!(
            "SELECT 1 AS one FROM passes
            WHERE queue IN ('remote', 'local')
            AND stage IN ('waiting', 'captured', 'signed', 'published') AND due_at <= $1
            AND (leased_until > {} OR ((retry_at IS NULL OR retry_at <= $1)
                AND ($2 = 0 OR fencing_token > 0)))
            LIMIT 1",
            self.clock()
        );
        self.db
            .read("look whether anything is due", |mut db| {
                let select = query(AssertSqlSafe(select.clone()))
                    .bind(nanoseconds(now))
                    .bind(i64::from(only_begun));
                async move { Ok(fetch_first(&mut db, select, |_| Ok(())).await?.is_some()) }
            })
            .await
    }

    /// True if a pass of `incident` is due now and not done: it is to be captured, or what follows
    /// its bundle is being done, or tried again soon. Attachments do not count.
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
                "look whether the incident is captured",
                |mut db| async move {
                    let select = "SELECT 1 AS one FROM passes
                    WHERE incident = $1 AND queue <> 'attached' AND due_at <= $2
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

    /// When the next pass that nobody has begun is due; `None` if none waits.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn next_due(&self) -> Result<Option<Timestamp>, LedgerError> {
        self.db
            .read("look when the next pass is due", |mut db| async move {
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

    /// How many passes are not done.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn backlog(&self) -> Result<Backlog, LedgerError> {
        let select = format!(
            "SELECT COUNT(*) AS open,
                CAST(COALESCE(SUM(CASE WHEN leased_until > {} THEN 1 ELSE 0 END), 0) AS BIGINT)
                    AS leased
            FROM passes WHERE stage IN ('waiting', 'captured', 'signed', 'published')",
            self.clock()
        );
        self.db
            .read("count the backlog", |mut db| {
                let select = query(AssertSqlSafe(select.clone()));
                async move {
                    let counted = fetch_first(&mut db, select, |row| {
                        let (open, leased): (u64, u64) =
                            (number(row, "open")?, number(row, "leased")?);
                        Ok(Backlog {
                            waiting: open - leased,
                            leased,
                        })
                    });
                    Ok(counted.await?.unwrap_or_default())
                }
            })
            .await
    }

    /// Milliseconds since 1970 by the clock of the database, which is the same for all who share
    /// it, as SQL.
    fn clock(&self) -> &'static str {
        match self.db.engine() {
            DatabaseEngine::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            DatabaseEngine::Postgres => {
                "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
            }
        }
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
