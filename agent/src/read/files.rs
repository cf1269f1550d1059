//! How each kind of object is read. Runs in the reading thread and may hang in any system call.

use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use evidence_format::digest::{Digest, Hasher};
use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::facts::{FileFacts, FileTime};
use super::redact::{RedactionFilter, RedactionRule};
use super::root::{CaptureRoot, ObjectFinder, ObjectHandle, READ_FLAGS, facts_at, facts_of};
use super::worker::{ObjectSink, ReadStop};
use super::{
    KeptPart, READ_BYTES, ReadMethod, ReadOutcome, ReadRequest, ReaderOptions, WAITING_BYTES_MAX,
};

/// First read of a kernel file: most are smaller, and some handlers allocate what is asked for
/// (/proc/sys).
const FIRST_READ_BYTES: usize = 4096;
/// Up to this size an ordinary file is read to its end, whatever its size was said to be; above, it
/// goes through in a stream.
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

/// An executable that has not changed.
type Version = ((u32, u32), u64, FileTime, FileTime, u64);

/// Answers requests below a root.
pub(super) struct FileReader {
    finder: ObjectFinder,
    entries_max: u64,
    buffer: Vec<u8>,
    /// What a filter has let through.
    filtered: Vec<u8>,
    digests: HashMap<Version, Digest>,
    /// Files read for the item `item`, by device and inode.
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

    /// Reads one object; says how many things were removed from it.
    pub(super) fn answer(
        &mut self,
        item: u64,
        request: &ReadRequest,
        out: &mut ObjectSink<'_>,
    ) -> Result<u64, ReadStop> {
        if self.item != item {
            self.item = item;
            self.seen.clear();
        }
        if out.left() == 0 {
            return Err(ReadStop::Ended(ReadOutcome::Cut(out.cut)));
        }
        out.touch(&request.path)?;
        let path = &request.path;
        match request.method {
            ReadMethod::Kernel => self.kernel(path, out)?,
            ReadMethod::Redacted(redact) => return self.redacted(path, redact, out),
            ReadMethod::File(keep) => self.file(path, keep, true, out)?,
            ReadMethod::Linked(keep) => self.file(path, keep, false, out)?,
            ReadMethod::Link => self.link(path, out)?,
            ReadMethod::Links(only) => self.links(path, only.as_bytes(), out)?,
            ReadMethod::Names => self.names(path, out)?,
            ReadMethod::Listing => self.listing(path, out)?,
            ReadMethod::Executable => self.executable(path, out)?,
            ReadMethod::Namespaces(kind) => self.namespaces(path, kind, out)?,
            ReadMethod::Ring => self.ring(path, out)?,
        }
        Ok(0)
    }

    fn kernel(&mut self, path: &[u8], out: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let file = self.open_kernel(path)?;
        out.begin(None, 0, None);
        let mut want = FIRST_READ_BYTES;
        loop {
            let got = read(&file, &mut self.buffer[..want])?;
            if got == 0 {
                return Ok(());
            }
            out.bytes(&self.buffer[..got])?;
            want = READ_BYTES;
        }
    }

    fn redacted(
        &mut self,
        path: &[u8],
        redact: RedactionRule,
        out: &mut ObjectSink<'_>,
    ) -> Result<u64, ReadStop> {
        let kernels = self.finder.open_in_procfs(path, OFlags::empty());
        let (file, facts) = match kernels {
            Some(file) => (file, None),
            None => self.open(path).map(|(file, facts)| (file, Some(facts)))?,
        };
        out.begin(facts, 0, None);
        let mut filter = RedactionFilter::new(redact);
        loop {
            let got = read(&file, &mut self.buffer[..FIRST_READ_BYTES])?;
            self.filtered.clear();
            if got == 0 {
                filter.finish(&mut self.filtered);
            } else {
                filter.push(&self.buffer[..got], &mut self.filtered);
            }
            out.bytes(&self.filtered)?;
            if got == 0 {
                return Ok(filter.count);
            }
        }
    }

