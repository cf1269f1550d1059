//! Reads events page by page, and one by the beginning of its id.

use std::fmt;
use std::str::FromStr;

use evidence_derive::ActivityEvent;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, query};

use super::{EventFilter, EventId, RecordPointer};
use crate::database::rows::{Query, digest, fetch_all, get, nanoseconds, number, parsed, to_i64};
use crate::ledger::{Ledger, LedgerError};

/// The largest page.
pub(super) const PAGE_EVENTS_MAX: u32 = 10_000;

/// Records that a row lists: an attacker can write the same line to a log as often as they like.
pub const RECORDS_LISTED_MAX: u32 = 100;

/// An event, and the records that deliver it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    pub id: EventId,
    pub source: String,
    pub account: Option<String>,
    pub kind: String,
    pub event: ActivityEvent,
    /// In the order of commits; never empty, and at most [`RECORDS_LISTED_MAX`].
    pub evidence: Vec<(Digest, RecordPointer)>,
    /// Number of records that deliver the event.
    pub records: u64,
    ordinal: i64,
}

/// One page of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    pub events: Vec<EventRow>,
    /// Cursor of the next page; `None` on the last page.
    pub next: Option<EventCursor>,
}

/// An event without the records that deliver it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedEvent {
    pub id: EventId,
    pub source: String,
    pub kind: String,
    pub event: ActivityEvent,
    ordinal: i64,
}

/// One page of events without their records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventScan {
    pub events: Vec<ScannedEvent>,
    /// Cursor of the next page; `None` on the last page.
    pub next: Option<EventCursor>,
}

/// A position in the timeline, after one of its events. Clients send it back as text. It is not
/// secret and not trusted: whatever it holds, the query reads only rows of its own incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventCursor {
    nanoseconds: i64,
    ordinal: i64,
    id: String,
}

/// The text is not a cursor of a timeline.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a cursor of a timeline")]
pub struct ParseEventCursorError(String);

impl Ledger {
    /// The events of `incident` that match `filter` and follow `after`, by time. At most `limit` of
    /// them, and never more than 10 000.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn events(
        &self,
        incident: &IncidentId,
        filter: &EventFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<EventPage, LedgerError> {
        let limit = limit.clamp(1, PAGE_EVENTS_MAX) as usize;
        let page = &PageRequest::new(incident, filter, after, limit);
        let sql = &with_records(&page.sql);
        self.db
            .read("read the timeline", |mut db| async move {
                let mut events = fetch_events(&mut db, page.bind(sql)).await?;
                let is_more = events.len() > limit;
                events.truncate(limit);
                let next = events.last().filter(|_| is_more).map(EventCursor::after);
                Ok(EventPage { events, next })
            })
            .await
    }

    /// The same without the records, which cost more to read than the events: for what counts
    /// events.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn scan_events(
        &self,
        incident: &IncidentId,
        filter: &EventFilter,
        after: Option<&EventCursor>,
        limit: u32,
    ) -> Result<EventScan, LedgerError> {
        let limit = limit.clamp(1, PAGE_EVENTS_MAX) as usize;
        let page = &PageRequest::new(incident, filter, after, limit);
        self.db
            .read("scan the timeline", |mut db| async move {
                let mut events = fetch_all(&mut db, page.bind(&page.sql), scanned_event).await?;
                let is_more = events.len() > limit;
                events.truncate(limit);
                let next = events.last().filter(|_| is_more).map(|last| EventCursor {
                    nanoseconds: nanoseconds(last.event.time),
                    ordinal: last.ordinal,
                    id: last.id.to_string(),
                });
                Ok(EventScan { events, next })
            })
            .await
    }

    /// The events of `incident` with these whole ids, in the order of time. Ids that no event has
    /// are left out.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn events_by_id(
        &self,
        incident: &IncidentId,
        ids: &[&str],
    ) -> Result<Vec<EventRow>, LedgerError> {
        let mut events = Vec::new();
        for ids in ids.chunks(IDS_AT_ONCE) {
            let sql = &events_by_id_statement(ids.len());
            let found = self
                .db
                .read::<_, LedgerError, _>("find the events", |mut db| async move {
                    let mut select = query(AssertSqlSafe(sql.clone())).bind(incident.as_str());
                    for id in ids {
                        select = select.bind(*id);
                    }
                    fetch_events(&mut db, select).await
                })
                .await?;
            events.extend(found);
        }
        Ok(events)
    }

    /// The event of `incident` whose id begins with `prefix`. `None` if there is none, or if
    /// `prefix` cannot begin an id.
    ///
    /// # Errors
    /// [`LedgerError::AmbiguousEvent`] if several ids begin with it, and failures of the database.
    pub async fn event(
        &self,
        incident: &IncidentId,
        prefix: &str,
    ) -> Result<Option<EventRow>, LedgerError> {
        if prefix.is_empty()
            || prefix.len() > EventId::DIGITS
            || !prefix
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Ok(None);
        }
        // A range, so that the primary key serves the search; 'g' follows the last hex digit.
        let past_all = &format!("{prefix}g");
        let sql = &event_statement();
        let mut found = self
            .db
            .read::<_, LedgerError, _>("find the event", |mut db| async move {
                let select = query(AssertSqlSafe(sql.clone()))
                    .bind(incident.as_str())
                    .bind(prefix)
                    .bind(past_all.as_str());
                fetch_events(&mut db, select).await
            })
            .await?;
        match found.len() {
            0 | 1 => Ok(found.pop()),
            _ => Err(LedgerError::AmbiguousEvent(prefix.to_owned())),
        }
    }
}

