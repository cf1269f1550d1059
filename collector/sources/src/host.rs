//! The collector's own machine, captured by the agent's probes.

use std::sync::LazyLock;

use agent::capture::{self, CaptureOptions, CaptureProgress, Probe};
use async_trait::async_trait;
use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::plan::SealedPlan;

use super::{CaptureMode, LocalContext, LocalSource, ReadinessProbe, Source, not_configured};
use domain::plan::{
    CaptureStep, CaptureTarget, EvidenceLifetime, Offer, OfferReadiness, Readiness, ReadinessState,
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
        let offers = OFFERS
            .iter()
            .map(|offer| OfferReadiness::ready(offer, CaptureTarget::default()));
        let source = NAME.parse().expect("a name");
        Readiness::of_offers(source, ReadinessState::Ready, offers.collect(), problems)
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
        let options = CaptureOptions {
            deadline: cx.deadline,
            environment_values: cx.config.host.environment_values,
            ..CaptureOptions::default()
        };
        let plan = SealedPlan {
            deadline_seconds: Some(cx.deadline.as_secs()),
            steps: steps.iter().map(CaptureStep::sealed).collect(),
        };
        let mut progress = |now: CaptureProgress<'_>| cx.progress.set(now.step as u64, now.bytes);
        capture::capture(draft, &plan, &options, cx.stop, &mut progress)
    }
}
