//! Plans a capture: which sources are asked for what, in which order, within which limits.
//!
//! Pure and deterministic: a plan depends only on the arguments, and not on their order. It omits
//! nothing silently. Every source of the play is in it, as steps or as [`UnavailableSource`]; every
//! target of a ready source has a step, if only one that becomes a gap.

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

use crate::incident::{PassKind, Pivot, Play, SourceName};
use crate::spelling::{comma_separated, did_you_mean};

pub use crate::incident::{UnavailableReason, UnavailableSource};
pub use capture_plan::{
    CaptureBudget, CapturePass, CapturePlan, CaptureStep, LeftOutReason, PlanNotice, PlannedHost,
    StepLimits,
};
pub use duration::format_duration;
pub use offer::{
    CaptureTarget, EvidenceLifetime, Offer, OfferReadiness, Readiness, ReadinessState,
    RequestQuota, SettleRule,
};
pub use passes::{ScheduledPass, StepOutcome, continuation, settle_passes};
pub use table::render_table;

/// Steps of one plan: 500 accounts in 28 regions with 6 pivots. More is hardly intended, and would
/// take too much memory.
pub const STEPS_MAX: usize = 100_000;

/// A source, its offers, and whether they are ready.
#[derive(Debug, Clone)]
pub struct PlannedSource<'a> {
    pub offers: &'a [Offer],
    pub readiness: Readiness,
}

/// What to plan, apart from what the sources offer.
#[derive(Debug, Clone)]
pub struct PlanRequest<'a> {
    pub incident: IncidentId,
    /// When the incident was declared.
    pub declared_at: Timestamp,
    pub now: Timestamp,
    pub play: &'a Play,
    pub scope: PlanScope,
    pub budget: CaptureBudget,
    /// The number of the first pass: 1, or one more than the incident's last.
    pub first_number: u64,
}

/// Narrows or changes what a play captures. The default changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanScope {
    /// Captures only these sources, whether the play names them or not. Empty: the play's.
    pub only: Vec<SourceName>,
    /// Leaves out these sources.
    pub except: Vec<SourceName>,
    /// `None`: from the play's hours before the declaration until now.
    pub window: Option<TimeWindow>,
    /// Each pivot adds narrow steps, which come first. It never replaces the step that takes all.
    pub pivots: Vec<Pivot>,
    /// Asks only these accounts, at sources that have one of them. Empty: all.
    pub accounts: Vec<String>,
    /// Asks only these regions, at sources that have one of them. Empty: all.
    pub regions: Vec<String>,
}

/// The request cannot be planned. The texts are for the user who gave the scope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// The scope names a source that neither the program nor the play has.
    #[error("no source is called {name}{}; there are: {}", did_you_mean(nearest.as_ref().map(SourceName::as_str)), comma_separated(known))]
    UnknownSource {
        name: SourceName,
        /// The source that was probably meant.
        nearest: Option<SourceName>,
        known: Vec<SourceName>,
    },
    /// The window is empty, or lies in the future.
    #[error("window from {from} until {until} holds no time that has passed at {now}")]
    EmptyWindow {
        from: Timestamp,
        until: Timestamp,
        now: Timestamp,
    },
    #[error(
        "plan would have {steps} steps, limit is {STEPS_MAX}: narrow the scope, or give fewer pivots"
    )]
    TooManySteps { steps: usize },
}

/// Plans a capture. The most volatile evidence comes first (RFC 3227 §2.1): what its source keeps
/// for the shortest time, then what expires soonest, then the cheapest (a pivot's step before the
/// one that takes all, fewer requests before more).
///
/// The limits of a source's steps stay within `request.budget`; what is expected of a step only
/// orders it, and is compared with its limit in a [`PlanNotice`]. A step that does not fit, or that
/// the source refuses, stays in the plan with a [`LeftOutReason`], and becomes a gap.
///
/// # Errors
/// See [`PlanError`].
pub fn plan(
    request: &PlanRequest<'_>,
    sources: &[PlannedSource<'_>],
) -> Result<CapturePlan, PlanError> {
    let request = &PlanRequest {
        budget: clamp_to_json(request.budget),
        ..request.clone()
    };
    let window = request.window()?;
    // Before anything is expanded, so that a misspelled source fails first.
    let mut chosen = choose::choose(request, sources)?;
    let pivots = sorted(&request.scope.pivots);
    let mut steps = steps::build_steps(
        &choose::questions(&chosen.candidates, &pivots)?,
        window,
        request,
    );
    // After sorting: the most volatile steps get their bytes first.
    budget::allot(&mut steps, &request.budget);
    chosen.notices.extend(budget::warnings(&steps));
    let pivots_wanted = sorted(&request.play.pivots)
        .into_iter()
        // Nobody should look for a pivot that no source here can use.
        .filter(|kind| chosen.can_filter_by(*kind))
        .filter(|kind| pivots.iter().all(|pivot| pivot.kind() != *kind))
        .collect();
    let pivots_unused = pivots
        .into_iter()
        .filter(|pivot| !chosen.can_filter_by(pivot.kind()))
        .collect();
    Ok(CapturePlan {
        incident: request.incident.clone(),
        play: request.play.name.clone(),
        declared_at: request.declared_at,
        planned_at: request.now,
        window,
        deadline_at: duration::later(request.now, request.budget.deadline_seconds),
        budget: request.budget,
        passes: passes_of(steps, request.first_number),
        unavailable: chosen.unavailable,
        notices: chosen.notices,
        pivots_unused,
        pivots_wanted,
    })
}

/// The budget in numbers that JSON can hold exactly, which is more than anybody can capture.
fn clamp_to_json(budget: CaptureBudget) -> CaptureBudget {
    CaptureBudget {
        bytes_max: budget.bytes_max.min(JSON_INTEGER_MAX),
        deadline_seconds: budget.deadline_seconds.min(JSON_INTEGER_MAX),
        object_bytes_max: budget.object_bytes_max.min(JSON_INTEGER_MAX),
    }
}

impl PlanRequest<'_> {
    /// The window to cover: the scope's, or the play's hours before the declaration until now.
    ///
    /// # Errors
    /// [`PlanError::EmptyWindow`].
    pub fn window(&self) -> Result<TimeWindow, PlanError> {
        let hours = u64::from(self.play.window_hours);
        // From the declaration, not from now: a later plan must not lose the window's beginning.
        let window = self.scope.window.unwrap_or_else(|| TimeWindow {
            from: duration::earlier(self.declared_at, hours * 3600),
            until: self.now,
        });
        // A window that only ends in the future is fine: each step is clipped to what has happened.
        if window.from >= window.until || window.from >= self.now {
            return Err(PlanError::EmptyWindow {
                from: window.from,
                until: window.until,
                now: self.now,
            });
        }
        Ok(window)
    }
}

/// One pass for each source, in the order of its most volatile step. A bundle holds at most
/// [`ITEMS_MAX`] items, so a source with more steps has several passes.
fn passes_of(steps: Vec<(SourceName, CaptureStep)>, first_number: u64) -> Vec<CapturePass> {
    let mut order: Vec<SourceName> = Vec::new();
    let mut by_source: BTreeMap<SourceName, Vec<CaptureStep>> = BTreeMap::new();
    for (source, step) in steps {
        // The steps are sorted, so a source's first step is its most volatile one.
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
                host: None,
            });
        }
    }
    passes
}

/// Sorts and deduplicates, so that a plan does not depend on the order of arguments.
fn sorted<T: Ord + Clone>(list: &[T]) -> Vec<T> {
    let mut list = list.to_vec();
    list.sort();
    list.dedup();
    list
}

#[cfg(test)]
mod tests;
