//! Leases.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::{AssertSqlSafe, query};
use tokio::time::sleep;

use crate::database::DatabaseEngine;
use crate::database::rows::{fetch_first, get};
use crate::ledger::{
    Backlog, LeaseRequest, Ledger, LedgerError, NewPass, PassKey, PassQueue, PassRow, PassStage,
    WorkerName,
};
use crate::testing::{add_bundle, add_pass, at, declare, incident, lease, lease_request, new_pass};

const HOUR: Duration = Duration::from_secs(3600);

/// A lease that ends during the test, but not between two statements of it.
const SHORT: Duration = Duration::from_secs(2);

/// Leases the next pass of a queue, `seconds` after the zero of [`at`].
async fn lease_at(ledger: &Ledger, queue: PassQueue, seconds: i64) -> Option<PassRow> {
    let worker = WorkerName::current();
    let request = LeaseRequest {
        queue,
        now: at(seconds),
        ..lease_request(&worker, HOUR)
    };
    ledger.lease_next(&request).await.expect("a database")
}

async fn lease_for(ledger: &Ledger, lease: Duration) -> Option<(u32, u64)> {
    let worker = WorkerName::current();
    let leased = ledger.lease_next(&lease_request(&worker, lease)).await;
    leased
        .expect("a database")
        .map(|row| (row.key.pass, row.fencing_token))
}

/// Adds a pass that is due `seconds` after the zero of [`at`].
async fn add_due(ledger: &Ledger, pass: u32, queue: PassQueue, seconds: i64) -> PassKey {
    let new = NewPass {
        queue,
        due_at: at(seconds),
        ..new_pass("INC-1", pass)
    };
    if !ledger
        .has_incident(&new.key.incident)
        .await
        .expect("a database")
    {
        declare(ledger, "INC-1").await;
    }
    assert!(ledger.add_pass(&new).await.expect("a declared incident"));
    new.key
}

async fn row(ledger: &Ledger, key: &PassKey) -> PassRow {
    ledger
        .pass(key)
        .await
        .expect("a database")
        .expect("it was added")
}

pub(super) async fn each_pass_is_leased_by_one_worker(ledger: Ledger) {
    for pass in 0..40 {
        add_pass(&ledger, "INC-1", pass).await;
    }
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let mut leased = Vec::new();
                while let Some(row) = lease_for(&ledger, HOUR).await {
                    leased.push(row);
                }
                leased
            })
        })
        .collect();
    let mut leased = BTreeMap::new();
    for worker in workers {
        for (pass, token) in worker.await.expect("no panic") {
            assert_eq!(token, 1);
            *leased.entry(pass).or_insert(0) += 1;
        }
    }
    // A worker may find nothing while others hold locks, and end early: lease what is left.
    while let Some((pass, _)) = lease_for(&ledger, HOUR).await {
        *leased.entry(pass).or_insert(0) += 1;
    }
    assert_eq!(leased, (0..40).map(|pass| (pass, 1)).collect(), "each once");
}

pub(super) async fn pass_due_later_is_not_leased(ledger: Ledger) {
    let key = add_due(&ledger, 0, PassQueue::Remote, 100).await;
    assert_eq!(lease_at(&ledger, PassQueue::Remote, 99).await, None);
    assert_eq!(row(&ledger, &key).await.fencing_token, 0);
    assert_eq!(row(&ledger, &key).await.began_at, None);
    let leased = lease_at(&ledger, PassQueue::Remote, 100)
        .await
        .expect("it is due");
    assert_eq!((&leased.key, leased.began_at), (&key, Some(at(100))));
    assert_eq!(leased, row(&ledger, &key).await);
    ledger.release_lease(&key, 1).await.expect("a database");
    // People see when it was left, and not when it began.
    let now = platform::clock::now();
    let left_at = row(&ledger, &key).await.cut_off_at(now);
    let ago = left_at.map(|at| now.unix_nanoseconds() - at.unix_nanoseconds());
    assert!(
        ago.is_some_and(|ago| ago.abs() < 10_000_000_000),
        "{left_at:?}"
    );
    let again = lease_at(&ledger, PassQueue::Remote, 200)
        .await
        .expect("it is due");
    assert_eq!(again.began_at, Some(at(100)), "when it was leased first");
}

