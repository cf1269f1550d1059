//! Where the reading thread puts what it reads of one object: into the queue, up to the limits.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Instant;

use evidence_format::coverage::GapReason;

use super::hung::{HungPlaces, MountTable};
use super::request::ReadStop;
use super::root::EnterGuard;
use super::{
    FileFacts, ObjectStart, ReadEvent, ReadOutcome, ReadQueue, SparsePart, WAITING_BYTES_MAX,
};

/// Takes what is read of one object.
pub(super) struct ObjectSink<'s> {
    pub(super) queue: &'s ReadQueue,
    pub(super) hung: &'s HungPlaces,
    pub(super) before_touch: fn(&Path),
    /// Bytes that may still be kept.
    pub(super) bytes_left: u64,
    /// Which limit that is.
    pub(super) limit: GapReason,
}

impl ObjectSink<'_> {
    /// Call it before a system call that may hang on `path`.
    ///
    /// # Errors
    /// `path` is where reading hung before.
    pub(super) fn touch(&mut self, path: &[u8]) -> Result<(), ReadStop> {
        if self.hung.contains(path) {
            return Err(ReadStop::Ended(ReadOutcome::Hung));
        }
        // Before the call that may hang: the watching side must know which path it was.
        self.note_progress(Some(path))?;
        (self.before_touch)(Path::new(OsStr::from_bytes(path)));
        Ok(())
    }

    /// Call it before the executable at `path` in the mount namespace of `mounts` is opened.
    ///
    /// # Errors
    /// It is where reading hung before.
    pub(super) fn check_executable(
        &self,
        mounts: &MountTable,
        path: &[u8],
    ) -> Result<(), ReadStop> {
        if self.hung.contains_executable(mounts, path) {
            return Err(ReadStop::Ended(ReadOutcome::Hung));
        }
        Ok(())
    }

    /// Call it where reading goes on without bytes to keep, else it would count as hung.
    pub(super) fn progress(&mut self) -> Result<(), ReadStop> {
        self.note_progress(None)
    }

    fn note_progress(&mut self, path: Option<&[u8]>) -> Result<(), ReadStop> {
        let mut state = self.queue.lock();
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

    /// The object is open; its bytes begin at `offset` of the file. See
    /// [`ObjectStart::stream_bytes`].
    pub(super) fn start(
        &mut self,
        facts: Option<FileFacts>,
        offset: u64,
        stream_bytes: Option<u64>,
    ) {
        self.start_part(facts, offset, stream_bytes, None);
    }

    /// As [`Self::start`], for one run of data of a file with holes.
    pub(super) fn start_part(
        &mut self,
        facts: Option<FileFacts>,
        offset: u64,
        stream_bytes: Option<u64>,
        sparse: Option<SparsePart>,
    ) {
        let start = ObjectStart {
            at: platform::clock::now(),
            facts,
            stream_bytes,
            sparse,
            offset,
        };
        self.queue.lock().events.push_back(ReadEvent::Start(start));
    }

    /// The object's next bytes. Drops what exceeds the limit, and then stops the object.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), ReadStop> {
        let limit = usize::try_from(self.bytes_left).unwrap_or(usize::MAX);
        let kept = &bytes[..bytes.len().min(limit)];
        self.bytes_left -= kept.len() as u64;
        self.push(kept)?;
        if kept.len() < bytes.len() {
            Err(ReadStop::Ended(ReadOutcome::Cut(self.limit)))
        } else {
            Ok(())
        }
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), ReadStop> {
        let mut state = self.queue.lock();
        if state.bytes.len() + bytes.len() > WAITING_BYTES_MAX && !state.bytes.is_empty() {
            // while we wait for the watching side we are not busy, so it does not take us for hung
            let mut busy = state.busy.take();
            let paused = Instant::now();
            self.queue.changed.notify_all();
            drop(state);
            state = self
                .queue
                .wait_while(|state| !state.bytes.is_empty())
                .ok_or(ReadStop::Abandoned)?;
            if let Some(busy) = &mut busy {
                busy.begun += paused.elapsed();
            }
            state.busy = busy;
        }
        if state.abandoned {
            return Err(ReadStop::Abandoned);
        }
        let from = state.bytes.len();
        let to = from + bytes.len();
        state.bytes.extend_from_slice(bytes);
        // Counted here and not when fetched: the next request may begin before that.
        let left = &mut state.limits.item_bytes_left;
        *left = left.saturating_sub(bytes.len() as u64);
        // bytes that follow the last ones need no event of their own
        if let Some(ReadEvent::Bytes(range)) = state.events.back_mut()
            && range.end == from
        {
            range.end = to;
        } else {
            state.events.push_back(ReadEvent::Bytes(from..to));
        }
        if let Some(busy) = &mut state.busy {
            busy.since = Instant::now();
        }
        Ok(())
    }
}

impl EnterGuard for ObjectSink<'_> {
    fn is_careful(&self) -> bool {
        !self.hung.is_empty()
    }

    fn enter(&mut self, path: &[u8]) -> Result<(), ReadStop> {
        self.touch(path)
    }
}
