//! Opens a database: connection settings and migrations.

use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AnyPool, AssertSqlSafe, ConnectOptions, Connection, Executor, SqlSafeStr};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::file::{StorageFault, path_of, read_only_urls};
use super::retry::RetryState;
use super::{
    Database, DatabaseEngine, DatabaseError, FileIdentity, OUTAGE_SECONDS_MAX, TransactionError,
};

/// Size of each of the two pools that a process has for a PostgreSQL: one reads, one writes.
const CONNECTIONS_MAX: u32 = 8;

/// How long an attempt waits for a free connection before it fails.
const ACQUIRE_SECONDS_MAX: u64 = 5;

/// How long one connection may take to be made.
const CONNECT_SECONDS_MAX: u64 = 3;

/// Takes the advisory lock that lets one process at a time migrate a PostgreSQL. The number is
/// "exhibit" in ASCII.
const MIGRATIONS_LOCK: &str = "SELECT pg_advisory_xact_lock(28561362487765364)";

/// Setting of each PostgreSQL connection. If a process is suspended in the middle of a transaction,
/// or its host disappears, PostgreSQL must release the row locks that others wait for. A healthy
/// transaction pauses only for moments between two statements.
const IDLE_LIMIT: &str = "SET idle_in_transaction_session_timeout = '10s'";

/// Settings of each SQLite connection. The timeout comes first, because the other settings may have
/// to wait for a lock. `WAL` lets readers continue while one connection writes; `FULL` syncs it at
/// every commit, so a commit survives a power cut. The cache keeps SQLite's default of 2 MiB for
/// each connection: the operating system caches the file too, and a larger cache was not faster.
const SQLITE_SETTINGS: &str = "\
    PRAGMA busy_timeout = 10000; \
    PRAGMA journal_mode = WAL; \
    PRAGMA synchronous = FULL; \
    PRAGMA foreign_keys = ON; \
    PRAGMA temp_store = MEMORY";

/// Settings of each connection to an SQLite that is only read. The mode of the journal stays, since
/// setting it is a write.
const SQLITE_READ_ONLY_SETTINGS: &str = "\
    PRAGMA busy_timeout = 10000; \
    PRAGMA temp_store = MEMORY; \
    PRAGMA query_only = ON";

/// Settings of each PostgreSQL connection that writes. They make a statement outside an explicit
/// transaction serializable as well.
const POSTGRES_WRITER_SETTINGS: &str =
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE";

/// Settings of each PostgreSQL connection that reads.
const POSTGRES_READER_SETTINGS: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";

/// How a database is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DatabaseAccess {
    /// How long to retry while the database is unreachable.
    pub(crate) patience: Duration,
    /// How long one attempt waits for a free connection of the pool.
    pub(crate) acquire_max: Duration,
    /// True if a file that cannot be written is opened for reading.
    pub(crate) may_be_read_only: bool,
}

impl Default for DatabaseAccess {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(OUTAGE_SECONDS_MAX),
            acquire_max: Duration::from_secs(ACQUIRE_SECONDS_MAX),
            may_be_read_only: false,
        }
    }
}

/// Which database `url` names.
///
/// # Errors
/// [`DatabaseError::Url`].
pub(crate) fn parse_url(url: &str) -> Result<(DatabaseEngine, Url), DatabaseError> {
    let unusable = || DatabaseError::Url(without_password(url));
    let parsed = Url::parse(url).map_err(|_| unusable())?;
    let engine = match parsed.scheme() {
        "sqlite" => DatabaseEngine::Sqlite,
        "postgres" | "postgresql" => DatabaseEngine::Postgres,
        _ => return Err(unusable()),
    };
    Ok((engine, parsed))
}

