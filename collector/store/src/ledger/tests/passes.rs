//! Passes, pages and steps.

use evidence_format::digest::Digest;

use std::time::Duration;

use crate::ledger::{
    EndedStep, Ledger, LedgerError, NewPass, PageRow, PassKey, PassKind, PassQueue, PassStage,
    PassState, StagedPages,
};
use crate::testing::{add_bundle, add_pass, at, entry, incident, lease, new_pass};

pub(super) async fn pass_is_added_once(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let later = NewPass {
        kind: PassKind::Again,
        due_at: at(99),
        ..new_pass("INC-1", 0)
    };
    assert!(
        !ledger.add_pass(&later).await.expect("a database"),
        "it is there already"
    );
    let row = ledger
        .pass(&key)
        .await
        .expect("a database")
        .expect("it was added");
    assert_eq!(
        (row.kind, row.due_at, row.state()),
        (PassKind::First, at(0), PassState::Waiting),
        "as it was"
    );

    let settle = NewPass {
        key: PassKey {
            pass: 10,
            ..key.clone()
        },
        kind: PassKind::Settle,
        due_at: at(900),
        supplements: Some(Digest::of(b"first")),
        ..new_pass("INC-1", 10)
    };
    assert!(ledger.add_pass(&settle).await.expect("a database"));
    let second = NewPass {
        key: PassKey {
            pass: 2,
            ..key.clone()
        },
        kind: PassKind::Continuation,
        ..settle.clone()
    };
    assert!(ledger.add_pass(&second).await.expect("a database"));
    let rows = ledger.passes(&key.incident).await.expect("a database");
    assert_eq!(
        rows.iter().map(|row| row.key.pass).collect::<Vec<_>>(),
        [0, 2, 10]
    );
    let last = &rows[2];
    assert_eq!(
        (last.due_at, last.supplements),
        (settle.due_at, settle.supplements)
    );

    let unknown = NewPass {
        key: PassKey {
            incident: incident("INC-9"),
            ..key
        },
        ..settle
    };
    assert!(matches!(
        ledger.add_pass(&unknown).await,
        Err(LedgerError::UnknownIncident(_))
    ));
    assert_eq!(ledger.pass(&unknown.key).await.expect("a database"), None);
}

pub(super) async fn plan_is_set_and_announced_once(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let journal = ledger.journal(&key.incident);
    let length = async || journal.entries().await.expect("a database").len();
    let length_before = length().await;
    let planned = entry("the plan");
    for _ in 0..2 {
        let set = ledger.set_plan(&key, "{\"steps\":[]}", &planned).await;
        set.expect("it had none, or the same");
    }
    assert_eq!(length().await, length_before + 1);
    assert!(matches!(
        ledger.set_plan(&key, "{}", &planned).await,
        Err(LedgerError::PlanIsSet(_))
    ));
    let row = ledger
        .pass(&key)
        .await
        .expect("a database")
        .expect("it was added");
    assert_eq!(row.plan.as_deref(), Some("{\"steps\":[]}"));
    let unknown = PassKey {
        pass: 1,
        ..key.clone()
    };
    assert!(matches!(
        ledger.set_plan(&unknown, "{}", &planned).await,
        Err(LedgerError::UnknownPass(_))
    ));
    assert_eq!(length().await, length_before + 1, "announced in vain");
}

pub(super) async fn only_a_commit_seals_a_pass(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let row = async || {
        ledger
            .pass(&key)
            .await
            .expect("a database")
            .expect("it was added")
    };
    assert_eq!(row().await.state(), PassState::Waiting);
    let token = lease(&ledger, &key).await;
    assert_eq!(row().await.state(), PassState::Capturing);
    ledger
        .set_captured(&key, token)
        .await
        .expect("it has the lease");
    assert_eq!(row().await.stage, PassStage::Captured);
    ledger.set_derived(&key).await.expect("a database");
    assert_eq!(row().await.stage, PassStage::Captured, "it has no bundle");
    ledger
        .set_failed(&key, token)
        .await
        .expect("it has the lease");
    assert_eq!(row().await.state(), PassState::Failed);
    ledger
        .set_captured(&key, token)
        .await
        .expect("it has the lease");
    add_bundle(&ledger, &key).await;
    assert_eq!(
        (row().await.stage, row().await.state()),
        (PassStage::Published, PassState::Sealed)
    );
    assert!(matches!(
        ledger.set_failed(&key, token).await,
        Err(LedgerError::PassIsSealed(_))
    ));
    ledger.set_derived(&key).await.expect("a database");
    assert_eq!(row().await.stage, PassStage::Derived);
    let unknown = PassKey {
        source: "entra".to_owned(),
        ..key
    };
    assert!(matches!(
        ledger.set_failed(&unknown, token).await,
        Err(LedgerError::UnknownPass(_))
    ));
}

