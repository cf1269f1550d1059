//! Walks the edges between objects, one step after the other.
//!
//! The caller reads the edges, level by level: [`GraphWalk::next_ids`] says of which nodes, and
//! [`GraphWalk::take`] takes them. A walk ends at its depth and at its number of steps; nodes are
//! visited once, so that a circle ends.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use evidence_derive::{EdgeRelation, EntityKind, EntityRef, ObjectEdge};
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::incident::EvidenceRef;

/// Steps of one walk at most.
const STEPS_MAX: usize = 2000;
/// Steps that a walk follows one after the other: by default, and at most.
pub const DEPTH_DEFAULT: u32 = 4;
pub const DEPTH_MAX: u32 = 10;

/// An edge, as the records of an incident show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEdge {
    pub edge: ObjectEdge,
    pub source: String,
    /// The last record that shows it.
    pub evidence: EvidenceRef,
    /// When that record's bundle was sealed.
    pub seen_at: Timestamp,
    /// A later pass has listed the same and does not show it any more.
    pub is_gone: bool,
}

/// In which direction edges are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalkDirection {
    /// From somebody to what they can act on.
    Onward,
    /// From something to those who can act on it.
    Back,
}

/// One edge of a walk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphStep {
    /// From 1.
    pub depth: u32,
    /// Index of the step that led here; `null` for the first.
    pub parent: Option<u64>,
    /// What this step reaches.
    pub node: EntityRef,
    pub edge: ObjectEdge,
    /// The edge in words.
    pub words: String,
    pub source: String,
    /// The record that shows the edge.
    pub evidence: EvidenceRef,
    /// When that record was sealed.
    pub seen_at: Timestamp,
    /// True if a later pass does not show the edge any more.
    pub gone: bool,
}

/// A walk through the edges.
#[derive(Debug)]
pub struct GraphWalk {
    direction: WalkDirection,
    depth_max: u32,
    steps: Vec<GraphStep>,
    visited: BTreeSet<(String, Option<String>)>,
    seen_edges: BTreeSet<ObjectEdge>,
    /// Nodes whose edges are taken next, each with the step that led there.
    frontier: Vec<(EntityRef, Option<usize>)>,
    depth: u32,
    is_cut: bool,
}

impl GraphWalk {
    /// A walk that begins at all of `nodes`: they are what one name means.
    #[must_use]
    pub fn new(direction: WalkDirection, nodes: &[EntityRef], depth_max: u32) -> Self {
        let mut walk = Self {
            direction,
            depth_max,
            steps: Vec::new(),
            visited: BTreeSet::new(),
            seen_edges: BTreeSet::new(),
            frontier: Vec::new(),
            depth: 0,
            is_cut: false,
        };
        for node in nodes {
            walk.visit(node, None);
        }
        walk
    }

    /// The nodes whose edges are to be read next; empty at the end of the walk.
    #[must_use]
    pub fn next_ids(&self) -> Vec<EntityRef> {
        if self.depth >= self.depth_max {
            return Vec::new();
        }
        self.frontier.iter().map(|(node, _)| node.clone()).collect()
    }

    /// Takes the edges of the nodes that [`Self::next_ids`] has named. `is_cut` says that these are
    /// not all.
    pub fn take(&mut self, edges: &[KnownEdge], is_cut: bool) {
        self.is_cut |= is_cut;
        self.depth += 1;
        let mut by_node: BTreeMap<Cow<'_, str>, Vec<&KnownEdge>> = BTreeMap::new();
        for known in edges {
            let (from, to) = (known.edge.from.node_id(), known.edge.to.node_id());
            if from != to {
                by_node.entry(to).or_default().push(known);
            }
            by_node.entry(from).or_default().push(known);
        }
        for (from, parent) in std::mem::take(&mut self.frontier) {
            for known in by_node.get(&from.node_id()).into_iter().flatten() {
                let Some((to, goes_on)) = self.follow(&from, &known.edge) else {
                    continue;
                };
                if self.seen_edges.contains(&known.edge) {
                    continue;
                }
                if self.steps.len() >= STEPS_MAX {
                    self.is_cut = true;
                    return;
                }
                self.seen_edges.insert(known.edge.clone());
                let step = self.steps.len();
                self.steps.push(GraphStep {
                    depth: self.depth,
                    parent: parent.map(|parent| parent as u64),
                    node: to.clone(),
                    words: edge_words(&known.edge),
                    edge: known.edge.clone(),
                    source: known.source.clone(),
                    evidence: known.evidence.clone(),
                    seen_at: known.seen_at,
                    gone: known.is_gone,
                });
                if goes_on {
                    self.visit(&to, Some(step));
                }
            }
        }
    }