pub(super) async fn pass_due_longest_is_leased_first(ledger: Ledger) {
    for (pass, seconds) in [(0, 30), (1, 10), (2, 20)] {
        add_due(&ledger, pass, PassQueue::Remote, seconds).await;
    }
    for pass in [1, 2, 0] {
        assert_eq!(lease_for(&ledger, HOUR).await, Some((pass, 1)));
    }
    assert_eq!(lease_for(&ledger, HOUR).await, None);
}

pub(super) async fn ended_lease_frees_its_pass(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    assert_eq!(lease_for(&ledger, SHORT).await, Some((0, 1)));
    assert_eq!(lease_for(&ledger, HOUR).await, None);
    let cut_off_at = async || row(&ledger, &key).await.cut_off_at(platform::clock::now());
    assert_eq!(cut_off_at().await, None, "its lease is held");
    sleep(SHORT + Duration::from_millis(100)).await;
    let now = platform::clock::now().unix_nanoseconds();
    let since = cut_off_at().await.map(|at| now - at.unix_nanoseconds());
    assert!(
        since.is_some_and(|since| (0..10_000_000_000).contains(&since)),
        "{since:?} ns ago"
    );
    assert_eq!(lease_for(&ledger, HOUR).await, Some((0, 2)));
    assert_eq!(cut_off_at().await, None, "another worker has it");
    assert!(!ledger.renew_lease(&key, 1, HOUR).await.expect("a database"));
    ledger.release_lease(&key, 1).await.expect("a database");
    ledger.postpone(&key, 1, at(0)).await.expect("a database");
    assert_eq!(
        lease_for(&ledger, HOUR).await,
        None,
        "it stays with whoever has it"
    );
    assert_eq!(row(&ledger, &key).await.failures, 0);
}

pub(super) async fn renewed_lease_does_not_end(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    assert_eq!(lease_for(&ledger, SHORT).await, Some((0, 1)));
    for _ in 0..4 {
        sleep(SHORT / 2).await;
        assert!(
            ledger
                .renew_lease(&key, 1, SHORT)
                .await
                .expect("a database")
        );
        assert_eq!(lease_for(&ledger, HOUR).await, None);
    }
    sleep(SHORT + Duration::from_millis(100)).await;
    let is_ours = ledger
        .renew_lease(&key, 1, SHORT)
        .await
        .expect("a database");
    assert!(is_ours, "it has ended, and nobody has taken it");
    assert_eq!(lease_for(&ledger, HOUR).await, None);
}

pub(super) async fn released_lease_is_free_at_once(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    for token in 1..4 {
        assert_eq!(lease_for(&ledger, HOUR).await, Some((0, token)));
        ledger.release_lease(&key, token).await.expect("a database");
    }
    assert_eq!(row(&ledger, &key).await.failures, 0);
}

/// A renewal arrives after the release.
pub(super) async fn released_lease_is_not_renewed(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    assert_eq!(lease_for(&ledger, HOUR).await, Some((0, 1)));
    ledger.release_lease(&key, 1).await.expect("a database");
    assert!(!ledger.renew_lease(&key, 1, HOUR).await.expect("a database"));
    assert_eq!(lease_for(&ledger, HOUR).await, Some((0, 2)));
    ledger.postpone(&key, 2, at(0)).await.expect("a database");
    assert!(!ledger.renew_lease(&key, 2, HOUR).await.expect("a database"));
    ledger.postpone(&key, 2, at(0)).await.expect("a database");
    assert_eq!(
        row(&ledger, &key).await.failures,
        1,
        "one failure of one lease"
    );
    assert_eq!(lease_for(&ledger, HOUR).await, Some((0, 3)));
}

pub(super) async fn postponed_pass_waits_until_retry(ledger: Ledger) {
    let key = add_due(&ledger, 0, PassQueue::Remote, 100).await;
    for failures in 1..4_u64 {
        let seconds = 100 * failures.cast_signed();
        assert_eq!(
            lease_at(&ledger, PassQueue::Remote, seconds - 1).await,
            None
        );
        let leased = lease_at(&ledger, PassQueue::Remote, seconds)
            .await
            .expect("it is due");
        assert_eq!(
            (leased.fencing_token, leased.failures),
            (failures, failures - 1)
        );
        ledger
            .postpone(&key, failures, at(seconds + 100))
            .await
            .expect("a database");
        assert_eq!(row(&ledger, &key).await.failures, failures);
    }
}

