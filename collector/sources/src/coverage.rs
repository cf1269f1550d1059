//! Counts what a step captured, from its recorded WARC records. Pure.
//!
//! Nothing is counted during the capture: a count in memory would be lost in a crash, and would
//! count twice what a restart requests again. Anybody who has the item can repeat this count.

use std::collections::{BTreeMap, HashSet};

use evidence_format::config::{Redaction, SourceClock};
use evidence_format::coverage::Coverage;
use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use evidence_format::warc::{self, WarcFields};

use super::RemoteSource;
use super::recorder::RetryDecision;
use super::recorder::render::{OUTCOME_FIELD, REMOVED_FIELD, parse_removed};

/// Separates the head of an HTTP message from its body.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Adds up the records of one step for its coverage.
#[derive(Default)]
pub struct CoverageCounter {
    attempts: u64,
    pages: u64,
    events: u64,
    duplicates: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// The first half of the SHA-256 of each event id: 16 bytes each, whatever the id's length.
    seen_ids: HashSet<[u8; 16]>,
    removed: BTreeMap<String, u64>,
    clock: Option<SourceClock>,
    /// When the latest request was sent, until its response has been read.
    sent_at: Option<Timestamp>,
}

impl CoverageCounter {
    /// Adds whole WARC records.
    pub fn add(&mut self, source: &dyn RemoteSource, warc: &[u8]) {
        // Bytes that are not WARC end the count without an error: the item's writer, which gets the
        // same bytes, rejects them with a reason.
        for record in warc::records(warc).map_while(Result::ok) {
            self.add_record(source, &record.fields, record.block);
        }
    }

    fn add_record(&mut self, source: &dyn RemoteSource, fields: &WarcFields, block: &[u8]) {
        for (what, count) in fields
            .get(REMOVED_FIELD)
            .into_iter()
            .flat_map(parse_removed)
        {
            *self.removed.entry(what.to_owned()).or_default() += count;
        }
        let date = fields.get("WARC-Date").and_then(|date| date.parse().ok());
        match fields.get("WARC-Type") {
            Some("request") => {
                self.attempts += 1;
                self.sent_at = date;
            }
            Some("response") => self.add_response(source, fields, date, block),
            _ => {} // a metadata record says why a request got no response
        }
    }

    fn add_response(
        &mut self,
        source: &dyn RemoteSource,
        fields: &WarcFields,
        received_at: Option<Timestamp>,
        block: &[u8],
    ) {
        let Some(head_bytes) = memchr::memmem::find(block, HEAD_END) else {
            return;
        };
        let (head, body) = (&block[..head_bytes], &block[head_bytes + HEAD_END.len()..]);
        if let (Some(sent_at), Some(received_at), Some(server_seconds)) =
            (self.sent_at.take(), received_at, date_header_seconds(head))
        {
            self.compare_clocks(sent_at, received_at, server_seconds);
        }
        // other responses were followed by another attempt, or by a gap
        if fields.get(OUTCOME_FIELD) == Some(RetryDecision::Answered.as_str()) {
            let is_page = source.for_each_event(body, &mut |time, id| self.add_event(time, id));
            self.pages += u64::from(is_page);
        }
    }

    fn add_event(&mut self, time: Option<Timestamp>, id: Option<&str>) {
        self.events += 1;
        self.first = self.first.into_iter().chain(time).min();
        self.last = self.last.into_iter().chain(time).max();
        if let Some(id) = id {
            let digest = Digest::of(id.as_bytes());
            let half = digest
                .as_bytes()
                .first_chunk()
                .copied()
                .expect("a digest has 32 bytes");
            self.duplicates += u64::from(!self.seen_ids.insert(half));
        }
    }

    /// The server read its clock at some time between sending and receiving, so its time is
    /// compared with the middle of the two.
    fn compare_clocks(&mut self, sent_at: Timestamp, received_at: Timestamp, server_seconds: i128) {
        let middle = (sent_at.unix_nanoseconds() + received_at.unix_nanoseconds()) / 2;
        let offset_milliseconds = (server_seconds * 1_000_000_000 - middle) / 1_000_000;
        let Ok(offset_milliseconds) = i64::try_from(offset_milliseconds) else {
            return;
        };
        match &mut self.clock {
            Some(clock) => clock.add(offset_milliseconds),
            None => self.clock = Some(SourceClock::new(offset_milliseconds)),
        }
    }

    /// Writes the counts into `coverage`.
    pub fn fill(&self, coverage: &mut Coverage) {
        coverage.attempts = self.attempts;
        coverage.pages = self.pages;
        coverage.events = Some(self.events);
        coverage.duplicates = self.duplicates;
        coverage.first = self.first;
        coverage.last = self.last;
    }

    /// Which credentials the recorder removed, and how often.
    #[must_use]
    pub fn redactions(&self) -> Vec<Redaction> {
        self.removed
            .iter()
            .map(|(what, count)| Redaction {
                what: what.clone(),
                count: *count,
            })
            .collect()
    }

    /// How far the provider's clock is from ours; `None` if no response had a date.
    #[must_use]
    pub fn clock(&self) -> Option<SourceClock> {
        self.clock
    }
}

/// The header field `Date`, in seconds since 1970.
fn date_header_seconds(head: &[u8]) -> Option<i128> {
    let head = std::str::from_utf8(head).ok()?;
    // the recorder writes names in lower case
    let value = head.lines().find_map(|line| line.strip_prefix("date: "))?;
    let since_epoch = httpdate::parse_http_date(value)
        .ok()?
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?;
    Some(i128::from(since_epoch.as_secs()))
}
