//! Reads files of a host that may hang, lie, or vanish meanwhile.
//!
//! A second thread does all the reading ([`worker`]), and the capturing thread watches it through a
//! [`Reader`]. A reading thread that does not return from a file in time (a dead NFS mount) is
//! abandoned and replaced, and the capture continues with the next request. Requests are queued and
//! events are fetched in batches, so that thousands of small files do not cost a thread switch
//! each.
//!
//! Memory: bytes that were read and not fetched yet are at most [`WAITING_BYTES_MAX`], once on each
//! side.

mod as_is;
mod facts;
mod files;
mod hung;
mod journal;
mod redact;
mod request;
mod root;
mod sink;
mod sparse;
mod threads;
mod worker;

use std::collections::VecDeque;
use std::ffi::{CString, OsStr};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use facts::FileFacts;
use hung::HungPlaces;
pub(crate) use hung::MountTable;
pub(crate) use redact::RedactionRule;
pub(crate) use request::JournalQuery;
pub(crate) use request::{KeptPart, Presence, ReadMethod, ReadRequest};
pub(crate) use request::{
    ObjectStart, ReadEvent, ReadOutcome, SparsePart, is_process_number, task_of,
};
pub(crate) use root::split_path;
pub(crate) use threads::LEADER_ENDED;

/// Bytes read and not fetched yet, at which the reading thread waits.
pub(crate) const WAITING_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of one read.
const READ_BYTES: usize = 256 * 1024;
/// Events that are collected before the watching side is woken: a thread switch for each small file
/// would cost more than reading it.
const BATCH_EVENTS: usize = 96;
/// Least patience with a kernel file, however many have hung: a busy machine needs that.
const KERNEL_PATIENCE_MIN: Duration = Duration::from_millis(100);
/// Stack of a reading thread. It never recurses, and threads that hang keep theirs, so it is small.
const STACK_BYTES: usize = 128 * 1024;

/// How to read, the same for every request.
#[derive(Debug, Clone)]
pub(crate) struct ReaderOptions {
    /// The host's root.
    pub(crate) root: PathBuf,
    /// How long one object may make no progress.
    pub(crate) patience: Duration,
    /// Entries read of one folder.
    pub(crate) entries_max: u64,
    /// Called with each path before a system call that may hang: where tests make files hang.
    pub(crate) before_touch: fn(&Path),
    /// The mounts of our own namespace.
    pub(crate) mounts: fn() -> MountTable,
}

/// What [`Reader::next`] found.
#[derive(Debug)]
pub(crate) enum ReaderPoll {
    /// The next event of the oldest request.
    Event(ReadEvent),
    /// All requests have ended.
    Idle,
    /// Nothing yet: check the deadline, and poll again.
    Waiting,
}

/// The watching side; see the module.
pub(crate) struct Reader {
    options: ReaderOptions,
    queue: Arc<ReadQueue>,
    /// Requests that have not ended, oldest first.
    pending: VecDeque<Arc<ReadRequest>>,
    /// The batch that was fetched last.
    events: VecDeque<ReadEvent>,
    bytes: Vec<u8>,
    hung: HungPlaces,
    /// How long one object may take, with whatever progress.
    object_time_max: Duration,
}

/// Shared by both threads.
struct ReadQueue {
    state: Mutex<QueueState>,
    /// Signalled when either side may have something to do.
    changed: Condvar,
}

struct QueueState {
    requests: VecDeque<Arc<ReadRequest>>,
    events: VecDeque<ReadEvent>,
    bytes: Vec<u8>,
    /// Number of the item that the requests are for.
    item: u64,
    limits: ItemLimits,
    /// `None` while the reading thread waits for a request, or for the watching side to fetch.
    busy: Option<ReadInProgress>,
    /// The reading thread ends as soon as it sees this.
    abandoned: bool,
}

/// What may still be kept of an item.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemLimits {
    /// Bytes of one object.
    pub(crate) object_bytes_max: u64,
    /// Bytes that the whole item may still take.
    pub(crate) item_bytes_left: u64,
}

impl ItemLimits {
    const NONE: Self = Self {
        object_bytes_max: u64::MAX,
        item_bytes_left: u64::MAX,
    };
}

struct ReadInProgress {
    /// When it was begun.
    begun: Instant,
    /// The last progress.
    since: Instant,
    /// The path that was touched last.
    path: Vec<u8>,
}

impl ReadQueue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // a poisoned lock is no reason to stop: nobody leaves the state half changed
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; `None` once abandoned.
    fn wait_while(
        &self,
        condition: impl Fn(&QueueState) -> bool,
    ) -> Option<MutexGuard<'_, QueueState>> {
        let state = self
            .changed
            .wait_while(self.lock(), |state| !state.abandoned && condition(state))
            .unwrap_or_else(PoisonError::into_inner);
        (!state.abandoned).then_some(state)
    }

    fn new(requests: VecDeque<Arc<ReadRequest>>, item: u64, limits: ItemLimits) -> Self {
        let (events, bytes) = (VecDeque::new(), Vec::new());
        let state = QueueState {
            requests,
            events,
            bytes,
            item,
            limits,
            busy: None,
            abandoned: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }
}