pub(super) async fn new_stage_resets_failures(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let token = lease(&ledger, &key).await;
    ledger
        .postpone(&key, token, at(10))
        .await
        .expect("a database");
    let token = lease(&ledger, &key).await;
    ledger
        .set_captured(&key, token)
        .await
        .expect("it has the lease");
    ledger.release_lease(&key, token).await.expect("a database");
    let leased = lease_at(&ledger, PassQueue::Remote, 5)
        .await
        .expect("it waits for no retry");
    assert_eq!((leased.failures, leased.stage), (0, PassStage::Captured));
}

pub(super) async fn only_begun_skips_other_passes(ledger: Ledger) {
    let begun = add_due(&ledger, 0, PassQueue::Remote, 50).await;
    let token = lease(&ledger, &begun).await;
    ledger
        .release_lease(&begun, token)
        .await
        .expect("a database");
    add_due(&ledger, 1, PassQueue::Remote, 0).await;
    let worker = WorkerName::current();
    let request = LeaseRequest {
        only_begun: true,
        ..lease_request(&worker, HOUR)
    };
    let leased = ledger.lease_next(&request).await.expect("a database");
    assert_eq!(leased.map(|row| row.key), Some(begun));
    let leased = ledger.lease_next(&request).await.expect("a database");
    assert_eq!(leased, None, "nobody has begun the other");
    assert_eq!(lease_for(&ledger, HOUR).await, Some((1, 1)));
}

pub(super) async fn queues_do_not_see_each_others_passes(ledger: Ledger) {
    for (pass, queue) in (0..).zip(PassQueue::ALL) {
        add_due(&ledger, pass, queue, 0).await;
    }
    for (pass, queue) in (0..3).zip(PassQueue::ALL).rev() {
        let leased = lease_at(&ledger, queue, 0).await.expect("it is due");
        assert_eq!(leased.key.pass, pass);
        assert_eq!(lease_at(&ledger, queue, 0).await, None);
    }
}

pub(super) async fn done_passes_are_not_leased(ledger: Ledger) {
    let failed = add_pass(&ledger, "INC-1", 0).await;
    let token = lease(&ledger, &failed).await;
    ledger
        .set_failed(&failed, token)
        .await
        .expect("it has the lease");
    ledger
        .release_lease(&failed, token)
        .await
        .expect("a database");
    assert_eq!(lease_for(&ledger, HOUR).await, None);
    let sealed = add_pass(&ledger, "INC-1", 1).await;
    add_bundle(&ledger, &sealed).await;
    assert_eq!(
        lease_for(&ledger, HOUR).await,
        Some((1, 1)),
        "what follows is to be done"
    );
    ledger.set_derived(&sealed).await.expect("a database");
    assert_eq!(lease_for(&ledger, HOUR).await, None);
}

pub(super) async fn captured_pass_is_added_with_its_lease(ledger: Ledger) {
    let worker = WorkerName::current();
    let new = NewPass {
        queue: PassQueue::Attached,
        due_at: at(7),
        ..new_pass("INC-1", 0)
    };
    let unknown = ledger.add_captured(&new, &worker, HOUR).await;
    assert!(
        matches!(unknown, Err(LedgerError::UnknownIncident(_))),
        "{unknown:?}"
    );
    declare(&ledger, "INC-1").await;
    let token = ledger
        .add_captured(&new, &worker, HOUR)
        .await
        .expect("a database");
    assert_eq!(token, Some(1));
    let found = row(&ledger, &new.key).await;
    assert_eq!(
        (found.stage, found.fencing_token, found.began_at),
        (PassStage::Captured, 1, Some(at(7)))
    );
    let again = ledger
        .add_captured(&new, &worker, HOUR)
        .await
        .expect("a database");
    assert_eq!(again, None, "there is one already");
    assert_eq!(lease_at(&ledger, PassQueue::Attached, 99).await, None);
    assert!(
        ledger
            .renew_lease(&new.key, 1, HOUR)
            .await
            .expect("a database")
    );
    ledger.release_lease(&new.key, 1).await.expect("a database");
    let leased = lease_at(&ledger, PassQueue::Attached, 99)
        .await
        .expect("it is free");
    assert_eq!(leased.fencing_token, 2);
}

