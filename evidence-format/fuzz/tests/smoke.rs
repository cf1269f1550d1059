//! Runs each fuzz target on a fixed sequence of mutations of valid inputs.

mod mutate;

use std::sync::{Mutex, PoisonError};

use fuzz::{FuzzTarget, TARGETS};
use mutate::Mutator;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Only one target runs at a time where tests share a process, since they share [`MEMORY`].
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Longest input, in bytes.
const INPUT_BYTES_MAX: usize = 64 * 1024;

/// Most memory that one input may take, in bytes. A verifier's buffers for frames of 2 MiB need 14
/// MiB.
const MEMORY_BYTES_MAX: usize = 64 << 20;

fn smoke(name: &str, iterations: u64) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let target = TARGETS
        .iter()
        .find(|target| target.name == name)
        .expect("a target of this name");
    let seeds = (target.seeds)();
    for seed in &seeds {
        assert!(
            (target.run)(seed),
            "a valid input was rejected: {}",
            seed.escape_ascii()
        );
    }
    let mut mutator = Mutator::new(iterations, &seeds, name == "bundle_parts");
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    for _ in 0..iterations {
        let mut input = mutator.next();
        input.truncate(INPUT_BYTES_MAX);
        let ok = run_bounded(target, &input);
        *(if ok { &mut accepted } else { &mut refused }) += 1;
    }
    assert!(
        accepted > 0,
        "no mutation was accepted, so none reaches deep code"
    );
    assert_eq!(
        refused == 0,
        target.takes_all,
        "{refused} of {iterations} were rejected"
    );
}

fn run_bounded(target: &FuzzTarget, input: &[u8]) -> bool {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let ok = (target.run)(input);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    assert!(
        taken < MEMORY_BYTES_MAX,
        "{taken} bytes of memory for {}",
        input.escape_ascii()
    );
    ok
}

macro_rules! smoke_tests {
    ($($name:ident: $iterations:literal,)*) => {
        $(#[test] fn $name() { smoke(stringify!($name), $iterations); })*

        #[test]
        fn every_target_has_its_test() {
            assert_eq!(TARGETS.iter().map(|target| target.name).collect::<Vec<_>>(), [$(stringify!($name)),*]);
        }
    };
}

smoke_tests! {
    attestation: 20_000,
    bundle: 2_000,
    bundle_parts: 1_500,
    config: 20_000,
    index: 20_000,
    item: 1_000,
    keys: 20_000,
    layer: 5_000,
    manifest: 20_000,
    oci_layout: 20_000,
    segment_list: 20_000,
    segment_numbers: 5_000,
    segmenter: 2_000,
    statement: 20_000,
    tar: 10_000,
    texts: 20_000,
    warc: 10_000,
    warc_header: 20_000,
}
