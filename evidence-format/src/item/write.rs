//! Writing an item: one pass over its bytes, in constant memory.

use std::io::{self, Read, Write};

use super::block::{BlockReader, CutPolicy, StreamedBlock};
use super::{CompressionPool, FrameChunk, LeafCollector, SegmentPiece};
use crate::container::zstd::{FrameError, SeekTable, trailer};
use crate::digest::{Digest, HashingStream};
use crate::id::ItemName;
use crate::limits::{FRAME_SEGMENTS_MAX, ITEM_BYTES_MAX, SEGMENT_LIST_BYTES_MAX};
use crate::segment::list::SegmentListWriter;
use crate::segment::{Segment, SegmentKind, Segmenter};
use crate::tree::{DisclosureKey, LeafHasher};
use crate::warc::{HeaderTooLarge, RECORD_END, RecordIds, WarcError, WarcHeader, records};

/// Bytes passed to the segmenter at once: they stay in the processor's cache, and bound the number
/// of segments of one step.
const STEP_BYTES: usize = 32 * 1024;
/// Bytes of one read from a block's reader.
const READ_BYTES: usize = 256 * 1024;

/// An item could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteItemError {
    /// Writing the layer or the segment list failed.
    #[error("cannot write item {item}")]
    Write {
        /// The item.
        item: ItemName,
        /// The writer's error.
        #[source]
        cause: io::Error,
    },
    /// A worker failed to compress a frame.
    #[error("cannot compress item {item}")]
    Pack {
        /// The item.
        item: ItemName,
        /// The worker's error.
        #[source]
        cause: FrameError,
    },
    /// The reader of a block returned [`StopError`](super::StopError).
    #[error("capture of item {item} was stopped")]
    Stopped {
        /// The item.
        item: ItemName,
    },
    /// The item or its segment list is longer than the format allows.
    #[error("item {item} is longer than the format allows")]
    TooLong {
        /// The item.
        item: ItemName,
    },
    /// A record's header block is longer than the format allows.
    #[error("cannot write a record of item {item}")]
    HeaderTooLarge {
        /// The item.
        item: ItemName,
        /// The length of the header block.
        #[source]
        cause: HeaderTooLarge,
    },
    /// The bytes to append are not complete records. Nothing was written.
    #[error("cannot append records to item {item}")]
    Append {
        /// The item.
        item: ItemName,
        /// What is wrong with the bytes.
        #[source]
        cause: WarcError,
    },
}

/// A finished item, with everything that the config states about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedItem {
    /// Name of the item.
    pub name: ItemName,
    /// Digest of the layer blob.
    pub layer: Digest,
    /// Bytes of the layer blob.
    pub layer_bytes: u64,
    /// Digest of the segment-list blob.
    pub segments: Digest,
    /// Bytes of the segment-list blob.
    pub segments_bytes: u64,
    /// Plaintext bytes.
    pub bytes: u64,
    /// Number of record segments.
    pub records: u64,
    /// Number of all segments, which are the leaves of the record tree.
    pub leaves: u64,
    /// Root of the record tree.
    pub root: Digest,
}

/// Writes an item: the layer blob to `L`, the segment-list blob to `S`.
pub struct ItemWriter<'p, L: Write, S: Write> {
    name: ItemName,
    pack: &'p mut CompressionPool,
    ids: RecordIds,
    key: LeafHasher,
    leaves: LeafCollector,
    layer: HashingStream<L>,
    list: SegmentListWriter<HashingStream<S>>,
    frames: SeekTable,
    bytes: u64,
    records: u64,
    segments: u64,
    cut: ChunkCutter,
    /// Reused buffer, as is `ahead`.
    header: String,
    ahead: Vec<u8>,
}

/// The chunk that is being filled, and how far it is cut into segments.
struct ChunkCutter {
    chunk: FrameChunk,
    /// Bytes of the chunk that are filled.
    filled: usize,
    /// Bytes of the chunk that belong to a piece. After them come `glue_open` bytes of glue, then
    /// the open segment of the segmenter.
    cut: usize,
    /// Bytes of complete glue that may still grow.
    glue_open: u64,
    /// Bytes of the open segment that were sent in earlier chunks.
    sent: u64,
    /// Segments that still have to be written to the segment list.
    list: Vec<Segment>,
}

