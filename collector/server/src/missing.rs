//! What the captures of an incident should have got and did not: sources that could not be asked,
//! passes that failed or were cut off, items that ended early, gaps in bundles.

use evidence_format::coverage::EndReason;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;

use api::{MissingEvidence, MissingKind};
use domain::incident::{
    BundleCoverage, CaptureRequest, IncidentEvent, JournalEntry, PassNumber, PivotKind,
    UnavailableReason, UnavailableSource,
};
use domain::plan::CapturePlan;
use pipeline::ATTACHMENT_SOURCE;
use store::ledger::{BundleRow, PassRow, PassState};

/// Items that ended early, each in a line of its own; further ones are counted.
const ENDED_EARLY_LISTED_MAX: usize = 8;

/// A capture request, as the journal has it.
struct JournalRequest<'e> {
    request: &'e CaptureRequest,
    /// What this version could not ask, when the request was made.
    unavailable: &'e [UnavailableSource],
    was_stopped: bool,
}

/// What is missing, by capture request and source. What a later request over the whole source has
/// made up for is left out.
pub(crate) fn missing_evidence(
    rows: &[PassRow],
    entries: &[JournalEntry],
    bundles: &[BundleRow],
    now: Timestamp,
) -> Vec<MissingEvidence> {
    let requests = journal_requests(entries);
    let mut missing = Vec::new();
    for (number, request) in (1..).zip(&requests) {
        for unavailable in request.unavailable {
            missing.push(never_asked(number, request.request, unavailable, true));
        }
    }
    for row in rows {
        let number = PassNumber::of(row.key.pass);
        // Settle passes repeat what an earlier pass has covered.
        if row.key.source == ATTACHMENT_SOURCE || number.settle > 0 {
            continue;
        }
        let Some(request) = requests.get(number.request as usize) else {
            continue;
        };
        let pass = MissingOfPass {
            row,
            number: number.request + 1,
            request,
            entries,
        };
        missing.extend(pass.list(rows, bundles, now));
    }
    for number in 1..=requests.len() {
        missing.extend(not_searched(rows, number as u32));
    }
    missing.retain(|missing| !is_made_up_for(missing, &requests));
    missing.sort_by(|a, b| (a.request, a.kind, &a.source).cmp(&(b.request, b.kind, &b.source)));
    missing.dedup();
    missing
}

/// The pivots that no pass of a request can filter by. The wide steps have their events all the
/// same, so far as a wide step exists.
fn not_searched(rows: &[PassRow], number: u32) -> Vec<MissingEvidence> {
    let plans = rows
        .iter()
        .filter(|row| row.key.source != ATTACHMENT_SOURCE)
        .filter(|row| PassNumber::of(row.key.pass).request + 1 == number)
        .filter_map(stored_plan);
    // Each pass has a plan of its own: one that can filter by the pivot is enough.
    let unused = plans.map(|plan| plan.pivots_unused);
    let unused = unused.reduce(|mut all, own| {
        all.retain(|pivot| own.contains(pivot));
        all
    });
    let unused = unused.unwrap_or_default().into_iter();
    unused
        .map(|pivot| MissingEvidence {
            source: pivot.to_string(),
            request: number,
            kind: MissingKind::NotSearched,
            reason: not_searched_reason(pivot.kind()),
            // What was captured is not less for it.
            is_loss: false,
        })
        .collect()
}

fn not_searched_reason(kind: PivotKind) -> String {
    let able = sources::ALL.iter().filter(|source| {
        let mut offers = source.offers().iter();
        offers.any(|offer| offer.pivots.contains(&kind))
    });
    let able: Vec<&str> = able.map(|source| source.name()).collect();
    if able.is_empty() {
        return "no source of this version can filter by it".to_owned();
    }
    format!(
        "no source of this capture can filter by it; those that can: {}",
        able.join(", ")
    )
}

