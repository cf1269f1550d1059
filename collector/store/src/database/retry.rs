//! Transactions that are retried through a short outage of the database.

use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Any, Transaction};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::file::StorageFault;
use super::{Database, DatabaseEngine, DatabaseError};
use platform::backoff::Backoff;
use platform::random_fraction;

/// How long one call keeps retrying: longer than a failover or upgrade of PostgreSQL takes, shorter
/// than callers are willing to wait.
pub const OUTAGE_SECONDS_MAX: u64 = 120;

/// The same once the process was told to stop.
const STOPPING_SECONDS_MAX: u64 = 5;

/// Waits between two lines of the log that say that the database is unreachable.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// How long one attempt may take before its connection counts as dead. The longest transaction, a
/// batch of facts, takes seconds.
const ATTEMPT_SECONDS_MAX: u64 = 60;

/// Waits between attempts: a conflict is over within milliseconds, an outage is not.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));

/// Why a transaction was not committed.
pub(crate) enum TransactionError<E> {
    /// The database failed; a retry may succeed.
    Database(sqlx::Error),
    /// The caller's own rules reject the change; a retry is pointless.
    Rejected(E),
}

impl<E> From<sqlx::Error> for TransactionError<E> {
    fn from(cause: sqlx::Error) -> Self {
        Self::Database(cause)
    }
}

/// What is known of the earlier attempts at a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum EarlierAttempts {
    /// None was made, or all were rolled back.
    RolledBack,
    /// The response to a commit was lost: an earlier attempt may have been committed.
    Unknown,
}

/// An open transaction. Dropping it rolls it back.
pub(crate) type Tx = Transaction<'static, Any>;

impl Database {
    /// Runs `work` in a serializable transaction and commits the transaction that it returns. If the
    /// database is unreachable or reports a conflict, `work` runs again in a new transaction.
    ///
    /// If the response to a commit is lost, the next run gets [`EarlierAttempts::Unknown`]: `work`
    /// must then accept the changes that it finds as its own.
    pub(crate) async fn write<T, E, F>(
        &self,
        attempt: &'static str,
        work: impl Fn(Tx, EarlierAttempts) -> F,
    ) -> Result<T, E>
    where
        E: From<DatabaseError>,
        F: Future<Output = Result<(Tx, T), TransactionError<E>>>,
    {
        self.check_writable(attempt)?;
        self.check_file(attempt)?;
        let mut retry = RetryState::begin(attempt, self.patience);
        loop {
            match timeout(
                Duration::from_secs(ATTEMPT_SECONDS_MAX),
                self.run_transaction(&work, &mut retry.earlier),
            )
            .await
            {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => self.pause(&mut retry, error).await?,
                Err(_) => {
                    // The time may have run out during the commit.
                    retry.earlier = EarlierAttempts::Unknown;
                    let error = TransactionError::Database(response_timeout());
                    self.pause(&mut retry, error).await?;
                }
            }
        }
    }

    async fn run_transaction<T, E, F>(
        &self,
        work: impl Fn(Tx, EarlierAttempts) -> F,
        earlier: &mut EarlierAttempts,
    ) -> Result<T, TransactionError<E>>
    where
        F: Future<Output = Result<(Tx, T), TransactionError<E>>>,
    {
        let begin = match self.engine {
            // Takes the write lock now. SQLite does not wait for a lock that a transaction asks for
            // after it has read: it fails at once.
            DatabaseEngine::Sqlite => "BEGIN IMMEDIATE",
            DatabaseEngine::Postgres => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        };
        let (transaction, value) = work(self.writers.begin_with(begin).await?, *earlier).await?;
        transaction.commit().await.inspect_err(|cause| {
            if classify(cause) == DatabaseFault::Unreachable {
                *earlier = EarlierAttempts::Unknown;
            }
        })?;
        Ok(value)
    }

