//! Counts what a step captured, from its recorded WARC records. Pure.
//!
//! Nothing is counted during the capture: a count in memory would be lost in a crash, and would
//! count twice what a restart requests again. Anybody who has the item can repeat this count: each
//! record names its endpoint (`Exhibit-Endpoint`), and how the answers of an endpoint are counted
//! is data of the source ([`EndpointCounting`]).
//!
//! If a provider refuses a request to one of the step's root endpoints, the step ends and states so
//! itself. If it refuses a child, which is asked for a single record of a list, the step continues,
//! and the gap is counted here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use evidence_derive::trail::{TrailAudit, TrailFaultKind};
use evidence_format::config::{AnsweringServer, Redaction, SourceClock};
use evidence_format::coverage::{Coverage, GapReason};
use evidence_format::digest::Digest;
use evidence_format::limits::JSON_INTEGER_MAX;
use evidence_format::time::Timestamp;
use evidence_format::warc::{self, WarcFields};

use super::RemoteSource;
use super::recorder::RetryDecision;
use super::recorder::render::{ENDPOINT_FIELD, OUTCOME_FIELD, REMOVED_FIELD, parse_removed};

mod servers;

use servers::ServerCounts;

/// Separates the head of an HTTP message from its body.
const HEAD_END: &[u8] = b"\r\n\r\n";
/// Failed requests whose addresses are remembered; of those after them only the endpoints are. A
/// coverage shows few addresses anyway, and each failure has its record.
const ADDRESSES_MAX: usize = 1000;

/// How the answers of one endpoint are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointCounting {
    pub kind: CountedKind,
    /// It is asked for a record of another endpoint, so that its failure does not end the step.
    pub is_child: bool,
    /// Path and query of the first page, with placeholders. The names of its parameters tell one
    /// listing from another, whatever parameters further pages have.
    pub path: &'static str,
    /// The parameter by which the page is chosen; empty if `path` does not have it.
    pub paging_parameter: &'static str,
    /// Its lists declare how many records they have.
    pub declares: bool,
    /// Records after which the provider cuts a query off. A listing that declares more is asked
    /// again in parts, so that only its parts count.
    pub results_max: Option<u64>,
    /// Statuses that, for a page after the first, make the listing begin again.
    pub restarts_on: &'static [u16],
    /// What statuses mean for a child, where that differs from the rules of HTTP; `None` if nothing
    /// is missing.
    pub losses: &'static [(u16, Option<GapReason>)],
}

/// What an endpoint answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedKind {
    /// Lists of events.
    Events,
    /// Lists of objects, or one object.
    Objects,
    /// Text or bytes, of which only the requests are counted.
    Opaque,
    /// No evidence, but what proves how it was captured, such as our identity.
    Auxiliary,
}

/// One record of a body.
#[derive(Debug, Clone, Copy)]
pub struct CountedRecord<'r> {
    /// Of an event: when it happened.
    pub time: Option<Timestamp>,
    pub id: Option<&'r str>,
    /// False if it is not what the endpoint should give, such as an event without a time.
    pub is_readable: bool,
}

/// How many records there are according to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredRecords {
    /// In the whole listing.
    InAll(u64),
    /// After this page.
    AfterThisPage(u64),
}

/// A body has another shape than its endpoint gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadableBody;

impl EndpointCounting {
    /// An endpoint that is asked first, and declares no totals.
    #[must_use]
    pub const fn root(kind: CountedKind) -> Self {
        Self {
            kind,
            is_child: false,
            path: "",
            paging_parameter: "",
            declares: false,
            results_max: None,
            restarts_on: &[],
            losses: &[],
        }
    }

    fn loss(&self, status: u16) -> Option<GapReason> {
        if let Some((_, reason)) = self.losses.iter().find(|(known, _)| *known == status) {
            return *reason;
        }
        match status {
            200..=399 => None,
            401 => Some(GapReason::Unauthenticated),
            403 => Some(GapReason::PermissionDenied),
            404 | 410 => Some(GapReason::Vanished),
            _ => Some(GapReason::Refused),
        }
    }

