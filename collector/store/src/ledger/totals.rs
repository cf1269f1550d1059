//! How much there is of everything.

use sqlx::query;

use super::passes::enum_column;
use super::{Ledger, LedgerError, PassStage, PassState};
use crate::database::rows::{fetch_all, fetch_first, get, number};

/// Sums over all incidents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerTotals {
    /// Incidents declared.
    pub incidents: u64,
    /// Passes by how far they are, each state once.
    pub passes: Vec<(PassState, u64)>,
    /// Bytes of all bundles.
    pub bytes: u64,
    /// What each bundle covers, as JSON.
    pub coverages: Vec<String>,
}

impl Ledger {
    /// Counts everything, at one time.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn totals(&self) -> Result<LedgerTotals, LedgerError> {
        self.db
            .read("count everything", |mut db| async move {
                let count = query("SELECT COUNT(*) AS count FROM incidents");
                let incidents = fetch_first(&mut db, count, |row| number(row, "count"))
                    .await?
                    .unwrap_or(0);
                // a sum of BIGINT is NUMERIC on PostgreSQL
                let sum =
                    query("SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes FROM bundles");
                let bytes = fetch_first(&mut db, sum, |row| number(row, "bytes"))
                    .await?
                    .unwrap_or(0);
                let select = query(
                    "SELECT stage, CASE WHEN fencing_token > 0 THEN 1 ELSE 0 END AS begun,
                        COUNT(*) AS count FROM passes
                    GROUP BY stage, CASE WHEN fencing_token > 0 THEN 1 ELSE 0 END",
                );
                let counted: Vec<(PassState, u64)> = fetch_all(&mut db, select, |row| {
                    let stage = enum_column(row, "stage", &PassStage::ALL)?;
                    let was_begun = get::<i64>(row, "begun")? == 1;
                    Ok((stage.state(was_begun), number(row, "count")?))
                })
                .await?;
                let coverages = fetch_all(
                    &mut db,
                    query("SELECT coverage FROM bundles ORDER BY number"),
                    |row| get(row, "coverage"),
                )
                .await?;
                let count_of = |state| {
                    let counts = counted.iter().filter(|(other, _)| *other == state);
                    (state, counts.map(|(_, count)| count).sum())
                };
                let passes = PassState::ALL.map(count_of).to_vec();
                Ok(LedgerTotals {
                    incidents,
                    passes,
                    bytes,
                    coverages,
                })
            })
            .await
    }
}
