//! Reads each kind of object, by [`ReadMethod`]. Runs in the reading thread, and may hang in any
//! system call.

use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use evidence_format::coverage::GapReason;
use evidence_format::digest::{Digest, Hasher};
use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::facts::{FileFacts, FileTime};
use super::redact::{RedactionFilter, RedactionRule};
use super::root::{CaptureRoot, ObjectFinder, ObjectHandle, READ_FLAGS, facts_at, facts_of};
use super::sink::{ObjectSink, ReadStop};
use super::{
    KeptPart, READ_BYTES, ReadMethod, ReadOutcome, ReadRequest, ReaderOptions, WAITING_BYTES_MAX,
};

/// First read of a kernel file: most are smaller, and some handlers (/proc/sys) allocate a buffer of
/// the requested size.
const FIRST_READ_BYTES: usize = 4096;
/// Up to this size an ordinary file is read to its end, whatever size it reports. A longer one is
/// streamed: its record begins with the reported size, before the bytes are read.
const SHORT_FILE_BYTES: u64 = 128 * 1024;
/// Bytes of one getdents64(2).
const NAMES_BYTES: usize = 16 * 1024;
/// Bytes of one ring buffer message: the kernel's PRINTK_MESSAGE_MAX is 2048, and reading into less
/// fails.
const RING_READ_BYTES: usize = 8192;
/// The character device /dev/kmsg (Documentation/admin-guide/devices.txt).
const KMSG_DEVICE: (u32, u32) = (1, 11);
/// Bytes of an executable that are hashed; larger ones are rare, and time is short.
const EXECUTABLE_BYTES_MAX: u64 = 1 << 30;
/// Executables whose digests are remembered: bounds the memory.
const DIGESTS_MAX: usize = 16 * 1024;

/// Device, inode, both times and size of an executable: while these stay the same, so does its
/// digest.
type ExecutableVersion = ((u32, u32), u64, FileTime, FileTime, u64);

/// Reads objects below a root.
pub(super) struct FileReader {
    finder: ObjectFinder,
    entries_max: u64,
    buffer: Vec<u8>,
    /// Output of a redaction filter; the line of a folder's entry.
    filtered: Vec<u8>,
    digests: HashMap<ExecutableVersion, Digest>,
    /// Files that item number `item` has, by device and inode.
    seen: HashSet<((u32, u32), u64)>,
    item: u64,
}

impl FileReader {
    pub(super) fn new(root: CaptureRoot, options: ReaderOptions) -> Self {
        Self {
            finder: ObjectFinder::new(root),
            entries_max: options.entries_max,
            buffer: vec![0; READ_BYTES],
            filtered: Vec::new(),
            digests: HashMap::new(),
            seen: HashSet::new(),
            item: 0,
        }
    }

    /// Reads one object for item number `item`. Returns how many secrets were removed from it.
    pub(super) fn read_object(
        &mut self,
        item: u64,
        request: &ReadRequest,
        sink: &mut ObjectSink<'_>,
    ) -> Result<u64, ReadStop> {
        if self.item != item {
            self.item = item;
            // Each item must be complete by itself: only copies within one are skipped.
            self.seen.clear();
        }
        // Not even opened: a full item must not touch thousands of further files.
        if sink.bytes_left == 0 {
            return Err(ReadStop::Ended(ReadOutcome::Cut(sink.limit)));
        }
        sink.touch(&request.path)?;
        let path = &request.path;
        match request.method {
            ReadMethod::Kernel => self.read_kernel_file(path, sink)?,
            ReadMethod::Redacted(redact) => return self.read_redacted_file(path, redact, sink),
            ReadMethod::File(keep) => self.read_file(path, keep, true, sink)?,
            ReadMethod::Linked(keep) => self.read_file(path, keep, false, sink)?,
            ReadMethod::Link => self.read_link(path, sink)?,
            ReadMethod::Links(prefix) => self.read_links(path, prefix.as_bytes(), sink)?,
            ReadMethod::Names => self.read_names(path, sink)?,
            ReadMethod::Listing => self.read_listing(path, sink)?,
            ReadMethod::Executable => self.read_executable(path, sink)?,
            ReadMethod::Namespaces(kind) => self.read_namespaces(path, kind, sink)?,
            ReadMethod::Ring => self.read_ring_buffer(path, sink)?,
        }
        Ok(0)
    }