impl Reader {
    pub(crate) fn start(mut options: ReaderOptions) -> Self {
        options.root = root::resolved(&options.root, options.patience);
        let queue = Arc::new(ReadQueue::new(VecDeque::new(), 0, ItemLimits::NONE));
        let (pending, events) = (VecDeque::new(), VecDeque::new());
        let reader = Self {
            hung: HungPlaces::new(&options.root),
            options,
            queue,
            pending,
            events,
            bytes: Vec::new(),
            object_time_max: Duration::MAX,
        };
        reader.spawn();
        reader
    }

    /// The folder that paths are below, with its links resolved.
    pub(crate) fn root(&self) -> &Path {
        &self.options.root
    }

    /// Entries kept of one folder.
    pub(crate) fn entries_max(&self) -> u64 {
        self.options.entries_max
    }

    /// True if `path` is where something hung.
    pub(crate) fn is_hung(&self, path: &[u8]) -> bool {
        self.hung.contains(path)
    }

    /// Begins an item within `limits`. Files behind links, which an item has only once, may be read
    /// again.
    pub(crate) fn begin_item(&mut self, limits: ItemLimits) {
        let mut state = self.queue.lock();
        state.item += 1;
        state.limits = limits;
    }

    /// From now on, an object that takes longer counts as hung: a byte now and then is progress, but
    /// would use up all the time.
    pub(crate) fn set_object_time_max(&mut self, time: Duration) {
        self.object_time_max = time.max(self.options.patience);
    }

    /// How long the object at `path` may make no progress. Where one kernel file hangs, many often
    /// do: whoever can hang one process can start a hundred.
    fn patience_for(&self, path: &[u8]) -> Duration {
        if !path.starts_with(b"/proc/") {
            return self.options.patience;
        }
        let halvings = u32::try_from(self.hung.kernel_files()).unwrap_or(u32::MAX);
        let patience = self.options.patience / 2_u32.saturating_pow(halvings);
        patience.max(KERNEL_PATIENCE_MIN.min(self.options.patience))
    }

    /// Number of requests that have not ended.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The oldest request: events are about it.
    pub(crate) fn current(&self) -> Option<&Arc<ReadRequest>> {
        self.pending.front()
    }

    /// Queues a request.
    pub(crate) fn request(&mut self, request: ReadRequest) {
        let request = Arc::new(request);
        self.pending.push_back(Arc::clone(&request));
        let mut state = self.queue.lock();
        state.requests.push_back(request);
        // With more than one the reading thread is awake already.
        if state.requests.len() == 1 {
            self.queue.changed.notify_all();
        }
    }

    /// The bytes of the last [`ReadEvent::Bytes`].
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Removes the oldest request: call it after its [`ReadEvent::End`].
    pub(crate) fn pop_request(&mut self) -> Option<Arc<ReadRequest>> {
        self.pending.pop_front()
    }

    /// The next event, waiting at most `wait` for it.
    pub(crate) fn next(&mut self, wait: Duration) -> ReaderPoll {
        if self.events.is_empty() && !self.pending.is_empty() {
            self.fetch(wait);
        }
        match self.events.pop_front() {
            Some(event) => ReaderPoll::Event(event),
            None if self.pending.is_empty() => ReaderPoll::Idle,
            None => ReaderPoll::Waiting,
        }
    }

    /// Gives up all requests that have not ended, and returns them.
    pub(crate) fn abandon(&mut self) -> Vec<Arc<ReadRequest>> {
        self.replace_worker(VecDeque::new());
        // Events of requests that are given up would be taken for those of the next ones.
        self.events.clear();
        self.pending.drain(..).collect()
    }

