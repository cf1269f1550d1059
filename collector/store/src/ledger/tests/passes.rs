//! Passes, pages and steps.

use evidence_format::digest::Digest;

use crate::ledger::{
    EndedStep, Fetched, Ledger, LedgerError, NewPass, PageRow, PassKey, PassKind, PassState,
};
use crate::testing::{add_bundle, add_pass, at, incident};

pub(super) async fn a_pass_is_added_once(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let later = NewPass {
        key: key.clone(),
        kind: PassKind::Again,
        due_at: at(99),
        supplements: None,
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
        (row.pass.kind, row.pass.due_at, row.state),
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
        rows.iter().map(|row| row.pass.key.pass).collect::<Vec<_>>(),
        [0, 2, 10]
    );
    assert_eq!(rows[2].pass, settle);

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

pub(super) async fn a_plan_is_set_once(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    ledger
        .set_plan(&key, "{\"steps\":[]}")
        .await
        .expect("it had none");
    ledger
        .set_plan(&key, "{\"steps\":[]}")
        .await
        .expect("the same");
    assert!(matches!(
        ledger.set_plan(&key, "{}").await,
        Err(LedgerError::PlanIsSet(_))
    ));
    let row = ledger
        .pass(&key)
        .await
        .expect("a database")
        .expect("it was added");
    assert_eq!(row.plan.as_deref(), Some("{\"steps\":[]}"));
    let unknown = PassKey { pass: 1, ..key };
    assert!(matches!(
        ledger.set_plan(&unknown, "{}").await,
        Err(LedgerError::UnknownPass(_))
    ));
}

pub(super) async fn only_a_commit_seals_a_pass(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    for state in [PassState::Capturing, PassState::Failed, PassState::Waiting] {
        ledger
            .set_state(&key, state)
            .await
            .expect("it is not sealed");
        assert_eq!(
            ledger
                .pass(&key)
                .await
                .expect("a database")
                .expect("it was added")
                .state,
            state
        );
    }
    assert!(matches!(
        ledger.set_state(&key, PassState::Sealed).await,
        Err(LedgerError::PassIsSealed(_))
    ));
    add_bundle(&ledger, &key).await;
    assert_eq!(
        ledger
            .pass(&key)
            .await
            .expect("a database")
            .expect("it was added")
            .state,
        PassState::Sealed
    );
    assert!(matches!(
        ledger.set_state(&key, PassState::Failed).await,
        Err(LedgerError::PassIsSealed(_))
    ));
    let unknown = PassKey {
        source: "entra".to_owned(),
        ..key
    };
    assert!(matches!(
        ledger.set_state(&unknown, PassState::Failed).await,
        Err(LedgerError::UnknownPass(_))
    ));
}

/// A person stops what waits, and somebody has begun it meanwhile.
pub(super) async fn only_what_waits_is_given_up(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let state = async || {
        ledger
            .pass(&key)
            .await
            .expect("a database")
            .expect("it was added")
            .state
    };
    ledger.begin_pass(&key).await.expect("it is not sealed");
    ledger
        .set_state(&key, PassState::Capturing)
        .await
        .expect("it is not sealed");
    ledger.give_up_waiting(&key).await.expect("a database");
    assert_eq!(state().await, PassState::Capturing);
    ledger
        .set_state(&key, PassState::Waiting)
        .await
        .expect("it is not sealed");
    ledger.give_up_waiting(&key).await.expect("a database");
    assert_eq!(state().await, PassState::Failed);
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
    let fetched = Fetched {
        source: key.source.clone(),
        pass: 0,
        pages: 12,
        bytes: 120,
    };
    assert_eq!(
        ledger.fetched(&key.incident).await.expect("a database"),
        [fetched]
    );
    assert_eq!(
        ledger
            .fetched(&"INC-2".parse().expect("an id"))
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

pub(super) async fn an_ended_step_takes_no_page(ledger: Ledger) {
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
    assert_eq!(ledger.steps_ended(&key).await.expect("a database"), [ended]);
    let unknown = PassKey { pass: 1, ..key };
    assert!(matches!(
        ledger.end_step(&unknown, 0, "events", "{}").await,
        Err(LedgerError::UnknownPass(_))
    ));
}

/// A worker that does not know that its pass was taken from it.
pub(super) async fn whose_pass_was_taken_writes_nothing(ledger: Ledger) {
    let key = add_pass(&ledger, "INC-1", 0).await;
    let (first, second) = (
        ledger.begin_pass(&key).await.expect("new"),
        ledger.begin_pass(&key).await.expect("not sealed"),
    );
    assert_eq!((first, second), (1, 2));
    let is_refused = |done: Result<(), LedgerError>| {
        matches!(
            done,
            Err(LedgerError::PassIsTaken {
                attempt: 1,
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
    assert_eq!(
        ledger
            .pages(&key, "events", 0, 10)
            .await
            .expect("a database"),
        []
    );
    assert_eq!(ledger.steps_ended(&key).await.expect("a database"), []);
    ledger
        .add_page(&key, second, &page(0, None))
        .await
        .expect("it has the pass");
    ledger
        .end_step(&key, second, "events", "{}")
        .await
        .expect("it has the pass");
    let row = ledger
        .pass(&key)
        .await
        .expect("a database")
        .expect("it was added");
    assert_eq!((row.state, row.attempt), (PassState::Capturing, 2));
}
