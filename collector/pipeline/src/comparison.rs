//! Compares a settle pass with earlier ones: events that came late, and events that are gone.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use evidence_format::coverage::EndReason;
use evidence_format::id::ItemName;
use evidence_format::time::Timestamp;

use super::pass_number::PassNumber;
use super::{Pipeline, PipelineError, requested_window};
use crate::capture::StepReport;
use crate::seal::PublishedBundle;
use domain::incident::{EvidenceRef, FindingKind, IncidentEvent, Line};
use domain::plan::CapturePass;
use store::ledger::{BundleRow, FactRow, PassKind, PassRow};

/// Late or gone events of one item that get a journal entry of their own; all of them are counted.
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
        let key = &row.key;
        let (PassKind::Settle, Some(window)) = (row.kind, compared_window(pass)) else {
            return Ok(());
        };
        let journal = self.entries(&key.incident).await?;
        let items_cut_short_before = self.items_cut_short_before(published).await?;
        let mut events = Vec::new();
        for item in published
            .config
            .items
            .iter()
            // Other items hold state and not events, which cannot come late.
            .filter(|item| item.coverage.events.is_some())
        {
            let found = self
                .parts
                .ledger
                .compare_bundle(&published.row, &item.name, window.clone(), NAMED_MAX)
                .await?;
            // events of an item that no earlier pass has captured to its end are new, but not late
            if found.late_count > 0 && !items_cut_short_before.contains(item.name.as_str()) {
                let what = format!(
                    "{} events of the window came after the pass before",
                    found.late_count
                );
                events.push(item_finding(
                    FindingKind::Late,
                    &published.row,
                    &item.name,
                    &what,
                ));
                events.extend(
                    found
                        .late
                        .iter()
                        .map(|fact| finding(FindingKind::Late, fact)),
                );
            }
            // events that this pass may not have reached are not gone
            if found.missing_count > 0 && item.coverage.is_complete() {
                let what = format!(
                    "{} events that were captured before are not there any more",
                    found.missing_count
                );
                events.push(item_finding(
                    FindingKind::Gone,
                    &published.row,
                    &item.name,
                    &what,
                ));
                events.extend(
                    found
                        .missing
                        .iter()
                        .map(|fact| finding(FindingKind::Gone, fact)),
                );
            }
        }
        // an attempt that crashed after this point has written them already
        events.retain(|event| !journal.iter().any(|entry| entry.event == *event));
        if events.is_empty() {
            Ok(())
        } else {
            self.append(&key.incident, events).await
        }
    }

    /// Items that an earlier pass of this source did not capture to their end, and that no
    /// continuation completed.
    async fn items_cut_short_before(
        &self,
        published: &PublishedBundle,
    ) -> Result<BTreeSet<String>, PipelineError> {
        let all = self
            .parts
            .ledger
            .bundles(&published.row.pass.incident)
            .await?;
        // the ledger lists bundles in the order of their commits
        let before: Vec<&BundleRow> = all
            .iter()
            .take_while(|row| row.id != published.row.id)
            .filter(|row| row.pass.source == published.row.pass.source)
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

/// The finding that counts the events of one item.
fn item_finding(kind: FindingKind, row: &BundleRow, item: &ItemName, what: &str) -> IncidentEvent {
    let evidence = EvidenceRef {
        bundle: row.id,
        item: Some(item.clone()),
        record: None,
    };
    IncidentEvent::Finding {
        kind,
        text: Line::escaped(&format!("{item}, pass {}: {what}", row.pass.pass)),
        evidence: Some(evidence),
    }
}

fn finding(kind: FindingKind, row: &FactRow) -> IncidentEvent {
    let fact = &row.fact;
    let evidence = EvidenceRef {
        bundle: row.bundle,
        item: Some(fact.item.clone()),
        record: Some(fact.record),
    };
    let text = Line::escaped(&format!("{} {}", fact.time, fact.summary));
    IncidentEvent::Finding {
        kind,
        text,
        evidence: Some(evidence),
    }
}

/// The window of the pass without its first and last second: sources may round at its ends.
fn compared_window(pass: &CapturePass) -> Option<RangeInclusive<Timestamp>> {
    const SECOND: i128 = 1_000_000_000;
    let window = requested_window(pass)?;
    let from = Timestamp::from_unix_nanoseconds(window.from.unix_nanoseconds() + SECOND)?;
    let until = Timestamp::from_unix_nanoseconds(window.until.unix_nanoseconds() - SECOND)?;
    (from <= until).then_some(from..=until)
}
