//! The timeline: what happened, derived from the bundles' records. A view, not evidence; each row
//! says where its evidence is.

mod compare;
mod insert;

pub use compare::BundleComparison;

use std::fmt;
use std::str::FromStr;

use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, ItemName};
use evidence_format::time::Timestamp;
use sqlx::any::AnyRow;
use sqlx::query;

use super::{Ledger, LedgerError, PassKey};
use crate::database::rows::{digest, fetch_all, get, nanoseconds, number, parsed, time, to_i64};

/// The most facts on one page.
const PAGE_FACTS_MAX: u32 = 10_000;

/// What one record of a bundle says that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The item that the record is in.
    pub item: ItemName,
    /// Its number in the item, from 0.
    pub record: u64,
    /// When it happened, by the record.
    pub time: Timestamp,
    /// What kind of thing, such as `aws.iam.create_access_key`. Up to 128 bytes are kept.
    pub kind: String,
    /// For people. Up to 4096 bytes are kept.
    pub summary: String,
    /// The provider's own id of the event, by which passes are compared. Of one past 512 bytes the
    /// digest is kept.
    pub event_id: Option<String>,
}

/// A row of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactRow {
    /// The bundle that it is derived from.
    pub bundle: Digest,
    /// The pass of that bundle.
    pub pass: PassKey,
    /// What happened.
    pub fact: Fact,
    /// The bundle's number in the ledger.
    bundle_number: i64,
}

/// Which rows of the timeline are asked for. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactFilter {
    /// Not before this time.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Of this source.
    pub source: Option<String>,
    /// The kind begins so.
    pub kind_prefix: String,
    /// The summary contains this; A to Z are as a to z.
    pub contains: String,
}

/// One page of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactPage {
    /// The rows, in order.
    pub facts: Vec<FactRow>,
    /// What to ask for next; `None` if there is no more.
    pub next: Option<FactCursor>,
}

/// A place in the timeline. It goes through APIs as text, and no value of it reaches more than its
/// incident's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactCursor {
    nanoseconds: i64,
    bundle_number: i64,
    item: String,
    record: i64,
}

/// The text is no place in a timeline.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no place in a timeline")]
pub struct ParseFactCursorError(String);

impl Ledger {
    /// The rows of `incident` that `filter` lets through, after `after`, by time, then in the order
    /// in which bundles were committed, then by item and record. At most `limit` of them, or 10
    /// 000.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn facts(
        &self,
        incident: &IncidentId,
        filter: &FactFilter,
        after: Option<&FactCursor>,
        limit: u32,
    ) -> Result<FactPage, LedgerError> {
        let limit = limit.clamp(1, PAGE_FACTS_MAX) as usize;
        let after = after.unwrap_or(&FIRST);
        // Given alone to the row comparison, a late cursor makes SQLite walk the index up to it: it
        // seeks by one lower bound.
        let first = filter
            .from
            .map_or(i64::MIN, nanoseconds)
            .max(after.nanoseconds);
        let last = filter
            .until
            .map_or(i64::MAX, |until| nanoseconds(until).saturating_sub(1));
        self.db
            .read("read the timeline", |mut db| async move {
                let select = query(SELECT_PAGE)
                    .bind(incident.as_str())
                    .bind(after.nanoseconds)
                    .bind(after.bundle_number);
                let select = select
                    .bind(after.item.as_str())
                    .bind(after.record)
                    .bind(first)
                    .bind(last);
                let select = select.bind(filter.source.as_deref());
                let select = select
                    .bind(filter.kind_prefix.as_str())
                    .bind(format!("{}\u{10ffff}", filter.kind_prefix));
                let select = select
                    .bind(like_pattern(&filter.contains))
                    .bind(to_i64(limit as u64 + 1));
                let mut facts = fetch_all(&mut db, select, fact_row).await?;
                let is_more = facts.len() > limit;
                facts.truncate(limit);
                let next = facts.last().filter(|_| is_more).map(FactCursor::after);
                Ok(FactPage { facts, next })
            })
            .await
    }
}

/// A filter that is absent is a parameter that lets all through, so that there is one statement,
/// and one plan for it.
const SELECT_PAGE: &str = "
    SELECT bundles.id AS bundle_id, bundles.incident, bundles.source, bundles.pass, facts.bundle, facts.item, facts.record,
        facts.happened_at, facts.kind, facts.summary, facts.event_id
    FROM facts JOIN bundles ON bundles.number = facts.bundle
    WHERE facts.incident = $1 AND (facts.happened_at, facts.bundle, facts.item, facts.record) > ($2, $3, $4, $5)
        AND facts.happened_at BETWEEN $6 AND $7 AND ($8 IS NULL OR bundles.source = $8)
        AND facts.kind >= $9 AND facts.kind < $10 AND LOWER(facts.summary) LIKE $11 ESCAPE '\\'
    ORDER BY facts.happened_at, facts.bundle, facts.item, facts.record LIMIT $12";

/// Before every row.
static FIRST: FactCursor = FactCursor {
    nanoseconds: i64::MIN,
    bundle_number: i64::MIN,
    item: String::new(),
    record: i64::MIN,
};

fn fact_row(row: &AnyRow) -> Result<FactRow, sqlx::Error> {
    let fact = Fact {
        item: parsed(row, "item")?,
        record: number(row, "record")?,
        time: time(row, "happened_at")?,
        kind: get(row, "kind")?,
        summary: get(row, "summary")?,
        event_id: get(row, "event_id")?,
    };
    Ok(FactRow {
        bundle: digest(row, "bundle_id")?,
        pass: super::passes::pass_key(row)?,
        fact,
        bundle_number: get(row, "bundle")?,
    })
}

fn like_pattern(contains: &str) -> String {
    let mut pattern = String::from("%");
    for c in contains.chars().map(|c| c.to_ascii_lowercase()) {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

impl FactCursor {
    fn after(row: &FactRow) -> Self {
        Self {
            nanoseconds: nanoseconds(row.fact.time),
            bundle_number: row.bundle_number,
            item: row.fact.item.to_string(),
            record: to_i64(row.fact.record),
        }
    }
}

impl fmt::Display for FactCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}_{}_{}_{}",
            self.nanoseconds, self.bundle_number, self.record, self.item
        )
    }
}

impl FromStr for FactCursor {
    type Err = ParseFactCursorError;

    fn from_str(text: &str) -> Result<Self, ParseFactCursorError> {
        let parse = || {
            let mut parts = text.splitn(4, '_');
            let mut number = || parts.next()?.parse().ok();
            let (nanoseconds, bundle_number, record) = (number()?, number()?, number()?);
            let item: ItemName = parts.next()?.parse().ok()?;
            Some(Self {
                nanoseconds,
                bundle_number,
                item: item.to_string(),
                record,
            })
        };
        parse().ok_or_else(|| ParseFactCursorError(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_its_text() {
        let cursor = FactCursor {
            nanoseconds: -5,
            bundle_number: 7,
            item: "okta_log-1.x".to_owned(),
            record: 9,
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in ["", "1_2_3", "1_2_3_", "a_2_3_x", "1_2_3_../x", "1_2_3_x\0"] {
            assert!(bad.parse::<FactCursor>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn wildcards_in_a_search_are_text() {
        assert_eq!(like_pattern("50%_Off\\"), "%50\\%\\_off\\\\%");
    }
}
