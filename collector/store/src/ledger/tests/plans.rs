//! Query plans of SQLite: statements that run all the time never read a whole table.

use sqlx::{AssertSqlSafe, query};

use crate::database::rows::{fetch_all, get};
use crate::ledger::facts::{
    CREATED_OBJECTS, EDGE_DIFFERENCE, ENTITIES_NAMED, ITEM_STATES, SOURCES_WITH_EDGES,
    comparison_statements, edges_statement, event_statement, events_by_id_statement,
    page_statement, scan_statement,
};
use crate::ledger::{EventFilter, Ledger, LedgerError, TermRole};
use crate::testing::sqlite;

/// The SQL statements in the source of `function`, with placeholders filled in as for SQLite.
fn statements(source: &str, function: &str) -> Vec<String> {
    let begin = source
        .find(&format!("fn {function}("))
        .expect("there is such a function");
    let body = &source[begin..];
    let body = &body[..body.find("\n    }\n").expect("it ends")];
    let quoted = body.split('"').skip(1).step_by(2);
    let sql = quoted.filter(|text| text.starts_with("SELECT ") || text.starts_with("UPDATE "));
    sql.map(|text| {
        text.replace("{now}", "7")
            .replace("{is_leased}", "(worker IS NOT NULL AND leased_until > 7)")
            .replace("{skip}", "")
            .replace("{ended}", "worker = NULL")
            .replace("{}", "7")
    })
    .collect()
}

#[tokio::test]
async fn frequent_lookups_use_their_indexes() {
    let (ledger, _folder) = sqlite().await;
    let (leases, journal) = (include_str!("../leases.rs"), include_str!("../journal.rs"));
    for (source, function, indexes) in [
        (leases, "lease_next", &["passes_to_do"][..]),
        (leases, "is_busy", &["passes_to_do"]),
        (leases, "next_due", &["passes_to_do"]),
        (leases, "oldest_waiting", &["passes_to_do"]),
        (leases, "backlog", &["passes_to_do"]),
        (
            leases,
            "release_dead_leases",
            &["passes_leased", "passes_leased"],
        ),
        (
            journal,
            "overviews",
            &["incidents_newest", "incidents_newest_by_status"],
        ),
    ] {
        let statements = statements(source, function);
        assert_eq!(
            statements.len(),
            indexes.len(),
            "{function}: {statements:?}"
        );
        for (statement, index) in statements.iter().zip(indexes) {
            let plan = plan_of(&ledger, statement).await;
            let uses = |step: &String| step.split(' ').any(|word| word == *index);
            assert!(plan.iter().any(uses), "{function}: {plan:?}");
            let reads_all = |step: &String| step.starts_with("SCAN") && !step.contains("INDEX");
            assert!(!plan.iter().any(reads_all), "{function}: {plan:?}");
            let sorts = |step: &String| step.contains("TEMP B-TREE");
            assert!(!plan.iter().any(sorts), "{function}: {plan:?}");
        }
    }
}

async fn plan_of(ledger: &Ledger, statement: &str) -> Vec<String> {
    let explain = &format!("EXPLAIN QUERY PLAN {statement}");
    let plan = ledger
        .db
        .read::<_, LedgerError, _>("explain", |mut db| async move {
            let explain = query(AssertSqlSafe(explain.clone()));
            fetch_all(&mut db, explain, |row| get::<String>(row, "detail")).await
        });
    plan.await.expect("good SQL")
}

/// A timeline has millions of rows: no page of it, and no comparison of two passes, may read them
/// all.
#[tokio::test]
async fn timeline_statements_use_their_indexes() {
    let (ledger, _folder) = sqlite().await;
    let all = EventFilter::default();
    let by_actor = EventFilter {
        terms: vec![(TermRole::Actor, vec!["ann".to_owned()])],
        ..EventFilter::default()
    };
    let by_target = EventFilter {
        terms: vec![(TermRole::Target, vec!["a".to_owned(), "b".to_owned()])],
        contains: "x".to_owned(),
        ..EventFilter::default()
    };
    let mut statements = vec![
        (page_statement(&all).0, "events_by_time"),
        (page_statement(&by_actor).0, "event_terms"),
        (page_statement(&by_target).0, "events_by_time"),
        (scan_statement(&all).0, "events_by_time"),
        (event_statement(), "sqlite_autoindex_events_1"),
        (events_by_id_statement(3), "sqlite_autoindex_events_1"),
        (edges_statement("from_id", 3), "edges_by_from"),
        (edges_statement("to_id", 3), "edges_by_to"),
        (EDGE_DIFFERENCE.to_owned(), "sqlite_autoindex_edges_1"),
        (ENTITIES_NAMED.to_owned(), "PRIMARY KEY"),
        (CREATED_OBJECTS.to_owned(), "objects_by_creation"),
        (ITEM_STATES.to_owned(), "bundles_by_incident"),
        (SOURCES_WITH_EDGES.to_owned(), "bundles_by_incident"),
    ];
    statements.extend(comparison_statements().map(|sql| {
        let index = if sql.contains("derived_items") {
            "sqlite_autoindex_derived_items_1"
        } else if sql.contains("objects") {
            "sqlite_autoindex_objects_1"
        } else {
            "PRIMARY KEY"
        };
        (sql.to_owned(), index)
    }));
    for (statement, index) in statements {
        let plan = plan_of(&ledger, &statement).await;
        assert!(
            plan.iter().any(|step| step.contains(index)),
            "{statement}: {plan:#?}"
        );
        // The page itself, once selected, is read as a whole.
        let reads_all = |step: &String| {
            let tables = [
                "events",
                "event_records",
                "event_terms",
                "objects",
                "bundles",
                "edges",
                "entity_names",
                "derived_items",
            ];
            let table = step
                .strip_prefix("SCAN ")
                .and_then(|rest| rest.split(' ').next());
            table.is_some_and(|table| tables.contains(&table) || table == "these")
        };
        assert!(!plan.iter().any(reads_all), "{statement}: {plan:#?}");
    }
    // The order of the index is that of the page: nothing is sorted to find it.
    for filter in [all, by_actor] {
        let page = page_statement(&filter).0;
        let page = page
            .split("WITH page AS (")
            .nth(1)
            .and_then(|rest| rest.split("),\n").next());
        let plan = plan_of(&ledger, page.expect("a page")).await;
        let sorts = |step: &String| step.contains("TEMP B-TREE");
        assert!(!plan.iter().any(sorts), "{plan:#?}");
    }
}