impl ChunkCutter {
    /// Takes a segment that has ended. Glue is held back because more may follow, and two adjoining
    /// glue segments would cost two leaves.
    fn take(&mut self, kind: SegmentKind, len: u64) {
        // Glue of which a part was already sent in another chunk cannot be merged any more.
        if kind == SegmentKind::Glue && self.sent == 0 {
            self.glue_open += len;
            return;
        }
        self.end_glue();
        // The leaf's hash has begun with the kind of the part that was sent: see
        // `split_open_segment`.
        let kind = if self.sent > 0 {
            SegmentKind::Record
        } else {
            kind
        };
        let piece = SegmentPiece {
            len: (len - self.sent) as u32,
            kind,
            starts: self.sent == 0,
            ends: true,
        };
        self.sent = 0;
        self.push(piece, Segment { kind, len });
    }

    fn end_glue(&mut self) {
        let len = std::mem::take(&mut self.glue_open);
        if len > 0 {
            let piece = SegmentPiece {
                len: len as u32,
                kind: SegmentKind::Glue,
                starts: true,
                ends: true,
            };
            self.push(
                piece,
                Segment {
                    kind: SegmentKind::Glue,
                    len,
                },
            );
        }
    }

    fn push(&mut self, piece: SegmentPiece, segment: Segment) {
        self.cut += piece.len as usize;
        self.chunk.pieces.push(piece);
        self.list.push(segment);
    }

    /// Bytes of the chunk that do not belong to a piece yet.
    fn uncut(&self) -> usize {
        self.filled - self.cut
    }

    /// Turns the rest of the chunk into a piece whose segment continues in the next chunk.
    fn split_open_segment(&mut self) {
        let len = self.uncut();
        if len > 0 {
            // Glue that is still open is ended before, so the open segment becomes a record.
            let piece = SegmentPiece {
                len: len as u32,
                kind: SegmentKind::Record,
                starts: self.sent == 0,
                ends: false,
            };
            self.chunk.pieces.push(piece);
            self.cut += len;
            self.sent += len as u64;
        }
    }
}

impl<'p, L: Write, S: Write> ItemWriter<'p, L, S> {
    /// Starts an item. `ids` must come from a fresh seed.
    ///
    /// # Errors
    /// zstd cannot allocate memory for the segment list.
    pub fn start(
        pack: &'p mut CompressionPool,
        name: ItemName,
        key: &DisclosureKey,
        ids: RecordIds,
        blobs: (L, S),
    ) -> Result<Self, WriteItemError> {
        let key = LeafHasher::new(key, &name);
        let list = SegmentListWriter::new(HashingStream::new(blobs.1)).map_err(|cause| {
            WriteItemError::Write {
                item: name.clone(),
                cause,
            }
        })?;
        // An item that was dropped unfinished may have left chunks with the workers.
        pack.workers.recall();
        let chunk = fresh(pack);
        Ok(Self {
            name,
            leaves: LeafCollector::new(key.clone()),
            key,
            pack,
            ids,
            layer: HashingStream::new(blobs.0),
            list,
            frames: SeekTable::default(),
            bytes: 0,
            records: 0,
            segments: 0,
            cut: ChunkCutter {
                chunk,
                filled: 0,
                cut: 0,
                glue_open: 0,
                sent: 0,
                list: Vec::new(),
            },
            header: String::new(),
            ahead: Vec::new(),
        })
    }

    /// Plaintext bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records written so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Writes a WARC record whose block is in memory.
    ///
    /// # Errors
    /// See [`WriteItemError`]; the item is unusable then.
    pub fn record(&mut self, header: &WarcHeader<'_>, block: &[u8]) -> Result<(), WriteItemError> {
        self.record_stream(header, block.len() as u64, &mut &block[..])
            .map(drop)
    }

    /// Writes a WARC record whose block is the next `block_bytes` bytes of `block`.
    ///
    /// # Errors
    /// See [`WriteItemError`]; the item is unusable then. An error of `block` itself is not an
    /// error here, but reported in [`StreamedBlock`].
    pub fn record_stream(
        &mut self,
        header: &WarcHeader<'_>,
        block_bytes: u64,
        block: &mut dyn Read,
    ) -> Result<StreamedBlock, WriteItemError> {
        let mut text = std::mem::take(&mut self.header);
        text.clear();
        let id = header.write(&mut self.ids, block_bytes, &mut text);
        id.map_err(|cause| WriteItemError::HeaderTooLarge {
            item: self.name.clone(),
            cause,
        })?;
        self.glue(text.as_bytes())?;
        self.header = text;
        let policy = CutPolicy::of(header.kind.as_str(), header.content_type);
        let streamed = self.block(policy, block_bytes, block)?;
        self.glue(RECORD_END)?;
        Ok(streamed)
    }

