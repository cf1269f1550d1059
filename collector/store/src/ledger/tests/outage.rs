//! A database that is away for some seconds, or whose answers are lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tests::postgres::Postgres;
use tests::proxy::{Fault, Proxy};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::database::DatabaseError;
use crate::ledger::entries::draw;
use crate::ledger::{Ledger, LedgerError};
use crate::testing::{add_bundle, add_pass, bundle_row, declare, entry, incident, key_id};

#[tokio::test(flavor = "multi_thread")]
async fn an_append_waits_for_the_database() {
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
        async move { ledger.append(&id, 1, &[entry("while it was away")]).await }
    });
    sleep(Duration::from_secs(3)).await;
    assert!(!append.is_finished());
    postgres.start_server();
    append
        .await
        .expect("no panic")
        .expect("the database is back");
    assert_eq!(ledger.entries(&id, 1).await.expect("a database").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_go_through_crashes_exactly_once() {
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
                    .append(&id, seq, &[entry(&seq.to_string())])
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
    let rows = ledger.entries(&id, 1).await.expect("a database");
    assert!(appended > 20, "{appended}");
    assert_eq!(rows.len() as u64, appended - 1);
    assert!(
        rows.iter()
            .all(|row| row.entry == entry(&row.seq.to_string()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_made_once() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let url = postgres.create("exhibit");
    let proxy = Proxy::before(SocketAddr::from(([127, 0, 0, 1], postgres.port)));
    let url = url.replace(
        &postgres.port.to_string(),
        &proxy.address.port().to_string(),
    );
    let ledger = Ledger::open(&url).await.expect("a fresh database");
    let lost = [Fault::AnswerLost("COMMIT")];

    proxy.plan(&lost);
    let declared = ledger
        .declare(&incident("INC-1"), &[entry("declared")], Some("key"))
        .await
        .expect("it asks again");
    assert!(declared.is_new, "it was this call that declared it");
    proxy.plan(&lost);
    let declared = ledger
        .declare(&incident("INC-1"), &[entry("declared")], Some("key"))
        .await
        .expect("it asks again");
    assert!(!declared.is_new, "it was the call before");
    proxy.plan(&lost);
    let declared = ledger
        .declare(&incident("INC-9"), &[entry("declared")], Some("key"))
        .await
        .expect("it asks again");
    assert!(!declared.is_new && declared.incident == incident("INC-1"));

    proxy.plan(&lost);
    ledger
        .append(&incident("INC-1"), 1, &[entry("a"), entry("b")])
        .await
        .expect("it asks again");
    assert_eq!(
        ledger
            .entries(&incident("INC-1"), 0)
            .await
            .expect("a database")
            .len(),
        3
    );

    let pass = add_pass(&ledger, "INC-1", 0).await;
    let row = bundle_row(&ledger, &pass).await;
    proxy.plan(&[lost[0], lost[0]]);
    ledger
        .announce(&row.announcement(), 0)
        .await
        .expect("it asks again");
    ledger
        .commit(&row, |_| vec![entry("sealed")])
        .await
        .expect("it asks again");
    assert_eq!(
        ledger
            .entries(&incident("INC-1"), 0)
            .await
            .expect("a database")
            .len(),
        4
    );
    assert_eq!(ledger.pending(&key_id()).await.expect("a database"), None);
    assert_eq!(
        add_bundle(&ledger, &add_pass(&ledger, "INC-1", 1).await)
            .await
            .place
            .seq,
        1
    );
    assert_eq!(proxy.left(), [], "each fault has happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_said_when_patience_ends() {
    let Some(mut postgres) = Postgres::start() else {
        return;
    };
    let ledger = Ledger::open(&postgres.create("exhibit"))
        .await
        .expect("a fresh database");
    let id = declare(&ledger, "INC-1").await;
    let ledger = ledger.with_patience(Duration::from_secs(1));
    postgres.stop_server();
    let outage = ledger.append(&id, 1, &[entry("never")]).await;
    assert!(
        matches!(
            outage,
            Err(LedgerError::Database(DatabaseError::Outage { .. }))
        ),
        "{outage:?}"
    );
    let outage = ledger.incidents().await;
    assert!(
        matches!(
            outage,
            Err(LedgerError::Database(DatabaseError::Outage { .. }))
        ),
        "{outage:?}"
    );
    postgres.start_server();
    assert_eq!(
        ledger.entries(&id, 1).await.expect("a database"),
        [],
        "what has failed has changed nothing"
    );
}

/// As if its process were frozen between two statements.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_stands_still_holds_nobody_up_for_long() {
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
                        let number = draw(&mut db, "incident INC-").await?;
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
    let other = ledger.next_incident("INC-").await.expect("a database");
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