    /// The steps, and true if there may be more than these.
    #[must_use]
    pub fn finish(self) -> (Vec<GraphStep>, bool) {
        let is_cut = self.is_cut || !self.frontier.is_empty();
        (self.steps, is_cut)
    }

    fn visit(&mut self, node: &EntityRef, step: Option<usize>) {
        let key = (node.node_id().into_owned(), node.scope.clone());
        if self.visited.insert(key) {
            self.frontier.push((node.clone(), step));
        }
    }

    /// What the edge leads to from `node`, and whether the walk goes on from there; `None` if it
    /// does not lead from `node` in this direction.
    fn follow(&self, node: &EntityRef, edge: &ObjectEdge) -> Option<(EntityRef, bool)> {
        let is_from = node.is_same_node(&edge.from);
        let is_to = node.is_same_node(&edge.to);
        let (along, against) = power_of(edge);
        let (forward, backward) = match self.direction {
            WalkDirection::Onward => (along, against),
            WalkDirection::Back => (against, along),
        };
        if is_from && forward {
            return Some((edge.to.clone(), true));
        }
        if is_to && backward {
            return Some((edge.from.clone(), true));
        }
        // A secret does not act as those who have it, but they rely on it.
        let is_held = edge.relation == EdgeRelation::Holds && edge.to.kind == EntityKind::Secret;
        if is_to && is_held && self.direction == WalkDirection::Onward {
            return Some((edge.from.clone(), false));
        }
        None
    }
}

/// Whether who is at the beginning of the edge can act on what is at its end, and the reverse.
fn power_of(edge: &ObjectEdge) -> (bool, bool) {
    match edge.relation {
        EdgeRelation::MemberOf
        | EdgeRelation::CanAssume
        | EdgeRelation::CanAccess
        | EdgeRelation::CanReach
        | EdgeRelation::Deploys => (true, false),
        // Whoever has the key of somebody acts as them.
        EdgeRelation::Holds => {
            let is_key = matches!(edge.to.kind, EntityKind::Credential | EntityKind::Session);
            (true, is_key)
        }
        EdgeRelation::Trusts => (false, true),
        // A part is no power over the whole, and which parts the whole has is no news.
        EdgeRelation::PartOf => (false, false),
    }
}

/// The edge as a sentence: `user x can assume role y`.
#[must_use]
pub fn edge_words(edge: &ObjectEdge) -> String {
    let verb = match edge.relation {
        EdgeRelation::MemberOf => "is a member of",
        EdgeRelation::CanAssume => "can act as",
        EdgeRelation::CanAccess => "has a right on",
        EdgeRelation::CanReach => "can reach",
        EdgeRelation::Holds => "has",
        EdgeRelation::Deploys => "deploys",
        EdgeRelation::Trusts => "accepts",
        EdgeRelation::PartOf => "is a part of",
    };
    let condition = match &edge.condition {
        Some(condition) => format!(" ({condition})"),
        None => String::new(),
    };
    format!(
        "{} {verb} {}{condition}",
        entity_words(&edge.from),
        entity_words(&edge.to)
    )
}

