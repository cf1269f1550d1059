//! Chooses the sources and targets to ask, and records why others are not asked.

use std::collections::BTreeSet;

use super::capture_plan::PlanNotice;
use super::offer::{Offer, OfferReadiness, ReadinessState};
use super::{PlanError, PlanRequest, PlannedSource, STEPS_MAX};
use crate::incident::{Pivot, PivotKind, SourceName, UnavailableReason, UnavailableSource};
use crate::spelling::nearest;

/// An offer at one of its targets, which may become steps.
#[derive(Clone)]
pub(super) struct Candidate<'a> {
    pub(super) source: &'a SourceName,
    pub(super) offer: &'a Offer,
    pub(super) readiness: &'a OfferReadiness,
}

/// A candidate and what to ask it for; one step.
pub(super) struct StepQuestion<'a> {
    pub(super) candidate: Candidate<'a>,
    /// `None` takes all.
    pub(super) pivot: Option<Pivot>,
}

pub(super) struct Selection<'a> {
    pub(super) candidates: Vec<Candidate<'a>>,
    pub(super) unavailable: Vec<UnavailableSource>,
    pub(super) notices: Vec<PlanNotice>,
}

/// Chooses the candidates by the play, the scope, and what is ready.
pub(super) fn choose<'a>(
    request: &PlanRequest<'_>,
    sources: &'a [PlannedSource<'a>],
) -> Result<Selection<'a>, PlanError> {
    check_names(request, sources)?;
    // The scope may name sources that the play does not.
    let named: BTreeSet<&SourceName> = request
        .play
        .sources
        .iter()
        .chain(&request.scope.only)
        .collect();
    let mut chosen = Selection {
        candidates: Vec::new(),
        unavailable: Vec::new(),
        notices: Vec::new(),
    };
    for source in named {
        let mut own = sources
            .iter()
            .filter(|planned| planned.readiness.source == *source)
            .peekable();
        let wanted = request.scope.only.is_empty() || request.scope.only.contains(source);
        // The scope decides first: whether an unwanted source is ready does not matter.
        if !wanted || request.scope.except.contains(source) {
            chosen.leave_out(source, UnavailableReason::Scope);
        } else if own.peek().is_none() {
            chosen.leave_out(source, UnavailableReason::NotInThisVersion);
        } else {
            own.for_each(|planned| chosen.add_source(planned));
        }
    }
    narrow(
        &mut chosen,
        "account",
        &request.scope.accounts,
        |candidate| candidate.readiness.target.account.as_deref(),
    );
    narrow(&mut chosen, "region", &request.scope.regions, |candidate| {
        candidate.readiness.target.region.as_deref()
    });
    // The offers of a source often report the same problem.
    chosen.notices.sort();
    chosen.notices.dedup();
    chosen.unavailable.sort();
    chosen.unavailable.dedup();
    Ok(chosen)
}

impl<'a> Selection<'a> {
    /// True if a chosen source filters by pivots of this kind.
    pub(super) fn can_filter_by(&self, kind: PivotKind) -> bool {
        self.candidates
            .iter()
            .any(|candidate| candidate.offer.pivots.contains(&kind))
    }

    /// Records that a whole source is not captured.
    fn leave_out(&mut self, source: &SourceName, why: UnavailableReason) {
        self.unavailable.push(UnavailableSource {
            source: source.clone(),
            api: None,
            why,
            problems: Vec::new(),
        });
    }

    fn add_source(&mut self, planned: &'a PlannedSource<'a>) {
        let PlannedSource { offers, readiness } = planned;
        let source = &readiness.source;
        if readiness.offers.is_empty() {
            self.unavailable.push(UnavailableSource {
                source: source.clone(),
                api: match offers {
                    [only] => Some(only.api.to_owned()),
                    _ => None,
                },
                why: why_unavailable(readiness.state),
                problems: readiness.problems.clone(),
            });
            return;
        }
        // One account of many may deny access: the others are captured, and the plan says so.
        self.notices
            .extend(readiness.problems.iter().map(|text| PlanNotice {
                source: Some(source.clone()),
                text: text.clone(),
                is_loss: true,
            }));
        self.notices
            .extend(readiness.remarks.iter().map(|text| PlanNotice {
                source: Some(source.clone()),
                text: text.clone(),
                is_loss: false,
            }));
        for offer in *offers {
            let own = || {
                let all = readiness.offers.iter();
                all.filter(|ready| ready.offer == offer.item)
            };
            if own().next().is_none() {
                // Nowhere to ask: a gap, not a capture without findings.
                self.unavailable.push(UnavailableSource {
                    source: source.clone(),
                    api: Some(offer.api.to_owned()),
                    why: UnavailableReason::NoTargets,
                    problems: Vec::new(),
                });
            }
            own().for_each(|ready| self.add_offer(source, offer, ready));
        }
    }

    fn add_offer(&mut self, source: &'a SourceName, offer: &'a Offer, ready: &'a OfferReadiness) {
        match ready.state {
            // What does not respond to the check may respond to the capture, which is more patient.
            ReadinessState::Ready | ReadinessState::Unavailable => {
                let notice = ready.problem().map(|problem| PlanNotice {
                    source: Some(source.clone()),
                    text: match &ready.target.name {
                        Some(name) => format!("{} at {name}: {problem}", offer.item),
                        None => format!("{}: {problem}", offer.item),
                    },
                    is_loss: true,
                });
                self.notices.extend(notice);
            }
            // Becomes a step that is left out: its item is the sealed proof of the gap.
            ReadinessState::Refused => {}
            ReadinessState::NotConfigured => {
                self.unavailable.push(UnavailableSource {
                    source: source.clone(),
                    api: Some(offer.api.to_owned()),
                    why: UnavailableReason::NotConfigured,
                    problems: ready.problem().into_iter().collect(),
                });
                return;
            }
        }
        self.candidates.push(Candidate {
            source,
            offer,
            readiness: ready,
        });
    }
}

