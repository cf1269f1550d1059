//! Tests of the ledger, most of them on both databases.

mod crash;
mod facts;
mod full;
mod journal;
mod leases;
mod outage;
mod passes;
mod plans;
mod stream;
mod tokens;
mod totals;

use std::future::Future;
use std::pin::Pin;

use sqlx::query;
use tests::postgres::Postgres;

use crate::database::rows::execute;
use crate::ledger::{Ledger, LedgerError};
use crate::testing::{sqlite, sqlite_url};

/// A test that every database must pass, with its name.
type Case = (
    &'static str,
    fn(Ledger) -> Pin<Box<dyn Future<Output = ()> + Send>>,
);

/// A case, named after its function.
macro_rules! case {
    ($test:path) => {
        (stringify!($test), |ledger| Box::pin($test(ledger)))
    };
}

/// Cases that must pass on every database. Each gets a fresh ledger.
const CASES: &[Case] = &[
    case!(journal::journal_keeps_entries_in_order),
    case!(journal::same_key_declares_one_incident),
    case!(journal::same_key_at_once_draws_one_number),
    case!(journal::remembered_key_finds_its_incident),
    case!(journal::key_is_changed_by_one_of_two_writers),
    case!(journal::entries_with_their_key_are_appended_once),
    case!(journal::declaration_takes_over_its_other_keys),
    case!(journal::only_one_of_many_decisions_is_appended),
    case!(journal::no_append_at_end_is_lost),
    case!(journal::decision_is_made_again_on_changed_incident),
    case!(journal::refused_decision_changes_nothing),
    case!(journal::numbers_are_drawn_once_without_holes),
    case!(journal::repeated_declaration_draws_no_number),
    case!(journal::refused_declaration_draws_no_number),
    case!(journal::declaration_adds_its_passes),
    case!(journal::overviews_are_listed_newest_first),
    case!(journal::overview_matches_its_journal),
    case!(journal::overview_of_another_version_is_rebuilt),
    case!(journal::overview_of_newer_version_never_goes_stale),
    case!(passes::pass_is_added_once),
    case!(passes::plan_is_set_and_announced_once),
    case!(passes::only_a_commit_seals_a_pass),
    case!(passes::only_waiting_passes_are_cancelled),
    case!(passes::pages_are_added_once),
    case!(passes::ended_step_takes_no_page),
    case!(passes::lost_lease_writes_nothing),
    case!(leases::each_pass_is_leased_by_one_worker),
    case!(leases::pass_due_later_is_not_leased),
    case!(leases::pass_due_longest_is_leased_first),
    case!(leases::ended_lease_frees_its_pass),
    case!(leases::renewed_lease_does_not_end),
    case!(leases::released_lease_is_free_at_once),
    case!(leases::released_lease_is_not_renewed),
    case!(leases::postponed_pass_waits_until_retry),
    case!(leases::new_stage_resets_failures),
    case!(leases::only_begun_skips_other_passes),
    case!(leases::queues_do_not_see_each_others_passes),
    case!(leases::done_passes_are_not_leased),
    case!(leases::captured_pass_is_added_with_its_lease),
    case!(leases::is_busy_while_a_pass_is_leased_or_due),
    case!(leases::is_under_way_while_a_due_pass_is_not_done),
    case!(leases::next_due_skips_begun_passes),
    case!(leases::oldest_waiting_includes_passes_that_failed),
    case!(leases::backlog_counts_passes_that_are_not_done),
    case!(leases::lease_lasts_by_the_clock_of_the_database),
    case!(stream::stream_has_one_bundle_at_each_place),
    case!(stream::only_one_bundle_of_a_stream_is_pending),
    case!(stream::commit_is_all_or_nothing),
    case!(stream::bundle_is_found_by_prefix_of_its_id),
    case!(stream::aborted_bundle_is_sealed_again),
    case!(stream::bundles_are_numbered_over_all_streams),
    case!(stream::lost_lease_prepares_nothing),
    case!(stream::second_bundle_of_a_pass_says_what_it_duplicates),
    case!(stream::key_signs_for_one_store),
    case!(stream::concurrent_workers_seal_in_one_stream),
    case!(facts::timeline_is_paged_in_order),
    case!(facts::event_has_one_row_with_all_its_records),
    case!(facts::row_lists_a_bounded_number_of_records),
    case!(facts::event_is_found_by_prefix_of_its_id),
    case!(facts::timeline_is_filtered),
    case!(facts::events_are_found_by_who_and_what_and_how),
    case!(facts::hostile_texts_are_truncated),
    case!(facts::derived_items_say_what_was_complete_and_readable),
    case!(facts::bundles_are_compared_by_event_ids),
    case!(facts::objects_are_compared_by_their_versions),
    case!(tokens::token_is_stored_unchanged),
    case!(tokens::token_is_valid_until_it_expires_or_is_revoked),
    case!(totals::totals_count_everything),
];

/// Runs a statement that the ledger does not offer.
async fn run_sql(ledger: &Ledger, sql: &'static str) {
    let done = ledger
        .db
        .write::<_, LedgerError, _>("run SQL of a test", |mut db, _| async move {
            execute(&mut db, query(sql)).await?;
            Ok((db, ()))
        });
    done.await.expect("good SQL");
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_passes_every_case() {
    let folder = tempfile::tempdir().expect("a folder");
    run_cases(|number| {
        let path = folder.path().join(format!("{number}.db"));
        format!("sqlite://{}", path.display())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_passes_every_case() {
    if let Some(postgres) = Postgres::start() {
        run_cases(|number| postgres.create(&number.to_string())).await;
    }
}

/// Runs each case on a fresh database, whose URL `create` returns. The cases run concurrently, since
/// some of them mostly wait.
async fn run_cases(create: impl Fn(usize) -> String) {
    let mut running = Vec::new();
    for (number, (name, case)) in CASES.iter().enumerate() {
        let ledger = Ledger::open(&create(number)).await;
        let ledger = ledger.expect("a fresh database");
        running.push((name, tokio::spawn(case(ledger))));
    }
    for (name, case) in running {
        case.await.unwrap_or_else(|e| panic!("{name}: {e}"));
    }
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
async fn rejects_non_database_url() {
    for url in [
        "",
        "mysql://db/exhibit",
        "/var/lib/exhibit.db",
        "sqlite:///nowhere/at/all/exhibit.db",
    ] {
        assert!(Ledger::open(url).await.is_err(), "{url:?}");
    }
}
