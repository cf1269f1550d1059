//! Which sources and targets are asked, and which are not and why.

use std::collections::BTreeSet;

use super::capture_plan::{PlanNotice, UnavailableReason, UnavailableSource};
use super::offer::{Offer, Readiness, ReadinessState, TargetEstimate};
use super::{PlanError, PlanRequest, STEPS_MAX};
use crate::incident::{Pivot, SourceName};
use crate::spelling::nearest;

/// A place to ask.
#[derive(Clone)]
pub(super) struct Candidate<'a> {
    pub(super) source: &'a SourceName,
    pub(super) offer: &'a Offer,
    pub(super) estimate: &'a TargetEstimate,
}

/// What is asked there.
pub(super) struct StepQuestion<'a> {
    pub(super) place: Candidate<'a>,
    pub(super) pivot: Option<Pivot>,
}

pub(super) struct Selection<'a> {
    pub(super) places: Vec<Candidate<'a>>,
    pub(super) unavailable: Vec<UnavailableSource>,
    pub(super) notices: Vec<PlanNotice>,
}

/// Chooses the places to ask, by the play, the scope, and what is ready.
pub(super) fn choose<'a>(
    ask: &PlanRequest<'_>,
    offers: &'a [(&'a Offer, Readiness)],
) -> Result<Selection<'a>, PlanError> {
    check_names(ask, offers)?;
    let named: BTreeSet<&SourceName> = ask.play.sources.iter().chain(&ask.scope.only).collect();
    let mut chosen = Selection {
        places: Vec::new(),
        unavailable: Vec::new(),
        notices: Vec::new(),
    };
    for source in named {
        let unavailable = |why| UnavailableSource {
            source: source.clone(),
            api: None,
            why,
            problems: Vec::new(),
        };
        let own: Vec<&(&Offer, Readiness)> = offers
            .iter()
            .filter(|(_, ready)| ready.source == *source)
            .collect();
        let wanted = ask.scope.only.is_empty() || ask.scope.only.contains(source);
        if !wanted || ask.scope.except.contains(source) {
            chosen
                .unavailable
                .push(unavailable(UnavailableReason::Scope));
        } else if own.is_empty() {
            chosen
                .unavailable
                .push(unavailable(UnavailableReason::NotInThisVersion));
        } else {
            own.into_iter()
                .for_each(|(offer, ready)| chosen.add(offer, ready));
        }
    }
    narrow(&mut chosen, "account", &ask.scope.accounts, |place| {
        place.estimate.target.account.as_deref()
    });
    narrow(&mut chosen, "region", &ask.scope.regions, |place| {
        place.estimate.target.region.as_deref()
    });
    chosen.notices.sort();
    chosen.notices.dedup();
    chosen.unavailable.sort();
    chosen.unavailable.dedup();
    Ok(chosen)
}

impl<'a> Selection<'a> {
    fn add(&mut self, offer: &'a Offer, ready: &'a Readiness) {
        let source = &ready.source;
        let why = match ready.state {
            ReadinessState::Ready if !ready.targets.is_empty() => {
                let notice = |text: &String| PlanNotice {
                    source: Some(source.clone()),
                    text: text.clone(),
                };
                self.notices.extend(ready.problems.iter().map(notice));
                self.places
                    .extend(ready.targets.iter().map(|estimate| Candidate {
                        source,
                        offer,
                        estimate,
                    }));
                return;
            }
            ReadinessState::Ready => UnavailableReason::NoTargets,
            ReadinessState::NotConfigured => UnavailableReason::NotConfigured,
            ReadinessState::Unavailable => UnavailableReason::Unavailable,
        };
        let api = Some(offer.api.to_owned());
        self.unavailable.push(UnavailableSource {
            source: source.clone(),
            api,
            why,
            problems: ready.problems.clone(),
        });
    }
}

/// The scope must name what there is: a misspelled `--except` would take what was not to be taken.
fn check_names(ask: &PlanRequest<'_>, offers: &[(&Offer, Readiness)]) -> Result<(), PlanError> {
    let offered = offers.iter().map(|(_, ready)| &ready.source);
    let known: BTreeSet<&SourceName> = ask.play.sources.iter().chain(offered).collect();
    let Some(name) = super::sorted(&[ask.scope.only.clone(), ask.scope.except.clone()].concat())
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

/// Keeps the places whose value is in `filter`, at sources that have such a place at all: a region
/// of AWS says nothing about a host. What a filter leaves out is said, and so is a filter that fits
/// nothing: then more is captured than was wanted, never less.
fn narrow<'a>(
    chosen: &mut Selection<'a>,
    what: &str,
    filter: &[String],
    value: impl for<'p> Fn(&'p Candidate<'a>) -> Option<&'p str>,
) {
    let fits = |place: &Candidate<'a>| {
        value(place).is_some_and(|value| filter.iter().any(|wanted| wanted == value))
    };
    let narrowed: BTreeSet<SourceName> = chosen
        .places
        .iter()
        .filter(|p| fits(p))
        .map(|p| p.source.clone())
        .collect();
    for wanted in super::sorted(filter) {
        if !chosen
            .places
            .iter()
            .any(|place| value(place) == Some(wanted.as_str()))
        {
            let text = format!("no target is of {what} {wanted}: it narrows nothing");
            chosen.notices.push(PlanNotice { source: None, text });
        }
    }
    for source in narrowed {
        let own = |place: &&Candidate<'a>| *place.source == source;
        let all = chosen.places.iter().filter(own).count();
        let kept = chosen
            .places
            .iter()
            .filter(own)
            .filter(|place| fits(place))
            .count();
        if kept < all {
            let text = format!("asked at {kept} of {all} places: the scope names the {what}");
            chosen.notices.push(PlanNotice {
                source: Some(source.clone()),
                text,
            });
        }
        chosen
            .places
            .retain(|place| *place.source != source || fits(place));
    }
}

/// Every place with each pivot that its offer can filter by, and without. In an order of their own,
/// each once.
pub(super) fn questions<'a>(
    places: &[Candidate<'a>],
    pivots: &[Pivot],
) -> Result<Vec<StepQuestion<'a>>, PlanError> {
    let able = |place: &Candidate<'a>| {
        pivots
            .iter()
            .filter(|pivot| place.offer.pivots.contains(&pivot.kind()))
            .count()
    };
    let steps = places.iter().map(|place| able(place) + 1).sum();
    if steps > STEPS_MAX {
        return Err(PlanError::TooManySteps { steps });
    }
    let mut questions = Vec::with_capacity(steps);
    for place in places {
        let able = pivots
            .iter()
            .filter(|pivot| place.offer.pivots.contains(&pivot.kind()));
        for pivot in able.cloned().map(Some).chain([None]) {
            questions.push(StepQuestion {
                place: place.clone(),
                pivot,
            });
        }
    }
    // Of the same question with two estimates the larger one stays.
    questions.sort_by(|a, b| {
        a.identity()
            .cmp(&b.identity())
            .then(b.place.estimate.requests.cmp(&a.place.estimate.requests))
    });
    questions.dedup_by(|a, b| a.identity() == b.identity());
    Ok(questions)
}

impl StepQuestion<'_> {
    /// What makes it the same question.
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
            self.place.source,
            self.place.offer.item,
            self.place.offer.api,
            &self.place.estimate.target,
            &self.pivot,
        )
    }
}
