//! Decides what is captured: which sources are asked what, in which order, within which limits.
//! Pure.
//!
//! A plan depends on nothing but what it is made of, and on no order in that. It leaves nothing out
//! in silence: every source of the play is in it, as steps or as [`UnavailableSource`]; every target of a
//! source that is ready has its step, if only to become a gap.

mod budget;
mod capture_plan;
mod choose;
mod duration;
mod item_names;
mod offer;
mod passes;
mod steps;
mod table;
mod window;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod samples;

use std::collections::BTreeMap;

use evidence_format::coverage::TimeWindow;
use evidence_format::id::IncidentId;
use evidence_format::limits::{ITEMS_MAX, JSON_INTEGER_MAX};
use evidence_format::time::Timestamp;

use crate::incident::{PassKind, Pivot, PivotKind, Play, SourceName};
use crate::spelling::{comma_separated, did_you_mean};

pub use capture_plan::{
    CaptureBudget, CapturePass, CapturePlan, CaptureStep, LeftOutReason, PlanNotice, StepLimits,
    UnavailableReason, UnavailableSource,
};
pub use duration::format_duration;
pub use offer::{
    CaptureTarget, EvidenceLifetime, Offer, Readiness, ReadinessState, RequestQuota, SettleRule,
    TargetEstimate,
};
pub use passes::{ScheduledPass, StepOutcome, continuation, settle_passes};
pub use table::render_table;

/// Steps of one plan: 500 accounts in 28 regions with 6 pivots. Above that nobody can mean it, and
/// a plan no longer fits into memory well.
pub const STEPS_MAX: usize = 100_000;

/// What a plan is made from, apart from the sources.
#[derive(Debug, Clone)]
pub struct PlanRequest<'a> {
    /// The incident.
    pub incident: IncidentId,
    /// When it was declared.
    pub declared: Timestamp,
    /// The time.
    pub now: Timestamp,
    /// How it is responded to.
    pub play: &'a Play,
    /// What of that is wanted.
    pub scope: PlanScope,
    /// How much may be taken.
    pub budget: CaptureBudget,
    /// The number of the first pass: 1, or one more than the last that this incident has.
    pub first_number: u64,
}

/// What of a play is wanted. The default is all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanScope {
    /// These sources and no others, whether the play names them or not. Empty is the play's.
    pub only: Vec<SourceName>,
    /// Not these.
    pub except: Vec<SourceName>,
    /// The window; `None` is the play's hours back from the declaration, until now.
    pub window: Option<TimeWindow>,
    /// What to ask for in particular. It adds narrow steps, which come first, and never replaces a
    /// step that takes all.
    pub pivots: Vec<Pivot>,
    /// These accounts, at sources that have one of them. Empty is all.
    pub accounts: Vec<String>,
    /// These regions, at sources that have one of them. Empty is all.
    pub regions: Vec<String>,
}

/// There is no plan. For whoever gave the scope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// The scope names a source that neither the program nor the play has.
    #[error("no source is called {name}{}; there are: {}", did_you_mean(nearest.as_ref().map(SourceName::as_str)), comma_separated(known))]
    UnknownSource {
        /// What was given.
        name: SourceName,
        /// What was probably meant.
        nearest: Option<SourceName>,
        /// What there is.
        known: Vec<SourceName>,
    },
    /// The window holds no time, or none that has passed.
    #[error("window from {from} until {until} holds no time that has passed at {now}")]
    EmptyWindow {
        /// Its beginning.
        from: Timestamp,
        /// Its end.
        until: Timestamp,
        /// The time.
        now: Timestamp,
    },
    /// Too much to ask.
    #[error(
        "plan would have {steps} steps, limit is {STEPS_MAX}: narrow the scope, or give fewer pivots"
    )]
    TooManySteps {
        /// How many it would have.
        steps: usize,
    },
}

