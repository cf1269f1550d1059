//! Reads again what a step recorded, and says what its coverage says. Pure.
//!
//! Nothing is counted while it is captured: a count in memory would be lost with the process, or
//! would count twice what a restart asks again. Whoever has the item can count the same.

use std::collections::{BTreeMap, HashSet};

use evidence_format::config::{Redaction, SourceClock};
use evidence_format::coverage::Coverage;
use evidence_format::digest::Digest;
use evidence_format::time::Timestamp;
use evidence_format::warc::{self, WarcFields};

use super::RemoteSource;
use super::recorder::RetryDecision;
use super::recorder::render::{OUTCOME_FIELD, REMOVED_FIELD, removed};

/// Between the head of a message and its body.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// What a step's records add up to.
#[derive(Default)]
pub struct CoverageCounter {
    attempts: u64,
    pages: u64,
    events: u64,
    duplicates: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// The first half of the SHA-256 of each event's id.
    seen: HashSet<[u8; 16]>,
    removed: BTreeMap<String, u64>,
    clock: Option<SourceClock>,
    /// When the request of the next answer was sent.
    asked: Option<Timestamp>,
}

impl CoverageCounter {
    /// Adds whole WARC records. Those that cannot be read add nothing.
    pub fn add(&mut self, source: &dyn RemoteSource, warc: &[u8]) {
        // it ends where the bytes are no WARC, which the item's writer then refuses with its reason
        for record in warc::records(warc).map_while(Result::ok) {
            self.record(source, &record.fields, record.block);
        }
    }

    fn record(&mut self, source: &dyn RemoteSource, fields: &WarcFields, block: &[u8]) {
        for (what, count) in fields.get(REMOVED_FIELD).into_iter().flat_map(removed) {
            *self.removed.entry(what.to_owned()).or_default() += count;
        }
        let date = fields.get("WARC-Date").and_then(|date| date.parse().ok());
        match fields.get("WARC-Type") {
            Some("request") => {
                self.attempts += 1;
                self.asked = date;
            }
            Some("response") => self.response(source, fields, date, block),
            _ => {}
        }
    }

    fn response(
        &mut self,
        source: &dyn RemoteSource,
        fields: &WarcFields,
        at: Option<Timestamp>,
        block: &[u8],
    ) {
        let Some(head_bytes) = memchr::memmem::find(block, HEAD_END) else {
            return;
        };
        let (head, body) = (&block[..head_bytes], &block[head_bytes + HEAD_END.len()..]);
        if let (Some(asked), Some(at), Some(theirs)) = (self.asked.take(), at, date_of(head)) {
            self.compare_clocks(asked, at, theirs);
        }
        if fields.get(OUTCOME_FIELD) == Some(RetryDecision::Answered.as_str()) {
            let is_page = source.for_each_event(body, &mut |time, id| self.event(time, id));
            self.pages += u64::from(is_page);
        }
    }

    fn event(&mut self, time: Option<Timestamp>, id: Option<&str>) {
        self.events += 1;
        self.first = self.first.into_iter().chain(time).min();
        self.last = self.last.into_iter().chain(time).max();
        if let Some(id) = id {
            let digest = Digest::of(id.as_bytes());
            let half = digest
                .as_bytes()
                .first_chunk()
                .copied()
                .expect("a digest is longer");
            self.duplicates += u64::from(!self.seen.insert(half));
        }
    }

    /// `theirs`, in seconds, was some time between `asked` and `at`: it is held against the middle.
    fn compare_clocks(&mut self, asked: Timestamp, at: Timestamp, theirs: i128) {
        let middle = (asked.unix_nanoseconds() + at.unix_nanoseconds()) / 2;
        let Ok(offset) = i64::try_from((theirs * 1_000_000_000 - middle) / 1_000_000) else {
            return;
        };
        match &mut self.clock {
            Some(clock) => clock.add(offset),
            None => self.clock = Some(SourceClock::new(offset)),
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

    /// What was taken out.
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

    /// The source's clock against ours.
    #[must_use]
    pub fn clock(&self) -> Option<SourceClock> {
        self.clock
    }
}

/// Seconds since 1970 of the header field `Date`.
fn date_of(head: &[u8]) -> Option<i128> {
    let head = std::str::from_utf8(head).ok()?;
    let value = head.lines().find_map(|line| line.strip_prefix("date: "))?;
    let since = httpdate::parse_http_date(value)
        .ok()?
        .duration_since(std::time::UNIX_EPOCH)
        .ok()?;
    Some(i128::from(since.as_secs()))
}
