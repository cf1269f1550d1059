//! The slots that connections take. Everyone on the network can open connections, so a connection
//! that does no work gives way to one that may.
//!
//! While slots are free, all connections stay. When they run out, in all or for one address, the
//! one that has waited longest is closed: a connection that is idle between requests, or whose
//! request has not arrived yet, and after those one that is still sending the body of a request
//! that nobody has authenticated. Requests that are being served are never cut off. If none can be
//! closed, a new connection gets one of a few reserved slots, in which only the health of the
//! service is answered.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Slots beyond the configured ones, for probes of health.
const RESERVED_MAX: usize = 16;

/// All connections of a listener. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ConnectionSlots(Arc<Mutex<SlotTable>>);

struct SlotTable {
    connections_max: usize,
    per_address_max: usize,
    next_id: u64,
    taken: HashMap<u64, SlotEntry>,
}

struct SlotEntry {
    address: IpAddr,
    is_reserved: bool,
    activity: Activity,
    /// Since when the activity lasts.
    since: Instant,
    closing: CancellationToken,
}

/// What a connection is doing. In the order in which they are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Activity {
    /// Waits for a request, or for the rest of its head.
    Waiting,
    /// Receives a body whose sender is not authenticated yet.
    Unverified,
    /// A request is being served.
    Serving,
}

/// The slot of one connection. Dropping it frees the slot.
pub(crate) struct ConnectionSlot {
    handle: SlotHandle,
    is_reserved: bool,
    closing: CancellationToken,
}

/// Lets a request say what its connection is doing.
#[derive(Clone)]
pub(crate) struct SlotHandle {
    slots: ConnectionSlots,
    id: u64,
}

impl ConnectionSlots {
    pub(crate) fn new(connections_max: usize, per_address_max: usize) -> Self {
        Self(Arc::new(Mutex::new(SlotTable {
            connections_max,
            per_address_max,
            next_id: 0,
            taken: HashMap::new(),
        })))
    }

    /// Changes the limits. Connections that are open stay.
    pub(crate) fn set_limits(&self, connections_max: usize, per_address_max: usize) {
        let mut table = self.lock();
        (table.connections_max, table.per_address_max) = (connections_max, per_address_max);
    }

    /// A slot for a connection from `address`; `None` if even the reserved ones are taken.
    pub(crate) fn take(&self, address: IpAddr) -> Option<ConnectionSlot> {
        let address = network(address);
        let mut table = self.lock();
        let of_address = table.count(|entry| !entry.is_reserved && entry.address == address);
        let is_crowded = of_address >= table.per_address_max;
        let is_full = table.count(|entry| !entry.is_reserved) >= table.connections_max;
        // One that is closed for its address makes room for all.
        let is_free = if is_crowded {
            table.close_longest(|entry| entry.address == address && !entry.is_reserved)
        } else {
            !is_full || table.close_longest(|entry| !entry.is_reserved)
        };
        let is_reserved = !is_free;
        if is_reserved
            && table.count(|entry| entry.is_reserved) >= RESERVED_MAX
            && !table.close_longest(|entry| entry.is_reserved)
        {
            return None;
        }
        let id = table.next_id;
        table.next_id += 1;
        let closing = CancellationToken::new();
        let entry = SlotEntry {
            address,
            is_reserved,
            activity: Activity::Waiting,
            since: Instant::now(),
            closing: closing.clone(),
        };
        table.taken.insert(id, entry);
        drop(table);
        Some(ConnectionSlot {
            handle: SlotHandle {
                slots: self.clone(),
                id,
            },
            is_reserved,
            closing,
        })
    }

    fn lock(&self) -> MutexGuard<'_, SlotTable> {
        // The table is consistent after each statement, so a panic elsewhere does not matter.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SlotTable {
    fn count(&self, matches: impl Fn(&SlotEntry) -> bool) -> usize {
        self.taken.values().filter(|entry| matches(entry)).count()
    }

    /// Closes the connection that has waited longest of those that match. Its slot is free at
    /// once. False if all are being served.
    fn close_longest(&mut self, matches: impl Fn(&SlotEntry) -> bool) -> bool {
        let candidates = self
            .taken
            .iter()
            .filter(|(_, entry)| entry.activity < Activity::Serving && matches(entry));
        let longest = candidates
            .min_by_key(|(_, entry)| (entry.activity, entry.since))
            .map(|(id, _)| *id);
        let Some(entry) = longest.and_then(|id| self.taken.remove(&id)) else {
            return false;
        };
        entry.closing.cancel();
        true
    }
}

impl ConnectionSlot {
    /// True if only requests for the health of the service may be answered.
    pub(crate) fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    /// Ends when the connection has to give way.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    pub(crate) fn handle(&self) -> SlotHandle {
        self.handle.clone()
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.handle.slots.lock().taken.remove(&self.handle.id);
    }
}

impl SlotHandle {
    /// The connection waits for its next request.
    pub(crate) fn waits(&self) {
        self.set(Activity::Waiting);
    }

    /// The connection receives a body whose sender is not authenticated yet.
    pub(crate) fn receives_unverified(&self) {
        self.set(Activity::Unverified);
    }

    /// The connection's request is being served.
    pub(crate) fn serves(&self) {
        self.set(Activity::Serving);
    }

    fn set(&self, activity: Activity) {
        if let Some(entry) = self.slots.lock().taken.get_mut(&self.id) {
            (entry.activity, entry.since) = (activity, Instant::now());
        }
    }
}

/// What counts as one address: of IPv6, the /64 that a single customer has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn take(slots: &ConnectionSlots, last: u8) -> ConnectionSlot {
        slots.take(address(last)).expect("a slot")
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connection_gives_way_and_served_one_does_not() {
        let slots = ConnectionSlots::new(3, 3);
        let (first, second, third) = (take(&slots, 1), take(&slots, 2), take(&slots, 3));
        first.handle().serves();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        second.handle().waits();
        let fourth = take(&slots, 4);
        assert!(third.closing().is_cancelled(), "it has waited longest");
        assert!(!fourth.is_reserved() && !second.closing().is_cancelled());
        second.handle().receives_unverified();
        fourth.handle().serves();
        let fifth = take(&slots, 5);
        assert!(second.closing().is_cancelled() && !fifth.is_reserved());
        fifth.handle().serves();
        assert!(take(&slots, 6).is_reserved(), "all are being served");
        assert!(!first.closing().is_cancelled());
        drop(first);
        assert!(!take(&slots, 7).is_reserved());
    }

    #[test]
    fn one_address_leaves_places_to_others() {
        let slots = ConnectionSlots::new(8, 4);
        let busy: Vec<_> = (0..4).map(|_| take(&slots, 1)).collect();
        busy.iter().for_each(|slot| slot.handle().serves());
        assert!(take(&slots, 1).is_reserved());
        assert!(!take(&slots, 2).is_reserved());
        let idle: Vec<_> = (0..6).map(|_| take(&slots, 3)).collect();
        assert!(idle[..2].iter().all(|slot| slot.closing().is_cancelled()));
        assert!(!idle[2..].iter().any(|slot| slot.closing().is_cancelled()));
    }

    #[test]
    fn reserved_places_are_bounded() {
        let slots = ConnectionSlots::new(0, 8);
        let probes: Vec<_> = (0..RESERVED_MAX).map(|_| take(&slots, 1)).collect();
        assert!(probes.iter().all(ConnectionSlot::is_reserved));
        let next = take(&slots, 1);
        assert!(probes[0].closing().is_cancelled());
        probes[1..].iter().for_each(|slot| slot.handle().serves());
        next.handle().serves();
        assert!(slots.take(address(1)).is_none());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