impl Database {
    /// Opens the database at `url`, `sqlite:///path/to/exhibit.db` (created if absent) or
    /// `postgres://user@host/name`.
    ///
    /// # Errors
    /// [`DatabaseError::Url`], [`DatabaseError::Open`] if the database rejects the connection,
    /// [`DatabaseError::ReadOnly`], [`DatabaseError::StorageFull`], and [`DatabaseError::Outage`] if
    /// it stays unreachable.
    pub(crate) async fn open(url: &str, access: DatabaseAccess) -> Result<Self, DatabaseError> {
        sqlx::any::install_default_drivers();
        let (engine, parsed) = parse_url(url)?;
        let (writers_max, write, read) = match engine {
            DatabaseEngine::Sqlite => (1, SQLITE_SETTINGS, SQLITE_SETTINGS),
            DatabaseEngine::Postgres => (
                CONNECTIONS_MAX,
                POSTGRES_WRITER_SETTINGS,
                POSTGRES_READER_SETTINGS,
            ),
        };
        let fail = |cause| DatabaseError::Open {
            url: without_password(url),
            cause,
        };
        let mut connect_options = options(engine, parsed.clone()).map_err(fail)?;
        let folder = match engine {
            DatabaseEngine::Sqlite => path_of(&parsed).parent().map(Path::to_owned),
            DatabaseEngine::Postgres => None,
        };
        let (mut write, mut read, mut read_only) = (write, read, None);
        let fault_of_folder = || folder.as_deref().and_then(StorageFault::of);
        let fault = match fault_of_folder() {
            // SQLite would open the file all the same, and fail at the first write.
            Some(StorageFault::ReadOnly) => Some(StorageFault::ReadOnly),
            // A connection of its own, because a pool hides why it cannot connect.
            Some(StorageFault::Full) | None => {
                match probe(&connect_options, write, access.patience).await {
                    Ok(()) => None,
                    // Looked at again: the folder may have become full only now.
                    Err(error) => Some(fault_of_folder().ok_or_else(|| match error {
                        DatabaseError::Statement { cause, .. } => fail(cause),
                        DatabaseError::Url(_)
                        | DatabaseError::Open { .. }
                        | DatabaseError::Migrate(_)
                        | DatabaseError::StorageFull { .. }
                        | DatabaseError::ReadOnly { .. }
                        | DatabaseError::Outage { .. } => error,
                    })?),
                }
            }
        };
        if let (Some(fault), Some(folder)) = (fault, &folder) {
            let readable = match access.may_be_read_only {
                true => first_readable(engine, &parsed).await,
                false => None,
            };
            connect_options = readable.ok_or_else(|| fault.error(OPEN, folder))?;
            (write, read) = (SQLITE_READ_ONLY_SETTINGS, SQLITE_READ_ONLY_SETTINGS);
            read_only = Some(fault);
        }
        let pool = |connections_max, settings| {
            pool(
                engine,
                connect_options.clone(),
                connections_max,
                settings,
                access.acquire_max,
            )
        };
        // A database in memory has no file, and needs no check.
        let file = match engine {
            DatabaseEngine::Sqlite => FileIdentity::of(&path_of(&parsed)).ok(),
            DatabaseEngine::Postgres => None,
        };
        Ok(Self {
            engine,
            file,
            writers: pool(writers_max, write),
            readers: pool(CONNECTIONS_MAX, read),
            patience: access.patience,
            stop: CancellationToken::new(),
            connect_options,
            folder,
            read_only,
        })
    }

    /// Why no connection can be made; `None` if one can.
    pub(super) async fn connection_fault(&self) -> Option<sqlx::Error> {
        connect(&self.connect_options, "SELECT 1").await.err()
    }

    /// Applies the `migrations`, given as name and SQL, that `table` does not list yet, and lists
    /// them there. All in one transaction: of several processes that start at once, the first
    /// migrates, and the others wait and find nothing left to do.
    ///
    /// # Errors
    /// [`DatabaseError::Migrate`] if a newer version has migrated the tables, and failures of the
    /// database.
    pub(crate) async fn migrate(
        &self,
        table: &'static str,
        migrations: &[(&'static str, &'static str)],
    ) -> Result<(), DatabaseError> {
        let migrator = &migrator(self.engine, table, migrations);
        self.write("migrate the tables", |mut db, _| async move {
            if self.engine == DatabaseEngine::Postgres {
                db.execute(MIGRATIONS_LOCK).await?;
            }
            // On SQLite, the write transaction itself excludes other processes.
            let migrated = migrator.run_direct(None, &mut *db, false).await;
            migrated.map_err(|error| match error {
                MigrateError::Execute(cause) => TransactionError::Database(cause),
                error => TransactionError::Rejected(DatabaseError::Migrate(Box::new(error))),
            })?;
            Ok((db, ()))
        })
        .await
    }

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
            // Order by bytes, as SQLite does: the default is the locale of the database. Tables
            // whose columns are all in the primary key would take twice the room in SQLite.
            DatabaseEngine::Postgres => sql
                .replace(" TEXT", " TEXT COLLATE \"C\"")
                .replace(") WITHOUT ROWID", ")"),
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
    migrator.set_locking(false); // the transaction of `Database::migrate` is the lock
    migrator
}