/// True if a later request captured the whole source again: what is missing of that one counts.
fn is_made_up_for(missing: &MissingEvidence, requests: &[JournalRequest<'_>]) -> bool {
    requests.iter().skip(missing.request as usize).any(|later| {
        let request = later.request;
        let is_whole = request.accounts.is_empty() && request.regions.is_empty();
        let is_asked = request.sources.is_empty() || is_named(request, &missing.source);
        is_whole && is_asked
    })
}

fn is_named(request: &CaptureRequest, source: &str) -> bool {
    request.sources.iter().any(|name| name.as_str() == source)
}

fn journal_requests(entries: &[JournalEntry]) -> Vec<JournalRequest<'_>> {
    let mut requests: Vec<JournalRequest<'_>> = Vec::new();
    for entry in entries {
        if let IncidentEvent::CaptureRequested { request } = &entry.event {
            requests.push(JournalRequest {
                request,
                unavailable: &[],
                was_stopped: false,
            });
        }
        // The entry that follows a request; a pass's own plan has a window.
        if let IncidentEvent::CapturePlanned {
            window: None,
            reasons,
            ..
        } = &entry.event
            && let Some(last) = requests.last_mut()
        {
            last.unavailable = reasons;
        }
        if let IncidentEvent::CaptureStopped {} = &entry.event {
            requests
                .iter_mut()
                .for_each(|request| request.was_stopped = true);
        }
    }
    requests
}

fn never_asked(
    number: u32,
    request: &CaptureRequest,
    unavailable: &UnavailableSource,
    is_whole_source: bool,
) -> MissingEvidence {
    let source = unavailable.source.to_string();
    // An offer without targets is common: an organisation without an audit log, for example.
    let is_empty_offer = !is_whole_source && unavailable.why == UnavailableReason::NoTargets;
    let is_asked_for = is_whole_source && is_named(request, &source);
    let reason = match &unavailable.api {
        Some(api) if !is_whole_source => format!("{}: {}", safe(api), unavailable.reason()),
        Some(_) | None => unavailable.reason(),
    };
    MissingEvidence {
        is_loss: is_asked_for || (unavailable.why.is_loss() && !is_empty_offer),
        kind: MissingKind::NeverAsked,
        request: number,
        reason,
        source,
    }
}

/// The plan of a pass; `None` before it is made, or if another version wrote it.
pub(crate) fn stored_plan(row: &PassRow) -> Option<CapturePlan> {
    serde_json::from_str(row.plan.as_deref()?).ok()
}

/// A pass of a capture request.
struct MissingOfPass<'p> {
    row: &'p PassRow,
    /// The number of its request, from 1.
    number: u32,
    request: &'p JournalRequest<'p>,
    entries: &'p [JournalEntry],
}

