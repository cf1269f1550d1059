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
use domain::plan::{
    self, CapturePass, CapturePlan, OfferReadiness, PlannedSource, Readiness, ReadinessState,
};
use platform::clock;
use sources::{ReadinessProbe, Source};
use store::ledger::PassRow;

/// How long the result of a readiness check is reused.
const READINESS_VALID_FOR: Duration = Duration::from_secs(20);
/// Windows whose ends differ by at most this, and by at most a hundredth of their length, give the
/// same estimate: most windows end now, and the next caller asks a few seconds later.
const WINDOWS_DIFFER_NANOSECONDS: u128 = 60_000_000_000;

/// How long the estimates of a readiness check are used for plans: people read a plan, and then
/// declare.
const ESTIMATES_VALID_FOR: Duration = Duration::from_secs(15 * 60);

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

    /// Fills in the requests that the last check expected, if it was for about this window, so that
    /// a capture has the order and the numbers of the plan that was shown before. Takes nothing
    /// else from that check: what it was refused may have been granted since.
    fn fill_estimates(&self, readiness: &mut Readiness, window: TimeWindow) {
        let is_alike = self.window.is_some_and(|own| {
            let tolerance = apart(window.from, window.until) / 10;
            apart(own.from, window.from).max(apart(own.until, window.until)) <= tolerance
        });
        if !is_alike || self.at.elapsed() >= ESTIMATES_VALID_FOR {
            return;
        }
        let known = |ready: &OfferReadiness| {
            let results = self.results.iter();
            results
                .filter(|(_, known)| known.source == readiness.source)
                .flat_map(|(_, known)| &known.offers)
                .find(|known| known.offer == ready.offer && known.target == ready.target)
                .and_then(|known| known.requests)
        };
        let requests: Vec<_> = readiness.offers.iter().map(known).collect();
        for (ready, requests) in readiness.offers.iter_mut().zip(requests) {
            ready.requests = ready.requests.or(requests);
        }
    }
}

/// The nanoseconds between two times.
fn apart(a: Timestamp, b: Timestamp) -> u128 {
    a.unix_nanoseconds().abs_diff(b.unix_nanoseconds())
}

pub(super) fn encode(plan: &CapturePlan) -> String {
    serde_json::to_string(plan).expect("numbers and texts are JSON")
}

fn planned_source(source: &'static dyn Source, readiness: Readiness) -> PlannedSource<'static> {
    PlannedSource {
        offers: source.offers(),
        readiness,
    }
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
        // Without samples: they would take requests from the quota of the capture, whose own first
        // requests tell the same, and are recorded.
        let mut readiness = self
            .check_readiness(source, Some(key.incident.clone()), None)
            .await;
        let input = self.plan_input(key).await?;
        let window = input.as_request().window()?;
        // Never waits for a check that is running, which may take long.
        if let Ok(last) = self.readiness.try_lock()
            && let Some(last) = last.as_ref()
        {
            last.fill_estimates(&mut readiness, window);
        }
        let mut plan = plan::plan(&input.as_request(), &[planned_source(source, readiness)])?;
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
        let planned: Vec<_> = results
            .iter()
            .map(|(source, readiness)| planned_source(*source, readiness.clone()))
            .collect();
        let id = incident
            .cloned()
            .unwrap_or_else(|| "not-declared".parse().expect("an id")); // a plan names its incident
        let input = self.new_plan_input(id, clock::now(), play.clone(), pivots, request);
        Ok(plan::plan(&input.as_request(), &planned)?)
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
        checked.unwrap_or_else(|_| {
            let name = source.name().parse().expect("names of sources are names");
            let problem = "its readiness check crashed: a bug of this program".to_owned();
            Readiness::of_source(name, ReadinessState::Unavailable, vec![problem])
        })
    }
}

#[cfg(test)]
mod tests {
    use domain::plan::CaptureTarget;

    use super::*;

    fn window(from: i64, until: i64) -> Option<TimeWindow> {
        let at =
            |seconds: i64| Timestamp::from_unix_nanoseconds(i128::from(seconds) * 1_000_000_000);
        Some(TimeWindow {
            from: at(from)?,
            until: at(until)?,
        })
    }

    #[test]
    fn capture_takes_estimates_of_the_plan_shown_before() {
        let host = sources::find("host").expect("a source");
        let ready = |requests| {
            let offer = OfferReadiness {
                requests,
                ..OfferReadiness::ready(&host.offers()[0], CaptureTarget::default())
            };
            let name = "host".parse().expect("a source");
            Readiness::of_offers(name, ReadinessState::Ready, vec![offer], Vec::new())
        };
        let filled = |age: u64, wanted: Option<TimeWindow>| {
            let cache = ReadinessCache {
                at: Instant::now() - Duration::from_secs(age),
                incident: None,
                window: window(0, 86_400),
                results: Arc::new(vec![(host, ready(Some(7)))]),
            };
            let mut fresh = ready(None);
            cache.fill_estimates(&mut fresh, wanted.expect("a window"));
            fresh.offers[0].requests
        };
        assert_eq!(filled(300, window(0, 86_700)), Some(7), "it was being read");
        assert_eq!(filled(300, window(0, 172_800)), None);
        assert_eq!(filled(901, window(0, 86_400)), None);
    }

    #[test]
    fn readiness_is_reused_only_for_the_same_incident_and_window() {
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
