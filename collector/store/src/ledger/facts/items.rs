//! The items of bundles whose facts are in the ledger: how complete they are, and what could not be
//! read.

use evidence_format::coverage::TimeWindow;
use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, ItemName};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, query};

use super::insert::{InsertStatement, find_origin};
use crate::database::rows::{
    digest, execute, fetch_all, fetch_first, get, nanoseconds, number, optional_time, parsed,
    to_i64,
};
use crate::ledger::{BundleRow, Ledger, LedgerError};
use domain::incident::ItemCoverage;

/// An item whose facts have all been added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivedItem {
    pub item: ItemName,
    /// Its coverage has no gap.
    pub is_complete: bool,
    /// The requested window; `None` for state.
    pub asked: Option<TimeWindow>,
    /// Number of records that no deriver could read.
    pub unreadable: u64,
    /// `None` only if an earlier version has derived the item.
    pub coverage: Option<ItemCoverage>,
}

/// An item of a bundle, as [`Ledger::item_states`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemRow {
    pub bundle: Digest,
    pub item: DerivedItem,
}

/// An item that an earlier pass captured without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteItem {
    pub bundle: Digest,
    /// Number of the pass.
    pub pass: u32,
    /// The requested window; `None` for state.
    pub asked: Option<TimeWindow>,
}

pub(super) const INSERT_ITEMS: InsertStatement = InsertStatement {
    head: "INSERT INTO derived_items (bundle, item, complete, asked_from, asked_until, unreadable,
        coverage) VALUES",
    shared: 1,
    columns: 6,
    tail: " ON CONFLICT DO NOTHING",
};

impl Ledger {
    /// Remembers the items of `bundle`, after their facts. Idempotent.
    ///
    /// # Errors
    /// [`LedgerError::UnknownBundle`], and failures of the database.
    pub async fn add_derived_items(
        &self,
        bundle: &Digest,
        items: &[DerivedItem],
    ) -> Result<(), LedgerError> {
        let rows_max = INSERT_ITEMS.rows_max(self.db.engine());
        self.db
            .write("remember the items", |mut db, _| async move {
                let origin = find_origin(&mut db, bundle).await?;
                let origin = origin.ok_or(LedgerError::UnknownBundle(*bundle))?;
                for rows in items.chunks(rows_max) {
                    let sql = AssertSqlSafe(INSERT_ITEMS.sql(rows.len()));
                    let mut insert = query(sql).bind(origin.number);
                    for item in rows {
                        insert = insert
                            .bind(item.item.as_str())
                            .bind(i64::from(item.is_complete))
                            .bind(item.asked.map(|window| nanoseconds(window.from)))
                            .bind(item.asked.map(|window| nanoseconds(window.until)))
                            .bind(to_i64(item.unreadable))
                            .bind(item.coverage.as_ref().map(super::insert::json));
                    }
                    execute(&mut db, insert).await?;
                }
                Ok((db, ()))
            })
            .await
    }

    /// The items of all derived bundles of `incident`, in the order of their commits.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn item_states(&self, incident: &IncidentId) -> Result<Vec<ItemRow>, LedgerError> {
        self.db
            .read("list the items", |mut db| async move {
                let select = query(ITEM_STATES).bind(incident.as_str());
                fetch_all(&mut db, select, item_row).await
            })
            .await
    }

    /// The bundles of `incident` with records that no deriver could read, and their number.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn unreadable_records(
        &self,
        incident: &IncidentId,
    ) -> Result<Vec<(Digest, u64)>, LedgerError> {
        self.db
            .read("list unreadable records", |mut db| async move {
                // PostgreSQL's sum of BIGINT is a NUMERIC, which sqlx's `Any` driver cannot read.
                let select = "SELECT bundles.id,
                        CAST(SUM(derived_items.unreadable) AS BIGINT) AS records
                    FROM bundles JOIN derived_items ON derived_items.bundle = bundles.number
                    WHERE bundles.incident = $1 AND derived_items.unreadable > 0
                    GROUP BY bundles.number, bundles.id ORDER BY bundles.number";
                let select = query(select).bind(incident.as_str());
                fetch_all(&mut db, select, |row| {
                    Ok((digest(row, "id")?, number(row, "records")?))
                })
                .await
            })
            .await
    }

    /// The last item of this name that was captured without a gap, among the bundles of the same
    /// incident and source that were committed before `bundle`.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn last_complete_item(
        &self,
        bundle: &BundleRow,
        item: &ItemName,
    ) -> Result<Option<CompleteItem>, LedgerError> {
        self.db
            .read("find the last complete item", |mut db| async move {
                let select = query(LAST_COMPLETE_ITEM)
                    .bind(bundle.pass.incident.as_str())
                    .bind(bundle.pass.source.as_str())
                    .bind(bundle.id.hex())
                    .bind(item.as_str());
                fetch_first(&mut db, select, |row| {
                    Ok(CompleteItem {
                        bundle: digest(row, "id")?,
                        pass: number(row, "pass")?,
                        asked: asked_window(row)?,
                    })
                })
                .await
            })
            .await
    }
}

pub(in crate::ledger) const ITEM_STATES: &str =
    "SELECT bundles.id, derived_items.item, derived_items.complete, derived_items.asked_from,
        derived_items.asked_until, derived_items.unreadable, derived_items.coverage
    FROM bundles JOIN derived_items ON derived_items.bundle = bundles.number
    WHERE bundles.incident = $1 AND bundles.duplicate_of IS NULL
    ORDER BY bundles.number, derived_items.item";

fn item_row(row: &AnyRow) -> Result<ItemRow, sqlx::Error> {
    let coverage: Option<&str> = get(row, "coverage")?;
    Ok(ItemRow {
        bundle: digest(row, "id")?,
        item: DerivedItem {
            item: parsed(row, "item")?,
            is_complete: number::<u64>(row, "complete")? == 1,
            asked: asked_window(row)?,
            unreadable: number(row, "unreadable")?,
            // What another version wrote counts as unknown.
            coverage: coverage.and_then(|json| serde_json::from_str(json).ok()),
        },
    })
}

/// The requested window; `None` for state.
fn asked_window(row: &AnyRow) -> Result<Option<TimeWindow>, sqlx::Error> {
    let from = optional_time(row, "asked_from")?;
    let until = optional_time(row, "asked_until")?;
    Ok(from
        .zip(until)
        .map(|(from, until)| TimeWindow { from, until }))
}

pub(super) const LAST_COMPLETE_ITEM: &str =
    "SELECT bundles.id, bundles.pass, derived_items.asked_from, derived_items.asked_until
    FROM bundles JOIN derived_items
        ON derived_items.bundle = bundles.number AND derived_items.item = $4
    WHERE bundles.incident = $1 AND bundles.source = $2 AND derived_items.complete = 1
        AND bundles.number < (SELECT number FROM bundles WHERE id = $3)
    ORDER BY bundles.number DESC LIMIT 1";
