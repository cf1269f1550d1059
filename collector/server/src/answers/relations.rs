//! What trusts something, and what somebody could act on.

use std::collections::{BTreeMap, BTreeSet};

use evidence_derive::EntityRef;
use evidence_format::digest::Digest;
use evidence_format::id::IncidentId;

use super::events::{add_evidence, investigated};
use super::{AnswerBasis, EventQuestion, record_ref};
use domain::answers::{
    ActCollector, DEPTH_DEFAULT, DEPTH_MAX, EVENTS_READ_MAX, EvidenceState, ExposureAnswer,
    GraphStep, GraphWalk, KnownEdge, TrustsAnswer, UnknownKind, UnknownPart, WalkDirection,
    reachable_things,
};
use domain::incident::Incident;
use pipeline::timeline::TimelineFilter;
use pipeline::{Pipeline, PipelineError};
use store::ledger::{EdgeRow, EventFilter, Ledger, LedgerError, TermRole};

/// Edges that one step of a walk reads for each direction.
const EDGES_MAX: u32 = 20_000;
/// Events in which a name is looked up, for each part that it may have.
const EVENTS_NAMING_MAX: u32 = 50;
/// Names of an identity whose events are counted.
const NAMES_MAX: usize = 20;
/// Acts that an answer lists: by default, and at most.
const ACTS_DEFAULT: u32 = 200;
const ACTS_MAX: u32 = 5000;
const EVENTS_AT_ONCE: u32 = 5000;

/// Which systems trust the credential or artifact `name`?
///
/// # Errors
/// The ledger failed.
pub async fn trusts(
    pipeline: &Pipeline,
    incident: &Incident,
    name: &str,
    depth: Option<u32>,
) -> Result<TrustsAnswer, PipelineError> {
    let ledger = &pipeline.parts.ledger;
    let basis = AnswerBasis::read(pipeline, incident, None, None, false).await?;
    let depth = depth.unwrap_or(DEPTH_DEFAULT).clamp(1, DEPTH_MAX);
    let nodes = nodes_named(ledger, &incident.id, name).await?;
    let mut unknown = relations_unknown(ledger, incident, &basis, name, &nodes).await?;
    let mut walks = Vec::new();
    for direction in [WalkDirection::Onward, WalkDirection::Back] {
        let walk = Walk {
            ledger,
            incident: &incident.id,
            state: &basis.state,
        };
        let (steps, cut) = walk.run(direction, &nodes, depth).await?;
        unknown.extend(cut.filter(|cut| !unknown.contains(cut)));
        walks.push(steps);
    }
    let relies_on = walks.pop().unwrap_or_default();
    let trusted_by = walks.pop().unwrap_or_default();
    Ok(TrustsAnswer {
        incident: incident.id.clone(),
        name: name.to_owned(),
        nodes,
        trusted_by,
        relies_on,
        depth,
        unknown,
    })
}

/// What could the identity `name` read, modify and delete, and what did it do?
///
/// # Errors
/// The ledger failed.
pub async fn exposure(
    pipeline: &Pipeline,
    incident: &Incident,
    name: &str,
    question: EventQuestion,
    depth: Option<u32>,
) -> Result<ExposureAnswer, PipelineError> {
    let ledger = &pipeline.parts.ledger;
    let basis = AnswerBasis::of(pipeline, incident, &question).await?;
    let depth = depth.unwrap_or(DEPTH_DEFAULT).clamp(1, DEPTH_MAX);
    let nodes = nodes_named(ledger, &incident.id, name).await?;
    let mut unknown = relations_unknown(ledger, incident, &basis, name, &nodes).await?;
    let walk = Walk {
        ledger,
        incident: &incident.id,
        state: &basis.state,
    };
    let (steps, cut) = walk.run(WalkDirection::Onward, &nodes, depth).await?;
    unknown.extend(cut);
    let filter = TimelineFilter {
        from: basis.window.from,
        ..question.filter
    };
    let mut acts = ActCollector::default();
    let cut = count_acts(ledger, &incident.id, &filter, name, &nodes, &mut acts).await?;
    unknown.extend(cut);
    let limit = question.limit.unwrap_or(ACTS_DEFAULT).clamp(1, ACTS_MAX);
    let (mut did, acts) = acts.finish(limit as usize, &mut unknown);
    let mentions = did.iter_mut().map(|act| &mut act.first).collect();
    add_evidence(ledger, &incident.id, mentions).await?;
    Ok(ExposureAnswer {
        incident: incident.id.clone(),
        window: basis.window,
        name: name.to_owned(),
        nodes,
        could: reachable_things(&steps),
        did,
        acts,
        unknown,
    })
}

/// What `name` means: in objects and edges, and in events.
async fn nodes_named(
    ledger: &Ledger,
    incident: &IncidentId,
    name: &str,
) -> Result<Vec<EntityRef>, LedgerError> {
    let mut found = ledger.entities_named(incident, name).await?;
    for role in [TermRole::Actor, TermRole::Credential, TermRole::Target] {
        let filter = EventFilter {
            terms: vec![(role, vec![name.to_owned()])],
            ..EventFilter::default()
        };
        let page = ledger
            .scan_events(incident, &filter, None, EVENTS_NAMING_MAX)
            .await?;
        for event in page.events.iter().map(|event| &event.event) {
            let entities = event.actor.iter().chain(&event.through);
            let entities = entities.chain(&event.credential).chain(&event.targets);
            found.extend(entities.filter(|entity| is_called(entity, name)).cloned());
        }
    }
    // One line for what is the same.
    let mut nodes: Vec<EntityRef> = Vec::new();
    for entity in found {
        match nodes.iter_mut().find(|node| node.is_same_node(&entity)) {
            Some(node) => {
                node.name = node.name.take().or(entity.name);
                node.scope = node.scope.take().or(entity.scope);
            }
            None => nodes.push(entity),
        }
    }
    Ok(nodes)
}

