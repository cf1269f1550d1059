//! What must hold of the ledger on every database.

mod entries;
mod facts;
mod full;
mod outage;
mod passes;
mod stream;
mod tokens;
mod totals;

use crate::ledger::Ledger;
use crate::testing::{Case, on_postgres, on_sqlite, sqlite, sqlite_url};

/// Each takes a fresh ledger.
pub(crate) const CASES: &[Case<Ledger>] = &[
    ("a journal is appended to in order", |l| {
        Box::pin(entries::a_journal_is_appended_to_in_order(l))
    }),
    ("the same key declares one incident", |l| {
        Box::pin(entries::the_same_key_declares_one_incident(l))
    }),
    ("one of many appends wins", |l| {
        Box::pin(entries::one_of_many_appends_wins(l))
    }),
    ("numbers are drawn once", |l| {
        Box::pin(entries::numbers_are_drawn_once(l))
    }),
    ("incidents are listed newest first", |l| {
        Box::pin(entries::incidents_are_listed_newest_first(l))
    }),
    ("a pass is added once", |l| {
        Box::pin(passes::a_pass_is_added_once(l))
    }),
    ("a plan is set once", |l| {
        Box::pin(passes::a_plan_is_set_once(l))
    }),
    ("only a commit seals a pass", |l| {
        Box::pin(passes::only_a_commit_seals_a_pass(l))
    }),
    ("only what waits is given up", |l| {
        Box::pin(passes::only_what_waits_is_given_up(l))
    }),
    ("pages are added once", |l| {
        Box::pin(passes::pages_are_added_once(l))
    }),
    ("an ended step takes no page", |l| {
        Box::pin(passes::an_ended_step_takes_no_page(l))
    }),
    ("a stream has one bundle at each place", |l| {
        Box::pin(stream::a_stream_has_one_bundle_at_each_place(l))
    }),
    ("one bundle is pending at a time", |l| {
        Box::pin(stream::one_bundle_is_pending_at_a_time(l))
    }),
    ("a commit is all or nothing", |l| {
        Box::pin(stream::a_commit_is_all_or_nothing(l))
    }),
    ("a bundle is found by its beginning", |l| {
        Box::pin(stream::a_bundle_is_found_by_its_beginning(l))
    }),
    ("whose pass was taken writes nothing", |l| {
        Box::pin(passes::whose_pass_was_taken_writes_nothing(l))
    }),
    ("whose pass was taken announces nothing", |l| {
        Box::pin(stream::whose_pass_was_taken_announces_nothing(l))
    }),
    ("a second bundle of a pass says so", |l| {
        Box::pin(stream::a_second_bundle_of_a_pass_says_so(l))
    }),
    ("a key signs for one store", |l| {
        Box::pin(stream::a_key_signs_for_one_store(l))
    }),
    ("many seal in one stream", |l| {
        Box::pin(stream::many_seal_in_one_stream(l))
    }),
    ("a timeline is paged in order", |l| {
        Box::pin(facts::a_timeline_is_paged_in_order(l))
    }),
    ("a timeline is filtered", |l| {
        Box::pin(facts::a_timeline_is_filtered(l))
    }),
    ("hostile texts are kept within bounds", |l| {
        Box::pin(facts::hostile_texts_are_kept_within_bounds(l))
    }),
    ("a token is kept as it was made", |l| {
        Box::pin(tokens::a_token_is_kept_as_it_was_made(l))
    }),
    ("a token is good until it expires or is revoked", |l| {
        Box::pin(tokens::a_token_is_good_until_it_expires_or_is_revoked(l))
    }),
    ("everything is counted", |l| {
        Box::pin(totals::everything_is_counted(l))
    }),
    ("what was remembered is found by its key", |l| {
        Box::pin(entries::what_was_remembered_is_found_by_its_key(l))
    }),
    ("passes are compared by events", |l| {
        Box::pin(facts::passes_are_compared_by_events(l))
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_to_every_case() {
    on_sqlite(CASES, async |url| {
        Ledger::open(&url).await.expect("a fresh database")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_to_every_case() {
    on_postgres(CASES, async |url| {
        Ledger::open(&url).await.expect("a fresh database")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_open_one_sqlite_at_once() {
    let (first, folder) = sqlite().await;
    first.close().await;
    std::fs::remove_file(folder.path().join("exhibit.db"))
        .expect("the database is one file when it is closed");
    let url = sqlite_url(&folder);
    let opened: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn({
                let url = url.clone();
                async move { Ledger::open(&url).await }
            })
        })
        .collect();
    for ledger in opened {
        ledger
            .await
            .expect("no panic")
            .expect("all of them open it");
    }
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    for url in [
        "",
        "mysql://db/exhibit",
        "/var/lib/exhibit.db",
        "sqlite:///nowhere/at/all/exhibit.db",
    ] {
        assert!(Ledger::open(url).await.is_err(), "{url:?}");
    }
}
