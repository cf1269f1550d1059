//! Workers that are killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tests::postgres::Postgres;

use crate::ledger::{Ledger, WorkerName};
use crate::testing::{add_pass, lease_request, sqlite_url};

/// Holds the database's URL if this process is the worker that a test kills.
const WORKER_URL: &str = "EXHIBIT_TEST_WORKER_URL";

/// Longer than any test, so that no lease expires.
const LEASE: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_releases_leases_of_dead_workers_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    leases_of_dead_workers_are_released_at_once(&sqlite_url(&folder)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_releases_leases_of_dead_workers_at_once() {
    if let Some(postgres) = Postgres::start() {
        leases_of_dead_workers_are_released_at_once(&postgres.create("exhibit")).await;
    }
}

async fn leases_of_dead_workers_are_released_at_once(url: &str) {
    let ledger = Ledger::open(url).await.expect("a fresh database");
    let theirs = add_pass(&ledger, "INC-1", 0).await;
    let mut child = Worker::start(url);
    child.wait_for_its_lease();
    let ours = add_pass(&ledger, "INC-1", 1).await;
    let worker = WorkerName::current();
    let request = lease_request(&worker, LEASE);
    let leased = ledger
        .lease_next(&request)
        .await
        .expect("a database")
        .expect("it is due");
    assert_eq!(leased.key, ours, "the other is leased");
    for is_dead in [false, true] {
        if is_dead {
            child.0.kill().expect("it lives");
            child.0.wait().expect("it was killed");
        }
        ledger
            .release_dead_leases(&worker)
            .await
            .expect("a database");
        let leased = ledger.lease_next(&request).await.expect("a database");
        let leased = leased.map(|row| (row.key, row.fencing_token));
        let expected = is_dead.then(|| (theirs.clone(), 2));
        assert_eq!(leased, expected, "as long as it lives, it is left its pass");
    }
    let is_held = ledger
        .renew_lease(&ours, 1, LEASE)
        .await
        .expect("a database");
    assert!(is_held, "our own leases stay");
    let is_held = ledger
        .renew_lease(&theirs, 1, LEASE)
        .await
        .expect("a database");
    assert!(!is_held, "the dead one's token is worth nothing");
}

/// A child process of this test program that leases a pass.
struct Worker(Child);

impl Worker {
    fn start(url: &str) -> Self {
        let mut command =
            Command::new(std::env::current_exe().expect("a test knows its own program"));
        command.args([
            "--exact",
            "--nocapture",
            "ledger::tests::crash::this_program_is_a_worker",
        ]);
        Self(
            command
                .env(WORKER_URL, url)
                .stdout(Stdio::piped())
                .spawn()
                .expect("it is a program"),
        )
    }

    fn wait_for_its_lease(&mut self) {
        let output = BufReader::new(self.0.stdout.as_mut().expect("it is piped"));
        output
            .lines()
            .find(|line| line.as_ref().is_ok_and(|line| line.contains("LEASED")))
            .expect("it gets its lease")
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
    let ledger = Ledger::open(&url).await.expect("its parent has made it");
    let worker = WorkerName::current();
    let leased = ledger.lease_next(&lease_request(&worker, LEASE)).await;
    assert!(leased.expect("a database").is_some(), "it is due");
    println!("LEASED");
    tokio::time::sleep(Duration::from_secs(600)).await;
}
