//! Stream positions, prepare, commit, abort.

use std::time::Duration;

use evidence_format::digest::Digest;
use evidence_format::id::{KeyId, StreamId};

use crate::ledger::{
    BundleRow, Ledger, LedgerError, NewStream, PassKey, PassStage, PassState, StreamPosition,
    WorkerName,
};
use crate::testing::{
    add_bundle, add_pass, bundle_row, entry, key_id, lease, lease_request, stream, stream_id,
};

pub(super) async fn stream_has_one_bundle_at_each_place(ledger: Ledger) {
    assert!(matches!(
        ledger.next_position(&key_id()).await,
        Err(LedgerError::UnknownStream(_))
    ));
    for id in [stream_id(), StreamId::from_random([9; 16])] {
        ledger
            .begin_stream(&NewStream {
                id,
                ..stream(&key_id(), "store")
            })
            .await
            .expect("it is ours");
        let first = ledger.next_position(&key_id()).await.expect("it was begun");
        assert_eq!(
            first,
            StreamPosition {
                stream: stream_id(),
                seq: 0,
                prev: None
            }
        );
    }

    let (one, two) = (
        add_pass(&ledger, "INC-1", 0).await,
        add_pass(&ledger, "INC-1", 1).await,
    );
    let late = bundle_row(&ledger, &two).await;
    let sealed = add_bundle(&ledger, &one).await;
    let next = ledger.next_position(&key_id()).await.expect("it was begun");
    assert_eq!(
        next,
        StreamPosition {
            stream: stream_id(),
            seq: 1,
            prev: Some(sealed.id)
        }
    );

    let moved = ledger.prepare(&late.pending(), 0).await;
    assert!(
        matches!(
            moved,
            Err(LedgerError::StreamMoved {
                expected: 0,
                found: 1,
                ..
            })
        ),
        "{moved:?}"
    );
    let resealed = add_bundle(&ledger, &two).await;
    assert_eq!(resealed.position, next);
    assert_eq!(
        ledger.bundles(&one.incident).await.expect("a database"),
        [sealed, resealed]
    );
}

pub(super) async fn only_one_bundle_of_a_stream_is_pending(ledger: Ledger) {
    let (one, two) = (
        add_pass(&ledger, "INC-1", 0).await,
        add_pass(&ledger, "INC-1", 1).await,
    );
    let (first, second) = (
        bundle_row(&ledger, &one).await,
        bundle_row(&ledger, &two).await,
    );
    ledger
        .prepare(&first.pending(), 0)
        .await
        .expect("nothing is pending");
    ledger.prepare(&first.pending(), 0).await.expect("the same");
    assert_eq!(
        ledger.pending(&key_id()).await.expect("a database"),
        Some(first.pending())
    );
    match ledger.prepare(&second.pending(), 0).await {
        Err(LedgerError::StreamBusy(pending)) => assert_eq!(pending, first.id),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        ledger.commit(&second, |_| Vec::new()).await,
        Err(LedgerError::NotPrepared(_))
    ));
    ledger.abort(&second.pending()).await.expect("a database");
    assert!(
        ledger
            .pending(&key_id())
            .await
            .expect("a database")
            .is_some(),
        "another bundle's preparation stays"
    );
    ledger.abort(&first.pending()).await.expect("a database");
    assert_eq!(ledger.pending(&key_id()).await.expect("a database"), None);
    ledger
        .prepare(&second.pending(), 0)
        .await
        .expect("nothing is pending");
}

pub(super) async fn commit_is_all_or_nothing(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let row = bundle_row(&ledger, &key).await;
    ledger
        .prepare(&row.pending(), 0)
        .await
        .expect("nothing is pending");
    let misplaced = BundleRow {
        position: StreamPosition {
            prev: Some(Digest::of(b"other")),
            ..row.position.clone()
        },
        ..row.clone()
    };
    assert!(matches!(
        ledger.commit(&misplaced, |_| vec![entry("sealed")]).await,
        Err(LedgerError::NotPrepared(_))
    ));
    assert_eq!(
        ledger
            .journal(&key.incident)
            .entries()
            .await
            .expect("a database")
            .len(),
        1,
        "nothing has changed"
    );
    assert!(
        ledger
            .bundles(&key.incident)
            .await
            .expect("a database")
            .is_empty()
    );

    for _ in 0..2 {
        ledger
            .commit(&row, |_| vec![entry("sealed"), entry("published")])
            .await
            .expect("it was prepared");
        assert_eq!(
            ledger
                .journal(&key.incident)
                .entries()
                .await
                .expect("a database")
                .len(),
            3
        );
        assert_eq!(
            ledger.bundles(&key.incident).await.expect("a database"),
            std::slice::from_ref(&row)
        );
        assert_eq!(ledger.pending(&key_id()).await.expect("a database"), None);
        assert_eq!(
            ledger
                .pass(&key)
                .await
                .expect("a database")
                .map(|pass| pass.state()),
            Some(PassState::Sealed)
        );
    }
}