fn is_called(entity: &EntityRef, name: &str) -> bool {
    entity.id.eq_ignore_ascii_case(name)
        || entity
            .name
            .as_ref()
            .is_some_and(|own| own.eq_ignore_ascii_case(name))
}

/// What an answer about relations does not know.
async fn relations_unknown(
    ledger: &Ledger,
    incident: &Incident,
    basis: &AnswerBasis,
    name: &str,
    nodes: &[EntityRef],
) -> Result<Vec<UnknownPart>, LedgerError> {
    let mut unknown = basis.unknown();
    if nodes.is_empty() {
        unknown.push(UnknownPart {
            kind: UnknownKind::NoFacts,
            sources: Vec::new(),
            text: format!("no record of this incident names {name}"),
        });
    }
    let with_edges = ledger.sources_with_edges(&incident.id).await?;
    let items = basis.state.items.iter();
    let silent: BTreeSet<String> = items
        .map(|item| item.source.clone())
        .filter(|source| !with_edges.contains(source))
        .collect();
    if !silent.is_empty() {
        unknown.push(UnknownPart {
            kind: UnknownKind::NoFacts,
            sources: silent.into_iter().collect(),
            text: "their records say nothing about rights and trust".to_owned(),
        });
    }
    Ok(unknown)
}

/// Reads the edges of a walk.
struct Walk<'w> {
    ledger: &'w Ledger,
    incident: &'w IncidentId,
    state: &'w EvidenceState,
}

impl Walk<'_> {
    async fn run(
        &self,
        direction: WalkDirection,
        nodes: &[EntityRef],
        depth: u32,
    ) -> Result<(Vec<GraphStep>, Option<UnknownPart>), LedgerError> {
        let mut walk = GraphWalk::new(direction, nodes, depth);
        let last_passes = self.last_passes();
        loop {
            let next = walk.next_ids();
            if next.is_empty() {
                break;
            }
            let (rows, is_cut) = self
                .ledger
                .edges_at(self.incident, &next, EDGES_MAX)
                .await?;
            let edges: Vec<KnownEdge> = rows
                .into_iter()
                .map(|row| known_edge(row, &last_passes))
                .collect();
            walk.take(&edges, is_cut);
        }
        let (steps, is_cut) = walk.finish();
        let cut = is_cut.then(|| {
            let text = format!("there is more after {depth} steps, or than is read: use --depth");
            UnknownPart::limit(text)
        });
        Ok((steps, cut))
    }

    /// For each item of state, the bundle of the last complete pass, and all bundles before it.
    fn last_passes(&self) -> BTreeMap<(&str, &str), (Digest, BTreeSet<Digest>)> {
        let mut passes: BTreeMap<(&str, &str), (Digest, BTreeSet<Digest>)> = BTreeMap::new();
        let state = self.state.items.iter().filter(|item| item.asked.is_none());
        for item in state {
            let key = (item.source.as_str(), item.item.as_str());
            let (last, before) = passes
                .entry(key)
                .or_insert_with(|| (item.bundle, BTreeSet::new()));
            if item.is_complete && *last != item.bundle {
                before.insert(*last);
                *last = item.bundle;
            }
        }
        passes
    }
}

/// The rows come with the newest record first: an edge that only older passes show is gone.
fn known_edge(
    row: EdgeRow,
    last_passes: &BTreeMap<(&str, &str), (Digest, BTreeSet<Digest>)>,
) -> KnownEdge {
    let key = (row.source.as_str(), row.pointer.item.as_str());
    let is_gone = last_passes
        .get(&key)
        .is_some_and(|(_, before)| before.contains(&row.bundle));
    KnownEdge {
        edge: row.edge,
        evidence: record_ref(row.bundle, row.pointer.item, row.pointer.record),
        source: row.source,
        seen_at: row.sealed_at,
        is_gone,
    }
}

/// Counts the events of an identity, each once. One term at a time, since the index of terms then
/// finds them without the events of others.
async fn count_acts(
    ledger: &Ledger,
    incident: &IncidentId,
    filter: &TimelineFilter,
    name: &str,
    nodes: &[EntityRef],
    acts: &mut ActCollector,
) -> Result<Option<UnknownPart>, LedgerError> {
    let names: BTreeSet<String> = nodes
        .iter()
        .map(|node| node.id.clone())
        .chain([name.to_owned()])
        .map(|name| name.to_ascii_lowercase())
        .take(NAMES_MAX)
        .collect();
    let mut seen = BTreeSet::new();
    for role in [TermRole::Actor, TermRole::Credential] {
        for name in &names {
            let mut in_database = filter.in_database();
            in_database.terms.insert(0, (role, vec![name.clone()]));
            let mut cursor = None;
            loop {
                let page = ledger
                    .scan_events(incident, &in_database, cursor.as_ref(), EVENTS_AT_ONCE)
                    .await?;
                for event in page.events {
                    let is_new =
                        filter.matches_event(&event.event) && seen.insert(event.id.to_string());
                    if is_new {
                        acts.see(&investigated(event));
                    }
                }
                if seen.len() as u64 >= EVENTS_READ_MAX {
                    let text = format!("only {EVENTS_READ_MAX} events of the identity are read");
                    return Ok(Some(UnknownPart::limit(text)));
                }
                match page.next {
                    Some(next) => cursor = Some(next),
                    None => break,
                }
            }
        }
    }
    Ok(None)
}
