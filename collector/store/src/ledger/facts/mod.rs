//! The timeline: facts derived from the records of bundles. A view, not evidence; each row names
//! the record that is its evidence.

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

/// The largest page.
const PAGE_FACTS_MAX: u32 = 10_000;

/// An event that one record of a bundle reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The item that contains the record.
    pub item: ItemName,
    /// Number of the record in the item, from 0.
    pub record: u64,
    /// The time that the record gives.
    pub time: Timestamp,
    /// Kind of event, such as `aws.iam.create_access_key`. Stored up to 128 bytes.
    pub kind: String,
    /// One line for people. Stored up to 4096 bytes.
    pub summary: String,
    /// The provider's id of the event, by which passes are compared. An id past 512 bytes is stored
    /// as its digest.
    pub event_id: Option<String>,
}

/// A row of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactRow {
    /// The bundle that it was derived from.
    pub bundle: Digest,
    pub pass: PassKey,
    pub fact: Fact,
    /// The bundle's commit number.
    bundle_number: i64,
}

/// Selects rows of the timeline. The default selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FactFilter {
    /// Earliest time.
    pub from: Option<Timestamp>,
    /// The time must be before this.
    pub until: Option<Timestamp>,
    pub source: Option<String>,
    /// The kind begins with this.
    pub kind_prefix: String,
    /// The summary contains this, ignoring the case of A to Z.
    pub contains: String,
}

/// One page of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactPage {
    pub facts: Vec<FactRow>,
    /// Cursor of the next page; `None` on the last page.
    pub next: Option<FactCursor>,
}

/// A position in the timeline, after one of its rows. Clients send it back as text. It is not
/// secret and not trusted: whatever it holds, the query reads only rows of its own incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactCursor {
    nanoseconds: i64,
    bundle_number: i64,
    item: String,
    record: i64,
}

/// The text is not a cursor of a timeline.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a cursor of a timeline")]
pub struct ParseFactCursorError(String);

impl Ledger {
    /// The rows of `incident` that match `filter` and follow `after`, by time, then by commit order
    /// of the bundles, then by item and record. At most `limit` of them, and never more than 10
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
        // SQLite seeks in an index by one lower bound only, and does not take it from the row
        // comparison with the cursor: without this bound it would walk the index up to the cursor.
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
                    .bind(after.bundle_number)
                    .bind(after.item.as_str())
                    .bind(after.record)
                    .bind(first)
                    .bind(last)
                    .bind(filter.source.as_deref())
                    .bind(filter.kind_prefix.as_str())
                    // Kinds with the prefix sort before the prefix and the highest character.
                    .bind(format!("{}\u{10ffff}", filter.kind_prefix))
                    .bind(like_pattern(&filter.contains))
                    // One more than the page holds, to know whether there is a next page.
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

/// An absent filter is bound to a value that matches every row, so that one statement, and one
/// query plan, serves all filters.
const SELECT_PAGE: &str = "
    SELECT bundles.id AS bundle_id, bundles.incident, bundles.source, bundles.pass, facts.bundle,
        facts.item, facts.record, facts.happened_at, facts.kind, facts.summary, facts.event_id
    FROM facts JOIN bundles ON bundles.number = facts.bundle
    WHERE facts.incident = $1
        AND (facts.happened_at, facts.bundle, facts.item, facts.record) > ($2, $3, $4, $5)
        AND facts.happened_at BETWEEN $6 AND $7 AND ($8 IS NULL OR bundles.source = $8)
        AND facts.kind >= $9 AND facts.kind < $10 AND LOWER(facts.summary) LIKE $11 ESCAPE '\\'
    ORDER BY facts.happened_at, facts.bundle, facts.item, facts.record LIMIT $12";

/// Sorts before every row.
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

/// A `LIKE` pattern that finds `contains` anywhere, in lower case, with its wildcards escaped.
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
        parse_cursor(text).ok_or_else(|| ParseFactCursorError(text.chars().take(80).collect()))
    }
}

fn parse_cursor(text: &str) -> Option<FactCursor> {
    let mut parts = text.splitn(4, '_'); // the item comes last, because its name may contain `_`
    let nanoseconds = parts.next()?.parse().ok()?;
    let bundle_number = parts.next()?.parse().ok()?;
    let record = parts.next()?.parse().ok()?;
    let item: ItemName = parts.next()?.parse().ok()?;
    Some(FactCursor {
        nanoseconds,
        bundle_number,
        item: item.to_string(),
        record,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_parses_from_its_text() {
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
    fn escapes_wildcards_of_like() {
        assert_eq!(like_pattern("50%_Off\\"), "%50\\%\\_off\\\\%");
    }
}
