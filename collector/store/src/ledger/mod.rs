//! The collector's database, in SQLite or PostgreSQL: incidents and their journals, passes and
//! leases, streams of bundles, the timeline, tokens.
//!
//! **Trusted.** An attacker who can write to this database can make the collector skip a capture,
//! capture twice, seal at a wrong position of a stream, or derive the timeline from a bundle signed
//! with the attacker's key. The attacker cannot change a published bundle, nor sign one as a
//! collector. An attacker who can read the database can read the timeline.
//!
//! The changes of one method are atomic, and durable when it returns; [`super::database`] says how.

mod agents;
mod bundles;
mod error;
mod facts;
mod incidents;
mod journal;
mod keys;
mod leases;
mod numbers;
mod pages;
mod pass_plans;
mod passes;
mod stream;
#[cfg(test)]
mod tests;
mod tokens;
mod totals;
mod worker;

pub use agents::{
    AgentBan, AgentCertificate, AgentContact, AgentCounts, AgentFinding, AgentLabels, AgentRow,
    AuthorityRow, DeliveredBundle, EnrollmentOutcome, EnrollmentTokenRow, OrderRequest,
    RenewalOutcome,
};
pub use bundles::{BundleRow, PendingBundle, StreamPosition};
pub use error::LedgerError;
pub use facts::{
    BundleComparison, CompleteItem, CreatedObject, DerivedFacts, DerivedItem, EdgeComparison,
    EdgeFact, EdgeRow, EventCursor, EventFact, EventFilter, EventId, EventPage, EventRow,
    EventScan, ItemRow, ObjectChange, ObjectComparison, ObjectFact, ObjectRow,
    ParseEventCursorError, RECORDS_LISTED_MAX, RecordPointer, ScannedEvent, TermRole,
};
pub use journal::{
    DeclaredIncident, Journal, NewIncident, NewIncidentId, NewJournalEntry, OverviewQuery,
};
pub use keys::KeyChange;
pub use leases::{Backlog, LeaseRequest};
pub use pages::{EndedStep, PageRow, StagedPages};
pub use passes::{NewPass, PassKey, PassKind, PassQueue, PassRow, PassStage, PassState};
pub use stream::NewStream;
pub use tokens::TokenRow;
pub use totals::LedgerTotals;
pub use worker::WorkerName;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::database::{Database, DatabaseAccess, parse_url};

type TransactionError = super::database::TransactionError<LedgerError>;

/// Creates the tables, on both databases.
const MIGRATIONS: &[(&str, &str)] = &[
    ("ledger", include_str!("../../migrations/0001_ledger.sql")),
    ("tokens", include_str!("../../migrations/0002_tokens.sql")),
    ("answers", include_str!("../../migrations/0003_answers.sql")),
    ("agents", include_str!("../../migrations/0004_agents.sql")),
];

/// The table that lists the applied migrations. Not sqlx's default, which another program in the
/// same database may use.
const MIGRATIONS_TABLE: &str = "ledger_migrations";

/// The ledger. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    db: Database,
}

impl Ledger {
    /// Checks that `url` names a database of a kind that we know. Connects to none.
    ///
    /// # Errors
    /// [`DatabaseError::Url`](super::database::DatabaseError).
    pub fn check_url(url: &str) -> Result<(), LedgerError> {
        parse_url(url)?;
        Ok(())
    }

    /// Opens the database at `url`, `sqlite:///path/to/exhibit.db` (created if absent) or
    /// `postgres://user@host/name`, and migrates its tables. Several processes may do so at once.
    ///
    /// # Errors
    /// [`DatabaseError`](super::database::DatabaseError): the URL is wrong, the database rejects the
    /// connection or is unreachable, or a newer version has migrated its tables.
    pub async fn open(url: &str) -> Result<Self, LedgerError> {
        Self::open_with(url, DatabaseAccess::default()).await
    }

    /// The same for a command for which somebody waits: an unreachable database fails after
    /// `patience`, and a file that cannot be written is opened for reading, whose tables must exist.
    ///
    /// # Errors
    /// As for [`Ledger::open`].
    pub async fn open_for_command(url: &str, patience: Duration) -> Result<Self, LedgerError> {
        let access = DatabaseAccess {
            patience,
            // As long: a command makes few calls at once.
            acquire_max: patience,
            may_be_read_only: true,
        };
        Self::open_with(url, access).await
    }

    /// The same for a command that writes much, such as a capture: a file that cannot be written is
    /// an error.
    ///
    /// # Errors
    /// As for [`Ledger::open`].
    pub async fn open_for_capture(url: &str, patience: Duration) -> Result<Self, LedgerError> {
        let access = DatabaseAccess {
            patience,
            ..DatabaseAccess::default()
        };
        Self::open_with(url, access).await
    }

    async fn open_with(url: &str, access: DatabaseAccess) -> Result<Self, LedgerError> {
        let db = Database::open(url, access).await?;
        // What cannot be written has the tables that it has.
        if !db.is_read_only() {
            db.migrate(MIGRATIONS_TABLE, MIGRATIONS).await?;
        }
        Ok(Self { db })
    }

    /// True if it was opened for reading only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.db.is_read_only()
    }

    /// Why it was opened for reading only.
    #[must_use]
    pub fn read_only_cause(&self) -> Option<&'static str> {
        self.db.read_only_cause()
    }

    /// The same ledger, whose calls stop retrying when `stop` is cancelled.
    #[must_use]
    pub fn with_stop(&self, stop: CancellationToken) -> Self {
        Self {
            db: self.db.with_stop(stop),
        }
    }

    /// The same ledger, whose calls keep retrying for `patience` while the database is unreachable.
    /// The last attempt may take some seconds more.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self {
            db: self.db.with_patience(patience),
        }
    }

    /// Checks that the database responds.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        self.db.check_file("ping the database")?;
        self.db
            .read("ping the database", |mut db| async move {
                sqlx::query("SELECT 1").execute(&mut *db).await.map(|_| ())
            })
            .await
    }

    /// Closes all connections. On SQLite, the last process to do so merges the write-ahead log into
    /// the database, and one file remains.
    pub async fn close(&self) {
        self.db.close().await;
    }
}
