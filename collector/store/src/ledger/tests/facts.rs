//! Events, objects and edges.

use evidence_derive::{
    ActivityCategory, ActivityEvent, ActivityOutcome, EntityKind, EntityRef, ObservedObject,
};
use evidence_format::coverage::TimeWindow;
use evidence_format::digest::Digest;
use evidence_format::id::ItemName;

use crate::ledger::{
    BundleRow, DerivedFacts, DerivedItem, EventFact, EventFilter, EventRow, Ledger, LedgerError,
    ObjectFact, ObjectRow, RECORDS_LISTED_MAX, RecordPointer, TermRole,
};
use crate::testing::{add_bundle, add_pass, at, event, incident};

fn item() -> ItemName {
    "okta-log".parse().expect("an item name")
}

fn fact(record: u64, seconds: i64, event_id: Option<&str>) -> EventFact {
    EventFact {
        pointer: RecordPointer {
            item: item(),
            record,
        },
        content_digest: Digest::of(&record.to_be_bytes()),
        account: None,
        ordinal: i64::try_from(record).expect("small"),
        kind: "okta.session.start".to_owned(),
        event: ActivityEvent {
            event_id: event_id.map(str::to_owned),
            summary: format!("record {record}"),
            ..event(at(seconds))
        },
    }
}

async fn add(ledger: &Ledger, bundle: &BundleRow, events: &[EventFact]) {
    let facts = DerivedFacts {
        events: events.to_vec(),
        ..DerivedFacts::default()
    };
    let added = ledger.add_facts(&bundle.id, &facts).await;
    added.expect("a committed bundle");
}

async fn read(ledger: &Ledger, filter: &EventFilter) -> Vec<EventRow> {
    let page = ledger.events(&incident("INC-1"), filter, None, 100).await;
    let page = page.expect("a database");
    assert_eq!(page.next, None);
    page.events
}

/// The first record of each row.
fn records(rows: &[EventRow]) -> Vec<u64> {
    rows.iter().map(|row| row.evidence[0].1.record).collect()
}

fn entity(kind: EntityKind, id: &str, name: Option<&str>) -> EntityRef {
    EntityRef {
        kind,
        id: id.to_owned(),
        name: name.map(str::to_owned),
        scope: None,
    }
}

pub(super) async fn timeline_is_paged_in_order(ledger: Ledger) {
    let pass = add_pass(&ledger, "INC-1", 0).await;
    let bundle = add_bundle(&ledger, &pass).await;
    let other = add_bundle(&ledger, &add_pass(&ledger, "INC-2", 0).await).await;
    let facts: Vec<_> = (0..1203)
        .map(|n| fact(n, i64::try_from(n * 7919 % 401).expect("small"), None))
        .collect();
    add(&ledger, &bundle, &facts).await;
    add(&ledger, &bundle, &facts[..900]).await; // they are there already
    add(&ledger, &other, &facts[..3]).await;

    let mut sorted = facts.clone();
    sorted.sort_by_key(|fact| (fact.event.time, fact.ordinal));
    let (mut rows, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = ledger
            .events(
                &incident("INC-1"),
                &EventFilter::default(),
                after.as_ref(),
                401,
            )
            .await
            .expect("a database");
        rows.extend(page.events);
        pages += 1;
        let Some(next) = page.next else { break };
        after = Some(next.to_string().parse().expect("its own text"));
    }
    assert_eq!(
        pages, 3,
        "1203 is three times 401, and nothing is asked for after the last"
    );
    let sorted: Vec<_> = sorted.into_iter().map(|fact| fact.event).collect();
    let read: Vec<_> = rows.iter().map(|row| row.event.clone()).collect();
    assert_eq!(read, sorted);
    assert!(
        rows.iter()
            .all(|row| row.evidence.len() == 1 && row.evidence[0].0 == bundle.id)
    );
    assert!(matches!(
        ledger
            .add_facts(
                &Digest::of(b""),
                &DerivedFacts {
                    events: facts,
                    ..DerivedFacts::default()
                }
            )
            .await,
        Err(LedgerError::UnknownBundle(_))
    ));
}

