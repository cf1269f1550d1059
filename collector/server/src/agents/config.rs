//! `[agents]` of `exhibit.toml`.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use serde::Deserialize;

use crate::config::deserialize_listen_address;

/// `[agents]`: the listener for agents on other hosts. Without the section, there is none.
///
/// Trusted: anyone who edits it decides where agents deliver evidence.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AgentsConfig {
    /// The address to listen on, always with TLS.
    #[serde(deserialize_with = "deserialize_listen_address")]
    pub listen: SocketAddr,
    /// The URL at which agents reach it, as `exhibit agents token create` shows it.
    pub url: String,
    /// Seconds that a request for orders waits for one.
    #[serde(default = "poll_seconds")]
    pub poll_seconds: NonZeroU32,
    /// Agents that are told of orders, or admitted, in a second.
    #[serde(default = "per_second")]
    pub per_second: NonZeroU32,
    /// Open connections.
    #[serde(default = "connections_max")]
    pub connections_max: u32,
    /// Bytes of one bundle.
    #[serde(default = "bundle_bytes_max")]
    pub bundle_bytes_max: u64,
}

/// Shorter than the idle timeouts of common balancers and NATs, the shortest of which is 350 s.
fn poll_seconds() -> NonZeroU32 {
    NonZeroU32::new(120).expect("it is not 0")
}

/// 10,000 agents are told within a minute.
fn per_second() -> NonZeroU32 {
    NonZeroU32::new(200).expect("it is not 0")
}

fn connections_max() -> u32 {
    20_000
}

fn bundle_bytes_max() -> u64 {
    4 << 30
}