    /// Identifies the listing that a page at `uri` belongs to.
    fn listing(&self, endpoint: &str, uri: &str) -> Half {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let own = self.path.split_once('?').map_or("", |(_, query)| query);
        let name_of = |parameter: &str| parameter.split('=').next().unwrap_or_default().to_owned();
        let own: HashSet<String> = own.split('&').map(name_of).collect();
        let mut key = format!("{endpoint}\n{path}");
        for parameter in query.split('&') {
            let name = name_of(parameter);
            if own.contains(&name) && name != self.paging_parameter {
                key.push('&');
                key.push_str(parameter);
            }
        }
        half(key.as_bytes())
    }
}

/// The first half of a SHA-256: 16 bytes for an id of any length.
type Half = [u8; 16];

fn half(bytes: &[u8]) -> Half {
    let digest = Digest::of(bytes);
    digest
        .as_bytes()
        .first_chunk()
        .copied()
        .expect("a digest has 32 bytes")
}

/// Adds up the records of one step for its coverage.
pub struct CoverageCounter {
    /// The step's offer.
    offer: String,
    /// The endpoint of records that name none, which an earlier version wrote.
    api: Arc<str>,
    attempts: u64,
    pages: u64,
    /// `None` until an endpoint was asked that has records.
    records: Option<u64>,
    duplicates: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    /// Of each id with its endpoint, and with its listing where listings declare totals.
    seen_ids: HashSet<Half>,
    /// The key that is being made; kept for its memory.
    key: Vec<u8>,
    removed: BTreeMap<String, u64>,
    clock: Option<SourceClock>,
    servers: ServerCounts,
    /// When the latest request was sent, until its response has been read.
    sent_at: Option<Timestamp>,
    /// The listings that declare how many records they have.
    listings: HashMap<Half, DeclaredListing>,
    /// Listings of children that failed, and were not answered since.
    failures: HashMap<Half, Failure>,
    /// Gaps that are final when they are read.
    found: Coverage,
    /// Trail files of CloudTrail, and the digest files that prove them.
    trail: TrailAudit,
}

/// A listing whose pages declare a total.
struct DeclaredListing {
    /// In the order of their first pages.
    number: usize,
    uri: String,
    /// The smallest total that a page declared. Records that were added during the listing raise
    /// the total, but none of them is missing.
    declared: u64,
    /// Distinct records that were delivered.
    delivered: u64,
    pages: u64,
    results_max: Option<u64>,
}

struct Failure {
    /// In the order in which they failed.
    number: u64,
    reason: GapReason,
    what: String,
}

/// One response or failed request.
struct Exchange<'r> {
    endpoint: &'r str,
    uri: &'r str,
    counting: EndpointCounting,
    listing: Half,
}

