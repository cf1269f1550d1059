//! The database is unreachable for some seconds, or its responses are lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::postgres::Postgres;
use tests::proxy::{Fault, Proxy};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::database::DatabaseError;
use crate::ledger::numbers::draw_number;
use crate::ledger::{
    Ledger, LedgerError, NewIncidentId, NewPass, OverviewQuery, PassQueue, WorkerName,
};
use crate::testing::{
    add_bundle, add_pass, at, bundle_row, declare, entry, incident, key_id, lease, lease_request,
    new_incident, new_pass,
};

#[tokio::test(flavor = "multi_thread")]
async fn append_waits_for_the_database() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let ledger = Ledger::open(&postgres.create("exhibit"))
        .await
        .expect("a fresh database");
    let id = declare(&ledger, "INC-1").await;
    postgres.stop_server();
    let append = tokio::spawn({
        let (ledger, id) = (ledger.clone(), id.clone());
        async move {
            let new = [entry("while it was away")];
            ledger.journal(&id).append_at(1, &new, &[]).await
        }
    });
    sleep(Duration::from_secs(3)).await;
    assert!(!append.is_finished());
    postgres.start_server();
    append
        .await
        .expect("no panic")
        .expect("the database is back");
    let entries = ledger.journal(&id).entries_after(1).await;
    assert_eq!(entries.expect("a database").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_survive_crashes_exactly_once() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let ledger = Ledger::open(&postgres.create("exhibit"))
        .await
        .expect("a fresh database");
    let id = declare(&ledger, "INC-1").await;
    let appends = tokio::spawn({
        let (ledger, id) = (ledger.clone(), id.clone());
        async move {
            let begun = Instant::now();
            let mut seq = 1;
            while begun.elapsed() < Duration::from_secs(5) {
                ledger
                    .journal(&id)
                    .append_at(seq, &[entry(&seq.to_string())], &[])
                    .await
                    .expect("it waits");
                seq += 1;
            }
            seq
        }
    });
    for _ in 0..3 {
        sleep(Duration::from_millis(700)).await;
        postgres.kill_server();
        postgres.start_server();
    }
    let appended = appends.await.expect("no panic");
    let rows = ledger.journal(&id).entries_after(1).await;
    let rows = rows.expect("a database");
    assert!(appended > 20, "{appended}");
    assert_eq!(rows.len() as u64, appended - 1);
    assert!(
        rows.iter()
            .all(|row| row.event == entry(&(row.seq - 1).to_string()).event)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commit_with_lost_response_is_made_once() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.create("exhibit");
    let proxy = Proxy::before(SocketAddr::from(([127, 0, 0, 1], postgres.port)));
    let url = url.replace(
        &postgres.port.to_string(),
        &proxy.address().port().to_string(),
    );
    let ledger = Ledger::open(&url).await.expect("a fresh database");
    let lost = [Fault::AnswerLost("COMMIT")];
    let declare = async |id: NewIncidentId, key: Option<&str>| {
        proxy.plan(&lost);
        let declared = ledger.declare(&id, key, |id| Ok(new_incident(id))).await;
        declared.map(|answer| (answer.incident.to_string(), answer.is_new))
    };
    let given = |name| NewIncidentId::Given(incident(name));
    let next = || NewIncidentId::Next("N-".to_owned());
    for (id, key, name, is_new, why) in [
        (
            given("INC-1"),
            Some("key"),
            "INC-1",
            true,
            "it was this call that declared it",
        ),
        (
            given("INC-1"),
            Some("key"),
            "INC-1",
            false,
            "it was the call before",
        ),
        (
            given("INC-9"),
            Some("key"),
            "INC-1",
            false,
            "its key was known",
        ),
        (
            given("INC-2"),
            None,
            "INC-2",
            true,
            "it knows what it has declared by its name",
        ),
        (
            next(),
            None,
            "N-001",
            true,
            "it knows what it has declared by its number",
        ),
        (next(), None, "N-002", true, "no number is lost"),
        (
            next(),
            Some("other"),
            "N-003",
            true,
            "it was this call that declared it",
        ),
        (
            next(),
            Some("other"),
            "N-003",
            false,
            "it was the call before",
        ),
    ] {
        let declared = declare(id, key).await.expect("it asks again");
        assert_eq!(declared, (name.to_owned(), is_new), "{why}");
    }
    let wanted = OverviewQuery {
        limit: 100,
        ..OverviewQuery::default()
    };
    let listed = ledger.overviews(&wanted).await.expect("a database");
    let listed: Vec<_> = listed.iter().map(|one| one.id.as_str()).collect();
    assert_eq!(listed, ["N-003", "N-002", "N-001", "INC-2", "INC-1"]);
    assert_eq!(proxy.left(), [], "each fault has happened");
    let taken = ledger
        .declare(&given("INC-1"), None, |id| Ok(new_incident(id)))
        .await;
    assert!(
        matches!(taken, Err(LedgerError::IncidentExists(_))),
        "another call's incident is not taken for ours: {taken:?}"
    );

    let journal = ledger.journal(&incident("INC-1"));
    let count = async || journal.entries().await.expect("a database").len();
    proxy.plan(&lost);
    let two = [entry("a"), entry("b")];
    journal
        .append_at(1, &two, &[])
        .await
        .expect("it asks again");
    assert_eq!(count().await, 3);
    proxy.plan(&lost);
    let two = [entry("c"), entry("d")];
    journal.append(&two).await.expect("it asks again");
    assert_eq!(count().await, 5);

    let pass = add_pass(&ledger, "INC-1", 0).await;
    let row = bundle_row(&ledger, &pass).await;
    proxy.plan(&[lost[0], lost[0]]);
    ledger
        .prepare(&row.pending(), 0)
        .await
        .expect("it asks again");
    ledger
        .commit(&row, |_| vec![entry("sealed")])
        .await
        .expect("it asks again");
    assert_eq!(count().await, 6);
    assert_eq!(ledger.pending(&key_id()).await.expect("a database"), None);
    ledger.set_derived(&pass).await.expect("a database");
    let second = add_bundle(&ledger, &add_pass(&ledger, "INC-1", 1).await).await;
    assert_eq!(second.position.seq, 1);
    assert_eq!(proxy.left(), [], "each fault has happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_call_with_lost_response_counts_once() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.create("exhibit");
    let proxy = Proxy::before(SocketAddr::from(([127, 0, 0, 1], postgres.port)));
    let url = url.replace(
        &postgres.port.to_string(),
        &proxy.address().port().to_string(),
    );
    let ledger = Ledger::open(&url).await.expect("a fresh database");
    let lost = [Fault::AnswerLost("COMMIT")];
    let key = add_pass(&ledger, "INC-1", 0).await;
    let token = lease(&ledger, &key).await;
    proxy.plan(&lost);
    ledger
        .postpone(&key, token, at(5))
        .await
        .expect("it asks again");
    let row = ledger
        .pass(&key)
        .await
        .expect("a database")
        .expect("it was added");
    assert_eq!(row.failures, 1);

    let worker = WorkerName::current();
    let attached = NewPass {
        queue: PassQueue::Attached,
        ..new_pass("INC-1", 1)
    };
    for expected in [Some(1), None] {
        proxy.plan(&lost);
        let hour = Duration::from_secs(3600);
        let added = ledger.add_captured(&attached, &worker, hour).await;
        assert_eq!(added.expect("it asks again"), expected);
    }
    assert_eq!(proxy.left(), [], "each fault has happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_waits_for_the_database() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let ledger = Ledger::open(&postgres.create("exhibit"))
        .await
        .expect("a fresh database");
    let key = add_pass(&ledger, "INC-1", 0).await;
    let token = lease(&ledger, &key).await;
    postgres.stop_server();
    let hour = Duration::from_secs(3600);
    let renewal = tokio::spawn({
        let (ledger, key) = (ledger.clone(), key.clone());
        async move { ledger.renew_lease(&key, token, hour).await }
    });
    let next = tokio::spawn({
        let ledger = ledger.clone();
        async move {
            let worker = WorkerName::current();
            ledger.lease_next(&lease_request(&worker, hour)).await
        }
    });
    sleep(Duration::from_secs(2)).await;
    assert!(!renewal.is_finished() && !next.is_finished());
    postgres.start_server();
    let is_ours = renewal
        .await
        .expect("no panic")
        .expect("the database is back");
    assert!(is_ours, "nobody has taken it meanwhile");
    let next = next.await.expect("no panic").expect("the database is back");
    assert_eq!(next, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_outage_when_retries_run_out() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let ledger = Ledger::open(&postgres.create("exhibit"))
        .await
        .expect("a fresh database");
    let id = declare(&ledger, "INC-1").await;
    let ledger = ledger.with_patience(Duration::from_secs(1));
    postgres.stop_server();
    let outage = ledger.journal(&id).append(&[entry("never")]).await;
    assert!(
        matches!(
            outage,
            Err(LedgerError::Database(DatabaseError::Outage { .. }))
        ),
        "{outage:?}"
    );
    let outage = ledger.overviews(&OverviewQuery::default()).await;
    assert!(
        matches!(
            outage,
            Err(LedgerError::Database(DatabaseError::Outage { .. }))
        ),
        "{outage:?}"
    );
    postgres.start_server();
    assert_eq!(
        ledger
            .journal(&id)
            .entries_after(1)
            .await
            .expect("a database"),
        [],
        "what has failed has changed nothing"
    );
}

/// Sleeps between two statements, like a suspended process.
#[tokio::test(flavor = "multi_thread")]
async fn suspended_transaction_does_not_block_others() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let ledger = Ledger::open(&postgres.create("exhibit"))
        .await
        .expect("a fresh database");
    let (locked, is_locked) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let frozen = tokio::spawn({
        let (ledger, locked) = (ledger.clone(), locked.clone());
        async move {
            let drawn = ledger
                .db
                .write::<_, LedgerError, _>("draw a number", |mut db, _| {
                    let (locked, is_second) =
                        (locked.clone(), is_locked.swap(true, Ordering::SeqCst));
                    async move {
                        let number = draw_number(&mut db, "incident INC-").await?;
                        locked.notify_one();
                        sleep(if is_second {
                            Duration::ZERO
                        } else {
                            Duration::from_secs(25)
                        })
                        .await;
                        Ok((db, number))
                    }
                });
            drawn.await
        }
    });
    locked.notified().await;
    let begun = Instant::now();
    let id = NewIncidentId::Next("INC-".to_owned());
    let other = ledger.declare(&id, None, |id| Ok(new_incident(id))).await;
    let other = other.expect("a database").incident;
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        other,
        incident("INC-001"),
        "what the other one had drawn is undone"
    );
    assert_eq!(
        frozen
            .await
            .expect("no panic")
            .expect("it begins again when it wakes"),
        2
    );
}
