//! Query plans of SQLite: statements that run all the time never read a whole table.

use sqlx::{AssertSqlSafe, query};

use crate::database::rows::{fetch_all, get};
use crate::ledger::LedgerError;
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
            .replace("{skip}", "")
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
            let explain = &format!("EXPLAIN QUERY PLAN {statement}");
            let plan = ledger
                .db
                .read::<_, LedgerError, _>("explain", |mut db| async move {
                    let explain = query(AssertSqlSafe(explain.clone()));
                    fetch_all(&mut db, explain, |row| get::<String>(row, "detail")).await
                });
            let plan = plan.await.expect("good SQL");
            let uses = |step: &String| step.split(' ').any(|word| word == *index);
            assert!(plan.iter().any(uses), "{function}: {plan:?}");
            let reads_all = |step: &String| step.starts_with("SCAN") && !step.contains("INDEX");
            assert!(!plan.iter().any(reads_all), "{function}: {plan:?}");
            let sorts = |step: &String| step.contains("TEMP B-TREE");
            assert!(!plan.iter().any(sorts), "{function}: {plan:?}");
        }
    }
}
