//! Incidents, their journals and their overviews.

use std::sync::atomic::{AtomicUsize, Ordering};

use domain::incident::{
    CommandError, Incident, IncidentEvent, IncidentOverview, IncidentStatus, JournalEntry, Line,
    Name, PassKind, Severity, SourceName,
};
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

use super::run_sql;
use crate::ledger::{
    DeclaredIncident, KeyChange, Ledger, LedgerError, NewIncident, NewIncidentId, NewJournalEntry,
    OverviewQuery, PassKey, PassState,
};
use crate::testing::{at, declaration, declare, entry, incident, new_incident, new_pass};

fn next(prefix: &str) -> NewIncidentId {
    NewIncidentId::Next(prefix.to_owned())
}

fn given(name: &str) -> NewIncidentId {
    NewIncidentId::Given(incident(name))
}

async fn try_declare(
    ledger: &Ledger,
    id: NewIncidentId,
    key: Option<&str>,
) -> Result<DeclaredIncident, LedgerError> {
    ledger.declare(&id, key, |id| Ok(new_incident(id))).await
}

async fn all_overviews(ledger: &Ledger) -> Vec<IncidentOverview> {
    let wanted = OverviewQuery {
        limit: 100,
        ..OverviewQuery::default()
    };
    ledger.overviews(&wanted).await.expect("a database")
}

fn ids(overviews: &[IncidentOverview]) -> Vec<&str> {
    overviews.iter().map(|one| one.id.as_str()).collect()
}

pub(super) async fn journal_keeps_entries_in_order(ledger: Ledger) {
    let id = declare(&ledger, "INC-1").await;
    let journal = ledger.journal(&id);
    let more = [
        entry("a"),
        NewJournalEntry {
            at: at(5),
            by: Name::escaped("é \"quoted\""),
            ..entry("{\"n\":1.0}")
        },
    ];
    journal
        .append_at(1, &more, &[])
        .await
        .expect("nobody else has appended");
    journal
        .append(&[entry("wherever it ends")])
        .await
        .expect("it is declared");
    let rows = journal.entries().await.expect("a database");
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row.seq, row.at, row.by.clone(), row.event.clone()))
        .collect();
    let written = [declaration(&id, at(0))].into_iter().chain(more.clone());
    let written: Vec<_> = (1..)
        .zip(written.chain([entry("wherever it ends")]))
        .map(|(seq, new)| (seq, new.at, new.by, new.event))
        .collect();
    assert_eq!(found, written);
    assert_eq!(
        journal.entries_after(2).await.expect("a database"),
        rows[2..]
    );
    assert_eq!(journal.entries_after(4).await.expect("a database"), []);
    assert_eq!(journal.incident().await.expect("good entries").seq, 4);

    let unknown = ledger.journal(&incident("INC-2"));
    for refused in [
        unknown.append(&more).await,
        unknown.append_at(0, &more, &[]).await,
        unknown.incident().await.map(drop),
        unknown.rebuild_overview().await.map(drop),
    ] {
        assert!(
            matches!(refused, Err(LedgerError::UnknownIncident(_))),
            "{refused:?}"
        );
    }
    assert_eq!(unknown.entries().await.expect("a database"), []);
}

pub(super) async fn same_key_declares_one_incident(ledger: Ledger) {
    let declared: Vec<_> = (0..8)
        .map(|n| {
            let ledger = ledger.clone();
            let id = given(&format!("INC-{n}"));
            tokio::spawn(async move { try_declare(&ledger, id, Some("webhook 1")).await })
        })
        .collect();
    let mut answers = Vec::new();
    for one in declared {
        answers.push(one.await.expect("no panic").expect("a database"));
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_new).count(), 1);
    let id = &answers[0].incident;
    assert!(
        answers.iter().all(|answer| answer.incident == *id),
        "{answers:?}"
    );
    assert_eq!(ids(&all_overviews(&ledger).await), [id.as_str()]);
    let entries = ledger.journal(id).entries().await.expect("a database");
    assert_eq!(entries.len(), 1);

    let other = try_declare(&ledger, given("INC-9"), Some("webhook 2")).await;
    assert!(other.expect("another key").is_new);
    for key in [Some("webhook 3"), None] {
        let taken = try_declare(&ledger, given("INC-9"), key).await;
        assert!(
            matches!(taken, Err(LedgerError::IncidentExists(_))),
            "{taken:?}"
        );
    }
    assert_eq!(
        ledger
            .incident_by_key("webhook 3")
            .await
            .expect("a database"),
        None,
        "a refused declaration is not remembered"
    );
}

