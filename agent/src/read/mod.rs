//! Reading files of a host that may hang, lie, or vanish meanwhile.
//!
//! A second thread does all the reading ([`worker`]), the capturing thread watches it: who does not
//! come back from a file in time (a dead NFS mount) is abandoned with it and replaced, and the
//! capture goes on with the next request. Requests are queued and answers come in batches, so that
//! thousands of small files cost no thread switch each.
//!
//! Memory: what the helper has read and nobody fetched yet is at most [`WAITING_BYTES_MAX`], once
//! on each side.

mod facts;
mod files;
mod redact;
mod request;
mod root;
mod worker;

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use facts::{FileFacts, FileTime};
pub use redact::RedactionRule;
pub use request::{KeptPart, Presence, ReadMethod, ReadRequest};
pub(crate) use request::{ObjectStart, ReadEvent, ReadOutcome};
pub(crate) use worker::now;

/// Bytes read and not fetched yet, at which the helper waits.
pub(crate) const WAITING_BYTES_MAX: usize = 256 * 1024;
/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;
/// Events that wait for the other side before it is woken: a switch for each small file would cost
/// more than reading it.
const BATCH_EVENTS: usize = 96;
/// Stack of a helper: it recurses nowhere; what is abandoned must be cheap.
const STACK_BYTES: usize = 128 * 1024;

/// How to read, the same for every request.
#[derive(Debug, Clone)]
pub(crate) struct ReaderOptions {
    /// The host's root.
    pub root: PathBuf,
    /// How long one object may make no progress.
    pub patience: Duration,
    /// Bytes kept of one object.
    pub object_bytes_max: u64,
    /// Entries looked at in one folder.
    pub entries_max: u64,
    /// Is told each path before it is touched: where tests make files hang.
    pub before: fn(&Path),
}

/// What the reader has to say.
#[derive(Debug)]
pub(crate) enum ReaderPoll {
    /// The next part of the answer to the oldest request.
    Event(ReadEvent),
    /// Everything asked is answered.
    Idle,
    /// Nothing yet; look after the other things.
    Waiting,
}

/// The watching side; see the module.
pub(crate) struct Reader {
    options: ReaderOptions,
    shared: Arc<ReadQueue>,
    /// Not answered yet, oldest first.
    pending: VecDeque<Arc<ReadRequest>>,
    events: VecDeque<ReadEvent>,
    bytes: Vec<u8>,
    /// What hung; nothing there is touched again.
    hung_paths: Vec<Vec<u8>>,
}

/// What both threads see.
struct ReadQueue {
    state: Mutex<QueueState>,
    /// Signalled when there is something new for either side.
    changed: Condvar,
}

struct QueueState {
    requests: VecDeque<Arc<ReadRequest>>,
    events: VecDeque<ReadEvent>,
    bytes: Vec<u8>,
    /// Which item the requests are for, by number.
    item: u64,
    /// Bytes that the item may still take.
    item_bytes_left: u64,
    /// What is being read, and when that last made progress; `None` while the helper waits for us.
    busy: Option<ReadInProgress>,
    /// The helper ends at its next step.
    abandoned: bool,
}

struct ReadInProgress {
    since: Instant,
    /// The path that was touched last: behind a link, its target.
    path: Vec<u8>,
}

