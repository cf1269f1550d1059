//! The interface of an event corpus: numbered places (account and region), each with its events by
//! position, newest first.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// Where events are looked up. Quotas, page tokens and counts are kept for each place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct AccountRegion {
    /// Twelve digits.
    pub account: String,
    /// Such as `us-east-1`.
    pub region: String,
}

impl AccountRegion {
    #[must_use]
    pub fn new(account: &str, region: &str) -> Self {
        Self {
            account: account.to_owned(),
            region: region.to_owned(),
        }
    }
}

impl fmt::Display for AccountRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}

/// An event as LookupEvents lists it, without its time: see [`EventCorpus::time`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupEvent<'a> {
    /// A UUID. Positions with the same id hold the same event, delivered more than once.
    pub id: Cow<'a, str>,
    /// Such as `ConsoleLogin`.
    pub name: Cow<'a, str>,
    /// Such as `signin.amazonaws.com`.
    pub source: Cow<'a, str>,
    /// Absent if the record does not say.
    pub read_only: Option<bool>,
    /// Absent for events that a service caused.
    pub access_key_id: Option<Cow<'a, str>>,
    /// Absent for events that a service caused.
    pub username: Option<Cow<'a, str>>,
    /// Pairs of type and name.
    pub resources: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The record, as JSON.
    pub record: Vec<u8>,
}

impl LookupEvent<'_> {
    /// True if LookupEvents returns the event for this attribute.
    #[must_use]
    pub fn has(&self, attribute: &Attribute) -> bool {
        let value = attribute.value.as_str();
        match attribute.key {
            AttributeKey::EventId => self.id == value,
            AttributeKey::EventName => self.name == value,
            AttributeKey::EventSource => self.source == value,
            AttributeKey::ReadOnly => self
                .read_only
                .is_some_and(|read_only| value == if read_only { "true" } else { "false" }),
            AttributeKey::AccessKeyId => self.access_key_id.as_deref() == Some(value),
            AttributeKey::Username => self.username.as_deref() == Some(value),
            AttributeKey::ResourceType => self.resources.iter().any(|(kind, _)| kind == value),
            AttributeKey::ResourceName => self.resources.iter().any(|(_, name)| name == value),
        }
    }
}

/// The lookup attribute of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribute {
    pub key: AttributeKey,
    /// Compared exactly.
    pub value: String,
}

/// The attributes that LookupEvents can filter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[expect(missing_docs, reason = "the names are the service's own")]
pub enum AttributeKey {
    EventId,
    EventName,
    ReadOnly,
    Username,
    ResourceType,
    ResourceName,
    EventSource,
    AccessKeyId,
}

/// A corpus of events. In each place, position 0 is the newest event, and times never increase with
/// the position.
pub trait EventCorpus: Send + Sync {
    /// All places with events. The other methods take an index into this list.
    fn places(&self) -> &[AccountRegion];

    /// The number of events of a place, including duplicates.
    fn count(&self, place: usize) -> u64;

    /// The time of the event in seconds since 1970. CloudTrail's records have no finer times.
    fn time(&self, place: usize, position: u64) -> i64;

    /// The first position with this event: a smaller one than `position` if this is a duplicate.
    fn first(&self, place: usize, position: u64) -> u64;

    fn event(&self, place: usize, position: u64) -> LookupEvent<'_>;

    /// True if the event has the attribute.
    fn has(&self, place: usize, position: u64, attribute: &Attribute) -> bool {
        self.event(place, position).has(attribute)
    }
}

/// The positions of a place from the newest event at or before `end` to the oldest at or after
/// `start`.
pub(super) fn positions(
    events: &dyn EventCorpus,
    place: usize,
    start: f64,
    end: f64,
) -> std::ops::Range<u64> {
    let first = partition_point(events.count(place), |position| {
        events.time(place, position) as f64 > end
    });
    let past = partition_point(events.count(place), |position| {
        events.time(place, position) as f64 >= start
    });
    first..past.max(first)
}

/// The first position in `0..count` for which `before` is false. `before` must be false for all
/// later positions too.
fn partition_point(count: u64, before: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// A pseudorandom number that depends only on `parts` (splitmix64, folded).
pub(super) fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| {
        let mut z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// [`mix`] for text.
pub(super) fn mix_text(state: u64, text: &str) -> u64 {
    text.as_bytes()
        .chunks(8)
        .fold(mix(&[state, text.len() as u64]), |state, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix(&[state, u64::from_le_bytes(word)])
        })
}
