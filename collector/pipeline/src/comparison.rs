//! What asking again has shown: events that came late, and events that are gone.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use evidence_format::coverage::EndReason;
use evidence_format::time::Timestamp;

use super::pass_number::PassNumber;
use super::{Pipeline, PipelineError, requested_window};
use crate::capture::StepReport;
use crate::seal::PublishedBundle;
use domain::incident::{EvidenceRef, FindingKind, IncidentEvent, Line};
use domain::plan::CapturePass;
use store::ledger::{BundleRow, FactRow, PassKind, PassRow};

/// Events of one kind of finding in one item that the journal names; all of them are counted.
const NAMED_MAX: u32 = 20;

impl Pipeline {
    /// Compares a settle pass with what was captured before it, item by item: a region that was
    /// refused tells nothing of the others.
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
        let mut changes = Vec::new();
        for item in published
            .config
            .items
            .iter()
            .filter(|item| item.coverage.events.is_some())
        {
            let found = self
                .parts
                .ledger
                .compare(&published.row, &item.name, window.clone(), NAMED_MAX)
                .await?;
            let summary = |kind, count: u64, what: &str| IncidentEvent::Finding {
                kind,
                text: Line::escaped(&format!(
                    "{}, pass {}: {count} events {what}",
                    item.name, key.pass
                )),
                evidence: Some(EvidenceRef {
                    bundle: published.row.id,
                    item: Some(item.name.clone()),
                    record: None,
                }),
            };
            // what no earlier pass could ask for is not late
            if found.late_count > 0 && !items_cut_short_before.contains(item.name.as_str()) {
                changes.push(summary(
                    FindingKind::Late,
                    found.late_count,
                    "of the window came after the pass before",
                ));
                changes.extend(
                    found
                        .late
                        .iter()
                        .map(|fact| finding(FindingKind::Late, fact)),
                );
            }
            // what this pass itself could not ask for is not gone
            if found.gone_count > 0 && item.coverage.is_complete() {
                changes.push(summary(
                    FindingKind::Gone,
                    found.gone_count,
                    "that were captured before are not there any more",
                ));
                changes.extend(
                    found
                        .gone
                        .iter()
                        .map(|fact| finding(FindingKind::Gone, fact)),
                );
            }
        }
        changes.retain(|change| !journal.iter().any(|entry| entry.change == *change)); // after a crash they may be there
        if changes.is_empty() {
            Ok(())
        } else {
            self.append(&key.incident, changes).await
        }
    }

    /// Items that some pass of this source before `sealed` did not take to their end, be it by a
    /// continuation.
    async fn items_cut_short_before(
        &self,
        published: &PublishedBundle,
    ) -> Result<BTreeSet<String>, PipelineError> {
        let all = self
            .parts
            .ledger
            .bundles(&published.row.pass.incident)
            .await?;
        let of_source = |row: &&BundleRow| row.pass.source == published.row.pass.source;
        let before: Vec<&BundleRow> = all
            .iter()
            .take_while(|row| row.id != published.row.id)
            .filter(of_source)
            .collect();
        let mut cut = BTreeSet::new();
        for row in &before {
            let next = PassNumber::of(row.pass.pass).continuation();
            let went_on = before.iter().any(|later| Some(later.pass.pass) == next);
            for step in self.parts.ledger.steps_ended(&row.pass).await? {
                let ended = serde_json::from_str(&step.outcome)
                    .map_or(EndReason::Failed, |outcome: StepReport| outcome.ended);
                let is_whole = match ended {
                    EndReason::Complete => true,
                    EndReason::Deadline | EndReason::Throttled => went_on,
                    EndReason::Limit
                    | EndReason::Forbidden
                    | EndReason::NotFound
                    | EndReason::Gone
                    | EndReason::Cancelled
                    | EndReason::Failed => false,
                };
                if !is_whole {
                    cut.insert(step.step);
                }
            }
        }
        Ok(cut)
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

/// The time that the pass asked for, to whole seconds inside: at its ends a source may round.
fn compared_window(pass: &CapturePass) -> Option<RangeInclusive<Timestamp>> {
    const SECOND: i128 = 1_000_000_000;
    let window = requested_window(pass)?;
    let from = Timestamp::from_unix_nanoseconds(window.from.unix_nanoseconds() + SECOND)?;
    let until = Timestamp::from_unix_nanoseconds(window.until.unix_nanoseconds() - SECOND)?;
    (from <= until).then_some(from..=until)
}
