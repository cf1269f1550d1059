//! What changed, and which changes are new ways in?

use std::collections::BTreeSet;

use evidence_derive::investigation::{ChangeTopic, WayIn};
use evidence_derive::{ActivityCategory, ActivityEvent};
use evidence_format::id::IncidentId;

use super::events::provider_of;
use super::{AnswerBasis, EventQuestion, snapshots};
use domain::answers::{
    ChangeEvent, ChangesAnswer, PersistenceAnswer, SnapshotChangeKind, UnknownKind, UnknownPart,
    WayInEvent, WayInSnapshot,
};
use domain::incident::{Incident, TimelineRow};
use pipeline::timeline::{TimelineFilter, event_row};
use pipeline::{Pipeline, PipelineError};
use store::ledger::{EventCursor, Ledger, LedgerError};

/// Events on one page: by default, and at most.
const PAGE_DEFAULT: u32 = 500;
const PAGE_MAX: u32 = 5000;
/// Pages of events that are read for one: a request must end, even if nothing matches.
const PAGES_READ_MAX: usize = 20;

/// What changed in the window?
///
/// # Errors
/// The ledger failed.
pub async fn changes(
    pipeline: &Pipeline,
    incident: &Incident,
    question: EventQuestion,
) -> Result<ChangesAnswer, PipelineError> {
    let basis = AnswerBasis::of(pipeline, incident, &question).await?;
    let ledger = &pipeline.parts.ledger;
    let is_first = question.cursor.is_none();
    let categories = ChangeTopic::CATEGORIES.to_vec();
    let page = EventPageRequest::new(&basis, question, categories);
    let (found, next) = page.read(ledger, &incident.id, ChangeTopic::of).await?;
    let (mut snapshots, mut unknown) = (Vec::new(), Vec::new());
    if is_first {
        unknown = basis.unknown();
        if page.shows_snapshots {
            snapshots = snapshots::differences(ledger, &basis, &mut unknown).await?;
        }
    }
    let changes = found.into_iter();
    Ok(ChangesAnswer {
        incident: incident.id.clone(),
        window: basis.window,
        changes: changes
            .map(|(topic, row)| ChangeEvent { topic, row })
            .collect(),
        snapshots,
        next: next.map(|next| next.to_string()),
        unknown,
    })
}

/// Which new ways in were opened since the window's beginning?
///
/// # Errors
/// The ledger failed.
pub async fn persistence(
    pipeline: &Pipeline,
    incident: &Incident,
    question: EventQuestion,
) -> Result<PersistenceAnswer, PipelineError> {
    let basis = AnswerBasis::of(pipeline, incident, &question).await?;
    let ledger = &pipeline.parts.ledger;
    let is_first = question.cursor.is_none();
    let writes = ActivityCategory::ALL.into_iter();
    let writes = writes.filter(|category| category.is_write()).collect();
    let page = EventPageRequest::new(&basis, question, writes);
    let (found, next) = page.read(ledger, &incident.id, WayIn::of_event).await?;
    let (mut snapshots, mut unknown) = (Vec::new(), Vec::new());
    if is_first {
        unknown = basis.unknown();
        unknown.extend(without_table(&basis));
        if page.shows_snapshots {
            snapshots = new_things(ledger, &incident.id, &basis, &mut unknown).await?;
        }
    }
    let events = found.into_iter();
    Ok(PersistenceAnswer {
        incident: incident.id.clone(),
        window: basis.window,
        events: events.map(|(way, row)| WayInEvent { way, row }).collect(),
        snapshots,
        next: next.map(|next| next.to_string()),
        unknown,
    })
}

/// What snapshots show that is new and lets somebody in.
async fn new_things(
    ledger: &Ledger,
    incident: &IncidentId,
    basis: &AnswerBasis,
    unknown: &mut Vec<UnknownPart>,
) -> Result<Vec<WayInSnapshot>, LedgerError> {
    let created = snapshots::created(ledger, incident, basis, unknown).await?;
    let known: BTreeSet<_> = created
        .iter()
        .filter_map(|one| one.entity.clone())
        .collect();
    let mut things = created;
    for change in snapshots::differences(ledger, basis, unknown).await? {
        let is_known = change
            .entity
            .as_ref()
            .is_some_and(|entity| known.contains(entity));
        if change.kind == SnapshotChangeKind::Appeared && !is_known {
            things.push(change);
        }
    }
    let ways = things.into_iter().filter_map(|change| {
        let way = change.way_in()?;
        Some(WayInSnapshot { way, change })
    });
    Ok(ways.collect())
}

/// Sources of whose actions the table knows none.
fn without_table(basis: &AnswerBasis) -> Vec<UnknownPart> {
    let items = basis.state.items.iter();
    let unknown: BTreeSet<&str> = items
        .filter(|item| {
            let coverage = item.coverage.as_ref();
            coverage.is_some_and(|coverage| {
                !WayIn::knows(&coverage.provider) && coverage.provider != "files"
            })
        })
        .map(|item| item.source.as_str())
        .collect();
    let parts = unknown.into_iter().map(|source| {
        let text =
            "which of its actions open a way in is not known: `exhibit changes` has them all";
        UnknownPart::new(UnknownKind::NoFacts, source, text.to_owned())
    });
    parts.collect()
}

/// One page of the events that a question selects.
struct EventPageRequest {
    filter: TimelineFilter,
    cursor: Option<EventCursor>,
    limit: u32,
    /// False if the question is about what only events have, such as an actor.
    shows_snapshots: bool,
}

impl EventPageRequest {
    fn new(
        basis: &AnswerBasis,
        question: EventQuestion,
        categories: Vec<ActivityCategory>,
    ) -> Self {
        let mut filter = question.filter;
        let has_more = TimelineFilter {
            from: None,
            until: None,
            ..filter.clone()
        };
        let shows_snapshots = has_more == TimelineFilter::default();
        filter.from = basis.window.from;
        let is_asked = |one: &ActivityCategory| {
            filter.categories.is_empty() || filter.categories.contains(one)
        };
        filter.categories = categories.into_iter().filter(is_asked).collect();
        Self {
            filter,
            cursor: question.cursor,
            limit: question.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX),
            shows_snapshots,
        }
    }

    /// The events that `classify` knows, and the cursor of the next page. A page that is not the
    /// last may be empty.
    async fn read<T>(
        &self,
        ledger: &Ledger,
        incident: &IncidentId,
        classify: fn(&str, &ActivityEvent) -> Option<T>,
    ) -> Result<(Vec<(T, TimelineRow)>, Option<EventCursor>), LedgerError> {
        if self.filter.categories.is_empty() {
            return Ok((Vec::new(), None)); // no category would select all
        }
        let in_database = self.filter.in_database();
        let (mut found, mut cursor) = (Vec::new(), self.cursor.clone());
        for _ in 0..PAGES_READ_MAX {
            let page = ledger
                .events(incident, &in_database, cursor.as_ref(), self.limit)
                .await?;
            for row in page.events {
                if !self.filter.matches_event(&row.event) {
                    continue;
                }
                if let Some(class) = classify(provider_of(&row.kind), &row.event) {
                    found.push((class, event_row(row)));
                }
            }
            cursor = page.next;
            if cursor.is_none() || !found.is_empty() {
                break;
            }
        }
        Ok((found, cursor))
    }
}
