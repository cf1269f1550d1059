//! Which systems trust the affected credential or artifact?

use evidence_derive::EntityRef;
use evidence_format::id::IncidentId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{GraphStep, UnknownPart};

/// What trusts a credential or artifact, and on what it relies itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrustsAnswer {
    #[schema(value_type = String)]
    pub incident: IncidentId,
    /// The name that was asked for.
    pub name: String,
    /// What it means in the evidence; empty if no record names it.
    pub nodes: Vec<EntityRef>,
    /// What whoever has it can act on, step by step.
    pub trusted_by: Vec<GraphStep>,
    /// Who can act on it or as it, step by step.
    pub relies_on: Vec<GraphStep>,
    /// Steps that are followed one after the other.
    pub depth: u32,
    /// What the answer does not know.
    pub unknown: Vec<UnknownPart>,
}
