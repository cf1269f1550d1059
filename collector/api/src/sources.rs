//! Sources of evidence, and whether each of them is ready.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use domain::plan::{CaptureTarget, ReadinessState as SourceState};

/// The result of a readiness check of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    pub source: String,
    /// A description of the source.
    pub what: String,
    pub state: SourceState,
    /// The accounts and regions that a capture would query.
    pub targets: Vec<CaptureTarget>,
    /// Each offer at each target.
    #[serde(default)]
    pub offers: Vec<OfferStatus>,
    /// What is missing that belongs to no offer.
    pub problems: Vec<String>,
    /// What to know, though nothing is missing.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// The shortest published retention of its data; `null` if none is published.
    pub retention_seconds: Option<u64>,
    /// True if the source has no history: a capture takes its current state.
    pub is_state: bool,
    /// Length of the play's window.
    pub window_seconds: u64,
}

/// The result of a readiness check of one offer at one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferStatus {
    /// The start of its items' names, such as `okta-users`.
    pub offer: String,
    /// The API that is called.
    pub api: String,
    pub target: CaptureTarget,
    pub state: SourceState,
    /// Requests for the play's window, estimated from a sample; `null` without a sample.
    pub requests_expected: Option<u64>,
    /// What is missing.
    pub problems: Vec<String>,
    /// Permissions to grant, as the provider calls them.
    pub missing_grants: Vec<String>,
}

/// All sources.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SourceList {
    pub sources: Vec<SourceStatus>,
}
