//! Compares a pass with earlier passes of the same source: events that only the later one has,
//! events that it no longer has, and objects that appeared, went or changed.

use std::ops::RangeInclusive;

use evidence_derive::ObservedObject;
use evidence_format::digest::Digest;
use evidence_format::id::ItemName;
use evidence_format::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, query};

use super::RecordPointer;
use super::read::{EventRow, PAGE_EVENTS_MAX, event_row, json};
use crate::database::rows::{
    Query, digest, fetch_all, fetch_first, get, nanoseconds, number, parsed, to_i64,
};
use crate::ledger::{BundleRow, Ledger, LedgerError, PassKey};

/// The difference between a bundle and earlier ones, by event ids. Events without an id of their
/// own are not compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleComparison {
    /// Events of the bundle that no earlier bundle has, by time, up to the limit. Each has its
    /// first record in the bundle.
    pub late: Vec<EventRow>,
    /// Number of such events, without a limit.
    pub late_count: u64,
    /// Events of earlier bundles in the window that the bundle lacks, by time, up to the limit.
    /// Each has its first record.
    pub missing: Vec<EventRow>,
    /// Number of such events, without a limit.
    pub missing_count: u64,
}

/// The difference between the objects of one item in two bundles. The lists end at the limit, the
/// numbers do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectComparison {
    pub appeared: Vec<ObjectRow>,
    pub appeared_count: u64,
    /// As the earlier bundle has them.
    pub gone: Vec<ObjectRow>,
    pub gone_count: u64,
    /// Objects that have another version now.
    pub changed: Vec<ObjectChange>,
    pub changed_count: u64,
}

/// An object, and the record that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRow {
    pub bundle: Digest,
    pub pointer: RecordPointer,
    pub object: ObservedObject,
}

/// An object in two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectChange {
    pub before: ObservedObject,
    pub now: ObjectRow,
}

impl Ledger {
    /// Compares the events of an item of `bundle` with the items of the same name in bundles of the
    /// same incident and source that were committed earlier. `window` is the time range that the
    /// pass requested, both ends included: an event outside it cannot be missing. Returns at most
    /// `limit` events of each kind.
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

    /// Compares the objects of an item of `bundle` with those of the item in the bundle `before`.
    /// If `windows` are given, those that `before` and that `bundle` were asked for, an object can
    /// appear only if it was created in the first and is gone only if it was created in the second.
    /// Returns at most `limit` objects of each kind.
    ///
    /// # Errors
    /// [`LedgerError::UnknownBundle`], and failures of the database.
    pub async fn compare_objects(
        &self,
        before: &Digest,
        bundle: &Digest,
        item: &ItemName,
        windows: Option<(RangeInclusive<Timestamp>, RangeInclusive<Timestamp>)>,
        limit: u32,
    ) -> Result<ObjectComparison, LedgerError> {
        let (before, now) = (self.number_of(before).await?, self.number_of(bundle).await?);
        let (window_before, window_now) = match windows {
            Some((before, now)) => (Some(before), Some(now)),
            None => (None, None),
        };
        let appeared = &ObjectDifference {
            item,
            of: now,
            without: before,
            created_in: window_before,
            limit,
        };
        let gone = &ObjectDifference {
            item,
            of: before,
            without: now,
            created_in: window_now,
            limit,
        };
        self.db
            .read("compare the objects", |mut db| async move {
                let (appeared, appeared_count) = appeared.find(&mut db).await?;
                let (gone, gone_count) = gone.find(&mut db).await?;
                let bind = |sql| query(sql).bind(now).bind(before).bind(item.as_str());
                let limit = to_i64(limit.min(PAGE_EVENTS_MAX).into());
                let changed =
                    fetch_all(&mut db, bind(CHANGED_OBJECTS).bind(limit), object_change).await?;
                let count = bind(COUNT_CHANGED_OBJECTS).fetch_one(&mut *db).await?;
                Ok(ObjectComparison {
                    appeared,
                    appeared_count,
                    gone,
                    gone_count,
                    changed,
                    changed_count: number(&count, "objects")?,
                })
            })
            .await
    }

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

/// Events of the bundles `of` that are not in the bundles `without`, both given as ranges of commit
/// numbers.
struct EventDifference<'k> {
    key: &'k PassKey,
    item: &'k ItemName,
    of: RangeInclusive<i64>,
    without: RangeInclusive<i64>,
    window: RangeInclusive<i64>,
    limit: u32,
}

impl EventDifference<'_> {
    async fn find(&self, db: &mut AnyConnection) -> Result<(Vec<EventRow>, u64), sqlx::Error> {
        let limit = to_i64(self.limit.min(PAGE_EVENTS_MAX).into());
        let rows = fetch_all(db, self.bind(EVENTS).bind(limit), event_row).await?;
        let count = self.bind(COUNT_EVENTS).fetch_one(db).await?;
        Ok((rows, number(&count, "events")?))
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

/// The part that both statements share: it subtracts the sets of events.
macro_rules! event_difference {
    ($rest:literal) => {
        concat!(
            "WITH difference AS (
                SELECT these.event
                FROM bundles JOIN event_records AS these ON these.bundle = bundles.number
                WHERE bundles.incident = $1 AND bundles.source = $2
                    AND bundles.number BETWEEN $3 AND $4 AND these.item = $9
                EXCEPT
                SELECT those.event
                FROM bundles JOIN event_records AS those ON those.bundle = bundles.number
                WHERE bundles.incident = $1 AND bundles.source = $2
                    AND bundles.number BETWEEN $5 AND $6 AND those.item = $9),
            compared AS (
                SELECT events.* FROM difference JOIN events
                    ON events.incident = $1 AND events.id = difference.event
                WHERE events.event_id IS NOT NULL AND events.happened_at BETWEEN $7 AND $8) ",
            $rest
        )
    };
}

