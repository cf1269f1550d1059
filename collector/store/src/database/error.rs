//! Errors of a database, grouped by who must act.

use std::path::Path;

/// A failed call to the database. It has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    // The operator acts.
    #[error(
        "unsupported database URL {0:?}: expected sqlite:///path/to/exhibit.db or postgres://..."
    )]
    Url(String),
    /// The database does not exist, or rejects our credentials.
    #[error("cannot open the database {url}")]
    Open {
        /// The URL without its password.
        url: String,
        #[source]
        cause: sqlx::Error,
    },
    /// A newer version of this program created the tables, or this user may not create them.
    #[error("cannot migrate the tables of the database")]
    Migrate(#[source] Box<sqlx::migrate::MigrateError>),
    #[error("cannot {attempt}: no room left {place}")]
    StorageFull {
        attempt: &'static str,
        /// `in /path`, or what a server says.
        place: Box<str>,
    },
    /// The file system is mounted read-only, or this user may not write to the database's file.
    #[error("cannot {attempt}: the store is read-only ({})", folder.display())]
    ReadOnly {
        attempt: &'static str,
        folder: Box<Path>,
    },

    // The machine failed.
    /// The database was unreachable, or other transactions conflicted with ours, until the retries
    /// ran out of time.
    #[error("cannot {attempt}: the database was unavailable for {seconds} s")]
    Outage {
        attempt: &'static str,
        seconds: u64,
        /// The error of the last attempt.
        #[source]
        cause: sqlx::Error,
    },
    /// The database rejected a statement, or a row holds a value that this program never writes.
    #[error("cannot {attempt}")]
    Statement {
        attempt: &'static str,
        #[source]
        cause: sqlx::Error,
    },
}