pub(super) async fn event_has_one_row_with_all_its_records(ledger: Ledger) {
    let first = add_bundle(&ledger, &add_pass(&ledger, "INC-1", 0).await).await;
    let second = add_bundle(&ledger, &add_pass(&ledger, "INC-1", 1).await).await;
    let mut of_other_account = fact(7, 10, Some("a"));
    of_other_account.account = Some("another".to_owned());
    // two pages of one pass deliver "a", and a later pass does so again
    let delivered = [fact(0, 10, Some("a")), fact(1, 10, Some("a"))];
    add(&ledger, &first, &delivered).await;
    add(
        &ledger,
        &second,
        &[fact(5, 10, Some("a")), of_other_account],
    )
    .await;
    // without an id, the same content is the same event
    let mut same_content = fact(3, 20, None);
    add(&ledger, &first, std::slice::from_ref(&same_content)).await;
    same_content.pointer.record = 9;
    let mut other_content = same_content.clone();
    other_content.content_digest = Digest::of(b"another");
    other_content.event.time = at(21);
    add(&ledger, &second, &[same_content, other_content]).await;

    let rows = read(&ledger, &EventFilter::default()).await;
    let evidence: Vec<Vec<(Digest, u64)>> = rows
        .iter()
        .map(|row| {
            let pointers = row.evidence.iter();
            pointers.map(|(id, at)| (*id, at.record)).collect()
        })
        .collect();
    assert_eq!(
        evidence,
        [
            vec![(first.id, 0), (first.id, 1), (second.id, 5)],
            vec![(second.id, 7)],
            vec![(first.id, 3), (second.id, 9)],
            vec![(second.id, 9)],
        ]
    );
    assert_eq!(rows[0].records, 3);
    // the actor of an event that was delivered again is found once
    let by_actor = EventFilter {
        terms: vec![(TermRole::Actor, vec!["ann".to_owned()])],
        ..EventFilter::default()
    };
    assert_eq!(read(&ledger, &by_actor).await, rows);
}

pub(super) async fn row_lists_a_bounded_number_of_records(ledger: Ledger) {
    let bundle = add_bundle(&ledger, &add_pass(&ledger, "INC-1", 0).await).await;
    let many: Vec<_> = (0..250).map(|n| fact(n, 10, Some("a"))).collect();
    add(&ledger, &bundle, &many).await;
    let rows = read(&ledger, &EventFilter::default()).await;
    assert_eq!((rows.len(), rows[0].records), (1, 250));
    assert_eq!(rows[0].evidence.len(), RECORDS_LISTED_MAX as usize);
}

pub(super) async fn event_is_found_by_prefix_of_its_id(ledger: Ledger) {
    let bundle = add_bundle(&ledger, &add_pass(&ledger, "INC-1", 0).await).await;
    let facts: Vec<_> = (0..40).map(|n| fact(n, 10, None)).collect();
    add(&ledger, &bundle, &facts).await;
    let rows = read(&ledger, &EventFilter::default()).await;
    let of = incident("INC-1");
    for row in &rows {
        let prefix = &row.id.as_str()[..10];
        let found = ledger.event(&of, prefix).await.expect("a database");
        assert_eq!(found.as_ref(), Some(row));
    }
    for none in ["", "g", "0\0", &"0".repeat(33), "%"] {
        let found = ledger.event(&of, none).await.expect("a database");
        assert_eq!(found, None, "{none:?}");
    }
    let other = ledger.event(&incident("INC-2"), rows[0].id.as_str()).await;
    assert_eq!(other.expect("a database"), None);
    // 40 ids and 16 digits: one of them begins two ids
    let mut ambiguous = 0;
    for digit in "0123456789abcdef".chars() {
        let found = ledger.event(&of, &digit.to_string()).await;
        ambiguous += usize::from(matches!(found, Err(LedgerError::AmbiguousEvent(_))));
    }
    assert!(ambiguous > 0);
}

