//! Carries out an order: captures, seals, and puts the bundle into the spool.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use evidence_format::bundle::{BundleError, BundleMetadata, DraftBundle};
use evidence_format::id::ItemName;
use evidence_format::item::CompressionPool;
use evidence_format::plan::{SealedPlan, SealedStep};
use evidence_format::statement::{CapturePredicate, SignerRole};
use platform::clock;
use protocol::poll::CaptureOrder;

use super::spool::{Spool, SpoolEntry, SpoolError, UNFINISHED};
use super::state::AgentState;
use crate::capture::{self, CaptureOptions};
use crate::identity;
use crate::stream::{StreamError, StreamFile};

/// Bytes of one frame before compression: as `exhibit-agent capture` has them.
const FRAME_BYTES: usize = 256 * 1024;

/// An order was not carried out. It is given again.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// A collector that an attacker has, or a bug.
    #[error("the order's plan has an item twice, or more items than a bundle may have")]
    InvalidPlan,
    #[error("the spool is full: {bytes} of {bytes_max} bytes are not delivered")]
    SpoolFull { bytes: u64, bytes_max: u64 },
    #[error("cannot write the bundle")]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("cannot get randomness from the operating system")]
    Random(#[source] std::io::Error),
}

/// Captures what `order` asks for, within the limits of `options`, and leaves the sealed bundle in
/// the spool. Durable when this returns. After `stop`, what was read is sealed. Reads the machine:
/// only for a thread that may block.
pub(super) fn carry_out(
    order: &CaptureOrder,
    options: &CaptureOptions,
    state: &AgentState,
    spool: &Spool,
    stop: &AtomicBool,
) -> Result<SpoolEntry, OrderError> {
    check_plan(&order.plan)?;
    let room = spool.state()?;
    if room.bytes >= room.bytes_max {
        return Err(OrderError::SpoolFull {
            bytes: room.bytes,
            bytes_max: room.bytes_max,
        });
    }
    let key = &state.bundle_key;
    let stream = StreamFile::open(&key.stream_path(), key.public().id())?;
    let begin = clock::reading("begin");
    let random = platform::random_hex::<8>().map_err(OrderError::Random)?;
    let folder = spool.folder().join(format!("{random}.{UNFINISHED}"));
    let seed = platform::random().map_err(OrderError::Random)?;
    let pool = CompressionPool::new(NonZeroUsize::MIN, FRAME_BYTES);
    let mut draft = DraftBundle::create(&folder, &seed, pool)?;
    let own = CaptureOptions {
        deadline: deadline(order, options.deadline),
        window_start: order.window.map(|window| window.from),
        selection: order.selection.clone(),
        ..options.clone()
    };
    let plan = within(&order.plan, &own, room.bytes_max - room.bytes);
    capture::capture(&mut draft, &plan, &own, stop, &mut |_| {})?;

    let end = clock::reading("end");
    // Sealing is not stopped.
    let lock = stream.acquire_seal_lock(&AtomicBool::new(false))?;
    let predicate = CapturePredicate {
        incident: order.id.incident.clone(),
        role: SignerRole::Collector,
        signed_at: end.utc,
        stream: lock.position(),
    };
    let facts = BundleMetadata {
        incident: order.id.incident.clone(),
        supplements: None,
        window: order.window,
        // As it was ordered. What this agent's own limits cut off is in the gaps.
        plan: order.plan.clone(),
        collector: identity::collector(),
        clock: vec![begin, end],
    };
    let sealed = draft.seal(facts, predicate, key.signer())?;
    let sealed = sealed.with_public_key(key.public())?;
    let entry = SpoolEntry {
        order: order.id.clone(),
        bundle: sealed.id(),
    };
    let tar: PathBuf = spool.tar(&entry);
    spool.announce(&entry)?;
    let prepared = lock.prepare(entry.bundle, &tar)?;
    sealed.publish_tar(&tar)?;
    // Published. If its number cannot be committed now, the next capture recovers it.
    let _ = prepared.commit();
    Ok(entry)
}

/// An order may name an item once, as the format demands.
fn check_plan(plan: &SealedPlan) -> Result<(), OrderError> {
    let mut items: BTreeSet<&ItemName> = BTreeSet::new();
    let is_valid = plan.steps.len() <= evidence_format::limits::ITEMS_MAX
        && plan.steps.iter().all(|step| items.insert(&step.item));
    if is_valid {
        Ok(())
    } else {
        Err(OrderError::InvalidPlan)
    }
}

/// The shortest of the agent's own deadline, the plan's, and the time that is left.
fn deadline(order: &CaptureOrder, own: Duration) -> Duration {
    let planned = order.plan.deadline_seconds.unwrap_or(u64::MAX);
    own.min(Duration::from_secs(planned.min(order.seconds_left)))
}

