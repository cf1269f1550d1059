//! Limits of the protocol. Both sides enforce them.

/// Bytes of a JSON document: the largest is an order, whose plan has a step for each probe.
pub const DOCUMENT_BYTES_MAX: u64 = 256 * 1024;
/// Bytes of a bundle that are uploaded in one request: little is repeated after a cut, and the
/// requests of many agents take turns.
pub const CHUNK_BYTES_MAX: u64 = 4 << 20;
/// Bytes of one text in [`HostFacts`](crate::facts::HostFacts): host names have at most 253.
pub const FACT_BYTES_MAX: usize = 256;
/// Addresses in [`HostFacts`](crate::facts::HostFacts). A node of Kubernetes has some hundred.
pub const ADDRESSES_MAX: usize = 64;
/// Names in [`HostFacts::logs`](crate::facts::HostFacts::logs).
pub const LOG_SOURCES_MAX: usize = 256;
/// Bundles in [`PollRequest::holding`](crate::poll::PollRequest::holding).
pub const HOLDING_MAX: usize = 256;
/// The longest that a collector may tell an agent to wait before its next request: longer, and
/// nobody could tell a waiting agent from a dead one.
pub const PAUSE_SECONDS_MAX: u64 = 15 * 60;
