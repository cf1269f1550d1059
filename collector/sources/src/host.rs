//! The collector's own machine, captured by the agent's probes.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use agent::capture::{self, CaptureOptions, CaptureProgress, Probe};
use agent::doctor::Privileges;
use async_trait::async_trait;
use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::id::ItemName;
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
static AGENT_OFFERS: LazyLock<Vec<Offer>> =
    LazyLock::new(|| capture::probes().map(offer).collect());

static OFFERS: LazyLock<Vec<Offer>> = LazyLock::new(|| {
    // Only `exhibit-agent` has a file in which applications' logs are named.
    let offers = capture::probes().zip(&*AGENT_OFFERS);
    let known = offers.filter(|(probe, _)| !probe.needs_configuration());
    known.map(|(_, offer)| *offer).collect()
});

/// What agents capture on their hosts: the offers of the source `host`, and logs of applications.
#[must_use]
pub fn agent_offers() -> &'static [Offer] {
    &AGENT_OFFERS
}

/// True if an agent captures this item: logs of applications only if its `agent.toml` names some,
/// and of single pods only what belongs to pods.
#[must_use]
pub fn agent_captures(item: &ItemName, has_logs: bool, only_pods: bool) -> bool {
    let probe = capture::probes().find(|probe| probe.item() == *item);
    probe.is_some_and(|probe| {
        (has_logs || !probe.needs_configuration()) && (!only_pods || probe.knows_pods())
    })
}

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
        // without them most probes still work, so the source is ready, but says what will be missing
        let lacking = Privileges::of_this_process().lacking.into_iter();
        let problems = lacking
            .map(|capability| {
                format!(
                    "without {}: no {}",
                    capability.name(),
                    capability.evidence()
                )
            })
            .collect();
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
        let mut total = ProbeTotal::default();
        let mut progress = |now: CaptureProgress<'_>| {
            let step = now.step as u64;
            let bytes = total.add(step, now.bytes);
            cx.progress.set(step, bytes);
            // The probe that runs has not ended.
            let ended = step.saturating_sub(1);
            cx.progress.steps_ended.store(ended, Ordering::Relaxed);
        };
        capture::capture(draft, &plan, &options, cx.stop, &mut progress)
    }
}

/// Adds up the bytes of all probes: the agent reports those of the probe that runs.
#[derive(Default)]
struct ProbeTotal {
    step: u64,
    /// Of the probes before.
    before: u64,
    current: u64,
}

impl ProbeTotal {
    fn add(&mut self, step: u64, bytes: u64) -> u64 {
        if step != self.step {
            self.step = step;
            self.before += self.current;
        }
        self.current = bytes;
        self.before + self.current
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use domain::plan::StepLimits;
    use evidence_format::config::ItemEntry;
    use evidence_format::coverage::{EndReason, GapReason};
    use evidence_format::item::CompressionPool;

    use super::*;
    use crate::SourcesConfig;

    #[test]
    fn bytes_of_all_probes_are_added_up() {
        let mut total = ProbeTotal::default();
        let reports = [(1, 10), (1, 30), (2, 0), (2, 5), (3, 1)];
        let totals = reports.map(|(step, bytes)| total.add(step, bytes));
        assert_eq!(totals, [10, 30, 30, 35, 36]);
    }

    fn step(probe: &str, limits: StepLimits) -> CaptureStep {
        let item = format!("host-{probe}");
        let offer = OFFERS.iter().find(|offer| offer.item == item);
        let offer = offer.expect("a probe of this name");
        CaptureStep {
            item: item.parse().expect("a name"),
            offer: item,
            api: offer.api.to_owned(),
            target: CaptureTarget::default(),
            what: offer.what.to_owned(),
            pivot: None,
            asked: None,
            effective: None,
            clipped: None,
            lifetime: offer.lifetime,
            citation: String::new(),
            expires_at: None,
            requests_expected: None,
            bytes_expected: None,
            seconds_expected: None,
            limits,
            cursor: None,
            left_out: None,
            problem: None,
        }
    }

    /// Captures one step from this machine.
    fn capture(step: &CaptureStep, deadline: Duration) -> ItemEntry {
        let folder = tempfile::tempdir().expect("a folder");
        let pack = CompressionPool::new(NonZeroUsize::MIN, 64 * 1024);
        let draft = DraftBundle::create(&folder.path().join("draft"), &[7; 32], pack);
        let mut draft = draft.expect("a draft");
        let (config, progress) = (SourcesConfig::default(), Default::default());
        let context = LocalContext {
            config: &config,
            deadline,
            stop: &AtomicBool::new(false),
            progress: &progress,
        };
        let captured = SOURCE.capture(&mut draft, std::slice::from_ref(step), &context);
        captured.expect("a writable draft");
        draft.items()[0].clone()
    }

    #[test]
    fn limits_of_the_plan_bind_the_capture_of_the_host() {
        let limits = StepLimits {
            object_bytes_max: 1 << 20,
            item_bytes_max: 1 << 20,
        };
        let minute = Duration::from_secs(60);

        let small_objects = StepLimits {
            object_bytes_max: 10,
            ..limits
        };
        let users = capture(&step("users", small_objects), minute);
        let gap = users.coverage.gaps.iter();
        let mut gap = gap.filter(|gap| gap.reason == GapReason::TooLarge);
        let gap = gap.next().expect("passwd has more than ten bytes");
        assert_eq!(gap.bytes_kept, 10 * gap.count, "{gap:?}");

        let small_item = StepLimits {
            item_bytes_max: 100,
            ..limits
        };
        let mounts = capture(&step("mounts", small_item), minute);
        assert_eq!(mounts.coverage.ended, EndReason::Limit);

        let users = capture(&step("users", limits), Duration::ZERO);
        assert_eq!(users.coverage.ended, EndReason::Deadline);
    }
}
