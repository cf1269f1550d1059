//! apalis's two storages as one, and what is asked of its tables beside it.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use apalis::prelude::{Task, TaskBuilder, TaskSink, TaskSinkError};
use apalis_postgres::PostgresStorage;
use apalis_sqlite::SqliteStorage;
use evidence_format::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::migrate::MigrateError;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Executor, PgPool, SqlitePool, query};

use super::{JobState, JobsError, Queue, WaitingJob, alive, now_seconds};
use crate::blocking;
use crate::database::rows::{all, bad_value, execute, get, number};
use crate::database::{Database, DatabaseError, Engine, IDLE_LIMIT, is_usable};
use crate::ledger::PassKey;

/// Connections of apalis: heartbeats, fetches, results.
const CONNECTIONS_MAX: u32 = 4;

/// A worker that ends drops what it is about to ask. sqlx forgets a transaction that begins in that
/// moment, and what is then asked on its connection is never committed. So it is rolled back
/// whenever a connection is given back, and PostgreSQL need not say that most of the time there is
/// none.
const QUIET: &str = "SET client_min_messages = error";

impl Queue {
    /// What apalis calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Paged => "capture.paged",
            Self::Local => "capture.local",
        }
    }
}

/// Where apalis keeps the jobs.
#[derive(Clone)]
pub(super) enum Storage {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Storage {
    /// Connects, and makes apalis's tables where they are absent. For a SQLite, returns the folder
    /// of its workers' locks.
    pub(super) async fn open(
        db: &Database,
        url: &str,
    ) -> Result<(Self, Option<PathBuf>), JobsError> {
        let fail = |cause| DatabaseError::Statement {
            attempt: "open the queue of jobs",
            cause,
        };
        let migrate = |error: MigrateError| DatabaseError::Migrate(Box::new(error));
        match db.engine() {
            Engine::Sqlite => {
                let options = sqlite_options(url).map_err(fail)?;
                let locks = alive::folder_beside(options.get_filename())?;
                let folder = locks.clone();
                let pool = SqlitePoolOptions::new()
                    .max_connections(CONNECTIONS_MAX)
                    .after_release(|connection, _| Box::pin(is_usable(connection)))
                    .test_before_acquire(false) // it is no server that could have gone away
                    .connect_lazy_with(options);
                // apalis's own `setup` turns syncing off, and does not hold off a second process.
                let _alone = blocking(move || alive::alone(&folder)).await?;
                SqliteStorage::migrations()
                    .run(&pool)
                    .await
                    .map_err(migrate)?;
                Ok((Self::Sqlite(pool), Some(locks)))
            }
            Engine::Postgres => {
                let pool = PgPoolOptions::new()
                    .max_connections(CONNECTIONS_MAX)
                    .after_connect(|connection, _| {
                        Box::pin(async move {
                            connection.execute(QUIET).await?;
                            connection.execute(IDLE_LIMIT).await.map(drop)
                        })
                    })
                    .after_release(|connection, _| {
                        Box::pin(async move { connection.execute("ROLLBACK").await.map(|_| true) })
                    })
                    .connect_lazy(url)
                    .map_err(fail)?;
                PostgresStorage::migrations()
                    .run(&pool)
                    .await
                    .map_err(migrate)?;
                Ok((Self::Postgres(pool), None))
            }
        }
    }

    /// Adds the job if it is new.
    pub(super) async fn push(
        &self,
        db: &Database,
        queue: Queue,
        pass: &PassKey,
        run_at: i64,
    ) -> Result<(), DatabaseError> {
        db.again("push the job", || async {
            let pushed = match self {
                Self::Sqlite(pool) => sqlite(pool, queue)
                    .push_task(task(pass, run_at))
                    .await
                    .map_err(of_sqlite),
                Self::Postgres(pool) => postgres(pool, queue)
                    .push_task(task(pass, run_at))
                    .await
                    .map_err(of_postgres),
            };
            match pushed {
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(()), // PostgreSQL says so, SQLite is silent
                pushed => pushed,
            }
        })
        .await
    }
}

pub(super) fn sqlite(pool: &SqlitePool, queue: Queue) -> SqliteStorage<PassKey> {
    SqliteStorage::new(pool).with_config(apalis_sqlite::Config::default().queue(queue.name()))
}

pub(super) fn postgres(pool: &PgPool, queue: Queue) -> PostgresStorage<PassKey> {
    PostgresStorage::new(pool).with_config(apalis_postgres::Config::default().queue(queue.name()))
}

fn sqlite_options(url: &str) -> Result<SqliteConnectOptions, sqlx::Error> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .busy_timeout(Duration::from_secs(10));
    Ok(options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full))
}

fn task(pass: &PassKey, run_at: i64) -> Task<PassKey> {
    let attempts_max = i32::MAX as usize; // evidence that was promised is not given up
    let task = TaskBuilder::new(pass.clone())
        .idempotency_key(pass.to_string())
        .max_attempts(attempts_max);
    task.run_at_timestamp(run_at.unsigned_abs()).build()
}

fn of_sqlite(error: TaskSinkError<apalis_sqlite::Error>) -> sqlx::Error {
    match error {
        TaskSinkError::PushError(apalis_sqlite::Error::Database(error)) => error,
        error => sqlx::Error::Encode(error.into()),
    }
}

fn of_postgres(error: TaskSinkError<apalis_postgres::Error>) -> sqlx::Error {
    match error {
        TaskSinkError::PushError(apalis_postgres::Error::Database(error)) => error,
        error => sqlx::Error::Encode(error.into()),
    }
}

