//! Incidents and their journals.

use crate::ledger::{Entry, Ledger, LedgerError};
use crate::testing::{at, declare, entry, incident};

pub(super) async fn a_journal_is_appended_to_in_order(ledger: Ledger) {
    let id = declare(&ledger, "INC-1").await;
    let more = [
        entry("a"),
        Entry {
            at: at(5),
            by: "é \"quoted\"".to_owned(),
            body: "{\"n\":1.0}".to_owned(),
        },
    ];
    ledger
        .append(&id, 1, &more)
        .await
        .expect("nobody else has appended");
    let rows = ledger.entries(&id, 0).await.expect("a database");
    assert_eq!(
        rows.iter().map(|row| row.seq).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert_eq!(rows[0].entry, entry("declared"));
    assert_eq!(
        rows[1..]
            .iter()
            .map(|row| row.entry.clone())
            .collect::<Vec<_>>(),
        more
    );
    assert_eq!(ledger.entries(&id, 2).await.expect("a database"), rows[2..]);
    assert!(matches!(
        ledger.append(&incident("INC-2"), 0, &more).await,
        Err(LedgerError::UnknownIncident(_))
    ));
    assert!(
        ledger
            .entries(&incident("INC-2"), 0)
            .await
            .expect("a database")
            .is_empty()
    );
}

pub(super) async fn the_same_key_declares_one_incident(ledger: Ledger) {
    let declared: Vec<_> = (0..8)
        .map(|n| {
            let ledger = ledger.clone();
            let name = incident(&format!("INC-{n}"));
            tokio::spawn(async move {
                ledger
                    .declare(&name, &[entry("declared")], Some("webhook 1"))
                    .await
            })
        })
        .collect();
    let mut answers = Vec::new();
    for one in declared {
        answers.push(one.await.expect("no panic").expect("a database"));
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_new).count(), 1);
    assert!(
        answers
            .iter()
            .all(|answer| answer.incident == answers[0].incident),
        "{answers:?}"
    );
    assert_eq!(
        ledger.incidents().await.expect("a database"),
        [answers[0].incident.clone()]
    );
    assert_eq!(
        ledger
            .entries(&answers[0].incident, 0)
            .await
            .expect("a database")
            .len(),
        1
    );

    let other = ledger
        .declare(&incident("INC-9"), &[entry("declared")], Some("webhook 2"))
        .await
        .expect("another key");
    assert!(other.is_new);
    let taken = ledger
        .declare(&incident("INC-9"), &[entry("declared")], Some("webhook 3"))
        .await;
    assert!(
        matches!(taken, Err(LedgerError::IncidentExists(_))),
        "{taken:?}"
    );
    let taken = ledger
        .declare(&incident("INC-9"), &[entry("declared")], None)
        .await;
    assert!(
        matches!(taken, Err(LedgerError::IncidentExists(_))),
        "{taken:?}"
    );
}

pub(super) async fn what_was_remembered_is_found_by_its_key(ledger: Ledger) {
    let declared = ledger
        .declare(&incident("INC-1"), &[entry("declared")], Some("webhook 1"))
        .await
        .expect("a database");
    let other = declare(&ledger, "INC-2").await;
    ledger
        .remember("message 7", &declared.incident)
        .await
        .expect("a database");
    ledger
        .remember("message 7", &other)
        .await
        .expect("a database");
    let found = async |key: &str| ledger.declared_by_key(key).await.expect("a database");
    assert_eq!(found("webhook 1").await, Some(declared.incident.clone()));
    assert_eq!(
        found("message 7").await,
        Some(declared.incident),
        "the first one stays"
    );
    assert_eq!(found("message 8").await, None);
    let unknown = ledger.remember("message 9", &incident("INC-9")).await;
    assert!(
        matches!(unknown, Err(LedgerError::UnknownIncident(_))),
        "{unknown:?}"
    );
}

pub(super) async fn one_of_many_appends_wins(ledger: Ledger) {
    let id = declare(&ledger, "INC-1").await;
    let appends: Vec<_> = (0..8)
        .map(|n| {
            let (ledger, id) = (ledger.clone(), id.clone());
            tokio::spawn(async move {
                ledger
                    .append(&id, 1, &[entry(&format!("{n}")), entry("more")])
                    .await
            })
        })
        .collect();
    let mut won = 0;
    for append in appends {
        match append.await.expect("no panic") {
            Ok(()) => won += 1,
            Err(LedgerError::Contended {
                expected: 1,
                found: 3,
                ..
            }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(ledger.entries(&id, 0).await.expect("a database").len(), 3);
}

pub(super) async fn numbers_are_drawn_once(ledger: Ledger) {
    declare(&ledger, "INC-2026-002").await;
    let mut drawn = Vec::new();
    let draws: Vec<_> = (0..8)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.next_incident("INC-2026-").await })
        })
        .collect();
    for draw in draws {
        drawn.push(
            draw.await
                .expect("no panic")
                .expect("a database")
                .to_string(),
        );
    }
    drawn.sort();
    assert_eq!(
        drawn[..3],
        ["INC-2026-001", "INC-2026-003", "INC-2026-004"],
        "002 is taken"
    );
    drawn.dedup();
    assert_eq!(drawn.len(), 8);
    assert_eq!(
        ledger
            .next_incident("DRILL-")
            .await
            .expect("a database")
            .as_str(),
        "DRILL-001"
    );
    assert!(matches!(
        ledger.next_incident("../").await,
        Err(LedgerError::IncidentPrefix(_))
    ));
}

pub(super) async fn incidents_are_listed_newest_first(ledger: Ledger) {
    for (name, seconds) in [("INC-1", 5), ("INC-3", 1), ("INC-2", 9)] {
        let first = Entry {
            at: at(seconds),
            ..entry("declared")
        };
        ledger
            .declare(&incident(name), &[first], None)
            .await
            .expect("a free name");
    }
    let listed = ledger.incidents().await.expect("a database");
    assert_eq!(
        listed,
        [incident("INC-2"), incident("INC-1"), incident("INC-3")]
    );
}
