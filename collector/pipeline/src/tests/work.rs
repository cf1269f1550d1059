//! The worker loop, and what it does with passes that others have begun.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evidence_format::time::Timestamp;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{FakeSource, add_fake_pass, bundles, row, scratch};
use crate::seal::{SealError, StoredBundle};
use crate::timeline::{self, DeriveError};
use crate::work::slots;
use crate::{Pipeline, WorkUntil};
use domain::incident::{IncidentEvent, Name};
use platform::clock;
use sources::Source;
use store::ledger::{LeaseRequest, PassKey, PassQueue, PassRow, PassStage, WorkerName};

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn sealing_goes_on_when_its_job_is_dropped() {
    let (pipeline, pass, _folder) = scratch().await;
    let turn = pipeline.seal_mutex.lock().await;
    let job = tokio::spawn({
        let pipeline = pipeline.clone();
        async move { pipeline.work(WorkUntil::Idle).await }
    });
    let held_up = async {
        while row(&pipeline, &pass).await.stage != PassStage::Captured {
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_millis(200)).await; // it waits for the lock
        job.abort();
        assert!(job.await.expect_err("it was dropped").is_cancelled());
        assert!(
            bundles(&pipeline, &pass).await.is_empty(),
            "nobody has sealed it"
        );
        drop(turn);
        while bundles(&pipeline, &pass).await.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, held_up).await.expect("it is sealed");
    // anyone who has the job next finds the bundle, and makes no second one
    release_lease(&pipeline, &pass).await;
    pipeline.work(WorkUntil::Idle).await;
    let bundles = bundles(&pipeline, &pass).await;
    assert_eq!(bundles.len(), 1);
    assert_eq!(row(&pipeline, &pass).await.stage, PassStage::Derived);
}

/// What was captured before somebody stopped it is sealed, also if its worker died meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_pass_that_was_begun_is_sealed_by_the_next_worker() {
    let (pipeline, pass, _folder) = scratch().await;
    let ledger = &pipeline.parts.ledger;
    let dead = LeaseRequest {
        worker: &WorkerName::current(),
        queue: PassQueue::Local,
        now: clock::now(),
        lease: Duration::from_secs(3600),
        only_begun: false,
    };
    let row = ledger
        .lease_next(&dead)
        .await
        .expect("a database")
        .expect("it is due");
    ledger
        .release_lease(&pass, row.fencing_token)
        .await
        .expect("a database");
    let by = Name::escaped("Ann");
    pipeline
        .stop_captures(&pass.incident, &by)
        .await
        .expect("a database");
    timeout(PATIENCE, pipeline.work(WorkUntil::Idle))
        .await
        .expect("it ends");
    assert_eq!(bundles(&pipeline, &pass).await.len(), 1);
}

/// Finds the bundle of a pass whose job ended between its bundle and its timeline, while another
/// job seals.
#[tokio::test(flavor = "multi_thread")]
async fn published_pass_is_derived_while_another_one_is_sealed() {
    let (pipeline, pass, _folder) = scratch().await;
    let sealing = pipeline.seal_mutex.lock().await;
    let job = tokio::spawn({
        let pipeline = pipeline.clone();
        async move { pipeline.work(WorkUntil::Idle).await }
    });
    while row(&pipeline, &pass).await.stage != PassStage::Captured {
        sleep(Duration::from_millis(5)).await;
    }
    job.abort();
    let _ = job.await;
    drop(sealing);
    while row(&pipeline, &pass).await.stage != PassStage::Published {
        sleep(Duration::from_millis(5)).await;
    }
    release_lease(&pipeline, &pass).await;
    let _sealing = pipeline.seal_mutex.lock().await;
    timeout(PATIENCE, pipeline.work(WorkUntil::Idle))
        .await
        .expect("it does not wait for the lock");
    assert_eq!(row(&pipeline, &pass).await.stage, PassStage::Derived);
}

