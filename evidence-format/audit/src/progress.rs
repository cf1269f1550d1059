//! What happens while a bundle is read: progress on a terminal, Ctrl-C, the auditor's limit.

use std::io::{self, IsTerminal, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use evidence_format::config::ItemEntry;
use evidence_format::container::{BundleFiles, ContainerError, OpenFile};
use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::safe::safe;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Time between two lines of progress. A bundle that is read sooner has none.
const REDRAW_INTERVAL: Duration = Duration::from_millis(500);
/// Columns of a bundle's name in a line of progress. The line has less than 80: one that is broken
/// could not be replaced.
const NAME_COLUMNS_MAX: usize = 24;
/// Goes to the begin of the line and clears it.
const CLEAR_LINE: &str = "\r\x1b[K";

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
    /// Measures how fast bytes arrive; no finding depends on it.
    begun: Instant,
    next_line_after: Duration,
}

impl WatchedFiles {
    /// `name` is the name to show progress under, if somebody sees it.
    pub(crate) fn new(
        files: Box<dyn BundleFiles>,
        name: Option<&str>,
        bytes_total: Option<u64>,
        interrupt: InterruptFlag,
    ) -> Self {
        Self {
            files,
            watch: ReadingWatch {
                interrupt,
                shown_name: name.filter(|_| io::stderr().is_terminal()).map(short_name),
                bytes: 0,
                bytes_total,
                begun: Instant::now(),
                next_line_after: REDRAW_INTERVAL,
            },
        }
    }
}

/// The begin of a name, without characters that could control a terminal.
fn short_name(name: &str) -> String {
    let name = safe(name);
    // Characters beyond ASCII may be two columns wide.
    let columns = |c: char| if c.is_ascii() { 1 } else { 2 };
    if name.chars().map(columns).sum::<usize>() <= NAME_COLUMNS_MAX {
        return name;
    }
    let mut left = NAME_COLUMNS_MAX - 1;
    let fits = |c: &char| {
        let fits = columns(*c) <= left;
        left = left.saturating_sub(columns(*c));
        fits
    };
    name.chars().take_while(fits).chain(['…']).collect()
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
        let elapsed = self.begun.elapsed();
        if elapsed < self.next_line_after {
            return;
        }
        self.next_line_after = elapsed + REDRAW_INTERVAL;
        let progress = progress(self.bytes, self.bytes_total, elapsed);
        // One write, since standard error has no buffer.
        let line = format!("{CLEAR_LINE}verifying {name}: {progress}");
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

impl Drop for ReadingWatch {
    fn drop(&mut self) {
        if self.next_line_after > REDRAW_INTERVAL {
            clear_line();
        }
    }
}

/// Removes a line of progress, and what Ctrl-C left on it.
pub(crate) fn clear_line() {
    if io::stderr().is_terminal() {
        let _ = io::stderr().write_all(CLEAR_LINE.as_bytes());
    }
}

/// How much has been read, and how long the rest takes at the same speed.
fn progress(bytes: u64, bytes_total: Option<u64>, elapsed: Duration) -> String {
    // Two large numbers with MiB would need more columns than there are.
    let (unit, power) = match bytes_total.unwrap_or(bytes) {
        0..0x2_8000_0000 => ("MiB", 20),
        0x2_8000_0000.. => ("GiB", 30),
    };
    let in_unit = |bytes: u64| bytes as f64 / f64::from(1 << power);
    match bytes_total {
        Some(total) if (1..=total).contains(&bytes) => {
            let percent = u128::from(bytes) * 100 / u128::from(total);
            let share_left = (total - bytes) as f64 / bytes as f64;
            let left = match (elapsed.as_secs_f64() * share_left).ceil() {
                seconds if seconds < 120.0 => format!("{seconds} s"),
                seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
                seconds => format!("{:.0} h", seconds / 3600.0),
            };
            let (read, total) = (in_unit(bytes), in_unit(total));
            format!("{percent} %, {read:.1} of {total:.1} {unit}, {left} left")
        }
        // A pipe, or a file that grows.
        Some(_) | None => format!("{:.1} {unit}", in_unit(bytes)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_tells_share_size_and_time_left() {
        const MIB: u64 = 1 << 20;
        let after = |seconds, bytes, total| progress(bytes, total, Duration::from_secs(seconds));
        let total = Some(80 * MIB);
        assert_eq!(
            after(5, 20 * MIB, total),
            "25 %, 20.0 of 80.0 MiB, 15 s left"
        );
        assert_eq!(
            after(5, 80 * MIB, total),
            "100 %, 80.0 of 80.0 MiB, 0 s left"
        );
        assert_eq!(
            after(60, MIB, Some(1 << 30)),
            "0 %, 1.0 of 1024.0 MiB, 17 h left"
        );
        assert_eq!(
            after(60, 100 * MIB, Some(1 << 30)),
            "9 %, 100.0 of 1024.0 MiB, 9 min left"
        );
        assert_eq!(
            after(60, 16 << 30, Some(64 << 30)),
            "25 %, 16.0 of 64.0 GiB, 3 min left"
        );
        assert_eq!(after(5, 20 * MIB, None), "20.0 MiB");
        assert_eq!(after(5, 81 * MIB, total), "81.0 MiB", "a file that grew");
        assert_eq!(after(5, 0, Some(0)), "0.0 MiB");
    }

    #[test]
    fn line_of_progress_is_not_broken_at_80_columns() {
        let line = |name: &str| {
            let (bytes, total) = (99 << 40, 100 << 40);
            let progress = progress(bytes, Some(total), Duration::from_secs(1 << 20));
            format!("verifying {}: {progress}", short_name(name))
        };
        let columns = |text: &str| {
            text.chars()
                .map(|c| 1 + usize::from(!c.is_ascii()))
                .sum::<usize>()
        };
        for name in ["a.tar", &"a".repeat(300), &"証".repeat(300), "\x1b[2J\n"] {
            let line = line(name);
            assert!(
                columns(&line) < 80 && !line.contains(['\x1b', '\n']),
                "{line}"
            );
        }
        assert_eq!(short_name(&"a".repeat(24)), "a".repeat(24));
        assert_eq!(short_name(&"a".repeat(25)), "a".repeat(23) + "…");
    }
}
