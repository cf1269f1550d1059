//! Sealed bundles, and attachments, each of which becomes a bundle.

use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use domain::incident::{BundleCoverage, Line};

/// A sealed bundle of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BundleSummary {
    pub id: Digest,
    pub incident: IncidentId,
    /// The source, or `attached`.
    pub source: String,
    pub pass: u32,
    /// The name of an attachment; absent for a capture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub sealed_at: Timestamp,
    /// Bytes of its tar file.
    pub size: u64,
    pub coverage: BundleCoverage,
    /// Records that this version could not read as events; the timeline shows each as such.
    #[serde(default)]
    pub unreadable_records: u64,
    /// The earlier bundle of the same pass, if two collectors captured the pass. Both hold the
    /// same pages; for `host`, each describes its own collector's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_of: Option<Digest>,
}

/// The bundles of an incident, in the order in which they were sealed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BundleList {
    pub bundles: Vec<BundleSummary>,
}

/// The response to an upload: the bundle that contains the attachment.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AttachmentReceipt {
    pub incident: IncidentId,
    /// The bundle's id.
    pub id: Digest,
    pub name: Line,
    /// Bytes received.
    pub bytes: u64,
    /// The digest of the received bytes.
    pub sha256: Digest,
}