pub(super) async fn same_key_at_once_draws_one_number(ledger: Ledger) {
    let declared: Vec<_> = (0..8)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move { try_declare(&ledger, next("INC-"), Some("webhook 1")).await })
        })
        .collect();
    let mut new = 0;
    for one in declared {
        let answer = one.await.expect("no panic").expect("a database");
        assert_eq!(answer.incident.as_str(), "INC-001");
        new += usize::from(answer.is_new);
    }
    assert_eq!(new, 1);
    let second = try_declare(&ledger, next("INC-"), None).await;
    assert_eq!(second.expect("a database").incident.as_str(), "INC-002");
}

pub(super) async fn remembered_key_finds_its_incident(ledger: Ledger) {
    let declared = try_declare(&ledger, given("INC-1"), Some("webhook 1"))
        .await
        .expect("a database");
    let other = declare(&ledger, "INC-2").await;
    for id in [&declared.incident, &other] {
        ledger
            .remember_key("message 7", id)
            .await
            .expect("a database");
    }
    let found = async |key: &str| ledger.incident_by_key(key).await.expect("a database");
    assert_eq!(found("webhook 1").await, Some(declared.incident.clone()));
    assert_eq!(
        found("message 7").await,
        Some(declared.incident),
        "the first one stays"
    );
    assert_eq!(found("message 8").await, None);
    let unknown = ledger.remember_key("message 9", &incident("INC-9")).await;
    assert!(
        matches!(unknown, Err(LedgerError::UnknownIncident(_))),
        "{unknown:?}"
    );
}

pub(super) async fn key_is_changed_by_one_of_two_writers(ledger: Ledger) {
    let first = try_declare(&ledger, given("INC-1"), Some("group")).await;
    let first = first.expect("a database").incident;
    let second = declare(&ledger, "INC-2").await;
    let found = async |key: &str| ledger.incident_by_key(key).await.expect("a database");
    let moved = async |id: &IncidentId| ledger.move_key("group", "before", id).await;
    moved(&second).await.expect("a database");
    assert_eq!(found("group").await, Some(first.clone()), "not its key");
    moved(&first).await.expect("a database");
    assert_eq!(
        (found("group").await, found("before").await),
        (None, Some(first.clone()))
    );
    // The group has another incident by now; a late writer still moves the first one's key.
    ledger
        .remember_key("group", &second)
        .await
        .expect("a database");
    moved(&first).await.expect("a database");
    assert_eq!(found("group").await, Some(second.clone()));
    for (from, expected) in [(&second, &first), (&first, &second)] {
        let relinked = ledger.relink_key("before", from, &second).await;
        relinked.expect("a database");
        assert_eq!(found("before").await.as_ref(), Some(expected));
    }
}

pub(super) async fn entries_with_their_key_are_appended_once(ledger: Ledger) {
    let id = declare(&ledger, "INC-1").await;
    let other = declare(&ledger, "INC-2").await;
    ledger
        .remember_key("firing", &id)
        .await
        .expect("a database");
    ledger
        .remember_key("of another", &other)
        .await
        .expect("a database");
    let once = [KeyChange::Once("delivery"), KeyChange::Link("linked")];
    let take = [KeyChange::Take("firing"), KeyChange::Forget("of another")];
    for keys in [once, take] {
        let decisions: Vec<_> = (0..8)
            .map(|_| {
                let journal = ledger.journal(&id);
                tokio::spawn(async move {
                    let note = |_: &Incident, _: &[JournalEntry], _| Ok(vec![entry("note").event]);
                    journal
                        .decide(&Name::escaped("Ann"), || at(7), &keys, note)
                        .await
                })
            })
            .collect();
        let mut appended = 0;
        for decision in decisions {
            appended += decision.await.expect("no panic").expect("a database").len();
        }
        assert_eq!(appended, 1, "{keys:?}");
    }
    let journal = ledger.journal(&id);
    assert_eq!(journal.entries().await.expect("a database").len(), 3);
    let found = async |key: &str| ledger.incident_by_key(key).await.expect("a database");
    for (key, expected) in [
        ("delivery", Some(&id)),
        ("linked", Some(&id)),
        ("firing", None),
        ("of another", Some(&other)),
    ] {
        assert_eq!(found(key).await.as_ref(), expected, "{key}");
    }
    // A decision for nothing changes no key.
    let ann = Name::escaped("Ann");
    let nothing = journal.decide(
        &ann,
        || at(7),
        &[KeyChange::Link("none")],
        |_, _, _| Ok(Vec::new()),
    );
    assert_eq!(nothing.await.expect("a database"), []);
    assert_eq!(found("none").await, None);
}

