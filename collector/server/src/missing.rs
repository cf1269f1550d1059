//! What the captures of an incident should have got and did not: sources that could not be asked,
//! passes that failed or were cut off, items that ended early, gaps in bundles.

use std::collections::BTreeMap;

use evidence_format::coverage::EndReason;
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;

use api::{MissingEvidence, MissingKind};
use domain::hosts::{HOSTS_WITHOUT_AGENT, agent_of_source};
use domain::incident::{
    BundleCoverage, CaptureRequest, IncidentEvent, JournalEntry, PassNumber, Pivot, PivotKind,
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

/// A pass with its plan, which may be large, and is read once.
pub(crate) struct PlannedPass {
    pub(crate) row: PassRow,
    /// `None` before it is made, or if another version wrote it.
    pub(crate) plan: Option<CapturePlan>,
}

impl From<PassRow> for PlannedPass {
    fn from(row: PassRow) -> Self {
        let plan = row.plan.as_deref();
        let plan = plan.and_then(|plan| serde_json::from_str(plan).ok());
        Self { row, plan }
    }
}

/// What is missing, by capture request and source. What a later request over the whole source has
/// made up for is left out.
pub(crate) fn missing_evidence(
    passes: &[PlannedPass],
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
    for planned in passes {
        let number = PassNumber::of(planned.row.key.pass);
        // Settle passes repeat what an earlier pass has covered.
        if planned.row.key.source == ATTACHMENT_SOURCE || number.settle > 0 {
            continue;
        }
        let Some(request) = requests.get(number.request as usize) else {
            continue;
        };
        let pass = MissingOfPass {
            pass: planned,
            number: number.request + 1,
            request,
            entries,
        };
        missing.extend(pass.list(passes, bundles, now));
    }
    missing.retain(|missing| !is_made_up_for(missing, &requests));
    missing.retain(|missing| !is_host_captured_later(missing, passes));
    missing.extend(not_searched(passes));
    missing.sort_by(|a, b| (a.request, a.kind, &a.source).cmp(&(b.request, b.kind, &b.source)));
    missing.dedup();
    missing
}

/// The pivots that no pass of any request can filter by, each once, with the last request that could
/// not. The wide steps have their events all the same, so far as a wide step exists.
fn not_searched(passes: &[PlannedPass]) -> Vec<MissingEvidence> {
    let plans = || {
        let captures = passes.iter();
        let captures = captures.filter(|pass| pass.row.key.source != ATTACHMENT_SOURCE);
        captures.filter_map(|pass| {
            let number = PassNumber::of(pass.row.key.pass).request + 1;
            Some((number, pass.plan.as_ref()?))
        })
    };
    // The first and the last request that could not use each pivot.
    let mut unused: BTreeMap<&Pivot, (u32, u32)> = BTreeMap::new();
    for (number, plan) in plans() {
        for pivot in &plan.pivots_unused {
            let (first, last) = unused.entry(pivot).or_insert((number, number));
            (*first, *last) = (number.min(*first), number.max(*last));
        }
    }
    // Each pass has a plan of its own: one that can filter by the pivot is enough. An earlier request
    // may not have known it.
    let is_used = |pivot: &Pivot, first: u32| {
        plans().any(|(number, plan)| {
            let mut steps = plan.steps();
            !plan.pivots_unused.contains(pivot)
                && (number >= first || steps.any(|step| step.pivot.as_ref() == Some(pivot)))
        })
    };
    let unused = unused.into_iter();
    unused
        .filter(|(pivot, (first, _))| !is_used(pivot, *first))
        .map(|(pivot, (_, request))| MissingEvidence {
            source: pivot.to_string(),
            request,
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
        // Hosts are captured by name: that a later request captured others says nothing of this one.
        let is_host =
            missing.source == HOSTS_WITHOUT_AGENT || agent_of_source(&missing.source).is_some();
        is_whole && is_asked && !is_host && !request.hosts_only
    })
}

/// True if the agent of the host was ordered to capture it again by a later request.
fn is_host_captured_later(missing: &MissingEvidence, passes: &[PlannedPass]) -> bool {
    agent_of_source(&missing.source).is_some()
        && passes.iter().any(|pass| {
            let request = PassNumber::of(pass.row.key.pass).request + 1;
            pass.row.key.source == missing.source && request > missing.request
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

/// The reason of a pass that people stopped before it began.
pub(crate) const STOPPED: &str = "stopped";

/// Why a pass has no bundle.
pub(crate) enum PassFailure {
    /// Its plan had nothing to ask, as it was then.
    NothingAsked(Vec<UnavailableSource>),
    /// The capture failed, with this error.
    Error(String),
    /// Somebody stopped the captures before this one began.
    Stopped,
    /// There was nothing to ask, and no plan that says why.
    NothingToAsk,
}

/// Why a pass that has failed has no bundle.
pub(crate) fn pass_failure(pass: &PlannedPass, entries: &[JournalEntry]) -> PassFailure {
    let row = &pass.row;
    if let Some(plan) = &pass.plan
        && plan.passes.is_empty()
        && !plan.unavailable.is_empty()
    {
        return PassFailure::NothingAsked(plan.unavailable.clone());
    }
    if let Some(error) = last_error(row, entries) {
        return PassFailure::Error(error);
    }
    let request = PassNumber::of(row.key.pass).request as usize;
    let requests = journal_requests(entries);
    if requests
        .get(request)
        .is_some_and(|request| request.was_stopped)
    {
        return PassFailure::Stopped;
    }
    PassFailure::NothingToAsk
}

/// The error of a pass, by its last entry in the journal.
fn last_error(row: &PassRow, entries: &[JournalEntry]) -> Option<String> {
    entries.iter().rev().find_map(|entry| {
        let IncidentEvent::CaptureFailed {
            source,
            pass,
            error,
        } = &entry.event
        else {
            return None;
        };
        let is_of_row = source.as_str() == row.key.source && *pass == u64::from(row.key.pass);
        is_of_row.then(|| error.to_string())
    })
}

/// A pass of a capture request.
struct MissingOfPass<'p> {
    pass: &'p PlannedPass,
    /// The number of its request, from 1.
    number: u32,
    request: &'p JournalRequest<'p>,
    entries: &'p [JournalEntry],
}

impl MissingOfPass<'_> {
    fn list(
        &self,
        passes: &[PlannedPass],
        bundles: &[BundleRow],
        now: Timestamp,
    ) -> Vec<MissingEvidence> {
        let row = &self.pass.row;
        match row.state() {
            PassState::Failed => self.failed(),
            PassState::Sealed => {
                let mut missing = self.of_plan();
                let bundle = bundles
                    .iter()
                    .find(|bundle| bundle.pass == row.key && bundle.duplicate_of.is_none());
                if let Some(bundle) = bundle {
                    missing.extend(self.of_bundle(bundle, passes));
                }
                missing
            }
            PassState::Capturing if row.retry_at.is_some_and(|at| at > now) => {
                // The journal has the failure; until it is tried again, nothing is captured.
                let error = last_error(row, self.entries).unwrap_or_else(|| "failed".to_owned());
                let reason = format!("{error}; it is tried again");
                vec![self.missing(MissingKind::Failed, reason, true)]
            }
            PassState::Capturing => match row.cut_off_at(now) {
                Some(_) => vec![self.missing(
                    MissingKind::CutOff,
                    "its capture was cut off; what was stored is kept".to_owned(),
                    true,
                )],
                None => Vec::new(), // it is running
            },
            PassState::Waiting if row.due_at <= now => {
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
            source: self.pass.row.key.source.clone(),
            request: self.number,
            kind,
            reason,
            is_loss,
        }
    }

    fn failed(&self) -> Vec<MissingEvidence> {
        match pass_failure(self.pass, self.entries) {
            PassFailure::NothingAsked(unavailable) => unavailable
                .iter()
                .map(|unavailable| {
                    never_asked(self.number, self.request.request, unavailable, true)
                })
                .collect(),
            PassFailure::Error(error) => vec![self.missing(MissingKind::Failed, error, true)],
            PassFailure::Stopped => {
                vec![self.missing(MissingKind::Stopped, STOPPED.to_owned(), true)]
            }
            PassFailure::NothingToAsk => {
                vec![self.missing(MissingKind::NeverAsked, "nothing to ask".to_owned(), true)]
            }
        }
    }

    /// Offers and accounts that the plan could not ask.
    fn of_plan(&self) -> Vec<MissingEvidence> {
        // A continuation has the plan of its first pass, which has said it.
        let Some(plan) = &self.pass.plan else {
            return Vec::new();
        };
        if PassNumber::of(self.pass.row.key.pass).continuation > 0 {
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

    fn of_bundle(&self, bundle: &BundleRow, passes: &[PlannedPass]) -> Vec<MissingEvidence> {
        let coverage = BundleCoverage::from_json(&bundle.coverage);
        let is_continued = PassNumber::of(self.pass.row.key.pass)
            .continuation()
            .is_some_and(|next| {
                let key = &self.pass.row.key;
                let mut rows = passes.iter().map(|pass| &pass.row);
                // A host that was absent may never come back.
                let is_captured = |row: &PassRow| {
                    agent_of_source(&key.source).is_none() || row.state() == PassState::Sealed
                };
                rows.any(|row| {
                    row.key.source == key.source && row.key.pass == next && is_captured(row)
                })
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
        // Another version may have written them, and may have counted otherwise.
        let listed = coverage.unfinished.len() as u64;
        let unlisted = coverage.unfinished_count.saturating_sub(listed);
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

#[cfg(test)]
mod tests {
    use evidence_format::coverage::GapReason;
    use evidence_format::digest::Digest;
    use evidence_format::id::{KeyId, StreamId};

    use super::*;
    use domain::incident::{GapSummary, UnfinishedItem};
    use store::ledger::{PassKey, PassKind, PassStage, StreamPosition};

    fn at(seconds: u32) -> Timestamp {
        Timestamp::from_unix_nanoseconds(i128::from(seconds) * 1_000_000_000).expect("a time")
    }

    fn row(pass: u32, stage: PassStage) -> PassRow {
        PassRow {
            key: PassKey {
                incident: "INC-2026-001".parse().expect("an id"),
                source: "okta".to_owned(),
                pass,
            },
            kind: PassKind::First,
            due_at: at(100),
            supplements: None,
            stage,
            fencing_token: 0,
            failures: 0,
            began_at: None,
            plan: None,
            leased_until: None,
            retry_at: None,
        }
    }

    fn journal(events: Vec<IncidentEvent>) -> Vec<JournalEntry> {
        (1..)
            .zip(events)
            .map(|(seq, event)| JournalEntry {
                seq,
                at: at(50),
                by: "Ann".parse().expect("a name"),
                event,
            })
            .collect()
    }

    /// A request that names `sources`; of none, those of the play.
    fn requested(sources: &[&str]) -> IncidentEvent {
        let sources = sources.iter().map(|name| name.parse().expect("a source"));
        IncidentEvent::CaptureRequested {
            request: Box::new(CaptureRequest {
                window: None,
                sources: sources.collect(),
                accounts: Vec::new(),
                regions: Vec::new(),
                deadline_seconds: 60,
                hosts: domain::hosts::HostSelection::default(),
                hosts_only: false,
            }),
        }
    }

    fn failed(pass: u64, error: &str) -> IncidentEvent {
        IncidentEvent::CaptureFailed {
            source: "okta".parse().expect("a source"),
            pass,
            error: error.parse().expect("a line"),
        }
    }

    fn bundle(pass: u32, change: impl FnOnce(&mut BundleCoverage)) -> BundleRow {
        let mut coverage = BundleCoverage::from_json("");
        change(&mut coverage);
        BundleRow {
            id: Digest::of(b"bundle"),
            pass: row(pass, PassStage::Derived).key,
            key_id: KeyId::of_spki(b"key"),
            position: StreamPosition {
                stream: StreamId::from_random([0; 16]),
                seq: 0,
                prev: None,
            },
            sealed_at: at(100),
            object_key: String::new(),
            bytes: 0,
            coverage: serde_json::to_string(&coverage).expect("JSON"),
            duplicate_of: None,
        }
    }

    fn unfinished(item: &str, ended: EndReason) -> UnfinishedItem {
        UnfinishedItem {
            item: item.to_owned(),
            ended,
            pages: 0,
            problem: None,
        }
    }

    fn missing(
        rows: &[PassRow],
        events: Vec<IncidentEvent>,
        bundles: &[BundleRow],
    ) -> Vec<(MissingKind, String)> {
        let passes: Vec<PlannedPass> = rows.iter().cloned().map(PlannedPass::from).collect();
        missing_evidence(&passes, &journal(events), bundles, at(200))
            .into_iter()
            .map(|missing| (missing.kind, missing.reason))
            .collect()
    }

    #[test]
    fn reason_of_failed_pass_is_its_last_error_else_its_stop() {
        let rows = [row(0, PassStage::Failed)];
        let events = vec![requested(&[]), failed(0, "no key"), failed(0, "no disk")];
        let error = (MissingKind::Failed, "no disk".to_owned());
        assert_eq!(missing(&rows, events, &[]), [error]);
        let stopped = (MissingKind::Stopped, STOPPED.to_owned());
        let events = vec![requested(&[]), IncidentEvent::CaptureStopped {}];
        assert_eq!(missing(&rows, events, &[]), [stopped]);
        let nothing = (MissingKind::NeverAsked, "nothing to ask".to_owned());
        let of_first = missing(&rows, vec![requested(&[])], &[]);
        assert_eq!(of_first, std::slice::from_ref(&nothing));
        // The stop came before this request.
        let second = [row(
            PassNumber::of_request(1).expect("a number"),
            PassStage::Failed,
        )];
        let stop = IncidentEvent::CaptureStopped {};
        let events = vec![requested(&[]), stop, requested(&[])];
        assert_eq!(missing(&second, events, &[]), [nothing]);
    }

    #[test]
    fn later_request_for_whole_source_makes_up_for_earlier_loss() {
        let rows = [row(0, PassStage::Failed)];
        let lost = vec![requested(&[]), failed(0, "no key")];
        let with = |later| [lost.clone(), vec![later]].concat();
        assert_eq!(missing(&rows, with(requested(&["okta"])), &[]), []);
        assert_eq!(missing(&rows, with(requested(&["github"])), &[]).len(), 1);
    }

    #[test]
    fn pass_without_worker_is_cut_off_once_it_is_due() {
        let waiting = row(0, PassStage::Waiting);
        let cut_off = missing(std::slice::from_ref(&waiting), vec![requested(&[])], &[]);
        assert_eq!(cut_off[0].0, MissingKind::CutOff);
        let later = PassRow {
            due_at: at(300),
            ..waiting
        };
        assert_eq!(missing(&[later], vec![requested(&[])], &[]), []);
    }

    #[test]
    fn bundle_lists_some_unfinished_items_and_counts_the_others() {
        let rows = [row(0, PassStage::Derived)];
        let items: Vec<_> = (0..10)
            .map(|number| unfinished(&format!("okta-{number}"), EndReason::Failed))
            .collect();
        let of_count = |count| {
            let sealed = bundle(0, |coverage| {
                (coverage.unfinished, coverage.unfinished_count) = (items.clone(), count);
            });
            missing(&rows, vec![requested(&[])], &[sealed])
        };
        let many = of_count(40);
        assert_eq!(many.len(), ENDED_EARLY_LISTED_MAX + 1);
        assert!(
            many.iter()
                .any(|(_, reason)| reason == "32 more ended early")
        );
        // A version that did not count them.
        assert!(
            of_count(0)
                .iter()
                .any(|(_, reason)| reason == "2 more ended early")
        );
    }

    #[test]
    fn continuation_makes_up_for_deadline_but_not_for_denial() {
        let number = PassNumber::of(0);
        let next = row(number.continuation().expect("a number"), PassStage::Derived);
        let rows = [row(0, PassStage::Derived), next];
        let sealed = bundle(0, |coverage| {
            coverage.unfinished = vec![
                unfinished("okta-late", EndReason::Deadline),
                unfinished("okta-broken", EndReason::Failed),
            ];
            coverage.unfinished_count = 2;
        });
        let missing = missing(&rows, vec![requested(&[])], &[sealed]);
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert!(missing[0].1.starts_with("okta-broken"), "{missing:?}");
    }

    #[test]
    fn gap_that_an_unfinished_item_has_named_is_not_named_twice() {
        let rows = [row(0, PassStage::Derived)];
        let sealed = bundle(0, |coverage| {
            let mut item = unfinished("okta-log", EndReason::Failed);
            item.problem = Some("403".to_owned());
            (coverage.unfinished, coverage.unfinished_count) = (vec![item], 1);
            coverage.gaps = ["403", "a page"]
                .map(|example| GapSummary {
                    reason: GapReason::ReadFailed,
                    count: 1,
                    examples: vec![example.to_owned()],
                })
                .to_vec();
        });
        let missing = missing(&rows, vec![requested(&[])], &[sealed]);
        let kinds: Vec<_> = missing.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [MissingKind::EndedEarly, MissingKind::Gaps]);
        assert!(!missing[1].1.contains("403"), "{missing:?}");
    }
}
