//! The collector's memory, in SQLite or PostgreSQL: one set of SQL for both.
//!
//! **Trusted.** Whoever can write this database can make the collector capture nothing, capture twice, or seal at a wrong
//! place of the stream; they cannot change a bundle that was published, nor sign one. Whoever can read it reads the timeline.
//!
//! **Durable.** What a method has changed is on disk when it returns (SQLite: WAL with `synchronous=FULL`; PostgreSQL: unless its
//! operator has turned `synchronous_commit` off), and all that one method changes, changes at once.
//!
//! **Order.** Every transaction is serializable: it sees the database as if it ran alone.
//!
//! **Outages.** A database that is away, busy, or takes another's side in a conflict is asked again for up to
//! [`OUTAGE_SECONDS_MAX`]. A change whose answer was lost on the way is never made twice.

mod bundles;
mod connect;
mod entries;
mod error;
mod facts;
mod pages;
mod passes;
mod retry;
mod rows;
mod stream;
#[cfg(test)]
mod tests;

pub use bundles::BundleRow;
pub use entries::{Declared, Entry, EntryRow};
pub use error::LedgerError;
pub use facts::{Comparison, Fact, FactCursor, FactFilter, FactPage, FactRow, ParseCursorError};
pub use pages::{EndedStep, PageRow};
pub use passes::{NewPass, PassKey, PassKind, PassRow, PassState};
pub use retry::OUTAGE_SECONDS_MAX;
pub use stream::{Pending, Place};

use std::time::Duration;

use sqlx::AnyPool;

/// The database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    engine: Engine,
    /// For transactions that change something. On SQLite this is one connection, so that writers of this process queue up fairly.
    writers: AnyPool,
    readers: AnyPool,
    /// How long one call waits for the database to come back.
    patience: Duration,
}

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
}
