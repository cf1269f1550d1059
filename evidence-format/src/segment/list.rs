//! The segment list says which bytes of an item are records. It is a blob of its own beside the
//! item.
//!
//! Before compression it is one unsigned LEB128 number for each segment, in order: `2 × length + 1`
//! for a record, `2 × length` for glue. Lengths are at least 1, and numbers have as few bytes as
//! possible. The compressed list is exactly one zstd frame.

use std::io::{self, BufReader, Chain, Cursor, Read, Write};

use zstd::stream::{read::Decoder, write::Encoder};

use super::{Segment, SegmentKind};
use crate::limits::{ITEM_BYTES_MAX, SEGMENT_LIST_WINDOW_LOG_MAX};

/// Compression level. Lists are small, and level 3 saves a tenth.
const LEVEL: i32 = 3;
/// Window of the compression: 128 KiB of memory for both writer and reader.
const WINDOW_LOG: u32 = 17;

/// First bytes of a zstd data frame (RFC 8878 §3.1.1). The decoder on its own would also accept a
/// skippable frame.
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// A segment list was rejected.
#[derive(Debug, thiserror::Error)]
pub enum SegmentListError {
    /// The list cannot be read or decompressed.
    #[error("cannot read the segment list")]
    Read(#[source] io::Error),
    /// A number is cut off, not in its shortest form, or out of range.
    #[error("malformed segment list: {0}")]
    Malformed(&'static str),
}

/// Writes a segment list.
pub struct SegmentListWriter<W: Write>(Encoder<'static, W>);

impl<W: Write> SegmentListWriter<W> {
    /// Starts an empty list.
    ///
    /// # Errors
    /// zstd cannot allocate memory.
    pub fn new(inner: W) -> io::Result<Self> {
        let mut encoder = Encoder::new(inner, LEVEL)?;
        encoder.window_log(WINDOW_LOG)?;
        Ok(Self(encoder))
    }

    /// Adds a segment of at least one byte.
    ///
    /// # Errors
    /// The inner writer failed.
    pub fn push(&mut self, segment: Segment) -> io::Result<()> {
        let mut bytes = [0; 10];
        self.0.write_all(encode(segment, &mut bytes))
    }

    /// Ends the list and returns the inner writer.
    ///
    /// # Errors
    /// The inner writer failed.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

fn encode(segment: Segment, bytes: &mut [u8; 10]) -> &[u8] {
    let mut rest = segment.len << 1 | u64::from(segment.kind == SegmentKind::Record);
    for i in 0..bytes.len() {
        bytes[i] = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            return &bytes[..=i];
        }
        bytes[i] |= 0x80;
    }
    unreachable!("ten groups of seven bits hold any u64")
}

/// Reads a segment list, in constant memory.
pub struct SegmentListReader<R: Read>(BufReader<Decoder<'static, BufReader<WithMagic<R>>>>);

/// The blob, preceded by its first four bytes, which were read to check them.
type WithMagic<R> = Chain<Cursor<[u8; 4]>, R>;

impl<R: Read> SegmentListReader<R> {
    /// Starts at the first segment.
    ///
    /// # Errors
    /// The blob is not a zstd frame, or zstd cannot allocate memory.
    pub fn new(mut inner: R) -> Result<Self, SegmentListError> {
        let mut magic = [0; 4];
        inner
            .read_exact(&mut magic)
            .map_err(SegmentListError::Read)?;
        if magic != MAGIC {
            return Err(SegmentListError::Malformed("not a zstd frame"));
        }
        let mut decoder = Decoder::new(Cursor::new(magic).chain(inner))
            .map_err(SegmentListError::Read)?
            .single_frame();
        decoder
            .window_log_max(SEGMENT_LIST_WINDOW_LOG_MAX)
            .map_err(SegmentListError::Read)?;
        Ok(Self(BufReader::new(decoder)))
    }

    /// Reads the next segment; `None` at the end of the list, if nothing follows it.
    ///
    /// # Errors
    /// See [`SegmentListError`].
    pub fn next_segment(&mut self) -> Result<Option<Segment>, SegmentListError> {
        let mut number = 0_u64;
        // Ten groups of seven bits hold 64 bits, of which the tenth has one.
        for shift in (0..70).step_by(7) {
            let Some(byte) = self.byte()? else {
                return if shift == 0 {
                    self.end()
                } else {
                    Err(SegmentListError::Malformed("ends inside a number"))
                };
            };
            let group = u64::from(byte & 0x7f);
            if shift == 63 && group > 1 {
                return Err(SegmentListError::Malformed("number above 64 bits"));
            }
            number |= group << shift;
            if byte & 0x80 == 0 {
                // A last group of zero adds nothing, so the number would have a second spelling.
                let shortest = byte != 0 || shift == 0;
                return if shortest {
                    segment(number).map(Some)
                } else {
                    Err(SegmentListError::Malformed(
                        "number is not in its shortest form",
                    ))
                };
            }
        }
        Err(SegmentListError::Malformed("number above 64 bits"))
    }

    fn byte(&mut self) -> Result<Option<u8>, SegmentListError> {
        let mut byte = [0];
        let n = self.0.read(&mut byte).map_err(SegmentListError::Read)?;
        Ok((n == 1).then_some(byte[0]))
    }

    fn end(&mut self) -> Result<Option<Segment>, SegmentListError> {
        // The decoder stops after its frame; the reader below it sees what follows.
        let trailing = self
            .0
            .get_mut()
            .get_mut()
            .read(&mut [0])
            .map_err(SegmentListError::Read)?;
        if trailing == 0 {
            Ok(None)
        } else {
            Err(SegmentListError::Malformed("bytes after its zstd frame"))
        }
    }
}

fn segment(number: u64) -> Result<Segment, SegmentListError> {
    let (len, kind) = (
        number >> 1,
        if number & 1 == 1 {
            SegmentKind::Record
        } else {
            SegmentKind::Glue
        },
    );
    match len {
        0 => Err(SegmentListError::Malformed("segment has no bytes")),
        1..=ITEM_BYTES_MAX => Ok(Segment { kind, len }),
        _ => Err(SegmentListError::Malformed(
            "segment is longer than the longest item",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(plain: &[u8]) -> Result<Vec<Segment>, SegmentListError> {
        let packed = zstd::encode_all(plain, 3).expect("in memory");
        let mut reader = SegmentListReader::new(&packed[..])?;
        let mut segments = Vec::new();
        while let Some(segment) = reader.next_segment()? {
            segments.push(segment);
        }
        Ok(segments)
    }

    #[test]
    fn written_lists_can_be_read() {
        let lens = [1, 63, 64, 127, 128, 8191, 8192, 1 << 40];
        let segments: Vec<Segment> = lens
            .iter()
            .flat_map(|&len| {
                [SegmentKind::Glue, SegmentKind::Record].map(|kind| Segment { kind, len })
            })
            .collect();
        let mut writer = SegmentListWriter::new(Vec::new()).expect("memory");
        for s in &segments {
            writer.push(*s).expect("in memory");
        }
        let packed = writer.finish().expect("in memory");
        let plain = zstd::decode_all(&packed[..]).expect("own output");
        assert_eq!(read(&plain).expect("own output"), segments);
    }

    #[test]
    fn rejects_other_spellings_and_trailing_bytes() {
        for (bad, why) in [
            (&[0x83, 0x00][..], "overlong"),
            (&[0x00], "zero glue"),
            (&[0x01], "zero record"),
            (&[0x83], "cut"),
            (&[0xff; 10], "too large"),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
                "longer than an item",
            ),
        ] {
            assert!(read(bad).is_err(), "{why}");
        }
        let packed = [
            zstd::encode_all(&[3_u8][..], 3).expect("in memory"),
            b"x".to_vec(),
        ]
        .concat();
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7];
        for bad in [&skippable[..], b""] {
            let refused = SegmentListReader::new(bad).is_err()
                || SegmentListReader::new(bad).is_ok_and(|mut list| list.next_segment().is_err());
            assert!(refused, "{bad:?}: no frame, or one that holds nothing");
        }
        let mut reader = SegmentListReader::new(&packed[..]).expect("memory");
        assert!(reader.next_segment().expect("one record").is_some());
        assert!(reader.next_segment().is_err(), "trailing byte");
    }
}
