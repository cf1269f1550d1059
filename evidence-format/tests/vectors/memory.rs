//! Hostile bundles cost a verifier less than 64 MiB, as SPEC.md promises in chapter 8. Each is verified
//! in a process of its own, whose peak the kernel tells. With `HOSTILE_BUNDLES=DIR` they are kept in
//! that folder, for `tests/interop/run_hostile.py`.

use std::fs::{self, File};
use std::io::BufReader;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use evidence_format::container::tar::TarReader;
use evidence_format::item::WorkerPool;
use evidence_format::verify::{TrustPolicy, verify};

use super::make_vectors;

const PEAK_KIB_MAX: u64 = 64 * 1024;
/// Names the bundle that the child verifies.
const CHILD: &str = "HOSTILE_BUNDLE";

#[test]
fn hostile_bundles_need_less_than_64_mib() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let kept = std::env::var_os("HOSTILE_BUNDLES").map(PathBuf::from);
    let folder = kept.as_deref().unwrap_or(scratch.path());
    make_vectors::write_hostile(folder).expect("the generator runs");
    let mut bundles: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a readable folder")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    bundles.sort();
    assert!(bundles.len() >= 18, "a missing folder must not pass");
    let peaks: Vec<(PathBuf, u64)> = bundles
        .into_iter()
        .map(|bundle| {
            let peak = peak_kib(&bundle);
            (bundle, peak)
        })
        .collect();
    let over: Vec<_> = peaks
        .iter()
        .filter(|(_, peak)| *peak >= PEAK_KIB_MAX)
        .collect();
    assert!(over.is_empty(), "{over:?}");
}

/// Verifies a bundle in another process, and returns its peak memory.
fn peak_kib(bundle: &Path) -> u64 {
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "memory::child", "--nocapture"])
        .env(CHILD, bundle)
        .output()
        .expect("this test starts");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.split_whitespace()
        .skip_while(|word| *word != "VmHWM:")
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .unwrap_or_else(|| panic!("no peak in {said}"))
}

/// The other process; as a test of its own it has nothing to do.
#[test]
#[expect(clippy::print_stdout, reason = "tells the parent its peak")]
fn child() {
    let Some(bundle) = std::env::var_os(CHILD) else {
        return;
    };
    let file = BufReader::new(File::open(bundle).expect("a bundle"));
    let mut workers = WorkerPool::for_reading(NonZeroUsize::new(2).expect("not zero"));
    let report = verify(
        &mut TarReader::new(file),
        &TrustPolicy::default(),
        &mut workers,
    );
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    println!("{:?}\n{status}", report.integrity);
}