    /// Fetches the next batch. If the reading thread hangs, replaces it, and ends its object as
    /// hung.
    fn fetch(&mut self, wait: Duration) {
        self.bytes.clear();
        // A clone, since replacing the thread replaces `self.queue`.
        let queue = Arc::clone(&self.queue);
        let mut state = queue.lock();
        if state.events.is_empty() {
            let waited = queue
                .changed
                .wait_timeout_while(state, wait, |state| state.events.is_empty());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if !state.events.is_empty() {
            // swapped, so that both buffers keep their memory
            std::mem::swap(&mut state.events, &mut self.events);
            std::mem::swap(&mut state.bytes, &mut self.bytes);
            queue.changed.notify_all();
        } else if let Some(busy) = state.busy.take_if(|busy| {
            busy.since.elapsed() > self.patience_for(&busy.path)
                || busy.begun.elapsed() > self.object_time_max
        }) {
            let mut rest = std::mem::take(&mut state.requests);
            drop(state);
            if busy.path.is_empty() {
                // no thread could be started, so the request was never taken from the queue
                rest.pop_front();
            } else {
                self.add_hung_place(busy.path);
            }
            self.replace_worker(rest);
            self.events.push_back(ReadEvent::End(ReadOutcome::Hung));
        }
    }

    fn replace_worker(&mut self, requests: VecDeque<Arc<ReadRequest>>) {
        let (item, limits) = {
            let mut state = self.queue.lock();
            state.abandoned = true;
            (state.item, state.limits)
        };
        self.queue.changed.notify_all();
        // A new queue: the abandoned thread may wake at any time, and must not write into it.
        self.queue = Arc::new(ReadQueue::new(requests, item, limits));
        self.spawn();
    }

    fn add_hung_place(&mut self, path: Vec<u8>) {
        let mounts = (self.options.mounts)();
        // what hung is not the link in procfs, but the file that the process runs
        let process = path.strip_suffix(b"/exe");
        // nothing but procfs is touched here: this thread must never hang
        let process = process.filter(|path| self.hung.is_of_kernel(&mounts, path));
        let process = process.map(|process| {
            let process = self.options.root.join(OsStr::from_bytes(&process[1..]));
            let executable = rustix::fs::readlink(process.join("exe"), Vec::new());
            let executable = executable.map_or_else(|_| Vec::new(), CString::into_bytes);
            let mounts = MountTable::read(&process.join("mountinfo"));
            (mounts, executable, process.join("root"))
        });
        // Paths of the process are found below its root.
        let below = process.as_ref().map_or(Path::new("/"), |(.., root)| root);
        let namespace = process
            .as_ref()
            .map(|(mounts, path, _)| (mounts, &path[..]));
        let options = &self.options;
        self.hung.add(path, mounts, namespace, |point| {
            let point = point.strip_prefix(b"/").unwrap_or(point);
            file_system_answers(below.join(OsStr::from_bytes(point)), options)
        });
    }

    fn spawn(&self) {
        let (queue, options, hung) = (
            Arc::clone(&self.queue),
            self.options.clone(),
            self.hung.clone(),
        );
        let builder = thread::Builder::new()
            .name("reader".to_owned())
            .stack_size(STACK_BYTES);
        let started = builder.spawn(move || worker::run(&queue, options, &hung));
        if started.is_err() {
            // Without a thread nothing is read: mark the queue as busy, so that each request ends
            // as hung once the patience is over. The evidence shows that.
            let now = Instant::now();
            self.queue.lock().busy = Some(ReadInProgress {
                begun: now,
                since: now,
                path: Vec::new(),
            });
        }
    }
}

/// False if the file system at `point` does not say in time how it is.
fn file_system_answers(point: PathBuf, options: &ReaderOptions) -> bool {
    let (before_touch, root) = (options.before_touch, options.root.clone());
    let asked = within(options.patience, move || {
        let below_root = point.strip_prefix(&root).unwrap_or(&point);
        before_touch(&Path::new("/").join(below_root));
        // An error is an answer.
        let _ = rustix::fs::statfs(&point);
    });
    matches!(asked, Ok(Some(())))
}

/// What `work` returns, which may hang: it runs in a thread of its own, which is abandoned after
/// `limit`. `None` if it took longer.
///
/// # Errors
/// No thread could be started.
pub(crate) fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || sender.send(work()))?;
    Ok(receiver.recv_timeout(limit).ok())
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.queue.lock().abandoned = true; // not joined: the thread may hang
        self.queue.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn object_that_takes_too_long_counts_as_hung_whatever_its_progress() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = File::create(folder.path().join("program")).expect("ours");
        program.set_len(1 << 30).expect("a sparse file");
        std::os::unix::fs::symlink("program", folder.path().join("exe")).expect("ours");
        let mut reader = Reader::start(ReaderOptions {
            root: folder.path().to_owned(),
            patience: Duration::from_millis(50),
            entries_max: 10,
            before_touch: |_: &Path| {},
            mounts: MountTable::default,
        });
        reader.set_object_time_max(Duration::from_millis(60));
        reader.request(ReadRequest::bytes("/exe", ReadMethod::Executable));
        let begin = Instant::now();
        let outcome = loop {
            match reader.next(Duration::from_millis(10)) {
                ReaderPoll::Event(ReadEvent::End(outcome)) => break outcome,
                ReaderPoll::Event(_) | ReaderPoll::Waiting => {}
                ReaderPoll::Idle => panic!("it must end"),
            }
            assert!(begin.elapsed() < Duration::from_secs(20));
        };
        assert_eq!(outcome, ReadOutcome::Hung);
    }
}
