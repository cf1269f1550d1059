//! Plays: how each kind of incident is responded to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use domain::hosts::HostLabel;
use domain::incident::{ChecklistStep, Line, PivotKind, PlayName, SourceName};

/// How one kind of incident is responded to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlayDetails {
    pub name: PlayName,
    pub title: Line,
    /// Default length of the window before the declaration, in hours.
    pub window_hours: u32,
    /// The sources to capture, in order.
    pub sources: Vec<SourceName>,
    /// The sources of the play that this version lacks.
    pub absent: Vec<SourceName>,
    /// Hosts that it captures beside the sources: every host with one of these labels.
    #[serde(default)]
    pub host_labels: Vec<HostLabel>,
    /// The kinds of pivots that its sources can filter by.
    pub pivots: Vec<PivotKind>,
    /// Its checklist steps, including those that all plays share.
    pub steps: Vec<ChecklistStep>,
}

/// All plays, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PlayList {
    pub plays: Vec<PlayDetails>,
}