/// What the worker loop is tested with: passes of a fake source, and none of this machine.
async fn fake_scratch(sources: &[&'static FakeSource]) -> (Pipeline, PassKey, TempDir) {
    let (mut pipeline, host, folder) = scratch().await;
    let given_up = pipeline
        .parts
        .ledger
        .cancel_waiting_passes(&host.incident)
        .await;
    given_up.expect("a database");
    let sources: Vec<&'static dyn Source> = sources
        .iter()
        .map(|source| *source as &'static dyn Source)
        .collect();
    pipeline.sources = sources.leak();
    (pipeline, host, folder)
}

fn fake_key(host: &PassKey, source: &FakeSource, pass: u32) -> PassKey {
    PassKey {
        incident: host.incident.clone(),
        source: source.name.to_owned(),
        pass,
    }
}

/// Waits until `source` runs so many captures.
async fn until_running(source: &FakeSource, count: usize) {
    let running = async {
        while source.running() != count {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, running).await.expect("a free worker");
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_runs_no_more_passes_at_once_than_a_queue_has_slots() {
    let queues = [
        (PassQueue::Remote, FakeSource::leaked("remote", false)),
        (PassQueue::Local, FakeSource::leaked("local", false)),
    ];
    let (pipeline, host, _folder) = fake_scratch(&queues.map(|(_, source)| source)).await;
    let mut passes = Vec::new();
    for (queue, source) in queues {
        for pass in 0..=u32::try_from(slots(queue)).expect("few") {
            let key = fake_key(&host, source, pass);
            passes.push(add_fake_pass(&pipeline, key, queue, clock::now()).await);
        }
    }
    let job = tokio::spawn({
        let pipeline = pipeline.clone();
        async move { pipeline.work(WorkUntil::Idle).await }
    });
    // a queue that is full must not keep the other one from being filled
    for (queue, source) in queues {
        until_running(source, slots(queue)).await;
    }
    sleep(Duration::from_millis(500)).await; // for one more to be begun, if it could
    let backlog = pipeline.parts.ledger.backlog().await.expect("a database");
    assert_eq!(backlog.waiting, queues.len() as u64);
    for (_, source) in queues {
        source.let_captures_end();
    }
    timeout(PATIENCE, job)
        .await
        .expect("it ends")
        .expect("no panic");
    for (queue, source) in queues {
        let running_max = source.running_max.load(Ordering::SeqCst);
        assert_eq!(running_max, slots(queue), "{queue:?}");
    }
    for pass in passes {
        assert_eq!(row(&pipeline, &pass).await.stage, PassStage::Derived);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pass_is_begun_when_it_is_due_and_not_before() {
    let source = FakeSource::leaked("fake", false);
    source.let_captures_end();
    let (pipeline, host, _folder) = fake_scratch(&[source]).await;
    let stop = CancellationToken::new();
    let job = tokio::spawn({
        let (pipeline, until) = (pipeline.clone(), WorkUntil::Cancelled(stop.clone()));
        async move { pipeline.work(until).await }
    });
    let due_at = Timestamp::from_unix_nanoseconds(clock::now().unix_nanoseconds() + 1_500_000_000);
    let due_at = due_at.expect("a time");
    let pass = fake_key(&host, source, 0);
    add_fake_pass(&pipeline, pass.clone(), PassQueue::Local, due_at).await;
    let begun = async {
        loop {
            if let Some(began_at) = row(&pipeline, &pass).await.began_at {
                return began_at;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let began_at = timeout(PATIENCE, begun).await.expect("it is begun");
    let late = began_at.unix_nanoseconds() - due_at.unix_nanoseconds();
    assert!((0..10_000_000_000).contains(&late), "{late} ns late");
    stop.cancel();
    timeout(PATIENCE, job)
        .await
        .expect("it ends")
        .expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn pass_that_panics_has_failed_and_the_worker_goes_on() {
    let (bug, sound) = (
        FakeSource::leaked("bug", true),
        FakeSource::leaked("sound", false),
    );
    sound.let_captures_end();
    let (pipeline, host, _folder) = fake_scratch(&[bug, sound]).await;
    let now = clock::now();
    let bug = add_fake_pass(&pipeline, fake_key(&host, bug, 0), PassQueue::Local, now).await;
    for pass in 0..3 {
        let later = clock::now(); // what is due the longest is leased first
        add_fake_pass(
            &pipeline,
            fake_key(&host, sound, pass),
            PassQueue::Local,
            later,
        )
        .await;
    }
    timeout(PATIENCE, pipeline.work(WorkUntil::Idle))
        .await
        .expect("it ends");
    for pass in 0..3 {
        let sound = row(&pipeline, &fake_key(&host, sound, pass)).await;
        assert_eq!(sound.stage, PassStage::Derived);
    }
    let failed = row(&pipeline, &bug).await;
    assert!(failed.failures > 0 && failed.stage == PassStage::Waiting);
    let journal = pipeline.entries(&bug.incident).await.expect("a database");
    let said = journal.iter().find_map(|entry| match &entry.event {
        IncidentEvent::CaptureFailed { source, error, .. } => Some((source, error)),
        _ => None,
    });
    let (source, error) = said.expect("the journal has it");
    assert_eq!(
        (source.as_str(), error.as_str()),
        ("bug", "work on the pass crashed")
    );
    assert!(
        lease_again(&pipeline, 600).await.is_some(),
        "it is tried again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_worker_hands_its_leases_back() {
    let source = FakeSource::leaked("fake", false);
    let (mut pipeline, host, _folder) = fake_scratch(&[source]).await;
    pipeline.lease = Duration::from_secs(2); // half of it is for captures to end
    let pass = fake_key(&host, source, 0);
    add_fake_pass(&pipeline, pass.clone(), PassQueue::Local, clock::now()).await;
    let stop = CancellationToken::new();
    let job = tokio::spawn({
        let (pipeline, until) = (pipeline.clone(), WorkUntil::Cancelled(stop.clone()));
        async move { pipeline.work(until).await }
    });
    until_running(source, 1).await;
    assert!(lease_again(&pipeline, 0).await.is_none(), "it is leased");
    stop.cancel();
    timeout(PATIENCE, job)
        .await
        .expect("it does not wait for a capture that does not end")
        .expect("no panic");
    let next = lease_again(&pipeline, 0).await.expect("it is free");
    assert_eq!((next.key, next.fencing_token), (pass, 2));
    until_running(source, 0).await; // the capture was told to stop
}

/// Leases a local pass that is due in `seconds` at the latest, as another process would.
async fn lease_again(pipeline: &Pipeline, seconds: i128) -> Option<PassRow> {
    let now = clock::now().unix_nanoseconds() + seconds * 1_000_000_000;
    let request = LeaseRequest {
        worker: &WorkerName::current(),
        queue: PassQueue::Local,
        now: Timestamp::from_unix_nanoseconds(now).expect("a time"),
        lease: Duration::from_secs(3600),
        only_begun: false,
    };
    let leased = pipeline.parts.ledger.lease_next(&request).await;
    leased.expect("a database")
}

/// Gives the lease of a pass back whose job was dropped, so that nobody waits for its end.
async fn release_lease(pipeline: &Pipeline, pass: &PassKey) {
    let token = row(pipeline, pass).await.fencing_token;
    let released = pipeline.parts.ledger.release_lease(pass, token).await;
    released.expect("a database");
}

/// The pages of a pass are deleted once its facts are derived: not if its bundle is damaged.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_bundle_gives_no_timeline() {
    let (pipeline, pass, folder) = scratch().await;
    timeout(PATIENCE, pipeline.work(WorkUntil::Idle))
        .await
        .expect("it ends");
    let bundle = bundles(&pipeline, &pass).await.remove(0);
    let path = folder.path().join(&bundle.object_key);
    let mut tar = fs::read(&path).expect("a bundle in the store");
    let middle = tar.len() / 2;
    tar[middle] ^= 1;
    fs::remove_file(&path).expect("own folder");
    fs::write(&path, tar).expect("own folder");
    let parts = &pipeline.parts;
    let stored = StoredBundle::open(&parts.blobs, &bundle.object_key, &parts.work_folder)
        .await
        .expect("it is there");
    let derived = timeline::derive(&parts.ledger, &bundle, stored, pipeline.key.public()).await;
    assert!(
        matches!(
            derived,
            Err(DeriveError::Stored(SealError::Unsound { bundle: id })) if id == bundle.id
        ),
        "{derived:?}"
    );
}
