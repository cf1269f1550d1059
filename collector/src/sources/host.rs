//! The collector's own machine, through the agent's probes.

use agent::capture::{self, Options, Progress};
use async_trait::async_trait;
use evidence_format::bundle::{BundleError, Draft};

use super::{Local, Look, Source, Taker, Told, not_configured};
use crate::plan::{Estimate, Lifetime, Offer, Readiness, State, Step, Target};

/// The source.
pub static SOURCE: Host = Host;

/// See the module.
#[derive(Debug)]
pub struct Host;

/// Sockets and processes change within seconds.
static OFFER: Offer = Offer {
    source: "host",
    item: "host",
    api: "procfs",
    what: "volatile state of the collector's own machine",
    lifetime: Lifetime::State(1),
    citation: "https://www.rfc-editor.org/rfc/rfc3227#section-2.1",
    arrives_late_seconds: None,
    settles: &[],
    quota: None,
    pivots: &[],
    page_bytes: None,
};

#[async_trait]
impl Source for Host {
    fn name(&self) -> &'static str {
        OFFER.source
    }

    fn offer(&self) -> &'static Offer {
        &OFFER
    }

    async fn look(&self, cx: &Look) -> Readiness {
        if !cx.config.host.enabled {
            return not_configured(&OFFER, "switched off in the configuration");
        }
        let root = rustix::process::geteuid().is_root();
        let problems = if root { vec![] } else { vec!["not root: what other users' processes have open is hidden".to_owned()] };
        let target = |name: &str| Target { name: Some(name.to_owned()), ..Target::default() };
        let targets = capture::probes().map(|(name, _)| Estimate { target: target(name), requests: None }).collect();
        Readiness { source: OFFER.source.parse().expect("a name"), state: State::Ready, targets, problems }
    }

    fn taker(&self) -> Taker<'_> {
        Taker::Local(self)
    }
}

impl Local for Host {
    fn capture(&self, draft: &mut Draft, steps: &[Step], told: &Told<'_>) -> Result<(), BundleError> {
        let options = Options {
            only: steps.iter().filter_map(|step| step.target.name.clone()).collect(),
            deadline: told.deadline,
            environment_values: told.config.host.environment_values,
            ..Options::default()
        };
        let plan = capture::plan(&options).expect("the steps were made of the probes' names");
        let mut progress = |now: Progress<'_>| told.meter.set(now.step as u64, now.bytes);
        capture::capture(draft, &plan, &options, told.stop, &mut progress)
    }
}
