//! A database that is away while jobs run, and one that has forgotten the worker.

use std::time::{Duration, Instant};

use sqlx::{PgPool, query_scalar};
use tests::postgres::Postgres;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Captured, Done, LEASE, pass};
use crate::jobs::{Jobs, JobsError, Queue, Taken, Until};
use crate::ledger::PassKey;
use crate::testing::at;

/// Work in which the first attempt at the first pass takes so long.
fn work(
    jobs: &Jobs,
    first: Duration,
    captured: &Captured,
    stop: &CancellationToken,
) -> JoinHandle<Result<(), JobsError>> {
    let (jobs, captured, stop) = (jobs.clone(), captured.clone(), stop.clone());
    let handler = move |pass: PassKey| {
        let is_first = captured.count(&pass) == 1 && pass.pass == 0;
        async move {
            sleep(if is_first { first } else { Duration::ZERO }).await;
            Done::Ok(())
        }
    };
    tokio::spawn(async move {
        jobs.work(Queue::Paged, handler, Until::Cancelled(stop), 2)
            .await
    })
}

async fn until_all_is_done(jobs: &Jobs) {
    while !jobs.waiting().await.expect("a database").is_empty() {
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_when_the_database_is_back() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let jobs = Jobs::open_with_lease(&postgres.create("exhibit"), LEASE)
        .await
        .expect("a fresh database");
    let (captured, stop) = (Captured::default(), CancellationToken::new());
    let working = work(&jobs, LEASE * 2, &captured, &stop);
    jobs.push(Queue::Paged, &pass(0), at(0))
        .await
        .expect("a database");
    while captured.all().is_empty() {
        sleep(Duration::from_millis(20)).await;
    }
    postgres.stop_server();
    let push = tokio::spawn({
        let jobs = jobs.clone();
        async move { jobs.push(Queue::Paged, &pass(1), at(0)).await }
    });
    sleep(LEASE * 3 / 2).await;
    assert!(!push.is_finished(), "it waits");
    postgres.start_server();
    push.await.expect("no panic").expect("the database is back");
    until_all_is_done(&jobs).await;
    // whether the worker's heartbeat or its death is noticed first when the database is back is a
    // race: at worst the first runs once more, and is counted
    assert!(
        matches!(captured.all()[..], [(0, 1 | 2), (1, 1)]),
        "{:?}",
        captured.all()
    );
    stop.cancel();
    working
        .await
        .expect("no panic")
        .expect("the database is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_lost_drops_its_job_and_begins_again() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let jobs = Jobs::open_with_lease(&postgres.create("exhibit"), LEASE)
        .await
        .expect("a fresh database");
    let (captured, stop) = (Captured::default(), CancellationToken::new());
    let working = work(&jobs, Duration::from_secs(600), &captured, &stop);
    jobs.push(Queue::Paged, &pass(0), at(0))
        .await
        .expect("a database");
    while captured.all().is_empty() {
        sleep(Duration::from_millis(20)).await;
    }
    postgres.run_sql(
        "exhibit",
        "UPDATE apalis.jobs SET lock_by = NULL, status = 'Pending'; DELETE FROM apalis.workers",
    );
    until_all_is_done(&jobs).await;
    assert_eq!(captured.all(), [(0, 2)]);
    stop.cancel();
    working.await.expect("no panic").expect("a database");
}

/// By what the ledger says, another worker has begun the first pass; this one does not end that
/// one's job.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_job_was_taken_drops_all_and_begins_again() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.create("exhibit");
    let jobs = Jobs::open_with_lease(&url, LEASE)
        .await
        .expect("a fresh database");
    let (captured, stop) = (Captured::default(), CancellationToken::new());
    let handler = {
        let captured = captured.clone();
        move |pass: PassKey| {
            let count = captured.count(&pass);
            async move {
                match (pass.pass, count) {
                    (0, 1) => {
                        sleep(Duration::from_millis(500)).await;
                        Err(Taken)
                    }
                    (1, 1) => std::future::pending().await,
                    _ => Ok(()),
                }
            }
        }
    };
    jobs.push(Queue::Paged, &pass(0), at(0))
        .await
        .expect("a database");
    jobs.push(Queue::Paged, &pass(1), at(0))
        .await
        .expect("a database");
    let working = tokio::spawn({
        let (jobs, stop) = (jobs.clone(), stop.clone());
        async move {
            jobs.work(Queue::Paged, handler, Until::Cancelled(stop), 2)
                .await
        }
    });
    until_all_is_done(&jobs).await;
    assert_eq!(
        captured.all(),
        [(0, 2), (1, 2)],
        "both were dropped, and done by the worker that it became"
    );
    let failed =
        "SELECT COUNT(*) FROM apalis.jobs WHERE attempts > 1 OR last_result::text LIKE '%taken%'";
    let watcher = PgPool::connect(&url).await.expect("a database");
    assert_eq!(
        query_scalar::<_, i64>(failed)
            .fetch_one(&watcher)
            .await
            .expect("a database"),
        0,
        "it has said nothing of them"
    );
    stop.cancel();
    working.await.expect("no panic").expect("a database");
}

/// A trigger makes the host's clock an hour slow, as far as it is used for the sign of life.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_lives_by_the_clock_of_the_database() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.create("exhibit");
    let jobs = Jobs::open_with_lease(&url, LEASE)
        .await
        .expect("a fresh database");
    let slow = "CREATE FUNCTION slow() RETURNS trigger AS
        'BEGIN NEW.last_seen := NEW.last_seen - interval ''1 hour''; RETURN NEW; END' LANGUAGE plpgsql;
        CREATE TRIGGER slow BEFORE INSERT ON apalis.workers FOR EACH ROW EXECUTE FUNCTION slow()";
    postgres.run_sql("exhibit", slow);
    let watcher = PgPool::connect(&url).await.expect("a database");
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |_| {
        let (watcher, send) = (watcher.clone(), send.clone());
        async move {
            let age = "SELECT CAST(EXTRACT(EPOCH FROM MAX(NOW() - last_seen)) AS BIGINT) FROM apalis.workers";
            let age: i64 = query_scalar(age)
                .fetch_one(&watcher)
                .await
                .expect("a database");
            send.send(age).expect("the test is listening");
            Done::Ok(())
        }
    };
    jobs.push(Queue::Paged, &pass(0), at(0))
        .await
        .expect("a database");
    jobs.work(Queue::Paged, handler, Until::idle(), 1)
        .await
        .expect("a database");
    let age = receive.recv().await.expect("it has run");
    assert!(
        age < 2,
        "its worker was last seen {age} s ago when it began"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_end_leave_no_transaction_open() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.create("exhibit");
    let jobs = Jobs::open_with_lease(&url, LEASE)
        .await
        .expect("a fresh database");
    for _ in 0..40 {
        jobs.work(Queue::Paged, |_| async { Done::Ok(()) }, Until::idle(), 1)
            .await
            .expect("a database");
    }
    let watcher = PgPool::connect(&url).await.expect("a database");
    let open = "SELECT COUNT(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    let begun = Instant::now();
    while query_scalar::<_, i64>(open)
        .fetch_one(&watcher)
        .await
        .expect("a database")
        > 0
    {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "what is asked on such a connection is never committed"
        );
        sleep(Duration::from_millis(50)).await;
    }
}