/// False if sqlx believes that a released connection is still in a transaction. When the disk is
/// full, SQLite rolls back by itself (<https://sqlite.org/lang_transaction.html>, "Response To Errors
/// Within A Transaction"); sqlx does not notice, and counts that transaction for ever. The pool must
/// drop such a connection.
async fn is_usable<C: Connection>(connection: &mut C) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // The connection may have been released while a rollback was still queued: the ping runs
        // after it, and updates the count.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// What an error at opening names as the attempt.
const OPEN: &str = "open the database";

/// Connects once and disconnects, and retries for `patience` while the database is unreachable.
async fn probe(
    options: &AnyConnectOptions,
    settings: &'static str,
    patience: Duration,
) -> Result<(), DatabaseError> {
    let mut retry = RetryState::begin(OPEN, patience);
    loop {
        match connect(options, settings).await {
            Ok(()) => return Ok(()),
            Err(cause) => retry.pause::<DatabaseError>(cause.into(), None).await?,
        }
    }
}

async fn connect(options: &AnyConnectOptions, settings: &'static str) -> Result<(), sqlx::Error> {
    let connecting = async {
        let mut connection = options.connect().await?;
        connection.execute(settings).await?;
        connection.close().await
    };
    let limit = Duration::from_secs(CONNECT_SECONDS_MAX);
    timeout(limit, connecting).await.unwrap_or_else(|_| {
        Err(sqlx::Error::Io(io::Error::new(
            io::ErrorKind::TimedOut,
            "the database does not answer",
        )))
    })
}

/// The options with which a database can be read that cannot be written.
async fn first_readable(engine: DatabaseEngine, url: &Url) -> Option<AnyConnectOptions> {
    for url in read_only_urls(url) {
        let options = options(engine, url).ok()?;
        // A first statement: SQLite opens its files only then.
        if connect(&options, "SELECT count(*) FROM sqlite_schema")
            .await
            .is_ok()
        {
            return Some(options);
        }
    }
    None
}

fn options(engine: DatabaseEngine, mut url: Url) -> Result<AnyConnectOptions, sqlx::Error> {
    if engine == DatabaseEngine::Sqlite && !url.query_pairs().any(|(name, _)| name == "mode") {
        url.query_pairs_mut().append_pair("mode", "rwc");
    }
    Ok(AnyConnectOptions::from_url(&url)?.disable_statement_logging())
}

fn pool(
    engine: DatabaseEngine,
    connect_options: AnyConnectOptions,
    connections_max: u32,
    settings: &'static str,
    acquire: Duration,
) -> AnyPool {
    let mut options = AnyPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(acquire)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if engine == DatabaseEngine::Postgres {
                    connection.execute(IDLE_LIMIT).await?;
                }
                connection.execute(settings).await.map(drop)
            })
        });
    if engine == DatabaseEngine::Sqlite {
        options = options
            .after_release(|connection, _| Box::pin(is_usable(connection)))
            .test_before_acquire(false); // only a server can drop a connection
    }
    options.connect_lazy_with(connect_options)
}

/// The URL for error texts, which end up in logs.
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
    fn error_texts_hide_the_password() {
        assert_eq!(
            without_password("postgres://me:secret@db/exhibit"),
            "postgres://me:***@db/exhibit"
        );
        assert_eq!(without_password("me secret@db"), "me secret@db");
        assert!(!without_password("postgres//me:secret@db").contains("secret"));
    }
}
