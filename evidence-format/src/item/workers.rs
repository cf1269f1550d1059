//! Threads that work on chunks, and hand them back in the order in which they were given.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::FrameChunk;
use crate::container::zstd::{Compressor, Decompressor, FrameError};
use crate::limits::FRAME_BYTES_MAX;

/// Chunks that wait while every worker has one. With one, workers run dry while the oldest chunk is
/// being written; with two, sealing 1 GB on 2 cores takes 15 % less; more change nothing.
const WAITING_CHUNKS: usize = 2;

/// Workers that compress, and the size of the frames they make; kept from item to item, so that
/// their memory is.
pub struct Pack {
    pub(super) workers: Workers,
    pub(super) frame_bytes: usize,
}

impl Pack {
    /// `frame_bytes` is the most plaintext in one frame, from 4 KiB to [`FRAME_BYTES_MAX`]; memory
    /// is about `(threads + 3) × 2 × frame_bytes` at most, and half of that for data that
    /// compresses well.
    ///
    /// # Panics
    /// `frame_bytes` is out of its range.
    #[must_use]
    pub fn new(threads: NonZeroUsize, frame_bytes: usize) -> Self {
        assert!(
            (4096..=FRAME_BYTES_MAX as usize).contains(&frame_bytes),
            "frame_bytes out of range"
        );
        Self {
            workers: Workers::start(threads, WorkerTask::Pack),
            frame_bytes,
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum WorkerTask {
    Pack,
    Unpack,
}

/// See the module. Given chunks come back in order, each once.
pub struct Workers {
    jobs: Option<Sender<(u64, FrameChunk)>>,
    done: Receiver<(u64, FrameChunk)>,
    /// Chunks that came back, from the next one on; `None` is still out.
    back: VecDeque<Option<FrameChunk>>,
    /// Number of the chunk at the front of `back`.
    next: u64,
    /// Chunks at rest, whose memory is used again.
    idle: Vec<FrameChunk>,
    out_max: usize,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Workers {
    /// Threads that decompress.
    #[must_use]
    pub fn unpack(threads: NonZeroUsize) -> Self {
        Self::start(threads, WorkerTask::Unpack)
    }

    pub(super) fn start(threads: NonZeroUsize, task: WorkerTask) -> Self {
        let (jobs, queue) = channel::<(u64, FrameChunk)>();
        let (finished, done) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let spawn = |_| {
            let (queue, finished) = (Arc::clone(&queue), finished.clone());
            thread::spawn(move || work(task, &queue, &finished))
        };
        let threads: Vec<_> = (0..threads.get()).map(spawn).collect();
        Self {
            jobs: Some(jobs),
            done,
            back: VecDeque::new(),
            next: 0,
            idle: Vec::new(),
            out_max: threads.len() + WAITING_CHUNKS,
            threads,
        }
    }

    /// A chunk to fill.
    pub(super) fn idle(&mut self) -> FrameChunk {
        self.idle.pop().unwrap_or_default()
    }

    /// Gives a chunk's memory back.
    pub(super) fn rest(&mut self, chunk: FrameChunk) {
        self.idle.push(chunk);
    }

    /// True if another chunk should wait until [`Self::next`] has handed one back.
    pub(super) fn is_full(&self) -> bool {
        self.back.len() >= self.out_max
    }

    /// Hands a chunk to the next free worker.
    pub(super) fn give(&mut self, chunk: FrameChunk) {
        let number = self.next + self.back.len() as u64;
        self.back.push_back(None);
        let jobs = self.jobs.as_ref().expect("open until drop");
        jobs.send((number, chunk)).expect("workers live until drop");
    }

    /// Waits for the oldest chunk that is out; `None` if none is.
    pub(super) fn next(&mut self) -> Option<FrameChunk> {
        loop {
            if self.back.front()?.is_some() {
                self.next += 1;
                return self.back.pop_front().flatten();
            }
            let (number, chunk) = self.done.recv().expect("workers live until drop");
            self.back[(number - self.next) as usize] = Some(chunk);
        }
    }

    /// Takes back all chunks that are out, after an error.
    pub(super) fn recall(&mut self) {
        while let Some(chunk) = self.next() {
            self.idle.push(chunk);
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.jobs = None; // ends the workers' queue
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a worker catches its panics
        }
    }
}

fn work(
    task: WorkerTask,
    queue: &Mutex<Receiver<(u64, FrameChunk)>>,
    finished: &Sender<(u64, FrameChunk)>,
) {
    let (mut compressor, mut decompressor) = match task {
        WorkerTask::Pack => (Some(Compressor::new()), None),
        WorkerTask::Unpack => (None, Some(Decompressor::new())),
    };
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, mut chunk)) = job else { return };
        let done = catch_unwind(AssertUnwindSafe(|| {
            let unpacked = match (&mut compressor, &mut decompressor) {
                (Some(compressor), _) => {
                    compressor.compress(&chunk.plain[..chunk.plain_bytes], &mut chunk.packed);
                    Ok(())
                }
                (_, Some(decompressor)) => {
                    let FrameChunk {
                        plain,
                        packed,
                        plain_bytes,
                        ..
                    } = &mut chunk;
                    decompressor.decompress(packed, *plain_bytes as u64, plain)
                }
                (None, None) => unreachable!("one of both was made above"),
            };
            if unpacked.is_ok() {
                chunk.hash_leaves();
            }
            chunk.outcome = unpacked.err();
        }));
        if done.is_err() {
            chunk.outcome = Some(FrameError::Malformed("a worker panicked on this frame"));
        }
        if finished.send((number, chunk)).is_err() {
            return;
        }
    }
}
