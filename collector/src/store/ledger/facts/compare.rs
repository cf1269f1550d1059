//! What a later pass over the same window found that earlier ones did not, and what it no longer found.

use std::ops::RangeInclusive;

use evidence_format::time::Timestamp;
use sqlx::{AnyConnection, query};

use super::{FactRow, PAGE_FACTS_MAX, fact_row};
use crate::store::ledger::retry::Failure;
use crate::store::ledger::rows::{Query, all, get, nanoseconds, signed};
use crate::store::ledger::{Ledger, LedgerError, PassKey};

/// The difference between a pass and those before it, by event ids. Records without one are not compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Records of the pass whose event no earlier pass has, by time; not more than asked for.
    pub late: Vec<FactRow>,
    /// How many such events there are.
    pub late_count: u64,
    /// Records of earlier passes, of the window, whose event the pass does not have, by time; not more than asked for.
    pub gone: Vec<FactRow>,
    /// How many such events there are.
    pub gone_count: u64,
}

impl Ledger {
    /// Compares the pass `key` with those up to `earlier_pass_max` of the same incident and source. `window` is the time that the
    /// pass asked for, both ends included: what is outside it cannot be gone. At most `limit` records of each kind are returned.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn compare(
        &self,
        key: &PassKey,
        earlier_pass_max: u32,
        window: RangeInclusive<Timestamp>,
        limit: u32,
    ) -> Result<Comparison, LedgerError> {
        let (this, earlier) = (key.pass..=key.pass, 0..=earlier_pass_max);
        let window = nanoseconds(*window.start())..=nanoseconds(*window.end());
        let late = &Difference { key, of: this.clone(), without: earlier.clone(), window: i64::MIN..=i64::MAX, limit };
        let gone = &Difference { key, of: earlier, without: this, window, limit };
        self.read("compare the passes", |mut db| async move {
            let (late, late_count) = late.find(&mut db).await?;
            let (gone, gone_count) = gone.find(&mut db).await?;
            Ok(Comparison { late, late_count, gone, gone_count })
        })
        .await
    }
}

/// Facts of some passes whose events are not in others.
struct Difference<'k> {
    key: &'k PassKey,
    of: RangeInclusive<u32>,
    without: RangeInclusive<u32>,
    window: RangeInclusive<i64>,
    limit: u32,
}

impl Difference<'_> {
    async fn find(&self, db: &mut AnyConnection) -> Result<(Vec<FactRow>, u64), Failure> {
        let limit = signed(self.limit.min(PAGE_FACTS_MAX).into());
        let rows = all(db, self.bind(ROWS).bind(limit), fact_row).await?;
        let count = self.bind(COUNT).fetch_one(db).await?;
        Ok((rows, get::<i64>(&count, "events")?.unsigned_abs()))
    }

    fn bind(&self, sql: &'static str) -> Query<'_> {
        let select = query(sql).bind(self.key.incident.as_str()).bind(self.key.source.as_str());
        let select = select.bind(i64::from(*self.of.start())).bind(i64::from(*self.of.end()));
        let select = select.bind(i64::from(*self.without.start())).bind(i64::from(*self.without.end()));
        select.bind(*self.window.start()).bind(*self.window.end())
    }
}

/// What both statements select from.
macro_rules! difference {
    ($select:literal, $order:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM bundles JOIN facts ON facts.bundle = bundles.number
            WHERE bundles.incident = $1 AND bundles.source = $2 AND bundles.pass BETWEEN $3 AND $4
                AND facts.happened_at BETWEEN $7 AND $8 AND facts.event_id IS NOT NULL AND NOT EXISTS (
                    SELECT 1 FROM bundles AS others JOIN facts AS same ON same.bundle = others.number
                    WHERE others.incident = $1 AND others.source = $2 AND others.pass BETWEEN $5 AND $6
                        AND same.event_id = facts.event_id)",
            $order
        )
    };
}

const ROWS: &str = difference!(
    "bundles.id AS bundle_id, bundles.incident, bundles.source, bundles.pass, facts.bundle, facts.item, facts.record,
        facts.happened_at, facts.kind, facts.summary, facts.event_id",
    " ORDER BY facts.happened_at, facts.bundle, facts.item, facts.record LIMIT $9"
);

const COUNT: &str = difference!("COUNT(DISTINCT facts.event_id) AS events", "");
