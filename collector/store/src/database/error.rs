//! What can go wrong with a database, by who must act.

/// A call to the database failed. Nothing of what it was to change has changed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    // The operator acts.
    /// The URL is of no database that this program knows.
    #[error("{0:?} is no database URL: expected sqlite:///path/to/exhibit.db or postgres://...")]
    Url(String),
    /// There is no such database, or it refuses us.
    #[error("cannot open the database {url}")]
    Open {
        /// The URL without its password.
        url: String,
        /// Why.
        #[source]
        cause: sqlx::Error,
    },
    /// The tables are of another version, or may not be made.
    #[error("cannot bring the tables of the database up to date")]
    Migrate(#[source] Box<sqlx::migrate::MigrateError>),
    /// The disk under the database is full.
    #[error("cannot {attempt}: there is no room left for the database")]
    StorageFull {
        /// What was attempted.
        attempt: &'static str,
        /// What the database says.
        #[source]
        cause: sqlx::Error,
    },

    // The machine failed.
    /// The database was away, or in conflict, for too long.
    #[error("cannot {attempt}: the database could not be used for {seconds} s")]
    Outage {
        /// What was attempted.
        attempt: &'static str,
        /// For how long.
        seconds: u64,
        /// The last failure.
        #[source]
        cause: sqlx::Error,
    },
    /// The database refused a statement, or holds what this program never wrote.
    #[error("cannot {attempt}")]
    Statement {
        /// What was attempted.
        attempt: &'static str,
        /// Why.
        #[source]
        cause: sqlx::Error,
    },
}
