//! An item: one WARC file as compressed frames, with its segment list and its record tree.
//!
//! Writing and reading are the same work in opposite directions. One thread keeps the order: it
//! cuts or reads chunks and hashes the segments that span several of them. [`workers`] do the
//! expensive part: they compress or decompress a chunk and hash the segments that lie wholly inside
//! it. Memory is a fixed number of chunks, whatever the size of the item.

mod block;
mod cuts;
mod read;
mod workers;
mod write;

pub use block::{StopError, StreamedBlock};
pub use cuts::UnrecordedBytes;
pub use read::{ItemContents, ItemError, PieceVisitor, read_item};
pub use workers::{CompressionPool, WorkerPool};
pub use write::{FinishedItem, ItemWriter, WriteItemError};

use crate::container::zstd::FrameError;
use crate::digest::{Digest, Hasher};
use crate::segment::SegmentKind;
use crate::tree::{LeafHasher, LeafRange};

/// The part of a segment that lies in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentPiece {
    /// Length in bytes.
    pub len: u32,
    /// Kind of the segment.
    pub kind: SegmentKind,
    /// True for the first piece of a segment.
    pub starts: bool,
    /// True for the last piece of a segment.
    pub ends: bool,
}

/// One frame on its way between the ordering thread and a worker.
#[derive(Default)]
pub(crate) struct FrameChunk {
    /// Plaintext buffer, of which the first `plain_bytes` bytes are in use.
    plain: Vec<u8>,
    plain_bytes: usize,
    /// The compressed frame.
    packed: Vec<u8>,
    /// How the plaintext is cut; the lengths add up to `plain_bytes`.
    pieces: Vec<SegmentPiece>,
    /// Index of the leaf that the first piece belongs to.
    first_leaf: u64,
    key: Option<LeafHasher>,
    /// Leaves of the segments that lie wholly inside this chunk.
    leaves: LeafRange,
    outcome: Option<FrameError>,
}

impl FrameChunk {
    fn plain(&self) -> &[u8] {
        &self.plain[..self.plain_bytes]
    }

    /// Hashes the segments that lie wholly inside this chunk.
    fn hash_leaves(&mut self) {
        self.leaves.clear();
        let key = self
            .key
            .as_ref()
            .expect("set before a chunk is handed to a worker");
        let (mut rest, mut segments) = (
            &self.plain[..self.plain_bytes],
            Vec::with_capacity(self.pieces.len()),
        );
        for piece in &self.pieces {
            let (bytes, after) = rest.split_at(piece.len as usize);
            if piece.starts && piece.ends {
                segments.push((piece.kind, bytes));
            }
            rest = after;
        }
        // A segment that began in an earlier chunk takes the first leaf index.
        let skipped = self
            .pieces
            .first()
            .map_or(0, |first| u64::from(!first.starts));
        key.push_leaves(self.first_leaf + skipped, &segments, &mut self.leaves);
    }
}

/// Joins the leaves of chunks in order, and hashes the segments that span several chunks.
struct LeafCollector {
    key: LeafHasher,
    tree: LeafRange,
    open: Option<Hasher>,
}

impl LeafCollector {
    fn new(key: LeafHasher) -> Self {
        Self {
            key,
            tree: LeafRange::new(),
            open: None,
        }
    }

    fn absorb(&mut self, chunk: &FrameChunk) {
        let (Some(first), Some(last)) = (chunk.pieces.first(), chunk.pieces.last()) else {
            return;
        };
        // The beginning of this segment was hashed with an earlier chunk.
        if !first.starts {
            let mut open = self
                .open
                .take()
                .expect("a piece that continues a segment follows one that began it");
            open.update(&chunk.plain()[..first.len as usize]);
            if first.ends {
                self.tree.push(chunk.first_leaf, open.finish());
            } else {
                self.open = Some(open);
            }
        }
        self.tree.append(&chunk.leaves);
        // The end of this segment comes with a later chunk. A segment that fills whole chunks in
        // between is the case above.
        if last.starts && !last.ends {
            let mut open = self
                .key
                .start(chunk.first_leaf + chunk.pieces.len() as u64 - 1, last.kind);
            open.update(&chunk.plain()[chunk.plain_bytes - last.len as usize..]);
            self.open = Some(open);
        }
    }

    fn root(&self) -> Digest {
        self.tree.root()
    }
}

#[cfg(test)]
mod tests;