/// The plan with the limits of the agent where they are smaller. No item is larger than the room
/// in the spool.
fn within(plan: &SealedPlan, own: &CaptureOptions, room: u64) -> SealedPlan {
    let step = |step: &SealedStep| SealedStep {
        object_bytes_max: Some(smaller(step.object_bytes_max, own.object_bytes_max)),
        item_bytes_max: Some(smaller(step.item_bytes_max, own.item_bytes_max.min(room))),
        ..step.clone()
    };
    SealedPlan {
        deadline_seconds: plan.deadline_seconds,
        steps: plan.steps.iter().map(step).collect(),
    }
}

fn smaller(ordered: Option<u64>, own: u64) -> u64 {
    ordered.unwrap_or(u64::MAX).min(own)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use evidence_format::container::tar::TarReader;
    use evidence_format::coverage::{EndReason, TimeWindow};
    use evidence_format::item::WorkerPool;
    use evidence_format::time::Timestamp;
    use evidence_format::verify::{TrustPolicy, verify};
    use protocol::selection::PodSelection;

    use super::*;

    fn order(seconds_left: u64) -> CaptureOrder {
        let mut plan = capture::plan(&CaptureOptions::default()).expect("all probes");
        plan.deadline_seconds = Some(900);
        CaptureOrder {
            id: "INC-1/0/1".parse().expect("an order"),
            plan,
            window: None,
            selection: PodSelection::default(),
            seconds_left,
        }
    }

    #[test]
    fn limits_of_an_order_are_never_above_those_of_the_agent() {
        let own = CaptureOptions {
            object_bytes_max: 10,
            item_bytes_max: 100,
            ..CaptureOptions::default()
        };
        let mut greedy = order(900);
        greedy.plan.steps[0].object_bytes_max = None;
        greedy.plan.steps[1].item_bytes_max = Some(7);
        let plan = within(&greedy.plan, &own, 50);
        assert_eq!(plan.steps[0].object_bytes_max, Some(10));
        assert_eq!(plan.steps[0].item_bytes_max, Some(50));
        assert_eq!(plan.steps[1].item_bytes_max, Some(7));
        assert_eq!(deadline(&order(900), own.deadline), Duration::from_secs(60));
        assert_eq!(deadline(&order(3), own.deadline), Duration::from_secs(3));
    }

    #[test]
    fn plan_with_one_item_twice_is_refused() {
        let mut twice = order(900).plan;
        assert!(check_plan(&twice).is_ok());
        twice.steps.push(twice.steps[0].clone());
        assert!(matches!(check_plan(&twice), Err(OrderError::InvalidPlan)));
    }

    #[test]
    fn stopped_order_leaves_a_bundle_that_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = AgentState::open_or_create(&folder.path().join("state")).expect("own folder");
        let spool = Spool::open(state.spool_folder(), 1 << 30).expect("own folder");
        let options = CaptureOptions::default();
        let stop = AtomicBool::new(true);
        let ordered = CaptureOrder {
            window: Some(TimeWindow {
                from: Timestamp::parse_lenient("2026-11-28T06:00:00Z").expect("a time"),
                until: Timestamp::parse_lenient("2026-11-28T07:00:00Z").expect("a time"),
            }),
            ..order(900)
        };
        let entry = carry_out(&ordered, &options, &state, &spool, &stop).expect("own folder");
        let tar = fs::read(spool.tar(&entry)).expect("it is there");
        let trust = TrustPolicy {
            keys: vec![state.bundle_key.public().clone()],
            bundle: None,
        };
        let mut workers = WorkerPool::for_reading(NonZeroUsize::MIN);
        let report = verify(&mut TarReader::new(&tar[..]), &trust, &mut workers);
        let config = report.config.expect("it is sound");
        assert_eq!(config.window, ordered.window);
        assert_eq!(config.items.len(), ordered.plan.steps.len());
        for item in &config.items {
            assert_eq!(item.coverage.ended, EndReason::Cancelled, "{}", item.name);
        }
    }

    #[test]
    fn order_leaves_a_sealed_bundle_with_the_plan_as_ordered() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = AgentState::open_or_create(&folder.path().join("state")).expect("own folder");
        let spool = Spool::open(state.spool_folder(), 1 << 30).expect("own folder");
        let mut small = order(900);
        small
            .plan
            .steps
            .retain(|step| step.item.as_str() == "host-mounts");
        let options = CaptureOptions::default();
        let go_on = AtomicBool::new(false);
        let entry = carry_out(&small, &options, &state, &spool, &go_on).expect("own folder");
        assert_eq!(spool.entries().expect("readable"), [entry]);
        let full = Spool::open(state.spool_folder(), 1).expect("own folder");
        assert!(matches!(
            carry_out(&small, &options, &state, &full, &go_on),
            Err(OrderError::SpoolFull { .. })
        ));
    }
}
