//! One id for one thing, however records name it.

use std::borrow::Cow;

use crate::{EntityKind, EntityRef};

impl EntityRef {
    /// The id under which edges of several records meet. It is [`Self::id`], except for identities
    /// of AWS IAM: records name the same user by an ARN, by an ARN with a path, or by a name in an
    /// account, and a role also by its sessions.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>
    #[must_use]
    pub fn node_id(&self) -> Cow<'_, str> {
        if let Some(rest) = self.id.strip_prefix("arn:") {
            return iam_arn(rest).map_or(Cow::Borrowed(&self.id), Cow::Owned);
        }
        let kind = match self.kind {
            EntityKind::User => "user",
            EntityKind::Role => "role",
            EntityKind::Group => "group",
            EntityKind::Policy
            | EntityKind::Service
            | EntityKind::Application
            | EntityKind::Credential
            | EntityKind::Session
            | EntityKind::Account
            | EntityKind::Organization
            | EntityKind::Repository
            | EntityKind::Branch
            | EntityKind::Commit
            | EntityKind::Workflow
            | EntityKind::WorkflowRun
            | EntityKind::Deployment
            | EntityKind::Environment
            | EntityKind::Artifact
            | EntityKind::Runner
            | EntityKind::Webhook
            | EntityKind::Secret
            | EntityKind::Cluster
            | EntityKind::Node
            | EntityKind::Namespace
            | EntityKind::Workload
            | EntityKind::Pod
            | EntityKind::Container
            | EntityKind::Host
            | EntityKind::Process
            | EntityKind::File
            | EntityKind::Bucket
            | EntityKind::Database
            | EntityKind::Network
            | EntityKind::Domain
            | EntityKind::IdentityProvider
            | EntityKind::AuditLog
            | EntityKind::Other => return Cow::Borrowed(&self.id),
        };
        match self.scope.as_deref() {
            Some(account) if is_account(account) => {
                Cow::Owned(format!("arn:aws:iam::{account}:{kind}/{}", self.id))
            }
            Some(_) | None => Cow::Borrowed(&self.id),
        }
    }

    /// True if both may be the same thing: their ids are, and neither their kinds nor their scopes
    /// contradict that. A group `admins` of one cluster is not that of another.
    #[must_use]
    pub fn is_same_node(&self, other: &Self) -> bool {
        if self.node_id() != other.node_id() {
            return false;
        }
        // ARNs are unique without a kind and a scope.
        if self.node_id().starts_with("arn:") {
            return true;
        }
        let is_kind =
            self.kind == other.kind || [self.kind, other.kind].contains(&EntityKind::Other);
        let is_scope = match (&self.scope, &other.scope) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, _) | (_, None) => true,
        };
        is_kind && is_scope
    }
}

/// `arn:aws:iam::1:user/x` for the ARN of an identity in any partition, with any path. `rest`
/// follows `arn:`.
fn iam_arn(rest: &str) -> Option<String> {
    let mut parts = rest.splitn(5, ':');
    let (_partition, service, _region) = (parts.next()?, parts.next()?, parts.next()?);
    let (account, resource) = (parts.next()?, parts.next()?);
    let (kind, path) = resource.split_once('/')?;
    let (kind, name) = match (service, kind) {
        ("iam", "user" | "role" | "group") => (kind, path.rsplit('/').next()?),
        // A session: its role comes first.
        ("sts", "assumed-role") => ("role", path.split('/').next()?),
        _ => return None,
    };
    Some(format!("arn:aws:iam::{account}:{kind}/{name}"))
}

fn is_account(scope: &str) -> bool {
    scope.len() == 12 && scope.bytes().all(|b| b.is_ascii_digit())
}
