//! The timeline.

use evidence_format::digest::Digest;

use crate::ledger::{Fact, FactFilter, FactRow, Ledger, LedgerError};
use crate::testing::{add_bundle, add_pass, at, incident};

fn fact(record: u64, seconds: i64, event_id: Option<&str>) -> Fact {
    Fact {
        item: "okta-log".parse().expect("an item name"),
        record,
        time: at(seconds),
        kind: "okta.session.start".to_owned(),
        summary: format!("record {record}"),
        event_id: event_id.map(str::to_owned),
    }
}

fn records(rows: &[FactRow]) -> Vec<u64> {
    rows.iter().map(|row| row.fact.record).collect()
}

pub(super) async fn timeline_is_paged_in_order(ledger: Ledger) {
    let pass = add_pass(&ledger, "INC-1", 0).await;
    let bundle = add_bundle(&ledger, &pass).await;
    let other = add_bundle(&ledger, &add_pass(&ledger, "INC-2", 0).await).await;
    let facts: Vec<_> = (0..1203)
        .map(|n| fact(n, i64::try_from(n * 7919 % 401).expect("small"), None))
        .collect();
    ledger
        .add_facts(&bundle.id, &facts)
        .await
        .expect("a committed bundle");
    ledger
        .add_facts(&bundle.id, &facts[..900])
        .await
        .expect("they are there already");
    ledger
        .add_facts(&other.id, &facts[..3])
        .await
        .expect("a committed bundle");

    let mut sorted = facts.clone();
    sorted.sort_by_key(|fact| (fact.time, fact.record));
    let (mut rows, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = ledger
            .facts(
                &incident("INC-1"),
                &FactFilter::default(),
                after.as_ref(),
                401,
            )
            .await
            .expect("a database");
        rows.extend(page.facts);
        pages += 1;
        let Some(next) = page.next else { break };
        after = Some(next.to_string().parse().expect("its own text"));
    }
    assert_eq!(
        pages, 3,
        "1203 is three times 401, and nothing is asked for after the last"
    );
    assert_eq!(
        rows.iter().map(|row| row.fact.clone()).collect::<Vec<_>>(),
        sorted
    );
    assert!(
        rows.iter()
            .all(|row| row.bundle == bundle.id && row.pass == pass)
    );
    assert!(matches!(
        ledger.add_facts(&Digest::of(b""), &facts).await,
        Err(LedgerError::UnknownBundle(_))
    ));
}

pub(super) async fn timeline_is_filtered(ledger: Ledger) {
    let bundle = add_bundle(&ledger, &add_pass(&ledger, "INC-1", 0).await).await;
    let mut facts: Vec<_> = (0..6)
        .map(|n| fact(n, i64::try_from(n).expect("small"), None))
        .collect();
    facts[1].kind = "okta.session.end".to_owned();
    facts[2].kind = "aws.iam.create".to_owned();
    facts[3].summary = "100% of A_B \\ Ünder".to_owned();
    facts[4].kind = "OKTA.session".to_owned();
    ledger
        .add_facts(&bundle.id, &facts)
        .await
        .expect("a committed bundle");
    let all = FactFilter::default();
    for (filter, expected) in [
        (all.clone(), vec![0, 1, 2, 3, 4, 5]),
        (
            FactFilter {
                from: Some(at(2)),
                until: Some(at(5)),
                ..all.clone()
            },
            vec![2, 3, 4],
        ),
        (
            FactFilter {
                kind_prefix: "okta.".to_owned(),
                ..all.clone()
            },
            vec![0, 1, 3, 5],
        ),
        (
            FactFilter {
                kind_prefix: "okta.session.e".to_owned(),
                ..all.clone()
            },
            vec![1],
        ),
        (
            FactFilter {
                kind_prefix: "_kta".to_owned(),
                ..all.clone()
            },
            vec![],
        ),
        (
            FactFilter {
                contains: "RECORD 5".to_owned(),
                ..all.clone()
            },
            vec![5],
        ),
        (
            FactFilter {
                contains: "0% of a_b \\".to_owned(),
                ..all.clone()
            },
            vec![3],
        ),
        (
            FactFilter {
                contains: "a%b".to_owned(),
                ..all.clone()
            },
            vec![],
        ),
        (
            FactFilter {
                contains: "Ünd".to_owned(),
                ..all.clone()
            },
            vec![3],
        ),
        (
            FactFilter {
                contains: "ünd".to_owned(),
                ..all.clone()
            },
            vec![],
        ),
        (
            FactFilter {
                source: Some("okta".to_owned()),
                from: Some(at(5)),
                ..all.clone()
            },
            vec![5],
        ),
        (
            FactFilter {
                source: Some("entra".to_owned()),
                ..all.clone()
            },
            vec![],
        ),
    ] {
        let page = ledger
            .facts(&incident("INC-1"), &filter, None, 100)
            .await
            .expect("a database");
        assert_eq!(records(&page.facts), expected, "{filter:?}");
        assert_eq!(page.next, None);
    }
}