impl ReadQueue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // each change of the state is whole in itself
    }

    fn new(requests: VecDeque<Arc<ReadRequest>>, item: u64, item_bytes_left: u64) -> Self {
        let (events, bytes) = (VecDeque::new(), Vec::new());
        let state = QueueState {
            requests,
            events,
            bytes,
            item,
            item_bytes_left,
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
    pub(crate) fn start(options: ReaderOptions) -> Self {
        let shared = Arc::new(ReadQueue::new(VecDeque::new(), 0, u64::MAX));
        let (pending, events) = (VecDeque::new(), VecDeque::new());
        let reader = Self {
            options,
            shared,
            pending,
            events,
            bytes: Vec::new(),
            hung_paths: Vec::new(),
        };
        reader.spawn();
        reader
    }

    /// From now on, requests together may bring this many bytes. Files behind links may be read
    /// again.
    pub(crate) fn begin_item(&mut self, item_bytes_max: u64) {
        let mut state = self.shared.lock();
        state.item += 1;
        state.item_bytes_left = item_bytes_max;
    }

    /// Requests without an answer.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The request that is being answered.
    pub(crate) fn current(&self) -> Option<&Arc<ReadRequest>> {
        self.pending.front()
    }

    /// Queues a request.
    pub(crate) fn ask(&mut self, request: ReadRequest) {
        let request = Arc::new(request);
        self.pending.push_back(Arc::clone(&request));
        let mut state = self.shared.lock();
        state.requests.push_back(request);
        if state.requests.len() == 1 {
            self.shared.changed.notify_all();
        }
    }

    /// The bytes of the last [`ReadEvent::Bytes`].
    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Ends the request that is being answered: call it after its [`ReadEvent::ReadOutcome`].
    pub(crate) fn done(&mut self) -> Option<Arc<ReadRequest>> {
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

    /// Gives up everything that was asked and has no answer; says what it was.
    pub(crate) fn abandon(&mut self) -> Vec<Arc<ReadRequest>> {
        self.replace_worker(VecDeque::new());
        self.events.clear();
        self.pending.drain(..).collect()
    }

    /// Takes what the helper has ready; one that hangs is replaced, and its object ends as hung.
    fn fetch(&mut self, wait: Duration) {
        self.bytes.clear();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        if state.events.is_empty() {
            let waited = shared
                .changed
                .wait_timeout_while(state, wait, |state| state.events.is_empty());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if !state.events.is_empty() {
            std::mem::swap(&mut state.events, &mut self.events);
            std::mem::swap(&mut state.bytes, &mut self.bytes);
            shared.changed.notify_all();
        } else if let Some(busy) = state
            .busy
            .take_if(|busy| busy.since.elapsed() > self.options.patience)
        {
            let rest = std::mem::take(&mut state.requests);
            drop(state);
            self.hung_paths.push(hung_prefix(busy.path));
            self.replace_worker(rest);
            self.events.push_back(ReadEvent::End(ReadOutcome::Hung));
        }
    }

    fn replace_worker(&mut self, requests: VecDeque<Arc<ReadRequest>>) {
        let (item, left) = {
            let mut state = self.shared.lock();
            state.abandoned = true;
            (state.item, state.item_bytes_left)
        };
        self.shared.changed.notify_all();
        self.shared = Arc::new(ReadQueue::new(requests, item, left));
        self.spawn();
    }

    fn spawn(&self) {
        let (shared, options, hung_paths) = (
            Arc::clone(&self.shared),
            self.options.clone(),
            self.hung_paths.clone(),
        );
        let builder = thread::Builder::new()
            .name("reader".to_owned())
            .stack_size(STACK_BYTES);
        let started = builder.spawn(move || worker::serve(&shared, options, hung_paths));
        if started.is_err() {
            // No thread, no reading: its requests end as hung after their time, and say so in the
            // evidence.
            self.shared.lock().busy = Some(ReadInProgress {
                since: Instant::now(),
                path: Vec::new(),
            });
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.lock().abandoned = true; // it ends by itself; who hangs cannot be waited for
        self.shared.changed.notify_all();
    }
}

/// Where not to go again after `path` hung: its folder, most likely a dead mount. A kernel file
/// hangs alone (a process whose memory is locked), and its neighbours answer.
fn hung_prefix(path: Vec<u8>) -> Vec<u8> {
    if path.starts_with(b"/proc/") || path.starts_with(b"/sys/") {
        return path;
    }
    root::split(&path).0.to_vec()
}
