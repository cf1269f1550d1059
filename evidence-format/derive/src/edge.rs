//! How two things are related.

use serde::{Deserialize, Serialize};

use crate::EntityRef;
use crate::text::bound;

/// A relation that a snapshot shows to exist.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectEdge {
    pub from: EntityRef,
    pub relation: EdgeRelation,
    pub to: EntityRef,
    /// Under which condition it holds: a subject claim, a branch pattern.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub condition: Option<String>,
}

/// Read from left to right: `from` is a member of `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EdgeRelation {
    MemberOf,
    /// Can act as `to`: roles, service accounts, impersonation.
    CanAssume,
    /// Has a right on `to`, named by the condition.
    CanAccess,
    /// Can send network traffic to `to`.
    CanReach,
    /// Has the credential or secret `to`.
    Holds,
    /// Brings `to` into service.
    Deploys,
    /// Accepts identities or code from `to`.
    Trusts,
    /// Runs on, is a part of, or is owned by `to`.
    PartOf,
}

impl ObjectEdge {
    pub(crate) fn bound(&mut self) {
        self.from.bound();
        self.to.bound();
        self.condition.iter_mut().for_each(bound);
    }
}
