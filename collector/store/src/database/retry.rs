//! Transactions that outlive a database's short absence.

use std::io;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Any, Transaction};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::{Database, DatabaseError, Engine};
use platform::backoff::Backoff;
use platform::random_fraction;

/// How long one call waits for a database that is away: longer than a failover or an upgrade of a
/// PostgreSQL takes, shorter than the patience of whoever called.
pub const OUTAGE_SECONDS_MAX: u64 = 120;

/// How long one attempt may take before its connection counts as dead. The longest transaction, a
/// batch of facts, takes seconds.
const ATTEMPT_SECONDS_MAX: u64 = 60;

/// Waits between attempts: a conflict is over within milliseconds, an outage is not.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));

/// Why a transaction did not come to its end.
pub(crate) enum Failure<E> {
    /// The database failed: perhaps try again.
    Database(sqlx::Error),
    /// It is not to be.
    Refused(E),
}

impl<E> From<sqlx::Error> for Failure<E> {
    fn from(cause: sqlx::Error) -> Self {
        Self::Database(cause)
    }
}

/// What is known of the earlier attempts at a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Earlier {
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
        work: impl Fn(Tx, Earlier) -> F,
    ) -> Result<T, E>
    where
        E: From<DatabaseError>,
        F: Future<Output = Result<(Tx, T), Failure<E>>>,
    {
        let mut retry = Retry::begin(attempt, self.patience);
        loop {
            match timeout(
                Duration::from_secs(ATTEMPT_SECONDS_MAX),
                self.transact(&work, &mut retry.earlier),
            )
            .await
            {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(failure)) => retry.pause(failure).await?,
                Err(_) => {
                    retry.earlier = Earlier::Unknown;
                    retry.pause(Failure::Database(no_answer())).await?;
                }
            }
        }
    }

    async fn transact<T, E, F>(
        &self,
        work: impl Fn(Tx, Earlier) -> F,
        earlier: &mut Earlier,
    ) -> Result<T, Failure<E>>
    where
        F: Future<Output = Result<(Tx, T), Failure<E>>>,
    {
        let begin = match self.engine {
            Engine::Sqlite => "BEGIN IMMEDIATE", // a lock taken later could not be waited for
            Engine::Postgres => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        };
        let (transaction, value) = work(self.writers.begin_with(begin).await?, *earlier).await?;
        transaction.commit().await.inspect_err(|cause| {
            if fault_of(cause) == Fault::Gone {
                *earlier = Earlier::Unknown;
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
        self.again(attempt, || async {
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
        F: Future<Output = Result<T, Failure<E>>>,
    {
        self.until_done(attempt, || async {
            work(self.writers.acquire().await?).await
        })
        .await
    }

    /// Runs `work`, which may run twice; again if the database was away or in conflict.
    pub(crate) async fn again<T, E, F>(
        &self,
        attempt: &'static str,
        work: impl Fn() -> F,
    ) -> Result<T, E>
    where
        E: From<DatabaseError>,
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        self.until_done(attempt, || async {
            work().await.map_err(Failure::Database)
        })
        .await
    }

    /// Runs `work`, which may run twice, until it is done or refused, or patience ends.
    async fn until_done<T, E, F>(&self, attempt: &'static str, work: impl Fn() -> F) -> Result<T, E>
    where
        E: From<DatabaseError>,
        F: Future<Output = Result<T, Failure<E>>>,
    {
        let mut retry = Retry::begin(attempt, self.patience);
        loop {
            match timeout(Duration::from_secs(ATTEMPT_SECONDS_MAX), work())
                .await
                .unwrap_or_else(|_| Err(no_answer().into()))
            {
                Ok(value) => return Ok(value),
                Err(failure) => retry.pause(failure).await?,
            }
        }
    }
}

fn no_answer() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        "the database does not answer",
    ))
}

/// Attempts at the same thing, up to a deadline.
struct Retry {
    attempt: &'static str,
    begun: Instant,
    patience: Duration,
    retries: u32,
    earlier: Earlier,
}

impl Retry {
    fn begin(attempt: &'static str, patience: Duration) -> Self {
        Self {
            attempt,
            begun: Instant::now(),
            patience,
            retries: 0,
            earlier: Earlier::Nothing,
        }
    }

    /// Waits a little, longer each time.
    ///
    /// # Errors
    /// What cannot be mended by waiting, and any failure once the patience is at its end.
    async fn pause<E: From<DatabaseError>>(&mut self, failure: Failure<E>) -> Result<(), E> {
        let attempt = self.attempt;
        let cause = match failure {
            Failure::Refused(error) => return Err(error),
            Failure::Database(cause) => cause,
        };
        match fault_of(&cause) {
            Fault::Full => return Err(DatabaseError::StorageFull { attempt, cause }.into()),
            Fault::Other => return Err(DatabaseError::Statement { attempt, cause }.into()),
            Fault::Gone | Fault::Conflict if self.begun.elapsed() > self.patience_with(&cause) => {
                return Err(DatabaseError::Outage {
                    attempt,
                    seconds: self.begun.elapsed().as_secs(),
                    cause,
                }
                .into());
            }
            Fault::Gone => warn!(attempt, %cause, "the database is away, trying again"),
            Fault::Conflict => {}
        }
        // with jitter, so that writers in conflict do not meet again
        sleep(BACKOFF.equal_jitter(self.retries, random_fraction())).await;
        self.retries += 1;
        Ok(())
    }
}

impl Retry {
    /// Whoever cannot wait for a database that is away can wait for others who use it.
    fn patience_with(&self, cause: &sqlx::Error) -> Duration {
        match fault_of(cause) {
            Fault::Conflict => self.patience.max(Duration::from_secs(OUTAGE_SECONDS_MAX)),
            _ => self.patience,
        }
    }
}

/// What a database's error means for whoever waits.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// The connection is lost; what was under way may or may not have been done.
    Gone,
    /// Others were in the way; nothing was done.
    Conflict,
    /// There is no room left; nothing was done.
    Full,
    /// Waiting does not help.
    Other,
}

fn fault_of(error: &sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => Fault::Gone,
        sqlx::Error::Protocol(_) => Fault::Gone, // an answer cut off in its middle
        sqlx::Error::Database(error) => fault_of_code(&error.code().unwrap_or_default()),
        _ => Fault::Other,
    }
}

