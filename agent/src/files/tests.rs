//! What hangs in a folder that is sealed.

use std::num::NonZeroUsize;
use std::time::Instant;

use evidence_format::coverage::GapReason;
use evidence_format::item::CompressionPool;
use tempfile::TempDir;

use super::*;

/// Hangs as dead mounts do: for good, as far as a test is concerned.
fn hang(path: &Path) {
    if path.as_os_str().as_bytes().ends_with(b"/hung") {
        std::thread::sleep(Duration::from_secs(600));
    }
}

/// Seals a folder with a file in which reading hangs; returns what the coverage of its item states.
fn seal_with_hung_file(
    folder: &TempDir,
    stop: &AtomicBool,
    patience: Duration,
) -> Result<DraftBundle, FilesError> {
    for name in ["a", "hung", "z"] {
        fs::write(folder.path().join(name), name).expect("ours");
    }
    fs::create_dir(folder.path().join("sub")).expect("ours");
    fs::write(folder.path().join("sub/b"), "b").expect("ours");
    let draft = folder.path().join("draft");
    let pool = CompressionPool::new(NonZeroUsize::MIN, 64 * 1024);
    let mut bundle = DraftBundle::create(&draft, &[7; 32], pool).expect("a draft");
    let targets = targets(&[folder.path().to_owned()])?;
    let mut control = SealControl {
        stop,
        skip: &draft,
        progress: &mut |_, _| {},
    };
    let options = ReaderOptions {
        root: PathBuf::from("/"),
        patience,
        entries_max: u64::MAX,
        before_touch: hang,
        mounts: || MountTable::read(Path::new("/proc/self/mountinfo")),
    };
    seal_with(&mut bundle, &targets, &mut control, options).map(|()| bundle)
}

#[test]
fn hung_file_is_a_gap_and_its_neighbours_are_sealed() {
    let folder = TempDir::new().expect("a folder");
    let begin = Instant::now();
    let patience = Duration::from_millis(200);
    let sealed = seal_with_hung_file(&folder, &AtomicBool::new(false), patience);
    let bundle = sealed.expect("a gap is no error");
    assert!(begin.elapsed() < Duration::from_secs(5));
    let item = &bundle.items()[0];
    let gap = &item.coverage.gaps[0];
    assert_eq!((gap.reason, gap.count), (GapReason::Hung, 1));
    assert!(gap.examples[0].ends_with("/hung"), "{gap:?}");
    assert_eq!(item.coverage.gaps.len(), 1);
    assert_eq!(item.records, 3, "a, sub/b and z: {item:?}");
}

#[test]
fn stop_ends_a_seal_while_it_hangs() {
    let folder = TempDir::new().expect("a folder");
    let stop = AtomicBool::new(false);
    let begin = Instant::now();
    let sealed = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(300));
            stop.store(true, Ordering::Relaxed);
        });
        seal_with_hung_file(&folder, &stop, Duration::from_secs(60))
    });
    assert!(matches!(sealed, Err(FilesError::Interrupted)));
    assert!(
        begin.elapsed() >= Duration::from_millis(300),
        "it hung until then"
    );
}