pub(super) async fn is_busy_while_a_pass_is_leased_or_due(ledger: Ledger) {
    let busy = async |seconds, only_begun| {
        ledger
            .is_busy(at(seconds), only_begun)
            .await
            .expect("a database")
    };
    let both = async |seconds| (busy(seconds, false).await, busy(seconds, true).await);
    add_due(&ledger, 9, PassQueue::Attached, 0).await;
    assert_eq!(both(500).await, (false, false), "attachments do not count");
    let key = add_due(&ledger, 0, PassQueue::Local, 100).await;
    assert_eq!(both(99).await, (false, false), "it is due later");
    assert_eq!(both(100).await, (true, false), "nobody has begun it");
    let leased = lease_at(&ledger, PassQueue::Local, 100)
        .await
        .expect("it is due");
    assert_eq!(both(100).await, (true, true), "it is leased");
    ledger
        .postpone(&key, leased.fencing_token, at(200))
        .await
        .expect("a database");
    assert_eq!(both(199).await, (false, false), "it is tried again later");
    assert_eq!(both(200).await, (true, true), "it is to be resumed");
    let leased = lease_at(&ledger, PassQueue::Local, 200)
        .await
        .expect("it is due");
    assert_eq!(both(200).await, (true, true), "it is leased");
    ledger
        .set_failed(&key, leased.fencing_token)
        .await
        .expect("it has the lease");
    assert_eq!(both(500).await, (false, false), "it is done");
}

pub(super) async fn is_under_way_while_a_due_pass_is_not_done(ledger: Ledger) {
    let id = incident("INC-1");
    let under_way = async |seconds| {
        ledger
            .is_under_way(&id, at(seconds))
            .await
            .expect("a database")
    };
    add_due(&ledger, 9, PassQueue::Attached, 0).await;
    add_pass(&ledger, "INC-2", 0).await;
    assert!(
        !under_way(500).await,
        "neither attachments nor other incidents count"
    );
    let other = add_due(&ledger, 1, PassQueue::Remote, 1000).await;
    let key = add_due(&ledger, 0, PassQueue::Local, 100).await;
    assert!(!under_way(99).await, "it is due later");
    assert!(under_way(100).await);
    let leased = lease_at(&ledger, PassQueue::Local, 100)
        .await
        .expect("it is due");
    assert_eq!(leased.key, key);
    ledger.postpone(&key, 1, at(300)).await.expect("a database");
    assert!(under_way(100).await, "it is tried again");
    add_bundle(&ledger, &key).await;
    assert!(
        under_way(100).await,
        "what follows its bundle is to be done"
    );
    for failures in 1..=8_u64 {
        let leased = lease_at(&ledger, PassQueue::Local, 500)
            .await
            .expect("it is due");
        ledger
            .postpone(&key, leased.fencing_token, at(100))
            .await
            .expect("a database");
        assert_eq!(
            under_way(500).await,
            failures <= 7,
            "after {failures} failures"
        );
    }
    ledger.set_derived(&key).await.expect("a database");
    assert!(!under_way(500).await, "it is done");
    assert!(under_way(1000).await, "the other is due");
    ledger.cancel_waiting_passes(&id).await.expect("a database");
    assert_eq!(row(&ledger, &other).await.stage, PassStage::Failed);
    assert!(!under_way(1000).await);
}

pub(super) async fn next_due_skips_begun_passes(ledger: Ledger) {
    let next = async || ledger.next_due().await.expect("a database");
    assert_eq!(next().await, None);
    add_due(&ledger, 0, PassQueue::Attached, 1).await;
    assert_eq!(next().await, None, "whoever attaches does it");
    add_due(&ledger, 1, PassQueue::Remote, 300).await;
    assert_eq!(next().await, Some(at(300)));
    add_due(&ledger, 2, PassQueue::Local, 200).await;
    assert_eq!(next().await, Some(at(200)));
    let begun = add_due(&ledger, 3, PassQueue::Remote, 100).await;
    assert_eq!(next().await, Some(at(100)));
    lease_at(&ledger, PassQueue::Remote, 100)
        .await
        .expect("it is due");
    assert_eq!(next().await, Some(at(200)), "somebody has begun it");
    ledger
        .postpone(&begun, 1, at(150))
        .await
        .expect("a database");
    assert_eq!(next().await, Some(at(200)), "somebody had begun it");
}