pub(in crate::ledger) fn event_statement() -> String {
    with_records(
        "SELECT events.* FROM events
        WHERE events.incident = $1 AND events.id >= $2 AND events.id < $3
        ORDER BY events.id LIMIT 2",
    )
}

/// Ids that one statement looks up.
const IDS_AT_ONCE: usize = 100;

pub(in crate::ledger) fn events_by_id_statement(ids: usize) -> String {
    let ids: Vec<String> = (2..2 + ids)
        .map(|parameter| format!("${parameter}"))
        .collect();
    with_records(&format!(
        "SELECT events.* FROM events WHERE events.incident = $1 AND events.id IN ({})",
        ids.join(", ")
    ))
}

/// A statement for a page of events, and the values of its parameters.
struct PageRequest<'r> {
    /// Selects the events alone.
    sql: String,
    incident: &'r IncidentId,
    after: &'r EventCursor,
    first: i64,
    last: i64,
    limit: usize,
    texts: Vec<String>,
}

impl<'r> PageRequest<'r> {
    fn new(
        incident: &'r IncidentId,
        filter: &EventFilter,
        after: Option<&'r EventCursor>,
        limit: usize,
    ) -> Self {
        let after = after.unwrap_or(&FIRST);
        let (sql, texts) = scan_statement(filter);
        Self {
            sql,
            incident,
            after,
            // SQLite seeks in an index by one lower bound only, and does not take it from the row
            // comparison with the cursor: without this bound it would walk the index up to the
            // cursor.
            first: filter
                .from
                .map_or(i64::MIN, nanoseconds)
                .max(after.nanoseconds),
            last: filter
                .until
                .map_or(i64::MAX, |until| nanoseconds(until).saturating_sub(1)),
            limit,
            texts,
        }
    }

    fn bind<'q>(&'q self, sql: &str) -> Query<'q> {
        let mut select = query(AssertSqlSafe(sql.to_owned()))
            .bind(self.incident.as_str())
            .bind(self.after.nanoseconds)
            .bind(self.after.ordinal)
            .bind(self.after.id.as_str())
            .bind(self.first)
            .bind(self.last)
            // One more than the page holds, to know whether there is a next page.
            .bind(to_i64(self.limit as u64 + 1));
        for text in &self.texts {
            select = select.bind(text.as_str());
        }
        select
    }
}

#[cfg(test)]
pub(in crate::ledger) fn page_statement(filter: &EventFilter) -> (String, Vec<String>) {
    let (sql, texts) = scan_statement(filter);
    (with_records(&sql), texts)
}

/// The statement for the events of a page, and the values of its parameters from `$8` on.
pub(in crate::ledger) fn scan_statement(filter: &EventFilter) -> (String, Vec<String>) {
    let selection = filter.selection(8);
    let (from, conditions, order) = (selection.from, selection.conditions, selection.order);
    let time = order.split(',').next().expect("the time comes first");
    let table = time.split('.').next().expect("a table");
    let page = format!(
        "SELECT events.* FROM {from}
        WHERE {table}.incident = $1 AND ({order}) > ($2, $3, $4) AND {time} BETWEEN $5 AND $6
            {conditions}
        ORDER BY {order} LIMIT $7"
    );
    (page, selection.texts)
}