    /// Runs `work`, which only reads, and retries it while the database is unreachable.
    pub(crate) async fn read<T, E, F>(
        &self,
        attempt: &'static str,
        work: impl Fn(PoolConnection<Any>) -> F,
    ) -> Result<T, E>
    where
        E: From<DatabaseError>,
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        self.retry(attempt, || async {
            Ok(work(self.readers.acquire().await?).await?)
        })
        .await
    }

    /// Runs `work`, which writes with a single statement that is its own transaction. If the
    /// database is unreachable or reports a conflict, `work` runs again, and must then accept the
    /// changes that it finds as its own.
    ///
    /// This saves two of the three round trips of [`Self::write`], for calls that are made for every
    /// page.
    pub(crate) async fn write_once<T, E, F>(
        &self,
        attempt: &'static str,
        work: impl Fn(PoolConnection<Any>) -> F,
    ) -> Result<T, E>
    where
        E: From<DatabaseError>,
        F: Future<Output = Result<T, TransactionError<E>>>,
    {
        self.check_writable(attempt)?;
        self.check_file(attempt)?;
        self.retry(attempt, || async {
            work(self.writers.acquire().await?).await
        })
        .await
    }

    /// Runs `work` until it succeeds, is rejected, or the retries run out of time.
    async fn retry<T, E, F>(&self, attempt: &'static str, work: impl Fn() -> F) -> Result<T, E>
    where
        E: From<DatabaseError>,
        F: Future<Output = Result<T, TransactionError<E>>>,
    {
        let mut retry = RetryState::begin(attempt, self.patience);
        loop {
            match timeout(Duration::from_secs(ATTEMPT_SECONDS_MAX), work())
                .await
                .unwrap_or_else(|_| Err(response_timeout().into()))
            {
                Ok(value) => return Ok(value),
                Err(error) => self.pause(&mut retry, error).await?,
            }
        }
    }

    /// Fails if the database was opened for reading only.
    fn check_writable(&self, attempt: &'static str) -> Result<(), DatabaseError> {
        match (self.read_only, &self.folder) {
            (Some(fault), Some(folder)) => Err(fault.error(attempt, folder)),
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// Waits before the next attempt; at the end of the patience, finds out what is wrong.
    async fn pause<E: From<DatabaseError>>(
        &self,
        retry: &mut RetryState,
        error: TransactionError<E>,
    ) -> Result<(), E> {
        if self.stop.is_cancelled() {
            retry.patience = retry
                .patience
                .min(Duration::from_secs(STOPPING_SECONDS_MAX));
        }
        let error = match error {
            // A pool only says that it has waited in vain.
            TransactionError::Database(sqlx::Error::PoolTimedOut)
                if retry.is_over() || retry.will_warn() =>
            {
                let fault = self.connection_fault().await;
                TransactionError::Database(fault.unwrap_or(sqlx::Error::PoolTimedOut))
            }
            TransactionError::Database(cause) if is_fault_of_storage(&cause) => {
                let folder = self.folder.as_deref();
                match folder.and_then(|folder| Some((StorageFault::of(folder)?, folder))) {
                    Some((fault, folder)) => return Err(fault.error(retry.attempt, folder).into()),
                    None => TransactionError::Database(cause),
                }
            }
            TransactionError::Database(cause) => TransactionError::Database(cause),
            TransactionError::Rejected(error) => TransactionError::Rejected(error),
        };
        retry.pause(error, self.folder.as_deref()).await
    }
}

fn response_timeout() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        "the database does not respond",
    ))
}

/// The attempts of one call, up to a deadline.
pub(super) struct RetryState {
    attempt: &'static str,
    begun: Instant,
    patience: Duration,
    retries: u32,
    earlier: EarlierAttempts,
    /// When the log was last told of an outage.
    warned: Option<Instant>,
}

impl RetryState {
    pub(super) fn begin(attempt: &'static str, patience: Duration) -> Self {
        Self {
            attempt,
            begun: Instant::now(),
            patience,
            retries: 0,
            earlier: EarlierAttempts::RolledBack,
            warned: None,
        }
    }

    fn is_over(&self) -> bool {
        self.begun.elapsed() > self.patience
    }

    /// True if the log was not told of this outage a moment ago. A call that gives up soon tells its
    /// caller instead.
    fn will_warn(&self) -> bool {
        self.patience > WARNING_INTERVAL
            && self
                .warned
                .is_none_or(|at| at.elapsed() >= WARNING_INTERVAL)
    }

