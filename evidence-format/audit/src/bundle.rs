//! The bundle that a command works on, and what the user trusts.

use std::fs::{self, File};
use std::io::{self, BufReader, IsTerminal};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;
use evidence_format::config::ItemEntry;
use evidence_format::container::layout::BundleFolder;
use evidence_format::container::{BLOBS, BundleFiles, tar};
use evidence_format::id::ItemName;
use evidence_format::item::{PieceVisitor, SegmentPiece, WorkerPool};
use evidence_format::verify::{self, FaultCode, Finding, ItemViewer, VerificationReport};

use crate::error::AuditError;
use crate::found_file;
use crate::progress::{ContentAllowance, WatchedFiles};
use crate::trust::{AuditorTrust, TrustArgs};
use crate::verdict;

/// Bytes of one read from a tar: few system calls, and little memory compared with the frames.
const READ_BYTES: usize = 256 * 1024;

/// Arguments of every command that works on a bundle.
#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// Bundle: a folder, a tar, or - for a tar on standard input
    #[arg(value_name = "BUNDLE")]
    path: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
}

#[derive(Debug)]
enum BundleLocation {
    Folder(PathBuf),
    Tar(PathBuf),
    StandardInput,
}

/// A bundle, and the keys to verify it with.
pub(crate) struct AuditedBundle {
    origin: BundleLocation,
    trust: AuditorTrust,
    workers: WorkerPool,
}

impl AuditedBundle {
    /// For commands that read the bundle only once.
    pub(crate) fn new(args: &BundleArgs) -> Result<Self, AuditError> {
        Self::at(&args.path, args.trust.policy()?)
    }

    /// The bundle at `path`, which was found there and not named: a pipe may never end.
    pub(crate) fn found_at(path: &Path, trust: AuditorTrust) -> Result<Self, AuditError> {
        if !path.is_dir() {
            found_file::check(path).map_err(|cause| AuditError::Read {
                path: path.to_owned(),
                cause,
            })?;
        }
        Self::at(path, trust)
    }

    /// The bundle at `path`, which the auditor named: it may be a pipe, as of `<(…)`.
    pub(crate) fn at(path: &Path, trust: AuditorTrust) -> Result<Self, AuditError> {
        let origin = origin(path)?;
        // Where the number of processors is hidden, one thread still verifies.
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            origin,
            trust,
            workers: WorkerPool::for_reading(threads),
        })
    }

    /// For commands that show content. They verify the bundle first, so it must be readable twice.
    pub(crate) fn new_rereadable(args: &BundleArgs) -> Result<Self, AuditError> {
        Self::new(args)?.rereadable()
    }

    /// The same bundle, if it can be read twice.
    pub(crate) fn rereadable(self) -> Result<Self, AuditError> {
        // A FIFO or /dev/stdin is not a regular file and can be read only once.
        let is_rereadable = match &self.origin {
            BundleLocation::Folder(_) => true,
            BundleLocation::Tar(path) => {
                fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
            }
            BundleLocation::StandardInput => false,
        };
        if !is_rereadable {
            let text = "this command needs the bundle in a folder or a file, since it verifies all of it before it shows anything; \
                        store the stream first";
            return Err(AuditError::Usage(text.to_owned()));
        }
        Ok(self)
    }

    /// Verifies the bundle.
    pub(crate) fn verify(&mut self) -> Result<VerificationReport, AuditError> {
        self.verify_and_view(&mut |_| None)
    }

    /// Verifies the bundle and passes its items to `viewer` while nothing is verified yet.
    pub(crate) fn verify_and_view(
        &mut self,
        viewer: &mut ItemViewer<'_>,
    ) -> Result<VerificationReport, AuditError> {
        self.read(viewer, true)
    }

    fn read(
        &mut self,
        viewer: &mut ItemViewer<'_>,
        shows_progress: bool,
    ) -> Result<VerificationReport, AuditError> {
        let path = match &self.origin {
            BundleLocation::Folder(path) | BundleLocation::Tar(path) => Some(path.as_path()),
            BundleLocation::StandardInput => None,
        };
        let policy = self.trust.policy_for(path);
        let interrupt = self.trust.interrupt.clone();
        let (name, bytes) = (self.origin.name(), self.origin.bytes());
        let name = shows_progress.then_some(&*name);
        let mut files = WatchedFiles::new(self.origin.open()?, name, bytes, interrupt.clone());
        let mut allowance = ContentAllowance::new(self.trust.bytes_max);
        let mut report =
            verify::verify_and_view(&mut files, &policy, &mut self.workers, &mut |item| {
                match allowance.admit(item) {
                    // A visitor that fails ends the reading, and says nothing about the bundle.
                    Some(refusal) => Some(Box::new(refusal)),
                    None => viewer(item),
                }
            });
        drop(files);
        if interrupt.is_set() {
            return Err(AuditError::Interrupted);
        }
        self.trust.narrow(&mut report, &policy);
        Ok(report)
    }

    /// Whom the auditor trusts.
    pub(crate) fn trust(&self) -> &AuditorTrust {
        &self.trust
    }

    /// Verifies the bundle, and returns the report only if its content may be shown. If the signer
    /// was not checked, a note on standard error says so.
    pub(crate) fn verify_to_show(&mut self) -> Result<VerificationReport, AuditError> {
        let report = self.verify()?;
        // Decided here and not in each command, so that none can forget it.
        verdict::allow_showing(&report, &self.trust)?;
        Ok(report)
    }

    /// Passes an item to `visit` and verifies the whole bundle again: it may have changed since
    /// `first`, the report of the first verification.
    pub(crate) fn show(
        &mut self,
        first: &VerificationReport,
        name: &ItemName,
        visit: &mut dyn PieceVisitor,
    ) -> Result<(), AuditError> {
        let mut visit = Some(visit);
        self.show_items(first, &mut |item| {
            // Item names are unique, so the visitor is taken once.
            let visit = visit.take_if(|_| item.name == *name)?;
            Some(Box::new(BorrowedVisitor(visit)))
        })
    }

    /// Like [`Self::show`], for the items that `viewer` chooses.
    pub(crate) fn show_items(
        &mut self,
        first: &VerificationReport,
        viewer: &mut ItemViewer<'_>,
    ) -> Result<(), AuditError> {
        // On a terminal, the content itself is what moves, and lines of progress would stand in it.
        let second = self.read(viewer, !io::stdout().is_terminal())?;
        match &second.integrity {
            Finding::Ok(_) if second.bundle == first.bundle => Ok(()),
            // A disk that fails is no sign of tampering, and has another exit code.
            Finding::Failed(fault) if fault.code == FaultCode::Unreadable => {
                Err(AuditError::Stopped {
                    object: fault.object.clone(),
                    detail: fault.detail.clone(),
                })
            }
            // Also a sound bundle, if it is another one: the output then mixes two.
            Finding::Ok(_) | Finding::Failed(_) | Finding::NotChecked(_) => {
                Err(AuditError::Changed)
            }
        }
    }
}

