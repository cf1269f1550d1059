//! The processes probe on a host with 500 more processes: the bar is 200 ms.

use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::AtomicBool;

use agent::capture::{CaptureOptions, capture, plan};
use criterion::{Criterion, criterion_group, criterion_main};
use evidence_format::bundle::DraftBundle;
use evidence_format::item::CompressionPool;

const PROCESSES: usize = 500;

/// Ends its processes when dropped.
struct SleepingProcesses(Vec<Child>);

impl SleepingProcesses {
    fn start() -> Self {
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        let processes = (0..PROCESSES).map(|_| sleep.spawn().expect("sleep is there"));
        Self(processes.collect())
    }
}

impl Drop for SleepingProcesses {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

fn capture_once(pack_bytes: usize, folder: &Path, options: &CaptureOptions) -> u64 {
    let pack = CompressionPool::new(std::num::NonZeroUsize::MIN, pack_bytes);
    let mut draft = DraftBundle::create(&folder.join("draft"), &[7; 32], pack).expect("a draft");
    let plan = plan(options).expect("known probes");
    capture(
        &mut draft,
        &plan,
        options,
        &AtomicBool::new(false),
        &mut |_| {},
    )
    .expect("a capture");
    draft.items().iter().map(|item| item.records).sum()
}

fn processes(c: &mut Criterion) {
    let _processes = SleepingProcesses::start();
    let folder = tempfile::tempdir().expect("a folder");
    for probe in ["processes", "sockets"] {
        let options = CaptureOptions {
            only: vec![probe.to_owned()],
            ..CaptureOptions::default()
        };
        c.bench_function(&format!("{probe}/{PROCESSES}"), |b| {
            b.iter(|| capture_once(256 * 1024, folder.path(), &options))
        });
    }
}

criterion_group! { name = benches; config = Criterion::default().sample_size(20); targets = processes }
criterion_main!(benches);
