//! Which passes are to be captured, when, and by whom: durable jobs, kept by apalis in SQLite or
//! PostgreSQL.
//!
//! **Trusted** as the ledger is: whoever can write here can have a pass captured again, or never.
//!
//! apalis fetches due jobs so that one worker has each, proves with a heartbeat that the worker
//! lives, and gives a dead worker's jobs to others. Around it stands here what it does not do: a
//! push wakes the worker at once; a failed job waits before it is tried again; jobs of a process
//! that is known to be dead are free at once, not after the lease; a worker whose database was away
//! begins again.
//!
//! A job may run twice at once, if its first worker was only held up for longer than the lease: the
//! ledger then refuses what the first one writes ([`super::ledger`], `passes.rs`). A worker whose
//! job says so ([`Taken`]) has lost its lease, and with it all its jobs: it drops them, and begins
//! again under another name, so that it cannot end the jobs of others.

mod alive;
mod tables;
#[cfg(test)]
mod tests;
mod worker;

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apalis::prelude::WorkerError;
use evidence_format::time::Timestamp;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::database::{Database, DatabaseError};
use super::ledger::PassKey;
use alive::Living;
use tables::Storage;

/// How long a worker may be silent before its jobs are given to others, unless it is configured.
/// Heartbeats come four times as often.
pub const LEASE_SECONDS: NonZeroU32 = NonZeroU32::new(12).expect("it is not 0");

/// A job queue failed.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The database could not be asked.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The folder of locks beside a SQLite cannot be used.
    #[error("cannot use the folder {} for the locks of workers", path.display())]
    Locks {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// A queue of jobs. Each has its own workers: what waits in the one keeps nobody in the other
/// waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Passes that ask a server, and wait most of their time.
    Paged,
    /// Passes that read this machine, and compute all of it.
    Local,
}

impl Queue {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Paged, Self::Local];
}

/// What a handler fails with whose job another worker has begun since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another worker has taken the job over")]
pub struct Taken;

/// A job that has not been done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingJob {
    /// The pass to capture.
    pub pass: PassKey,
    /// Not before this time, to the second.
    pub run_at: Timestamp,
    /// Whether a worker has it.
    pub state: JobState,
    /// How often it was begun.
    pub attempts: u32,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It is not due, or no worker is free, or it failed and is to be tried again.
    Waiting,
    /// A worker has it.
    Running,
}

/// When [`Jobs::work`] returns.
#[derive(Clone, Debug)]
pub enum Until {
    /// No job is due or running in any queue; those of a later time may be left. Of workers that
    /// share the token, the first one that sees it cancels the token, and so ends the others: what
    /// became due since is for their next work, not for one of them alone.
    Idle(CancellationToken),
    /// Somebody asks for it. Jobs that are running have half of the lease to end; what has not
    /// ended then is dropped, and free for other workers.
    Cancelled(CancellationToken),
}

impl Until {
    /// When nothing is left to do.
    #[must_use]
    pub fn idle() -> Self {
        Self::Idle(CancellationToken::new())
    }
}

/// The queue of jobs. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    db: Database,
    storage: Storage,
    lease: Duration,
    /// Where living workers hold locks; on a SQLite, which one machine has for itself.
    locks: Option<PathBuf>,
    /// As it was opened.
    #[cfg(test)]
    url: String,
    /// How many jobs this process has pushed: its workers look at once.
    pushed: Arc<watch::Sender<u64>>,
}

/// What a job fails with.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What is done with a job.
type Handler = Arc<dyn Fn(PassKey) -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;

impl Jobs {
    /// Opens the queue. For a PostgreSQL this is the ledger's database; for a SQLite
    /// `sqlite:///path/to/exhibit.db` it is `exhibit.db.jobs` beside it, so that neither waits for
    /// the other's writes.
    ///
    /// # Errors
    /// As for [`super::ledger::Ledger::open`].
    pub async fn open(url: &str) -> Result<Self, JobsError> {
        Self::open_with_lease(url, Duration::from_secs(LEASE_SECONDS.get().into())).await
    }

