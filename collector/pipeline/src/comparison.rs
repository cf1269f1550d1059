//! Compares a settle pass with earlier ones: events that came late, events that are gone, and
//! objects that appeared, went or changed.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use evidence_derive::ObservedObject;
use evidence_format::config::ItemEntry;
use evidence_format::coverage::{EndReason, TimeWindow};
use evidence_format::time::Timestamp;

use super::{Pipeline, PipelineError, requested_window};
use crate::capture::StepReport;
use crate::seal::PublishedBundle;
use domain::incident::{EvidenceRef, FindingKind, IncidentEvent, Line, PassNumber};
use domain::plan::CapturePass;
use store::ledger::{BundleRow, EventRow, ObjectChange, ObjectRow, PassKind, PassRow};

/// Events or objects of one item that get a journal entry of their own; all of them are counted.
const NAMED_MAX: u32 = 20;

impl Pipeline {
    /// Compares a settle pass with earlier passes, item by item: what was refused for one region
    /// says nothing about the others. Findings go into the journal.
    pub(super) async fn compare_with_earlier(
        &self,
        row: &PassRow,
        pass: &CapturePass,
        published: &PublishedBundle,
    ) -> Result<(), PipelineError> {
        if row.kind != PassKind::Settle {
            return Ok(());
        }
        let incident = &row.key.incident;
        let journal = self.entries(incident).await?;
        let items_cut_short = self.items_cut_short_before(published).await?;
        let mut events = Vec::new();
        for item in &published.config.items {
            // Other items hold state and not events, which cannot come late.
            if let Some(window) = requested_window(pass).and_then(without_ends)
                && item.coverage.events.is_some()
            {
                let is_cut_short = items_cut_short.contains(item.name.as_str());
                let found = self
                    .compare_events(published, item, window, is_cut_short)
                    .await?;
                events.extend(found);
            }
            events.extend(self.compare_objects(published, item).await?);
        }
        // an attempt that crashed after this point has written them already
        events.retain(|event| !journal.iter().any(|entry| entry.event == *event));
        if events.is_empty() {
            Ok(())
        } else {
            self.append(incident, events).await
        }
    }

    async fn compare_events(
        &self,
        published: &PublishedBundle,
        item: &ItemEntry,
        window: RangeInclusive<Timestamp>,
        was_cut_short: bool,
    ) -> Result<Vec<IncidentEvent>, PipelineError> {
        let found = self
            .parts
            .ledger
            .compare_bundle(&published.row, &item.name, window, NAMED_MAX)
            .await?;
        let mut events = Vec::new();
        // events of an item that no earlier pass has captured to its end are new, but not late
        if found.late_count > 0 && !was_cut_short {
            let what = format!(
                "{} events of the window came after the pass before",
                found.late_count
            );
            events.push(item_finding(FindingKind::Late, &published.row, item, &what));
            events.extend(
                found
                    .late
                    .iter()
                    .map(|row| event_finding(FindingKind::Late, row)),
            );
        }
        // events that this pass may not have reached are not gone
        if found.missing_count > 0 && item.coverage.is_complete() {
            let what = format!(
                "{} events that were captured before are not there any more",
                found.missing_count
            );
            events.push(item_finding(FindingKind::Gone, &published.row, item, &what));
            events.extend(
                found
                    .missing
                    .iter()
                    .map(|row| event_finding(FindingKind::Gone, row)),
            );
        }
        Ok(events)
    }

    /// Compares the objects of an item with those of the last pass before that has captured it to
    /// its end. A part of a list proves nothing about the rest.
    async fn compare_objects(
        &self,
        published: &PublishedBundle,
        item: &ItemEntry,
    ) -> Result<Vec<IncidentEvent>, PipelineError> {
        let ledger = &self.parts.ledger;
        let last_complete = ledger
            .last_complete_item(&published.row, &item.name)
            .await?;
        let Some(before) = last_complete.filter(|_| item.coverage.is_complete()) else {
            return Ok(Vec::new());
        };
        // A list of what was created in a window says nothing about what was created outside it.
        let Some(windows) = comparable_windows(before.asked, item.coverage.asked) else {
            return Ok(Vec::new());
        };
        let (now, name) = (&published.row, &item.name);
        let found = ledger
            .compare_objects(&before.bundle, &now.id, name, windows, NAMED_MAX)
            .await?;
        let object =
            |kind| move |row: &ObjectRow| object_finding(kind, row, &described(&row.object));
        let findings = [
            (
                FindingKind::Gone,
                found.gone_count,
                "are not there any more",
                found.gone.iter().map(object(FindingKind::Gone)).collect(),
            ),
            (
                FindingKind::Changed,
                found.changed_count,
                "have changed",
                found.changed.iter().map(change_finding).collect(),
            ),
            (
                FindingKind::Appeared,
                found.appeared_count,
                "are new",
                found
                    .appeared
                    .iter()
                    .map(object(FindingKind::Appeared))
                    .collect::<Vec<_>>(),
            ),
        ];
        let mut events = Vec::new();
        for (kind, count, what, objects) in findings {
            if count > 0 {
                let what = format!("{count} objects {what} since pass {}", before.pass);
                events.push(item_finding(kind, now, item, &what));
                events.extend(objects);
            }
        }
        Ok(events)
    }