/// `user op-one`, `artifact ghcr.io/acme/app@sha256:…`.
#[must_use]
pub fn entity_words(entity: &EntityRef) -> String {
    let kind = serde_json::to_value(entity.kind);
    let kind = kind.ok().and_then(|kind| kind.as_str().map(str::to_owned));
    match kind.as_deref() {
        Some("other") | None => entity.label().to_owned(),
        Some(kind) => format!("{} {}", kind.replace('-', " "), entity.label()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{edge, known};
    use super::*;

    fn entity(kind: EntityKind, id: &str) -> EntityRef {
        EntityRef::new(kind, id)
    }

    /// All steps of a walk over `edges`, in words.
    fn walk(
        direction: WalkDirection,
        start: &EntityRef,
        depth: u32,
        edges: &[ObjectEdge],
    ) -> (Vec<String>, bool) {
        let known: Vec<KnownEdge> = edges.iter().cloned().map(known).collect();
        let mut walk = GraphWalk::new(direction, std::slice::from_ref(start), depth);
        while !walk.next_ids().is_empty() {
            walk.take(&known, false);
        }
        let (steps, is_cut) = walk.finish();
        let lines = steps
            .iter()
            .map(|step| format!("{} {}", step.depth, step.words));
        (lines.collect(), is_cut)
    }

    fn story() -> Vec<ObjectEdge> {
        let role = || entity(EntityKind::Role, "arn:aws:iam::123456789012:role/deploy");
        let repo = || entity(EntityKind::Repository, "acme/app");
        let user = || entity(EntityKind::User, "ann");
        vec![
            edge(
                user(),
                EdgeRelation::Holds,
                entity(EntityKind::Credential, "key-1"),
            ),
            edge(user(), EdgeRelation::CanAccess, repo()),
            edge(role(), EdgeRelation::Trusts, repo()),
            edge(
                role(),
                EdgeRelation::CanAccess,
                entity(EntityKind::Bucket, "b"),
            ),
            // A circle: the role can write to the repository that it trusts.
            edge(role(), EdgeRelation::CanAccess, repo()),
            edge(
                repo(),
                EdgeRelation::PartOf,
                entity(EntityKind::Organization, "acme"),
            ),
        ]
    }

    #[test]
    fn key_leads_to_all_that_trusts_its_owner() {
        let key = entity(EntityKind::Credential, "key-1");
        let (steps, is_cut) = walk(WalkDirection::Onward, &key, 10, &story());
        assert!(!is_cut);
        assert_eq!(
            steps,
            [
                "1 user ann has credential key-1",
                "2 user ann has a right on repository acme/app",
                "3 role arn:aws:iam::123456789012:role/deploy accepts repository acme/app",
                "4 role arn:aws:iam::123456789012:role/deploy has a right on bucket b",
                "4 role arn:aws:iam::123456789012:role/deploy has a right on repository acme/app",
            ]
        );
        let (steps, is_cut) = walk(WalkDirection::Onward, &key, 2, &story());
        assert_eq!((steps.len(), is_cut), (2, true), "the depth is a limit");
    }

    #[test]
    fn way_back_leads_to_those_who_can_act_on_something() {
        let bucket = entity(EntityKind::Bucket, "b");
        let (steps, _) = walk(WalkDirection::Back, &bucket, 10, &story());
        assert_eq!(steps.len(), 5, "{steps:?}");
        assert_eq!(
            steps[1],
            "2 role arn:aws:iam::123456789012:role/deploy accepts repository acme/app"
        );
    }

    #[test]
    fn one_role_is_one_node_by_all_its_names() {
        let session = "arn:aws:sts::123456789012:assumed-role/deploy/x";
        let session = entity(EntityKind::Session, session);
        let (steps, _) = walk(WalkDirection::Onward, &session, 1, &story());
        assert_eq!(steps.len(), 2, "{steps:?}");
    }

    #[test]
    fn those_who_have_a_secret_are_named_and_not_followed() {
        let secret = entity(EntityKind::Secret, "prod/db");
        let pod = entity(EntityKind::Pod, "prod/app");
        let edges = [
            edge(pod.clone(), EdgeRelation::Holds, secret.clone()),
            edge(
                pod,
                EdgeRelation::CanAssume,
                entity(EntityKind::Service, "s"),
            ),
        ];
        let (steps, _) = walk(WalkDirection::Onward, &secret, 5, &edges);
        assert_eq!(steps, ["1 pod prod/app has secret prod/db"]);
    }

    #[test]
    fn walk_ends_at_its_number_of_steps() {
        let user = entity(EntityKind::User, "ann");
        let edges: Vec<_> = (0..STEPS_MAX + 1)
            .map(|n| {
                let group = entity(EntityKind::Group, &n.to_string());
                edge(user.clone(), EdgeRelation::MemberOf, group)
            })
            .collect();
        let (steps, is_cut) = walk(WalkDirection::Onward, &user, 2, &edges);
        assert_eq!((steps.len(), is_cut), (STEPS_MAX, true));
    }
}
