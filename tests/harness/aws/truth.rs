//! Counts of what the server has really served, to check a client's own counts.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use super::events::AccountRegion;
use super::faults::{Fault, Operation};
use super::lookup::LookupPage;

/// Counts of everything served so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GroundTruth {
    /// Requests for each operation, of all accounts, including rejected ones.
    pub requests: BTreeMap<&'static str, u64>,
    /// Lookups, for each place that was requested.
    pub places: Vec<ServedCounts>,
    /// Sessions that AssumeRole has created, in order.
    pub sessions: Vec<AssumedSession>,
}

impl GroundTruth {
    /// The counts of a place.
    #[must_use]
    pub fn counts(&self, account: &str, region: &str) -> ServedCounts {
        let place = AccountRegion::new(account, region);
        self.places
            .iter()
            .find(|served| served.place == place)
            .cloned()
            .unwrap_or_else(|| ServedCounts::new(place))
    }

    /// The served events of all places, and how many of them are distinct.
    #[must_use]
    pub fn events(&self) -> (u64, u64) {
        self.places
            .iter()
            .fold((0, 0), |(events, distinct), served| {
                (events + served.events, distinct + served.distinct)
            })
    }
}

/// Counts of the lookups in one place.
///
/// A page counts as served once all of it was written to the connection; no server can know more.
/// It is removed again if the client closed the connection before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServedCounts {
    #[serde(flatten)]
    pub place: AccountRegion,
    /// Requests with a key of the account.
    pub requests: u64,
    /// Completely served pages.
    pub pages: u64,
    /// Those of them without a token for a next page.
    pub last_pages: u64,
    /// Events in completely served pages.
    pub events: u64,
    /// Those of them with distinct ids.
    pub distinct: u64,
    /// Bytes of completely served bodies.
    pub bytes: u64,
    /// Time of the newest event served, in seconds since 1970.
    pub newest: Option<i64>,
    /// Time of the oldest event served, in seconds since 1970.
    pub oldest: Option<i64>,
    /// Requests over the quota. Scripted throttling is a fault instead.
    pub throttled: u64,
    /// Requests rejected for other reasons, by error code. Scripted errors are faults instead.
    pub refused: BTreeMap<&'static str, u64>,
    /// All faults, in order.
    pub faults: Vec<InjectedFault>,
}

impl ServedCounts {
    fn new(place: AccountRegion) -> Self {
        let (requests, pages, last_pages, events, distinct, bytes, throttled) = Default::default();
        let (newest, oldest, refused, faults) = Default::default();
        Self {
            place,
            requests,
            pages,
            last_pages,
            events,
            distinct,
            bytes,
            newest,
            oldest,
            throttled,
            refused,
            faults,
        }
    }

    /// How often this fault has happened.
    #[must_use]
    pub fn fault_count(&self, kind: &str) -> usize {
        self.faults
            .iter()
            .filter(|fault| fault.kind == kind)
            .count()
    }
}

/// A fault that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InjectedFault {
    /// The request's number in its place, from 1.
    pub request: u64,
    /// See [`Fault::name`].
    pub kind: &'static str,
}

/// A session that AssumeRole has created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AssumedSession {
    pub role_arn: String,
    /// The session name that the caller gave.
    pub name: String,
    pub caller_arn: String,
    pub external_id: Option<String>,
    pub access_key_id: String,
}

/// A request as it was received.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// When all of it was received.
    pub at: SystemTime,
    /// `None` if it is unknown.
    pub operation: Option<Operation>,
    /// `None` if the key is unknown.
    pub place: Option<AccountRegion>,
    /// Its number among the requests of its operation and place, from 1; 0 if the key is unknown.
    pub number: u64,
    pub access_key_id: Option<String>,
    pub method: String,
    /// Path and query.
    pub target: String,
    /// In order, with names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The status of the reply.
    pub status: u16,
    /// The `x-amzn-RequestId` of the reply.
    pub request_id: String,
    /// The fault that was injected.
    pub fault: Option<Fault>,
}

impl RequestRecord {
    /// The value of a header, by its name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.as_str())
    }
}

/// [`ServedCounts`], with the state for further counting.
pub(super) struct ServedLedger {
    pub(super) served: ServedCounts,
    /// A bit for each position, set once its event was served.
    seen: Vec<u64>,
}

/// What a page has added to the counts, to remove it again.
pub(super) struct PageCounts {
    events: u64,
    last: bool,
    bytes: u64,
    new: Vec<u64>,
    /// The earlier state: pages, and the times of the newest and oldest event.
    before: (u64, Option<i64>, Option<i64>),
}

impl ServedLedger {
    pub(super) fn new(place: AccountRegion) -> Self {
        Self {
            served: ServedCounts::new(place),
            seen: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, page: &LookupPage) -> PageCounts {
        let served = &mut self.served;
        let before = (served.pages, served.newest, served.oldest);
        let new: Vec<u64> = page
            .firsts
            .iter()
            .copied()
            .filter(|first| mark(&mut self.seen, *first))
            .collect();
        let added = PageCounts {
            events: page.firsts.len() as u64,
            last: page.last,
            bytes: page.body.len() as u64,
            new,
            before,
        };
        served.pages += 1;
        served.last_pages += u64::from(added.last);
        served.events += added.events;
        served.distinct += added.new.len() as u64;
        served.bytes += added.bytes;
        if let Some((newest, oldest)) = page.times {
            served.newest = served.newest.max(Some(newest));
            served.oldest = Some(served.oldest.map_or(oldest, |before| before.min(oldest)));
        }
        added
    }

    /// Removes a page that its client did not wait for. Restores the times if there was no other
    /// page in the meantime.
    pub(super) fn take_out(&mut self, added: &PageCounts) {
        for first in &added.new {
            self.seen[(first / 64) as usize] &= !(1 << (first % 64));
        }
        let served = &mut self.served;
        served.pages -= 1;
        served.last_pages -= u64::from(added.last);
        served.events -= added.events;
        served.distinct -= added.new.len() as u64;
        served.bytes -= added.bytes;
        if served.pages == added.before.0 {
            (_, served.newest, served.oldest) = added.before;
        }
    }
}

/// Sets the bit of a position; true if it was not set.
fn mark(seen: &mut Vec<u64>, position: u64) -> bool {
    let (word, bit) = ((position / 64) as usize, 1 << (position % 64));
    if seen.len() <= word {
        seen.resize(word + 1, 0);
    }
    let new = seen[word] & bit == 0;
    seen[word] |= bit;
    new
}
