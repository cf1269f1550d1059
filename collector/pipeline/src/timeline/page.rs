//! A page of a timeline, for those who come back for the next one.

use std::fmt;
use std::str::FromStr;

use evidence_format::id::IncidentId;

use super::read::{Filter, fact_row};
use domain::incident::{JournalEntry, TimelineRow};
use store::ledger::{FactCursor, FactFilter, Ledger, LedgerError};

/// Pages of facts that are looked through for one that has any which the filter takes.
const EMPTY_PAGES_MAX: usize = 20;

/// A place in the timeline of an incident. It goes through APIs as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Entries of the journal before it.
    seq: u64,
    /// The last fact before it.
    fact: Option<FactCursor>,
}

/// The text is no place in a timeline.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no place in a timeline that an earlier page gave")]
pub struct ParsePlaceError(String);

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Lines, in order.
    pub rows: Vec<TimelineRow>,
    /// Where the next page begins; `None` if there is no more.
    pub next: Option<Cursor>,
}

/// The lines of `incident`, whose journal is `entries`, behind `after`: up to `limit` facts, and
/// the journal's entries between them. A page may be empty and not the last, where the filter takes
/// little.
///
/// # Errors
/// The database failed.
pub async fn page(
    ledger: &Ledger,
    incident: &IncidentId,
    entries: Vec<JournalEntry>,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: u32,
) -> Result<Page, LedgerError> {
    let mut place = after.cloned().unwrap_or_default();
    let narrowed = narrowed(filter);
    let mut facts = Vec::new();
    for _ in 0..EMPTY_PAGES_MAX {
        let page = ledger
            .facts(incident, &narrowed, place.fact.as_ref(), limit)
            .await?;
        let last = page.facts.last().map(|row| row.fact.time);
        let taken = page
            .facts
            .into_iter()
            .filter(|row| filter.takes(row.fact.time, &row.fact.kind, &row.fact.summary));
        facts.extend(taken.map(fact_row));
        let Some(next) = page.next else {
            let rest = entries.into_iter().filter(|entry| entry.seq > place.seq);
            return Ok(Page {
                rows: merged(rest, facts, filter),
                next: None,
            });
        };
        place.fact = Some(next);
        if !facts.is_empty() {
            let until = last.expect("a page with a next one has facts");
            let is_before = |entry: &JournalEntry| entry.seq > place.seq && entry.at <= until;
            let between: Vec<_> = entries
                .iter()
                .filter(|entry| entry.seq > place.seq)
                .take_while(|e| is_before(e))
                .cloned()
                .collect();
            place.seq += between.len() as u64;
            return Ok(Page {
                rows: merged(between.into_iter(), facts, filter),
                next: Some(place),
            });
        }
    }
    Ok(Page {
        rows: Vec::new(),
        next: Some(place),
    })
}

/// What of a filter the database can do.
fn narrowed(filter: &Filter) -> FactFilter {
    let kind_prefix = match filter.kinds.as_slice() {
        [only] => only.clone(),
        _ => String::new(), // it takes one
    };
    let contains = filter
        .contains
        .clone()
        .filter(|text| text.is_ascii())
        .unwrap_or_default(); // it knows A to Z
    FactFilter {
        from: filter.from,
        until: filter.until,
        source: None,
        kind_prefix,
        contains,
    }
}

/// Entries before facts of the same time, as [`super::Read`] has them.
fn merged(
    entries: impl Iterator<Item = JournalEntry>,
    facts: Vec<TimelineRow>,
    filter: &Filter,
) -> Vec<TimelineRow> {
    let mut entries = entries
        .filter(|entry| filter.takes(entry.at, entry.kind(), &entry.summary()))
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

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~", self.seq)?;
        self.fact
            .as_ref()
            .map_or(Ok(()), |fact| write!(f, "{fact}"))
    }
}

impl FromStr for Cursor {
    type Err = ParsePlaceError;

    fn from_str(text: &str) -> Result<Self, ParsePlaceError> {
        let parse = || {
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
        };
        parse().ok_or_else(|| ParsePlaceError(text.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use evidence_format::time::Timestamp;

    use super::*;
    use crate::timeline::Read;
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
        let change = IncidentEvent::Note {
            text: format!("note {seq}").parse().expect("a note"),
        };
        JournalEntry {
            seq,
            at,
            by: Name::escaped("Ann"),
            change,
        }
    }

    /// Facts at 0, 10, 20 … s and notes at 5, 35, 65 … s, of which the last is behind all facts.
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
        filter: &Filter,
    ) -> Vec<TimelineRow> {
        let mut read = Read::new(ledger, incident, entries.to_vec(), filter.clone());
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
            Filter::default(),
            Filter {
                kinds: vec!["aws.ConsoleLogin".to_owned()],
                ..Filter::default()
            },
            Filter {
                kinds: vec!["aws.C".to_owned(), "note".to_owned()],
                ..Filter::default()
            },
            Filter {
                from: Some(at(40)),
                until: Some(at(100)),
                ..Filter::default()
            },
            Filter {
                contains: Some("EVENT 1".to_owned()),
                ..Filter::default()
            },
            Filter {
                contains: Some("é".to_owned()),
                ..Filter::default()
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
                    cursor = Some(next.to_string().parse::<Cursor>().expect("its own text"));
                }
                assert_eq!(rows, whole, "{filter:?}, {limit} at once");
            }
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for bad in ["", "1", "~", "x~", "1~1_2", "-1~"] {
            assert!(bad.parse::<Cursor>().is_err(), "{bad:?}");
        }
        assert_eq!("7~".parse::<Cursor>().expect("a place").to_string(), "7~");
    }
}
