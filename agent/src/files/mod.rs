//! Seals files as they are: a screenshot, a ticket's export, a folder of logs.
//!
//! Each target becomes one item, and each file in it one `resource` record of its exact bytes.
//! Files are read once, in constant memory, by the reader of the probes: what hangs is a gap, and its
//! neighbours are sealed. Anything but files, folders and links is not opened, since opening a FIFO
//! waits and opening a device may have any effect. What cannot be read becomes a gap, with a record
//! that states the reason.

mod media_type;
mod name;
mod record;
mod walk;

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::config::ItemSource;
use evidence_format::coverage::bounded;
use evidence_format::id::ItemName;
use evidence_format::limits::ITEMS_MAX;
use evidence_format::plan::{SealedPlan, SealedStep};
use evidence_format::warc::file_uri;
use rustix::fs::OFlags;

use crate::identity;
use crate::read::{MountTable, Reader, ReaderOptions, within};
use name::ItemNames;
use record::FileRecorder;
use walk::FileWalk;

/// Longest time without progress in one file. Longer than a capture's, since nothing is being lost
/// meanwhile, and a share that somebody seals from may have to be mounted first.
const PATIENCE: Duration = Duration::from_secs(5);

/// Files could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A target does not exist or cannot be opened.
    #[error("cannot open {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// A target does not answer.
    #[error("cannot open {}: it does not answer, is it on a dead mount?", path.display())]
    Hung { path: PathBuf },
    /// A target is a FIFO, a socket or a device.
    #[error("cannot seal {}: it is neither a file nor a folder", path.display())]
    Special { path: PathBuf },
    /// A target is `-`.
    #[error(
        "cannot seal standard input, since a record states its length first: write it to a file and seal that"
    )]
    StandardInput,
    /// More targets than a bundle has items.
    #[error(
        "too many paths for one bundle: {found}, limit is {ITEMS_MAX}; seal their folder instead"
    )]
    TooMany {
        /// Targets given.
        found: usize,
    },
    /// Stopped by Ctrl-C.
    #[error("stopped")]
    Interrupted,
    /// The bundle could not be written.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// A file or folder to seal, and the item that it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTarget {
    pub item: ItemName,
    /// Absolute, with all links resolved.
    pub path: PathBuf,
}

/// How a caller watches and stops the sealing.
pub struct SealControl<'a> {
    /// Set to stop.
    pub stop: &'a AtomicBool,
    /// A folder to leave out: the draft, which may be inside a folder that is sealed.
    pub skip: &'a Path,
    /// Called with a file and the bytes just read from it: each byte once, in order.
    pub progress: &'a mut dyn FnMut(&Path, &[u8]),
}

impl SealControl<'_> {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Checks `paths`, and gives each the name of its item. Only here are links followed.
///
/// # Errors
/// One of `paths` cannot be sealed. Then nothing should be, so that the caller can correct it
/// first.
pub fn targets(paths: &[PathBuf]) -> Result<Vec<FileTarget>, FilesError> {
    if paths.len() > ITEMS_MAX {
        return Err(FilesError::TooMany { found: paths.len() });
    }
    let mut names = ItemNames::default();
    paths.iter().map(|path| target(path, &mut names)).collect()
}

fn target(path: &Path, names: &mut ItemNames) -> Result<FileTarget, FilesError> {
    if path == Path::new("-") {
        return Err(FilesError::StandardInput);
    }
    let given = path.to_owned();
    let checked = within(PATIENCE, move || check_target(&given)).map_err(open_failed(path))?;
    let real = checked.ok_or_else(|| FilesError::Hung {
        path: path.to_owned(),
    })??;
    Ok(FileTarget {
        item: names.give(&real),
        // Resolved once, so that a link that is changed later cannot lead elsewhere.
        path: real,
    })
}

/// Resolves the links in `path` and tries to open it. Hangs if `path` does.
fn check_target(path: &Path) -> Result<PathBuf, FilesError> {
    let real = fs::canonicalize(path).map_err(open_failed(path))?;
    let kind = fs::symlink_metadata(&real)
        .map_err(open_failed(path))?
        .file_type();
    if kind.is_dir() {
        fs::read_dir(&real).map_err(open_failed(path))?;
    } else if kind.is_file() {
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY;
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits() as i32)
            .open(&real);
        opened.map_err(open_failed(path))?; // fails here rather than as a gap in the bundle
    } else {
        return Err(FilesError::Special {
            path: path.to_owned(),
        });
    }
    Ok(real)
}

fn open_failed(path: &Path) -> impl Fn(io::Error) -> FilesError {
    move |cause| FilesError::Open {
        path: path.to_owned(),
        cause,
    }
}

/// The plan that is sealed with `targets`.
#[must_use]
pub fn plan(targets: &[FileTarget]) -> SealedPlan {
    let steps = targets.iter().map(|target| SealedStep {
        item: target.item.clone(),
        what: bounded(&file_uri(target.path.as_os_str().as_bytes())),
        object_bytes_max: None,
        item_bytes_max: None,
    });
    SealedPlan {
        deadline_seconds: None,
        steps: steps.collect(),
    }
}

/// Seals `targets` into `draft`.
///
/// # Errors
/// See [`FilesError`]; the draft must then be dropped. A file that cannot be read is a gap and not
/// an error.
pub fn seal(
    draft: &mut DraftBundle,
    targets: &[FileTarget],
    control: &mut SealControl<'_>,
) -> Result<(), FilesError> {
    let options = ReaderOptions {
        root: PathBuf::from("/"),
        patience: PATIENCE,
        entries_max: u64::MAX,
        before_touch: |_: &Path| {},
        mounts: || MountTable::read(Path::new("/proc/self/mountinfo")),
    };
    seal_with(draft, targets, control, options)
}

fn seal_with(
    draft: &mut DraftBundle,
    targets: &[FileTarget],
    control: &mut SealControl<'_>,
    options: ReaderOptions,
) -> Result<(), FilesError> {
    let mut reader = Reader::start(options);
    let source = ItemSource {
        provider: "files".to_owned(),
        api: "seal".to_owned(),
        identity: Some(identity::identity()),
        ..ItemSource::default()
    };
    for target in targets {
        let mut walk = FileWalk::new(target.path.clone(), control.skip);
        let mut recorder = FileRecorder::start(draft, target, control, &mut reader)?;
        loop {
            let mut batch = walk.next_batch();
            if batch.is_empty() {
                break;
            }
            batch.iter().for_each(|path| recorder.request(path));
            while let Some(path) = batch.pop_front() {
                if let Some(listing) = recorder.record_next()? {
                    walk.enter(&path, &listing);
                }
            }
        }
        recorder.finish(source.clone())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
