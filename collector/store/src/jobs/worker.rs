//! One worker of apalis, from its begin to its end.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use apalis::prelude::{
    Attempt, BackendExt, BoxDynError, Data, WorkerBuilder, WorkerBuilderExt, WorkerContext,
    WorkerError,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, Stream, StreamExt};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::tables::{self, Storage};
use super::{BoxError, Handler, Jobs, Queue, Taken, Until, now_seconds};
use crate::database::Database;
use crate::ledger::PassKey;

/// How often the database is asked for jobs that have become due, or that other processes have
/// pushed. What this process pushes it takes at once, and each look costs some ten hops between
/// threads.
const POLL_MILLISECONDS: u64 = 1000;

/// How often it is asked whether all is done: at once when a job of this worker has ended, then
/// ever more seldom, for what other processes do.
const IDLE_POLL_MIN: Duration = Duration::from_millis(20);
const IDLE_POLL_MAX: Duration = Duration::from_millis(500);

/// Pauses before a job that failed is tried again double from the one to the other.
const PAUSE_SECONDS_MIN: u64 = 1;
const PAUSE_SECONDS_MAX: u64 = 300;

/// Heartbeats within a lease.
const HEARTBEATS: u32 = 4;

/// Runs the worker of `queue` called `name` `until` told.
///
/// # Errors
/// The worker has lost its database or its lease, and what it was doing.
pub(super) async fn run(
    jobs: &Jobs,
    (queue, name): (Queue, &str),
    handler: Handler,
    until: &Until,
    concurrency: usize,
) -> Result<(), Box<WorkerError>> {
    let worker = WorkerContext::new(name);
    let (give_up, ended) = (CancellationToken::new(), Arc::new(Notify::new()));
    let lost = CancellationToken::new();
    let handling = Handling {
        db: jobs.db.clone(),
        queue,
        worker: name.into(),
        handler,
        give_up: give_up.clone(),
        lost: lost.clone(),
        ended: Arc::clone(&ended),
    };
    // a task of its own: apalis asks the database for jobs whenever it is woken, whoever is meant
    let mut running = Running::spawn(start(jobs, &worker, handling, concurrency));
    tokio::select! {
        ended = running.end() => return ended.map_err(Box::new),
        () = told(&jobs.db, until, &ended) => {}
        () = lost.cancelled() => return Err(Box::new(WorkerError::BackendError(Taken.into()))),
    }
    if worker.stop().is_err() {
        return Ok(()); // it had not begun
    }
    let grace = jobs.lease / 2; // for no heartbeat is sent meanwhile
    if let Ok(ended) = timeout(grace, running.end()).await {
        return ended.map_err(Box::new);
    }
    warn!("jobs did not end when they were told to, and are dropped");
    give_up.cancel();
    timeout(jobs.lease / 4, running.end())
        .await
        .unwrap_or(Ok(()))
        .map_err(Box::new) // it writes down which jobs are done
}

/// A worker of apalis, which ends when this is dropped.
struct Running(JoinSet<Result<(), WorkerError>>);

impl Running {
    fn spawn(worker: BoxFuture<'static, Result<(), WorkerError>>) -> Self {
        let mut task = JoinSet::new();
        task.spawn(worker);
        Self(task)
    }

    async fn end(&mut self) -> Result<(), WorkerError> {
        match self.0.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(panicked)) => Err(WorkerError::BackendError(panicked.into())),
            None => Ok(()),
        }
    }
}

/// Waits until the work is to end.
async fn told(db: &Database, until: &Until, ended: &Notify) {
    match until {
        Until::Cancelled(token) => token.cancelled().await,
        Until::Idle(seen) => tokio::select! {
            () = until_idle(db, ended) => seen.cancel(),
            () = seen.cancelled() => {}
        },
    }
}

async fn until_idle(db: &Database, ended: &Notify) {
    let mut pause = IDLE_POLL_MIN;
    loop {
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(IDLE_POLL_MAX),
            () = ended.notified() => pause = IDLE_POLL_MIN, // that it is done is not written yet
        }
        match tables::busy(db).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => warn!(%error, "cannot see whether all jobs are done"),
        }
    }
}

