//! Reads a timeline page by page, with a cursor that clients keep between requests.

use std::fmt;
use std::str::FromStr;

use evidence_format::id::IncidentId;

use super::read::{TimelineFilter, fact_row};
use domain::incident::{JournalEntry, TimelineRow};
use store::ledger::{FactCursor, FactFilter, Ledger, LedgerError};

/// Pages of facts that are read for one in which the filter matches any: a request must end.
const EMPTY_PAGES_MAX: usize = 20;

/// A position in the timeline of an incident. APIs pass it as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelineCursor {
    /// Entries of the journal before it.
    seq: u64,
    /// The last fact before it.
    fact: Option<FactCursor>,
}

/// The text is not a timeline cursor.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a timeline cursor: use that of an earlier page")]
pub struct ParseTimelineCursorError(String);

/// A page of a timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelinePage {
    /// In the order of their times.
    pub rows: Vec<TimelineRow>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<TimelineCursor>,
}

/// Reads the page of `incident` after the cursor `after`: up to `limit` facts, and the entries of
/// its journal (`entries`) between them. A page that is not the last may be empty, if the filter
/// matches little.
///
/// # Errors
/// The database failed.
pub async fn page(
    ledger: &Ledger,
    incident: &IncidentId,
    entries: Vec<JournalEntry>,
    filter: &TimelineFilter,
    after: Option<&TimelineCursor>,
    limit: u32,
) -> Result<TimelinePage, LedgerError> {
    let mut position = after.cloned().unwrap_or_default();
    let in_database = database_filter(filter);
    let mut facts = Vec::new();
    for _ in 0..EMPTY_PAGES_MAX {
        let page = ledger
            .facts(incident, &in_database, position.fact.as_ref(), limit)
            .await?;
        let last = page.facts.last().map(|row| row.fact.time);
        let taken = page
            .facts
            .into_iter()
            // The database's filter is the coarser one.
            .filter(|row| filter.matches(row.fact.time, &row.fact.kind, &row.fact.summary));
        facts.extend(taken.map(fact_row));
        let Some(next) = page.next else {
            let rest = entries.into_iter().filter(|entry| entry.seq > position.seq);
            return Ok(TimelinePage {
                rows: merge(rest, facts, filter),
                next: None,
            });
        };
        position.fact = Some(next);
        if !facts.is_empty() {
            let until = last.expect("a page with a next one has facts");
            // later entries belong between facts of the next page
            let between: Vec<_> = entries
                .iter()
                .filter(|entry| entry.seq > position.seq)
                .take_while(|entry| entry.at <= until)
                .cloned()
                .collect();
            position.seq += between.len() as u64;
            return Ok(TimelinePage {
                rows: merge(between.into_iter(), facts, filter),
                next: Some(position),
            });
        }
    }
    Ok(TimelinePage {
        rows: Vec::new(),
        next: Some(position),
    })
}

/// The part of a filter that the database applies.
fn database_filter(filter: &TimelineFilter) -> FactFilter {
    let kind_prefix = match filter.kinds.as_slice() {
        [only] => only.clone(),
        [] | [_, _, ..] => String::new(), // the database takes one prefix
    };
    let contains = filter
        .contains
        .clone()
        .filter(|text| text.is_ascii())
        .unwrap_or_default(); // SQLite ignores the case of ASCII only
    FactFilter {
        from: filter.from,
        until: filter.until,
        source: None,
        kind_prefix,
        contains,
    }
}

/// Merges by time; entries before facts of the same time, as in [`super::TimelineReader`].
fn merge(
    entries: impl Iterator<Item = JournalEntry>,
    facts: Vec<TimelineRow>,
    filter: &TimelineFilter,
) -> Vec<TimelineRow> {
    let mut entries = entries
        .filter(|entry| filter.matches(entry.at, entry.kind(), &entry.summary()))
        .peekable();
    let mut rows = Vec::new();
    for fact in facts {
        while let Some(entry) = entries.next_if(|entry| entry.at <= fact.time) {
            rows.push(TimelineRow::from(entry));
        }
        rows.push(fact);
    }
    rows.extend(entries.map(TimelineRow::from));
    rows
}

impl fmt::Display for TimelineCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~", self.seq)?;
        self.fact
            .as_ref()
            .map_or(Ok(()), |fact| write!(f, "{fact}"))
    }
}

impl FromStr for TimelineCursor {
    type Err = ParseTimelineCursorError;

    fn from_str(text: &str) -> Result<Self, ParseTimelineCursorError> {
        Self::parse(text).ok_or_else(|| ParseTimelineCursorError(text.chars().take(80).collect()))
    }
}

