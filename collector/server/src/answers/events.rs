//! Reads events, and the records that are their evidence.

use std::collections::BTreeMap;

use evidence_format::id::IncidentId;

use super::record_ref;
use domain::answers::{EVENTS_READ_MAX, EventMention, InvestigatedEvent, UnknownPart};
use domain::incident::EvidenceRef;
use pipeline::timeline::TimelineFilter;
use store::ledger::{Ledger, LedgerError, ScannedEvent};

/// Events that are read at once.
const EVENTS_AT_ONCE: u32 = 5000;

/// Calls `see` with all events that `filter` selects, in the order of time. Returns what the answer
/// has to say if there are too many.
pub(super) async fn scan(
    ledger: &Ledger,
    incident: &IncidentId,
    filter: &TimelineFilter,
    mut see: impl FnMut(InvestigatedEvent),
) -> Result<Option<UnknownPart>, LedgerError> {
    let in_database = filter.in_database();
    let (mut cursor, mut read) = (None, 0);
    loop {
        let page = ledger
            .scan_events(incident, &in_database, cursor.as_ref(), EVENTS_AT_ONCE)
            .await?;
        read += page.events.len() as u64;
        let last = page.events.last().map(|event| event.event.time);
        let matching = page.events.into_iter();
        matching
            .filter(|event| filter.matches_event(&event.event))
            .map(investigated)
            .for_each(&mut see);
        match (page.next, last) {
            (Some(_), Some(last)) if read >= EVENTS_READ_MAX => {
                let text = format!(
                    "only the first {EVENTS_READ_MAX} events are read, until {last}: choose a \
                     shorter window"
                );
                return Ok(Some(UnknownPart::limit(text)));
            }
            (Some(next), _) => cursor = Some(next),
            (None, _) => return Ok(None),
        }
    }
}

pub(super) fn investigated(event: ScannedEvent) -> InvestigatedEvent {
    InvestigatedEvent {
        provider: provider_of(&event.kind).to_owned(),
        id: event.id.to_string(),
        source: event.source,
        event: event.event,
    }
}

/// `aws` of `aws.CreateAccessKey`.
pub(super) fn provider_of(kind: &str) -> &str {
    kind.split('.').next().unwrap_or(kind)
}

/// Adds to each of `mentions` the first record that delivers its event.
pub(super) async fn add_evidence(
    ledger: &Ledger,
    incident: &IncidentId,
    mentions: Vec<&mut EventMention>,
) -> Result<(), LedgerError> {
    let mut ids: Vec<String> = mentions.iter().map(|one| one.event.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut found: BTreeMap<String, EvidenceRef> = BTreeMap::new();
    for row in ledger.events_by_id(incident, &ids).await? {
        let first = row.evidence.into_iter().next();
        if let Some((bundle, pointer)) = first {
            let evidence = record_ref(bundle, pointer.item, pointer.record);
            found.insert(row.id.to_string(), evidence);
        }
    }
    for mention in mentions {
        mention.evidence = found.get(&mention.event).cloned();
    }
    Ok(())
}
