//! What must hold of the queue of jobs on every database.

mod crash;
mod outage;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evidence_format::time::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{JobState, Jobs, Queue, Until, now_seconds};
use crate::ledger::PassKey;
use crate::testing::{Case, at, incident, on_postgres, on_sqlite};

/// The lease in these tests.
pub(super) const LEASE: Duration = Duration::from_secs(2);

/// Each takes a fresh queue.
pub(crate) const CASES: &[Case<Jobs>] = &[
    ("a pass is captured once", |j| {
        Box::pin(a_pass_is_captured_once(j))
    }),
    ("a job waits for its time", |j| {
        Box::pin(a_job_waits_for_its_time(j))
    }),
    ("a pushed job starts at once", |j| {
        Box::pin(a_pushed_job_starts_at_once(j))
    }),
    ("what fails is tried again later", |j| {
        Box::pin(what_fails_is_tried_again_later(j))
    }),
    ("no more than so many run at once", |j| {
        Box::pin(no_more_than_so_many_run_at_once(j))
    }),
    ("a full queue keeps nobody in another waiting", |j| {
        Box::pin(a_full_queue_keeps_nobody_in_another_waiting(j))
    }),
    ("who sees first that all is done ends all", |j| {
        Box::pin(who_sees_first_that_all_is_done_ends_all(j))
    }),
    ("workers share the jobs", |j| {
        Box::pin(workers_share_the_jobs(j))
    }),
    ("a long job keeps its worker", |j| {
        Box::pin(a_long_job_keeps_its_worker(j))
    }),
    ("cancelled work is free for others", |j| {
        Box::pin(cancelled_work_is_free_for_others(j))
    }),
    ("jobs of the dead are taken over", |j| {
        Box::pin(crash::jobs_of_the_dead_are_taken_over(j))
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 8)] // some cases block one
async fn sqlite_keeps_to_every_case() {
    on_sqlite(CASES, async |url| {
        Jobs::open_with_lease(&url, LEASE)
            .await
            .expect("a fresh database")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn postgres_keeps_to_every_case() {
    on_postgres(CASES, async |url| {
        Jobs::open_with_lease(&url, LEASE)
            .await
            .expect("a fresh database")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_open_one_sqlite_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = crate::testing::sqlite_url(&folder);
    let opened: Vec<_> = (0..4)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move { Jobs::open(&url).await })
        })
        .collect();
    for jobs in opened {
        jobs.await.expect("no panic").expect("all of them open it");
    }
}

pub(super) fn pass(number: u32) -> PassKey {
    PassKey {
        incident: incident("INC-1"),
        source: "okta".to_owned(),
        pass: number,
    }
}

/// Counts how often each pass was captured.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<BTreeMap<u32, usize>>>);

impl Captured {
    fn count(&self, pass: &PassKey) -> usize {
        let mut captured = self.0.lock().expect("no panic in between");
        let count = captured.entry(pass.pass).or_default();
        *count += 1;
        *count
    }

    fn all(&self) -> Vec<(u32, usize)> {
        self.0
            .lock()
            .expect("no panic in between")
            .iter()
            .map(|(pass, count)| (*pass, *count))
            .collect()
    }
}

type Done = Result<(), &'static str>;

async fn a_pass_is_captured_once(jobs: Jobs) {
    let captured = Captured::default();
    for _ in 0..3 {
        jobs.push(Queue::Paged, &pass(0), at(0))
            .await
            .expect("a database");
    }
    jobs.push(Queue::Paged, &pass(1), at(0))
        .await
        .expect("a database");
    assert_eq!(jobs.waiting().await.expect("a database").len(), 2);
    for _ in 0..2 {
        let count = captured.clone();
        let handler = move |pass| {
            count.count(&pass);
            async { Done::Ok(()) }
        };
        jobs.work(Queue::Paged, handler, Until::idle(), 4)
            .await
            .expect("a database");
        assert_eq!(captured.all(), [(0, 1), (1, 1)]);
        assert!(jobs.waiting().await.expect("a database").is_empty());
        jobs.push(Queue::Paged, &pass(0), at(0))
            .await
            .expect("a database");
    }
}

async fn a_job_waits_for_its_time(jobs: Jobs) {
    let captured = Captured::default();
    let (soon, later) = (seconds_from_now(2), seconds_from_now(1000));
    jobs.push(Queue::Paged, &pass(2), later)
        .await
        .expect("a database");
    jobs.push(Queue::Paged, &pass(1), soon)
        .await
        .expect("a database");
    jobs.push(Queue::Paged, &pass(0), at(0))
        .await
        .expect("a database");
    let waiting = jobs.waiting().await.expect("a database");
    assert_eq!(
        waiting
            .iter()
            .map(|job| (job.pass.pass, job.run_at))
            .collect::<Vec<_>>(),
        [(0, at(0)), (1, soon), (2, later)]
    );
    assert!(
        waiting
            .iter()
            .all(|job| job.state == JobState::Waiting && job.attempts == 0)
    );

    let stop = CancellationToken::new();
    let working = tokio::spawn(work_counting(jobs.clone(), captured.clone(), stop.clone()));
    sleep(Duration::from_millis(800)).await;
    assert_eq!(captured.all(), [(0, 1)]);
    sleep(Duration::from_millis(2200)).await;
    assert_eq!(captured.all(), [(0, 1), (1, 1)]);
    stop.cancel();
    working.await.expect("no panic");
    assert_eq!(jobs.waiting().await.expect("a database").len(), 1);
}

async fn work_counting(jobs: Jobs, captured: Captured, stop: CancellationToken) {
    let handler = move |pass| {
        captured.count(&pass);
        async { Done::Ok(()) }
    };
    jobs.work(Queue::Paged, handler, Until::Cancelled(stop), 4)
        .await
        .expect("a database");
}

async fn a_pushed_job_starts_at_once(jobs: Jobs) {
    let stop = CancellationToken::new();
    let (began, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let working = tokio::spawn({
        let (jobs, stop) = (jobs.clone(), stop.clone());
        let handler = move |_| {
            began.send(Instant::now()).expect("the test is listening");
            async { Done::Ok(()) }
        };
        async move {
            jobs.work(Queue::Paged, handler, Until::Cancelled(stop), 4)
                .await
        }
    });
    sleep(Duration::from_millis(500)).await; // the worker is there
    let mut delays = Vec::new();
    for number in 0..10 {
        let before = Instant::now();
        jobs.push(Queue::Paged, &pass(number), seconds_from_now(0))
            .await
            .expect("a database");
        let pushed = before.elapsed();
        let began = begins
            .recv()
            .await
            .expect("the worker lives")
            .duration_since(before);
        delays.push((began, pushed));
        sleep(Duration::from_millis(130)).await; // at any moment between two regular looks
    }
    delays.sort();
    let (median, pushed) = delays[5];
    #[expect(clippy::print_stderr, reason = "a number for people")]
    {
        eprintln!("a job begins {median:?} after it is pushed, of which the push took {pushed:?}");
    }
    assert!(
        median < Duration::from_millis(100),
        "without being woken, it would be 125 ms on average: {delays:?}"
    );
    stop.cancel();
    working.await.expect("no panic").expect("a database");
}

async fn what_fails_is_tried_again_later(jobs: Jobs) {
    let captured = Captured::default();
    jobs.push(Queue::Paged, &pass(0), at(0))
        .await
        .expect("a database");
    jobs.push(Queue::Paged, &pass(1), at(0))
        .await
        .expect("a database");
    for attempt in 1..=3 {
        let count = captured.clone();
        let handler = move |pass: PassKey| {
            let count = count.count(&pass);
            async move {
                match (pass.pass, count) {
                    (0, 1) => Err("the provider is away"),
                    (0, 2) => panic!("a bug"),
                    _ => Ok(()),
                }
            }
        };
        let begun = now_seconds();
        jobs.work(Queue::Paged, handler, Until::idle(), 4)
            .await
            .expect("a database");
        assert_eq!(captured.all(), [(0, attempt), (1, 1)], "the other goes on");
        let waiting = jobs.waiting().await.expect("a database");
        if attempt < 3 {
            let job = &waiting[0];
            assert_eq!(
                (job.pass.pass, job.state, job.attempts),
                (0, JobState::Waiting, u32::try_from(attempt).expect("small"))
            );
            let pause = super::unix_seconds(job.run_at) - begun;
            assert!((1..=10).contains(&pause), "{pause}");
            sleep(Duration::from_secs(pause.unsigned_abs() + 1)).await;
        } else {
            assert_eq!(waiting, []);
        }
    }
}

async fn no_more_than_so_many_run_at_once(jobs: Jobs) {
    for number in 0..8 {
        jobs.push(Queue::Paged, &pass(number), at(0))
            .await
            .expect("a database");
    }
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, max) = (running.clone(), most.clone());
    let handler = move |_| {
        let (now, max) = (now.clone(), max.clone());
        async move {
            max.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_millis(150)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Done::Ok(())
        }
    };
    jobs.work(Queue::Paged, handler, Until::idle(), 3)
        .await
        .expect("a database");
    assert_eq!(
        (most.load(Ordering::SeqCst), running.load(Ordering::SeqCst)),
        (3, 0)
    );
    assert!(jobs.waiting().await.expect("a database").is_empty());
}

async fn a_full_queue_keeps_nobody_in_another_waiting(jobs: Jobs) {
    for number in 0..10 {
        jobs.push(Queue::Local, &pass(number), at(0))
            .await
            .expect("a database");
    }
    let (captured, stop) = (Captured::default(), CancellationToken::new());
    let working = tokio::spawn({
        let (jobs, stop, count) = (jobs.clone(), stop.clone(), captured.clone());
        let handler = {
            let stop = stop.clone();
            move |pass| {
                count.count(&pass);
                let stop = stop.clone();
                async move {
                    stop.cancelled().await;
                    Done::Ok(())
                }
            }
        };
        async move {
            jobs.work(Queue::Local, handler, Until::Cancelled(stop), 2)
                .await
        }
    });
    while captured.all().len() < 2 {
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_millis(300)).await; // it could take more
    let taken = jobs
        .waiting()
        .await
        .expect("a database")
        .iter()
        .filter(|job| job.state == JobState::Running)
        .count();
    assert!(
        taken <= 3,
        "two run, one may be at hand, the rest is for workers elsewhere: {taken}"
    );
    jobs.push(Queue::Paged, &pass(100), at(0))
        .await
        .expect("a database");
    let other = tokio::spawn(work_counting(jobs.clone(), captured.clone(), stop.clone()));
    while !captured.all().contains(&(100, 1)) {
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        captured.all().len(),
        3,
        "of the full queue no more were begun"
    );
    stop.cancel();
    working.await.expect("no panic").expect("a database");
    other.await.expect("no panic");
}

async fn who_sees_first_that_all_is_done_ends_all(jobs: Jobs) {
    jobs.push(Queue::Paged, &pass(0), at(0))
        .await
        .expect("a database");
    let until = Until::idle();
    let work = |queue| {
        let (jobs, until) = (jobs.clone(), until.clone());
        let handler = |_| async {
            sleep(Duration::from_secs(1)).await; // until then, a worker without jobs looks ever more seldom
            Done::Ok(())
        };
        async move {
            jobs.work(queue, handler, until, 1)
                .await
                .expect("a database")
        }
    };
    let mut other = tokio::spawn(work(Queue::Local));
    work(Queue::Paged).await;
    // nobody is there any more who would do this
    jobs.push(Queue::Paged, &pass(1), at(0))
        .await
        .expect("a database");
    let ended = tokio::time::timeout(LEASE * 3, &mut other).await;
    ended.expect("it waits for nobody").expect("no panic");
    assert_eq!(jobs.waiting().await.expect("a database").len(), 1);
}

async fn workers_share_the_jobs(jobs: Jobs) {
    for number in 0..40 {
        jobs.push(Queue::Paged, &pass(number), at(0))
            .await
            .expect("a database");
    }
    let captured = Captured::default();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let (jobs, count) = (jobs.clone(), captured.clone());
            let handler = move |pass| {
                count.count(&pass);
                async {
                    sleep(Duration::from_millis(5)).await;
                    Done::Ok(())
                }
            };
            tokio::spawn(async move { jobs.work(Queue::Paged, handler, Until::idle(), 2).await })
        })
        .collect();
    for worker in workers {
        worker.await.expect("no panic").expect("a database");
    }
    assert_eq!(
        captured.all(),
        (0..40).map(|number| (number, 1)).collect::<Vec<_>>(),
        "each once"
    );
}

async fn a_long_job_keeps_its_worker(jobs: Jobs) {
    jobs.push(Queue::Paged, &pass(0), at(0))
        .await
        .expect("a database");
    let (captured, stop) = (Captured::default(), CancellationToken::new());
    let other = tokio::spawn({
        let (jobs, captured, stop) = (jobs.clone(), captured.clone(), stop.clone());
        async move {
            sleep(Duration::from_millis(500)).await;
            work_counting(jobs, captured, stop).await;
        }
    });
    let count = captured.clone();
    let handler = move |pass| {
        count.count(&pass);
        async {
            std::thread::sleep(LEASE * 2); // it computes, and lets nobody else run
            Done::Ok(())
        }
    };
    jobs.work(Queue::Paged, handler, Until::idle(), 1)
        .await
        .expect("a database");
    stop.cancel();
    other.await.expect("no panic");
    assert_eq!(
        captured.all(),
        [(0, 1)],
        "the other worker has not taken it over"
    );
}

async fn cancelled_work_is_free_for_others(jobs: Jobs) {
    jobs.push(Queue::Paged, &pass(0), at(0))
        .await
        .expect("a database");
    jobs.push(Queue::Paged, &pass(1), at(0))
        .await
        .expect("a database");
    let (stop, captured) = (CancellationToken::new(), Captured::default());
    let working = tokio::spawn({
        let (jobs, stop, count) = (jobs.clone(), stop.clone(), captured.clone());
        let handler = {
            let stop = stop.clone();
            move |pass: PassKey| {
                count.count(&pass);
                let stop = stop.clone();
                async move {
                    stop.cancelled().await;
                    if pass.pass == 1 {
                        std::future::pending::<()>().await;
                    }
                    Done::Ok(())
                }
            }
        };
        async move {
            jobs.work(Queue::Paged, handler, Until::Cancelled(stop), 4)
                .await
        }
    });
    while captured.all().len() < 2 {
        sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    let begun = Instant::now();
    working.await.expect("no panic").expect("a database");
    assert!(begun.elapsed() < LEASE, "{:?}", begun.elapsed());
    let waiting = jobs.waiting().await.expect("a database");
    assert_eq!(
        waiting
            .iter()
            .map(|job| (job.pass.pass, job.state))
            .collect::<Vec<_>>(),
        [(1, JobState::Waiting)]
    );
}

fn seconds_from_now(seconds: i64) -> Timestamp {
    Timestamp::from_unix_nanoseconds(i128::from(now_seconds() + seconds) * 1_000_000_000)
        .expect("a time of our century")
}
