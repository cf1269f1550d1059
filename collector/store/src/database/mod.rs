//! SQLite or PostgreSQL, used through one set of SQL: sqlx's `Any` driver with `$1` placeholders,
//! text and 64-bit numbers.
//!
//! **Durability.** The changes of a transaction are on disk when its call returns (SQLite: WAL with
//! `synchronous=FULL`; PostgreSQL: unless its operator has turned `synchronous_commit` off).
//!
//! **Isolation.** Every transaction that writes is serializable: it sees the database as if no
//! other transaction ran.
//!
//! **Outages.** A call is retried for up to [`OUTAGE_SECONDS_MAX`] while the database is
//! unreachable, locked, or aborts the transaction because of a conflict. If the response to a
//! commit is lost, the retry detects whether the commit happened, so no change is made twice.

mod connect;
mod error;
mod file;
mod identity;
mod retry;
pub(crate) mod rows;

pub(crate) use connect::{DatabaseAccess, parse_url};
pub use error::DatabaseError;
pub(crate) use identity::FileIdentity;
pub use retry::OUTAGE_SECONDS_MAX;
pub(crate) use retry::{EarlierAttempts, TransactionError};

use std::path::PathBuf;
use std::time::Duration;

use sqlx::AnyPool;
use sqlx::any::AnyConnectOptions;
use tokio_util::sync::CancellationToken;

use file::StorageFault;

/// Connection pools of one database. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    engine: DatabaseEngine,
    /// For transactions that write. On SQLite, a pool of one connection: SQLite allows one writer at
    /// a time, and the pool queues the writers of this process fairly.
    writers: AnyPool,
    readers: AnyPool,
    /// The file of an SQLite. Its connections keep a removed file open, and would write into it.
    file: Option<FileIdentity>,
    /// How long one call keeps retrying while the database is unreachable.
    patience: Duration,
    /// Once cancelled, nobody waits for a database that is away.
    stop: CancellationToken,
    /// To ask for the cause of a failure: a pool only says that it has waited in vain.
    connect_options: AnyConnectOptions,
    /// The folder of a database that is a file.
    folder: Option<PathBuf>,
    /// Why the database was opened for reading only; `None` if it can be written.
    read_only: Option<StorageFault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DatabaseEngine {
    Sqlite,
    Postgres,
}

impl Database {
    pub(crate) fn engine(&self) -> DatabaseEngine {
        self.engine
    }

    /// Fails if the database's file was removed or replaced since it was opened: what is written to
    /// it from then on would be lost.
    pub(crate) fn check_file(&self, attempt: &'static str) -> Result<(), DatabaseError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        file.check().map_err(|cause| DatabaseError::Outage {
            attempt,
            seconds: 0,
            cause: sqlx::Error::Io(cause),
        })
    }

    /// The same database, with another limit on retries.
    pub(crate) fn with_patience(&self, patience: Duration) -> Self {
        Self {
            patience,
            ..self.clone()
        }
    }

    /// The same database, whose calls stop retrying when `stop` is cancelled.
    pub(crate) fn with_stop(&self, stop: CancellationToken) -> Self {
        Self {
            stop,
            ..self.clone()
        }
    }

    /// Why it was opened for reading only.
    pub(crate) fn read_only_cause(&self) -> Option<&'static str> {
        self.read_only.map(|fault| match fault {
            StorageFault::ReadOnly => "the store is read-only",
            StorageFault::Full => "the store's disk is full",
        })
    }

    /// True if it was opened for reading only.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only.is_some()
    }
}