pub(super) async fn hostile_texts_are_truncated(ledger: Ledger) {
    let bundle = add_bundle(&ledger, &add_pass(&ledger, "INC-1", 0).await).await;
    let long = "\u{1f4a3}".repeat(100_000);
    let times =
        ["0001-01-01T00:00:00Z", "9998-12-31T23:59:59Z"].map(|text| text.parse().expect("a time"));
    let facts = times.map(|time| Fact {
        time,
        record: u64::from(time > at(0)),
        kind: format!("a\0{long}"),
        summary: format!("\0{long}"),
        event_id: Some(long.clone()),
        ..fact(0, 0, None)
    });
    ledger
        .add_facts(&bundle.id, &facts)
        .await
        .expect("nothing of it is refused");
    let page = ledger
        .facts(&incident("INC-1"), &FactFilter::default(), None, 100)
        .await
        .expect("a database");
    assert_eq!(records(&page.facts), [0, 1], "the oldest first");
    for row in page.facts {
        assert!(row.fact.kind.starts_with("a\u{fffd}\u{1f4a3}") && row.fact.kind.len() <= 130);
        assert!(row.fact.summary.len() <= 4098);
        assert_eq!(
            row.fact.event_id,
            Some(Digest::of(long.as_bytes()).to_string())
        );
    }
}

pub(super) async fn bundles_are_compared_by_event_ids(ledger: Ledger) {
    let mut bundles = Vec::new();
    let found: [&[(u64, i64, &str)]; 3] = [
        &[(0, 10, "a"), (1, 11, "b"), (2, 500, "old")],
        &[(0, 12, "c"), (1, 11, "b")],
        &[
            (0, 10, "a"),
            (1, 13, "late"),
            (2, 13, "late"),
            (3, 9, "later"),
        ],
    ];
    for (pass, events) in (0..).zip(found) {
        let key = add_pass(&ledger, "INC-1", pass).await;
        let bundle = add_bundle(&ledger, &key).await;
        let mut facts: Vec<_> = events
            .iter()
            .map(|(record, seconds, id)| fact(*record, *seconds, Some(id)))
            .collect();
        facts.push(fact(99, 10, None));
        ledger
            .add_facts(&bundle.id, &facts)
            .await
            .expect("a committed bundle");
        bundles.push(bundle);
    }
    let (window, item) = (at(0)..=at(100), fact(0, 0, None).item);
    let compared = ledger
        .compare_bundle(&bundles[2], &item, window.clone(), 10)
        .await
        .expect("a database");
    let ids = |rows: &[FactRow]| {
        rows.iter()
            .map(|row| row.fact.event_id.clone().expect("compared by it"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ids(&compared.late),
        ["later", "late", "late"],
        "each record, by time"
    );
    assert_eq!(compared.late_count, 2, "each event");
    assert_eq!(
        ids(&compared.missing),
        ["b", "b", "c"],
        "what is outside the window is not gone"
    );
    assert_eq!(compared.missing_count, 2);

    let compared = ledger
        .compare_bundle(&bundles[2], &item, window, 1)
        .await
        .expect("a database");
    assert_eq!(
        (ids(&compared.late).len(), compared.late_count),
        (1, 2),
        "all are counted, some are shown"
    );
    let compared = ledger
        .compare_bundle(&bundles[1], &item, at(0)..=at(1000), 10)
        .await
        .expect("a database");
    assert_eq!(
        (ids(&compared.late), ids(&compared.missing)),
        (vec!["c".to_owned()], vec!["a".to_owned(), "old".to_owned()])
    );
    let other = "another-item".parse().expect("a name");
    let compared = ledger
        .compare_bundle(&bundles[1], &other, at(0)..=at(1000), 10)
        .await
        .expect("a database");
    assert_eq!(
        (compared.late_count, compared.missing_count),
        (0, 0),
        "items are compared with those of their name"
    );
}
