//! Opening the database: its settings, and its tables brought up to date.

use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyPool, AssertSqlSafe, ConnectOptions, Executor, SqlSafeStr};
use url::Url;

use super::retry::{Failure, OUTAGE_SECONDS_MAX};
use super::{Engine, Ledger, LedgerError};

/// Connections of one process to a PostgreSQL, for each of reading and writing.
const CONNECTIONS_MAX: u32 = 8;

/// How long a call waits for a connection before it counts as a failed attempt.
const ACQUIRE_SECONDS_MAX: u64 = 10;

/// The name of the table in which it stands which of our migrations were made. Not sqlx's own, which others in the same database use.
const MIGRATIONS_TABLE: &str = "ledger_migrations";

/// Names the lock under which one process at a time brings a PostgreSQL up to date: "exhibit" in ASCII.
const MIGRATIONS_LOCK: &str = "SELECT pg_advisory_xact_lock(28561362487765364)";

/// Settings of each SQLite connection. The timeout comes first: the others may have to wait. `WAL` lets readers go on while one
/// writes; `FULL` syncs it at every commit, so a commit outlives a power cut. 64 MiB of cache keep the indexes of a large timeline
/// from being read again for each row.
const SQLITE_SETTINGS: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY";

impl Ledger {
    /// Opens the database at `url`, `sqlite:///path/to/exhibit.db` (created if absent) or `postgres://user@host/name`, and brings
    /// its tables up to date. Any number of processes may do so at once.
    ///
    /// # Errors
    /// [`LedgerError::Url`], [`LedgerError::Open`] if it is refused, [`LedgerError::Outage`] if it is away for
    /// [`OUTAGE_SECONDS_MAX`], and [`LedgerError::Migrate`] if its tables are of a newer version.
    pub async fn open(url: &str) -> Result<Self, LedgerError> {
        sqlx::any::install_default_drivers();
        let parsed = Url::parse(url).map_err(|_| LedgerError::Url(without_password(url)))?;
        let (engine, writers_max) = match parsed.scheme() {
            "sqlite" => (Engine::Sqlite, 1),
            "postgres" | "postgresql" => (Engine::Postgres, CONNECTIONS_MAX),
            _ => return Err(LedgerError::Url(without_password(url))),
        };
        let pool = |connections_max| pool(engine, parsed.clone(), connections_max).map_err(|cause| open_error(url, cause));
        let patience = Duration::from_secs(OUTAGE_SECONDS_MAX);
        let ledger = Self { engine, writers: pool(writers_max)?, readers: pool(CONNECTIONS_MAX)?, patience };
        ledger.bring_up_to_date().await.map_err(|error| match error {
            LedgerError::Database { cause, .. } => open_error(url, cause),
            error => error,
        })?;
        Ok(ledger)
    }

    /// Closes all connections. On SQLite the last process to do so leaves one file, without its write-ahead log.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
    }

    /// All migrations in one transaction: a process that comes second waits for its begin, and finds nothing left to do.
    async fn bring_up_to_date(&self) -> Result<(), LedgerError> {
        let migrator = &migrator(self.engine);
        self.write("open the database", |mut db, _| async move {
            if self.engine == Engine::Postgres {
                db.execute(MIGRATIONS_LOCK).await?;
            }
            let migrated = migrator.run_direct(None, &mut *db, false).await;
            migrated.map_err(|error| match error {
                sqlx::migrate::MigrateError::Execute(cause) => Failure::Database(cause),
                error => LedgerError::Migrate(Box::new(error)).into(),
            })?;
            Ok((db, ()))
        })
        .await
    }
}

fn migrator(engine: Engine) -> Migrator {
    let ledger = include_str!("../../../migrations/0001_ledger.sql");
    let sql = match engine {
        Engine::Sqlite => ledger.to_owned(),
        Engine::Postgres => ledger.replace(" TEXT", " TEXT COLLATE \"C\""), // else it orders by the locale of its database
    };
    let sql = AssertSqlSafe(sql).into_sql_str();
    let mut migrator = Migrator::with_migrations(vec![Migration::new(1, "ledger".into(), MigrationType::Simple, sql, false)]);
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    migrator.set_locking(false); // the transaction around them is the lock
    migrator
}

fn pool(engine: Engine, mut url: Url, connections_max: u32) -> Result<AnyPool, sqlx::Error> {
    let mut options =
        AnyPoolOptions::new().max_connections(connections_max).acquire_timeout(Duration::from_secs(ACQUIRE_SECONDS_MAX));
    if engine == Engine::Sqlite {
        if !url.query_pairs().any(|(name, _)| name == "mode") {
            url.query_pairs_mut().append_pair("mode", "rwc");
        }
        options =
            options.after_connect(|connection, _| Box::pin(async move { connection.execute(SQLITE_SETTINGS).await.map(drop) }));
    }
    Ok(options.connect_lazy_with(AnyConnectOptions::from_url(&url)?.disable_statement_logging()))
}

fn open_error(url: &str, cause: sqlx::Error) -> LedgerError {
    LedgerError::Open { url: without_password(url), cause }
}

/// For error texts, which end in logs.
fn without_password(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) => {
            if url.password().is_some() && url.set_password(Some("***")).is_err() {
                return format!("{}:...", url.scheme());
            }
            url.into()
        }
        Err(_) => url.split(':').next().unwrap_or("").chars().take(20).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        assert_eq!(without_password("postgres://me:secret@db/exhibit"), "postgres://me:***@db/exhibit");
        assert_eq!(without_password("me secret@db"), "me secret@db");
        assert!(!without_password("postgres//me:secret@db").contains("secret"));
    }
}
