//! The collector's own machine, captured by the agent's probes.

use std::sync::LazyLock;

use agent::capture::{self, CaptureOptions, CaptureProgress, Probe};
use async_trait::async_trait;
use evidence_format::bundle::{BundleError, DraftBundle};

use super::{CaptureMode, LocalContext, LocalSource, ReadinessProbe, Source, not_configured};
use domain::plan::{
    CaptureStep, CaptureTarget, EvidenceLifetime, Offer, Readiness, ReadinessState, TargetEstimate,
};

pub(crate) static SOURCE: HostSource = HostSource;

/// The source `host`.
#[derive(Debug)]
pub(crate) struct HostSource;

/// The source's name, and that of its items before the probe's name.
const NAME: &str = "host";

/// One offer for each probe, in the agent's order.
static OFFERS: LazyLock<Vec<Offer>> = LazyLock::new(|| capture::probes().map(offer).collect());

fn offer(probe: &'static Probe) -> Offer {
    Offer {
        source: NAME,
        // offers are static in all sources; this one leaks a name for each probe, once per process
        item: String::leak(probe.item().to_string()),
        api: probe.api,
        what: probe.what,
        lifetime: EvidenceLifetime::State(probe.lifetime_seconds),
        citation: "https://www.rfc-editor.org/rfc/rfc3227#section-2.1",
        arrives_late_seconds: None,
        settles: &[],
        quota: None,
        pivots: &[],
        page_bytes: None,
    }
}

#[async_trait]
impl Source for HostSource {
    fn name(&self) -> &'static str {
        NAME
    }

    fn provider(&self) -> &'static str {
        NAME
    }

    fn description(&self) -> &'static str {
        "volatile state of the collector's own machine"
    }

    fn offers(&self) -> &'static [Offer] {
        &OFFERS
    }

    async fn check_readiness(&self, cx: &ReadinessProbe) -> Readiness {
        if !cx.config.host.enabled {
            return not_configured(self.name(), "switched off in the configuration");
        }
        // without root most probes still work, so the source is ready, but says what will be
        // missing
        let problems = if rustix::process::geteuid().is_root() {
            vec![]
        } else {
            vec!["not root: open files and sockets of other users' processes are hidden".to_owned()]
        };
        let targets = vec![TargetEstimate {
            target: CaptureTarget::default(),
            requests: None,
        }];
        Readiness {
            source: NAME.parse().expect("a name"),
            state: ReadinessState::Ready,
            targets,
            problems,
        }
    }

    fn capture_mode(&self) -> CaptureMode<'_> {
        CaptureMode::Local(self)
    }
}

impl LocalSource for HostSource {
    fn capture(
        &self,
        draft: &mut DraftBundle,
        steps: &[CaptureStep],
        cx: &LocalContext<'_>,
    ) -> Result<(), BundleError> {
        let planned = capture::probes()
            .filter(|probe| steps.iter().any(|step| step.item == probe.item()))
            .map(|probe| probe.name.to_owned());
        let options = CaptureOptions {
            only: planned.collect(),
            deadline: cx.deadline,
            environment_values: cx.config.host.environment_values,
            ..CaptureOptions::default()
        };
        // the agent orders its steps itself, as the planner does
        let plan = capture::plan(&options).expect("only names of the agent's own probes");
        let mut progress = |now: CaptureProgress<'_>| cx.progress.set(now.step as u64, now.bytes);
        capture::capture(draft, &plan, &options, cx.stop, &mut progress)
    }
}