fn scanned_event(row: &AnyRow) -> Result<ScannedEvent, sqlx::Error> {
    Ok(ScannedEvent {
        id: EventId(get(row, "id")?),
        source: get(row, "source")?,
        kind: get(row, "kind")?,
        event: json(row, "body")?,
        ordinal: get(row, "ordinal")?,
    })
}

/// Adds the records of each event that `page` selects, a row for each.
fn with_records(page: &str) -> String {
    format!(
        "WITH page AS ({page}),
        pointers AS (
            SELECT event_records.event, event_records.bundle, event_records.item,
                event_records.record,
                ROW_NUMBER() OVER (PARTITION BY event_records.event
                    ORDER BY event_records.bundle, event_records.item, event_records.record) AS nth,
                COUNT(*) OVER (PARTITION BY event_records.event) AS records
            FROM page JOIN event_records
                ON event_records.incident = page.incident AND event_records.event = page.id)
        SELECT page.id, page.source, page.account, page.kind, page.ordinal, page.body,
            bundles.id AS bundle_id, pointers.item, pointers.record, pointers.records
        FROM page JOIN pointers
                ON pointers.event = page.id AND pointers.nth <= {RECORDS_LISTED_MAX}
            JOIN bundles ON bundles.number = pointers.bundle
        ORDER BY page.happened_at, page.ordinal, page.id, pointers.nth"
    )
}

/// Sorts before every row.
static FIRST: EventCursor = EventCursor {
    nanoseconds: i64::MIN,
    ordinal: i64::MIN,
    id: String::new(),
};

/// Joins the rows of each event, which differ in their record only.
async fn fetch_events(
    db: &mut AnyConnection,
    select: Query<'_>,
) -> Result<Vec<EventRow>, sqlx::Error> {
    let mut events: Vec<EventRow> = Vec::new();
    for row in select.fetch_all(db).await? {
        match events.last_mut() {
            Some(last) if last.id.as_str() == get::<&str>(&row, "id")? => {
                last.evidence.push(pointer(&row)?);
            }
            Some(_) | None => events.push(event_row(&row)?),
        }
    }
    Ok(events)
}

pub(super) fn event_row(row: &AnyRow) -> Result<EventRow, sqlx::Error> {
    Ok(EventRow {
        id: EventId(get(row, "id")?),
        source: get(row, "source")?,
        account: get(row, "account")?,
        kind: get(row, "kind")?,
        event: json(row, "body")?,
        evidence: vec![pointer(row)?],
        records: number(row, "records")?,
        ordinal: get(row, "ordinal")?,
    })
}

fn pointer(row: &AnyRow) -> Result<(Digest, RecordPointer), sqlx::Error> {
    let pointer = RecordPointer {
        item: parsed(row, "item")?,
        record: number(row, "record")?,
    };
    Ok((digest(row, "bundle_id")?, pointer))
}

/// Reads a column of JSON.
pub(super) fn json<T: serde::de::DeserializeOwned>(
    row: &AnyRow,
    column: &'static str,
) -> Result<T, sqlx::Error> {
    serde_json::from_str(get(row, column)?).map_err(|cause| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: cause.into(),
    })
}

impl EventCursor {
    fn after(row: &EventRow) -> Self {
        Self {
            nanoseconds: nanoseconds(row.event.time),
            ordinal: row.ordinal,
            id: row.id.to_string(),
        }
    }
}

impl fmt::Display for EventCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}", self.nanoseconds, self.ordinal, self.id)
    }
}

impl FromStr for EventCursor {
    type Err = ParseEventCursorError;

    fn from_str(text: &str) -> Result<Self, ParseEventCursorError> {
        parse_cursor(text).ok_or_else(|| ParseEventCursorError(text.chars().take(80).collect()))
    }
}

fn parse_cursor(text: &str) -> Option<EventCursor> {
    let mut parts = text.splitn(3, '_');
    let nanoseconds = parts.next()?.parse().ok()?;
    let ordinal = parts.next()?.parse().ok()?;
    let id = parts.next()?;
    let is_id =
        id.len() == EventId::DIGITS && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_id.then(|| EventCursor {
        nanoseconds,
        ordinal,
        id: id.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_parses_from_its_text() {
        let cursor = EventCursor {
            nanoseconds: -5,
            ordinal: -7,
            id: "0123456789abcdef0123456789abcdef".to_owned(),
        };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in [
            "",
            "1_2",
            "1_2_",
            "a_2_0123456789abcdef0123456789abcdef",
            "1_2_../x",
            "1_2_x\0",
        ] {
            assert!(bad.parse::<EventCursor>().is_err(), "{bad:?}");
        }
    }
}