pub(super) async fn timeline_is_filtered(ledger: Ledger) {
    let bundle = add_bundle(&ledger, &add_pass(&ledger, "INC-1", 0).await).await;
    let mut facts: Vec<_> = (0..6)
        .map(|n| fact(n, i64::try_from(n).expect("small"), None))
        .collect();
    facts[1].kind = "okta.session.end".to_owned();
    facts[2].kind = "aws.iam.create".to_owned();
    facts[3].event.summary = "100% of A_B \\ Ünder".to_owned();
    facts[4].kind = "OKTA.session".to_owned();
    add(&ledger, &bundle, &facts).await;
    let all = EventFilter::default();
    let of_kind = |prefixes: &[&str]| EventFilter {
        kind_prefixes: prefixes.iter().map(ToString::to_string).collect(),
        ..EventFilter::default()
    };
    let containing = |text: &str| EventFilter {
        contains: text.to_owned(),
        ..EventFilter::default()
    };
    for (filter, expected) in [
        (all.clone(), vec![0, 1, 2, 3, 4, 5]),
        (
            EventFilter {
                from: Some(at(2)),
                until: Some(at(5)),
                ..all.clone()
            },
            vec![2, 3, 4],
        ),
        (of_kind(&["okta."]), vec![0, 1, 3, 5]),
        (of_kind(&["okta.session.e"]), vec![1]),
        (of_kind(&["okta.session.e", "aws."]), vec![1, 2]),
        (of_kind(&["_kta"]), vec![]),
        (containing("RECORD 5"), vec![5]),
        (containing("0% of a_b \\"), vec![3]),
        (containing("a%b"), vec![]),
        (containing("Ünd"), vec![3]),
        (containing("ünd"), vec![]),
        (
            EventFilter {
                source: Some("okta".to_owned()),
                from: Some(at(5)),
                ..all.clone()
            },
            vec![5],
        ),
        (
            EventFilter {
                source: Some("entra".to_owned()),
                ..all.clone()
            },
            vec![],
        ),
    ] {
        assert_eq!(
            records(&read(&ledger, &filter).await),
            expected,
            "{filter:?}"
        );
    }
}

pub(super) async fn events_are_found_by_who_and_what_and_how(ledger: Ledger) {
    let bundle = add_bundle(&ledger, &add_pass(&ledger, "INC-1", 0).await).await;
    let user = |name: &str| entity(EntityKind::User, &format!("arn:user/{name}"), Some(name));
    let mut facts: Vec<_> = (0..5)
        .map(|n| fact(n, i64::try_from(n).expect("small"), None))
        .collect();
    facts[0].event.actor = Some(user("Op-One"));
    facts[0].event.category = ActivityCategory::Access;
    facts[0].event.targets = vec![
        user("victim"),
        entity(EntityKind::Policy, "arn:policy/Admin", Some("Admin")),
    ];
    facts[1].event.actor = Some(user("op-two"));
    facts[1].event.through = vec![entity(EntityKind::Role, "arn:role/Deploy", Some("Deploy"))];
    facts[1].event.outcome = ActivityOutcome::Failure;
    facts[2].event.credential = Some(entity(EntityKind::Credential, "AKIAIOSFODNN7", None));
    facts[2].event.address = Some("203.0.113.7".to_owned());
    facts[2].event.category = ActivityCategory::Read;
    facts[3].event.actor = Some(user("op-one-2"));
    facts[3].event.user_agent = Some("stratus-red-team".to_owned());
    facts[4].event.actor = None;
    facts[4].event.category = ActivityCategory::Read;
    add(&ledger, &bundle, &facts).await;
    let by = |terms: &[(TermRole, &[&str])]| EventFilter {
        terms: terms
            .iter()
            .map(|(role, terms)| (*role, terms.iter().map(ToString::to_string).collect()))
            .collect(),
        ..EventFilter::default()
    };
    for (filter, expected) in [
        (by(&[(TermRole::Actor, &["op-one"])]), vec![0]),
        (by(&[(TermRole::Actor, &["ARN:user/op-one"])]), vec![0]),
        (by(&[(TermRole::Actor, &["deploy"])]), vec![1]),
        (by(&[(TermRole::Actor, &["op-one", "op-two"])]), vec![0, 1]),
        (
            by(&[
                (TermRole::Actor, &["op-one"]),
                (TermRole::Target, &["victim"]),
            ]),
            vec![0],
        ),
        (
            by(&[
                (TermRole::Actor, &["op-two"]),
                (TermRole::Target, &["victim"]),
            ]),
            vec![],
        ),
        (by(&[(TermRole::Target, &["arn:policy/admin"])]), vec![0]),
        (by(&[(TermRole::Target, &["op-one"])]), vec![]),
        (by(&[(TermRole::Credential, &["akiaiosfodnn7"])]), vec![2]),
        (by(&[(TermRole::Address, &["203.0.113.7"])]), vec![2]),
        (by(&[(TermRole::Address, &["203.0.113."])]), vec![]),
        (
            EventFilter {
                categories: vec![ActivityCategory::Read],
                ..EventFilter::default()
            },
            vec![2, 4],
        ),
        (
            EventFilter {
                outcomes: vec![ActivityOutcome::Failure],
                ..by(&[(TermRole::Actor, &["op-two"])])
            },
            vec![1],
        ),
        (
            EventFilter {
                contains: "STRATUS".to_owned(),
                ..EventFilter::default()
            },
            vec![3],
        ),
    ] {
        assert_eq!(
            records(&read(&ledger, &filter).await),
            expected,
            "{filter:?}"
        );
    }
    // pages of a search by name continue where they ended
    let filter = by(&[(TermRole::Actor, &["op-one"])]);
    let more: Vec<_> = (10..30)
        .map(|n| {
            let mut fact = fact(n, 30 - i64::try_from(n).expect("small"), None);
            fact.event.actor = Some(user("op-one"));
            fact
        })
        .collect();
    add(&ledger, &bundle, &more).await;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = ledger
            .events(&incident("INC-1"), &filter, after.as_ref(), 4)
            .await
            .expect("a database");
        found.extend(records(&page.events));
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    let expected: Vec<u64> = [0].into_iter().chain((10..30).rev()).collect();
    assert_eq!(found, expected);
}

