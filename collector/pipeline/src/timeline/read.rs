//! Reads a whole timeline in order: the journal's entries and the facts of all bundles, with one
//! page of facts in memory.

use std::collections::VecDeque;
use std::vec;

use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;

use domain::incident::{EvidenceRef, JournalEntry, TimelineRow};
use store::ledger::{FactCursor, FactFilter, FactRow, Ledger, LedgerError};

/// Facts that are read at once.
const FACTS_PER_PAGE: u32 = 2000;

/// Selects rows of a timeline; the default selects all.
#[derive(Debug, Clone, Default)]
pub struct TimelineFilter {
    /// Included.
    pub from: Option<Timestamp>,
    /// Excluded.
    pub until: Option<Timestamp>,
    /// Prefixes of kinds; empty selects all kinds.
    pub kinds: Vec<String>,
    /// Text in the summary, in any case.
    pub contains: Option<String>,
}

/// Reads a timeline from its beginning.
pub struct TimelineReader<'l> {
    ledger: &'l Ledger,
    incident: IncidentId,
    filter: TimelineFilter,
    entries: std::iter::Peekable<vec::IntoIter<JournalEntry>>,
    facts: VecDeque<FactRow>,
    /// Where the next page of facts begins, `Some(None)` for the first; `None` after the last.
    next: Option<Option<FactCursor>>,
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
        entries.retain(|entry| filter.matches(entry.at, entry.kind(), &entry.summary()));
        let entries = entries.into_iter().peekable();
        Self {
            ledger,
            incident: incident.clone(),
            filter,
            entries,
            facts: VecDeque::new(),
            next: Some(None),
        }
    }

    /// The next row; `None` after the last.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next(&mut self) -> Result<Option<TimelineRow>, LedgerError> {
        // A loop: a page of facts may contain none that matches.
        while self.facts.is_empty() && self.next.is_some() {
            self.more().await?;
        }
        let entry_first = match (self.entries.peek(), self.facts.front()) {
            // An entry comes first at the same time: it may explain the event.
            (Some(entry), Some(fact)) => entry.at <= fact.fact.time,
            (entry, _) => entry.is_some(),
        };
        if entry_first {
            return Ok(self.entries.next().map(TimelineRow::from));
        }
        Ok(self.facts.pop_front().map(fact_row))
    }

    async fn more(&mut self) -> Result<(), LedgerError> {
        let filter = FactFilter {
            from: self.filter.from,
            until: self.filter.until,
            ..FactFilter::default()
        };
        let after = self.next.take().flatten();
        let page = self
            .ledger
            .facts(&self.incident, &filter, after.as_ref(), FACTS_PER_PAGE)
            .await?;
        self.next = page.next.map(Some);
        self.facts.extend(page.facts.into_iter().filter(|row| {
            self.filter
                .matches(row.fact.time, &row.fact.kind, &row.fact.summary)
        }));
        Ok(())
    }
}

impl TimelineFilter {
    pub(super) fn matches(&self, time: Timestamp, kind: &str, summary: &str) -> bool {
        let in_time = self.from.is_none_or(|from| from <= time)
            && self.until.is_none_or(|until| time < until);
        let of_kind = self.kinds.is_empty()
            || self
                .kinds
                .iter()
                .any(|begin| kind.starts_with(begin.as_str()));
        let has_text = self
            .contains
            .as_ref()
            .is_none_or(|text| summary.to_lowercase().contains(&text.to_lowercase()));
        in_time && of_kind && has_text
    }
}

/// The row of a fact.
pub(super) fn fact_row(row: FactRow) -> TimelineRow {
    let evidence = EvidenceRef {
        bundle: row.bundle,
        item: Some(row.fact.item),
        record: Some(row.fact.record),
    };
    TimelineRow {
        time: row.fact.time,
        kind: row.fact.kind,
        summary: row.fact.summary,
        by: None,
        evidence: Some(evidence),
    }
}