    /// Opens the queue with another lease than [`LEASE_SECONDS`]: whole seconds, the same for all
    /// who share it.
    ///
    /// # Errors
    /// As for [`Jobs::open`].
    pub async fn open_with_lease(url: &str, lease: Duration) -> Result<Self, JobsError> {
        let jobs_url = match url.split_once('?') {
            _ if !url.starts_with("sqlite:") => url.to_owned(),
            Some((database, options)) => format!("{database}.jobs?{options}"),
            None => format!("{url}.jobs"),
        };
        let db = Database::open(&jobs_url).await?;
        let (storage, locks) = Storage::open(&db, &jobs_url).await?;
        let pushed = Arc::new(watch::channel(0).0);
        Ok(Self {
            db,
            storage,
            lease,
            locks,
            #[cfg(test)]
            url: url.to_owned(),
            pushed,
        })
    }

    /// The same queue, for those who cannot wait long for a database that is away: see
    /// [`super::ledger::Ledger::with_patience`].
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self {
            db: self.db.with_patience(patience),
            ..self.clone()
        }
    }

    /// Has `pass` captured at `run_at`, or at once if that is past. A pass is pushed once, always
    /// into the same queue: again, also when it is done, changes nothing.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn push(
        &self,
        queue: Queue,
        pass: &PassKey,
        run_at: Timestamp,
    ) -> Result<(), JobsError> {
        self.storage
            .push(&self.db, queue, pass, unix_seconds(run_at))
            .await?;
        self.pushed.send_modify(|count| *count += 1);
        Ok(())
    }

    /// The jobs of all queues that are not done, the next first.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn waiting(&self) -> Result<Vec<WaitingJob>, JobsError> {
        Ok(tables::waiting(&self.db).await?)
    }

    /// Takes due jobs of one queue and runs `handler` on each, up to `concurrency` at once, `until`
    /// told. An error or panic of the handler is logged, and the job is tried again after a pause
    /// that doubles from 1 s to 5 min.
    ///
    /// A worker whose database is away drops what it is doing, and begins again when it is back. So
    /// does one whose handler fails with [`Taken`].
    ///
    /// # Errors
    /// [`JobsError::Locks`].
    pub async fn work<H, F, E>(
        &self,
        queue: Queue,
        handler: H,
        until: Until,
        concurrency: usize,
    ) -> Result<(), JobsError>
    where
        H: Fn(PassKey) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let handler: Handler =
            Arc::new(move |pass| handler(pass).map(|done| done.map_err(Into::into)).boxed());
        self.free_jobs_of_the_dead().await?;
        loop {
            let living = Living::begin(self.locks.as_deref())?;
            let ended = match tables::enrol(&self.db, queue, living.name()).await {
                Ok(()) => {
                    worker::run(
                        self,
                        (queue, living.name()),
                        handler.clone(),
                        &until,
                        concurrency,
                    )
                    .await
                }
                Err(error) => Err(Box::new(WorkerError::BackendError(error.into()))),
            };
            let freed = tables::free_jobs_of(&self.db, living.name()).await;
            if let Err(error) = freed {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot give back the jobs of a worker; they are free after the lease"
                );
            }
            match ended {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(%error, "the worker failed and begins again"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// A lock on a file ends with the process that holds it: whose lock is free is dead, and need
    /// not be waited for.
    async fn free_jobs_of_the_dead(&self) -> Result<(), JobsError> {
        let Some(folder) = &self.locks else {
            return Ok(());
        };
        for dead in alive::dead(folder)? {
            tables::free_jobs_of(&self.db, dead.name()).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs")
            .field("db", &self.db)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

fn unix_seconds(time: Timestamp) -> i64 {
    i64::try_from(time.unix_nanoseconds().div_euclid(1_000_000_000))
        .expect("a timestamp's year has four digits")
}

fn now_seconds() -> i64 {
    Timestamp::try_from(SystemTime::now()).map_or(i64::MAX, unix_seconds)
}
