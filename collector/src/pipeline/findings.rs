//! What asking again has shown: events that came late, and events that are gone.

use std::ops::RangeInclusive;

use evidence_format::coverage::Ended;
use evidence_format::time::Timestamp;

use super::numbers::Number;
use super::{Pipeline, PipelineError, widest};
use crate::incident::{Change, Evidence, FindingKind, Line};
use crate::plan::Pass;
use crate::seal::{Sealed, Summary};
use crate::store::ledger::{BundleRow, FactRow, PassKind, PassRow};

/// Events of one kind of finding that the journal names; all of them are counted.
const NAMED_MAX: u32 = 20;

impl Pipeline {
    /// Compares a settle pass with what was captured before it.
    pub(super) async fn find(&self, row: &PassRow, pass: &Pass, sealed: &Sealed) -> Result<(), PipelineError> {
        let key = &row.pass.key;
        let (PassKind::Settle, Some(window)) = (row.pass.kind, compared(pass)) else { return Ok(()) };
        let text = |text: String| Line::escaped(&text);
        let summary = |count: u64, what: &str| text(format!("{} pass {}: {count} events {what}", key.source, key.pass));
        let said = self.entries(&key.incident).await?;
        let found = self.parts.ledger.compare(&sealed.row, window, NAMED_MAX).await?;
        let mut changes = Vec::new();
        // what an earlier pass could not ask for is not late
        if found.late_count > 0 && self.is_whole_before(sealed).await? {
            let what = summary(found.late_count, "of the window came after the pass before");
            changes.push(Change::Finding { kind: FindingKind::Late, text: what, evidence: Some(whole(sealed)) });
            changes.extend(found.late.iter().map(|fact| finding(FindingKind::Late, fact)));
        }
        // what this pass itself could not ask for is not gone
        if found.gone_count > 0 && sealed.config.is_complete() {
            let what = summary(found.gone_count, "that were captured before are not there any more");
            changes.push(Change::Finding { kind: FindingKind::Gone, text: what, evidence: Some(whole(sealed)) });
            changes.extend(found.gone.iter().map(|fact| finding(FindingKind::Gone, fact)));
        }
        changes.retain(|change| !said.iter().any(|entry| entry.change == *change)); // after a crash they may be there
        if changes.is_empty() { Ok(()) } else { self.append(&key.incident, changes).await }
    }
}

impl Pipeline {
    /// True if the passes of this source before `sealed` came to their end, be it by a continuation.
    async fn is_whole_before(&self, sealed: &Sealed) -> Result<bool, PipelineError> {
        let all = self.parts.ledger.bundles(&sealed.row.pass.incident).await?;
        let of_source = |row: &&BundleRow| row.pass.source == sealed.row.pass.source;
        let before: Vec<&BundleRow> = all.iter().take_while(|row| row.id != sealed.row.id).filter(of_source).collect();
        let went_on = |row: &BundleRow| {
            let next = Number::of(row.pass.pass).continuation();
            before.iter().any(|later| Some(later.pass.pass) == next)
        };
        let is_whole = |row: &&BundleRow| match Summary::read(&row.coverage).ended {
            Ended::Complete => true,
            Ended::Deadline | Ended::Throttled => went_on(row),
            _ => false,
        };
        Ok(before.iter().all(is_whole))
    }
}

fn whole(sealed: &Sealed) -> Evidence {
    Evidence { bundle: sealed.row.id, item: None, record: None }
}

fn finding(kind: FindingKind, row: &FactRow) -> Change {
    let fact = &row.fact;
    let evidence = Evidence { bundle: row.bundle, item: Some(fact.item.clone()), record: Some(fact.record) };
    let text = Line::escaped(&format!("{} {}", fact.time, fact.summary));
    Change::Finding { kind, text, evidence: Some(evidence) }
}

/// The time that the pass asked for, to whole seconds inside: at its ends a source may round.
fn compared(pass: &Pass) -> Option<RangeInclusive<Timestamp>> {
    const SECOND: i128 = 1_000_000_000;
    let window = widest(pass)?;
    let from = Timestamp::from_unix_nanoseconds(window.from.unix_nanoseconds() + SECOND)?;
    let until = Timestamp::from_unix_nanoseconds(window.until.unix_nanoseconds() - SECOND)?;
    (from <= until).then_some(from..=until)
}
