//! The reading thread: takes requests, one after the other, and hands over bytes as it gets them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use std::os::unix::ffi::OsStrExt as _;

use evidence_format::coverage::GapReason;
use evidence_format::time::Timestamp;
use rustix::io::Errno;

use super::files::FileReader;
use super::root::CaptureRoot;
use super::{
    BATCH_EVENTS, FileFacts, ObjectStart, QueueState, ReadEvent, ReadInProgress, ReadOutcome,
    ReadQueue, ReadRequest, ReaderOptions, WAITING_BYTES_MAX,
};

/// Answers requests until nobody wants them any more.
pub(super) fn serve(shared: &ReadQueue, options: ReaderOptions, hung_paths: Vec<Vec<u8>>) {
    let object_bytes_max = options.object_bytes_max;
    let before = options.before;
    let mut host = CaptureRoot::open(&options.root).map(|root| FileReader::new(root, options));
    while let Some((request, item, item_bytes_left)) = next_request(shared) {
        let cut = if item_bytes_left < object_bytes_max {
            GapReason::OverBudget
        } else {
            GapReason::TooLarge
        };
        let mut out = ObjectSink {
            shared,
            hung_paths: &hung_paths,
            before,
            left: object_bytes_max.min(item_bytes_left),
            cut,
        };
        let answered = catch_unwind(AssertUnwindSafe(|| match &mut host {
            Ok(host) => host.answer(item, &request, &mut out),
            Err(errno) => Err(ReadStop::Failed(*errno)),
        }));
        let end = match answered {
            Ok(Ok(redacted)) => ReadOutcome::Whole { redacted },
            Ok(Err(ReadStop::Failed(errno))) => ReadOutcome::Failed(errno),
            Ok(Err(ReadStop::Ended(end))) => end,
            Ok(Err(ReadStop::Abandoned)) => return,
            Err(_) => ReadOutcome::Crashed,
        };
        let mut state = shared.lock();
        state.busy = None;
        state.events.push_back(ReadEvent::End(end));
        if state.requests.is_empty() || state.events.len() >= BATCH_EVENTS {
            shared.changed.notify_all();
        }
    }
}

fn next_request(shared: &ReadQueue) -> Option<(Arc<ReadRequest>, u64, u64)> {
    let mut state = wait_while(shared, |state| state.requests.is_empty())?;
    let request = state.requests.pop_front()?;
    state.busy = Some(ReadInProgress {
        since: Instant::now(),
        path: request.path.clone(),
    });
    Some((request, state.item, state.item_bytes_left))
}

/// Waits; `None` once abandoned.
fn wait_while(
    shared: &ReadQueue,
    condition: impl Fn(&QueueState) -> bool,
) -> Option<std::sync::MutexGuard<'_, QueueState>> {
    let state = shared.lock();
    let wait = shared
        .changed
        .wait_while(state, |state| !state.abandoned && condition(state));
    let state = wait.unwrap_or_else(std::sync::PoisonError::into_inner);
    (!state.abandoned).then_some(state)
}

/// Why an answer ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadStop {
    /// The system said so.
    Failed(Errno),
    /// For another reason.
    Ended(ReadOutcome),
    /// Nobody waits for it any more.
    Abandoned,
}

impl From<Errno> for ReadStop {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

/// Takes what is read of one object.
pub(super) struct ObjectSink<'s> {
    shared: &'s ReadQueue,
    hung_paths: &'s [Vec<u8>],
    before: fn(&Path),
    /// Bytes that may still be kept.
    left: u64,
    /// Why no more than that.
    pub cut: GapReason,
}

impl ObjectSink<'_> {
    /// Bytes that may still be kept.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Announces that `path`, on a disk that may hang, is touched next.
    pub(super) fn touch(&mut self, path: &[u8]) -> Result<(), ReadStop> {
        let hangs = |zone: &Vec<u8>| {
            path.starts_with(zone) && matches!(path.get(zone.len()), None | Some(b'/'))
        };
        if self.hung_paths.iter().any(hangs) {
            return Err(ReadStop::Ended(ReadOutcome::Hung));
        }
        self.beat(Some(path))?;
        (self.before)(Path::new(std::ffi::OsStr::from_bytes(path)));
        Ok(())
    }

    /// Says that there was progress, though no bytes to keep.
    pub(super) fn progress(&mut self) -> Result<(), ReadStop> {
        self.beat(None)
    }

    fn beat(&mut self, path: Option<&[u8]>) -> Result<(), ReadStop> {
        let mut state = self.shared.lock();
        if let Some(busy) = &mut state.busy {
            busy.since = Instant::now();
            if let Some(path) = path
                && busy.path != path
            {
                busy.path.clear();
                busy.path.extend_from_slice(path);
            }
        }
        if state.abandoned {
            Err(ReadStop::Abandoned)
        } else {
            Ok(())
        }
    }

    /// The object is open.
    pub(super) fn begin(&mut self, facts: Option<FileFacts>, from: u64, announced: Option<u64>) {
        self.shared
            .lock()
            .events
            .push_back(ReadEvent::Start(ObjectStart {
                at: now(),
                facts,
                announced,
                from,
                limit: self.cut,
            }));
    }

    /// The object's next bytes. What is above the limit is dropped, and ends the answer.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), ReadStop> {
        let kept = &bytes[..bytes
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX))];
        self.left -= kept.len() as u64;
        self.hand_over(kept)?;
        if kept.len() < bytes.len() {
            Err(ReadStop::Ended(ReadOutcome::Cut(self.cut)))
        } else {
            Ok(())
        }
    }

    fn hand_over(&mut self, bytes: &[u8]) -> Result<(), ReadStop> {
        let mut state = self.shared.lock();
        if state.bytes.len() + bytes.len() > WAITING_BYTES_MAX && !state.bytes.is_empty() {
            let busy = state.busy.take(); // waiting for the other side is no hanging
            self.shared.changed.notify_all();
            drop(state);
            state = wait_while(self.shared, |state| !state.bytes.is_empty())
                .ok_or(ReadStop::Abandoned)?;
            state.busy = busy;
        }
        if state.abandoned {
            return Err(ReadStop::Abandoned);
        }
        let from = state.bytes.len();
        state.bytes.extend_from_slice(bytes);
        state.item_bytes_left = state.item_bytes_left.saturating_sub(bytes.len() as u64);
        match state.events.back_mut() {
            Some(ReadEvent::Bytes(range)) if range.end == from => range.end += bytes.len(),
            _ => state
                .events
                .push_back(ReadEvent::Bytes(from..from + bytes.len())),
        }
        if let Some(busy) = &mut state.busy {
            busy.since = Instant::now();
        }
        Ok(())
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).expect("no clock is set outside the years -9999 to 9999")
}