    fn file(
        &mut self,
        path: &[u8],
        keep: KeptPart,
        again: bool,
        out: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let (file, facts) = self.open(path)?;
        if !self.seen.insert((facts.device, facts.inode)) && !again {
            return Err(ReadStop::Ended(ReadOutcome::Repeated));
        }
        let kept = facts.size.min(out.left());
        let from = if keep == KeptPart::End {
            facts.size - kept
        } else {
            0
        };
        let is_long = facts.size > SHORT_FILE_BYTES;
        out.begin(Some(facts), from, is_long.then_some(kept));
        let mut at = from;
        loop {
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
            out.bytes(&self.buffer[..got])?;
        }
        match () {
            () if at - from < kept => Err(ReadStop::Ended(ReadOutcome::Shrank)),
            () if kept < facts.size => Err(ReadStop::Ended(ReadOutcome::Cut(out.cut))),
            () => Ok(()),
        }
    }

    fn link(&mut self, path: &[u8], out: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        out.begin(None, 0, None);
        let target = self.finder.read_link(path)?;
        out.bytes(&target)
    }

    fn links(
        &mut self,
        path: &[u8],
        only: &[u8],
        out: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let folder = self.open_folder(path)?;
        out.begin(None, 0, None);
        let mut target = Vec::new();
        let mut denied = None;
        self.entries(&folder, out, |name, _, line, out| {
            match rustix::fs::readlinkat(&folder, name, std::mem::take(&mut target)) {
                Ok(found) => target = found.into_bytes(),
                Err(Errno::NOENT | Errno::INVAL) => return Ok(()), // closed meanwhile; or no link
                Err(errno) => {
                    denied = denied.or(Some(errno));
                    return Ok(());
                }
            }
            if !target.starts_with(only) {
                return Ok(());
            }
            pair(line, name, &target);
            out.bytes(line)
        })?;
        denied.map_or(Ok(()), |errno| Err(errno.into()))
    }

    fn names(&mut self, path: &[u8], out: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let folder = self.open_folder(path)?;
        out.begin(None, 0, None);
        self.entries(&folder, out, |name, kind, line, out| {
            pair(line, name, kind_name(kind).as_bytes());
            out.bytes(line)
        })
    }

    fn listing(&mut self, path: &[u8], out: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let folder = self.open_folder(path)?;
        out.begin(Some(facts_of(&folder)?), 0, None);
        let mut facts_text = Vec::new();
        self.entries(&folder, out, |name, _, line, out| {
            facts_text.clear();
            match facts_at(&folder, name) {
                Ok(facts) => facts.write(&mut facts_text),
                Err(errno) => facts_text
                    .extend_from_slice(format!("errno {}", errno.raw_os_error()).as_bytes()),
            }
            pair(line, name, &facts_text);
            out.bytes(line)
        })
    }

    /// Calls `take` with the names in `folder`, each with its type and a buffer for its line.
    fn entries(
        &mut self,
        folder: &OwnedFd,
        out: &mut ObjectSink<'_>,
        mut take: impl FnMut(&[u8], FileType, &mut Vec<u8>, &mut ObjectSink<'_>) -> Result<(), ReadStop>,
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
            if count == self.entries_max {
                return Err(ReadStop::Ended(ReadOutcome::Cut(
                    evidence_format::coverage::GapReason::TooLarge,
                )));
            }
            count += 1;
            if count % 64 == 0 {
                out.progress()?;
            }
            self.filtered.clear();
            take(name, entry.file_type(), &mut self.filtered, out)?;
        }
        Ok(())
    }

    /// Writes `sha256: …` and `bytes: …`, the form of `application/warc-fields`.
    fn executable(&mut self, path: &[u8], out: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let (file, facts) = self.open_executable(path, out)?;
        if facts.size > EXECUTABLE_BYTES_MAX {
            out.begin(Some(facts), 0, None);
            return Err(ReadStop::Ended(ReadOutcome::Cut(
                evidence_format::coverage::GapReason::TooLarge,
            )));
        }
        let version = (
            facts.device,
            facts.inode,
            facts.modified,
            facts.changed,
            facts.size,
        );
        let digest = match self.digests.get(&version) {
            Some(digest) => *digest,
            None => self.digest(&file, out)?,
        };
        if self.digests.len() < DIGESTS_MAX {
            self.digests.insert(version, digest);
        }
        out.begin(Some(facts), 0, None);
        out.bytes(format!("sha256: {}\r\nbytes: {}\r\n", digest.hex(), facts.size).as_bytes())
    }

