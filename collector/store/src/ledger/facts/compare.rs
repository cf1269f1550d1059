//! Compares a pass with earlier passes of the same source: events that only the later one has, and
//! events that it no longer has.

use std::ops::RangeInclusive;

use evidence_format::digest::Digest;
use evidence_format::id::ItemName;
use evidence_format::time::Timestamp;
use sqlx::{AnyConnection, query};

use super::{FactRow, PAGE_FACTS_MAX, fact_row};
use crate::database::rows::{Query, fetch_all, fetch_first, get, nanoseconds, to_i64};
use crate::ledger::{BundleRow, Ledger, LedgerError, PassKey};

/// The difference between a bundle and earlier ones, by event ids. Records without an event id are
/// not compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleComparison {
    /// Records of the bundle whose events no earlier bundle has, by time, up to the limit.
    pub late: Vec<FactRow>,
    /// Number of such events, without a limit.
    pub late_count: u64,
    /// Records of earlier bundles in the window whose events the bundle lacks, by time, up to the
    /// limit.
    pub missing: Vec<FactRow>,
    /// Number of such events, without a limit.
    pub missing_count: u64,
}

impl Ledger {
    /// Compares an item of `bundle` with the items of the same name in bundles of the same incident
    /// and source that were committed earlier. `window` is the time range that the pass requested,
    /// both ends included: an event outside it cannot be missing. Returns at most `limit` records
    /// of each kind.
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
        // Commit numbers order the bundles, and the source and incident select among them.
        let (this, earlier) = (number..=number, 0..=number - 1);
        let window = nanoseconds(*window.start())..=nanoseconds(*window.end());
        let late = &EventDifference {
            key,
            item,
            of: this.clone(),
            without: earlier.clone(),
            window: i64::MIN..=i64::MAX, // an event is late wherever it lies
            limit,
        };
        let missing = &EventDifference {
            key,
            item,
            of: earlier,
            without: this,
            window,
            limit,
        };
        self.db
            .read("compare the bundles", |mut db| async move {
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

/// Facts of the bundles `of` whose events are not in the bundles `without`, both given as ranges of
/// commit numbers.
struct EventDifference<'k> {
    key: &'k PassKey,
    item: &'k ItemName,
    of: RangeInclusive<i64>,
    without: RangeInclusive<i64>,
    window: RangeInclusive<i64>,
    limit: u32,
}

impl EventDifference<'_> {
    async fn find(&self, db: &mut AnyConnection) -> Result<(Vec<FactRow>, u64), sqlx::Error> {
        let limit = to_i64(self.limit.min(PAGE_FACTS_MAX).into());
        let rows = fetch_all(db, self.bind(ROWS).bind(limit), fact_row).await?;
        let count = self.bind(COUNT).fetch_one(db).await?;
        Ok((rows, get::<i64>(&count, "events")?.unsigned_abs()))
    }

    fn bind(&self, sql: &'static str) -> Query<'_> {
        query(sql)
            .bind(self.key.incident.as_str())
            .bind(self.key.source.as_str())
            .bind(*self.of.start())
            .bind(*self.of.end())
            .bind(*self.without.start())
            .bind(*self.without.end())
            .bind(*self.window.start())
            .bind(*self.window.end())
            .bind(self.item.as_str())
    }
}

/// The part that both statements share. It subtracts the sets of event ids, instead of searching
/// for each event, so that no index on event ids is needed: an index would slow down every insert.
macro_rules! difference {
    ($select:literal, $order:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM bundles JOIN facts ON facts.bundle = bundles.number
            WHERE bundles.incident = $1 AND bundles.source = $2
                AND bundles.number BETWEEN $3 AND $4
                AND facts.item = $9 AND facts.happened_at BETWEEN $7 AND $8
                AND facts.event_id IN (
                    SELECT these.event_id
                    FROM bundles JOIN facts AS these ON these.bundle = bundles.number
                    WHERE bundles.incident = $1 AND bundles.source = $2
                        AND bundles.number BETWEEN $3 AND $4 AND these.item = $9
                    EXCEPT
                    SELECT those.event_id
                    FROM bundles JOIN facts AS those ON those.bundle = bundles.number
                    WHERE bundles.incident = $1 AND bundles.source = $2
                        AND bundles.number BETWEEN $5 AND $6 AND those.item = $9)",
            $order
        )
    };
}

const ROWS: &str = difference!(
    "bundles.id AS bundle_id, bundles.incident, bundles.source, bundles.pass, facts.bundle,
        facts.item, facts.record, facts.happened_at, facts.kind, facts.summary, facts.event_id",
    " ORDER BY facts.happened_at, facts.bundle, facts.item, facts.record LIMIT $10"
);

const COUNT: &str = difference!("COUNT(DISTINCT facts.event_id) AS events", "");
