//! What data could the actor read, modify, delete or export?

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use evidence_derive::investigation::RightEffects;
use evidence_derive::{
    ActivityCategory, ActivityOutcome, EdgeRelation, EntityKind, EntityRef, ocsf,
};
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AnswerWindow, EventMention, GraphStep, InvestigatedEvent, UnknownPart};

/// Acts that an answer tells apart.
const ACTS_MAX: usize = 5000;

/// What an identity could do, and apart from that what it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExposureAnswer {
    #[schema(value_type = String)]
    pub incident: IncidentId,
    pub window: AnswerWindow,
    /// The name that was asked for.
    pub name: String,
    /// What it means in the evidence; empty if no record names it.
    pub nodes: Vec<EntityRef>,
    /// What it could act on, by what records say of rights.
    pub could: Vec<ReachableThing>,
    /// What it did in the window, by action and object.
    pub did: Vec<ActCount>,
    /// Different acts; more than are listed if the limit was reached.
    pub acts: u64,
    /// What the answer does not know.
    pub unknown: Vec<UnknownPart>,
}

/// Something that an identity could act on, and the way there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReachableThing {
    pub target: EntityRef,
    /// What the rights on the way say; all false if they do not say it.
    pub effects: RightEffects,
    /// The edges from the identity to the target, in this order.
    pub path: Vec<GraphStep>,
}

/// How often an identity did something to an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActCount {
    pub effect: ActEffect,
    pub action: String,
    pub source: String,
    /// The first object that the events name; `null` if they name none.
    pub target: Option<EntityRef>,
    /// Events that succeeded, or that do not say.
    pub succeeded: u64,
    /// Events that failed or were refused.
    pub denied: u64,
    pub first: EventMention,
    pub last_at: Timestamp,
}

/// What an event did to its object.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ActEffect {
    Delete,
    Modify,
    /// Code ran.
    Execute,
    Read,
    /// A login, or the use of a right to act as somebody else.
    Authenticate,
    Other,
}

impl ActEffect {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Modify => "modify",
            Self::Execute => "execute",
            Self::Read => "read",
            Self::Authenticate => "authenticate",
            Self::Other => "other",
        }
    }

    fn of(event: &InvestigatedEvent) -> Self {
        let event = &event.event;
        // The activity of every class in which something can be deleted.
        let deletes = match event.class {
            ocsf::API_ACTIVITY | ocsf::ENTITY_MANAGEMENT => event.activity == ocsf::DELETE,
            ocsf::ACCOUNT_CHANGE => event.activity == 6,
            ocsf::GROUP_MANAGEMENT => event.activity == 5,
            _ => false,
        };
        match event.category {
            ActivityCategory::Change | ActivityCategory::Access if deletes => Self::Delete,
            ActivityCategory::Change | ActivityCategory::Access | ActivityCategory::Deployment => {
                Self::Modify
            }
            ActivityCategory::Execution => Self::Execute,
            ActivityCategory::Read => Self::Read,
            ActivityCategory::Authentication => Self::Authenticate,
            ActivityCategory::Finding | ActivityCategory::Other => Self::Other,
        }
    }
}

/// What the steps of a walk reach, each with its way: the things that are no mere stations.
#[must_use]
pub fn reachable_things(steps: &[GraphStep]) -> Vec<ReachableThing> {
    let is_right = |step: &GraphStep| match step.edge.relation {
        EdgeRelation::CanAccess | EdgeRelation::CanReach | EdgeRelation::Deploys => true,
        EdgeRelation::Holds => matches!(step.edge.to.kind, EntityKind::Policy | EntityKind::Secret),
        EdgeRelation::CanAssume | EdgeRelation::Trusts => true,
        EdgeRelation::MemberOf | EdgeRelation::PartOf => false,
    };
    let reached = steps.iter().filter(|step| is_right(step));
    let things = reached.map(|step| {
        let path = path_to(steps, step);
        // The last edge grants the right; a policy is named by what it allows.
        let texts = [
            step.edge.condition.as_deref(),
            Some(step.node.label()).filter(|_| step.node.kind == EntityKind::Policy),
            Some(step.node.label()).filter(|_| step.node.kind == EntityKind::Role),
        ];
        ReachableThing {
            target: step.node.clone(),
            effects: RightEffects::of(texts.into_iter().flatten()),
            path,
        }
    });
    things.collect()
}

fn path_to(steps: &[GraphStep], step: &GraphStep) -> Vec<GraphStep> {
    let mut path = vec![step.clone()];
    let mut parent = step.parent;
    while let Some(step) = parent.and_then(|parent| steps.get(usize::try_from(parent).ok()?)) {
        path.push(step.clone());
        parent = step.parent;
    }
    path.reverse();
    path
}

