//! Places in the stream, announcements, commits.

use evidence_format::digest::Digest;
use evidence_format::id::{KeyId, StreamId};

use crate::ledger::{BundleRow, Ledger, LedgerError, NewStream, PassKey, PassState, Place};
use crate::testing::{add_bundle, add_pass, bundle_row, entry, key_id, stream, stream_id};

pub(super) async fn a_stream_has_one_bundle_at_each_place(ledger: Ledger) {
    assert!(matches!(
        ledger.take_place(&key_id()).await,
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
        let first = ledger.take_place(&key_id()).await.expect("it was begun");
        assert_eq!(
            first,
            Place {
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
    let next = ledger.take_place(&key_id()).await.expect("it was begun");
    assert_eq!(
        next,
        Place {
            stream: stream_id(),
            seq: 1,
            prev: Some(sealed.id)
        }
    );

    let moved = ledger.announce(&late.announcement(), 0).await;
    assert!(
        matches!(
            moved,
            Err(LedgerError::Moved {
                expected: 0,
                found: 1,
                ..
            })
        ),
        "{moved:?}"
    );
    let resealed = add_bundle(&ledger, &two).await;
    assert_eq!(resealed.place, next);
    assert_eq!(
        ledger.bundles(&one.incident).await.expect("a database"),
        [sealed, resealed]
    );
}

pub(super) async fn one_bundle_is_pending_at_a_time(ledger: Ledger) {
    let (one, two) = (
        add_pass(&ledger, "INC-1", 0).await,
        add_pass(&ledger, "INC-1", 1).await,
    );
    let (first, second) = (
        bundle_row(&ledger, &one).await,
        bundle_row(&ledger, &two).await,
    );
    ledger
        .announce(&first.announcement(), 0)
        .await
        .expect("nothing is pending");
    ledger
        .announce(&first.announcement(), 0)
        .await
        .expect("the same");
    assert_eq!(
        ledger.pending(&key_id()).await.expect("a database"),
        Some(first.announcement())
    );
    match ledger.announce(&second.announcement(), 0).await {
        Err(LedgerError::Busy(pending)) => assert_eq!(*pending, first.announcement()),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        ledger.commit(&second, |_| Vec::new()).await,
        Err(LedgerError::NotAnnounced(_))
    ));
    ledger
        .forget_pending(&key_id(), &second.id)
        .await
        .expect("a database");
    assert!(
        ledger
            .pending(&key_id())
            .await
            .expect("a database")
            .is_some(),
        "another bundle's announcement stays"
    );
    ledger
        .forget_pending(&key_id(), &first.id)
        .await
        .expect("a database");
    assert_eq!(ledger.pending(&key_id()).await.expect("a database"), None);
    ledger
        .announce(&second.announcement(), 0)
        .await
        .expect("nothing is pending");
}

pub(super) async fn a_commit_is_all_or_nothing(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let row = bundle_row(&ledger, &key).await;
    ledger
        .announce(&row.announcement(), 0)
        .await
        .expect("nothing is pending");
    let misplaced = BundleRow {
        place: Place {
            prev: Some(Digest::of(b"other")),
            ..row.place.clone()
        },
        ..row.clone()
    };
    assert!(matches!(
        ledger.commit(&misplaced, |_| vec![entry("sealed")]).await,
        Err(LedgerError::NotAnnounced(_))
    ));
    assert_eq!(
        ledger
            .entries(&key.incident, 0)
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
            .expect("it was announced");
        assert_eq!(
            ledger
                .entries(&key.incident, 0)
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
                .map(|pass| pass.state),
            Some(PassState::Sealed)
        );
    }
}

pub(super) async fn a_bundle_is_found_by_its_beginning(ledger: Ledger) {
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

    assert_eq!(ledger.underived().await.expect("a database").len(), 20);
    ledger
        .set_derived(&row.id)
        .await
        .expect("a committed bundle");
    assert!(
        ledger
            .bundle(&row.id.hex())
            .await
            .expect("a database")
            .expect("it is there")
            .is_derived
    );
    assert_eq!(ledger.underived().await.expect("a database").len(), 19);
    assert!(matches!(
        ledger.set_derived(&Digest::of(b"")).await,
        Err(LedgerError::UnknownBundle(_))
    ));
}

pub(super) async fn many_seal_in_one_stream(ledger: Ledger) {
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
            .map(|bundle| bundle.place.seq)
            .collect::<Vec<_>>(),
        (0..6).collect::<Vec<_>>()
    );
    for pair in bundles.windows(2) {
        assert_eq!(
            pair[1].place.prev,
            Some(pair[0].id),
            "each names the one before"
        );
    }
}

async fn seal_when_it_is_our_turn(ledger: Ledger, key: PassKey) {
    loop {
        let row = bundle_row(&ledger, &key).await;
        match ledger.announce(&row.announcement(), 0).await {
            Ok(()) => {
                return drop(
                    ledger
                        .commit(&row, |_| vec![entry("sealed")])
                        .await
                        .expect("it was announced"),
                );
            }
            Err(LedgerError::Busy(_) | LedgerError::Moved { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    }
}

pub(super) async fn a_key_signs_for_one_store(ledger: Ledger) {
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
        matches!(copied, LedgerError::ForeignKey(key) if key == key_id()),
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

/// A worker that was held up between announcing and publishing, while another has captured and
/// sealed the same pass.
pub(super) async fn a_second_bundle_of_a_pass_says_so(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let late = bundle_row(&ledger, &key).await;
    ledger
        .announce(&late.announcement(), 0)
        .await
        .expect("it is the last attempt");
    let other = KeyId::of_spki(b"other");
    let theirs = NewStream {
        id: StreamId::from_random([9; 16]),
        ..stream(&other, "two")
    };
    ledger.begin_stream(&theirs).await.expect("it is new");
    let place = ledger.take_place(&other).await.expect("it was begun");
    let sealed = BundleRow {
        id: Digest::of(b"other"),
        key_id: other,
        place,
        object_key: "bundles/other".to_owned(),
        ..late.clone()
    };
    assert_eq!(ledger.begin_pass(&key).await.expect("it is not sealed"), 1);
    ledger
        .announce(&sealed.announcement(), 1)
        .await
        .expect("it has the pass now");
    let sealed = ledger
        .commit(&sealed, |_| vec![entry("sealed")])
        .await
        .expect("it was announced");
    assert_eq!(sealed.doubles, None);
    // whoever comes to it now has nothing to add
    let place = ledger.take_place(&other).await.expect("it was begun");
    let again = BundleRow {
        id: Digest::of(b"again"),
        place,
        ..sealed.clone()
    };
    let refused = ledger
        .announce(&again.announcement(), 1)
        .await
        .expect_err("its pass is sealed");
    assert!(
        matches!(refused, LedgerError::PassIsSealed(_)),
        "{refused:?}"
    );

    for _ in 0..2 {
        let committed = ledger
            .commit(&late, |row| {
                vec![entry(&format!("doubles {:?}", row.doubles))]
            })
            .await;
        let committed = committed.expect("it was announced in time, and has its place");
        assert_eq!(
            committed,
            BundleRow {
                doubles: Some(sealed.id),
                is_derived: true,
                ..late.clone()
            }
        );
        assert_eq!(
            ledger.bundles(&key.incident).await.expect("a database"),
            [sealed.clone(), committed]
        );
    }
    let said = ledger.entries(&key.incident, 2).await.expect("a database");
    assert_eq!(
        said.iter().map(|row| &row.entry).collect::<Vec<_>>(),
        [&entry(&format!("doubles {:?}", Some(sealed.id)))]
    );
    assert!(matches!(
        ledger.begin_pass(&key).await,
        Err(LedgerError::PassIsSealed(_))
    ));
}

pub(super) async fn whose_pass_was_taken_announces_nothing(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let row = bundle_row(&ledger, &key).await;
    assert_eq!(ledger.begin_pass(&key).await.expect("it is not sealed"), 1);
    assert_eq!(ledger.begin_pass(&key).await.expect("it is not sealed"), 2);
    let refused = ledger.announce(&row.announcement(), 1).await;
    assert!(
        matches!(
            refused,
            Err(LedgerError::PassIsTaken {
                attempt: 1,
                last: 2,
                ..
            })
        ),
        "{refused:?}"
    );
    assert_eq!(ledger.pending(&key_id()).await.expect("a database"), None);
    ledger
        .announce(&row.announcement(), 2)
        .await
        .expect("it has the pass");
}
