//! Delivery of a sealed bundle: its tar, by the bundle's id, in requests that can resume.

use evidence_format::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::identity::AgentId;
use crate::poll::OrderId;

/// Bytes of a file that holds a [`CarriedBundle`].
pub const CARRIED_BYTES_MAX: u64 = 16 * 1024;

/// A bundle that people carry to the collector: the file `ID.json` beside `ID.tar`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CarriedBundle {
    pub agent: AgentId,
    pub order: OrderId,
    /// The bundle's id.
    pub bundle: Digest,
}

/// Offers a bundle, and later commits it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadOffer {
    pub order: OrderId,
    /// The bundle's id.
    pub bundle: Digest,
    /// Bytes of its tar.
    pub bytes: u64,
}

/// How far the collector has the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadState {
    /// Bytes from the beginning that the collector has. The next request starts there.
    pub received_bytes: u64,
    /// The bundle is verified, stored and in the incident: the agent may delete its own.
    pub committed: bool,
}