pub(super) async fn hostile_texts_are_truncated(ledger: Ledger) {
    let bundle = add_bundle(&ledger, &add_pass(&ledger, "INC-1", 0).await).await;
    let long = format!("a\0{}", "\u{1f4a3}".repeat(100_000));
    let times =
        ["0001-01-01T00:00:00Z", "9998-12-31T23:59:59Z"].map(|text| text.parse().expect("a time"));
    let facts = times.map(|time| {
        let mut fact = fact(u64::from(time > at(0)), 0, None);
        fact.kind = long.clone();
        let everything = entity(EntityKind::User, &long, Some(&long));
        fact.event = ActivityEvent {
            time,
            action: long.clone(),
            summary: long.clone(),
            actor: Some(everything.clone()),
            credential: Some(everything.clone()),
            targets: vec![everything],
            address: Some(long.clone()),
            event_id: Some(format!("{} {long}", fact.pointer.record)),
            ..fact.event
        };
        fact
    });
    add(&ledger, &bundle, &facts).await;
    let object = ObservedObject {
        entity: entity(EntityKind::User, &long, None),
        version: long.clone(),
        created_at: None,
        summary: long.clone(),
    };
    let objects = DerivedFacts {
        objects: vec![ObjectFact {
            pointer: facts[0].pointer.clone(),
            object,
        }],
        ..DerivedFacts::default()
    };
    let added = ledger.add_facts(&bundle.id, &objects).await;
    added.expect("nothing of it is refused");
    let rows = read(&ledger, &EventFilter::default()).await;
    assert_eq!(records(&rows), [0, 1], "the oldest first");
    for row in rows {
        assert!(row.kind.starts_with("a\u{fffd}\u{1f4a3}") && row.kind.len() <= 130);
        assert_eq!(row.event.summary, long, "JSON holds any text");
    }
    let by_actor = EventFilter {
        terms: vec![(TermRole::Actor, vec![long.clone()])],
        ..EventFilter::default()
    };
    assert_eq!(read(&ledger, &by_actor).await.len(), 2);
}