/// Plans a capture: which steps, in which order. The most volatile comes first (RFC 3227 §2.1):
/// what lives shortest at its source, then what dies soonest, then what is cheapest (a pivot before
/// all, fewer requests before more).
///
/// Expected bytes and requests stay within `ask.budget`. A step that does not fit stays in the plan
/// as [`LeftOutReason`], and becomes a gap.
///
/// # Errors
/// See [`PlanError`].
pub fn plan(
    ask: &PlanRequest<'_>,
    offers: &[(&Offer, Readiness)],
) -> Result<CapturePlan, PlanError> {
    let ask = &PlanRequest {
        budget: writable(ask.budget),
        ..ask.clone()
    };
    let window = window_of(ask)?;
    let chosen = choose::choose(ask, offers)?;
    let pivots = sorted(&ask.scope.pivots);
    let mut steps = steps::steps(&choose::questions(&chosen.places, &pivots)?, window, ask);
    budget::allot(&mut steps, &ask.budget);
    let able = |kind: PivotKind| {
        chosen
            .places
            .iter()
            .any(|place| place.offer.pivots.contains(&kind))
    };
    let wanted = sorted(&ask.play.pivots).into_iter();
    Ok(CapturePlan {
        incident: ask.incident.clone(),
        play: ask.play.name.clone(),
        declared: ask.declared,
        planned: ask.now,
        window,
        deadline: duration::later(ask.now, ask.budget.deadline_seconds),
        budget: ask.budget,
        passes: passes_of(steps, ask.first_number),
        unavailable: chosen.unavailable,
        notices: chosen.notices,
        pivots_wanted: wanted
            .filter(|kind| able(*kind) && !pivots.iter().any(|pivot| pivot.kind() == *kind))
            .collect(),
        pivots_unused: pivots
            .into_iter()
            .filter(|pivot| !able(pivot.kind()))
            .collect(),
    })
}

/// `budget` in numbers that a sealed document can hold, which are still more than there is to
/// capture.
fn writable(budget: CaptureBudget) -> CaptureBudget {
    CaptureBudget {
        bytes_max: budget.bytes_max.min(JSON_INTEGER_MAX),
        requests_max: budget
            .requests_max
            .map(|requests| requests.min(JSON_INTEGER_MAX)),
        deadline_seconds: budget.deadline_seconds.min(JSON_INTEGER_MAX),
        object_bytes_max: budget.object_bytes_max.min(JSON_INTEGER_MAX),
    }
}

fn window_of(ask: &PlanRequest<'_>) -> Result<TimeWindow, PlanError> {
    let hours = u64::from(ask.play.window_hours);
    let default = || TimeWindow {
        from: duration::earlier(ask.declared, hours * 3600),
        until: ask.now,
    };
    let window = ask.scope.window.unwrap_or_else(default);
    if window.from >= window.until || window.from >= ask.now {
        return Err(PlanError::EmptyWindow {
            from: window.from,
            until: window.until,
            now: ask.now,
        });
    }
    Ok(window)
}

/// One pass for each source, in the order of its most volatile step. A bundle holds [`ITEMS_MAX`]
/// items: what is more makes more passes.
fn passes_of(steps: Vec<(SourceName, CaptureStep)>, first_number: u64) -> Vec<CapturePass> {
    let mut order: Vec<SourceName> = Vec::new();
    let mut by_source: BTreeMap<SourceName, Vec<CaptureStep>> = BTreeMap::new();
    for (source, step) in steps {
        if !by_source.contains_key(&source) {
            order.push(source.clone());
        }
        by_source.entry(source).or_default().push(step);
    }
    let mut passes = Vec::new();
    for source in order {
        let steps = by_source.remove(&source).unwrap_or_default();
        for (number, steps) in (first_number..).zip(steps.chunks(ITEMS_MAX)) {
            passes.push(CapturePass {
                source: source.clone(),
                number,
                kind: PassKind::First,
                steps: steps.to_vec(),
            });
        }
    }
    passes
}

/// Sorted, each once: a plan does not depend on the order in which somebody typed.
fn sorted<T: Ord + Clone>(list: &[T]) -> Vec<T> {
    let mut list = list.to_vec();
    list.sort();
    list.dedup();
    list
}

#[cfg(test)]
mod tests;
