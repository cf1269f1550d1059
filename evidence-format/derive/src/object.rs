//! Something that exists.

use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::text::bound;

/// A user, key, repository, pod: anything that acts or is acted on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EntityRef {
    pub kind: EntityKind,
    /// As the provider identifies it: an ARN, a number, `namespace/name`.
    pub id: String,
    /// For people, if the id is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Account, organization, repository or cluster that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub scope: Option<String>,
}

impl EntityRef {
    #[must_use]
    pub fn new(kind: EntityKind, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
            name: None,
            scope: None,
        }
    }

    /// With a name for people; an empty one, or one that equals the id, is left out.
    #[must_use]
    pub fn named(mut self, name: Option<&str>) -> Self {
        self.name = name
            .filter(|name| !name.is_empty() && *name != self.id)
            .map(str::to_owned);
        self
    }

    #[must_use]
    pub fn scoped(mut self, scope: Option<&str>) -> Self {
        self.scope = scope.filter(|scope| !scope.is_empty()).map(str::to_owned);
        self
    }

    /// What people call it: its name, or else its id.
    #[must_use]
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }

    pub(crate) fn bound(&mut self) {
        bound(&mut self.id);
        self.name.iter_mut().for_each(bound);
        self.scope.iter_mut().for_each(bound);
    }
}

/// What an [`EntityRef`] refers to, across providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EntityKind {
    User,
    Group,
    /// A role that can be assumed or bound.
    Role,
    Policy,
    /// A service account, bot, machine identity.
    Service,
    Application,
    /// A password, key, token or certificate, by its public id.
    Credential,
    Session,
    Account,
    Organization,
    Repository,
    Branch,
    Commit,
    Workflow,
    /// One run of a workflow or pipeline, or one of its jobs.
    WorkflowRun,
    Deployment,
    Environment,
    /// A package, image, release or build product.
    Artifact,
    Runner,
    Webhook,
    /// Name of a secret or variable; never its value.
    Secret,
    Cluster,
    Node,
    Namespace,
    Workload,
    Pod,
    Container,
    Host,
    Process,
    File,
    Bucket,
    Database,
    /// Addresses, zones, gateways, rules, sockets.
    Network,
    Domain,
    IdentityProvider,
    /// A log, trail or audit setting.
    AuditLog,
    Other,
}

/// Something that a snapshot shows to exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObservedObject {
    pub entity: EntityRef,
    /// Changes whenever the object does: the provider's own version or time of last change, or else
    /// the SHA-256 of the record. Two snapshots are compared by it.
    pub version: String,
    /// When it came into being, if the record says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub created_at: Option<Timestamp>,
    /// One line for people.
    pub summary: String,
}

impl ObservedObject {
    pub(crate) fn bound(&mut self) {
        self.entity.bound();
        bound(&mut self.version);
        bound(&mut self.summary);
    }
}