    /// Waits before the next attempt, longer each time.
    ///
    /// # Errors
    /// An error that waiting cannot mend, and any error once the deadline has passed.
    pub(super) async fn pause<E: From<DatabaseError>>(
        &mut self,
        error: TransactionError<E>,
        folder: Option<&Path>,
    ) -> Result<(), E> {
        let attempt = self.attempt;
        let cause = match error {
            TransactionError::Rejected(error) => return Err(error),
            TransactionError::Database(cause) => cause,
        };
        let fault = classify(&cause);
        let patience = match fault {
            DatabaseFault::DiskFull => {
                let place = match folder {
                    Some(folder) => format!("in {}", folder.display()),
                    None => format!("for the database: {cause}"),
                };
                let place = place.into();
                return Err(DatabaseError::StorageFull { attempt, place }.into());
            }
            DatabaseFault::Permanent => {
                return Err(DatabaseError::Statement { attempt, cause }.into());
            }
            DatabaseFault::Unreachable => self.patience,
            // A conflict is not an outage. Even a caller that does not wait for an unreachable database
            // waits for other transactions.
            DatabaseFault::Conflict => self.patience.max(Duration::from_secs(OUTAGE_SECONDS_MAX)),
        };
        if self.begun.elapsed() > patience {
            return Err(DatabaseError::Outage {
                attempt,
                seconds: self.begun.elapsed().as_secs(),
                cause,
            }
            .into());
        }
        if fault == DatabaseFault::Unreachable && self.will_warn() {
            warn!(attempt, %cause, "the database is unreachable, trying again");
            self.warned = Some(Instant::now());
        }
        // Jitter keeps transactions in conflict from colliding again.
        sleep(BACKOFF.equal_jitter(self.retries, random_fraction())).await;
        self.retries += 1;
        Ok(())
    }
}

/// What a database's error means for a retry.
#[derive(Debug, PartialEq, Eq)]
enum DatabaseFault {
    /// The connection is lost. The statement or commit in progress may have succeeded.
    Unreachable,
    /// Another transaction was in the way; ours was rolled back.
    Conflict,
    /// The disk is full; the transaction was rolled back.
    DiskFull,
    /// A retry would fail again.
    Permanent,
}

/// True for errors of SQLite about its files: read-only, I/O, cannot open. Their text does not say
/// whether the disk is full.
fn is_fault_of_storage(error: &sqlx::Error) -> bool {
    let code = match error {
        sqlx::Error::Database(error) => error.code(),
        _ => None,
    };
    // The five characters of an SQLSTATE can be digits, too; SQLite's codes have at most four.
    code.filter(|code| code.len() < 5)
        .and_then(|code| code.parse::<u32>().ok())
        .is_some_and(|code| matches!(code & 0xff, 8 | 10 | 14))
}

fn classify(error: &sqlx::Error) -> DatabaseFault {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => DatabaseFault::Unreachable,
        sqlx::Error::Protocol(_) => DatabaseFault::Unreachable, // a response cut off in its middle
        sqlx::Error::Database(error) => classify_code(&error.code().unwrap_or_default()),
        _ => DatabaseFault::Permanent,
    }
}

/// SQLSTATE codes have five characters (PostgreSQL, appendix A). SQLite's extended result codes are
/// decimal numbers whose low byte is the primary code (<https://sqlite.org/rescode.html>).
fn classify_code(code: &str) -> DatabaseFault {
    match code {
        // serialization failure, deadlock, lock not available
        "40001" | "40P01" | "55P03" => DatabaseFault::Conflict,
        // Unique violation: two transactions have inserted the same key at once (PostgreSQL, 13.5).
        // The second one sees the row when it retries.
        "23505" => DatabaseFault::Conflict,
        "53100" => DatabaseFault::DiskFull,
        // too many connections; server shut down, crashed, starting up
        "53300" | "57P01" | "57P02" | "57P03" => DatabaseFault::Unreachable,
        // idle for too long, inside and outside a transaction
        "25P03" | "57P05" => DatabaseFault::Unreachable,
        // class 08: connection exceptions
        _ if code.len() == 5 && code.starts_with("08") => DatabaseFault::Unreachable,
        _ if code.len() == 5 => DatabaseFault::Permanent,
        _ => match code.parse::<u32>().map(|number| number & 0xff) {
            Ok(5 | 6) => DatabaseFault::Conflict, // SQLITE_BUSY, SQLITE_LOCKED
            Ok(13) => DatabaseFault::DiskFull,    // SQLITE_FULL
            _ => DatabaseFault::Permanent,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classifies_codes_of_both_databases() {
        for (code, fault) in [
            ("40001", DatabaseFault::Conflict),
            ("53100", DatabaseFault::DiskFull),
            ("57P01", DatabaseFault::Unreachable),
            ("25P03", DatabaseFault::Unreachable),
            ("08006", DatabaseFault::Unreachable),
            ("23505", DatabaseFault::Conflict),
            ("23503", DatabaseFault::Permanent),
            ("22021", DatabaseFault::Permanent), // its low byte is SQLITE_BUSY
            ("5", DatabaseFault::Conflict),
            ("517", DatabaseFault::Conflict),
            ("261", DatabaseFault::Conflict),
            ("13", DatabaseFault::DiskFull),
            ("1555", DatabaseFault::Permanent),
            ("", DatabaseFault::Permanent),
        ] {
            assert_eq!(classify_code(code), fault, "{code:?}");
        }
    }
}