    /// Items that an earlier pass of this source did not capture to their end, and that no
    /// continuation completed.
    async fn items_cut_short_before(
        &self,
        published: &PublishedBundle,
    ) -> Result<BTreeSet<String>, PipelineError> {
        let pass = &published.row.pass;
        let all = self.parts.ledger.bundles_of_source(pass).await?;
        // the ledger lists bundles in the order of their commits
        let before: Vec<&BundleRow> = all
            .iter()
            .take_while(|row| row.id != published.row.id)
            .collect();
        let mut cut = BTreeSet::new();
        for row in &before {
            let next = PassNumber::of(row.pass.pass).continuation();
            let was_continued = before.iter().any(|later| Some(later.pass.pass) == next);
            for step in self.parts.ledger.ended_steps(&row.pass).await? {
                let ended = serde_json::from_str(&step.outcome)
                    // A report that cannot be read proves nothing, so its item counts as cut short.
                    .map_or(EndReason::Failed, |outcome: StepReport| outcome.ended);
                let is_complete = match ended {
                    EndReason::Complete => true,
                    EndReason::Deadline | EndReason::Throttled => was_continued,
                    EndReason::Limit
                    | EndReason::Forbidden
                    | EndReason::NotFound
                    | EndReason::Gone
                    | EndReason::Cancelled
                    | EndReason::Failed => false,
                };
                if !is_complete {
                    cut.insert(step.step);
                }
            }
        }
        Ok(cut)
    }
}

/// A window with both of its ends.
type InclusiveWindow = RangeInclusive<Timestamp>;

/// The windows of two passes in which objects can be compared: `Some(None)` for state, `None` if
/// the passes say nothing about each other.
#[must_use]
pub fn comparable_windows(
    before: Option<TimeWindow>,
    now: Option<TimeWindow>,
) -> Option<Option<(InclusiveWindow, InclusiveWindow)>> {
    match (before, now) {
        (_, None) => Some(None),
        (Some(before), Some(now)) => Some(Some((without_ends(before)?, without_ends(now)?))),
        (None, Some(_)) => None,
    }
}

/// The finding that counts the events or objects of one item.
fn item_finding(kind: FindingKind, row: &BundleRow, item: &ItemEntry, what: &str) -> IncidentEvent {
    let evidence = EvidenceRef {
        bundle: row.id,
        item: Some(item.name.clone()),
        record: None,
    };
    IncidentEvent::Finding {
        kind,
        text: Line::escaped(&format!("{}, pass {}: {what}", item.name, row.pass.pass)),
        evidence: Some(evidence),
    }
}

fn event_finding(kind: FindingKind, row: &EventRow) -> IncidentEvent {
    let evidence = row.evidence.first().map(|(bundle, pointer)| EvidenceRef {
        bundle: *bundle,
        item: Some(pointer.item.clone()),
        record: Some(pointer.record),
    });
    let text = Line::escaped(&format!("{} {}", row.event.time, row.event.summary));
    IncidentEvent::Finding {
        kind,
        text,
        evidence,
    }
}

fn object_finding(kind: FindingKind, row: &ObjectRow, text: &str) -> IncidentEvent {
    let evidence = EvidenceRef {
        bundle: row.bundle,
        item: Some(row.pointer.item.clone()),
        record: Some(row.pointer.record),
    };
    IncidentEvent::Finding {
        kind,
        text: Line::escaped(text),
        evidence: Some(evidence),
    }
}

/// What the object is, and to which repository, cluster or account it belongs: an item has the
/// objects of many.
fn described(object: &ObservedObject) -> String {
    let summary = &object.summary;
    match &object.entity.scope {
        Some(scope) if !summary.contains(scope.as_str()) => format!("{summary} [{scope}]"),
        Some(_) | None => summary.clone(),
    }
}

/// Shows what the object is now, and what it was where that reads differently.
fn change_finding(change: &ObjectChange) -> IncidentEvent {
    let (before, now) = (&change.before.summary, &change.now.object.summary);
    let mut text = described(&change.now.object);
    if before != now {
        text += &format!("; before: {before}");
    }
    object_finding(FindingKind::Changed, &change.now, &text)
}

/// A window without its first and last second: sources may round at its ends.
fn without_ends(window: TimeWindow) -> Option<RangeInclusive<Timestamp>> {
    const SECOND: i128 = 1_000_000_000;
    let from = Timestamp::from_unix_nanoseconds(window.from.unix_nanoseconds() + SECOND)?;
    let until = Timestamp::from_unix_nanoseconds(window.until.unix_nanoseconds() - SECOND)?;
    (from <= until).then_some(from..=until)
}
