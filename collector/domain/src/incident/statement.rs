//! What is said about the incident inside and outside: statements, each confirmed or not, and what
//! is being done.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::text::{Line, Name};

/// What a statement is about: the runbook's parts of an external update, and the rest of the
/// investigation.
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
    /// Which data or services were affected: the known impact.
    Impact,
    /// What customers should do.
    CustomerAction,
}

/// Whether a statement may be told as a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StatementStanding {
    /// Known, not guessed.
    Confirmed,
    /// A hypothesis of the investigation.
    Hypothesis,
    /// No longer held.
    Withdrawn,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStatement {
    /// From 1, in the order in which they were made.
    pub id: u64,
    /// What it is about.
    pub topic: StatementTopic,
    /// Whether it is known.
    pub standing: StatementStanding,
    /// What it says.
    pub text: Line,
}

/// What somebody does about the incident now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurrentAction {
    /// From 1, in the order in which they were begun.
    pub id: u64,
    /// What is done.
    pub text: Line,
    /// By whom.
    pub owner: Option<Name>,
    /// False while it is being done.
    pub ended: bool,
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
