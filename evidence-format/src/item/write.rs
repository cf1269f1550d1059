//! Writing an item: one pass over its bytes, in constant memory.

use std::io::{self, Read, Write};

use super::{Chunk, Leaves, Pack, Piece};
use crate::container::zstd::{FrameError, SeekTable, trailer};
use crate::digest::{Digest, Hashing};
use crate::id::ItemName;
use crate::limits::{FRAME_SEGMENTS_MAX, WARC_HEADER_BYTES_MAX};
use crate::segment::list::ListWriter;
use crate::segment::{Kind, SNIFF_BYTES, Segment, Segmenter};
use crate::tree::{DisclosureKey, LeafKey};
use crate::warc::{Header, RECORD_END, RecordIds, RecordType};

/// Most bytes that the segmenter sees at once: stays in the processor's cache, and bounds the segments of one step.
const STEP_BYTES: usize = 32 * 1024;
/// Most bytes of one read from a file.
const READ_BYTES: usize = 256 * 1024;

/// An item could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteItemError {
    /// The draft's folder took no more bytes.
    #[error("cannot write item {item}")]
    Write {
        /// The item.
        item: ItemName,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// A worker failed.
    #[error("cannot compress item {item}")]
    Pack {
        /// The item.
        item: ItemName,
        /// Why.
        #[source]
        cause: FrameError,
    },
    /// A block's reader said [`Stop`].
    #[error("item {item} was stopped")]
    Stopped {
        /// The item.
        item: ItemName,
    },
    /// A header block longer than the format allows.
    #[error("item {item} has a record header of {bytes} bytes, limit is {WARC_HEADER_BYTES_MAX}")]
    HeaderTooLarge {
        /// The item.
        item: ItemName,
        /// Bytes of the header.
        bytes: u64,
    },
}

/// An error for a reader to return (inside of an [`io::Error`]) when the work is stopped: it ends the item, whereas other
/// errors become zero bytes, as many as were announced, which for a disk image takes minutes.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub struct Stop;

/// What became of a streamed block.
#[derive(Debug)]
pub struct Streamed {
    /// Bytes that the reader gave. Where they are fewer than announced, zero bytes stand for the rest, and the caller
    /// states the gap.
    pub kept: u64,
    /// Why the reader gave fewer, if it was an error and not merely its end.
    pub error: Option<io::Error>,
}

/// A whole item: what the config says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedItem {
    /// Its name.
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
    /// Records among its segments.
    pub records: u64,
    /// Root of its record tree.
    pub root: Digest,
}

/// An item under way. `L` takes the layer blob, `S` the segment-list blob.
pub struct ItemWriter<'p, L: Write, S: Write> {
    name: ItemName,
    pack: &'p mut Pack,
    ids: RecordIds,
    key: LeafKey,
    leaves: Leaves,
    layer: Hashing<L>,
    list: ListWriter<Hashing<S>>,
    frames: SeekTable,
    bytes: u64,
    records: u64,
    segments: u64,
    cut: Cutter,
    header: String,
}

/// The chunk being filled, and how far it is cut.
struct Cutter {
    chunk: Chunk,
    /// Bytes of the chunk that are filled.
    filled: usize,
    /// Bytes of the chunk that belong to a piece; the rest is `glue_open`, then the segment that the segmenter has open.
    cut: usize,
    /// Complete glue that may still grow.
    glue_open: u64,
    /// Bytes of the open segment that went away in earlier chunks.
    sent: u64,
    /// Segments cut since the last look, for the list.
    list: Vec<Segment>,
}

impl Cutter {
    /// Takes a segment that has ended. Glue waits, because more may follow and two in a row would be two leaves.
    fn take(&mut self, kind: Kind, len: u64) {
        if kind == Kind::Glue && self.sent == 0 {
            self.glue_open += len;
            return;
        }
        self.end_glue();
        let piece = Piece { len: (len - self.sent) as u32, kind, starts: self.sent == 0, ends: true };
        self.sent = 0;
        self.push(piece, Segment { kind, len });
    }

    fn end_glue(&mut self) {
        let len = std::mem::take(&mut self.glue_open);
        if len > 0 {
            let piece = Piece { len: len as u32, kind: Kind::Glue, starts: true, ends: true };
            self.push(piece, Segment { kind: Kind::Glue, len });
        }
    }

