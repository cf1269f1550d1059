//! The worker loop: leases passes that are due, walks them through their stages, and releases them.
//!
//! Each queue has slots of its own. A pass that asks a server mostly waits; a pass that reads this
//! machine keeps a processor busy. When many incidents are declared at once, the latter must not
//! keep the API from answering, nor captures of cloud accounts from starting.

use std::collections::HashMap;
use std::num::NonZero;
use std::panic::AssertUnwindSafe;
use std::thread;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Pipeline, PipelineError, later};
use platform::backoff::Backoff;
use platform::clock;
use store::ledger::{LeaseRequest, LedgerError, PassKey, PassQueue, PassRow};

/// Passes that ask servers at the same time.
const REMOTE_MAX: usize = 16;
/// Passes of agents that are finished at the same time. Each decompresses a bundle.
const AGENT_MAX: usize = 2;
/// Processors for each pass that reads this machine: half of them stay free for the API.
const PROCESSORS_EACH: usize = 2;

/// How often the ledger is polled for passes that have become due, or that other processes have
/// added. Passes that this process adds are leased at once.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How often the ledger is polled for the end of all work: soon after a pass has ended, then less
/// and less, since only other processes can change the answer.
const IDLE_POLL: Backoff = Backoff::new(Duration::from_millis(20), Duration::from_millis(500));
/// How often a lease is renewed before it would end: a slow answer or two must not lose it.
const RENEWALS: u32 = 4;
/// Waits before a pass that failed is tried again.
const FAILURE_BACKOFF: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300));

/// When [`Pipeline::work`] returns.
#[derive(Clone, Debug)]
pub enum WorkUntil {
    /// No pass is due, and no process has leased one. Passes that are due later may be left.
    Idle,
    /// The token is cancelled. Running passes then have half a lease to end; those that have not
    /// are dropped, and free for other workers.
    Cancelled(CancellationToken),
}

/// The passes that one call of [`Pipeline::work`] works on.
struct WorkerLoop<'p> {
    pipeline: &'p Pipeline,
    tasks: JoinSet<()>,
    /// The lease of each task: queue, pass and fencing token.
    leased: HashMap<Id, (PassQueue, PassKey, u64)>,
    /// Attempts to lease that have failed since the database last answered.
    lease_failures: u32,
}

impl Pipeline {
    /// Works on all passes that are due. Failures go into the journal and are retried later; while
    /// the database does not answer, this waits for it. With [`WorkUntil::Idle`], it also ends if
    /// the disk stays full: see [`Pipeline::is_out_of_room`].
    pub async fn work(&self, until: WorkUntil) {
        let mut workers = WorkerLoop {
            pipeline: self,
            tasks: JoinSet::new(),
            leased: HashMap::new(),
            lease_failures: 0,
        };
        match until {
            WorkUntil::Idle => workers.run_until_idle().await,
            WorkUntil::Cancelled(token) => workers.run_until_cancelled(&token).await,
        }
    }

    /// Works on one pass until it is done, its lease is lost, or it fails.
    async fn work_on(self, row: PassRow) {
        let (key, token) = (row.key.clone(), row.fencing_token);
        let failures = row.failures;
        // A bug in the walk of one pass fails that pass, and no other. Unwind safety: what the walk
        // owns is dropped, and what it shares is behind locks that ignore poisoning.
        let walked = AssertUnwindSafe(self.walk(row)).catch_unwind();
        let result = tokio::select! {
            // Dropping the walk ends its requests: a worker without a lease must not continue.
            walked = walked => walked.unwrap_or(Err(PipelineError::Crashed)),
            () = self.renew_until_lost(&key, token) => Err(PipelineError::LeaseLost),
        };
        let released = match result {
            Ok(()) => {
                self.room.succeeded();
                self.parts.ledger.release_lease(&key, token).await
            }
            // another worker has the pass: this one has nothing to release or to report
            Err(error) if error.is_lease_lost() => {
                let (incident, source, pass) = (&key.incident, &key.source, key.pass);
                warn!(%incident, %source, pass, "lease lost: this process was silent for longer than its lease");
                return;
            }
            Err(error) => {
                self.room.failed(&error);
                let error_text = platform::chain(&error);
                let (incident, source, pass) = (&key.incident, &key.source, key.pass);
                warn!(%incident, %source, pass, error = error_text, "pass failed");
                self.journal_failure(&key, &error).await;
                let retry_at = later(clock::now(), failure_delay(failures));
                self.parts.ledger.postpone(&key, token, retry_at).await
            }
        };
        if let Err(error) = released {
            warn!(
                error = platform::chain(&error),
                "cannot release a lease; it ends by itself"
            );
        }
    }

    /// Renews a lease while it is held. Returns when it is lost.
    pub(super) async fn renew_until_lost(&self, key: &PassKey, token: u64) {
        loop {
            sleep(self.lease / RENEWALS).await;
            match self.parts.ledger.renew_lease(key, token, self.lease).await {
                Ok(true) => {}
                Ok(false) => return,
                // the lease may still be ours; if not, the fencing token has our writes rejected
                Err(error) => warn!(error = platform::chain(&error), "cannot renew a lease"),
            }
        }
    }

    /// A counter that changes when this process adds passes, or makes them due.
    #[must_use]
    pub fn subscribe_to_passes(&self) -> watch::Receiver<u64> {
        self.wake.subscribe()
    }

    /// Has the workers of this process look for passes that are due.
    pub(super) fn wake_workers(&self) {
        self.wake.send_modify(|count| *count += 1);
    }
}