    fn read_kernel_file(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let file = self.open_kernel_file(path)?;
        sink.start(None, 0, None);
        let mut want = FIRST_READ_BYTES;
        loop {
            let got = read(&file, &mut self.buffer[..want])?;
            if got == 0 {
                return Ok(());
            }
            sink.bytes(&self.buffer[..got])?;
            // A file that fills the first buffer is a long one, worth large reads.
            want = READ_BYTES;
        }
    }

    fn read_redacted_file(
        &mut self,
        path: &[u8],
        redact: RedactionRule,
        sink: &mut ObjectSink<'_>,
    ) -> Result<u64, ReadStop> {
        // Facts of procfs say nothing: the size is 0, and the times are now.
        let (file, facts) = match self.finder.open_in_procfs(path, OFlags::empty()) {
            Some(file) => (file, None),
            None => self
                .open_file(path)
                .map(|(file, facts)| (file, Some(facts)))?,
        };
        sink.start(facts, 0, None);
        let mut filter = RedactionFilter::new(redact);
        loop {
            let got = read(&file, &mut self.buffer[..FIRST_READ_BYTES])?;
            self.filtered.clear();
            if got == 0 {
                filter.finish(&mut self.filtered);
            } else {
                filter.push(&self.buffer[..got], &mut self.filtered);
            }
            sink.bytes(&self.filtered)?;
            if got == 0 {
                return Ok(filter.count);
            }
        }
    }

    /// `allow_repeated`: read the file even if this item has it already.
    fn read_file(
        &mut self,
        path: &[u8],
        keep: KeptPart,
        allow_repeated: bool,
        sink: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let (file, facts) = self.open_file(path)?;
        // Inserted in any case, so that a later link to this file is recognised.
        if !self.seen.insert((facts.device, facts.inode)) && !allow_repeated {
            return Err(ReadStop::Ended(ReadOutcome::Repeated));
        }
        let kept = facts.size.min(sink.bytes_left);
        let from = match keep {
            KeptPart::Start => 0,
            KeptPart::End => facts.size - kept,
        };
        let is_long = facts.size > SHORT_FILE_BYTES;
        sink.start(Some(facts), from, is_long.then_some(kept));
        let mut at = from;
        loop {
            // of a long file not a byte more than its record was begun with; of a short one all
            // that comes, so that files which report no size are read too
            let want = if is_long {
                READ_BYTES.min((from + kept - at) as usize)
            } else {
                READ_BYTES
            };
            let got = if want == 0 {
                0
            } else {
                pread(&file, &mut self.buffer[..want], at)?
            };
            if got == 0 {
                break;
            }
            at += got as u64;
            sink.bytes(&self.buffer[..got])?;
        }
        // A log may be truncated by its rotation while it is read.
        if at - from < kept {
            Err(ReadStop::Ended(ReadOutcome::Shrank))
        } else if kept < facts.size {
            Err(ReadStop::Ended(ReadOutcome::Cut(sink.limit)))
        } else {
            Ok(())
        }
    }

    fn read_link(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        sink.start(None, 0, None);
        let target = self.finder.read_link(path)?;
        sink.bytes(&target)
    }

    fn read_links(
        &mut self,
        path: &[u8],
        prefix: &[u8],
        sink: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let folder = self.open_folder(path)?;
        sink.start(None, 0, None);
        let mut target = Vec::new();
        let mut first_error = None;
        self.for_each_entry(&folder, sink, |name, _, line, sink| {
            match rustix::fs::readlinkat(&folder, name, std::mem::take(&mut target)) {
                Ok(found) => target = found.into_bytes(),
                Err(Errno::NOENT | Errno::INVAL) => return Ok(()), // closed meanwhile, or not a link
                Err(errno) => {
                    // the other links are evidence too: read on, and fail at the end
                    first_error = first_error.or(Some(errno));
                    return Ok(());
                }
            }
            if !target.starts_with(prefix) {
                return Ok(());
            }
            push_pair(line, name, &target);
            sink.bytes(line)
        })?;
        first_error.map_or(Ok(()), |errno| Err(errno.into()))
    }

    fn read_names(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let folder = self.open_folder(path)?;
        sink.start(None, 0, None);
        self.for_each_entry(&folder, sink, |name, kind, line, sink| {
            push_pair(line, name, kind_name(kind).as_bytes());
            sink.bytes(line)
        })
    }