    /// The kernel itself follows `/proc/PID/exe`, to the very file that runs, deleted or not. Only
    /// procfs makes such links: in any other file system it is a link like others, and stays inside
    /// the root.
    fn open_executable(
        &mut self,
        path: &[u8],
        out: &mut ObjectSink<'_>,
    ) -> Result<(OwnedFd, FileFacts), ReadStop> {
        let target = self.finder.read_link(path)?;
        out.touch(&target)?; // from here on, a dead mount can hold us
        if !self.finder.is_procfs(path) {
            return self.open(path);
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

    fn digest(&mut self, file: &OwnedFd, out: &mut ObjectSink<'_>) -> Result<Digest, ReadStop> {
        let mut hasher = Hasher::new();
        let mut at = 0;
        loop {
            let got = pread(file, &mut self.buffer, at)?;
            if got == 0 {
                return Ok(hasher.finish());
            }
            if at >= EXECUTABLE_BYTES_MAX {
                return Err(ReadStop::Ended(ReadOutcome::Cut(
                    evidence_format::coverage::GapReason::TooLarge,
                )));
            }
            at += got as u64;
            hasher.update(&self.buffer[..got]);
            out.progress()?;
        }
    }

    fn namespaces(
        &mut self,
        path: &[u8],
        kind: &str,
        out: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let folder = self.open_folder(path)?;
        out.begin(None, 0, None);
        let mut seen = HashSet::new();
        let mut denied = None;
        self.entries(&folder, out, |pid, _, line, out| {
            if !pid.iter().all(u8::is_ascii_digit) {
                return Ok(());
            }
            let link = [pid, b"/ns/", kind.as_bytes()].concat();
            match rustix::fs::readlinkat(&folder, &link, Vec::new()) {
                Ok(target) if seen.contains(target.as_bytes()) => Ok(()),
                Ok(target) => {
                    pair(line, pid, target.as_bytes());
                    seen.insert(target.into_bytes());
                    out.bytes(line)
                }
                Err(Errno::NOENT | Errno::SRCH) => Ok(()), // ended meanwhile, or about to
                Err(errno) => {
                    denied = denied.or(Some(errno));
                    Ok(())
                }
            }
        })?;
        denied.map_or(Ok(()), |errno| Err(errno.into()))
    }

    fn ring(&mut self, path: &[u8], out: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let ObjectHandle {
            folder,
            name,
            facts,
        } = self.finder.follow(path)?;
        if facts.is_regular() {
            return self.kernel(path, out);
        }
        let stat = rustix::fs::statat(&*folder, &name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        let device = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        if facts.kind() != FileType::CharacterDevice || device != KMSG_DEVICE {
            return Err(ReadStop::Ended(ReadOutcome::Special));
        }
        let file = rustix::fs::openat(&*folder, &name, READ_FLAGS, Mode::empty())?;
        out.begin(None, 0, None);
        loop {
            match read(&file, &mut self.buffer[..RING_READ_BYTES]) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(()),
                Ok(got) => out.bytes(&self.buffer[..got])?,
                Err(Errno::PIPE) => {} // messages were overwritten before we came; the numbers in the others show it
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Opens a regular file. Looked at before, so that nothing else is opened, and after, in case
    /// it was replaced in between.
    fn open(&mut self, path: &[u8]) -> Result<(OwnedFd, FileFacts), ReadStop> {
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

    fn open_kernel(&mut self, path: &[u8]) -> Result<OwnedFd, ReadStop> {
        match self.finder.open_in_procfs(path, OFlags::empty()) {
            Some(file) => Ok(file),
            None => self.open(path).map(|(file, _)| file), // says why, too
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
fn pair(line: &mut Vec<u8>, first: &[u8], second: &[u8]) {
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
