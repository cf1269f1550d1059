//! Reading an item: structure, lengths and record tree are checked while the bytes pass.

use std::io::{self, Read};

use super::{FrameChunk, LeafCollector, Workers};
use crate::container::zstd::{FrameError, FrameReader};
use crate::digest::Digest;
use crate::id::ItemName;
use crate::limits::FRAME_SEGMENTS_MAX;
use crate::segment::list::{ListError, ListReader};
use crate::segment::{Kind, Segment};
use crate::tree::{DisclosureKey, LeafKey};
use crate::warc::{WalkError, Walker};

/// An item does not hold what it must.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// Its layer is not zstd as the format has it.
    #[error("layer")]
    Frame(#[from] FrameError),
    /// Its segment list is malformed.
    #[error("segment list")]
    List(#[from] ListError),
    /// Its layer and its segment list disagree about its length.
    #[error("segment list and layer differ in length")]
    Lengths,
    /// It is longer than the config says; reading stopped there.
    #[error("item goes on behind the {bytes} bytes that the config states")]
    Longer {
        /// What the config says.
        bytes: u64,
    },
    /// A frame is cut into more segments than the format allows.
    #[error("frame of more than {FRAME_SEGMENTS_MAX} segments")]
    TooManySegments,
    /// Its content is not WARC as the format has it.
    #[error(transparent)]
    Warc(#[from] WalkError),
    /// The reader of this item (our caller) took no more.
    #[error("cannot write what was read")]
    Visit(#[source] io::Error),
}

/// The part of a segment that lies in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes.
    pub len: u32,
    /// Of the segment.
    pub kind: Kind,
    /// It is the segment's first part.
    pub starts: bool,
    /// It is the segment's last part.
    pub ends: bool,
}

/// What an item holds, as found by reading all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Plaintext bytes.
    pub bytes: u64,
    /// Record segments.
    pub records: u64,
    /// Root of the record tree.
    pub root: Digest,
}

/// Is given an item's bytes in order, piece by piece. They are **not verified** until [`read_item`]
/// has returned and its caller has compared [`Contents`] and the blobs' digests with the config.
pub trait Visit {
    /// The next piece and its bytes.
    ///
    /// # Errors
    /// Whatever the visitor does with the bytes failed.
    fn piece(&mut self, piece: Piece, bytes: &[u8]) -> io::Result<()>;
}

/// For who only wants to know that the item is sound.
impl Visit for () {
    fn piece(&mut self, _: Piece, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Reads an item from its two blobs. `bytes_max` is what the config states.
///
/// # Errors
/// See [`ItemError`].
pub fn read_item(
    name: &ItemName,
    key: &DisclosureKey,
    (layer, list): (impl Read, impl Read),
    bytes_max: u64,
    workers: &mut Workers,
    visit: &mut dyn Visit,
) -> Result<Contents, ItemError> {
    workers.recall();
    let key = LeafKey::new(key, name);
    let mut input = ChunkSource {
        frames: FrameReader::new(layer),
        cuts: FrameCutter::new(ListReader::new(list)?),
        key: key.clone(),
        bytes_max,
    };
    let mut output = ChunkSink {
        leaves: LeafCollector::new(key),
        walker: Walker::new(),
        bytes: 0,
        records: 0,
        visit,
    };
    let outcome = pump(&mut input, &mut output, workers);
    workers.recall();
    outcome?;
    output.walker.finish()?;
    Ok(Contents {
        bytes: output.bytes,
        records: output.records,
        root: output.leaves.root(),
    })
}

fn pump<L: Read, S: Read>(
    input: &mut ChunkSource<L, S>,
    output: &mut ChunkSink<'_>,
    workers: &mut Workers,
) -> Result<(), ItemError> {
    loop {
        let mut chunk = workers.idle();
        if !input.next(&mut chunk)? {
            break;
        }
        workers.give(chunk);
        if workers.is_full() {
            collect(output, workers)?;
        }
    }
    while collect(output, workers)? {}
    Ok(())
}

fn collect(output: &mut ChunkSink<'_>, workers: &mut Workers) -> Result<bool, ItemError> {
    let Some(chunk) = workers.next() else {
        return Ok(false);
    };
    output.take(&chunk)?;
    workers.rest(chunk);
    Ok(true)
}

/// From the blobs to chunks.
struct ChunkSource<L: Read, S: Read> {
    frames: FrameReader<L>,
    cuts: FrameCutter<S>,
    key: LeafKey,
    bytes_max: u64,
}

impl<L: Read, S: Read> ChunkSource<L, S> {
    /// Fills `chunk` with the next frame; false once layer and list have ended together.
    fn next(&mut self, chunk: &mut FrameChunk) -> Result<bool, ItemError> {
        let Some(plain_bytes) = self.frames.next(&mut chunk.packed)? else {
            return if self.cuts.at_end()? {
                Ok(false)
            } else {
                Err(ItemError::Lengths)
            };
        };
        if self.cuts.bytes + plain_bytes > self.bytes_max {
            return Err(ItemError::Longer {
                bytes: self.bytes_max,
            });
        }
        chunk.plain_bytes = plain_bytes as usize;
        chunk.first_leaf = self.cuts.next_leaf;
        chunk.key = Some(self.key.clone());
        chunk.outcome = None;
        self.cuts.cut(plain_bytes, &mut chunk.pieces)?;
        Ok(true)
    }
}

/// Cuts frames as the segment list says.
struct FrameCutter<R: Read> {
    list: ListReader<R>,
    /// The segment that is open at the end of the last frame, with the bytes that are left of it.
    open: Option<Segment>,
    /// Number of the leaf that the next piece belongs to.
    next_leaf: u64,
    bytes: u64,
}

impl<R: Read> FrameCutter<R> {
    fn new(list: ListReader<R>) -> Self {
        Self {
            list,
            open: None,
            next_leaf: 0,
            bytes: 0,
        }
    }

    fn cut(&mut self, plain_bytes: u64, pieces: &mut Vec<Piece>) -> Result<(), ItemError> {
        pieces.clear();
        self.bytes += plain_bytes;
        let mut left = plain_bytes;
        while left > 0 {
            if pieces.len() as u64 == FRAME_SEGMENTS_MAX {
                return Err(ItemError::TooManySegments);
            }
            let (starts, segment) = match self.open.take() {
                Some(rest) => (false, rest),
                None => (true, self.list.next_segment()?.ok_or(ItemError::Lengths)?),
            };
            let len = segment.len.min(left);
            let ends = len == segment.len;
            pieces.push(Piece {
                len: len as u32,
                kind: segment.kind,
                starts,
                ends,
            });
            if ends {
                self.next_leaf += 1;
            } else {
                self.open = Some(Segment {
                    len: segment.len - len,
                    ..segment
                });
            }
            left -= len;
        }
        Ok(())
    }

    fn at_end(&mut self) -> Result<bool, ListError> {
        Ok(self.open.is_none() && self.list.next_segment()?.is_none())
    }
}

/// From chunks to what is known of the item.
struct ChunkSink<'v> {
    leaves: LeafCollector,
    walker: Walker,
    bytes: u64,
    records: u64,
    visit: &'v mut dyn Visit,
}

impl ChunkSink<'_> {
    fn take(&mut self, chunk: &FrameChunk) -> Result<(), ItemError> {
        match &chunk.outcome {
            None => {}
            Some(FrameError::Malformed(what)) => return Err(FrameError::Malformed(what).into()),
            Some(_) => return Err(FrameError::Malformed("frame does not decompress").into()),
        }
        self.leaves.absorb(chunk);
        self.walker.push(chunk.plain(), &mut ())?;
        self.bytes += chunk.plain_bytes as u64;
        let mut rest = chunk.plain();
        for piece in &chunk.pieces {
            let (bytes, behind) = rest.split_at(piece.len as usize);
            self.records += u64::from(piece.ends && piece.kind == Kind::Record);
            self.visit.piece(*piece, bytes).map_err(ItemError::Visit)?;
            rest = behind;
        }
        Ok(())
    }
}