impl BundleLocation {
    /// What progress calls it.
    fn name(&self) -> String {
        match self {
            Self::Folder(path) | Self::Tar(path) => path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
            Self::StandardInput => "standard input".to_owned(),
        }
    }

    /// Bytes that are going to be read; `None` where nobody knows.
    fn bytes(&self) -> Option<u64> {
        match self {
            Self::Folder(path) => {
                let blobs = fs::read_dir(path.join(BLOBS)).ok()?;
                Some(
                    blobs
                        .flatten()
                        .filter_map(|blob| blob.metadata().ok())
                        .map(|m| m.len())
                        .sum(),
                )
            }
            Self::Tar(path) => fs::metadata(path)
                .ok()
                .filter(fs::Metadata::is_file)
                .map(|m| m.len()),
            Self::StandardInput => None,
        }
    }

    fn open(&self) -> Result<Box<dyn BundleFiles>, AuditError> {
        Ok(match self {
            Self::Folder(path) => Box::new(BundleFolder::new(path)),
            Self::Tar(path) => {
                let file = File::open(path).map_err(|cause| AuditError::Read {
                    path: path.clone(),
                    cause,
                })?;
                Box::new(tar::TarReader::new(BufReader::with_capacity(
                    READ_BYTES, file,
                )))
            }
            Self::StandardInput => Box::new(tar::TarReader::new(BufReader::with_capacity(
                READ_BYTES,
                io::stdin().lock(),
            ))),
        })
    }
}

/// Lets a verification own a visitor that its caller keeps.
struct BorrowedVisitor<'v>(&'v mut dyn PieceVisitor);

impl PieceVisitor for BorrowedVisitor<'_> {
    fn piece(&mut self, piece: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        self.0.piece(piece, bytes)
    }
}

fn origin(path: &Path) -> Result<BundleLocation, AuditError> {
    if path == Path::new("-") {
        // Waiting for a tar to be typed would look like a hang.
        if io::stdin().is_terminal() {
            return Err(AuditError::Usage(
                "standard input is a terminal, not a bundle".to_owned(),
            ));
        }
        return Ok(BundleLocation::StandardInput);
    }
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(BundleLocation::Folder(path.to_owned())),
        Ok(_) => Ok(BundleLocation::Tar(path.to_owned())),
        // A mistyped path is wrong usage and not an undecided bundle.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(AuditError::Usage(format!(
            "no such bundle: {}",
            path.display()
        ))),
        Err(cause) => Err(AuditError::Read {
            path: path.to_owned(),
            cause,
        }),
    }
}

/// Finds the item `name` of a verified bundle.
pub(crate) fn item_of<'r>(
    report: &'r VerificationReport,
    name: &ItemName,
) -> Result<&'r ItemEntry, AuditError> {
    let mut items = report.config.iter().flat_map(|config| &config.items);
    items.find(|item| item.name == *name).ok_or_else(|| {
        AuditError::Usage(format!(
            "the bundle has no item {name}; list its items with `exhibit-audit items`"
        ))
    })
}
