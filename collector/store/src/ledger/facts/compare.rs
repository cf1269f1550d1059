//! What a later pass over the same window found that earlier ones did not, and what it no longer
//! found.

use std::ops::RangeInclusive;

use evidence_format::digest::Digest;
use evidence_format::id::ItemName;
use evidence_format::time::Timestamp;
use sqlx::{AnyConnection, query};

use super::{FactRow, PAGE_FACTS_MAX, fact_row};
use crate::database::rows::{Query, fetch_all, fetch_first, get, nanoseconds, to_i64};
use crate::ledger::{BundleRow, Ledger, LedgerError, PassKey};

/// The difference between a bundle and those before it, by event ids. Records without one are not
/// compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleComparison {
    /// Records of the bundle whose event no earlier one has, by time; not more than asked for.
    pub late: Vec<FactRow>,
    /// How many such events there are.
    pub late_count: u64,
    /// Records of earlier bundles, of the window, whose event it does not have, by time; not more
    /// than asked for.
    pub missing: Vec<FactRow>,
    /// How many such events there are.
    pub missing_count: u64,
}

impl Ledger {
    /// Compares an item of `bundle` with those of the same name in bundles of the same incident and
    /// source that were committed before it. `window` is the time that its pass asked for, both
    /// ends included: what is outside it cannot be gone. At most `limit` records of each kind are
    /// returned.
    ///
    /// # Errors
    /// [`LedgerError::UnknownBundle`], and failures of the database.
    pub async fn compare_bundle(
        &self,
        bundle: &BundleRow,
        item: &ItemName,
        window: RangeInclusive<Timestamp>,
        limit: u32,
    ) -> Result<BundleComparison, LedgerError> {
        let key = &bundle.pass;
        let number = self.number_of(&bundle.id).await?;
        let (this, earlier) = (number..=number, 0..=number - 1);
        let window = nanoseconds(*window.start())..=nanoseconds(*window.end());
        let late = &Difference {
            key,
            item,
            of: this.clone(),
            without: earlier.clone(),
            window: i64::MIN..=i64::MAX,
            limit,
        };
        let missing = &Difference {
            key,
            item,
            of: earlier,
            without: this,
            window,
            limit,
        };
        self.db
            .read("compare the passes", |mut db| async move {
                let (late, late_count) = late.find(&mut db).await?;
                let (missing, missing_count) = missing.find(&mut db).await?;
                Ok(BundleComparison {
                    late,
                    late_count,
                    missing,
                    missing_count,
                })
            })
            .await
    }
}

impl Ledger {
    async fn number_of(&self, bundle: &Digest) -> Result<i64, LedgerError> {
        let found: Result<Option<i64>, LedgerError> = self
            .db
            .read("find the bundle", |mut db| async move {
                let select = query("SELECT number FROM bundles WHERE id = $1").bind(bundle.hex());
                fetch_first(&mut db, select, |row| get(row, "number")).await
            })
            .await;
        found?.ok_or(LedgerError::UnknownBundle(*bundle))
    }
}

/// Facts of some bundles whose events are not in others.
struct Difference<'k> {
    key: &'k PassKey,
    item: &'k ItemName,
    of: RangeInclusive<i64>,
    without: RangeInclusive<i64>,
    window: RangeInclusive<i64>,
    limit: u32,
}

impl Difference<'_> {
    async fn find(&self, db: &mut AnyConnection) -> Result<(Vec<FactRow>, u64), sqlx::Error> {
        let limit = to_i64(self.limit.min(PAGE_FACTS_MAX).into());
        let rows = fetch_all(db, self.bind(ROWS).bind(limit), fact_row).await?;
        let count = self.bind(COUNT).fetch_one(db).await?;
        Ok((rows, get::<i64>(&count, "events")?.unsigned_abs()))
    }

    fn bind(&self, sql: &'static str) -> Query<'_> {
        let select = query(sql)
            .bind(self.key.incident.as_str())
            .bind(self.key.source.as_str());
        let select = select.bind(*self.of.start()).bind(*self.of.end());
        let select = select.bind(*self.without.start()).bind(*self.without.end());
        select
            .bind(*self.window.start())
            .bind(*self.window.end())
            .bind(self.item.as_str())
    }
}

/// What both statements select from. Sets are subtracted, rather than each event looked for, so
/// that it needs no index.
macro_rules! difference {
    ($select:literal, $order:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM bundles JOIN facts ON facts.bundle = bundles.number
            WHERE bundles.incident = $1 AND bundles.source = $2 AND bundles.number BETWEEN $3 AND $4
                AND facts.item = $9 AND facts.happened_at BETWEEN $7 AND $8 AND facts.event_id IN (
                    SELECT these.event_id FROM bundles JOIN facts AS these ON these.bundle = bundles.number
                    WHERE bundles.incident = $1 AND bundles.source = $2 AND bundles.number BETWEEN $3 AND $4
                        AND these.item = $9
                    EXCEPT
                    SELECT those.event_id FROM bundles JOIN facts AS those ON those.bundle = bundles.number
                    WHERE bundles.incident = $1 AND bundles.source = $2 AND bundles.number BETWEEN $5 AND $6
                        AND those.item = $9)",
            $order
        )
    };
}

const ROWS: &str = difference!(
    "bundles.id AS bundle_id, bundles.incident, bundles.source, bundles.pass, facts.bundle, facts.item, facts.record,
        facts.happened_at, facts.kind, facts.summary, facts.event_id",
    " ORDER BY facts.happened_at, facts.bundle, facts.item, facts.record LIMIT $10"
);

const COUNT: &str = difference!("COUNT(DISTINCT facts.event_id) AS events", "");
