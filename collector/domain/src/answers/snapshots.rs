//! Differences between what passes of an incident show to exist.

use evidence_derive::investigation::WayIn;
use evidence_derive::{EntityKind, EntityRef, ObjectEdge, ObservedObject};
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::edge_words;
use crate::incident::EvidenceRef;

/// An object or edge that is new, gone or different.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotChange {
    pub kind: SnapshotChangeKind,
    /// What it is, in words.
    pub summary: String,
    /// What it was before, in words; only for what has changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    pub source: String,
    /// The object; absent for an edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<EntityRef>,
    /// The edge; absent for an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<ObjectEdge>,
    /// When it was created, as the record says; else the time of the pass before: it changed after
    /// that.
    pub since: Timestamp,
    /// When the pass that shows it was sealed; of what is gone, the first pass without it.
    pub seen_at: Timestamp,
    /// The record that shows it; of what is gone, the last one that did.
    pub evidence: EvidenceRef,
}

/// How two passes differ.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotChangeKind {
    /// A record says that it was created in the window.
    Created,
    /// The pass before did not show it.
    Appeared,
    /// The pass before showed it.
    Gone,
    /// The pass before showed another version.
    Changed,
}

impl SnapshotChangeKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Appeared => "appeared",
            Self::Gone => "gone",
            Self::Changed => "changed",
        }
    }
}

impl SnapshotChange {
    /// Of an object; `None` for what comes and goes all the time: processes, sockets.
    #[must_use]
    pub fn of_object(
        kind: SnapshotChangeKind,
        source: &str,
        object: &ObservedObject,
        (since, seen_at): (Timestamp, Timestamp),
        evidence: EvidenceRef,
    ) -> Option<Self> {
        let is_lasting = !matches!(
            object.entity.kind,
            EntityKind::Process | EntityKind::Session | EntityKind::WorkflowRun
        );
        // A run that is gone was deleted by somebody.
        let is_deleted_run =
            object.entity.kind == EntityKind::WorkflowRun && kind == SnapshotChangeKind::Gone;
        (is_lasting || is_deleted_run).then(|| Self {
            kind,
            summary: object.summary.clone(),
            before: None,
            source: source.to_owned(),
            entity: Some(object.entity.clone()),
            edge: None,
            since,
            seen_at,
            evidence,
        })
    }

    /// Of an edge; `None` if it is one of what comes and goes all the time.
    #[must_use]
    pub fn of_edge(
        kind: SnapshotChangeKind,
        source: &str,
        edge: &ObjectEdge,
        (since, seen_at): (Timestamp, Timestamp),
        evidence: EvidenceRef,
    ) -> Option<Self> {
        let is_fleeting = |entity: &EntityRef| {
            matches!(
                entity.kind,
                EntityKind::Process | EntityKind::Session | EntityKind::WorkflowRun
            )
        };
        let is_lasting = !is_fleeting(&edge.from) && !is_fleeting(&edge.to);
        is_lasting.then(|| Self {
            kind,
            summary: edge_words(edge),
            before: None,
            source: source.to_owned(),
            entity: None,
            edge: Some(edge.clone()),
            since,
            seen_at,
            evidence,
        })
    }

    /// The way in that it opens, if it is there now.
    #[must_use]
    pub fn way_in(&self) -> Option<WayIn> {
        match self.kind {
            SnapshotChangeKind::Gone => None,
            SnapshotChangeKind::Created
            | SnapshotChangeKind::Appeared
            | SnapshotChangeKind::Changed => match (&self.entity, &self.edge) {
                (Some(entity), _) => WayIn::of_entity(entity),
                (None, Some(edge)) => WayIn::of_edge(edge),
                (None, None) => None,
            },
        }
    }
}
