//! Transactions that outlive a database's short absence.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Any, Transaction};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::{Database, DatabaseEngine, DatabaseError};

/// How long one call waits for a database that is away: longer than a failover or an upgrade of a
/// PostgreSQL takes, shorter than the patience of whoever called.
pub const OUTAGE_SECONDS_MAX: u64 = 120;

/// How long one attempt may take before its connection counts as dead. The longest transaction, a
/// batch of facts, takes seconds.
const ATTEMPT_SECONDS_MAX: u64 = 60;

/// Pauses between attempts double from the one to the other.
const PAUSE_MILLISECONDS_MIN: u64 = 5;
const PAUSE_MILLISECONDS_MAX: u64 = 1000;

/// Why a transaction did not come to its end.
pub(crate) enum TransactionError<E> {
    /// The database failed: perhaps try again.
    Database(sqlx::Error),
    /// It is not to be.
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
    /// There were none, or they have changed nothing.
    Nothing,
    /// The answer to a commit was lost: what is there already may be ours.
    Unknown,
}

/// A transaction under way. Dropped, it is rolled back.
pub(crate) type Tx = Transaction<'static, Any>;

impl Database {
    /// Runs `work` in a serializable transaction, and commits the transaction that it hands back;
    /// all again from the start if the database was away or in conflict.
    ///
    /// If the answer to a commit is lost, `work` runs again and is told so: it must then take what
    /// it finds for its own.
    pub(crate) async fn write<T, E, F>(
        &self,
        attempt: &'static str,
        work: impl Fn(Tx, EarlierAttempts) -> F,
    ) -> Result<T, E>
    where
        E: From<DatabaseError>,
        F: Future<Output = Result<(Tx, T), TransactionError<E>>>,
    {
        let mut retry = RetryState::begin(attempt, self.patience);
        loop {
            match timeout(
                Duration::from_secs(ATTEMPT_SECONDS_MAX),
                self.run_transaction(&work, &mut retry.earlier),
            )
            .await
            {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(failure)) => retry.pause(failure).await?,
                Err(_) => {
                    retry.earlier = EarlierAttempts::Unknown;
                    retry
                        .pause(TransactionError::Database(response_timeout()))
                        .await?;
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
            DatabaseEngine::Sqlite => "BEGIN IMMEDIATE", // a lock taken later could not be waited for
            DatabaseEngine::Postgres => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        };
        let (transaction, value) = work(self.writers.begin_with(begin).await?, *earlier).await?;
        transaction.commit().await.inspect_err(|cause| {
            if classify(cause) == DatabaseFault::Gone {
                *earlier = EarlierAttempts::Unknown;
            }
        })?;
        Ok(value)
    }

    /// Runs `work`, which changes nothing; again if the database was away.
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
            work(self.readers.acquire().await?).await
        })
        .await
    }

    /// Runs `work`, whose one statement changes something and is its own transaction; again if the
    /// database was away or in conflict. So `work` may run twice, and must then take what it finds
    /// for its own.
    ///
    /// Two of three round trips to the database are saved against [`Self::write`]: for what is done
    /// at every page.
    pub(crate) async fn write_once<T, E, F>(
        &self,
        attempt: &'static str,
        work: impl Fn(PoolConnection<Any>) -> F,
    ) -> Result<T, E>
    where
        E: From<DatabaseError>,
        F: Future<Output = Result<T, TransactionError<E>>>,
    {
        self.retry_until_done(attempt, || async {
            work(self.writers.acquire().await?).await
        })
        .await
    }

    /// Runs `work`, which may run twice; again if the database was away or in conflict.
    pub(crate) async fn retry<T, E, F>(
        &self,
        attempt: &'static str,
        work: impl Fn() -> F,
    ) -> Result<T, E>
    where
        E: From<DatabaseError>,
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        self.retry_until_done(attempt, || async {
            work().await.map_err(TransactionError::Database)
        })
        .await
    }

    /// Runs `work`, which may run twice, until it is done or refused, or patience ends.
    async fn retry_until_done<T, E, F>(
        &self,
        attempt: &'static str,
        work: impl Fn() -> F,
    ) -> Result<T, E>
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
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }
}

fn response_timeout() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        "the database does not answer",
    ))
}

/// Attempts at the same thing, up to a deadline.
struct RetryState {
    attempt: &'static str,
    begun: Instant,
    patience: Duration,
    pause: Duration,
    earlier: EarlierAttempts,
}

impl RetryState {
    fn begin(attempt: &'static str, patience: Duration) -> Self {
        Self {
            attempt,
            begun: Instant::now(),
            patience,
            pause: Duration::from_millis(PAUSE_MILLISECONDS_MIN),
            earlier: EarlierAttempts::Nothing,
        }
    }