    /// Writes complete records unchanged, including their ids, as made by
    /// [`write_record`](crate::warc::write_record). They are cut into segments as [`Self::record`]
    /// would do it.
    ///
    /// # Errors
    /// [`WriteItemError::Append`] if `warc` is anything but complete records; nothing is written
    /// then, and the item can still be used. Otherwise see [`WriteItemError`]; the item is unusable
    /// then.
    pub fn append(&mut self, warc: &[u8]) -> Result<(), WriteItemError> {
        // All records are parsed before the first is written, so that a bad one leaves no trace.
        let records: Result<Vec<_>, _> = records(warc).collect();
        for record in records.map_err(|cause| WriteItemError::Append {
            item: self.name.clone(),
            cause,
        })? {
            let field = |name| record.fields.get(name).unwrap_or_default();
            let policy = CutPolicy::of(field("WARC-Type"), field("Content-Type"));
            self.glue(record.header)?;
            self.block(policy, record.block.len() as u64, &mut &record.block[..])?;
            self.glue(RECORD_END)?;
        }
        Ok(())
    }

    /// Ends the item: waits for the last chunks, then writes the salt frame and the seek table.
    /// `salt` is 32 random bytes.
    ///
    /// # Errors
    /// See [`WriteItemError`].
    pub fn finish(mut self, salt: &[u8; 32]) -> Result<(FinishedItem, L, S), WriteItemError> {
        self.cut.end_glue();
        self.list_segments()?;
        self.send()?;
        while self.collect()? {}
        // The digests of both blobs are complete only now, after the last byte of each.
        let failed = |cause| WriteItemError::Write {
            item: self.name.clone(),
            cause,
        };
        self.layer
            .write_all(&trailer(self.frames, salt))
            .map_err(failed)?;
        let (layer_blob, layer, layer_bytes) = self.layer.finish();
        let (list_blob, segments, segments_bytes) = self.list.finish().map_err(failed)?.finish();
        let (bytes, records, leaves) = (self.bytes, self.records, self.segments);
        if segments_bytes > SEGMENT_LIST_BYTES_MAX || bytes > ITEM_BYTES_MAX {
            return Err(WriteItemError::TooLong { item: self.name });
        }
        let root = self.leaves.root();
        let item = FinishedItem {
            name: self.name,
            layer,
            layer_bytes,
            segments,
            segments_bytes,
            bytes,
            records,
            leaves,
            root,
        };
        Ok((item, layer_blob, list_blob))
    }

    /// Writes a record's block, cut by `policy`.
    fn block(
        &mut self,
        policy: CutPolicy,
        bytes: u64,
        reader: &mut dyn Read,
    ) -> Result<StreamedBlock, WriteItemError> {
        let mut block = BlockReader::new(reader, bytes, std::mem::take(&mut self.ahead));
        let mut segmenter = match policy {
            CutPolicy::Glue => Segmenter::glue(),
            CutPolicy::Body => block.sniff(),
            CutPolicy::HttpResponse => {
                let head_bytes = block.http_head_bytes();
                self.glue(block.take_ahead(head_bytes))?;
                block.sniff()
            }
        };
        // Bytes are read straight into the chunk, which is then compressed in place.
        while block.left() > 0 {
            self.make_room(Some(&mut segmenter))?;
            let room = &mut self.cut.chunk.plain[self.cut.filled..self.pack.frame_bytes];
            let want = room.len().min(READ_BYTES);
            let got = block.fill(&mut room[..want]);
            if block.is_stopped() {
                return Err(WriteItemError::Stopped {
                    item: self.name.clone(),
                });
            }
            self.fill(got, &mut segmenter)?;
        }
        segmenter.finish(&mut |kind, len| self.cut.take(kind, len));
        self.list_segments()?;
        let (streamed, memory) = block.finish();
        self.ahead = memory;
        Ok(streamed)
    }

    /// Passes the next `n` bytes of the chunk to the segmenter, in small steps.
    fn fill(&mut self, n: usize, segmenter: &mut Segmenter) -> Result<(), WriteItemError> {
        let mut end = self.cut.filled + n;
        while self.cut.filled < end {
            let step = STEP_BYTES.min(end - self.cut.filled);
            let from = self.cut.filled;
            // The segmenter reads the buffer while the callback changes the cutter, so the buffer
            // is taken out for the call.
            let bytes = std::mem::take(&mut self.cut.chunk.plain);
            self.cut.filled += step;
            self.bytes += step as u64;
            segmenter.push(&bytes[from..from + step], &mut |kind, len| {
                self.cut.take(kind, len)
            });
            self.cut.chunk.plain = bytes;
            self.list_segments()?;
            // The next step could cut every byte into a segment of its own.
            if self.cut.chunk.pieces.len() + STEP_BYTES > FRAME_SEGMENTS_MAX as usize {
                let before = self.cut.cut; // bytes that leave the chunk, so `end` moves too
                self.send_cut(end)?;
                end -= before;
            }
        }
        Ok(())
    }

