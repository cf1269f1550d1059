//! What the server has really served: the denominators that a client's own counts are checked
//! against.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use super::events::AccountRegion;
use super::faults::{Fault, Operation};
use super::lookup::LookupPage;

/// Everything that was served so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GroundTruth {
    /// Requests of each operation, of whatever account, refused ones too.
    pub requests: BTreeMap<&'static str, u64>,
    /// Lookups by place, of places that were asked for.
    pub places: Vec<ServedCounts>,
    /// Sessions that AssumeRole began, in order.
    pub sessions: Vec<AssumedSession>,
}

impl GroundTruth {
    /// What was served of a place.
    #[must_use]
    pub fn counts(&self, account: &str, region: &str) -> ServedCounts {
        let place = AccountRegion::new(account, region);
        self.places
            .iter()
            .find(|served| served.place == place)
            .cloned()
            .unwrap_or_else(|| ServedCounts::new(place))
    }

    /// Events served, duplicates counted, and distinct ones, of all places.
    #[must_use]
    pub fn events(&self) -> (u64, u64) {
        self.places
            .iter()
            .fold((0, 0), |(events, distinct), served| {
                (events + served.events, distinct + served.distinct)
            })
    }
}

/// What was served to lookups in one place.
///
/// A page counts as served whole once all of it was handed to the connection: no server knows more.
/// A page whose client was seen to leave before is taken out again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServedCounts {
    /// Where.
    #[serde(flatten)]
    pub place: AccountRegion,
    /// Requests with a key of the account.
    pub requests: u64,
    /// Pages served whole.
    pub pages: u64,
    /// Of them, those without a token for a next page.
    pub last_pages: u64,
    /// Events in pages served whole.
    pub events: u64,
    /// Of them, distinct ones by their id.
    pub distinct: u64,
    /// Bytes of bodies of pages served whole.
    pub bytes: u64,
    /// Time of the newest event served, in seconds since 1970.
    pub newest: Option<i64>,
    /// Time of the oldest event served, in seconds since 1970.
    pub oldest: Option<i64>,
    /// Requests over the quota. Scripted throttling is a fault instead.
    pub throttled: u64,
    /// Requests refused for other reasons, by the error's code. Scripted refusals are faults
    /// instead.
    pub refused: BTreeMap<&'static str, u64>,
    /// Every fault, in order.
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

    /// How often this fault struck.
    #[must_use]
    pub fn fault_count(&self, kind: &str) -> usize {
        self.faults
            .iter()
            .filter(|fault| fault.kind == kind)
            .count()
    }
}

/// A fault that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InjectedFault {
    /// The request's number in its place, from 1.
    pub request: u64,
    /// [`Fault::name`].
    pub kind: &'static str,
}

/// A session that AssumeRole began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AssumedSession {
    /// The role.
    pub role_arn: String,
    /// What the caller called it.
    pub name: String,
    /// As whom the caller asked.
    pub caller_arn: String,
    /// As the caller gave it.
    pub external_id: Option<String>,
    /// The session's key.
    pub access_key_id: String,
}

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// When it was read whole.
    pub at: SystemTime,
    /// What it asked for, if that is known.
    pub operation: Option<Operation>,
    /// Account and region, if the key is known.
    pub place: Option<AccountRegion>,
    /// Its number among those of its operation in its place, from 1; 0 if the key is not known.
    pub number: u64,
    /// From its signature.
    pub access_key_id: Option<String>,
    /// Such as `POST`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// As sent.
    pub body: Vec<u8>,
    /// Of the answer.
    pub status: u16,
    /// Of the answer: its `x-amzn-RequestId`.
    pub request_id: String,
    /// What struck it.
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

/// [`ServedCounts`], with what is needed to count on.
pub(super) struct ServedLedger {
    pub(super) served: ServedCounts,
    /// A bit for each position, set if the event there was served.
    seen: Vec<u64>,
}

/// What a page added, to take it out again.
pub(super) struct PageCounts {
    events: u64,
    last: bool,
    bytes: u64,
    new: Vec<u64>,
    /// What was counted before: pages, and times of the newest and oldest event.
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

    /// Takes out a page that its client did not wait for. Times are put back if no other page came
    /// between.
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
