//! What happens while a bundle is read: progress on a terminal, Ctrl-C, the auditor's limit.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evidence_format::config::ItemEntry;
use evidence_format::container::{BundleFiles, ContainerError, OpenFile};
use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::safe::safe;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Bytes between two lines of progress. By bytes, since the program has no clock.
const STEP_BYTES: u64 = 16 << 20;
/// Characters of a bundle's name in a line of progress.
const NAME_CHARS_MAX: usize = 40;

/// Set by Ctrl-C, so that reading ends, and an extraction removes what it has written.
#[derive(Debug, Clone)]
pub(crate) struct InterruptFlag(Arc<AtomicBool>);

impl InterruptFlag {
    pub(crate) fn register() -> Self {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The second Ctrl-C ends the program at once: a read from a pipe may wait forever. If
            // registering fails, the first one does.
            let _ = flag::register_conditional_default(signal, flag.clone());
            let _ = flag::register(signal, flag.clone());
        }
        Self(flag)
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The files of a bundle, with a look at Ctrl-C and a line of progress now and then.
pub(crate) struct WatchedFiles {
    files: Box<dyn BundleFiles>,
    watch: ReadingWatch,
}

struct ReadingWatch {
    interrupt: InterruptFlag,
    /// What is read; `None` if nobody would see the progress.
    shown_name: Option<String>,
    bytes: u64,
    bytes_total: Option<u64>,
    bytes_shown: u64,
}

impl WatchedFiles {
    pub(crate) fn new(
        files: Box<dyn BundleFiles>,
        name: &str,
        bytes_total: Option<u64>,
        interrupt: InterruptFlag,
    ) -> Self {
        let is_shown = io::stderr().is_terminal();
        let name = safe(name);
        let short = match name.char_indices().nth(NAME_CHARS_MAX) {
            Some((end, _)) => format!("{}…", &name[..end]),
            None => name,
        };
        Self {
            files,
            watch: ReadingWatch {
                interrupt,
                shown_name: is_shown.then_some(short),
                bytes: 0,
                bytes_total,
                bytes_shown: 0,
            },
        }
    }
}

impl BundleFiles for WatchedFiles {
    fn open(&mut self, name: &str) -> Result<Option<OpenFile<'_>>, ContainerError> {
        self.watch.check().map_err(|cause| ContainerError::Read {
            name: name.to_owned(),
            cause,
        })?;
        let Some(file) = self.files.open(name)? else {
            return Ok(None);
        };
        Ok(Some(OpenFile {
            size: file.size,
            content: Box::new(WatchedContent {
                content: file.content,
                watch: &mut self.watch,
            }),
        }))
    }

    fn finish(&mut self) -> Result<(), ContainerError> {
        self.files.finish()
    }
}

impl Drop for WatchedFiles {
    fn drop(&mut self) {
        self.watch.clear();
    }
}

struct WatchedContent<'f> {
    content: Box<dyn Read + 'f>,
    watch: &'f mut ReadingWatch,
}

impl Read for WatchedContent<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.watch.check()?;
        let bytes = self.content.read(buffer)?;
        self.watch.add(bytes as u64);
        Ok(bytes)
    }
}

impl ReadingWatch {
    fn check(&self) -> io::Result<()> {
        if self.interrupt.is_set() {
            // Not `Interrupted`, after which callers read again.
            return Err(io::Error::other("stopped by Ctrl-C"));
        }
        Ok(())
    }

    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        let Some(name) = &self.shown_name else { return };
        if self.bytes - self.bytes_shown < STEP_BYTES {
            return;
        }
        self.bytes_shown = self.bytes;
        let read = self.bytes >> 20;
        let progress = match self.bytes_total {
            Some(total) if self.bytes <= total => {
                let percent = u128::from(self.bytes) * 100 / u128::from(total.max(1));
                format!("{percent} % of {} MiB", total >> 20)
            }
            Some(_) | None => format!("{read} MiB"),
        };
        let _ = write!(io::stderr(), "\r\x1b[Kverifying {name}: {progress}");
    }

    fn clear(&mut self) {
        if self.bytes_shown > 0 {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// How much content of a bundle the auditor wants to have read.
pub(crate) struct ContentAllowance {
    bytes_max: Option<u64>,
    /// Bytes that the items so far state. The verifier decompresses no more of an item.
    bytes: u64,
}

impl ContentAllowance {
    pub(crate) fn new(bytes_max: Option<u64>) -> Self {
        Self {
            bytes_max,
            bytes: 0,
        }
    }

    /// What ends the reading of `item`, if the bundle has more than is allowed.
    pub(crate) fn admit(&mut self, item: &ItemEntry) -> Option<RefusedContent> {
        self.bytes = self.bytes.saturating_add(item.bytes);
        let bytes_max = self.bytes_max?;
        (bytes_max < self.bytes).then_some(RefusedContent { bytes_max })
    }
}

/// Refuses an item beyond the auditor's limit.
pub(crate) struct RefusedContent {
    bytes_max: u64,
}

impl PieceVisitor for RefusedContent {
    fn piece(&mut self, _: SegmentPiece, _: &[u8]) -> io::Result<()> {
        let text = format!(
            "the bundle states more content than the {} bytes of --max-bytes",
            self.bytes_max
        );
        Err(io::Error::other(text))
    }
}
