//! Totals over all incidents, for metrics.

use sqlx::query;

use super::passes::enum_column;
use super::{Ledger, LedgerError, PassStage, PassState};
use crate::database::rows::{fetch_all, fetch_first, get, number};

/// Totals over all incidents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerTotals {
    pub incidents: u64,
    /// The number of passes in each state; every state occurs once.
    pub passes: Vec<(PassState, u64)>,
    /// Of the failed passes, those whose source is not configured: nobody expects a bundle of it.
    pub not_configured: u64,
    /// Total size of all bundles.
    pub bytes: u64,
    /// The coverage summary of each bundle, as JSON.
    pub coverages: Vec<String>,
}

impl Ledger {
    /// Counts incidents, passes and bundles.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn totals(&self) -> Result<LedgerTotals, LedgerError> {
        self.db
            .read("count everything", |mut db| async move {
                let count = query("SELECT COUNT(*) AS count FROM incidents");
                let incidents = fetch_first(&mut db, count, |row| number(row, "count")).await?;
                // PostgreSQL's sum of BIGINT is a NUMERIC, which sqlx's `Any` driver cannot read.
                let sum =
                    query("SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes FROM bundles");
                let bytes = fetch_first(&mut db, sum, |row| number(row, "bytes")).await?;
                // A state follows from the stage and from whether the pass was ever leased.
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
                // The plan is our own JSON. It is searched as text, since neither database is asked to
                // parse it.
                let count = query(
                    "SELECT COUNT(*) AS count FROM passes WHERE stage = 'failed'
                    AND plan LIKE '%\"passes\":[]%' AND plan LIKE '%\"why\":\"not-configured\"%'",
                );
                let not_configured =
                    fetch_first(&mut db, count, |row| number(row, "count")).await?;
                let select = query("SELECT coverage FROM bundles ORDER BY number");
                let coverages = fetch_all(&mut db, select, |row| get(row, "coverage")).await?;
                let passes = PassState::ALL.map(|state| {
                    let counts = counted.iter().filter(|(other, _)| *other == state);
                    (state, counts.map(|(_, count)| count).sum())
                });
                Ok(LedgerTotals {
                    incidents: incidents.unwrap_or(0),
                    passes: passes.to_vec(),
                    not_configured: not_configured.unwrap_or(0),
                    bytes: bytes.unwrap_or(0),
                    coverages,
                })
            })
            .await
    }
}