    /// Waits a little, longer each time.
    ///
    /// # Errors
    /// What cannot be mended by waiting, and any failure once the patience is at its end.
    async fn pause<E: From<DatabaseError>>(
        &mut self,
        failure: TransactionError<E>,
    ) -> Result<(), E> {
        let attempt = self.attempt;
        let cause = match failure {
            TransactionError::Rejected(error) => return Err(error),
            TransactionError::Database(cause) => cause,
        };
        match classify(&cause) {
            DatabaseFault::Full => return Err(DatabaseError::StorageFull { attempt, cause }.into()),
            DatabaseFault::Other => return Err(DatabaseError::Statement { attempt, cause }.into()),
            DatabaseFault::Gone | DatabaseFault::Conflict
                if self.begun.elapsed() > self.patience_for(&cause) =>
            {
                return Err(DatabaseError::Outage {
                    attempt,
                    seconds: self.begun.elapsed().as_secs(),
                    cause,
                }
                .into());
            }
            DatabaseFault::Gone => warn!(attempt, %cause, "the database is away, trying again"),
            DatabaseFault::Conflict => {}
        }
        sleep(self.pause.mul_f64(jitter())).await;
        self.pause = (self.pause * 2).min(Duration::from_millis(PAUSE_MILLISECONDS_MAX));
        Ok(())
    }
}

impl RetryState {
    /// Whoever cannot wait for a database that is away can wait for others who use it.
    fn patience_for(&self, cause: &sqlx::Error) -> Duration {
        match classify(cause) {
            DatabaseFault::Conflict => self.patience.max(Duration::from_secs(OUTAGE_SECONDS_MAX)),
            _ => self.patience,
        }
    }
}

/// From 0.5 to 1, so that writers in conflict do not meet again.
#[expect(
    clippy::cast_precision_loss,
    reason = "any number in the range will do"
)]
fn jitter() -> f64 {
    0.5 + 0.5 * (RandomState::new().hash_one(0) as f64 / u64::MAX as f64)
}

/// What a database's error means for whoever waits.
#[derive(Debug, PartialEq, Eq)]
enum DatabaseFault {
    /// The connection is lost; what was under way may or may not have been done.
    Gone,
    /// Others were in the way; nothing was done.
    Conflict,
    /// There is no room left; nothing was done.
    Full,
    /// Waiting does not help.
    Other,
}

fn classify(error: &sqlx::Error) -> DatabaseFault {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => DatabaseFault::Gone,
        sqlx::Error::Protocol(_) => DatabaseFault::Gone, // an answer cut off in its middle
        sqlx::Error::Database(error) => classify_code(&error.code().unwrap_or_default()),
        _ => DatabaseFault::Other,
    }
}

/// SQLSTATE codes have five characters (PostgreSQL, appendix A); SQLite's extended result codes are
/// decimal numbers of which the low byte is the kind (<https://sqlite.org/rescode.html>).
fn classify_code(code: &str) -> DatabaseFault {
    match code {
        "40001" | "40P01" | "55P03" => DatabaseFault::Conflict, // serialization, deadlock, lock not available
        "23505" => DatabaseFault::Conflict, // two have inserted the same at once (PostgreSQL, 13.5): whoever is second sees it next time
        "53100" => DatabaseFault::Full,
        "53300" | "57P01" | "57P02" | "57P03" => DatabaseFault::Gone, // too many connections; shut down, crashed, starting up
        "25P03" | "57P05" => DatabaseFault::Gone, // idle for too long in a transaction, or outside of one
        _ if code.len() == 5 && code.starts_with("08") => DatabaseFault::Gone, // connection exceptions
        _ if code.len() == 5 => DatabaseFault::Other,
        _ => match code.parse::<u32>().map(|number| number & 0xff) {
            Ok(5 | 6) => DatabaseFault::Conflict, // SQLITE_BUSY, SQLITE_LOCKED
            Ok(13) => DatabaseFault::Full,        // SQLITE_FULL
            _ => DatabaseFault::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_are_told_apart() {
        for (code, fault) in [
            ("40001", DatabaseFault::Conflict),
            ("53100", DatabaseFault::Full),
            ("57P01", DatabaseFault::Gone),
            ("25P03", DatabaseFault::Gone),
            ("08006", DatabaseFault::Gone),
            ("23505", DatabaseFault::Conflict),
            ("23503", DatabaseFault::Other),
            ("22021", DatabaseFault::Other), // its low byte is SQLITE_BUSY
            ("5", DatabaseFault::Conflict),
            ("517", DatabaseFault::Conflict),
            ("261", DatabaseFault::Conflict),
            ("13", DatabaseFault::Full),
            ("1555", DatabaseFault::Other),
            ("", DatabaseFault::Other),
        ] {
            assert_eq!(classify_code(code), fault, "{code:?}");
        }
    }
}