impl CoverageCounter {
    /// A counter for the records of a step of `offer`, whose API is `api`.
    #[must_use]
    pub fn new(offer: &str, api: &str) -> Self {
        Self {
            offer: offer.to_owned(),
            api: Arc::from(api),
            attempts: 0,
            pages: 0,
            records: None,
            duplicates: 0,
            first: None,
            last: None,
            seen_ids: HashSet::new(),
            key: Vec::new(),
            removed: BTreeMap::new(),
            clock: None,
            servers: ServerCounts::default(),
            sent_at: None,
            listings: HashMap::new(),
            failures: HashMap::new(),
            found: Coverage::new(),
            trail: TrailAudit::default(),
        }
    }

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
        let api = Arc::clone(&self.api);
        let endpoint = fields.get(ENDPOINT_FIELD).unwrap_or(&api);
        let exchange = source.counting(&self.offer, endpoint).map(|counting| {
            let uri = fields.get("WARC-Target-URI").unwrap_or_default();
            Exchange {
                endpoint,
                uri,
                counting,
                listing: counting.listing(endpoint, uri),
            }
        });
        match fields.get("WARC-Type") {
            Some("request") => {
                self.attempts += 1;
                self.sent_at = date;
                let kind = exchange.map(|exchange| exchange.counting.kind);
                if matches!(kind, Some(CountedKind::Events | CountedKind::Objects)) {
                    self.records.get_or_insert_default();
                }
            }
            Some("response") => {
                self.servers.add(fields);
                self.add_response(source, exchange, fields, date, block);
            }
            // says why a request got no response
            Some("metadata") => {
                if let Some(exchange) = exchange {
                    self.add_unanswered(&exchange, fields, GapReason::Unreachable);
                }
            }
            // a further part of a streamed body
            Some("resource") => {
                if let Some(exchange) = exchange {
                    let offset = number(fields, "Exhibit-Offset").unwrap_or_default();
                    self.add_cut(&exchange, fields, offset + block.len() as u64);
                }
            }
            _ => {}
        }
    }

    fn add_response(
        &mut self,
        source: &dyn RemoteSource,
        exchange: Option<Exchange<'_>>,
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
        let Some(exchange) = exchange else {
            return;
        };
        if fields.get(OUTCOME_FIELD) != Some(RetryDecision::Answered.as_str()) {
            let reason = match fields.get("WARC-Truncated") {
                Some("length") => GapReason::TooLarge,
                Some(_) => GapReason::Malformed,
                None => GapReason::Refused,
            };
            return self.add_unanswered(&exchange, fields, reason);
        }
        if TrailAudit::reads(exchange.endpoint) {
            self.trail.add(exchange.endpoint, exchange.uri, block);
        }
        self.pages += u64::from(exchange.counting.kind != CountedKind::Auxiliary);
        self.add_cut(&exchange, fields, body.len() as u64);
        match status(head) {
            Some(200..=299) => self.add_success(source, &exchange, body),
            // Not modified, or a redirect, whose target is recorded as well.
            Some(300..=399) | None => {}
            Some(status) if exchange.begins_again(status) => {
                let what = format!(
                    "{}: the listing began again, because the provider had forgotten its page token \
                     ({status}); what was deleted meanwhile is missing",
                    exchange.endpoint
                );
                self.found.gap(GapReason::Vanished, &what, 0, 0);
            }
            Some(status) => match exchange.counting.loss(status) {
                Some(reason) => self.add_failure(&exchange, reason, &status.to_string()),
                None => self.forget_failure(&exchange),
            },
        }
    }

    fn add_success(&mut self, source: &dyn RemoteSource, exchange: &Exchange<'_>, body: &[u8]) {
        let Exchange {
            endpoint,
            uri,
            counting,
            ..
        } = *exchange;
        match counting.kind {
            CountedKind::Events | CountedKind::Objects => {}
            CountedKind::Opaque | CountedKind::Auxiliary => return self.forget_failure(exchange),
        }
        let (mut page_records, mut new_records) = (0, 0);
        let read = source.read_body(endpoint, body, &mut |record| {
            page_records += 1;
            new_records += u64::from(self.add_counted(exchange, &record));
            if !record.is_readable {
                let what = format!("{endpoint} {uri}: record {page_records} is not readable");
                self.found.gap(GapReason::Malformed, &what, 0, 0);
            }
        });
        match read {
            Ok(declared) => {
                self.forget_failure(exchange);
                self.add_to_listing(exchange, declared, new_records);
            }
            Err(UnreadableBody) => self.add_failure(exchange, GapReason::Malformed, "not readable"),
        }
    }

    /// Returns true if the record is new in its listing.
    fn add_counted(&mut self, exchange: &Exchange<'_>, record: &CountedRecord<'_>) -> bool {
        *self.records.get_or_insert_default() += 1;
        self.first = self.first.into_iter().chain(record.time).min();
        self.last = self.last.into_iter().chain(record.time).max();
        let Some(id) = record.id else {
            return true;
        };
        self.key.clear();
        self.key.extend_from_slice(exchange.endpoint.as_bytes());
        self.key.push(b'\n');
        self.key.extend_from_slice(id.as_bytes());
        self.duplicates += u64::from(!self.seen_ids.insert(half(&self.key)));
        if !exchange.counting.declares {
            return true;
        }
        // An object may be in several listings, each of which delivers it.
        self.key.extend_from_slice(&exchange.listing);
        self.seen_ids.insert(half(&self.key))
    }

    fn add_to_listing(
        &mut self,
        exchange: &Exchange<'_>,
        declared: Option<DeclaredRecords>,
        new_records: u64,
    ) {
        if declared.is_none() && !self.listings.contains_key(&exchange.listing) {
            return;
        }
        let number = self.listings.len();
        let listing = self
            .listings
            .entry(exchange.listing)
            .or_insert_with(|| DeclaredListing {
                number,
                uri: exchange.uri.to_owned(),
                declared: u64::MAX,
                delivered: 0,
                pages: 0,
                results_max: exchange.counting.results_max,
            });
        listing.pages += 1;
        listing.delivered += new_records;
        let total = match declared {
            Some(DeclaredRecords::InAll(total)) => total,
            Some(DeclaredRecords::AfterThisPage(more)) => listing.delivered.saturating_add(more),
            None => u64::MAX,
        };
        listing.declared = listing.declared.min(total);
    }

    /// A request that was not answered: it is asked again, or it is given up.
    fn add_unanswered(&mut self, exchange: &Exchange<'_>, fields: &WarcFields, reason: GapReason) {
        let reason = gap_field(fields).unwrap_or(reason);
        // throttled: repeated for ever; stopped: the step says so
        if let Some("transient-failure" | "permanent-failure") = fields.get(OUTCOME_FIELD) {
            self.add_failure(exchange, reason, "given up");
        }
    }

    fn add_failure(&mut self, exchange: &Exchange<'_>, reason: GapReason, what: &str) {
        if !exchange.counting.is_child {
            return;
        }
        let address = if self.failures.len() < ADDRESSES_MAX {
            exchange.uri
        } else {
            ""
        };
        let failure = Failure {
            number: self.attempts,
            reason,
            what: format!("{} {address}: {what}", exchange.endpoint),
        };
        self.failures.insert(exchange.listing, failure);
    }

    fn forget_failure(&mut self, exchange: &Exchange<'_>) {
        self.failures.remove(&exchange.listing);
    }

    /// A body of which only the first `bytes_kept` bytes are recorded, if the record says so.
    fn add_cut(&mut self, exchange: &Exchange<'_>, fields: &WarcFields, bytes_kept: u64) {
        if let Some(reason) = gap_field(fields) {
            let bytes = number(fields, "Exhibit-Size").unwrap_or(bytes_kept);
            let what = format!("{} {}", exchange.endpoint, exchange.uri);
            let bytes_lost = bytes.saturating_sub(bytes_kept);
            self.found.gap(reason, &what, bytes_kept, bytes_lost);
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

    /// Writes the counts into `coverage`, and adds the gaps that the records tell of. `is_whole`
    /// says that the step reached its end: if it did not, its own gap covers what lists declare and
    /// did not deliver.
    pub fn fill(&self, coverage: &mut Coverage, is_whole: bool) {
        coverage.attempts = self.attempts;
        coverage.pages = self.pages;
        coverage.events = self.records;
        coverage.duplicates = self.duplicates;
        coverage.first = self.first;
        coverage.last = self.last;
        for gap in &self.found.gaps {
            add_gaps(coverage, gap.reason, &gap.examples, gap.count);
            if let Some(own) = coverage
                .gaps
                .iter_mut()
                .find(|own| own.reason == gap.reason)
            {
                let sum = |a: u64, b: u64| a.saturating_add(b).min(JSON_INTEGER_MAX);
                own.bytes_kept = sum(own.bytes_kept, gap.bytes_kept);
                own.bytes_lost = sum(own.bytes_lost, gap.bytes_lost);
            }
        }
        let mut failures: Vec<&Failure> = self.failures.values().collect();
        failures.sort_by_key(|failure| failure.number);
        for failure in failures {
            coverage.gap(failure.reason, &failure.what, 0, 0);
        }
        self.fill_declared(coverage, is_whole);
        // S3's answer that it does not have a file is a failure of its request, counted above.
        let faults = self.trail.report().faults.into_iter();
        for fault in faults.filter(|fault| !fault.kind.is_missing()) {
            let reason = match fault.kind {
                TrailFaultKind::NoDigest => GapReason::Unsupported,
                TrailFaultKind::InvalidDigest
                | TrailFaultKind::MissingDigest
                | TrailFaultKind::BrokenChain
                | TrailFaultKind::AlteredFile
                | TrailFaultKind::MissingFile
                | TrailFaultKind::AddedFile => GapReason::Malformed,
            };
            let what = format!("{}: {}: {}", fault.kind.as_str(), fault.object, fault.what);
            coverage.gap(reason, &what, 0, 0);
        }
    }

    fn fill_declared(&self, coverage: &mut Coverage, is_whole: bool) {
        let mut listings: Vec<_> = self.listings.iter().collect();
        listings.sort_by_key(|(_, listing)| listing.number);
        listings.retain(|(_, listing)| !listing.is_asked_in_parts());
        let declared = listings.iter().map(|(_, listing)| listing.declared);
        coverage.declared = declared
            .reduce(u64::saturating_add)
            .map(|sum| sum.min(JSON_INTEGER_MAX));
        // The failure of a listing's page is a gap already.
        for (key, listing) in listings {
            let missing = listing.declared.saturating_sub(listing.delivered);
            if is_whole && missing > 0 && !self.failures.contains_key(key) {
                let DeclaredListing {
                    uri,
                    delivered,
                    declared,
                    ..
                } = listing;
                let what = format!("{uri}: {delivered} of {declared} that the source declares");
                add_gaps(coverage, GapReason::Malformed, &[what], missing);
            }
        }
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

    /// Which servers answered, and how many responses came from servers that are not listed.
    #[must_use]
    pub fn servers(&self) -> (Vec<AnsweringServer>, u64) {
        self.servers.listed()
    }
}

impl DeclaredListing {
    /// It has more records than the provider gives for one query, and was not paged further: the
    /// same window was asked in parts, which have records of their own.
    fn is_asked_in_parts(&self) -> bool {
        self.pages == 1 && self.results_max.is_some_and(|max| self.declared > max)
    }
}

impl Exchange<'_> {
    /// True if `status` answers a page after the first, whose token is no longer valid.
    fn begins_again(&self, status: u16) -> bool {
        let counting = &self.counting;
        let (_, query) = self.uri.split_once('?').unwrap_or_default();
        let mut parameters = query.split('&').filter_map(|pair| pair.split('=').next());
        counting.restarts_on.contains(&status)
            && parameters.any(|name| name == counting.paging_parameter)
    }
}

/// Adds `count` missing objects, of which `examples` are some.
fn add_gaps(coverage: &mut Coverage, reason: GapReason, examples: &[String], count: u64) {
    for example in examples {
        coverage.gap(reason, example, 0, 0);
    }
    // A loop over a count that a provider declares might never end.
    let more = count.saturating_sub(examples.len() as u64);
    if let Some(gap) = coverage.gaps.iter_mut().find(|gap| gap.reason == reason) {
        gap.count = gap.count.saturating_add(more).min(JSON_INTEGER_MAX);
    }
}

/// Why a record is counted as missing, or as missing in part (SPEC §5.2).
fn gap_field(fields: &WarcFields) -> Option<GapReason> {
    let reason = fields.get("Exhibit-Gap")?;
    serde_json::from_value(serde_json::Value::from(reason)).ok()
}

fn number(fields: &WarcFields, name: &str) -> Option<u64> {
    fields.get(name)?.parse().ok()
}

/// The status of an HTTP response, whose head begins with `HTTP/1.1 200`.
fn status(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let status = line.split(|byte| *byte == b' ').nth(1)?;
    std::str::from_utf8(status).ok()?.parse().ok()
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

#[cfg(test)]
mod tests;
