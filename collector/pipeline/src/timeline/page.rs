//! Reads a timeline page by page, with a cursor that clients keep between requests.

use std::fmt;
use std::str::FromStr;

use evidence_format::id::IncidentId;

use super::TimelineFilter;
use super::read::event_row;
use domain::incident::{JournalEntry, TimelineRow};
use store::ledger::{EventCursor, Ledger, LedgerError};

/// Pages of events that are read for one in which the filter matches any: a request must end.
const EMPTY_PAGES_MAX: usize = 20;

/// A position in the timeline of an incident. APIs pass it as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimelineCursor {
    /// Entries of the journal before it.
    seq: u64,
    /// The last event before it.
    event: Option<EventCursor>,
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

/// Reads the page of `incident` after the cursor `after`: up to `limit` events, and the entries of
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
    let in_database = filter.in_database();
    let mut events = Vec::new();
    for _ in 0..EMPTY_PAGES_MAX {
        let page = ledger
            .events(incident, &in_database, position.event.as_ref(), limit)
            .await?;
        let last = page.events.last().map(|row| row.event.time);
        let rows = page.events.into_iter();
        events.extend(
            rows.filter(|row| filter.matches_event(&row.event))
                .map(event_row),
        );
        let Some(next) = page.next else {
            let rest = entries.into_iter().filter(|entry| entry.seq > position.seq);
            return Ok(TimelinePage {
                rows: merge(rest, events, filter),
                next: None,
            });
        };
        position.event = Some(next);
        if !events.is_empty() {
            let until = last.expect("a page with a next one has events");
            // later entries belong between events of the next page
            let between: Vec<_> = entries
                .iter()
                .filter(|entry| entry.seq > position.seq)
                .take_while(|entry| entry.at <= until)
                .cloned()
                .collect();
            position.seq += between.len() as u64;
            return Ok(TimelinePage {
                rows: merge(between.into_iter(), events, filter),
                next: Some(position),
            });
        }
    }
    Ok(TimelinePage {
        rows: Vec::new(),
        next: Some(position),
    })
}

/// Merges by time; entries before events of the same time, as in [`super::TimelineReader`].
fn merge(
    entries: impl Iterator<Item = JournalEntry>,
    events: Vec<TimelineRow>,
    filter: &TimelineFilter,
) -> Vec<TimelineRow> {
    let mut entries = entries
        .filter(|entry| filter.matches_entry(entry))
        .peekable();
    let mut rows = Vec::new();
    for event in events {
        while let Some(entry) = entries.next_if(|entry| entry.at <= event.time) {
            rows.push(TimelineRow::from(entry));
        }
        rows.push(event);
    }
    rows.extend(entries.map(TimelineRow::from));
    rows
}

impl fmt::Display for TimelineCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~", self.seq)?;
        self.event
            .as_ref()
            .map_or(Ok(()), |event| write!(f, "{event}"))
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
        let (seq, event) = text.split_once('~')?;
        let event = if event.is_empty() {
            None
        } else {
            Some(event.parse().ok()?)
        };
        Some(Self {
            seq: seq.parse().ok()?,
            event,
        })
    }
}

#[cfg(test)]
mod tests {
    use evidence_format::time::Timestamp;

    use super::*;
    use crate::timeline::TimelineReader;
    use domain::incident::{IncidentEvent, Name};
    use evidence_derive::{ActivityEvent, ActivityOutcome};
    use evidence_format::digest::Digest;
    use store::ledger::{DerivedFacts, EventFact, PassKey, RecordPointer};
    use store::testing::{add_bundle, add_pass, at, event, sqlite};

    fn fact(record: u64, time: Timestamp) -> EventFact {
        let kind = if record.is_multiple_of(3) {
            "aws.ConsoleLogin"
        } else {
            "aws.GetObject"
        };
        let pointer = RecordPointer {
            item: "okta-1".parse().expect("an item"),
            record,
        };
        let outcome = if record.is_multiple_of(2) {
            ActivityOutcome::Failure
        } else {
            ActivityOutcome::Success
        };
        EventFact {
            pointer,
            content_digest: Digest::of(&record.to_be_bytes()),
            account: None,
            ordinal: 0,
            kind: kind.to_owned(),
            event: ActivityEvent {
                outcome,
                summary: format!("event {record}"),
                user_agent: (record == 7).then(|| "red-team".to_owned()),
                ..event(time)
            },
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
        let events = (0..20)
            .map(|n| fact(n, at(10 * i64::try_from(n).expect("small"))))
            .collect();
        let facts = DerivedFacts {
            events,
            ..DerivedFacts::default()
        };
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
            TimelineFilter {
                outcomes: vec![ActivityOutcome::Failure],
                actors: vec!["ANN".to_owned()],
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

    #[tokio::test]
    async fn filters_find_what_events_name() {
        let (ledger, _folder) = sqlite().await;
        let (pass, entries) = sample(&ledger).await;
        let count = async |filter: TimelineFilter| {
            let rows = all(&ledger, &pass.incident, &entries, &filter).await;
            rows.len()
        };
        let containing = |text: &str| TimelineFilter {
            contains: Some(text.to_owned()),
            ..TimelineFilter::default()
        };
        assert_eq!(count(containing("RED-TEAM")).await, 1);
        // the name of a member of the JSON is not what an event says
        assert_eq!(count(containing("userAgent")).await, 0);
        assert_eq!(count(containing("note 3")).await, 1);
        let by_ann = TimelineFilter {
            actors: vec!["ann".to_owned()],
            ..TimelineFilter::default()
        };
        assert_eq!(count(by_ann).await, 20, "and no entry of the journal");
        let writes = TimelineFilter {
            writes: true,
            ..TimelineFilter::default()
        };
        assert_eq!(count(writes).await, 0, "sessions write nothing");
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
