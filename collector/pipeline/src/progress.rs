//! The progress of running passes, for the API and the command line.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::plan::{CapturePass, CaptureStep, LeftOutReason};
use evidence_format::time::Timestamp;
use platform::progress::ProgressCounter;
use store::ledger::PassKey;

/// The progress counters of the running passes of this process.
#[derive(Clone, Debug, Default)]
pub struct ProgressBoard(Arc<Mutex<BTreeMap<PassKey, RunningPass>>>);

#[derive(Debug)]
struct RunningPass {
    counter: Arc<ProgressCounter>,
    outlook: PassOutlook,
}

/// What the plan expects of a pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassOutlook {
    pub began_at: Timestamp,
    /// When the pass seals what it has.
    pub deadline_at: Timestamp,
    /// Steps that are not left out.
    pub steps: u64,
    /// Pages of all steps; `None` if one of them has no estimate.
    pub pages_expected: Option<u64>,
    /// Targets that deny access, such as regions.
    pub denied: Vec<String>,
    /// The targets of the steps that are not left out.
    targets: BTreeMap<String, TargetOutlook>,
}

/// What the plan expects of one target, such as a region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct TargetOutlook {
    steps: u64,
    /// Requests of the steps that have an estimate.
    requests: u64,
}

/// How many targets of a pass are done, and which of the others will take the longest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetProgress {
    pub targets: u64,
    pub ended: u64,
    /// Those that are not done, the one with the most requests first.
    pub open: Vec<String>,
}

/// Keeps a running pass on the board until it is dropped.
#[derive(Debug)]
pub(super) struct ProgressGuard {
    pub(super) counter: Arc<ProgressCounter>,
    key: PassKey,
    board: ProgressBoard,
}

impl Drop for ProgressGuard {
    fn drop(&mut self) {
        self.board.all().remove(&self.key);
    }
}

/// How much a running pass has captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassProgress {
    pub pass: PassKey,
    /// Pages of a remote source, or probes of the host.
    pub pages: u64,
    /// Bytes before compression.
    pub bytes: u64,
    pub steps_ended: u64,
    /// `None` if the pass has only one target.
    pub targets: Option<TargetProgress>,
    pub outlook: PassOutlook,
}

impl PassOutlook {
    pub(super) fn of(pass: &CapturePass, began_at: Timestamp, deadline_seconds: u64) -> Self {
        let taken = || pass.steps.iter().filter(|step| step.left_out.is_none());
        let denied = pass
            .steps
            .iter()
            .filter(|step| step.left_out == Some(LeftOutReason::Refused))
            .map(target_name);
        let mut targets: BTreeMap<String, TargetOutlook> = BTreeMap::new();
        // A probe of a host is no target.
        for step in taken().filter(|step| has_target(step)) {
            let target = targets.entry(target_name(step)).or_default();
            target.steps += 1;
            target.requests += step.requests_expected.unwrap_or(0);
        }
        let deadline = began_at.unix_nanoseconds() + i128::from(deadline_seconds) * 1_000_000_000;
        Self {
            began_at,
            deadline_at: Timestamp::from_unix_nanoseconds(deadline).unwrap_or(began_at),
            steps: taken().count() as u64,
            pages_expected: taken()
                .map(|step| step.requests_expected)
                .try_fold(0_u64, |sum, pages| Some(sum.saturating_add(pages?))),
            denied: denied.collect(),
            targets,
        }
    }

    /// The targets, by the target of each step that has ended.
    fn target_progress(&self, ended: &[String]) -> Option<TargetProgress> {
        if self.targets.len() < 2 {
            return None;
        }
        let is_open = |name: &str, outlook: &TargetOutlook| {
            let ended = ended.iter().filter(|target| *target == name).count();
            (ended as u64) < outlook.steps
        };
        let mut open: Vec<_> = self
            .targets
            .iter()
            .filter(|(name, outlook)| is_open(name, outlook))
            .collect();
        open.sort_by_key(|(_, outlook)| Reverse(outlook.requests));
        Some(TargetProgress {
            targets: self.targets.len() as u64,
            ended: (self.targets.len() - open.len()) as u64,
            open: open.into_iter().map(|(name, _)| name.clone()).collect(),
        })
    }
}

/// True for steps that ask one of several regions, accounts or repositories.
fn has_target(step: &CaptureStep) -> bool {
    step.target.region.is_some() || step.target.name.is_some()
}

/// What people call the target of a step.
pub(crate) fn target_name(step: &CaptureStep) -> String {
    let target = &step.target;
    let name = target.region.as_ref().or(target.name.as_ref());
    name.unwrap_or(&step.offer).clone()
}

impl ProgressBoard {
    pub(super) fn begin(&self, key: &PassKey, outlook: PassOutlook) -> ProgressGuard {
        let counter = Arc::new(ProgressCounter::default());
        let running = RunningPass {
            counter: Arc::clone(&counter),
            outlook,
        };
        self.all().insert(key.clone(), running);
        ProgressGuard {
            counter,
            key: key.clone(),
            board: self.clone(),
        }
    }

    /// All passes that this process is capturing now.
    #[must_use]
    pub fn running(&self) -> Vec<PassProgress> {
        self.all()
            .iter()
            .map(|(key, RunningPass { counter, outlook })| PassProgress {
                pass: key.clone(),
                pages: counter.pages.load(Ordering::Relaxed),
                bytes: counter.bytes.load(Ordering::Relaxed),
                steps_ended: counter.steps_ended.load(Ordering::Relaxed),
                targets: outlook.target_progress(&counter.ended()),
                outlook: PassOutlook {
                    denied: [outlook.denied.clone(), counter.denied()].concat(),
                    ..outlook.clone()
                },
            })
            .collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<PassKey, RunningPass>> {
        // Numbers for display: a panic elsewhere does not make them wrong.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slowest_open_target_comes_first() {
        let target = |steps, requests| TargetOutlook { steps, requests };
        let outlook = PassOutlook {
            began_at: Timestamp::from_unix_nanoseconds(0).expect("a time"),
            deadline_at: Timestamp::from_unix_nanoseconds(1).expect("a time"),
            steps: 4,
            pages_expected: None,
            denied: Vec::new(),
            targets: BTreeMap::from([
                ("eu-west-1".to_owned(), target(2, 3)),
                ("sa-east-1".to_owned(), target(1, 1)),
                ("us-east-1".to_owned(), target(1, 90)),
            ]),
        };
        let ended = ["eu-west-1", "sa-east-1"].map(str::to_owned);
        assert_eq!(
            outlook.target_progress(&ended),
            Some(TargetProgress {
                targets: 3,
                ended: 1,
                open: vec!["us-east-1".to_owned(), "eu-west-1".to_owned()],
            })
        );
    }
}