/// A person stops an incident while a worker begins one of its passes.
pub(super) async fn only_waiting_passes_are_cancelled(ledger: Ledger) {
    let begun = add_pass(&ledger, "INC-1", 0).await;
    lease(&ledger, &begun).await;
    let waiting = add_pass(&ledger, "INC-1", 1).await;
    let attached = NewPass {
        queue: PassQueue::Attached,
        ..new_pass("INC-1", 2)
    };
    ledger.add_pass(&attached).await.expect("a database");
    ledger
        .cancel_waiting_passes(&incident("INC-1"))
        .await
        .expect("a database");
    let mut states = Vec::new();
    for key in [&begun, &waiting, &attached.key] {
        let row = ledger
            .pass(key)
            .await
            .expect("a database")
            .expect("it was added");
        states.push(row.state());
    }
    assert_eq!(
        states,
        [PassState::Capturing, PassState::Failed, PassState::Waiting]
    );
}

fn page(seq: u64, cursor: Option<&str>) -> PageRow {
    PageRow {
        step: "events".to_owned(),
        seq,
        object_key: format!("staged/{seq}"),
        bytes: 10,
        cursor: cursor.map(str::to_owned),
    }
}

pub(super) async fn pages_are_added_once(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    for seq in 0..12 {
        ledger
            .add_page(&key, 0, &page(seq, Some("\"next\"")))
            .await
            .expect("it is new");
    }
    ledger
        .add_page(&key, 0, &page(11, Some("\"next\"")))
        .await
        .expect("the same");
    let other = ledger.add_page(&key, 0, &page(11, None)).await;
    assert!(
        matches!(other, Err(LedgerError::PageDiffers { seq: 11, .. })),
        "{other:?}"
    );
    let pages = ledger
        .pages(&key, "events", 0, 100)
        .await
        .expect("a database");
    assert_eq!(
        pages.iter().map(|page| page.seq).collect::<Vec<_>>(),
        (0..12).collect::<Vec<_>>()
    );
    assert_eq!(
        ledger.last_page(&key, "events").await.expect("a database"),
        pages.last().cloned()
    );
    assert_eq!(
        ledger.last_page(&key, "users").await.expect("a database"),
        None
    );
    let fetched = StagedPages {
        source: key.source.clone(),
        pass: 0,
        pages: 12,
        bytes: 120,
    };
    assert_eq!(
        ledger
            .staged_pages(&key.incident)
            .await
            .expect("a database"),
        [fetched]
    );
    assert_eq!(
        ledger
            .staged_pages(&"INC-2".parse().expect("an id"))
            .await
            .expect("a database"),
        []
    );
    let unknown = PassKey { pass: 1, ..key };
    assert!(matches!(
        ledger.add_page(&unknown, 0, &page(0, None)).await,
        Err(LedgerError::UnknownPass(_))
    ));
}

pub(super) async fn ended_step_takes_no_page(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    ledger
        .add_page(&key, 0, &page(0, None))
        .await
        .expect("it is new");
    ledger
        .end_step(&key, 0, "events", "{\"complete\":true}")
        .await
        .expect("it had not ended");
    ledger
        .end_step(&key, 0, "events", "{\"complete\":true}")
        .await
        .expect("the same");
    assert!(matches!(
        ledger.end_step(&key, 0, "events", "{}").await,
        Err(LedgerError::StepHasEnded { .. })
    ));
    assert!(matches!(
        ledger.add_page(&key, 0, &page(1, None)).await,
        Err(LedgerError::StepHasEnded { .. })
    ));
    ledger
        .add_page(&key, 0, &page(0, None))
        .await
        .expect("the same page again is fine");
    let ended = EndedStep {
        step: "events".to_owned(),
        outcome: "{\"complete\":true}".to_owned(),
    };
    assert_eq!(ledger.ended_steps(&key).await.expect("a database"), [ended]);
    let unknown = PassKey { pass: 1, ..key };
    assert!(matches!(
        ledger.end_step(&unknown, 0, "events", "{}").await,
        Err(LedgerError::UnknownPass(_))
    ));
}

/// A worker has lost its lease and does not know it.
pub(super) async fn lost_lease_writes_nothing(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let (first, second) = (lease(&ledger, &key).await, lease(&ledger, &key).await);
    assert_eq!((first, second), (1, 2));
    let is_refused = |done: Result<(), LedgerError>| {
        matches!(
            done,
            Err(LedgerError::LeaseLost {
                token: 1,
                last: 2,
                ..
            })
        )
    };
    assert!(is_refused(
        ledger.add_page(&key, first, &page(0, None)).await
    ));
    assert!(is_refused(
        ledger.end_step(&key, first, "events", "{}").await
    ));
    assert!(is_refused(ledger.set_captured(&key, first).await));
    assert!(is_refused(ledger.set_failed(&key, first).await));
    let hour = Duration::from_secs(3600);
    assert!(
        !ledger
            .renew_lease(&key, first, hour)
            .await
            .expect("a database")
    );
    assert_eq!(
        ledger
            .pages(&key, "events", 0, 10)
            .await
            .expect("a database"),
        []
    );
    assert_eq!(ledger.ended_steps(&key).await.expect("a database"), []);
    ledger
        .add_page(&key, second, &page(0, None))
        .await
        .expect("it has the lease");
    ledger
        .end_step(&key, second, "events", "{}")
        .await
        .expect("it has the lease");
    assert!(
        ledger
            .renew_lease(&key, second, hour)
            .await
            .expect("a database")
    );
    let row = ledger
        .pass(&key)
        .await
        .expect("a database")
        .expect("it was added");
    assert_eq!((row.state(), row.fencing_token), (PassState::Capturing, 2));
}