/// The jobs that are not done, the next first.
pub(super) async fn waiting(db: &Database) -> Result<Vec<WaitingJob>, DatabaseError> {
    let select = match db.engine() {
        Engine::Sqlite => {
            "SELECT CAST(job AS TEXT) AS job, run_at, status, attempts FROM Jobs
                WHERE job_type LIKE 'capture.%' AND status <> 'Done' ORDER BY run_at, id"
        }
        Engine::Postgres => {
            "SELECT convert_from(job, 'UTF8') AS job, CAST(EXTRACT(EPOCH FROM run_at) AS BIGINT) AS run_at,
                CAST(status AS TEXT) AS status, attempts FROM apalis.jobs
                WHERE job_type LIKE 'capture.%' AND status <> 'Done' ORDER BY run_at, id"
        }
    };
    db.read("list the jobs", |mut db| async move {
        all(&mut db, query(select), waiting_job).await
    })
    .await
}

fn waiting_job(row: &AnyRow) -> Result<WaitingJob, sqlx::Error> {
    let job: &str = get(row, "job")?;
    let run_at: i64 = get(row, "run_at")?;
    let status: &str = get(row, "status")?;
    Ok(WaitingJob {
        pass: serde_json::from_str(job).map_err(|_| bad_value("job", job))?,
        run_at: Timestamp::from_unix_nanoseconds(i128::from(run_at) * 1_000_000_000)
            .ok_or_else(|| bad_value("run_at", run_at))?,
        state: if matches!(status, "Queued" | "Running") {
            JobState::Running
        } else {
            JobState::Waiting
        },
        attempts: number(row, "attempts")?,
    })
}

/// How many jobs are due or running.
pub(super) async fn busy(db: &Database) -> Result<i64, DatabaseError> {
    let count = match db.engine() {
        Engine::Sqlite => {
            "SELECT COUNT(*) AS jobs FROM Jobs WHERE job_type LIKE 'capture.%'
                AND (status IN ('Queued', 'Running') OR (status <> 'Done' AND run_at <= $1))"
        }
        Engine::Postgres => {
            "SELECT COUNT(*) AS jobs FROM apalis.jobs WHERE job_type LIKE 'capture.%'
                AND (status IN ('Queued', 'Running') OR (status <> 'Done' AND run_at <= to_timestamp($1)))"
        }
    };
    db.read("count the jobs", |mut db| async move {
        get(
            &query(count).bind(now_seconds()).fetch_one(&mut *db).await?,
            "jobs",
        )
    })
    .await
}

/// Has a job of this worker that failed wait until `run_at`.
pub(super) async fn postpone(
    db: &Database,
    (queue, worker): (Queue, &str),
    pass: &PassKey,
    run_at: i64,
) -> Result<(), DatabaseError> {
    let update = match db.engine() {
        Engine::Sqlite => {
            "UPDATE Jobs SET run_at = $3 WHERE job_type = $1 AND idempotency_key = $2 AND lock_by = $4"
        }
        Engine::Postgres => {
            "UPDATE apalis.jobs SET run_at = to_timestamp($3)
                WHERE job_type = $1 AND idempotency_key = $2 AND lock_by = $4"
        }
    };
    let key = &pass.to_string();
    db.write("postpone the job", |mut db, _| async move {
        execute(
            &mut db,
            query(update)
                .bind(queue.name())
                .bind(key.as_str())
                .bind(run_at)
                .bind(worker),
        )
        .await?;
        Ok((db, ()))
    })
    .await
}

/// Says that a worker is there, by the clock of the database. apalis says it by the clock of the
/// host, unless it was said before: a host whose clock is slow by more than the lease would lose
/// its jobs until its first heartbeat.
pub(super) async fn enrol(db: &Database, queue: Queue, worker: &str) -> Result<(), DatabaseError> {
    if db.engine() == Engine::Sqlite {
        return Ok(()); // there is but one clock
    }
    let insert = "INSERT INTO apalis.workers (id, worker_type, storage_name, last_seen) VALUES ($1, $2, '', NOW())
        ON CONFLICT DO NOTHING";
    db.write("enrol a worker", |mut db, _| async move {
        execute(&mut db, query(insert).bind(worker).bind(queue.name())).await?;
        Ok((db, ()))
    })
    .await
}

/// Forgets a worker that is no more, and lets others have its jobs.
pub(super) async fn free_jobs_of(db: &Database, worker: &str) -> Result<(), DatabaseError> {
    let (free, forget) = match db.engine() {
        Engine::Sqlite => (
            "UPDATE Jobs SET lock_by = NULL, lock_at = NULL,
                status = CASE WHEN status IN ('Queued', 'Running') THEN 'Pending' ELSE status END WHERE lock_by = $1",
            "DELETE FROM Workers WHERE id = $1",
        ),
        Engine::Postgres => (
            "UPDATE apalis.jobs SET lock_by = NULL, lock_at = NULL,
                status = CASE WHEN status IN ('Queued', 'Running') THEN 'Pending' ELSE status END WHERE lock_by = $1",
            "DELETE FROM apalis.workers WHERE id = $1",
        ),
    };
    db.write("free the jobs of a worker", |mut db, _| async move {
        for statement in [free, forget] {
            execute(&mut db, query(statement).bind(worker)).await?;
        }
        Ok((db, ()))
    })
    .await
}
