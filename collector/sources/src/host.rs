//! The collector's own machine, through the agent's probes.

use std::sync::LazyLock;

use agent::capture::{self, CaptureOptions, CaptureProgress, Probe};
use async_trait::async_trait;
use evidence_format::bundle::{BundleError, DraftBundle};

use super::{CaptureMode, LocalContext, LocalSource, ReadinessProbe, Source, not_configured};
use domain::plan::{
    CaptureStep, CaptureTarget, EvidenceLifetime, Offer, Readiness, ReadinessState, TargetEstimate,
};

/// The source.
pub static SOURCE: Host = Host;

/// See the module.
#[derive(Debug)]
pub struct Host;

/// Name of the source, and of each item before the probe's.
const NAME: &str = "host";

/// One offer for each probe, in the agent's order.
static OFFERS: LazyLock<Vec<Offer>> = LazyLock::new(|| capture::probes().map(offer).collect());

fn offer(probe: &'static Probe) -> Offer {
    Offer {
        source: NAME,
        item: String::leak(probe.item().to_string()), // once in a process
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
impl Source for Host {
    fn name(&self) -> &'static str {
        NAME
    }

    fn what(&self) -> &'static str {
        "volatile state of the collector's own machine"
    }

    fn offers(&self) -> &'static [Offer] {
        &OFFERS
    }

    async fn look(&self, cx: &ReadinessProbe) -> Readiness {
        if !cx.config.host.enabled {
            return not_configured(self, "switched off in the configuration");
        }
        let root = rustix::process::geteuid().is_root();
        let problems = if root {
            vec![]
        } else {
            vec!["not root: what other users' processes have open is hidden".to_owned()]
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

impl LocalSource for Host {
    fn capture(
        &self,
        draft: &mut DraftBundle,
        steps: &[CaptureStep],
        told: &LocalContext<'_>,
    ) -> Result<(), BundleError> {
        let is_asked = |probe: &Probe| steps.iter().any(|step| step.item == probe.item());
        let options = CaptureOptions {
            only: capture::probes()
                .filter(|probe| is_asked(probe))
                .map(|probe| probe.name.to_owned())
                .collect(),
            deadline: told.deadline,
            environment_values: told.config.host.environment_values,
            ..CaptureOptions::default()
        };
        let plan = capture::plan(&options).expect("they are names of probes");
        let mut progress = |now: CaptureProgress<'_>| told.meter.set(now.step as u64, now.bytes);
        capture::capture(draft, &plan, &options, told.stop, &mut progress)
    }
}
