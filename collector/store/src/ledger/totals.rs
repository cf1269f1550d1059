//! How much there is of everything.

use sqlx::query;

use super::{Ledger, LedgerError, PassState};
use crate::database::rows::{all, bad_value, first, get, number};

/// Sums over all incidents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
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
    pub async fn totals(&self) -> Result<Totals, LedgerError> {
        self.db
            .read("count everything", |mut db| async move {
                let count = query("SELECT COUNT(*) AS count FROM incidents");
                let incidents = first(&mut db, count, |row| number(row, "count"))
                    .await?
                    .unwrap_or(0);
                // a sum of BIGINT is NUMERIC on PostgreSQL
                let sum =
                    query("SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes FROM bundles");
                let bytes = first(&mut db, sum, |row| number(row, "bytes"))
                    .await?
                    .unwrap_or(0);
                let select = query("SELECT state, COUNT(*) AS count FROM passes GROUP BY state");
                let counted: Vec<(String, u64)> = all(&mut db, select, |row| {
                    Ok((get(row, "state")?, number(row, "count")?))
                })
                .await?;
                let coverages = all(
                    &mut db,
                    query("SELECT coverage FROM bundles ORDER BY number"),
                    |row| get(row, "coverage"),
                )
                .await?;
                let states: Vec<PassState> =
                    PassState::ALL.iter().map(|(state, _)| *state).collect();
                if let Some((unknown, _)) = counted
                    .iter()
                    .find(|(word, _)| states.iter().all(|state| state.as_str() != word))
                {
                    return Err(bad_value("state", unknown));
                }
                let of = |state: &PassState| {
                    counted
                        .iter()
                        .find(|(word, _)| word == state.as_str())
                        .map_or(0, |(_, count)| *count)
                };
                let passes = states.iter().map(|state| (*state, of(state))).collect();
                Ok(Totals {
                    incidents,
                    passes,
                    bytes,
                    coverages,
                })
            })
            .await
    }
}