impl WorkerLoop<'_> {
    async fn run_until_idle(&mut self) {
        let mut woken = self.pipeline.wake.subscribe();
        let mut idle_polls = 0;
        self.free_leases_of_the_dead().await;
        let mut freed = Instant::now();
        loop {
            woken.borrow_and_update(); // first: what is added from here on wakes us again
            self.lease_all().await;
            // The ledger is asked too: other processes may hold passes that this one must wait for.
            if self.tasks.is_empty() && (self.pipeline.is_out_of_room() || self.is_idle().await) {
                return;
            }
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => {
                    self.remove_ended(ended);
                    idle_polls = 0;
                }
                _ = woken.changed() => {}
                () = sleep(IDLE_POLL.delay(idle_polls)) => idle_polls += 1,
            }
            if freed.elapsed() > self.pipeline.lease {
                self.free_leases_of_the_dead().await;
                freed = Instant::now();
            }
        }
    }

    async fn run_until_cancelled(&mut self, token: &CancellationToken) {
        let mut woken = self.pipeline.wake.subscribe();
        let mut freed = None::<Instant>;
        while !token.is_cancelled() {
            if freed.is_none_or(|freed| freed.elapsed() > self.pipeline.lease) {
                self.free_leases_of_the_dead().await;
                freed = Some(Instant::now());
            }
            woken.borrow_and_update();
            self.lease_all().await;
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => self.remove_ended(ended),
                _ = woken.changed() => {}
                () = sleep(POLL_INTERVAL) => {}
                () = token.cancelled() => {}
            }
        }
        self.drain().await;
    }

    /// Leases passes of each queue that has free slots.
    async fn lease_all(&mut self) {
        for queue in PassQueue::ALL {
            while self.running(queue) < slots(queue) {
                match self.lease(queue).await {
                    Ok(Some(row)) => self.spawn(queue, row),
                    Ok(None) => break,
                    Err(error) => {
                        self.pipeline.room.failed(&error);
                        // The same words each second would bury all others.
                        if self.lease_failures.count_ones() <= 1 {
                            warn!(error = platform::chain(&error), "cannot lease passes");
                        }
                        self.lease_failures = self.lease_failures.saturating_add(1);
                        // A database that is down must not be asked in a tight loop.
                        sleep(POLL_INTERVAL).await;
                        return;
                    }
                }
            }
        }
        // All queues, and also without a pass that was due: the database answers again.
        self.lease_failures = 0;
    }

    async fn lease(&self, queue: PassQueue) -> Result<Option<PassRow>, LedgerError> {
        let pipeline = self.pipeline;
        let request = LeaseRequest {
            worker: &pipeline.worker,
            queue,
            now: clock::now(),
            lease: pipeline.lease,
            // a stop asks for what has been captured so far, and for nothing new
            only_begun: pipeline.stop.is_cancelled(),
        };
        pipeline.parts.ledger.lease_next(&request).await
    }

    fn spawn(&mut self, queue: PassQueue, row: PassRow) {
        let (key, token) = (row.key.clone(), row.fencing_token);
        let task = self.tasks.spawn(self.pipeline.clone().work_on(row));
        self.leased.insert(task.id(), (queue, key, token));
    }

    fn remove_ended(&mut self, ended: Result<(Id, ()), tokio::task::JoinError>) {
        // A task that panicked has ended as well; `work_on` has reported it.
        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
        self.leased.remove(&id);
    }

    fn running(&self, queue: PassQueue) -> usize {
        let of_queue = self.leased.values().filter(|(other, ..)| *other == queue);
        of_queue.count()
    }

    async fn is_idle(&self) -> bool {
        let only_begun = self.pipeline.stop.is_cancelled();
        match self
            .pipeline
            .parts
            .ledger
            .is_busy(clock::now(), only_begun)
            .await
        {
            Ok(busy) => !busy,
            Err(error) => {
                warn!(
                    error = platform::chain(&error),
                    "cannot find out whether passes are left"
                );
                false
            }
        }
    }

    /// Frees the passes of processes of this machine that have ended, before their leases end.
    async fn free_leases_of_the_dead(&self) {
        let ledger = &self.pipeline.parts.ledger;
        if let Err(error) = ledger.release_dead_leases(&self.pipeline.worker).await {
            warn!(
                error = platform::chain(&error),
                "cannot free the leases of processes that have ended"
            );
        }
    }

    /// Gives running passes half a lease to end, and releases those that have not.
    async fn drain(&mut self) {
        // Half, so that what is left of the lease suffices to release it.
        let ended = timeout(self.pipeline.lease / 2, async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                self.remove_ended(ended);
            }
        });
        if ended.await.is_ok() {
            return;
        }
        warn!("captures did not end in time: another worker will resume them");
        self.tasks.shutdown().await; // before their leases go: nothing may run without one
        for (_, key, token) in self.leased.values() {
            if let Err(error) = self.pipeline.parts.ledger.release_lease(key, *token).await {
                warn!(
                    error = platform::chain(&error),
                    "cannot release a lease; it ends by itself"
                );
            }
        }
    }
}

/// How many passes of `queue` this process works on at once.
pub(super) fn slots(queue: PassQueue) -> usize {
    match queue {
        PassQueue::Remote => REMOTE_MAX,
        PassQueue::Local => {
            let processors = thread::available_parallelism().map_or(1, NonZero::get);
            // At least one, or a small machine would never capture itself.
            (processors / PROCESSORS_EACH).max(1)
        }
        PassQueue::Attached => 1, // only ends abandoned attachments, which is quick
        // The agents have captured: what is left is to derive timelines and to seal absences.
        PassQueue::Agent => AGENT_MAX,
    }
}

fn failure_delay(failures: u64) -> Duration {
    FAILURE_BACKOFF.delay(u32::try_from(failures).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let seconds = [0, 1, 2, 8, 9, u64::MAX].map(|failures| failure_delay(failures).as_secs());
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300]);
    }
}
