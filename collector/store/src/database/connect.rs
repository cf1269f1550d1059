//! Opening the database: its settings, and its tables brought up to date.

use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyPool, AssertSqlSafe, ConnectOptions, Connection, Executor, SqlSafeStr};
use url::Url;

use super::{Database, DatabaseEngine, DatabaseError, OUTAGE_SECONDS_MAX, TransactionError};

/// Connections of one process to a PostgreSQL, for each of reading and writing.
const CONNECTIONS_MAX: u32 = 8;

/// How long a call waits for a connection before it counts as a failed attempt.
const ACQUIRE_SECONDS_MAX: u64 = 5;

/// Names the lock under which one process at a time brings a PostgreSQL up to date: "exhibit" in
/// ASCII.
const MIGRATIONS_LOCK: &str = "SELECT pg_advisory_xact_lock(28561362487765364)";

/// Setting of each PostgreSQL connection: a process that is stopped in the middle of a transaction,
/// or whose host is gone, must not hold its locks on rows that others wait for. Between two
/// statements there are never more than moments.
pub(crate) const IDLE_LIMIT: &str = "SET idle_in_transaction_session_timeout = '10s'";

/// Settings of each SQLite connection. The timeout comes first: the others may have to wait. `WAL`
/// lets readers go on while one writes; `FULL` syncs it at every commit, so a commit outlives a
/// power cut. The cache stays at SQLite's 2 MiB a connection: the system caches the file as well,
/// so more makes nothing faster, and fills up as the timeline grows.
const SQLITE_SETTINGS: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY";

/// Settings of each connection to PostgreSQL that writes: a statement without a transaction around
/// it is serializable too.
const POSTGRES_WRITER_SETTINGS: &str =
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE";

/// Settings of each connection to PostgreSQL that reads.
const POSTGRES_READER_SETTINGS: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";

impl Database {
    /// Opens the database at `url`, `sqlite:///path/to/exhibit.db` (created if absent) or
    /// `postgres://user@host/name`.
    ///
    /// # Errors
    /// [`DatabaseError::Url`], [`DatabaseError::Open`] if it is refused, and
    /// [`DatabaseError::Outage`] if it is away for [`OUTAGE_SECONDS_MAX`].
    pub(crate) async fn open(url: &str) -> Result<Self, DatabaseError> {
        sqlx::any::install_default_drivers();
        let parsed = Url::parse(url).map_err(|_| DatabaseError::Url(without_password(url)))?;
        let (engine, writers_max, write, read) = match parsed.scheme() {
            "sqlite" => (DatabaseEngine::Sqlite, 1, SQLITE_SETTINGS, SQLITE_SETTINGS),
            "postgres" | "postgresql" => (
                DatabaseEngine::Postgres,
                CONNECTIONS_MAX,
                POSTGRES_WRITER_SETTINGS,
                POSTGRES_READER_SETTINGS,
            ),
            _ => return Err(DatabaseError::Url(without_password(url))),
        };
        let fail = |cause| DatabaseError::Open {
            url: without_password(url),
            cause,
        };
        let pool = |connections_max, settings| {
            pool(engine, parsed.clone(), connections_max, settings).map_err(fail)
        };
        let patience = Duration::from_secs(OUTAGE_SECONDS_MAX);
        let database = Self {
            engine,
            writers: pool(writers_max, write)?,
            readers: pool(CONNECTIONS_MAX, read)?,
            patience,
        };
        let first = database
            .write("open the database", |db, _| async move { Ok((db, ())) })
            .await;
        first.map_err(|error| match error {
            DatabaseError::Statement { cause, .. } => fail(cause),
            error => error,
        })?;
        Ok(database)
    }

    /// Makes what was not made before of the named `migrations`, and writes into `table` that it
    /// was. All in one transaction: a process that comes second waits for its begin, and finds
    /// nothing left to do.
    ///
    /// # Errors
    /// [`DatabaseError::Migrate`] if the tables are of a newer version, and failures of the
    /// database.
    pub(crate) async fn migrate(
        &self,
        table: &'static str,
        migrations: &[(&'static str, &'static str)],
    ) -> Result<(), DatabaseError> {
        let migrator = &migrator(self.engine, table, migrations);
        self.write("bring the tables up to date", |mut db, _| async move {
            if self.engine == DatabaseEngine::Postgres {
                db.execute(MIGRATIONS_LOCK).await?;
            }
            let migrated = migrator.run_direct(None, &mut *db, false).await;
            migrated.map_err(|error| match error {
                MigrateError::Execute(cause) => TransactionError::Database(cause),
                error => TransactionError::Rejected(DatabaseError::Migrate(Box::new(error))),
            })?;
            Ok((db, ()))
        })
        .await
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
    }
}

fn migrator(
    engine: DatabaseEngine,
    table: &'static str,
    migrations: &[(&'static str, &'static str)],
) -> Migrator {
    let migrations = (1..).zip(migrations).map(|(version, (name, sql))| {
        let sql = match engine {
            DatabaseEngine::Sqlite => (*sql).to_owned(),
            DatabaseEngine::Postgres => sql.replace(" TEXT", " TEXT COLLATE \"C\""), // else it orders by the locale of its database
        };
        Migration::new(
            version,
            (*name).into(),
            MigrationType::Simple,
            AssertSqlSafe(sql).into_sql_str(),
            false,
        )
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.dangerous_set_table_name(table);
    migrator.set_locking(false); // the transaction around them is the lock
    migrator
}

/// False for a connection that still believes in a transaction once that was given up: SQLite ends
/// one by itself when the disk is full (<https://sqlite.org/lang_transaction.html>, "Response To
/// Errors Within A Transaction"), and sqlx then counts it for ever.
pub(crate) async fn is_usable<C: Connection>(connection: &mut C) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        connection.ping().await?; // behind the end of it, which may have been begun when the connection was given back
    }
    Ok(!connection.is_in_transaction())
}

fn pool(
    engine: DatabaseEngine,
    mut url: Url,
    connections_max: u32,
    settings: &'static str,
) -> Result<AnyPool, sqlx::Error> {
    let mut options = AnyPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(Duration::from_secs(ACQUIRE_SECONDS_MAX))
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if engine == DatabaseEngine::Postgres {
                    connection.execute(IDLE_LIMIT).await?;
                }
                connection.execute(settings).await.map(drop)
            })
        });
    if engine == DatabaseEngine::Sqlite {
        if !url.query_pairs().any(|(name, _)| name == "mode") {
            url.query_pairs_mut().append_pair("mode", "rwc");
        }
        options = options
            .after_release(|connection, _| Box::pin(is_usable(connection)))
            .test_before_acquire(false); // it is no server that could have gone away
    }
    Ok(options.connect_lazy_with(AnyConnectOptions::from_url(&url)?.disable_statement_logging()))
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
        Err(_) => url
            .split(':')
            .next()
            .unwrap_or("")
            .chars()
            .take(20)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        assert_eq!(
            without_password("postgres://me:secret@db/exhibit"),
            "postgres://me:***@db/exhibit"
        );
        assert_eq!(without_password("me secret@db"), "me secret@db");
        assert!(!without_password("postgres//me:secret@db").contains("secret"));
    }
}
