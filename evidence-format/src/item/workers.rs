//! Worker threads for chunks. Chunks come back in the order in which they were given.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::FrameChunk;
use crate::container::zstd::{Compressor, Decompressor, FrameError};
use crate::limits::FRAME_BYTES_MAX;

/// Chunks that wait while every worker is busy. With one, workers run dry while the oldest chunk is
/// being written; with two, sealing 1 GB on 2 cores takes 15 % less time; more make no difference.
const WAITING_CHUNKS: usize = 2;

/// Workers that compress, and the size of the frames that they make. Kept from item to item, so
/// that their memory is reused.
pub struct CompressionPool {
    pub(super) workers: WorkerPool,
    pub(super) frame_bytes: usize,
}

impl CompressionPool {
    /// Starts the threads. `frame_bytes` is the most plaintext in one frame, from 4 KiB to
    /// [`FRAME_BYTES_MAX`]. Memory is at most about `(threads + 3) × 2 × frame_bytes`, and half of
    /// that for data that compresses well.
    ///
    /// # Panics
    /// `frame_bytes` is out of range.
    #[must_use]
    pub fn new(threads: NonZeroUsize, frame_bytes: usize) -> Self {
        assert!(
            (4096..=FRAME_BYTES_MAX as usize).contains(&frame_bytes),
            "frame_bytes out of range"
        );
        Self {
            workers: WorkerPool::start(threads, packer),
            frame_bytes,
        }
    }
}

/// What a worker does to each chunk.
type ChunkTask = Box<dyn FnMut(&mut FrameChunk) -> Result<(), FrameError>>;

/// Threads that work on chunks and return each of them once, in the order given.
pub struct WorkerPool {
    jobs: Option<Sender<(u64, FrameChunk)>>,
    done: Receiver<(u64, FrameChunk)>,
    /// Chunks in order, from the next one to return; `None` is still at a worker.
    back: VecDeque<Option<FrameChunk>>,
    /// Sequence number of the chunk at the front of `back`.
    next: u64,
    /// Unused chunks, whose memory is reused.
    idle: Vec<FrameChunk>,
    out_max: usize,
    threads: Vec<thread::JoinHandle<()>>,
}

impl WorkerPool {
    /// Starts threads that decompress.
    #[must_use]
    pub fn for_reading(threads: NonZeroUsize) -> Self {
        Self::start(threads, unpacker)
    }

    /// Starts threads of which each makes its own task with `new_task`. Since the task is given from
    /// outside, a program that only verifies has no compressor in it.
    fn start(threads: NonZeroUsize, new_task: fn() -> ChunkTask) -> Self {
        let (jobs, queue) = channel::<(u64, FrameChunk)>();
        let (finished, done) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let threads: Vec<_> = (0..threads.get())
            .map(|_| {
                let (queue, finished) = (Arc::clone(&queue), finished.clone());
                thread::spawn(move || work(new_task(), &queue, &finished))
            })
            .collect();
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

    /// Returns a chunk to fill.
    pub(super) fn idle(&mut self) -> FrameChunk {
        self.idle.pop().unwrap_or_default()
    }

    /// Takes back a chunk that is no longer needed.
    pub(super) fn rest(&mut self, chunk: FrameChunk) {
        self.idle.push(chunk);
    }

    /// True if the caller should take a chunk with [`Self::next`] before it gives another.
    pub(super) fn is_full(&self) -> bool {
        self.back.len() >= self.out_max
    }

    /// Gives a chunk to the next free worker.
    pub(super) fn give(&mut self, chunk: FrameChunk) {
        let number = self.next + self.back.len() as u64;
        self.back.push_back(None);
        let jobs = self.jobs.as_ref().expect("open until drop");
        jobs.send((number, chunk)).expect("workers live until drop");
    }

    /// Waits for the oldest chunk at the workers; `None` if there is none.
    pub(super) fn next(&mut self) -> Option<FrameChunk> {
        loop {
            if self.back.front()?.is_some() {
                self.next += 1;
                return self.back.pop_front().flatten();
            }
            // Workers finish in any order; a chunk that is early waits in its place.
            let (number, chunk) = self.done.recv().expect("workers live until drop");
            self.back[(number - self.next) as usize] = Some(chunk);
        }
    }

    /// Takes back all chunks from the workers, after an error.
    pub(super) fn recall(&mut self) {
        while let Some(chunk) = self.next() {
            self.idle.push(chunk);
        }
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.jobs = None; // ends the workers' queue
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a worker catches its panics
        }
    }
}

fn packer() -> ChunkTask {
    let mut compressor = Compressor::new();
    Box::new(move |chunk| {
        compressor.compress(&chunk.plain[..chunk.plain_bytes], &mut chunk.packed);
        Ok(())
    })
}

fn unpacker() -> ChunkTask {
    let mut decompressor = Decompressor::new();
    Box::new(move |chunk| {
        decompressor.decompress(&chunk.packed, chunk.plain_bytes as u64, &mut chunk.plain)
    })
}

fn work(
    mut task: ChunkTask,
    queue: &Mutex<Receiver<(u64, FrameChunk)>>,
    finished: &Sender<(u64, FrameChunk)>,
) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, mut chunk)) = job else { return };
        // A panic must cost one chunk an error, not the whole capture; the chunk goes back either
        // way, since the owner waits for its number.
        let done = catch_unwind(AssertUnwindSafe(|| {
            let worked = task(&mut chunk);
            if worked.is_ok() {
                chunk.hash_leaves();
            }
            chunk.outcome = worked.err();
        }));
        if done.is_err() {
            chunk.outcome = Some(FrameError::Malformed("a worker panicked on this frame"));
        }
        if finished.send((number, chunk)).is_err() {
            return;
        }
    }
}
