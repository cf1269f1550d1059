//! Stage 2: plans a pass; and checks whether sources are ready.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use evidence_format::coverage::TimeWindow;
use evidence_format::id::IncidentId;
use evidence_format::time::Timestamp;
use futures::FutureExt as _;
use futures::future::join_all;
use tokio::time::Instant;

use super::events::planned_entry;
use super::{Pipeline, PipelineError};
use domain::incident::{CaptureRequest, Pivot, Play, PlayName};
use domain::plan::{self, CapturePass, CapturePlan, Offer, Readiness, ReadinessState};
use platform::clock;
use sources::{ReadinessProbe, Source};
use store::ledger::PassRow;

/// How long the result of a readiness check is reused.
const READINESS_VALID_FOR: Duration = Duration::from_secs(20);
/// Windows whose ends differ by at most this, and by at most a hundredth of their length, give the
/// same estimate: most windows end now, and the next caller asks a few seconds later.
const WINDOWS_DIFFER_NANOSECONDS: u128 = 60_000_000_000;

/// The readiness of each source.
pub type SourcesReadiness = Vec<(&'static dyn Source, Readiness)>;

/// The last readiness check of all sources, and what it was for.
pub(crate) struct ReadinessCache {
    at: Instant,
    incident: Option<IncidentId>,
    window: Option<TimeWindow>,
    results: Arc<SourcesReadiness>,
}

impl ReadinessCache {
    fn is_valid_for(&self, incident: Option<&IncidentId>, window: Option<TimeWindow>) -> bool {
        let is_same = match (self.window, window) {
            (Some(a), Some(b)) => {
                let tolerance = WINDOWS_DIFFER_NANOSECONDS.min(apart(b.from, b.until) / 100);
                apart(a.from, b.from).max(apart(a.until, b.until)) <= tolerance
            }
            // A check without a window has no estimate, so it cannot serve one that wants it.
            (a, b) => a.is_none() && b.is_none(),
        };
        // which identity a source asks as may depend on the incident
        is_same && self.incident.as_ref() == incident && self.at.elapsed() < READINESS_VALID_FOR
    }
}

/// The nanoseconds between two times.
fn apart(a: Timestamp, b: Timestamp) -> u128 {
    a.unix_nanoseconds().abs_diff(b.unix_nanoseconds())
}

pub(super) fn encode(plan: &CapturePlan) -> String {
    serde_json::to_string(plan).expect("numbers and texts are JSON")
}

/// The offers of `source`, each with the source's readiness.
fn each_offer(
    source: &'static dyn Source,
    readiness: &Readiness,
) -> impl Iterator<Item = (&'static Offer, Readiness)> {
    source
        .offers()
        .iter()
        .map(|offer| (offer, readiness.clone()))
}

impl Pipeline {
    /// The plan of a pass: the stored one, or a new one, which is stored. If the source has nothing
    /// to capture, the pass is given up, and this returns `None`.
    pub(super) async fn planned(
        &self,
        row: &PassRow,
        source: &'static dyn Source,
    ) -> Result<Option<(CapturePlan, CapturePass)>, PipelineError> {
        // A stored plan is never made anew: what was captured so far follows it.
        let plan = match &row.plan {
            Some(json) => {
                serde_json::from_str(json).map_err(|cause| PipelineError::Unreadable {
                    what: "a plan",
                    cause,
                })?
            }
            None => self.make_plan(row, source).await?,
        };
        // Trying again would not help; the journal says which sources were unavailable.
        let Some(pass) = plan.passes.first().cloned() else {
            self.parts
                .ledger
                .set_failed(&row.key, row.fencing_token)
                .await?;
            return Ok(None);
        };
        Ok(Some((plan, pass)))
    }

    async fn make_plan(
        &self,
        row: &PassRow,
        source: &'static dyn Source,
    ) -> Result<CapturePlan, PipelineError> {
        let key = &row.key;
        let readiness = self
            .check_readiness(source, Some(key.incident.clone()), None)
            .await;
        let input = self.plan_input(key).await?;
        let mut plan = plan::plan(
            &input.as_request(),
            &each_offer(source, &readiness).collect::<Vec<_>>(),
        )?;
        // the other sources of the request have passes of their own
        plan.unavailable
            .retain(|unavailable| unavailable.source.as_str() == source.name());
        self.parts
            .ledger
            .set_plan(key, &encode(&plan), &planned_entry(&plan))
            .await?;
        Ok(plan)
    }

    /// Plans a capture of all sources without requesting it. `incident` may be one that is not
    /// declared yet.
    ///
    /// # Errors
    /// See [`PipelineError`].
    pub async fn preview(
        &self,
        incident: Option<&IncidentId>,
        play: &PlayName,
        pivots: Vec<Pivot>,
        request: CaptureRequest,
    ) -> Result<CapturePlan, PipelineError> {
        let play = self.plays.get(play)?;
        let window = request.window.or_else(|| self.window_of(play));
        let results = self.check_all_sources(incident, window).await;
        let offers: Vec<_> = results
            .iter()
            .flat_map(|(source, readiness)| each_offer(*source, readiness))
            .collect();
        let id = incident
            .cloned()
            .unwrap_or_else(|| "not-declared".parse().expect("an id")); // a plan names its incident
        let input = self.new_plan_input(id, clock::now(), play.clone(), pivots, request);
        Ok(plan::plan(&input.as_request(), &offers)?)
    }

    /// The window of a play, ending now.
    #[must_use]
    pub fn window_of(&self, play: &Play) -> Option<TimeWindow> {
        let now = clock::now();
        let from = now.unix_nanoseconds() - i128::from(play.window_hours) * 3_600_000_000_000;
        Some(TimeWindow {
            from: Timestamp::from_unix_nanoseconds(from)?,
            until: now,
        })
    }

    /// Checks the readiness of all sources, for callers that only want to know. A check takes
    /// requests from the quota of captures: so only one runs at a time, and its result is reused
    /// for [`READINESS_VALID_FOR`].
    pub async fn check_all_sources(
        &self,
        incident: Option<&IncidentId>,
        window: Option<TimeWindow>,
    ) -> Arc<SourcesReadiness> {
        // Held during the check: others who ask meanwhile get its result.
        let mut last = self.readiness.lock().await;
        if let Some(known) = last
            .as_ref()
            .filter(|known| known.is_valid_for(incident, window))
        {
            return Arc::clone(&known.results);
        }
        let results = sources::ALL.iter().map(|source| async {
            (
                *source,
                self.check_readiness(*source, incident.cloned(), window)
                    .await,
            )
        });
        let results = Arc::new(join_all(results).await);
        *last = Some(ReadinessCache {
            at: Instant::now(),
            incident: incident.cloned(),
            window,
            results: Arc::clone(&results),
        });
        results
    }

    /// Checks the readiness of one source.
    pub async fn check_readiness(
        &self,
        source: &'static dyn Source,
        incident: Option<IncidentId>,
        estimate: Option<TimeWindow>,
    ) -> Readiness {
        let (config, transport) = (
            Arc::clone(&self.parts.config),
            Arc::clone(&self.parts.transport),
        );
        let probe = ReadinessProbe {
            incident,
            config,
            transport,
            estimate,
        };
        // One source's bug must not keep the others from being planned.
        let checked = AssertUnwindSafe(source.check_readiness(&probe))
            .catch_unwind()
            .await;
        checked.unwrap_or_else(|_| Readiness {
            source: source.name().parse().expect("names of sources are names"),
            state: ReadinessState::Unavailable,
            targets: Vec::new(),
            problems: vec!["its readiness check crashed: a bug of this program".to_owned()],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_reused_only_for_the_same_incident_and_window() {
        let at = |seconds: i64| {
            Timestamp::from_unix_nanoseconds(i128::from(seconds) * 1_000_000_000).expect("a time")
        };
        let window = |from, until| {
            Some(TimeWindow {
                from: at(from),
                until: at(until),
            })
        };
        let id = |text: &str| text.parse::<IncidentId>().expect("an id");
        let results = Arc::new(Vec::new());
        let cache = ReadinessCache {
            at: Instant::now(),
            incident: Some(id("INC-1")),
            window: window(0, 86400),
            results,
        };
        let is_good =
            |incident: Option<&str>, window| cache.is_valid_for(incident.map(id).as_ref(), window);
        assert!(
            is_good(Some("INC-1"), window(20, 86420)),
            "it ends now, and now is later"
        );
        assert!(
            !is_good(Some("INC-1"), window(0, 86500))
                && !is_good(Some("INC-1"), window(-86400, 86400))
        );
        assert!(
            !is_good(Some("INC-2"), window(0, 86400))
                && !is_good(None, window(0, 86400))
                && !is_good(Some("INC-1"), None)
        );
        let short = ReadinessCache {
            at: Instant::now(),
            incident: None,
            window: window(0, 30),
            results: Arc::new(Vec::new()),
        };
        assert!(
            short.is_valid_for(None, window(0, 30)) && !short.is_valid_for(None, window(30, 60))
        );
    }
}
