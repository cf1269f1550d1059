//! A database, SQLite or PostgreSQL, behind one set of SQL: sqlx's `Any` driver with `$1`
//! placeholders, text and 64-bit numbers.
//!
//! **Durable.** What a transaction has changed is on disk when it returns (SQLite: WAL with
//! `synchronous=FULL`; PostgreSQL: unless its operator has turned `synchronous_commit` off).
//!
//! **Order.** Every transaction is serializable: it sees the database as if it ran alone.
//!
//! **Outages.** A database that is away, busy, or takes another's side in a conflict is asked again
//! for up to [`OUTAGE_SECONDS_MAX`]. A change whose answer was lost on the way is never made twice.

mod connect;
mod error;
mod retry;
pub(super) mod rows;

pub use error::DatabaseError;
pub use retry::OUTAGE_SECONDS_MAX;
pub(super) use retry::{EarlierAttempts, TransactionError};

use std::time::Duration;

use sqlx::AnyPool;

/// Connections to a database. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Database {
    engine: DatabaseEngine,
    /// For transactions that change something. On SQLite this is one connection, so that writers of
    /// this process queue up fairly.
    writers: AnyPool,
    readers: AnyPool,
    /// How long one call waits for the database to come back.
    patience: Duration,
}

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DatabaseEngine {
    Sqlite,
    Postgres,
}

impl Database {
    pub(super) fn engine(&self) -> DatabaseEngine {
        self.engine
    }

    /// The same, for those who cannot wait as long.
    pub(super) fn with_patience(&self, patience: Duration) -> Self {
        Self {
            patience,
            ..self.clone()
        }
    }
}