pub(super) async fn derived_items_say_what_was_complete_and_readable(ledger: Ledger) {
    let mut bundles = Vec::new();
    for pass in 0..4 {
        let key = add_pass(&ledger, "INC-1", pass).await;
        bundles.push(add_bundle(&ledger, &key).await);
    }
    let derived = |item: &str, is_complete, seconds, unreadable| DerivedItem {
        item: item.parse().expect("an item name"),
        is_complete,
        asked: Some(TimeWindow {
            from: at(0),
            until: at(seconds),
        }),
        unreadable,
        coverage: None,
    };
    for (bundle, items) in bundles.iter().zip([
        vec![
            derived("okta-log", true, 1, 3),
            derived("other", true, 1, 4),
        ],
        vec![derived("okta-log", true, 2, 0)],
        vec![derived("okta-log", false, 3, 0)],
    ]) {
        for _ in 0..2 {
            let added = ledger.add_derived_items(&bundle.id, &items).await;
            added.expect("a committed bundle");
        }
    }
    let found = ledger.unreadable_records(&incident("INC-1")).await;
    assert_eq!(found.expect("a database"), [(bundles[0].id, 7)]);
    for (bundle, expected) in [(3, Some(1)), (2, Some(1)), (1, Some(0)), (0, None)] {
        let found = ledger.last_complete_item(&bundles[bundle], &item()).await;
        let found = found.expect("a database");
        assert_eq!(
            found.as_ref().map(|found| found.bundle),
            expected.map(|bundle: usize| bundles[bundle].id)
        );
        if let Some(found) = found {
            assert_eq!(u64::from(found.pass), expected.expect("one") as u64);
            assert_eq!(found.asked.map(|window| window.from), Some(at(0)));
        }
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
        facts.push(fact(99 + u64::from(pass), 10, None));
        add(&ledger, &bundle, &facts).await;
        bundles.push(bundle);
    }
    let (window, item) = (at(0)..=at(100), item());
    let compared = ledger
        .compare_bundle(&bundles[2], &item, window.clone(), 10)
        .await
        .expect("a database");
    let ids = |rows: &[EventRow]| {
        rows.iter()
            .map(|row| row.event.event_id.clone().expect("compared by it"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        ids(&compared.late),
        ["later", "late"],
        "each event, by time"
    );
    assert_eq!(
        (compared.late[1].evidence[0].0, records(&compared.late)),
        (bundles[2].id, vec![3, 1]),
        "with its first record"
    );
    assert_eq!(compared.late_count, 2);
    assert_eq!(
        ids(&compared.missing),
        ["b", "c"],
        "what is outside the window is not gone"
    );
    assert_eq!(compared.missing[0].evidence[0].0, bundles[0].id);
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

pub(super) async fn objects_are_compared_by_their_versions(ledger: Ledger) {
    let object = |id: &str, version: &str, created: i64| ObjectFact {
        pointer: RecordPointer {
            item: item(),
            record: 4,
        },
        object: ObservedObject {
            entity: entity(EntityKind::WorkflowRun, id, None),
            version: version.to_owned(),
            created_at: Some(at(created)),
            summary: format!("run {id}"),
        },
    };
    let mut bundles = Vec::new();
    for (pass, objects) in [
        vec![
            object("1", "a", 10),
            object("2", "a", 20),
            object("3", "a", 30),
        ],
        vec![
            object("2", "a", 20),
            object("3", "b", 30),
            object("4", "a", 40),
        ],
    ]
    .into_iter()
    .enumerate()
    {
        let pass = u32::try_from(pass).expect("small");
        let bundle = add_bundle(&ledger, &add_pass(&ledger, "INC-1", pass).await).await;
        let facts = DerivedFacts {
            objects,
            ..DerivedFacts::default()
        };
        for _ in 0..2 {
            let added = ledger.add_facts(&bundle.id, &facts).await;
            added.expect("a committed bundle");
        }
        bundles.push(bundle.id);
    }
    let ids = |rows: &[ObjectRow]| {
        let ids = rows.iter().map(|row| row.object.entity.id.clone());
        ids.collect::<Vec<_>>()
    };
    let found = ledger
        .compare_objects(&bundles[0], &bundles[1], &item(), None, 10)
        .await
        .expect("a database");
    assert_eq!(
        (ids(&found.appeared), found.appeared_count),
        (vec!["4".to_owned()], 1)
    );
    assert_eq!(
        (ids(&found.gone), found.gone_count),
        (vec!["1".to_owned()], 1)
    );
    assert_eq!(
        (found.gone[0].bundle, found.appeared[0].bundle),
        (bundles[0], bundles[1])
    );
    assert_eq!(found.changed_count, 1);
    let changed = &found.changed[0];
    assert_eq!(
        (
            changed.before.version.as_str(),
            changed.now.object.version.as_str()
        ),
        ("a", "b")
    );
    // the later pass asked for what was created from 15 on, the earlier one until 35
    let windows = Some((at(0)..=at(35), at(15)..=at(100)));
    let found = ledger
        .compare_objects(&bundles[0], &bundles[1], &item(), windows, 10)
        .await
        .expect("a database");
    assert_eq!(
        (found.appeared_count, found.gone_count, found.changed_count),
        (0, 0, 1)
    );
    let found = ledger
        .compare_objects(
            &bundles[0],
            &bundles[1],
            &"other".parse().expect("a name"),
            None,
            10,
        )
        .await
        .expect("a database");
    assert_eq!(
        (found.appeared_count, found.gone_count, found.changed_count),
        (0, 0, 0)
    );
}