    /// Writes bytes that do not belong to any record.
    fn glue(&mut self, mut bytes: &[u8]) -> Result<(), WriteItemError> {
        while !bytes.is_empty() {
            self.make_room(None)?;
            let room = &mut self.cut.chunk.plain[self.cut.filled..self.pack.frame_bytes];
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            self.cut.filled += n;
            self.cut.glue_open += n as u64;
            self.bytes += n as u64;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Sends the chunk to a worker if it is full. An open segment longer than half a frame is
    /// split, a shorter one moves to the next chunk.
    fn make_room(&mut self, segmenter: Option<&mut Segmenter>) -> Result<(), WriteItemError> {
        if self.cut.filled < self.pack.frame_bytes {
            return Ok(());
        }
        let long = self.pack.frame_bytes / 2;
        if self.cut.uncut() > long {
            self.cut.end_glue(); // if the glue was the long part, the segment after it stays whole
        }
        if self.cut.uncut() > long {
            if let Some(segmenter) = segmenter {
                segmenter.commit(&mut |kind, len| self.cut.take(kind, len));
            }
            self.cut.end_glue();
            self.cut.split_open_segment();
        }
        self.list_segments()?;
        self.send_cut(self.cut.filled)
    }

    /// Sends the bytes that are cut, and moves the bytes after them, up to `end`, to a fresh chunk.
    fn send_cut(&mut self, end: usize) -> Result<(), WriteItemError> {
        let (from, filled) = (self.cut.cut, self.cut.filled);
        let mut next = fresh(self.pack);
        next.plain[..end - from].copy_from_slice(&self.cut.chunk.plain[from..end]);
        std::mem::swap(&mut self.cut.chunk, &mut next);
        self.cut.filled = filled - from;
        self.cut.cut = 0;
        self.give(next, from)
    }

    /// Sends the last chunk, which must be cut completely.
    fn send(&mut self) -> Result<(), WriteItemError> {
        let chunk = std::mem::take(&mut self.cut.chunk);
        let (filled, cut) = (
            std::mem::take(&mut self.cut.filled),
            std::mem::take(&mut self.cut.cut),
        );
        debug_assert_eq!(filled, cut, "every byte belongs to a segment");
        if filled == 0 {
            self.pack.workers.rest(chunk);
            return Ok(());
        }
        self.give(chunk, filled)
    }

    fn give(&mut self, mut chunk: FrameChunk, plain_bytes: usize) -> Result<(), WriteItemError> {
        // Writing a finished frame first bounds the memory to a fixed number of chunks.
        if self.pack.workers.is_full() {
            self.collect()?;
        }
        chunk.plain_bytes = plain_bytes;
        chunk.first_leaf = self.segments;
        chunk.key = Some(self.key.clone());
        // A segment that continues in the next chunk keeps its leaf index.
        let ended = chunk.pieces.last().map_or(0, |last| u64::from(last.ends));
        self.segments += (chunk.pieces.len() as u64).saturating_sub(1) + ended;
        self.pack.workers.give(chunk);
        Ok(())
    }

    /// Waits for the oldest chunk at the workers and writes its frame; false if there is none.
    fn collect(&mut self) -> Result<bool, WriteItemError> {
        let Some(mut chunk) = self.pack.workers.next() else {
            return Ok(false);
        };
        if let Some(cause) = chunk.outcome.take() {
            return Err(WriteItemError::Pack {
                item: self.name.clone(),
                cause,
            });
        }
        self.leaves.absorb(&chunk);
        self.frames.push(chunk.packed.len(), chunk.plain_bytes);
        let written = self.layer.write_all(&chunk.packed);
        // The chunk goes back even if writing failed, so that the workers can be used again.
        self.pack.workers.rest(chunk);
        written.map_err(|cause| WriteItemError::Write {
            item: self.name.clone(),
            cause,
        })?;
        Ok(true)
    }

    fn list_segments(&mut self) -> Result<(), WriteItemError> {
        for segment in self.cut.list.drain(..) {
            self.records += u64::from(segment.kind == SegmentKind::Record);
            self.list
                .push(segment)
                .map_err(|cause| WriteItemError::Write {
                    item: self.name.clone(),
                    cause,
                })?;
        }
        Ok(())
    }
}

/// An empty chunk with room for one frame.
fn fresh(pack: &mut CompressionPool) -> FrameChunk {
    let mut chunk = pack.workers.idle();
    chunk.plain.resize(pack.frame_bytes, 0);
    chunk.pieces.clear();
    chunk
}