pub(super) async fn bundle_is_found_by_prefix_of_its_id(ledger: Ledger) {
    let mut rows = Vec::new();
    for pass in 0..20 {
        rows.push(add_bundle(&ledger, &add_pass(&ledger, "INC-1", pass).await).await);
    }
    let row = &rows[7];
    for beginning in [
        row.id.to_string(),
        row.id.hex(),
        row.id.hex()[..12].to_owned(),
    ] {
        assert_eq!(
            ledger
                .bundle(&beginning)
                .await
                .expect("one begins so")
                .as_ref(),
            Some(row),
            "{beginning}"
        );
    }
    for nothing in [
        "",
        "sha256:",
        "xyz",
        "%",
        "_",
        "ffffffffffff",
        &format!("{}0", row.id.hex()),
    ] {
        assert_eq!(
            ledger.bundle(nothing).await.expect("none begins so"),
            None,
            "{nothing}"
        );
    }
    let shared = rows.iter().map(|row| row.id.hex()[..1].to_owned());
    let shared = shared.filter(|digit| {
        rows.iter()
            .filter(|row| row.id.hex().starts_with(digit))
            .count()
            > 1
    });
    let digit = shared.into_iter().next().expect("20 ids of 16 digits");
    assert!(matches!(
        ledger.bundle(&digit).await,
        Err(LedgerError::AmbiguousBundle(_))
    ));
}

pub(super) async fn concurrent_workers_seal_in_one_stream(ledger: Ledger) {
    let mut workers = Vec::new();
    for pass in 0..6 {
        let key = add_pass(&ledger, "INC-1", pass).await;
        workers.push(tokio::spawn(seal_when_it_is_our_turn(ledger.clone(), key)));
    }
    for worker in workers {
        worker.await.expect("no panic");
    }
    let bundles = ledger
        .bundles(&"INC-1".parse().expect("an id"))
        .await
        .expect("a database");
    assert_eq!(
        bundles
            .iter()
            .map(|bundle| bundle.position.seq)
            .collect::<Vec<_>>(),
        (0..6).collect::<Vec<_>>()
    );
    for pair in bundles.windows(2) {
        assert_eq!(
            pair[1].position.prev,
            Some(pair[0].id),
            "each names the one before"
        );
    }
}