impl TimelineCursor {
    fn parse(text: &str) -> Option<Self> {
        let (seq, fact) = text.split_once('~')?;
        let fact = if fact.is_empty() {
            None
        } else {
            Some(fact.parse().ok()?)
        };
        Some(Self {
            seq: seq.parse().ok()?,
            fact,
        })
    }
}

#[cfg(test)]
mod tests {
    use evidence_format::time::Timestamp;

    use super::*;
    use crate::timeline::TimelineReader;
    use domain::incident::{IncidentEvent, Name};
    use store::ledger::{Fact, PassKey};
    use store::testing::{add_bundle, add_pass, at, sqlite};

    fn fact(record: u64, time: Timestamp) -> Fact {
        let kind = if record.is_multiple_of(3) {
            "aws.ConsoleLogin"
        } else {
            "aws.GetObject"
        };
        let summary = format!("event {record}");
        Fact {
            item: "okta-1".parse().expect("an item"),
            record,
            time,
            kind: kind.to_owned(),
            summary,
            event_id: None,
        }
    }

    fn entry(seq: u64, at: Timestamp) -> JournalEntry {
        let event = IncidentEvent::Note {
            text: format!("note {seq}").parse().expect("a note"),
        };
        JournalEntry {
            seq,
            at,
            by: Name::escaped("Ann"),
            event,
        }
    }

    /// Facts at 0, 10, 20 … s and notes at 5, 35, 65 … s, the last of which is after all facts.
    async fn sample(ledger: &Ledger) -> (PassKey, Vec<JournalEntry>) {
        let pass = add_pass(ledger, "INC-1", 0).await;
        let bundle = add_bundle(ledger, &pass).await;
        let facts: Vec<_> = (0..20)
            .map(|n| fact(n, at(10 * i64::try_from(n).expect("small"))))
            .collect();
        ledger
            .add_facts(&bundle.id, &facts)
            .await
            .expect("a database");
        (
            pass,
            (1..9)
                .map(|seq| entry(seq, at(30 * i64::try_from(seq).expect("small") - 25)))
                .collect(),
        )
    }

    async fn all(
        ledger: &Ledger,
        incident: &IncidentId,
        entries: &[JournalEntry],
        filter: &TimelineFilter,
    ) -> Vec<TimelineRow> {
        let mut read = TimelineReader::new(ledger, incident, entries.to_vec(), filter.clone());
        let mut rows = Vec::new();
        while let Some(row) = read.next().await.expect("a database") {
            rows.push(row);
        }
        rows
    }

    #[tokio::test]
    async fn pages_together_are_the_whole_timeline() {
        let (ledger, _folder) = sqlite().await;
        let (pass, entries) = sample(&ledger).await;
        let filters = [
            TimelineFilter::default(),
            TimelineFilter {
                kinds: vec!["aws.ConsoleLogin".to_owned()],
                ..TimelineFilter::default()
            },
            TimelineFilter {
                kinds: vec!["aws.C".to_owned(), "note".to_owned()],
                ..TimelineFilter::default()
            },
            TimelineFilter {
                from: Some(at(40)),
                until: Some(at(100)),
                ..TimelineFilter::default()
            },
            TimelineFilter {
                contains: Some("EVENT 1".to_owned()),
                ..TimelineFilter::default()
            },
            TimelineFilter {
                contains: Some("é".to_owned()),
                ..TimelineFilter::default()
            },
        ];
        for filter in filters {
            let whole = all(&ledger, &pass.incident, &entries, &filter).await;
            for limit in [1, 3, 7, 100] {
                let (mut rows, mut cursor) = (Vec::new(), None);
                loop {
                    let page = page(
                        &ledger,
                        &pass.incident,
                        entries.clone(),
                        &filter,
                        cursor.as_ref(),
                        limit,
                    )
                    .await;
                    let page = page.expect("a database");
                    rows.extend(page.rows);
                    let Some(next) = page.next else { break };
                    cursor = Some(
                        next.to_string()
                            .parse::<TimelineCursor>()
                            .expect("its own text"),
                    );
                }
                assert_eq!(rows, whole, "{filter:?}, {limit} at once");
            }
        }
    }

    #[test]
    fn rejects_text_that_is_no_cursor() {
        for bad in ["", "1", "~", "x~", "1~1_2", "-1~"] {
            assert!(bad.parse::<TimelineCursor>().is_err(), "{bad:?}");
        }
        assert_eq!(
            "7~".parse::<TimelineCursor>().expect("a place").to_string(),
            "7~"
        );
    }
}
