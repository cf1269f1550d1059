//! Reading an item. Structure, lengths and record tree are checked on the fly.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::cuts::{CutChecker, RecordOutsideBlock, UnrecordedBytes};
use super::{FrameChunk, LeafCollector, SegmentPiece, WorkerPool};
use crate::container::zstd::{FrameError, FrameReader};
use crate::digest::Digest;
use crate::id::ItemName;
use crate::limits::FRAME_SEGMENTS_MAX;
use crate::segment::list::{SegmentListError, SegmentListReader};
use crate::segment::{Segment, SegmentKind};
use crate::tree::{DisclosureKey, LeafHasher};
use crate::warc::{WarcError, WarcParser};

/// The blobs of an item are malformed or contradict each other.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// The layer is not zstd of the form that the format prescribes.
    #[error("invalid layer")]
    Frame(#[from] FrameError),
    /// The segment list is malformed.
    #[error("invalid segment list")]
    List(#[from] SegmentListError),
    /// Layer and segment list disagree about the item's length.
    #[error("segment list and layer differ in length")]
    Lengths,
    /// The item is longer than the config states; reading stopped there.
    #[error("item continues after the {bytes} bytes that the config states")]
    Longer {
        /// Bytes that the config states.
        bytes: u64,
    },
    /// A segment that is a record reaches out of the block of one WARC record.
    #[error("a record is not inside of the block of one WARC record")]
    RecordOutsideBlock,
    /// A frame is cut into more segments than the format allows.
    #[error("frame has more than {FRAME_SEGMENTS_MAX} segments")]
    TooManySegments,
    /// The content is not WARC of the form that the format prescribes.
    #[error(transparent)]
    Warc(#[from] WarcError),
    /// The visitor failed to process the content.
    #[error("cannot process the content of the item")]
    Visit(#[source] io::Error),
}

/// Totals of an item, computed while reading all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemContents {
    /// Plaintext bytes.
    pub bytes: u64,
    /// Number of record segments.
    pub records: u64,
    /// Number of all segments, which are the leaves of the record tree.
    pub leaves: u64,
    /// Root of the record tree.
    pub root: Digest,
    /// What stands in no record.
    pub unrecorded: UnrecordedBytes,
    /// How many WARC records have each value of `Exhibit-Gap`.
    pub gap_records: BTreeMap<String, u64>,
}

/// Receives the bytes of an item in order, piece by piece. They are **not verified** until
/// [`read_item`] has returned and its caller has compared [`ItemContents`] and the digests of the
/// blobs with the config.
pub trait PieceVisitor {
    /// Processes the next piece and its bytes.
    ///
    /// # Errors
    /// The visitor cannot process the bytes; reading stops.
    fn piece(&mut self, piece: SegmentPiece, bytes: &[u8]) -> io::Result<()>;
}

/// Ignores the bytes, for callers that only check the item.
impl PieceVisitor for () {
    fn piece(&mut self, _: SegmentPiece, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// Reads an item from its two blobs. `bytes_max` is the size that the config states.
///
/// # Errors
/// See [`ItemError`].
pub fn read_item(
    name: &ItemName,
    key: &DisclosureKey,
    (layer, list): (impl Read, impl Read),
    bytes_max: u64,
    workers: &mut WorkerPool,
    visit: &mut dyn PieceVisitor,
) -> Result<ItemContents, ItemError> {
    // A reading that failed may have left chunks with the workers.
    workers.recall();
    let key = LeafHasher::new(key, name);
    let mut input = ChunkSource {
        frames: FrameReader::new(layer),
        cuts: FrameCutter::new(SegmentListReader::new(list)?),
        key: key.clone(),
        bytes_max,
    };
    let mut output = ChunkSink {
        leaves: LeafCollector::new(key),
        walker: WarcParser::new(),
        cuts: CutChecker::new(),
        bytes: 0,
        records: 0,
        visit,
    };
    let outcome = pump(&mut input, &mut output, workers);
    // After an error, chunks are still at the workers.
    workers.recall();
    outcome?;
    output.walker.finish()?;
    let (unrecorded, gap_records) = output.cuts.finish();
    Ok(ItemContents {
        unrecorded,
        gap_records,
        bytes: output.bytes,
        records: output.records,
        leaves: input.cuts.next_leaf,
        root: output.leaves.root(),
    })
}

fn pump<L: Read, S: Read>(
    input: &mut ChunkSource<L, S>,
    output: &mut ChunkSink<'_>,
    workers: &mut WorkerPool,
) -> Result<(), ItemError> {
    loop {
        let mut chunk = workers.idle();
        // The last call finds the end of the layer and fills no chunk.
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

fn collect(output: &mut ChunkSink<'_>, workers: &mut WorkerPool) -> Result<bool, ItemError> {
    let Some(chunk) = workers.next() else {
        return Ok(false);
    };
    output.take(&chunk)?;
    workers.rest(chunk);
    Ok(true)
}

/// Turns the two blobs of an item into chunks.
struct ChunkSource<L: Read, S: Read> {
    frames: FrameReader<L>,
    cuts: FrameCutter<S>,
    key: LeafHasher,
    bytes_max: u64,
}

impl<L: Read, S: Read> ChunkSource<L, S> {
    /// Fills `chunk` with the next frame; false once both layer and list have ended.
    fn next(&mut self, chunk: &mut FrameChunk) -> Result<bool, ItemError> {
        let Some(plain_bytes) = self.frames.next(&mut chunk.packed)? else {
            return if self.cuts.at_end()? {
                Ok(false)
            } else {
                Err(ItemError::Lengths)
            };
        };
        // Checked before decompression: a small layer can state any number of full frames.
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

/// Cuts frames into pieces as the segment list says.
struct FrameCutter<R: Read> {
    list: SegmentListReader<R>,
    /// The segment that continues in the next frame, with the length of its rest.
    open: Option<Segment>,
    /// Index of the leaf that the next piece belongs to.
    next_leaf: u64,
    bytes: u64,
}

impl<R: Read> FrameCutter<R> {
    fn new(list: SegmentListReader<R>) -> Self {
        Self {
            list,
            open: None,
            next_leaf: 0,
            bytes: 0,
        }
    }

    fn cut(&mut self, plain_bytes: u64, pieces: &mut Vec<SegmentPiece>) -> Result<(), ItemError> {
        pieces.clear();
        self.bytes += plain_bytes;
        let mut left = plain_bytes;
        while left > 0 {
            if pieces.len() as u64 == FRAME_SEGMENTS_MAX {
                return Err(ItemError::TooManySegments);
            }
            // The rest of an open segment comes before the next segment of the list.
            let (starts, segment) = match self.open.take() {
                Some(rest) => (false, rest),
                None => (true, self.list.next_segment()?.ok_or(ItemError::Lengths)?),
            };
            let len = segment.len.min(left);
            let ends = len == segment.len;
            pieces.push(SegmentPiece {
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

    fn at_end(&mut self) -> Result<bool, SegmentListError> {
        Ok(self.open.is_none() && self.list.next_segment()?.is_none())
    }
}

/// Computes the totals of an item from its chunks, and passes the bytes to the visitor.
struct ChunkSink<'v> {
    leaves: LeafCollector,
    walker: WarcParser,
    cuts: CutChecker,
    bytes: u64,
    records: u64,
    visit: &'v mut dyn PieceVisitor,
}

impl ChunkSink<'_> {
    fn take(&mut self, chunk: &FrameChunk) -> Result<(), ItemError> {
        match &chunk.outcome {
            None => {}
            Some(FrameError::Malformed(what)) => return Err(FrameError::Malformed(what).into()),
            // Workers only decompress, so the other errors cannot occur; they are not `Clone`
            // either.
            Some(_) => return Err(FrameError::Malformed("frame does not decompress").into()),
        }
        self.leaves.absorb(chunk);
        self.walker.push(chunk.plain(), &mut self.cuts)?;
        { self.cuts.compare(&chunk.pieces) }
            .map_err(|RecordOutsideBlock| ItemError::RecordOutsideBlock)?;
        self.bytes += chunk.plain_bytes as u64;
        let mut rest = chunk.plain();
        for piece in &chunk.pieces {
            let (bytes, behind) = rest.split_at(piece.len as usize);
            self.records += u64::from(piece.ends && piece.kind == SegmentKind::Record);
            self.visit.piece(*piece, bytes).map_err(ItemError::Visit)?;
            rest = behind;
        }
        Ok(())
    }
}