/// Counts what an identity did, one event after the other.
#[derive(Debug, Default)]
pub struct ActCollector {
    acts: BTreeMap<(ActEffect, String, String, Option<String>), ActCount>,
    unlisted_events: u64,
}

impl ActCollector {
    /// Counts an event.
    pub fn see(&mut self, seen: &InvestigatedEvent) {
        let event = &seen.event;
        let effect = ActEffect::of(seen);
        let target = event.targets.first();
        let key = (
            effect,
            seen.source.clone(),
            event.action.clone(),
            target.map(|target| target.id.clone()),
        );
        let is_full = self.acts.len() >= ACTS_MAX;
        let act = match self.acts.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if is_full => {
                self.unlisted_events += 1;
                return;
            }
            Entry::Vacant(entry) => entry.insert(ActCount {
                effect,
                action: event.action.clone(),
                source: seen.source.clone(),
                target: target.cloned(),
                succeeded: 0,
                denied: 0,
                first: EventMention::of(seen),
                last_at: event.time,
            }),
        };
        let is_denied = event.outcome == ActivityOutcome::Failure;
        act.denied += u64::from(is_denied);
        act.succeeded += u64::from(!is_denied);
        act.last_at = act.last_at.max(event.time);
        if event.time < act.first.time {
            act.first = EventMention::of(seen);
        }
    }

    /// The acts, the most harmful first, at most `limit` of them; and their number.
    pub fn finish(self, limit: usize, unknown: &mut Vec<UnknownPart>) -> (Vec<ActCount>, u64) {
        if self.unlisted_events > 0 {
            unknown.push(UnknownPart::limit(format!(
                "{} events of more than {ACTS_MAX} different acts are not counted",
                self.unlisted_events
            )));
        }
        let total = self.acts.len() as u64;
        let mut acts: Vec<ActCount> = self.acts.into_values().collect();
        acts.sort_by_key(|act| (act.effect, act.first.time));
        acts.truncate(limit);
        (acts, total)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, edge, event, known};
    use super::super::{GraphWalk, WalkDirection};
    use super::*;

    #[test]
    fn could_has_the_way_and_what_it_allows() {
        let user = EntityRef::new(EntityKind::User, "ann");
        let group = EntityRef::new(EntityKind::Group, "ops");
        let policy = EntityRef::new(EntityKind::Policy, "p").named(Some("AdministratorAccess"));
        let repo = EntityRef::new(EntityKind::Repository, "acme/app");
        let mut write = edge(group.clone(), EdgeRelation::CanAccess, repo);
        write.condition = Some("write".to_owned());
        let edges = [
            edge(user.clone(), EdgeRelation::MemberOf, group.clone()),
            edge(group, EdgeRelation::Holds, policy),
            write,
        ]
        .map(known);
        let mut walk = GraphWalk::new(WalkDirection::Onward, &[user], 4);
        while !walk.next_ids().is_empty() {
            walk.take(&edges, false);
        }
        let things = reachable_things(&walk.finish().0);
        let lines: Vec<String> = things
            .iter()
            .map(|thing| {
                let RightEffects {
                    read,
                    modify,
                    delete,
                } = thing.effects;
                let ways = thing.path.len();
                format!(
                    "{} {read} {modify} {delete} by {ways}",
                    thing.target.label()
                )
            })
            .collect();
        assert_eq!(
            lines,
            [
                "AdministratorAccess true true true by 2",
                "acme/app true true false by 2",
            ]
        );
    }

    #[test]
    fn did_counts_acts_by_object_and_the_refused_apart() {
        let mut read = event(3, "s3/GetObject", ActivityCategory::Read);
        read.event.targets = vec![EntityRef::new(EntityKind::Bucket, "b")];
        let mut denied = read.clone();
        denied.event.outcome = ActivityOutcome::Failure;
        let mut delete = event(5, "s3/DeleteBucket", ActivityCategory::Change);
        delete.event.activity = ocsf::DELETE;
        let mut collector = ActCollector::default();
        [&read, &denied, &read, &delete]
            .into_iter()
            .for_each(|event| collector.see(event));
        let mut unknown = Vec::new();
        let (acts, total) = collector.finish(10, &mut unknown);
        assert_eq!((total, unknown.len()), (2, 0));
        assert_eq!(acts[0].effect, ActEffect::Delete);
        assert_eq!(
            (acts[1].succeeded, acts[1].denied, acts[1].first.time),
            (2, 1, at(3))
        );
    }
}
