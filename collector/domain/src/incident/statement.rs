//! Statements and actions, from which internal and external updates are drafted.

use std::fmt;

use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::text::{Line, Name};

/// The section of an external update that a statement belongs to.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum StatementTopic {
    /// What happened.
    WhatHappened,
    /// Which data or services are affected.
    Impact,
    /// What customers should do.
    CustomerAction,
}

/// Whether a statement counts as a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StatementStanding {
    /// It is known to be true.
    Confirmed,
    /// The investigation assumes it.
    Hypothesis,
    /// It no longer holds.
    Withdrawn,
}

/// A statement for updates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStatement {
    /// From 1, in the order in which they were made.
    pub id: u64,
    pub topic: StatementTopic,
    pub standing: StatementStanding,
    pub text: Line,
}

/// An action of the response to an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentAction {
    /// From 1, in the order in which they began.
    pub id: u64,
    pub text: Line,
    pub owner: Option<Name>,
    /// False while the action is running.
    pub ended: bool,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Line>,
}

/// A freeze of changes: nobody makes them unless containment needs them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeFreeze {
    /// Which changes.
    pub what: Line,
    pub since: Timestamp,
    pub by: Name,
}

impl fmt::Display for StatementTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::WhatHappened => "what happened",
            Self::Impact => "impact",
            Self::CustomerAction => "customer action",
        })
    }
}

impl fmt::Display for StatementStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Confirmed => "confirmed",
            Self::Hypothesis => "hypothesis",
            Self::Withdrawn => "withdrawn",
        })
    }
}
