//! The collector's own machine, through the agent's probes.

use std::collections::BTreeMap;

use agent::capture::{self, Options, Progress};
use async_trait::async_trait;
use evidence_format::bundle::{BundleError, Draft};

use super::{Local, Look, Source, Taker, Told};
use crate::plan::{Lifetime, Offer, Readiness, State, Step, Target};

/// The source.
pub static SOURCE: Host = Host;

/// See the module.
#[derive(Debug)]
pub struct Host;

/// Processes and sockets change within seconds, which is also what RFC 3227 §2.1 puts first of what a program can reach.
static OFFER: Offer = Offer {
    source: "host",
    api: "procfs",
    what: "the collector's own machine",
    lifetime: Lifetime::Seconds(1),
    arrives_late_seconds: None,
    settles: &[],
    quota: None,
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
            return Readiness::not_configured(OFFER.source, "switched off in the configuration");
        }
        let root = rustix::process::geteuid().is_root();
        let problems = if root { vec![] } else { vec!["not root: what other users' processes have open is hidden".to_owned()] };
        let target = |probe: (&str, &str)| Target { name: probe.0.to_owned(), ..Target::default() };
        let targets = capture::probes().map(target).collect();
        Readiness { source: OFFER.source.to_owned(), targets, problems, state: State::Ready, estimates: BTreeMap::new() }
    }

    fn taker(&self) -> Taker<'_> {
        Taker::Local(self)
    }
}

impl Local for Host {
    fn capture(&self, draft: &mut Draft, steps: &[Step], told: &Told<'_>) -> Result<(), BundleError> {
        let options = Options {
            only: steps.iter().map(|step| step.target.name.clone()).collect(),
            deadline: told.deadline,
            environment_values: told.config.host.environment_values,
            ..Options::default()
        };
        let plan = capture::plan(&options).expect("the steps were made of the probes' names");
        let mut progress = |now: Progress<'_>| told.meter.set(now.step as u64, now.bytes);
        capture::capture(draft, &plan, &options, told.stop, &mut progress)
    }
}
