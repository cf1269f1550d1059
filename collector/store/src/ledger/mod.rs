//! The collector's memory, in SQLite or PostgreSQL: one set of SQL for both.
//!
//! **Trusted.** Whoever can write this database can make the collector capture nothing, capture
//! twice, or seal at a wrong place of the stream, or derive its timeline from a bundle that they
//! have signed with a key of their own; they cannot change a bundle that was published, nor sign
//! one as a collector. Whoever can read it reads the timeline.
//!
//! All that one method changes is durable when it returns, and changes at once; [`super::database`]
//! says how.

mod bundles;
mod error;
mod facts;
mod journal;
mod leases;
mod pages;
mod passes;
mod stream;
#[cfg(test)]
mod tests;
mod tokens;
mod totals;
mod worker;

pub use bundles::BundleRow;
pub use error::LedgerError;
pub use facts::{Comparison, Fact, FactCursor, FactFilter, FactPage, FactRow, ParseCursorError};
pub use journal::{Declared, Journal, NewEntry, NewIncident, NewIncidentId, OverviewQuery};
pub use leases::{Backlog, LeaseRequest};
pub use pages::{EndedStep, Fetched, PageRow};
pub use passes::{NewPass, PassKey, PassKind, PassRow, PassStage, PassState, Queue};
pub use stream::{NewStream, Pending, StreamPosition};
pub use tokens::TokenRow;
pub use totals::Totals;
pub use worker::WorkerName;

use std::time::Duration;

use super::database::Database;

/// What a transaction of the ledger fails with.
type Failure = super::database::Failure<LedgerError>;

/// The tables, as one set of SQL for both databases.
const MIGRATIONS: &[(&str, &str)] = &[
    ("ledger", include_str!("../../migrations/0001_ledger.sql")),
    ("tokens", include_str!("../../migrations/0002_tokens.sql")),
];

/// The name of the table in which it stands which migrations were made. Not sqlx's own, which
/// others in the same database use.
const MIGRATIONS_TABLE: &str = "ledger_migrations";

/// The ledger. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    db: Database,
}

impl Ledger {
    /// Opens the database at `url`, `sqlite:///path/to/exhibit.db` (created if absent) or
    /// `postgres://user@host/name`, and brings its tables up to date. Any number of processes may
    /// do so at once.
    ///
    /// # Errors
    /// [`DatabaseError`](super::database::DatabaseError): the URL is wrong, the database refuses us
    /// or is away, its tables are of a newer version.
    pub async fn open(url: &str) -> Result<Self, LedgerError> {
        let db = Database::open(url).await?;
        db.migrate(MIGRATIONS_TABLE, MIGRATIONS).await?;
        Ok(Self { db })
    }

    /// The same ledger, whose calls wait so long for a database that is away, and no longer; each
    /// attempt of theirs takes some seconds beside that.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self {
            db: self.db.with_patience(patience),
        }
    }

    /// Asks the database for nothing. For those who look whether it answers.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn answers(&self) -> Result<(), LedgerError> {
        self.db
            .read("ask the database for nothing", |mut db| async move {
                sqlx::query("SELECT 1").execute(&mut *db).await.map(|_| ())
            })
            .await
    }

    /// Closes all connections. On SQLite the last process to do so leaves one file, without its
    /// write-ahead log.
    pub async fn close(&self) {
        self.db.close().await;
    }
}
