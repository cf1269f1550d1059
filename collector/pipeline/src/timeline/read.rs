//! Reads a whole timeline in order: the journal's entries and the events of all bundles, with one
//! page of events in memory.

use std::collections::VecDeque;
use std::vec;

use evidence_format::id::IncidentId;

use super::{LINE_DIGITS, TimelineFilter};
use domain::incident::{EvidenceRef, JournalEntry, TimelineRow};
use store::ledger::{EventCursor, EventRow, Ledger, LedgerError};

/// Events that are read at once.
const EVENTS_PER_PAGE: u32 = 2000;

/// Reads a timeline from its beginning.
pub struct TimelineReader<'l> {
    ledger: &'l Ledger,
    incident: IncidentId,
    filter: TimelineFilter,
    entries: std::iter::Peekable<vec::IntoIter<JournalEntry>>,
    events: VecDeque<EventRow>,
    /// Where the next page of events begins, `Some(None)` for the first; `None` after the last.
    next: Option<Option<EventCursor>>,
}

impl<'l> TimelineReader<'l> {
    /// Reads the timeline of `incident`, whose journal is `entries`.
    #[must_use]
    pub fn new(
        ledger: &'l Ledger,
        incident: &IncidentId,
        mut entries: Vec<JournalEntry>,
        filter: TimelineFilter,
    ) -> Self {
        entries.retain(|entry| filter.matches_entry(entry));
        let entries = entries.into_iter().peekable();
        Self {
            ledger,
            incident: incident.clone(),
            filter,
            entries,
            events: VecDeque::new(),
            next: Some(None),
        }
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next(&mut self) -> Result<Option<TimelineRow>, LedgerError> {
        // A loop: a page of events may contain none that matches.
        while self.events.is_empty() && self.next.is_some() {
            self.more().await?;
        }
        let entry_first = match (self.entries.peek(), self.events.front()) {
            // An entry comes first at the same time: it may explain the event.
            (Some(entry), Some(row)) => entry.at <= row.event.time,
            (entry, _) => entry.is_some(),
        };
        if entry_first {
            return Ok(self.entries.next().map(TimelineRow::from));
        }
        Ok(self.events.pop_front().map(event_row))
    }

    async fn more(&mut self) -> Result<(), LedgerError> {
        let after = self.next.take().flatten();
        let filter = self.filter.in_database();
        let page = self
            .ledger
            .events(&self.incident, &filter, after.as_ref(), EVENTS_PER_PAGE)
            .await?;
        self.next = page.next.map(Some);
        let rows = page.events.into_iter();
        self.events
            .extend(rows.filter(|row| self.filter.matches_event(&row.event)));
        Ok(())
    }
}

/// The row of an event.
#[must_use]
pub fn event_row(row: EventRow) -> TimelineRow {
    let mut evidence = row
        .evidence
        .into_iter()
        .map(|(bundle, pointer)| EvidenceRef {
            bundle,
            item: Some(pointer.item),
            record: Some(pointer.record),
        });
    TimelineRow {
        time: row.event.time,
        line: row.id.as_str()[..LINE_DIGITS].to_owned(),
        kind: row.kind,
        summary: row.event.summary.clone(),
        by: None,
        evidence: evidence.next(),
        event: Some(Box::new(row.event)),
        other_evidence: evidence.collect(),
        records: (row.records > 1).then_some(row.records),
    }
}
