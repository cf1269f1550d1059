//! Reads each kind of object, by [`ReadMethod`]. Runs in the reading thread, and may hang in any
//! system call.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use evidence_format::coverage::GapReason;
use evidence_format::digest::{Digest, Hasher};
use rustix::fs::{FileType, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;

use super::facts::{FileFacts, FileTime};
use super::hung::MountTable;
use super::redact::{RedactionFilter, RedactionRule};
use super::request::ReadStop;
use super::request::{is_process_number, task_of};
use super::root::{
    CaptureRoot, EnterGuard as _, ObjectFinder, ObjectHandle, READ_FLAGS, facts_at, facts_of,
    split_path,
};
use super::sink::ObjectSink;
use super::sparse::{data_runs, keep_first, keep_last};
use super::threads;
use super::{
    KeptPart, READ_BYTES, ReadMethod, ReadOutcome, ReadRequest, ReaderOptions, SparsePart,
    WAITING_BYTES_MAX,
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
/// Names visited in one folder: as many as there can be processes (PID_MAX_LIMIT).
const NAMES_MAX: u64 = 4 << 20;
/// A file of which less than this is in holes is read as any other.
const HOLES_BYTES_MIN: u64 = 1 << 20;
/// The character device /dev/kmsg (Documentation/admin-guide/devices.txt).
const KMSG_DEVICE: (u32, u32) = (1, 11);
/// Bytes of an executable that are hashed; larger ones are rare, and time is short.
const EXECUTABLE_BYTES_MAX: u64 = 1 << 30;
/// Mount namespaces whose mounts are remembered: bounds the memory.
const MOUNT_TABLES_MAX: usize = 64;
/// How long a list of threads may be used again: for the next probe, which asks for the same.
const THREADS_AGE_MAX: Duration = Duration::from_secs(1);
/// Executables whose digests are remembered: bounds the memory.
const DIGESTS_MAX: usize = 16 * 1024;

/// Device, inode, both times and size of an executable: while these stay the same, so does its
/// digest.
type ExecutableVersion = ((u32, u32), u64, FileTime, FileTime, u64);

struct ThreadListing {
    path: Vec<u8>,
    at: Instant,
    lines: Vec<u8>,
    /// Processes of which not all threads could be compared.
    partial: u64,
}

/// Reads objects below a root.
pub(super) struct FileReader {
    pub(super) finder: ObjectFinder,
    entries_max: u64,
    pub(super) buffer: Vec<u8>,
    /// Output of a redaction filter; the line of a folder's entry.
    filtered: Vec<u8>,
    digests: HashMap<ExecutableVersion, Digest>,
    /// The mounts of each mount namespace, by the target of `/proc/PID/ns/mnt`.
    mounts: HashMap<Vec<u8>, MountTable>,
    /// What [`threads::differing_threads`] found last, and when.
    threads: Option<ThreadListing>,
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
            mounts: HashMap::new(),
            threads: None,
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
            ReadMethod::LinkedListing => self.read_linked_listing(path, sink)?,
            ReadMethod::IsFolder => self.read_is_folder(path, sink)?,
            ReadMethod::Executable => self.read_executable(path, request.sample, sink)?,
            ReadMethod::Namespaces(kind) => self.read_namespaces(path, kind, sink)?,
            ReadMethod::Threads => self.read_threads(path, sink)?,
            ReadMethod::Ring => self.read_ring_buffer(path, sink)?,
            ReadMethod::JournalCount | ReadMethod::JournalEntries => {
                self.read_journal(request, sink)?;
            }
            ReadMethod::AsIs => self.read_as_is(path, sink)?,
        }
        Ok(0)
    }

    fn read_kernel_file(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let file = self.open_kernel_file(path, sink)?;
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
        let (file, facts) = match self.finder.open_in_procfs(path, OFlags::empty(), sink) {
            Some(file) => (file, None),
            None => self
                .open_file(path, sink)
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
        let (file, facts) = self.open_file(path, sink)?;
        // Inserted in any case, so that a later link to this file is recognised.
        if !self.seen.insert((facts.device, facts.inode)) && !allow_repeated {
            return Err(ReadStop::Ended(ReadOutcome::Repeated));
        }
        if facts.size.saturating_sub(facts.stored_bytes) >= HOLES_BYTES_MIN
            && let Some(runs) = data_runs(&file, facts.size)
        {
            return self.read_sparse_file(&file, facts, keep, runs, sink);
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

    /// Reads the runs of data of a file with holes, which takes more bytes than any disk has if a
    /// table is indexed by large user numbers.
    fn read_sparse_file(
        &mut self,
        file: &OwnedFd,
        facts: FileFacts,
        keep: KeptPart,
        mut runs: Vec<Range<u64>>,
        sink: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let data_bytes = runs.iter().map(|run| run.end - run.start).sum::<u64>();
        if keep == KeptPart::End {
            keep_last(&mut runs, sink.bytes_left);
        } else {
            keep_first(&mut runs, sink.bytes_left);
        }
        let kept: u64 = runs.iter().map(|run| run.end - run.start).sum();
        if runs.is_empty() {
            let nothing = SparsePart {
                data_bytes,
                continued: false,
            };
            sink.start_part(Some(facts), 0, None, Some(nothing));
        }
        for (index, run) in runs.iter().enumerate() {
            let part = SparsePart {
                data_bytes,
                continued: index + 1 < runs.len(),
            };
            let run_bytes = run.end - run.start;
            sink.start_part(Some(facts), run.start, Some(run_bytes), Some(part));
            let mut at = run.start;
            while at < run.end {
                let want = READ_BYTES.min((run.end - at) as usize);
                let got = pread(file, &mut self.buffer[..want], at)?;
                if got == 0 {
                    return Err(ReadStop::Ended(ReadOutcome::Shrank));
                }
                at += got as u64;
                sink.bytes(&self.buffer[..got])?;
            }
        }
        if kept < data_bytes {
            Err(ReadStop::Ended(ReadOutcome::Cut(sink.limit)))
        } else {
            Ok(())
        }
    }

    fn read_link(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        sink.start(None, 0, None);
        let target = self.finder.read_link(path, sink)?;
        sink.bytes(&target)
    }

    fn read_links(
        &mut self,
        path: &[u8],
        prefix: &[u8],
        sink: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let folder = self.open_folder(path, sink)?;
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
        let folder = self.open_folder(path, sink)?;
        sink.start(None, 0, None);
        self.for_each_entry(&folder, sink, |name, kind, line, sink| {
            push_pair(line, name, kind_name(kind).as_bytes());
            sink.bytes(line)
        })
    }

    fn read_listing(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let folder = self.open_folder(path, sink)?;
        let facts = facts_of(&folder)?;
        self.seen.insert((facts.device, facts.inode));
        self.list(&folder, facts, sink)
    }

    fn read_linked_listing(
        &mut self,
        path: &[u8],
        sink: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let object = self.finder.follow(path, sink)?;
        if object.facts.kind() != FileType::Directory {
            return Err(ReadStop::Ended(ReadOutcome::Repeated)); // the request for a file reads it
        }
        let folder = self.open_folder(path, sink)?;
        let facts = facts_of(&folder)?;
        let link = self.finder.find(path, sink)?;
        if self.finder.is_in(&link.folder, &facts) {
            return Err(ReadStop::Ended(ReadOutcome::Special));
        }
        if !self.seen.insert((facts.device, facts.inode)) {
            return Err(ReadStop::Ended(ReadOutcome::Repeated));
        }
        self.list(&folder, facts, sink)
    }

    fn read_is_folder(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let object = self.finder.follow(path, sink)?;
        if object.facts.kind() == FileType::Directory {
            sink.bytes(b"folder")?;
        }
        Ok(())
    }

    fn list(
        &mut self,
        folder: &OwnedFd,
        facts: FileFacts,
        sink: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let mut count = 0_u64;
        self.for_each_entry(folder, sink, |_, _, _, _| {
            count += 1;
            Ok(())
        })?;
        rustix::fs::seek(folder, SeekFrom::Start(0))?;
        sink.start(Some(facts), 0, None);
        let is_whole = count <= self.entries_max;
        // the oldest of the newest is on top
        let mut newest = BinaryHeap::new();
        let entries_max = self.entries_max as usize;
        let mut facts_text = Vec::new();
        self.for_each_entry(folder, sink, |name, _, line, sink| {
            sink.progress()?; // on a busy disk, each may take a while
            facts_text.clear();
            let mut rank = None;
            match facts_at(folder, name) {
                Ok(facts) => {
                    facts.write(&mut facts_text);
                    // folders and links lead to what may be newer than they are
                    let is_way = matches!(facts.kind(), FileType::Directory | FileType::Symlink);
                    rank = Some((is_way, facts.modified));
                }
                // The name is evidence even without facts.
                Err(errno) => facts_text
                    .extend_from_slice(format!("errno {}", errno.raw_os_error()).as_bytes()),
            }
            push_pair(line, name, &facts_text);
            if is_whole {
                return sink.bytes(line);
            }
            newest.push(Reverse((rank, line.clone())));
            if newest.len() > entries_max {
                newest.pop();
            }
            Ok(())
        })?;
        for Reverse((_, line)) in newest.into_sorted_vec() {
            sink.bytes(&line)?;
        }
        if is_whole {
            return Ok(());
        }
        let left_out = count - self.entries_max;
        Err(ReadStop::Ended(ReadOutcome::Shortened { left_out }))
    }

    /// Calls `visit` with each name in `folder`, its type, and an empty buffer for its line.
    pub(super) fn for_each_entry(
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
            if count == NAMES_MAX {
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
    fn read_executable(
        &mut self,
        path: &[u8],
        sample: bool,
        sink: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let (file, facts) = self.open_executable(path, sink)?;
        if sample {
            sink.start(Some(facts), 0, None);
            pread(&file, &mut self.buffer[..1], 0)?;
            return Ok(());
        }
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
        let target = self.finder.read_link(path, sink)?;
        // A mounted image with a `/proc` of its own: its link may lead anywhere.
        if !self.finder.is_procfs(path, sink) {
            return self.open_file(path, sink);
        }
        // its path is one of the process's mount namespace, not of ours
        if sink.is_careful() {
            let mounts = self.mounts_of_process(path, sink);
            sink.check_executable(&mounts, &target)?;
        }
        let ObjectHandle { folder, name, .. } = self.finder.find(path, sink)?;
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
        let folder = self.open_folder(path, sink)?;
        sink.start(None, 0, None);
        let mut seen = HashSet::new();
        let mut first_error = None;
        self.for_each_entry(&folder, sink, |name, _, line, sink| {
            // `self` and `thread-self` would list our own process twice.
            let Some(process) = process_number(name) else {
                return Ok(());
            };
            sink.progress()?;
            let threads = threads::other_threads(&folder, process).into_iter();
            let threads = threads.map(|thread| format!("{process}/task/{thread}"));
            for task in std::iter::once(process.to_owned()).chain(threads) {
                let link = format!("{task}/ns/{kind}");
                match rustix::fs::readlinkat(&folder, &link, Vec::new()) {
                    Ok(target) if seen.contains(target.as_bytes()) => {}
                    Ok(target) => {
                        line.clear();
                        push_pair(line, task.as_bytes(), target.as_bytes());
                        seen.insert(target.into_bytes());
                        sink.bytes(line)?;
                    }
                    Err(Errno::NOENT | Errno::SRCH) => {} // ended meanwhile, or about to
                    Err(errno) => first_error = first_error.or(Some(errno)),
                }
            }
            Ok(())
        })?;
        first_error.map_or(Ok(()), |errno| Err(errno.into()))
    }

    fn read_threads(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let folder = self.open_folder(path, sink)?;
        sink.start(None, 0, None);
        let last = self.threads.take().filter(|last| last.path == path);
        if let Some(last) = last.filter(|last| last.at.elapsed() < THREADS_AGE_MAX) {
            let last = self.threads.insert(last);
            let mut lines = last.lines.chunks(READ_BYTES);
            lines.try_for_each(|lines| sink.bytes(lines))?;
            return without_partial(last.partial);
        }
        let (at, mut all, mut partial) = (Instant::now(), Vec::new(), 0);
        self.for_each_entry(&folder, sink, |name, _, line, sink| {
            let Some(process) = process_number(name) else {
                return Ok(());
            };
            let found = threads::differing_threads(&folder, process, &mut || sink.progress())?;
            partial += u64::from(found.is_partial);
            for (thread, difference) in found.differing {
                line.clear();
                push_pair(line, thread.as_bytes(), difference.as_str().as_bytes());
                all.extend_from_slice(line);
                sink.bytes(line)?;
            }
            Ok(())
        })?;
        self.threads = Some(ThreadListing {
            path: path.to_vec(),
            at,
            lines: all,
            partial,
        });
        without_partial(partial)
    }

    fn read_ring_buffer(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> Result<(), ReadStop> {
        let ObjectHandle {
            folder,
            name,
            facts,
            ..
        } = self.finder.follow(path, sink)?;
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
    pub(super) fn open_file(
        &mut self,
        path: &[u8],
        sink: &mut ObjectSink<'_>,
    ) -> Result<(OwnedFd, FileFacts), ReadStop> {
        let object = self.finder.follow(path, sink)?;
        if !object.facts.is_regular() {
            return Err(ReadStop::Ended(ReadOutcome::Special));
        }
        let file = rustix::fs::openat(&*object.folder, &object.name, READ_FLAGS, Mode::empty())?;
        let facts = facts_of(&file)?;
        if !facts.is_regular() {
            return Err(ReadStop::Ended(ReadOutcome::Special));
        }
        // asked of the open file, since its name may lead elsewhere by now
        // the item has this file already, so that the link reveals nothing
        let is_in_item = self.seen.contains(&(facts.device, facts.inode));
        if !is_in_item && !self.finder.may_read(&object, &facts) {
            return Err(ReadStop::Ended(ReadOutcome::ForeignLink));
        }
        Ok((file, facts))
    }

    fn open_kernel_file(
        &mut self,
        path: &[u8],
        sink: &mut ObjectSink<'_>,
    ) -> Result<OwnedFd, ReadStop> {
        match self.finder.open_in_procfs(path, OFlags::empty(), sink) {
            Some(file) => Ok(file),
            None => self.open_file(path, sink).map(|(file, _)| file), // also for its error
        }
    }

    fn open_folder(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> Result<OwnedFd, ReadStop> {
        if let Some(folder) = self.finder.open_in_procfs(path, OFlags::DIRECTORY, sink) {
            return Ok(folder);
        }
        let object = self.finder.follow(path, sink)?;
        let flags = READ_FLAGS | OFlags::DIRECTORY;
        let folder = rustix::fs::openat(&*object.folder, &object.name, flags, Mode::empty())?;
        if !self.finder.may_read(&object, &facts_of(&folder)?) {
            return Err(ReadStop::Ended(ReadOutcome::ForeignLink));
        }
        Ok(folder)
    }

    /// True if `path` is in procfs, and the process or thread that it is about has ended. Files of
    /// a living one can be absent too.
    pub(super) fn has_task_ended(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> bool {
        let Some(task) = task_of(path) else {
            return false;
        };
        let stat = [task, b"/stat"].concat();
        // the folder that is still open first: the number may be another process's by now
        if !self.finder.is_procfs(&stat, sink) && !self.finder.is_procfs(b"/proc/self", sink) {
            return false;
        }
        let stat = self.finder.open_in_procfs(&stat, OFlags::empty(), sink);
        stat.is_none_or(|stat| read(&stat, &mut self.buffer[..1]).is_err())
    }

    /// The mounts of the process of `/proc/PID/exe`: read once for each mount namespace, since a list
    /// of mounts may be long.
    fn mounts_of_process(&mut self, path: &[u8], sink: &mut ObjectSink<'_>) -> MountTable {
        let process = split_path(path).0;
        let namespace = [process, b"/ns/mnt"].concat();
        let namespace = self.finder.read_link(&namespace, sink).ok();
        let known = namespace.as_ref().and_then(|name| self.mounts.get(name));
        if let Some(mounts) = known {
            return mounts.clone();
        }
        let mounts = self.read_mounts(process, sink);
        if let Some(name) = namespace.filter(|_| self.mounts.len() < MOUNT_TABLES_MAX) {
            self.mounts.insert(name, mounts.clone());
        }
        mounts
    }

    fn read_mounts(&mut self, process: &[u8], sink: &mut ObjectSink<'_>) -> MountTable {
        let mounts = [process, b"/mountinfo"].concat();
        let mut text = Vec::new();
        if let Some(file) = self.finder.open_in_procfs(&mounts, OFlags::empty(), sink) {
            while let Ok(got @ 1..) = read(&file, &mut self.buffer) {
                text.extend_from_slice(&self.buffer[..got]);
            }
        }
        MountTable::parse(&text)
    }
}

/// The end of a list of threads without those of `partial` processes.
fn without_partial(partial: u64) -> Result<(), ReadStop> {
    match partial {
        0 => Ok(()),
        left_out => Err(ReadStop::Ended(ReadOutcome::Shortened { left_out })),
    }
}

/// The number of a process whose folder in `/proc` is called `name`.
fn process_number(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok();
    name.filter(|name| is_process_number(name))
}

/// Appends `first NUL second NUL` to an empty line.
pub(super) fn push_pair(line: &mut Vec<u8>, first: &[u8], second: &[u8]) {
    for part in [first, b"\0", second, b"\0"] {
        line.extend_from_slice(part);
    }
    debug_assert!(
        line.len() < WAITING_BYTES_MAX,
        "two names of at most a page each"
    );
}

pub(super) fn kind_name(kind: FileType) -> &'static str {
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
pub(super) fn pread(file: &OwnedFd, buffer: &mut [u8], at: u64) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *buffer, at))
}
