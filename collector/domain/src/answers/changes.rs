//! What changed recently, and which changes are new ways in?

use evidence_derive::investigation::{ChangeTopic, WayIn};
use evidence_format::id::IncidentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AnswerWindow, SnapshotChange, UnknownPart};
use crate::incident::TimelineRow;

/// What changed in a window: one page of events, in the order of time, and what passes show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangesAnswer {
    #[schema(value_type = String)]
    pub incident: IncidentId,
    pub window: AnswerWindow,
    pub changes: Vec<ChangeEvent>,
    /// What appeared, went or changed between passes, whatever the events say; on the first page.
    pub snapshots: Vec<SnapshotChange>,
    /// The `cursor` of the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What the answer does not know; on the first page.
    pub unknown: Vec<UnknownPart>,
}

/// A change that an event reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeEvent {
    pub topic: ChangeTopic,
    pub row: TimelineRow,
}

/// New ways in since the beginning of a window: one page of events, and what passes show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersistenceAnswer {
    #[schema(value_type = String)]
    pub incident: IncidentId,
    pub window: AnswerWindow,
    pub events: Vec<WayInEvent>,
    /// What records say to be created in the window, or what a later pass shows first; on the first
    /// page. Not what an event of the same record reports.
    pub snapshots: Vec<WayInSnapshot>,
    /// The `cursor` of the next page; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What the answer does not know; on the first page.
    pub unknown: Vec<UnknownPart>,
}

/// A way in that an event opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WayInEvent {
    pub way: WayIn,
    pub row: TimelineRow,
}

/// A way in that snapshots show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WayInSnapshot {
    pub way: WayIn,
    pub change: SnapshotChange,
}