async fn seal_when_it_is_our_turn(ledger: Ledger, key: PassKey) {
    loop {
        let row = bundle_row(&ledger, &key).await;
        match ledger.prepare(&row.pending(), 0).await {
            Ok(()) => {
                return drop(
                    ledger
                        .commit(&row, |_| vec![entry("sealed")])
                        .await
                        .expect("it was prepared"),
                );
            }
            Err(LedgerError::StreamBusy(_) | LedgerError::StreamMoved { .. }) => {
                tokio::task::yield_now().await
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

pub(super) async fn key_signs_for_one_store(ledger: Ledger) {
    ledger
        .begin_stream(&stream(&key_id(), "one"))
        .await
        .expect("it is new");
    ledger
        .begin_stream(&stream(&key_id(), "one"))
        .await
        .expect("the same store again");
    let copied = ledger
        .begin_stream(&stream(&key_id(), "two"))
        .await
        .expect_err("a copy of the key");
    assert!(
        matches!(copied, LedgerError::KeyOfOtherStore(key) if key == key_id()),
        "{copied:?}"
    );
    assert_eq!(
        ledger
            .public_key(&key_id())
            .await
            .expect("a database")
            .as_deref(),
        Some("PEM")
    );
    assert_eq!(
        ledger
            .public_key(&KeyId::of_spki(b"other"))
            .await
            .expect("a database"),
        None
    );
}

/// A worker is held up between prepare and publish, while another captures and seals the same pass.
pub(super) async fn second_bundle_of_a_pass_says_what_it_duplicates(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let late = bundle_row(&ledger, &key).await;
    ledger
        .prepare(&late.pending(), 0)
        .await
        .expect("nobody has leased it since");
    let other = KeyId::of_spki(b"other");
    let theirs = NewStream {
        id: StreamId::from_random([9; 16]),
        ..stream(&other, "two")
    };
    ledger.begin_stream(&theirs).await.expect("it is new");
    let position = ledger.next_position(&other).await.expect("it was begun");
    let sealed = BundleRow {
        id: Digest::of(b"other"),
        key_id: other,
        position,
        object_key: "bundles/other".to_owned(),
        ..late.clone()
    };
    let token = lease(&ledger, &key).await;
    assert_eq!(token, 1);
    ledger
        .prepare(&sealed.pending(), token)
        .await
        .expect("it has the pass now");
    let sealed = ledger
        .commit(&sealed, |_| vec![entry("sealed")])
        .await
        .expect("it was prepared");
    assert_eq!(sealed.duplicate_of, None);
    // The pass is sealed: no further bundle can be prepared.
    let position = ledger.next_position(&other).await.expect("it was begun");
    let again = BundleRow {
        id: Digest::of(b"again"),
        position,
        ..sealed.clone()
    };
    let refused = ledger
        .prepare(&again.pending(), 1)
        .await
        .expect_err("its pass is sealed");
    assert!(
        matches!(refused, LedgerError::PassIsSealed(_)),
        "{refused:?}"
    );

    for _ in 0..2 {
        let committed = ledger
            .commit(&late, |row| {
                vec![entry(&format!("duplicates {:?}", row.duplicate_of))]
            })
            .await;
        let committed = committed.expect("it was prepared in time, and has its place");
        assert_eq!(
            committed,
            BundleRow {
                duplicate_of: Some(sealed.id),
                ..late.clone()
            }
        );
        assert_eq!(
            ledger.bundles(&key.incident).await.expect("a database"),
            [sealed.clone(), committed]
        );
    }
    let said = ledger
        .journal(&key.incident)
        .entries_after(2)
        .await
        .expect("a database");
    assert_eq!(
        said.iter().map(|row| &row.event).collect::<Vec<_>>(),
        [&entry(&format!("duplicates {:?}", Some(sealed.id))).event]
    );
    assert_eq!(stage(&ledger, &key).await, PassStage::Published);
    ledger.set_derived(&key).await.expect("a database");
    let worker = WorkerName::current();
    let request = lease_request(&worker, Duration::from_secs(60));
    let left = ledger.lease_next(&request).await.expect("a database");
    assert_eq!(left, None, "nothing is left to do");
}

pub(super) async fn lost_lease_prepares_nothing(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let row = bundle_row(&ledger, &key).await;
    assert_eq!(lease(&ledger, &key).await, 1);
    assert_eq!(lease(&ledger, &key).await, 2);
    let refused = ledger.prepare(&row.pending(), 1).await;
    assert!(
        matches!(
            refused,
            Err(LedgerError::LeaseLost {
                token: 1,
                last: 2,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(ledger.pending(&key_id()).await.expect("a database"), None);
    ledger
        .prepare(&row.pending(), 2)
        .await
        .expect("it has the pass");
}

async fn stage(ledger: &Ledger, key: &PassKey) -> PassStage {
    let row = ledger.pass(key).await.expect("a database");
    row.expect("it was added").stage
}

pub(super) async fn aborted_bundle_is_sealed_again(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let row = bundle_row(&ledger, &key).await;
    let token = lease(&ledger, &key).await;
    ledger
        .set_captured(&key, token)
        .await
        .expect("it has the lease");
    for _ in 0..2 {
        ledger
            .prepare(&row.pending(), token)
            .await
            .expect("nothing is pending");
        assert_eq!(stage(&ledger, &key).await, PassStage::Signed);
        for _ in 0..2 {
            ledger.abort(&row.pending()).await.expect("again is fine");
            assert_eq!(stage(&ledger, &key).await, PassStage::Captured);
        }
    }
    ledger
        .prepare(&row.pending(), token)
        .await
        .expect("nothing is pending");
    ledger
        .commit(&row, |_| vec![entry("sealed")])
        .await
        .expect("it was prepared");
    ledger
        .abort(&row.pending())
        .await
        .expect("one that was committed is fine");
    assert_eq!(
        stage(&ledger, &key).await,
        PassStage::Published,
        "it stays committed"
    );
    let bundles = ledger.bundles(&key.incident).await.expect("a database");
    assert_eq!(bundles, [row]);
}

pub(super) async fn bundles_are_numbered_over_all_streams(ledger: Ledger) {
    assert_eq!(ledger.last_bundle_number().await.expect("a database"), 0);
    let mut rows = Vec::new();
    for name in ["INC-1", "INC-2", "INC-3"] {
        rows.push(add_bundle(&ledger, &add_pass(&ledger, name, 0).await).await);
    }
    assert_eq!(ledger.last_bundle_number().await.expect("a database"), 3);
    for number in 0..=3 {
        let after = ledger.bundles_after(number).await.expect("a database");
        assert_eq!(after, rows[usize::try_from(number).expect("small")..]);
    }
}