pub(super) async fn oldest_waiting_includes_passes_that_failed(ledger: Ledger) {
    let oldest = async || ledger.oldest_waiting(at(400)).await.expect("a database");
    add_due(&ledger, 0, PassQueue::Attached, 1).await;
    add_due(&ledger, 1, PassQueue::Remote, 500).await;
    assert_eq!(oldest().await, None, "none is due");
    add_due(&ledger, 2, PassQueue::Local, 200).await;
    let begun = add_due(&ledger, 3, PassQueue::Remote, 100).await;
    assert_eq!(oldest().await, Some(at(100)));
    lease_at(&ledger, PassQueue::Remote, 100)
        .await
        .expect("it is due");
    assert_eq!(oldest().await, Some(at(200)), "a worker has the other");
    ledger
        .postpone(&begun, 1, at(900))
        .await
        .expect("a database");
    assert_eq!(oldest().await, Some(at(100)), "it failed, and waits");
}

pub(super) async fn backlog_counts_passes_that_are_not_done(ledger: Ledger) {
    let counted = async || {
        let Backlog { waiting, leased } = ledger.backlog().await.expect("a database");
        (waiting, leased)
    };
    assert_eq!(counted().await, (0, 0));
    for (pass, queue) in (0..).zip(PassQueue::ALL) {
        add_due(&ledger, pass, queue, 0).await;
    }
    let key = add_due(&ledger, 4, PassQueue::Local, 1000).await;
    assert_eq!(counted().await, (5, 0));
    lease_at(&ledger, PassQueue::Remote, 0)
        .await
        .expect("it is due");
    assert_eq!(counted().await, (4, 1));
    let sealed = PassKey { pass: 0, ..key };
    add_bundle(&ledger, &sealed).await;
    assert_eq!(counted().await, (4, 1), "what follows is to be done");
    ledger.set_derived(&sealed).await.expect("a database");
    assert_eq!(counted().await, (4, 0));
    assert_eq!(
        lease_at(&ledger, PassQueue::Local, 0)
            .await
            .expect("it is due")
            .key
            .pass,
        1
    );
    ledger
        .release_lease(&PassKey { pass: 1, ..sealed }, 1)
        .await
        .expect("a database");
    assert_eq!(counted().await, (4, 0));
}

/// The clock of the worker's host is far off.
pub(super) async fn lease_lasts_by_the_clock_of_the_database(ledger: Ledger) {
    let key = add_due(&ledger, 0, PassQueue::Remote, -1_000_000_000).await;
    let clock = match ledger.db.engine() {
        DatabaseEngine::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        DatabaseEngine::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    };
    let select = &format!("SELECT leased_until - {clock} AS rest FROM passes");
    let rest = async || {
        let rest = ledger
            .db
            .read::<_, LedgerError, _>("look", |mut db| async move {
                let select = query(AssertSqlSafe(select.clone()));
                fetch_first(&mut db, select, |row| get::<i64>(row, "rest")).await
            });
        rest.await.expect("good SQL").expect("a pass")
    };
    for (seconds, token) in [(-900_000_000, 1), (900_000_000, 2)] {
        let leased = lease_at(&ledger, PassQueue::Remote, seconds)
            .await
            .expect("it is due");
        assert_eq!(leased.fencing_token, token);
        assert!((3_500_000..=3_600_000).contains(&rest().await));
        assert_eq!(
            lease_at(&ledger, PassQueue::Remote, 2_000_000_000).await,
            None
        );
        let two_hours = HOUR * 2;
        assert!(
            ledger
                .renew_lease(&key, token, two_hours)
                .await
                .expect("a database")
        );
        assert!((7_100_000..=7_200_000).contains(&rest().await));
        ledger.release_lease(&key, token).await.expect("a database");
    }
}
