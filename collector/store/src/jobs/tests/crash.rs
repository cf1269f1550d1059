//! Workers that are killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Captured, Done, LEASE, pass};
use crate::jobs::{JobState, Jobs, Queue, Until};
use crate::testing::at;

/// Has the URL when this program is a worker that is going to be killed.
const WORKER_URL: &str = "EXHIBIT_TEST_WORKER_URL";

pub(super) async fn jobs_of_the_dead_are_taken_over(jobs: Jobs) {
    let url = jobs.url.clone();
    jobs.push(Queue::Paged, &pass(0), at(0))
        .await
        .expect("a database");
    let mut worker = Worker::start(&url);
    worker.wait_for_its_job();
    assert_eq!(
        jobs.waiting().await.expect("a database")[0].state,
        JobState::Running
    );
    let captured = Captured::default();
    for is_dead in [false, true] {
        if is_dead {
            worker.0.kill().expect("it lives");
            worker.0.wait().expect("it was killed");
        }
        let count = captured.clone();
        let handler = move |pass| {
            count.count(&pass);
            async { Done::Ok(()) }
        };
        let begun = Instant::now();
        let work = jobs.work(Queue::Paged, handler, Until::idle(), 1);
        let ended = tokio::time::timeout(LEASE * 2, work).await.is_ok();
        assert_eq!(ended, is_dead, "as long as it lives, it is left its job");
        if is_dead && jobs.locks.is_some() {
            assert!(
                begun.elapsed() < LEASE / 2,
                "who is known to be dead is not waited for: {:?}",
                begun.elapsed()
            );
        }
    }
    assert_eq!(captured.all(), [(0, 1)]);
}

/// Another process of this program, with a job that does not end.
struct Worker(Child);

impl Worker {
    fn start(url: &str) -> Self {
        let mut command =
            Command::new(std::env::current_exe().expect("a test knows its own program"));
        command.args([
            "--exact",
            "--nocapture",
            "store::jobs::tests::crash::this_program_is_a_worker",
        ]);
        Self(
            command
                .env(WORKER_URL, url)
                .stdout(Stdio::piped())
                .spawn()
                .expect("it is a program"),
        )
    }

    fn wait_for_its_job(&mut self) {
        let output = BufReader::new(self.0.stdout.as_mut().expect("it is piped"));
        output
            .lines()
            .find(|line| line.as_ref().is_ok_and(|line| line.contains("JOB")))
            .expect("it gets its job")
            .expect("text");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stdout, reason = "its parent listens")]
async fn this_program_is_a_worker() {
    let Ok(url) = std::env::var(WORKER_URL) else {
        return;
    };
    let jobs = Jobs::open_with_lease(&url, LEASE)
        .await
        .expect("its parent has made it");
    let handler = |_| async {
        println!("JOB");
        tokio::time::sleep(Duration::from_secs(600)).await;
        Done::Ok(())
    };
    jobs.work(Queue::Paged, handler, Until::idle(), 1)
        .await
        .expect("a database");
}