    fn push(&mut self, piece: Piece, segment: Segment) {
        self.cut += piece.len as usize;
        self.chunk.pieces.push(piece);
        self.list.push(segment);
    }

    /// Gives what is left of the chunk to a piece whose segment goes on in the next chunk.
    fn split_open_segment(&mut self) {
        let len = self.filled - self.cut;
        if len > 0 {
            let piece = Piece { len: len as u32, kind: Kind::Record, starts: self.sent == 0, ends: false };
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
    /// No memory for the segment list's compression.
    pub fn start(
        pack: &'p mut Pack,
        name: ItemName,
        key: &DisclosureKey,
        ids: RecordIds,
        blobs: (L, S),
    ) -> Result<Self, WriteItemError> {
        let key = LeafKey::new(key, &name);
        let list = ListWriter::new(Hashing::new(blobs.1)).map_err(|cause| WriteItemError::Write { item: name.clone(), cause })?;
        pack.workers.recall();
        let chunk = fresh(pack);
        Ok(Self {
            name,
            leaves: Leaves::new(key.clone()),
            key,
            pack,
            ids,
            layer: Hashing::new(blobs.0),
            list,
            frames: SeekTable::default(),
            bytes: 0,
            records: 0,
            segments: 0,
            cut: Cutter { chunk, filled: 0, cut: 0, glue_open: 0, sent: 0, list: Vec::new() },
            header: String::new(),
        })
    }

    /// Plaintext bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Writes a WARC record whose block is in memory.
    ///
    /// # Errors
    /// See [`WriteItemError`]; the item is of no further use.
    pub fn record(&mut self, header: &Header<'_>, block: &[u8]) -> Result<(), WriteItemError> {
        self.record_stream(header, block.len() as u64, &mut &block[..]).map(drop)
    }

    /// Writes a WARC record whose block is the next `block_bytes` bytes of `block`.
    ///
    /// # Errors
    /// See [`WriteItemError`]; the item is of no further use. An error of `block` is no error here: see [`Streamed`].
    pub fn record_stream(
        &mut self,
        header: &Header<'_>,
        block_bytes: u64,
        block: &mut dyn Read,
    ) -> Result<Streamed, WriteItemError> {
        let mut text = std::mem::take(&mut self.header);
        text.clear();
        header.write(&mut self.ids, block_bytes, &mut text);
        if text.len() as u64 > WARC_HEADER_BYTES_MAX {
            return Err(WriteItemError::HeaderTooLarge { item: self.name.clone(), bytes: text.len() as u64 });
        }
        self.glue(text.as_bytes())?;
        self.header = text;
        // what is said about an item is no evidence: it makes no record
        let segmenter = (header.kind == RecordType::Warcinfo).then(Segmenter::glue);
        let streamed = self.block(segmenter, block_bytes, block)?;
        self.glue(RECORD_END)?;
        Ok(streamed)
    }

    /// Ends the item: waits for its last chunks and writes what follows the frames. `salt` is 32 random bytes.
    ///
    /// # Errors
    /// See [`WriteItemError`].
    pub fn finish(mut self, salt: &[u8; 32]) -> Result<(FinishedItem, L, S), WriteItemError> {
        self.cut.end_glue();
        self.list_segments()?;
        self.send()?;
        while self.collect()? {}
        let failed = |cause| WriteItemError::Write { item: self.name.clone(), cause };
        self.layer.write_all(&trailer(self.frames, salt)).map_err(failed)?;
        let (layer_blob, layer, layer_bytes) = self.layer.finish();
        let (list_blob, segments, segments_bytes) = self.list.finish().map_err(failed)?.finish();
        let (bytes, records, root) = (self.bytes, self.records, self.leaves.root());
        let item = FinishedItem { name: self.name, layer, layer_bytes, segments, segments_bytes, bytes, records, root };
        Ok((item, layer_blob, list_blob))
    }

    /// Takes a block. Unless a segmenter is given, the block's first bytes choose one.
    fn block(
        &mut self,
        mut segmenter: Option<Segmenter>,
        block_bytes: u64,
        block: &mut dyn Read,
    ) -> Result<Streamed, WriteItemError> {
        let mut block = Block { reader: block, ended: false, streamed: Streamed { kept: 0, error: None } };
        let mut left = block_bytes;
        while left > 0 {
            self.make_room(segmenter.as_mut())?;
            let room = &mut self.cut.chunk.plain[self.cut.filled..self.pack.frame_bytes];
            let want = room.len().min(READ_BYTES).min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = block.fill(&mut room[..want]);
            if block.is_stopped() {
                return Err(WriteItemError::Stopped { item: self.name.clone() });
            }
            let segmenter = segmenter.get_or_insert_with(|| Segmenter::sniff(&room[..got.min(SNIFF_BYTES)]));
            self.fill(got, segmenter)?;
            left -= got as u64;
        }
        if let Some(segmenter) = segmenter {
            segmenter.finish(&mut |kind, len| self.cut.take(kind, len));
            self.list_segments()?;
        }
        Ok(block.streamed)
    }

    /// Lets the segmenter see the next `n` bytes of the chunk, in small steps.
    fn fill(&mut self, n: usize, segmenter: &mut Segmenter) -> Result<(), WriteItemError> {
        let mut end = self.cut.filled + n;
        while self.cut.filled < end {
            let step = STEP_BYTES.min(end - self.cut.filled);
            let from = self.cut.filled;
            let bytes = std::mem::take(&mut self.cut.chunk.plain);
            self.cut.filled += step;
            self.bytes += step as u64;
            segmenter.push(&bytes[from..from + step], &mut |kind, len| self.cut.take(kind, len));
            self.cut.chunk.plain = bytes;
            self.list_segments()?;
            if self.cut.chunk.pieces.len() + STEP_BYTES > FRAME_SEGMENTS_MAX as usize {
                let before = self.cut.cut;
                self.send_cut(end)?;
                end -= before;
            }
        }
        Ok(())
    }

    /// Adds bytes that belong to no record.
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

    /// Sends the chunk away if it is full. A long open segment is split; a short one moves to the next chunk whole.
    fn make_room(&mut self, segmenter: Option<&mut Segmenter>) -> Result<(), WriteItemError> {
        if self.cut.filled < self.pack.frame_bytes {
            return Ok(());
        }
        if self.cut.filled - self.cut.cut > self.pack.frame_bytes / 2 {
            if let Some(segmenter) = segmenter {
                segmenter.commit(&mut |kind, len| self.cut.take(kind, len));
            }
            self.cut.end_glue();
            self.cut.split_open_segment();
            self.list_segments()?;
        }
        self.send_cut(self.cut.filled)
    }

    /// Sends what is cut, and moves the bytes behind it, up to `end`, to a fresh chunk.
    fn send_cut(&mut self, end: usize) -> Result<(), WriteItemError> {
        let (from, filled) = (self.cut.cut, self.cut.filled);
        let mut next = fresh(self.pack);
        next.plain[..end - from].copy_from_slice(&self.cut.chunk.plain[from..end]);
        std::mem::swap(&mut self.cut.chunk, &mut next);
        self.cut.filled = filled - from;
        self.cut.cut = 0;
        self.give(next, from)
    }

    /// Sends the whole chunk.
    fn send(&mut self) -> Result<(), WriteItemError> {
        let chunk = std::mem::take(&mut self.cut.chunk);
        let (filled, cut) = (std::mem::take(&mut self.cut.filled), std::mem::take(&mut self.cut.cut));
        debug_assert_eq!(filled, cut, "every byte belongs to a segment");
        if filled == 0 {
            self.pack.workers.rest(chunk);
            return Ok(());
        }
        self.give(chunk, filled)
    }

    fn give(&mut self, mut chunk: Chunk, plain_bytes: usize) -> Result<(), WriteItemError> {
        if self.pack.workers.is_full() {
            self.collect()?;
        }
        chunk.plain_bytes = plain_bytes;
        chunk.first_leaf = self.segments;
        chunk.key = Some(self.key.clone());
        let ended = chunk.pieces.last().map_or(0, |last| u64::from(last.ends));
        self.segments += (chunk.pieces.len() as u64).saturating_sub(1) + ended;
        self.pack.workers.give(chunk);
        Ok(())
    }

    /// Writes the oldest chunk that is out; false if none is.
    fn collect(&mut self) -> Result<bool, WriteItemError> {
        let Some(mut chunk) = self.pack.workers.next() else { return Ok(false) };
        if let Some(cause) = chunk.outcome.take() {
            return Err(WriteItemError::Pack { item: self.name.clone(), cause });
        }
        self.leaves.absorb(&chunk);
        self.frames.push(chunk.packed.len(), chunk.plain_bytes);
        let written = self.layer.write_all(&chunk.packed);
        self.pack.workers.rest(chunk);
        written.map_err(|cause| WriteItemError::Write { item: self.name.clone(), cause })?;
        Ok(true)
    }

    fn list_segments(&mut self) -> Result<(), WriteItemError> {
        for segment in self.cut.list.drain(..) {
            self.records += u64::from(segment.kind == Kind::Record);
            self.list.push(segment).map_err(|cause| WriteItemError::Write { item: self.name.clone(), cause })?;
        }
        Ok(())
    }
}

/// A chunk with room for one frame.
fn fresh(pack: &mut Pack) -> Chunk {
    let mut chunk = pack.workers.idle();
    chunk.plain.resize(pack.frame_bytes, 0);
    chunk.pieces.clear();
    chunk
}

/// A block's reader. It is not asked again once it has ended or failed: what it gave then would stand behind zero bytes, at another
/// place than it has in the object.
struct Block<'r> {
    reader: &'r mut dyn Read,
    ended: bool,
    streamed: Streamed,
}

impl Block<'_> {
    /// Reads once into `buffer`; zero bytes fill all of it where nothing more is to be had. Says how many bytes it gave.
    fn fill(&mut self, buffer: &mut [u8]) -> usize {
        while !self.ended {
            match self.reader.read(buffer) {
                Ok(n @ 1..) => {
                    self.streamed.kept += n as u64;
                    return n;
                }
                Ok(0) => self.ended = true,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.streamed.error = Some(e);
                    self.ended = true;
                }
            }
        }
        buffer.fill(0);
        buffer.len()
    }

    fn is_stopped(&self) -> bool {
        self.streamed.error.as_ref().and_then(io::Error::get_ref).is_some_and(|error| error.is::<Stop>())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::item::{Piece, Visit, Workers, read_item};

    /// Gives `first`, fails (or ends) once, and would then go on.
    struct Recovers {
        first: &'static [u8],
        fails: bool,
        asked: usize,
    }

    impl Read for Recovers {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.asked += 1;
            match self.asked {
                1 => self.first.read(buffer),
                2 if self.fails => Err(io::Error::other("bad block")),
                2 => Ok(0),
                _ => (&b"LATER"[..]).read(buffer),
            }
        }
    }

    #[derive(Default)]
    struct All(Vec<u8>);

    impl Visit for All {
        fn piece(&mut self, _: Piece, bytes: &[u8]) -> io::Result<()> {
            self.0.extend(bytes);
            Ok(())
        }
    }

    #[test]
    fn nothing_is_taken_from_a_reader_that_has_ended_or_failed() {
        for fails in [true, false] {
            let (name, key): (ItemName, _) = ("x".parse().expect("a name"), DisclosureKey::new([0; 32]));
            let mut pack = Pack::new(NonZeroUsize::MIN, 4096);
            let header = Header {
                kind: RecordType::Resource,
                target_uri: None,
                date: "2026-11-23T13:40:17Z".parse().expect("a time"),
                content_type: "text/plain",
                truncated: None,
                fields: &[],
            };
            let blobs = (Vec::new(), Vec::new());
            let mut item = ItemWriter::start(&mut pack, name.clone(), &key, RecordIds::new([0; 8]), blobs).expect("memory");
            let mut reader = Recovers { first: b"before", fails, asked: 0 };
            let streamed = item.record_stream(&header, 10_000, &mut reader).expect("memory");
            assert_eq!((streamed.kept, streamed.error.is_some()), (6, fails));
            let (_, layer, list) = item.finish(&[0; 32]).expect("memory");
            let (mut all, mut workers) = (All::default(), Workers::unpack(NonZeroUsize::MIN));
            read_item(&name, &key, (&layer[..], &list[..]), u64::MAX, &mut workers, &mut all).expect("own output");
            let block = [&b"\r\n\r\nbefore"[..], &[0; 9994], b"\r\n\r\n"].concat();
            assert!(all.0.ends_with(&block), "the rest is zero bytes");
        }
    }
}