/// Why a source of this state is not captured, if it names no offer that could be.
fn why_unavailable(state: ReadinessState) -> UnavailableReason {
    match state {
        ReadinessState::Ready => UnavailableReason::NoTargets,
        ReadinessState::Unavailable => UnavailableReason::Unavailable,
        ReadinessState::Refused => UnavailableReason::Refused,
        ReadinessState::NotConfigured => UnavailableReason::NotConfigured,
    }
}

/// Rejects unknown sources in the scope: a misspelled `--except` would capture what it should not.
fn check_names(request: &PlanRequest<'_>, sources: &[PlannedSource<'_>]) -> Result<(), PlanError> {
    let offered = sources.iter().map(|planned| &planned.readiness.source);
    let known: BTreeSet<&SourceName> = request.play.sources.iter().chain(offered).collect();
    let Some(name) =
        super::sorted(&[request.scope.only.clone(), request.scope.except.clone()].concat())
            .into_iter()
            .find(|n| !known.contains(n))
    else {
        return Ok(());
    };
    let nearest = nearest(name.as_str(), known.iter().map(|known| known.as_str()))
        .and_then(|name| name.parse().ok());
    Err(PlanError::UnknownSource {
        name,
        nearest,
        known: known.into_iter().cloned().collect(),
    })
}

/// Keeps the candidates whose `value` is in `filter`, at each source that has at least one of them:
/// a region of AWS says nothing about a host. Notices tell what was left out, and which filter
/// matched nothing; such a filter captures more than was wanted, never less.
fn narrow<'a>(
    chosen: &mut Selection<'a>,
    what: &str,
    filter: &[String],
    value: impl for<'p> Fn(&'p Candidate<'a>) -> Option<&'p str>,
) {
    let narrowed: BTreeSet<SourceName> = chosen
        .candidates
        .iter()
        .filter(|candidate| is_in(filter, value(candidate)))
        .map(|candidate| candidate.source.clone())
        .collect();
    for wanted in super::sorted(filter) {
        if !chosen
            .candidates
            .iter()
            .any(|candidate| value(candidate) == Some(wanted.as_str()))
        {
            chosen.notices.push(PlanNotice {
                source: None,
                text: format!("no target is of {what} {wanted}: it narrows nothing"),
                is_loss: false,
            });
        }
    }
    for source in narrowed {
        let own: Vec<&Candidate<'a>> = chosen
            .candidates
            .iter()
            .filter(|candidate| *candidate.source == source)
            .collect();
        let all = own.len();
        let kept = own
            .into_iter()
            .filter(|candidate| is_in(filter, value(candidate)))
            .count();
        if kept < all {
            let text = format!("asked at {kept} of {all} places: the scope names the {what}");
            chosen.notices.push(PlanNotice {
                source: Some(source.clone()),
                text,
                is_loss: false,
            });
        }
        chosen
            .candidates
            .retain(|candidate| *candidate.source != source || is_in(filter, value(candidate)));
    }
}

fn is_in(filter: &[String], value: Option<&str>) -> bool {
    value.is_some_and(|value| filter.iter().any(|wanted| wanted == value))
}

/// Every candidate once without a pivot, and once with each pivot that its offer can filter by.
/// Sorted and deduplicated.
pub(super) fn questions<'a>(
    candidates: &[Candidate<'a>],
    pivots: &[Pivot],
) -> Result<Vec<StepQuestion<'a>>, PlanError> {
    // Counted first, so that an absurd request fails before it takes memory.
    let steps = candidates
        .iter()
        .map(|candidate| usable_pivots(candidate, pivots).count() + 1)
        .sum();
    if steps > STEPS_MAX {
        return Err(PlanError::TooManySteps { steps });
    }
    let mut questions = Vec::with_capacity(steps);
    for candidate in candidates {
        let narrow = usable_pivots(candidate, pivots).cloned().map(Some);
        // The step that takes all always stays: an attacker may have used another key.
        for pivot in narrow.chain([None]) {
            questions.push(StepQuestion {
                candidate: candidate.clone(),
                pivot,
            });
        }
    }
    // If a question occurs twice, the better state and then the larger estimate stay.
    questions.sort_by(|a, b| {
        let (of_a, of_b) = (a.candidate.readiness, b.candidate.readiness);
        a.identity()
            .cmp(&b.identity())
            .then(of_a.state.cmp(&of_b.state))
            .then(of_b.requests.cmp(&of_a.requests))
            .then(of_a.problem().cmp(&of_b.problem()))
    });
    questions.dedup_by(|a, b| a.identity() == b.identity());
    Ok(questions)
}

/// The pivots that the candidate's source can filter by.
fn usable_pivots<'p>(
    candidate: &Candidate<'_>,
    pivots: &'p [Pivot],
) -> impl Iterator<Item = &'p Pivot> {
    let kinds = candidate.offer.pivots;
    pivots
        .iter()
        .filter(move |pivot| kinds.contains(&pivot.kind()))
}

impl StepQuestion<'_> {
    /// Two questions are the same if their identity is.
    fn identity(
        &self,
    ) -> (
        &SourceName,
        &str,
        &str,
        &super::CaptureTarget,
        &Option<Pivot>,
    ) {
        (
            // The estimate is not part of it: samples of one target differ.
            self.candidate.source,
            self.candidate.offer.item,
            self.candidate.offer.api,
            &self.candidate.readiness.target,
            &self.pivot,
        )
    }
}