pub(super) async fn declaration_takes_over_its_other_keys(ledger: Ledger) {
    let earlier = declare(&ledger, "INC-1").await;
    ledger
        .remember_key("start", &earlier)
        .await
        .expect("a database");
    let open = |id: &IncidentId| {
        Ok(NewIncident {
            other_keys: vec!["start".to_owned()],
            ..new_incident(id)
        })
    };
    let declared = ledger.declare(&given("INC-2"), None, open).await;
    let declared = declared.expect("a database").incident;
    let found = ledger.incident_by_key("start").await.expect("a database");
    assert_eq!(found, Some(declared));
}

pub(super) async fn only_one_of_many_decisions_is_appended(ledger: Ledger) {
    let id = declare(&ledger, "INC-1").await;
    let appends: Vec<_> = (0..8)
        .map(|n| {
            let (journal, id) = (ledger.journal(&id), id.clone());
            tokio::spawn(async move {
                let pass = crate::ledger::NewPass {
                    key: PassKey {
                        incident: id,
                        source: "okta".to_owned(),
                        pass: n,
                    },
                    ..new_pass("INC-1", 0)
                };
                let entries = [entry(&format!("{n}")), entry("more")];
                journal.append_at(1, &entries, &[pass]).await
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
    let entries = ledger.journal(&id).entries().await.expect("a database");
    assert_eq!(entries.len(), 3);
    let passes = ledger.passes(&id).await.expect("a database");
    assert_eq!(passes.len(), 1, "the others' passes are not added either");
}

pub(super) async fn no_append_at_end_is_lost(ledger: Ledger) {
    let id = declare(&ledger, "INC-1").await;
    let appends: Vec<_> = (0..8)
        .map(|n| {
            let journal = ledger.journal(&id);
            tokio::spawn(async move { journal.append(&[entry(&format!("{n}"))]).await })
        })
        .collect();
    for append in appends {
        append.await.expect("no panic").expect("it waits its turn");
    }
    let entries = ledger.journal(&id).entries().await.expect("a database");
    assert_eq!(
        entries.iter().map(|row| row.seq).collect::<Vec<_>>(),
        (1..=9).collect::<Vec<_>>()
    );
    let mut notes: Vec<_> = entries[1..].iter().map(|row| row.event.clone()).collect();
    for n in 0..8 {
        let note = entry(&n.to_string()).event;
        assert!(notes.contains(&note), "{n}");
        notes.retain(|other| *other != note);
    }
    assert_eq!(notes, [], "each once");
}

pub(super) async fn decision_is_made_again_on_changed_incident(ledger: Ledger) {
    let id = declare(&ledger, "INC-1").await;
    let decisions: Vec<_> = (0..8)
        .map(|_| {
            let journal = ledger.journal(&id);
            tokio::spawn(async move {
                let decide = |seen: &Incident, _: &[JournalEntry], _| {
                    Ok::<_, CommandError>(vec![IncidentEvent::Renamed {
                        from: seen.name.clone(),
                        to: Name::escaped(&format!("{}+", seen.name.as_str())),
                    }])
                };
                journal
                    .decide(&Name::escaped("Ann"), || at(7), &[], decide)
                    .await
            })
        })
        .collect();
    for decision in decisions {
        decision.await.expect("no panic").expect("a good decision");
    }
    let found = ledger.journal(&id).incident().await.expect("good entries");
    assert_eq!(
        (found.name.as_str(), found.seq, found.changed_at),
        ("Leaked key++++++++", 9, at(7)),
        "each was decided on what the one before had done"
    );
}

pub(super) async fn refused_decision_changes_nothing(ledger: Ledger) {
    let id = declare(&ledger, "INC-1").await;
    let journal = ledger.journal(&id);
    let refused = journal
        .decide(
            &Name::escaped("Ann"),
            || at(7),
            &[],
            |_, _, _| Err(refusal()),
        )
        .await;
    assert!(
        matches!(refused, Err(LedgerError::Refused(_))),
        "{refused:?}"
    );
    assert_eq!(journal.entries().await.expect("a database").len(), 1);
}

pub(super) async fn numbers_are_drawn_once_without_holes(ledger: Ledger) {
    declare(&ledger, "INC-2026-002").await;
    let declared: Vec<_> = (0..8)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move { try_declare(&ledger, next("INC-2026-"), None).await })
        })
        .collect();
    let mut drawn = Vec::new();
    for one in declared {
        let answer = one.await.expect("no panic").expect("a database");
        assert!(answer.is_new);
        drawn.push(answer.incident.to_string());
    }
    drawn.sort();
    let expected = [1, 3, 4, 5, 6, 7, 8, 9].map(|n| format!("INC-2026-{n:03}"));
    assert_eq!(drawn, expected, "002 is taken");
    let drill = try_declare(&ledger, next("DRILL-"), None).await;
    assert_eq!(drill.expect("a database").incident.as_str(), "DRILL-001");
    let refused = try_declare(&ledger, next("../"), None).await;
    assert!(
        matches!(refused, Err(LedgerError::InvalidPrefix(_))),
        "{refused:?}"
    );
}

pub(super) async fn repeated_declaration_draws_no_number(ledger: Ledger) {
    for attempt in 0..3 {
        let answer = try_declare(&ledger, next("INC-"), Some("webhook 1"))
            .await
            .expect("a database");
        let expected = DeclaredIncident {
            incident: incident("INC-001"),
            is_new: attempt == 0,
        };
        assert_eq!(answer, expected);
    }
    let second = try_declare(&ledger, next("INC-"), Some("webhook 2")).await;
    assert_eq!(second.expect("a database").incident.as_str(), "INC-002");
}

fn refusal() -> CommandError {
    CommandError::ReasonMissing { what: "this" }
}

pub(super) async fn refused_declaration_draws_no_number(ledger: Ledger) {
    for key in [None, Some("webhook 1")] {
        let refused = ledger.declare(&next("INC-"), key, |_| Err(refusal())).await;
        assert!(
            matches!(refused, Err(LedgerError::Refused(_))),
            "{refused:?}"
        );
    }
    assert_eq!(all_overviews(&ledger).await, []);
    let first = try_declare(&ledger, next("INC-"), Some("webhook 1")).await;
    let first = first.expect("its key is free");
    assert_eq!((first.incident.as_str(), first.is_new), ("INC-001", true));
}

pub(super) async fn declaration_adds_its_passes(ledger: Ledger) {
    let calls = AtomicUsize::new(0);
    let open = |id: &IncidentId| {
        calls.fetch_add(1, Ordering::SeqCst);
        Ok(NewIncident {
            entries: vec![declaration(id, at(3)), entry("planned")],
            passes: vec![new_pass(id.as_str(), 0), new_pass(id.as_str(), 1)],
            other_keys: Vec::new(),
        })
    };
    let declared = ledger.declare(&next("INC-"), Some("key"), open).await;
    let id = declared.expect("a database").incident;
    let states = |rows: Vec<crate::ledger::PassRow>| {
        rows.iter()
            .map(|row| (row.key.pass, row.state()))
            .collect::<Vec<_>>()
    };
    let waiting = [(0, PassState::Waiting), (1, PassState::Waiting)];
    assert_eq!(
        states(ledger.passes(&id).await.expect("a database")),
        waiting
    );
    let entries = ledger.journal(&id).entries().await.expect("a database");
    assert_eq!(entries.len(), 2);
    assert_eq!(all_overviews(&ledger).await[0].last_seq, 2);
    assert!(calls.load(Ordering::SeqCst) >= 1);
}

async fn declare_at(ledger: &Ledger, name: &str, declared_at: Timestamp) -> IncidentId {
    let open = |id: &IncidentId| {
        Ok(NewIncident {
            entries: vec![declaration(id, declared_at)],
            passes: Vec::new(),
            other_keys: Vec::new(),
        })
    };
    let declared = ledger.declare(&given(name), None, open).await;
    declared.expect("a free name").incident
}

fn status_change(from: IncidentStatus, to: IncidentStatus) -> NewJournalEntry {
    NewJournalEntry {
        at: at(50),
        event: IncidentEvent::StatusChanged {
            from,
            to,
            reason: None,
        },
        ..entry("")
    }
}

pub(super) async fn overviews_are_listed_newest_first(ledger: Ledger) {
    for (name, seconds) in [("INC-1", 5), ("INC-3", 1), ("INC-2", 9), ("INC-4", 5)] {
        declare_at(&ledger, name, at(seconds)).await;
    }
    assert_eq!(
        ids(&all_overviews(&ledger).await),
        ["INC-2", "INC-4", "INC-1", "INC-3"]
    );
    let contained = status_change(IncidentStatus::Investigating, IncidentStatus::Contained);
    for name in ["INC-1", "INC-2"] {
        let journal = ledger.journal(&incident(name));
        journal
            .append(std::slice::from_ref(&contained))
            .await
            .expect("declared");
    }
    let listed = async |status, after: Option<&str>, limit| {
        let wanted = OverviewQuery {
            status,
            after: after.map(incident),
            limit,
        };
        let overviews = ledger.overviews(&wanted).await.expect("a database");
        ids(&overviews).join(" ")
    };
    let contained = Some(IncidentStatus::Contained);
    assert_eq!(listed(None, None, 2).await, "INC-2 INC-4");
    assert_eq!(listed(None, Some("INC-4"), 2).await, "INC-1 INC-3");
    assert_eq!(listed(None, Some("INC-3"), 2).await, "");
    assert_eq!(listed(None, None, 0).await, "");
    assert_eq!(listed(contained, None, 9).await, "INC-2 INC-1");
    assert_eq!(listed(contained, None, 1).await, "INC-2");
    assert_eq!(listed(contained, Some("INC-2"), 9).await, "INC-1");
    assert_eq!(listed(contained, Some("INC-4"), 9).await, "INC-1");
    assert_eq!(
        listed(Some(IncidentStatus::Investigating), None, 9).await,
        "INC-4 INC-3"
    );
    assert_eq!(listed(Some(IncidentStatus::Closed), None, 9).await, "");
    let wanted = OverviewQuery {
        after: Some(incident("INC-9")),
        limit: 9,
        ..OverviewQuery::default()
    };
    let unknown = ledger.overviews(&wanted).await;
    assert!(
        matches!(unknown, Err(LedgerError::UnknownIncident(_))),
        "{unknown:?}"
    );
}

/// An event that the incident allows in its present state, chosen by `random`.
fn any_event(seen: &domain::incident::Incident, random: u64) -> IncidentEvent {
    let line = || Line::escaped("why");
    let source = || "okta".parse::<SourceName>().expect("a source");
    let bundle = Digest::of(&random.to_le_bytes());
    let (from, pass) = (seen.status, random % 7);
    match random % 9 {
        0 => IncidentEvent::Renamed {
            from: seen.name.clone(),
            to: Name::escaped(&format!("name {random}")),
        },
        1 => IncidentEvent::SeverityChanged {
            from: seen.severity,
            to: [Severity::Sev1, Severity::Sev3, Severity::Sev4][(random / 9 % 3) as usize],
            reason: line(),
        },
        2 => IncidentEvent::StatusChanged {
            from,
            to: [
                IncidentStatus::Contained,
                IncidentStatus::Closed,
                IncidentStatus::Investigating,
            ][(random / 9 % 3) as usize],
            reason: Some(line()),
        },
        3 => IncidentEvent::PlayChanged {
            from: seen.play.clone(),
            to: format!("play-{pass}").parse().expect("a play"),
            checklist: Vec::new(),
            reason: line(),
        },
        4 => IncidentEvent::CaptureStarted {
            source: source(),
            pass,
            kind: PassKind::First,
        },
        5 => IncidentEvent::CaptureFailed {
            source: source(),
            pass,
            error: line(),
        },
        6 => IncidentEvent::EvidenceSealed {
            bundle,
            source: source(),
            pass,
            records: random % 1000,
            gaps: random % 3,
            complete: random.is_multiple_of(2),
            provisional_until: random
                .is_multiple_of(4)
                .then(|| at(9000 + pass.cast_signed())),
            duplicate_of: None,
            has_same_pages: false,
        },
        7 => IncidentEvent::Attached {
            bundle,
            name: line(),
            bytes: random % 1000,
            sha256: bundle,
        },
        _ => entry(&random.to_string()).event,
    }
}

pub(super) async fn overview_matches_its_journal(ledger: Ledger) {
    let id = declare(&ledger, "INC-1").await;
    let journal = ledger.journal(&id);
    let mut random = 42_u64;
    for round in 0..60 {
        let mut events = Vec::new();
        let mut seen = journal.incident().await.expect("good entries");
        for _ in 0..=round % 3 {
            // Knuth's linear congruential generator (MMIX)
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let new = NewJournalEntry {
                at: at(round),
                event: any_event(&seen, random >> 33),
                ..entry("")
            };
            let numbered = domain::incident::JournalEntry {
                seq: seen.seq + 1,
                at: new.at,
                by: new.by.clone(),
                event: new.event.clone(),
            };
            seen.apply(&numbered).expect("it follows");
            events.push(new);
        }
        journal.append(&events).await.expect("it is declared");
        let stored = all_overviews(&ledger).await;
        assert_eq!(stored, [IncidentOverview::of(&seen)], "{events:?}");
        let wanted = OverviewQuery {
            status: Some(seen.status),
            limit: 1,
            ..OverviewQuery::default()
        };
        assert_eq!(ledger.overviews(&wanted).await.expect("a database"), stored);
        if round % 10 == 9 {
            let rebuilt = journal.rebuild_overview().await.expect("good entries");
            assert_eq!(stored, [rebuilt]);
        }
    }
}

pub(super) async fn overview_of_another_version_is_rebuilt(ledger: Ledger) {
    let id = declare(&ledger, "INC-1").await;
    let journal = ledger.journal(&id);
    let expected = all_overviews(&ledger).await;
    for garbage in [
        "UPDATE incidents SET overview = 'garbage'",
        "UPDATE incidents SET overview = '{}'",
        "UPDATE incidents SET overview = ''",
    ] {
        run_sql(&ledger, garbage).await;
        assert_eq!(all_overviews(&ledger).await, expected, "{garbage}");
    }
    run_sql(&ledger, "UPDATE incidents SET overview = 'garbage'").await;
    journal
        .append(&[entry("on garbage")])
        .await
        .expect("it is declared");
    assert_eq!(all_overviews(&ledger).await[0].last_seq, 2);
}

/// A newer version has written a row with one more field, and reads it again once this version has
/// appended.
pub(super) async fn overview_of_newer_version_never_goes_stale(ledger: Ledger) {
    let id = declare(&ledger, "INC-1").await;
    let journal = ledger.journal(&id);
    let newer =
        "UPDATE incidents SET overview = REPLACE(overview, '{\"id\"', '{\"newer\":1,\"id\"')";
    run_sql(&ledger, newer).await;
    let contained = status_change(IncidentStatus::Investigating, IncidentStatus::Contained);
    journal.append(&[contained]).await.expect("it is declared");
    run_sql(
        &ledger,
        "UPDATE incidents SET overview = REPLACE(overview, '\"newer\":1,', '')",
    )
    .await;
    let wanted = OverviewQuery {
        status: Some(IncidentStatus::Contained),
        limit: 9,
        ..OverviewQuery::default()
    };
    let listed = ledger.overviews(&wanted).await.expect("a database");
    assert_eq!(ids(&listed), ["INC-1"], "lists by status find it");
    assert_eq!(
        (listed[0].status, listed[0].last_seq),
        (IncidentStatus::Contained, 2)
    );
    journal
        .append(&[entry("goes on")])
        .await
        .expect("nothing is in the way");
    assert_eq!(all_overviews(&ledger).await[0].last_seq, 3);
}