impl MissingOfPass<'_> {
    fn list(
        &self,
        rows: &[PassRow],
        bundles: &[BundleRow],
        now: Timestamp,
    ) -> Vec<MissingEvidence> {
        match self.row.state() {
            PassState::Failed => self.failed(),
            PassState::Sealed => {
                let mut missing = self.of_plan();
                let bundle = bundles
                    .iter()
                    .find(|bundle| bundle.pass == self.row.key && bundle.duplicate_of.is_none());
                if let Some(bundle) = bundle {
                    missing.extend(self.of_bundle(bundle, rows));
                }
                missing
            }
            PassState::Capturing if self.row.retry_at.is_some_and(|at| at > now) => {
                // The journal has the failure; until it is tried again, nothing is captured.
                let error = self.last_error().unwrap_or_else(|| "failed".to_owned());
                let reason = format!("{error}; it is tried again");
                vec![self.missing(MissingKind::Failed, reason, true)]
            }
            PassState::Capturing => match self.row.cut_off_at(now) {
                Some(_) => vec![self.missing(
                    MissingKind::CutOff,
                    "its capture was cut off; what was stored is kept".to_owned(),
                    true,
                )],
                None => Vec::new(), // it is running
            },
            PassState::Waiting if self.row.due_at <= now => {
                vec![self.missing(
                    MissingKind::CutOff,
                    "its capture has not begun".to_owned(),
                    true,
                )]
            }
            PassState::Waiting => Vec::new(),
        }
    }

    fn missing(&self, kind: MissingKind, reason: String, is_loss: bool) -> MissingEvidence {
        MissingEvidence {
            source: self.row.key.source.clone(),
            request: self.number,
            kind,
            reason,
            is_loss,
        }
    }

    fn failed(&self) -> Vec<MissingEvidence> {
        let plan = stored_plan(self.row);
        if let Some(plan) = &plan
            && plan.passes.is_empty()
            && !plan.unavailable.is_empty()
        {
            let unavailable = plan.unavailable.iter();
            return unavailable
                .map(|unavailable| {
                    never_asked(self.number, self.request.request, unavailable, true)
                })
                .collect();
        }
        if let Some(error) = self.last_error() {
            return vec![self.missing(MissingKind::Failed, error, true)];
        }
        if self.request.was_stopped {
            let reason = "stopped before it began".to_owned();
            return vec![self.missing(MissingKind::Stopped, reason, true)];
        }
        vec![self.missing(MissingKind::NeverAsked, "nothing to ask".to_owned(), true)]
    }

    /// Why the pass failed, by its last entry in the journal.
    fn last_error(&self) -> Option<String> {
        let key = &self.row.key;
        for entry in self.entries.iter().rev() {
            if let IncidentEvent::CaptureFailed {
                source,
                pass,
                error,
            } = &entry.event
                && source.as_str() == key.source
                && *pass == u64::from(key.pass)
            {
                return Some(error.to_string());
            }
        }
        None
    }

    /// Offers and accounts that the plan could not ask.
    fn of_plan(&self) -> Vec<MissingEvidence> {
        // A continuation has the plan of its first pass, which has said it.
        let Some(plan) = stored_plan(self.row) else {
            return Vec::new();
        };
        if PassNumber::of(self.row.key.pass).continuation > 0 {
            return Vec::new();
        }
        let unavailable = plan.unavailable.iter();
        let unavailable = unavailable
            .map(|unavailable| never_asked(self.number, self.request.request, unavailable, false));
        let notices = plan.notices.iter().filter(|notice| notice.is_loss);
        let notices =
            notices.map(|notice| self.missing(MissingKind::NeverAsked, safe(&notice.text), true));
        unavailable.chain(notices).collect()
    }

    fn of_bundle(&self, bundle: &BundleRow, rows: &[PassRow]) -> Vec<MissingEvidence> {
        let coverage = BundleCoverage::from_json(&bundle.coverage);
        let is_continued = PassNumber::of(self.row.key.pass)
            .continuation()
            .is_some_and(|next| {
                let mut rows = rows.iter();
                rows.any(|row| row.key.source == self.row.key.source && row.key.pass == next)
            });
        // What a continuation captures is not missing; what is left in the end is its own.
        let ended_early: Vec<_> = coverage
            .unfinished
            .iter()
            .filter(|item| {
                !(is_continued && matches!(item.ended, EndReason::Deadline | EndReason::Throttled))
            })
            .collect();
        let mut missing: Vec<_> = ended_early
            .iter()
            .take(ENDED_EARLY_LISTED_MAX)
            .map(|item| self.missing(MissingKind::EndedEarly, item.text(), true))
            .collect();
        let unlisted = coverage.unfinished_count - coverage.unfinished.len() as u64;
        let more = ended_early.len().saturating_sub(ENDED_EARLY_LISTED_MAX) as u64 + unlisted;
        if more > 0 {
            let reason = format!("{more} more ended early");
            missing.push(self.missing(MissingKind::EndedEarly, reason, true));
        }
        let gaps: Vec<String> = coverage
            .gaps
            .iter()
            // The item that ended early has said it.
            .filter(|gap| {
                !gap.examples.iter().all(|example| {
                    let mut items = coverage.unfinished.iter();
                    items.any(|item| item.problem.as_ref() == Some(example))
                })
            })
            .map(|gap| gap.text())
            .collect();
        if !gaps.is_empty() {
            missing.push(self.missing(MissingKind::Gaps, gaps.join("; "), false));
        }
        missing
    }
}