    fn read_listing(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let folder = self.open_folder(path)?;
        sink.start(Some(facts_of(&folder)?), 0, None);
        let mut facts_text = Vec::new();
        self.for_each_entry(&folder, sink, |name, _, line, sink| {
            facts_text.clear();
            match facts_at(&folder, name) {
                Ok(facts) => facts.write(&mut facts_text),
                // The name is evidence even without facts.
                Err(errno) => facts_text
                    .extend_from_slice(format!("errno {}", errno.raw_os_error()).as_bytes()),
            }
            push_pair(line, name, &facts_text);
            sink.bytes(line)
        })
    }

    /// Calls `visit` with each name in `folder`, its type, and an empty buffer for its line.
    fn for_each_entry(
        &mut self,
        folder: &OwnedFd,
        sink: &mut ObjectSink<'_>,
        mut visit: impl FnMut(
            &[u8],
            FileType,
            &mut Vec<u8>,
            &mut ObjectSink<'_>,
        ) -> Result<(), ReadStop>,
    ) -> Result<(), ReadStop> {
        let mut buffer = [MaybeUninit::uninit(); NAMES_BYTES];
        let mut names = RawDir::new(folder, &mut buffer);
        let mut count = 0;
        while let Some(entry) = names.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            // A folder may be endless on a hostile FUSE mount.
            if count == self.entries_max {
                return Err(ReadStop::Ended(ReadOutcome::Cut(GapReason::TooLarge)));
            }
            count += 1;
            if count % 64 == 0 {
                sink.progress()?; // seldom enough not to cost a lock for each name
            }
            self.filtered.clear();
            visit(name, entry.file_type(), &mut self.filtered, sink)?;
        }
        Ok(())
    }

    /// Writes `sha256: …` and `bytes: …`, the form of `application/warc-fields`.
    fn read_executable(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let (file, facts) = self.open_executable(path, sink)?;
        if facts.size > EXECUTABLE_BYTES_MAX {
            sink.start(Some(facts), 0, None);
            return Err(ReadStop::Ended(ReadOutcome::Cut(GapReason::TooLarge)));
        }
        let version = (
            facts.device,
            facts.inode,
            facts.modified,
            facts.changed,
            facts.size,
        );
        // Most processes share a few executables, and hashing is the slowest part of the probe.
        let digest = match self.digests.get(&version) {
            Some(digest) => *digest,
            None => self.hash(&file, sink)?,
        };
        if self.digests.len() < DIGESTS_MAX {
            self.digests.insert(version, digest);
        }
        sink.start(Some(facts), 0, None);
        sink.bytes(format!("sha256: {}\r\nbytes: {}\r\n", digest.hex(), facts.size).as_bytes())
    }

    /// Opens the file behind `/proc/PID/exe`. In procfs the kernel itself follows the link, to the
    /// very file that runs, deleted or not. In any other file system it is an ordinary link, and is
    /// resolved inside the root.
    fn open_executable(
        &mut self,
        path: &[u8],
        sink: &mut ObjectSink<'_>,
    ) -> Result<(OwnedFd, FileFacts), ReadStop> {
        let target = self.finder.read_link(path)?;
        sink.touch(&target)?; // the target may be on a dead mount
        // A mounted image with a `/proc` of its own: its link may lead anywhere.
        if !self.finder.is_procfs(path) {
            return self.open_file(path);
        }
        let ObjectHandle { folder, name, .. } = self.finder.find(path)?;
        let file = rustix::fs::openat(
            &*folder,
            &name,
            READ_FLAGS.difference(OFlags::NOFOLLOW),
            Mode::empty(),
        )?;
        let facts = facts_of(&file)?;
        if facts.is_regular() {
            Ok((file, facts))
        } else {
            Err(ReadStop::Ended(ReadOutcome::Special))
        }
    }

    fn hash(&mut self, file: &OwnedFd, sink: &mut ObjectSink<'_>) -> Result<Digest, ReadStop> {
        let mut hasher = Hasher::new();
        let mut at = 0;
        loop {
            let got = pread(file, &mut self.buffer, at)?;
            if got == 0 {
                return Ok(hasher.finish());
            }
            // It has grown since its size was checked.
            if at >= EXECUTABLE_BYTES_MAX {
                return Err(ReadStop::Ended(ReadOutcome::Cut(GapReason::TooLarge)));
            }
            at += got as u64;
            hasher.update(&self.buffer[..got]);
            sink.progress()?;
        }
    }

    fn read_namespaces(
        &mut self,
        path: &[u8],
        kind: &str,
        sink: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let folder = self.open_folder(path)?;
        sink.start(None, 0, None);
        let mut seen = HashSet::new();
        let mut first_error = None;
        self.for_each_entry(&folder, sink, |pid, _, line, sink| {
            // `self` and `thread-self` would list our own process twice.
            if !pid.iter().all(u8::is_ascii_digit) {
                return Ok(());
            }
            let link = [pid, b"/ns/", kind.as_bytes()].concat();
            match rustix::fs::readlinkat(&folder, &link, Vec::new()) {
                Ok(target) if seen.contains(target.as_bytes()) => Ok(()),
                Ok(target) => {
                    push_pair(line, pid, target.as_bytes());
                    seen.insert(target.into_bytes());
                    sink.bytes(line)
                }
                Err(Errno::NOENT | Errno::SRCH) => Ok(()), // ended meanwhile, or about to
                Err(errno) => {
                    first_error = first_error.or(Some(errno));
                    Ok(())
                }
            }
        })?;
        first_error.map_or(Ok(()), |errno| Err(errno.into()))
    }

    fn read_ring_buffer(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let ObjectHandle {
            folder,
            name,
            facts,
        } = self.finder.follow(path)?;
        if facts.is_regular() {
            // Below a root that is not `/`, a copy may be in its place.
            return self.read_kernel_file(path, sink);
        }
        // Opening any other device could have effects, so its number is checked.
        let stat = rustix::fs::statat(&*folder, &name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        let device = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        if facts.kind() != FileType::CharacterDevice || device != KMSG_DEVICE {
            return Err(ReadStop::Ended(ReadOutcome::Special));
        }
        let file = rustix::fs::openat(&*folder, &name, READ_FLAGS, Mode::empty())?;
        sink.start(None, 0, None);
        loop {
            match read(&file, &mut self.buffer[..RING_READ_BYTES]) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(()),
                Ok(got) => sink.bytes(&self.buffer[..got])?,
                Err(Errno::PIPE) => {} // older messages were overwritten: gaps in the numbers show it
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Opens a regular file. Checks its type before, since opening anything else may have effects,
    /// and after, in case it was replaced in between.
    fn open_file(&mut self, path: &[u8]) -> Result<(OwnedFd, FileFacts), ReadStop> {
        let ObjectHandle {
            folder,
            name,
            facts,
        } = self.finder.follow(path)?;
        if !facts.is_regular() {
            return Err(ReadStop::Ended(ReadOutcome::Special));
        }
        let file = rustix::fs::openat(&*folder, &name, READ_FLAGS, Mode::empty())?;
        let facts = facts_of(&file)?;
        if facts.is_regular() {
            Ok((file, facts))
        } else {
            Err(ReadStop::Ended(ReadOutcome::Special))
        }
    }

    fn open_kernel_file(&mut self, path: &[u8]) -> Result<OwnedFd, ReadStop> {
        match self.finder.open_in_procfs(path, OFlags::empty()) {
            Some(file) => Ok(file),
            None => self.open_file(path).map(|(file, _)| file), // also for its error
        }
    }

    fn open_folder(&mut self, path: &[u8]) -> Result<OwnedFd, ReadStop> {
        if let Some(folder) = self.finder.open_in_procfs(path, OFlags::DIRECTORY) {
            return Ok(folder);
        }
        let ObjectHandle { folder, name, .. } = self.finder.follow(path)?;
        Ok(rustix::fs::openat(
            &*folder,
            &name,
            READ_FLAGS | OFlags::DIRECTORY,
            Mode::empty(),
        )?)
    }
}

/// Appends `first NUL second NUL` to an empty line.
fn push_pair(line: &mut Vec<u8>, first: &[u8], second: &[u8]) {
    for part in [first, b"\0", second, b"\0"] {
        line.extend_from_slice(part);
    }
    debug_assert!(
        line.len() < WAITING_BYTES_MAX,
        "two names of at most a page each"
    );
}

fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "folder",
        FileType::Symlink => "link",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        FileType::Unknown => "unknown",
    }
}

/// As read(2), again after a signal.
fn read(file: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::io::read(file, &mut *buffer))
}

/// As pread(2), again after a signal.
fn pread(file: &OwnedFd, buffer: &mut [u8], at: u64) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *buffer, at))
}