const EVENTS: &str = event_difference!(
    ", page AS (
        SELECT * FROM compared ORDER BY happened_at, ordinal, id LIMIT $10),
    pointers AS (
        SELECT page.id AS event, event_records.bundle, event_records.item, event_records.record,
            ROW_NUMBER() OVER (PARTITION BY page.id
                ORDER BY event_records.bundle, event_records.record) AS nth,
            COUNT(*) OVER (PARTITION BY page.id) AS records
        FROM page JOIN event_records ON event_records.incident = page.incident
            AND event_records.event = page.id AND event_records.bundle BETWEEN $3 AND $4
            AND event_records.item = $9)
    SELECT page.id, page.source, page.account, page.kind, page.ordinal, page.body,
        bundles.id AS bundle_id, pointers.item, pointers.record, pointers.records
    FROM page JOIN pointers ON pointers.event = page.id AND pointers.nth = 1
        JOIN bundles ON bundles.number = pointers.bundle
    ORDER BY page.happened_at, page.ordinal, page.id"
);

const COUNT_EVENTS: &str = event_difference!("SELECT COUNT(*) AS events FROM compared");

/// Objects of one item in the bundle `of` that are not in the bundle `without`, both given by their
/// commit numbers.
struct ObjectDifference<'k> {
    item: &'k ItemName,
    of: i64,
    without: i64,
    /// Only objects that are known to have been created in this range.
    created_in: Option<RangeInclusive<Timestamp>>,
    limit: u32,
}

impl ObjectDifference<'_> {
    async fn find(&self, db: &mut AnyConnection) -> Result<(Vec<ObjectRow>, u64), sqlx::Error> {
        let limit = to_i64(self.limit.min(PAGE_EVENTS_MAX).into());
        let rows = fetch_all(db, self.bind(OBJECTS).bind(limit), object_row).await?;
        let count = self.bind(COUNT_OBJECTS).fetch_one(db).await?;
        Ok((rows, number(&count, "objects")?))
    }

    fn bind(&self, sql: &'static str) -> Query<'_> {
        let window = self.created_in.as_ref();
        query(sql)
            .bind(self.of)
            .bind(self.without)
            .bind(self.item.as_str())
            .bind(i64::from(window.is_some()))
            .bind(window.map_or(i64::MIN, |window| nanoseconds(*window.start())))
            .bind(window.map_or(i64::MAX, |window| nanoseconds(*window.end())))
    }
}

macro_rules! object_difference {
    ($select:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM objects AS these JOIN bundles ON bundles.number = these.bundle
            WHERE these.bundle = $1 AND these.item = $3
                AND ($4 = 0 OR these.created_at BETWEEN $5 AND $6)
                AND NOT EXISTS (
                    SELECT 1 FROM objects AS those
                    WHERE those.bundle = $2 AND those.item = $3 AND those.kind = these.kind
                        AND those.scope = these.scope AND those.id = these.id)",
            $rest
        )
    };
}

const OBJECTS: &str = object_difference!(
    "bundles.id AS bundle_id, these.item, these.record, these.body",
    " ORDER BY these.kind, these.scope, these.id LIMIT $7"
);

const COUNT_OBJECTS: &str = object_difference!("COUNT(*) AS objects", "");

macro_rules! changed_objects {
    ($select:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $select,
            " FROM objects AS these
                JOIN objects AS those ON those.bundle = $2 AND those.item = these.item
                    AND those.kind = these.kind AND those.scope = these.scope
                    AND those.id = these.id
                JOIN bundles ON bundles.number = these.bundle
            WHERE these.bundle = $1 AND these.item = $3 AND these.version <> those.version",
            $rest
        )
    };
}

const CHANGED_OBJECTS: &str = changed_objects!(
    "bundles.id AS bundle_id, these.item, these.record, these.body, those.body AS body_before",
    " ORDER BY these.kind, these.scope, these.id LIMIT $4"
);

const COUNT_CHANGED_OBJECTS: &str = changed_objects!("COUNT(*) AS objects", "");

#[cfg(test)]
pub(in crate::ledger) fn comparison_statements() -> [&'static str; 7] {
    [
        EVENTS,
        COUNT_EVENTS,
        OBJECTS,
        COUNT_OBJECTS,
        CHANGED_OBJECTS,
        COUNT_CHANGED_OBJECTS,
        super::items::LAST_COMPLETE_ITEM,
    ]
}

fn object_row(row: &AnyRow) -> Result<ObjectRow, sqlx::Error> {
    let pointer = RecordPointer {
        item: parsed(row, "item")?,
        record: number(row, "record")?,
    };
    Ok(ObjectRow {
        bundle: digest(row, "bundle_id")?,
        pointer,
        object: json(row, "body")?,
    })
}

fn object_change(row: &AnyRow) -> Result<ObjectChange, sqlx::Error> {
    Ok(ObjectChange {
        before: json(row, "body_before")?,
        now: object_row(row)?,
    })
}
