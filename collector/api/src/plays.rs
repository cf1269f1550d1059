//! Plays: how each kind of incident is responded to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use domain::incident::{ChecklistStep, Line, PivotKind, PlayName, SourceName};

/// A play.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlayDetails {
    pub name: PlayName,
    pub title: Line,
    /// Default length of the window before the declaration, in hours.
    pub window_hours: u32,
    /// The sources that it captures, in order.
    pub sources: Vec<SourceName>,
    /// Those of its sources that this version does not have.
    pub absent: Vec<SourceName>,
    /// The kinds of pivots that narrow its questions.
    pub pivots: Vec<PivotKind>,
    /// Its checklist steps, including those of every incident.
    pub steps: Vec<ChecklistStep>,
}

/// All plays, by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PlayList {
    pub plays: Vec<PlayDetails>,
}