/// SQLSTATE codes have five characters (PostgreSQL, appendix A); SQLite's extended result codes are
/// decimal numbers of which the low byte is the kind (<https://sqlite.org/rescode.html>).
fn fault_of_code(code: &str) -> Fault {
    match code {
        "40001" | "40P01" | "55P03" => Fault::Conflict, // serialization, deadlock, lock not available
        "23505" => Fault::Conflict, // two have inserted the same at once (PostgreSQL, 13.5): whoever is second sees it next time
        "53100" => Fault::Full,
        "53300" | "57P01" | "57P02" | "57P03" => Fault::Gone, // too many connections; shut down, crashed, starting up
        "25P03" | "57P05" => Fault::Gone, // idle for too long in a transaction, or outside of one
        _ if code.len() == 5 && code.starts_with("08") => Fault::Gone, // connection exceptions
        _ if code.len() == 5 => Fault::Other,
        _ => match code.parse::<u32>().map(|number| number & 0xff) {
            Ok(5 | 6) => Fault::Conflict, // SQLITE_BUSY, SQLITE_LOCKED
            Ok(13) => Fault::Full,        // SQLITE_FULL
            _ => Fault::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_databases_are_told_apart() {
        for (code, fault) in [
            ("40001", Fault::Conflict),
            ("53100", Fault::Full),
            ("57P01", Fault::Gone),
            ("25P03", Fault::Gone),
            ("08006", Fault::Gone),
            ("23505", Fault::Conflict),
            ("23503", Fault::Other),
            ("22021", Fault::Other), // its low byte is SQLITE_BUSY
            ("5", Fault::Conflict),
            ("517", Fault::Conflict),
            ("261", Fault::Conflict),
            ("13", Fault::Full),
            ("1555", Fault::Other),
            ("", Fault::Other),
        ] {
            assert_eq!(fault_of_code(code), fault, "{code:?}");
        }
    }
}