/// Both storages make a worker of the same shape, of different types.
fn start(
    jobs: &Jobs,
    worker: &WorkerContext,
    handling: Handling,
    concurrency: usize,
) -> BoxFuture<'static, Result<(), WorkerError>> {
    let wake = wake(jobs.pushed.subscribe());
    let builder = WorkerBuilder::new(worker);
    match &jobs.storage {
        Storage::Sqlite(pool) => {
            let config = apalis_sqlite::Config::default()
                .queue(handling.queue.name())
                .batch_size(1);
            let config = config
                .heartbeat_interval(jobs.lease / HEARTBEATS)
                .missed_heartbeats(HEARTBEATS as usize);
            let storage = tables::sqlite(pool, handling.queue)
                .with_config(config)
                .poll_with_stream(wake);
            builder
                .backend(storage)
                .concurrency(concurrency)
                .data(handling)
                .build(handle)
                .run()
                .boxed()
        }
        Storage::Postgres(pool) => {
            let config = apalis_postgres::Config::default()
                .queue(handling.queue.name())
                .batch_size(1);
            let config = config
                .heartbeat_interval(jobs.lease / HEARTBEATS)
                .missed_heartbeats(HEARTBEATS as usize);
            let storage = tables::postgres(pool, handling.queue)
                .with_config(config)
                .poll_with_stream(wake);
            builder
                .backend(storage)
                .concurrency(concurrency)
                .data(handling)
                .build(handle)
                .run()
                .boxed()
        }
    }
}

/// Says when to look for jobs: after a push of this process, and regularly. Asks both sources until
/// they have nothing, for the worker may not ask again before it is woken.
fn wake(pushed: watch::Receiver<u64>) -> impl Stream<Item = ()> + Unpin + Send + 'static {
    let pushes = stream::unfold(pushed, |mut pushed| async {
        pushed.changed().await.ok().map(|()| ((), pushed))
    });
    let mut pushes = pushes.boxed();
    let mut regularly = interval(Duration::from_millis(POLL_MILLISECONDS));
    stream::poll_fn(move |cx| {
        let mut is_time = false;
        while let Poll::Ready(Some(())) = pushes.poll_next_unpin(cx) {
            is_time = true;
        }
        while regularly.poll_tick(cx).is_ready() {
            is_time = true;
        }
        if is_time {
            Poll::Ready(Some(()))
        } else {
            Poll::Pending
        }
    })
}

/// What a worker needs to handle a job.
#[derive(Clone)]
struct Handling {
    db: Database,
    queue: Queue,
    /// Its name.
    worker: Arc<str>,
    handler: Handler,
    /// The worker waits no longer.
    give_up: CancellationToken,
    /// Told that others have its jobs.
    lost: CancellationToken,
    /// Told of each job that ends.
    ended: Arc<Notify>,
}

/// Runs a job as a task of its own: heartbeats go on while it computes, a panic ends nothing else,
/// and it ends with its worker.
async fn handle(
    pass: PassKey,
    attempt: Attempt,
    handling: Data<Handling>,
) -> Result<(), BoxDynError> {
    let mut task = JoinSet::new();
    task.spawn((handling.handler)(pass.clone()));
    let ended = tokio::select! {
        ended = task.join_next() => ended,
        () = handling.give_up.cancelled() => return Err("it did not end in time".into()),
    };
    handling.ended.notify_one();
    let error: BoxError = match ended {
        Some(Ok(Ok(()))) | None => return Ok(()),
        Some(Ok(Err(error))) if error.is::<Taken>() => {
            warn!(%pass, "the worker was silent for longer than its lease, and others have its jobs");
            handling.lost.cancel();
            return std::future::pending().await; // how the job ends is for others to say
        }
        Some(Ok(Err(error))) => error,
        Some(Err(panicked)) => panicked.into(),
    };
    let attempts = u32::try_from(attempt.current()).unwrap_or(u32::MAX);
    let pause = (PAUSE_SECONDS_MIN << attempts.min(16)).min(PAUSE_SECONDS_MAX);
    warn!(%pass, attempts, pause_seconds = pause, error = error.as_ref(), "a job failed and is tried again");
    let run_at = now_seconds().saturating_add_unsigned(pause);
    if let Err(error) = tables::postpone(
        &handling.db,
        (handling.queue, &handling.worker),
        &pass,
        run_at,
    )
    .await
    {
        warn!(%pass, %error, "cannot postpone the job, it is tried again at once");
    }
    Err(error)
}
