//! Finds the entries of a unit in a file of the systemd journal, and writes them in the Journal
//! Export Format.
//!
//! The files' format: <https://systemd.io/JOURNAL_FILE_FORMAT>. The file itself is evidence of another
//! probe; what is read here is a selection. A file may be damaged or hostile: each offset is checked,
//! each chain ends, and nothing larger than [`FIELD_BYTES_MAX`] is decompressed.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use evidence_format::coverage::GapReason;
use rustix::io::Errno;

use super::files::{FileReader, pread};
use super::request::{JournalQuery, ReadStop};
use super::sink::ObjectSink;
use super::{ReadOutcome, ReadRequest};

const SIGNATURE: &[u8; 8] = b"LPKSHHRH";
/// Bytes of the header that every version has.
const HEADER_BYTES: usize = 208;
/// Bytes before an object's own fields.
const OBJECT_BYTES: u64 = 16;
/// Incompatible flags of a header.
const COMPACT: u32 = 16;
const KNOWN_FLAGS: u32 = 1 | 2 | 4 | 8 | COMPACT;
/// Types of objects.
const DATA: u8 = 1;
const FIELD: u8 = 2;
const ENTRY: u8 = 3;
const ENTRY_ARRAY: u8 = 6;
/// Flags of an object: how its payload is compressed.
const LZ4: u8 = 2;
const ZSTD: u8 = 4;
const COMPRESSED: u8 = 1 | LZ4 | ZSTD;
/// Bytes of one field. Core dumps are larger, and are memory, with its secrets.
const FIELD_BYTES_MAX: u64 = 1 << 20;
/// Fields of one entry: journald refuses more (ENTRY_FIELD_COUNT_MAX).
const FIELDS_MAX: usize = 1024;
/// Entries of one file: at a few hundred bytes each, more than the limit of an object.
const ENTRIES_MAX: usize = 200_000;
/// Objects in one chain: bounds the time that a hostile file takes.
const CHAIN_MAX: usize = 1 << 20;
/// Fields that are remembered, and bytes of each: most entries of a unit share most of theirs.
const REMEMBERED_MAX: usize = 4096;
const REMEMBERED_BYTES_MAX: usize = 256;
/// The fields that name a unit. systemd sets the first one; the second one counts only in what
/// process 1 wrote, since any process may write it.
const OWN_UNIT: &[u8] = b"_SYSTEMD_UNIT";
const ABOUT_UNIT: &[u8] = b"UNIT";
const BY_SYSTEMD: &[u8] = b"_PID=1";

/// A file, and its header.
struct JournalFile<'f> {
    file: &'f OwnedFd,
    bytes: u64,
    is_compact: bool,
    field_table: u64,
    field_table_bytes: u64,
    remembered: HashMap<u64, Vec<u8>>,
    /// Fields that could not be decompressed.
    unreadable: u64,
}

/// Offsets of entries, oldest first.
#[derive(Default)]
struct FoundEntries {
    offsets: Vec<u64>,
    /// Before the window.
    older: u64,
    /// Beyond [`ENTRIES_MAX`], the oldest.
    left_out: bool,
}

struct JournalObject {
    kind: u8,
    flags: u8,
    bytes: u64,
}

impl FileReader {
    pub(super) fn read_journal(
        &mut self,
        request: &ReadRequest,
        sink: &mut ObjectSink<'_>,
    ) -> Result<(), ReadStop> {
        let Some(query) = request.query.as_deref() else {
            return Err(Errno::INVAL.into());
        };
        let (file, facts) = self.open_file(&request.path, sink)?;
        let mut journal = JournalFile::open(&file, facts.size)?;
        let found = journal.entries_of(query, sink)?;
        sink.start(Some(facts), 0, None);
        if request.method == super::ReadMethod::JournalCount {
            return sink.bytes(format!("{} {}", found.offsets.len(), found.older).as_bytes());
        }
        let kept = journal.keep_newest(&found.offsets, sink)?;
        for offset in &found.offsets[found.offsets.len() - kept..] {
            let text = journal.export(*offset)?;
            sink.bytes(&text)?;
        }
        if kept < found.offsets.len() || found.left_out {
            Err(ReadStop::Ended(ReadOutcome::Cut(sink.limit)))
        } else if journal.unreadable > 0 {
            Err(ReadStop::Ended(ReadOutcome::Cut(GapReason::ReadFailed)))
        } else {
            Ok(())
        }
    }
}

/// The file is not what it claims to be.
fn damaged() -> ReadStop {
    Errno::BADMSG.into()
}

impl<'f> JournalFile<'f> {
    fn open(file: &'f OwnedFd, bytes: u64) -> Result<Self, ReadStop> {
        let mut header = [0; HEADER_BYTES];
        read_all(file, &mut header, 0)?;
        let flags = u32_at(&header, 12);
        if &header[..8] != SIGNATURE || flags & !KNOWN_FLAGS != 0 {
            return Err(damaged());
        }
        Ok(Self {
            file,
            bytes,
            is_compact: flags & COMPACT != 0,
            field_table: u64_at(&header, 120),
            field_table_bytes: u64_at(&header, 128),
            remembered: HashMap::new(),
            unreadable: 0,
        })
    }

    fn entries_of(
        &mut self,
        query: &JournalQuery,
        sink: &mut ObjectSink<'_>,
    ) -> Result<FoundEntries, ReadStop> {
        let mut offsets = Vec::new();
        for (field, by_systemd) in [(OWN_UNIT, false), (ABOUT_UNIT, true)] {
            let wanted = [field, b"=", query.unit.as_bytes()].concat();
            let Some(data) = self.find_data(field, &wanted, sink)? else {
                continue;
            };
            for offset in self.entries_of_data(data, sink)? {
                sink.progress()?;
                if !by_systemd || self.has_field(offset, BY_SYSTEMD)? {
                    offsets.push(offset);
                }
            }
        }
        // A file is only appended to: what is later in it is newer.
        offsets.sort_unstable();
        offsets.dedup();
        let mut found = FoundEntries::default();
        for offset in offsets {
            sink.progress()?;
            if self.realtime(offset)? < query.since {
                found.older += 1;
            } else {
                found.offsets.push(offset);
            }
        }
        let excess = found.offsets.len().saturating_sub(ENTRIES_MAX);
        found.left_out = excess > 0;
        found.offsets.drain(..excess);
        Ok(found)
    }

    /// The data object `wanted`, such as `_SYSTEMD_UNIT=x.service`: all values of one field are a
    /// chain.
    fn find_data(
        &mut self,
        field: &[u8],
        wanted: &[u8],
        sink: &mut ObjectSink<'_>,
    ) -> Result<Option<u64>, ReadStop> {
        let buckets = (self.field_table_bytes / 16).min(CHAIN_MAX as u64);
        let mut links = 0;
        for bucket in 0..buckets {
            let mut at = self.u64_in_file(self.field_table + bucket * 16)?;
            while at != 0 {
                let object = self.object(at, FIELD)?;
                count_link(&mut links)?;
                sink.progress()?;
                if object.bytes == 40 + field.len() as u64 && self.has_bytes(at + 40, field)? {
                    let first = self.u64_in_file(at + 32)?;
                    return self.find_value(first, wanted, sink);
                }
                at = self.u64_in_file(at + 24)?;
            }
        }
        Ok(None)
    }

    fn find_value(
        &mut self,
        first: u64,
        wanted: &[u8],
        sink: &mut ObjectSink<'_>,
    ) -> Result<Option<u64>, ReadStop> {
        let (mut at, mut links) = (first, 0);
        while at != 0 {
            let object = self.object(at, DATA)?;
            count_link(&mut links)?;
            sink.progress()?;
            // names of units are too short to be compressed
            let payload = self.payload_at();
            let is_long_as = object.bytes == payload + wanted.len() as u64;
            if is_long_as
                && object.flags & COMPRESSED == 0
                && self.has_bytes(at + payload, wanted)?
            {
                return Ok(Some(at));
            }
            at = self.u64_in_file(at + 32)?;
        }
        Ok(None)
    }

    /// The entries that refer to a data object: the first one, and a chain of arrays.
    fn entries_of_data(&self, data: u64, sink: &mut ObjectSink<'_>) -> Result<Vec<u64>, ReadStop> {
        let mut offsets = Vec::new();
        let (first, mut array) = (self.u64_in_file(data + 40)?, self.u64_in_file(data + 48)?);
        if first != 0 {
            offsets.push(first);
        }
        let mut links = 0;
        let width = if self.is_compact { 4 } else { 8 };
        while array != 0 {
            let object = self.object(array, ENTRY_ARRAY)?;
            count_link(&mut links)?;
            sink.progress()?;
            let items = object.bytes.saturating_sub(24) / width;
            if items > CHAIN_MAX as u64 || offsets.len() > CHAIN_MAX {
                return Err(damaged());
            }
            let mut bytes = vec![0; (items * width) as usize];
            read_all(self.file, &mut bytes, array + 24)?;
            let found = bytes.chunks_exact(width as usize).map(number);
            // the rest of the last array is unused
            offsets.extend(found.take_while(|offset| *offset != 0));
            array = self.u64_in_file(array + 16)?;
        }
        Ok(offsets)
    }

    /// How many of the newest entries there is room for.
    fn keep_newest(
        &mut self,
        offsets: &[u64],
        sink: &mut ObjectSink<'_>,
    ) -> Result<usize, ReadStop> {
        let mut room = sink.bytes_left;
        for (kept, offset) in offsets.iter().rev().enumerate() {
            sink.progress()?;
            let bytes = self.export(*offset)?.len() as u64;
            let Some(left) = room.checked_sub(bytes) else {
                return Ok(kept);
            };
            room = left;
        }
        Ok(offsets.len())
    }

    fn realtime(&self, entry: u64) -> Result<u64, ReadStop> {
        self.object(entry, ENTRY)?;
        self.u64_in_file(entry + 24)
    }

    /// One entry in the Journal Export Format.
    fn export(&mut self, entry: u64) -> Result<Vec<u8>, ReadStop> {
        let mut facts = [0; 24];
        read_all(self.file, &mut facts, entry + 16)?;
        let mut text = format!(
            "__SEQNUM={}\n__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n",
            u64_at(&facts, 0),
            u64_at(&facts, 8),
            u64_at(&facts, 16),
        )
        .into_bytes();
        for offset in self.fields_of(entry)? {
            match self.field(offset)? {
                Some(field) => export_field(&field, &mut text),
                None => self.unreadable += 1,
            }
        }
        text.push(b'\n');
        Ok(text)
    }

    fn has_field(&mut self, entry: u64, wanted: &[u8]) -> Result<bool, ReadStop> {
        for offset in self.fields_of(entry)? {
            if self.field(offset)?.as_deref() == Some(wanted) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The data objects of an entry.
    fn fields_of(&self, entry: u64) -> Result<Vec<u64>, ReadStop> {
        let object = self.object(entry, ENTRY)?;
        let width = if self.is_compact { 4 } else { 16 };
        let items = object.bytes.saturating_sub(64) / width;
        if items > FIELDS_MAX as u64 {
            return Err(damaged());
        }
        let mut bytes = vec![0; (items * width) as usize];
        read_all(self.file, &mut bytes, entry + 64)?;
        let items = bytes.chunks_exact(width as usize);
        Ok(items
            .map(|item| number(&item[..item.len().min(8)]))
            .collect())
    }

    /// `NAME=value` of a data object; `None` if it is too long, or compressed in a way that is not
    /// supported (XZ).
    fn field(&mut self, at: u64) -> Result<Option<Vec<u8>>, ReadStop> {
        if let Some(field) = self.remembered.get(&at) {
            return Ok(Some(field.clone()));
        }
        let object = self.object(at, DATA)?;
        let payload = self.payload_at();
        let bytes = object.bytes.checked_sub(payload).ok_or_else(damaged)?;
        if bytes > FIELD_BYTES_MAX {
            return Ok(None);
        }
        let mut stored = vec![0; bytes as usize];
        read_all(self.file, &mut stored, at + payload)?;
        let field = match object.flags & COMPRESSED {
            0 => Some(stored),
            ZSTD => zstd::bulk::decompress(&stored, FIELD_BYTES_MAX as usize).ok(),
            LZ4 => lz4_field(&stored),
            _ => None,
        };
        if let Some(field) = &field
            && field.len() <= REMEMBERED_BYTES_MAX
            && self.remembered.len() < REMEMBERED_MAX
        {
            self.remembered.insert(at, field.clone());
        }
        Ok(field)
    }

    /// Where the payload of a data object begins.
    fn payload_at(&self) -> u64 {
        if self.is_compact { 72 } else { 64 }
    }

    /// The header of the object at `at`, which must be of this kind and inside of the file.
    fn object(&self, at: u64, kind: u8) -> Result<JournalObject, ReadStop> {
        let mut header = [0; OBJECT_BYTES as usize];
        read_all(self.file, &mut header, at)?;
        let object = JournalObject {
            kind: header[0],
            flags: header[1],
            bytes: u64_at(&header, 8),
        };
        let end = at.checked_add(object.bytes);
        let is_inside = end.is_some_and(|end| end <= self.bytes) && object.bytes >= OBJECT_BYTES;
        if !at.is_multiple_of(8) || object.kind != kind || !is_inside {
            return Err(damaged());
        }
        Ok(object)
    }

    fn has_bytes(&self, at: u64, wanted: &[u8]) -> Result<bool, ReadStop> {
        let mut bytes = vec![0; wanted.len()];
        read_all(self.file, &mut bytes, at)?;
        Ok(bytes == wanted)
    }

    fn u64_in_file(&self, at: u64) -> Result<u64, ReadStop> {
        let mut bytes = [0; 8];
        read_all(self.file, &mut bytes, at)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

fn count_link(links: &mut usize) -> Result<(), ReadStop> {
    *links += 1;
    if *links > CHAIN_MAX {
        return Err(damaged());
    }
    Ok(())
}

/// Fills `buffer` from the file.
fn read_all(file: &OwnedFd, buffer: &mut [u8], at: u64) -> Result<(), ReadStop> {
    let mut done = 0;
    while done < buffer.len() {
        let from = at
            .checked_add(done as u64)
            .filter(|from| *from <= i64::MAX as u64);
        let got = pread(file, &mut buffer[done..], from.ok_or_else(damaged)?)?;
        if got == 0 {
            return Err(damaged());
        }
        done += got;
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    number(&bytes[at..at + 4]) as u32
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    number(&bytes[at..at + 8])
}

/// A number in little-endian order, of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |sum, &b| sum << 8 | u64::from(b))
}

/// Appends `NAME=value` as a line or, if the value has control characters, with its length.
fn export_field(field: &[u8], text: &mut Vec<u8>) {
    let is_text = field.iter().all(|&b| b >= b' ' || b == b'\t');
    let name_end = field.iter().position(|&b| b == b'=');
    match name_end {
        Some(at) if !is_text => {
            let (name, value) = (&field[..at], &field[at + 1..]);
            text.extend_from_slice(name);
            text.push(b'\n');
            text.extend_from_slice(&(value.len() as u64).to_le_bytes());
            text.extend_from_slice(value);
        }
        Some(_) => text.extend_from_slice(field),
        None => return, // no field has no name
    }
    text.push(b'\n');
}

/// A length of eight bytes, and a block of LZ4.
fn lz4_field(stored: &[u8]) -> Option<Vec<u8>> {
    let (length, block) = stored.split_at_checked(8)?;
    let length = number(length);
    (length <= FIELD_BYTES_MAX).then(|| lz4_block(block, length as usize))?
}

/// Decompresses a block (lz4_Block_format.md of LZ4) that must give exactly `length` bytes.
fn lz4_block(mut block: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut output = Vec::with_capacity(length);
    while let Some(&token) = block.first() {
        block = &block[1..];
        let count = lz4_length(token >> 4, &mut block)?;
        let (literals, rest) = block.split_at_checked(count)?;
        output.extend_from_slice(literals);
        block = rest;
        if block.is_empty() {
            break; // the last sequence has literals only
        }
        let (distance, rest) = block.split_at_checked(2)?;
        block = rest;
        let copied = lz4_length(token & 15, &mut block)? + 4;
        let from = output.len().checked_sub(number(distance) as usize)?;
        if from == output.len() || output.len() + copied > length {
            return None;
        }
        // one byte after the other: the copy may overlap what it makes
        for at in from..from + copied {
            output.push(output[at]);
        }
    }
    (output.len() == length).then_some(output)
}

/// A length of which four bits are in the token, and the rest in bytes until one is not 255.
fn lz4_length(bits: u8, block: &mut &[u8]) -> Option<usize> {
    let mut length = usize::from(bits);
    let mut is_longer = bits == 15;
    while is_longer {
        let (&more, rest) = block.split_first()?;
        *block = rest;
        length += usize::from(more);
        is_longer = more == 255;
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lz4_blocks_are_decompressed_and_bad_ones_refused() {
        // four letters, then a copy of 12 from 4 before, then one letter
        let block = [&[0x48][..], b"abcd", &[4, 0], &[0x10], b"!"].concat();
        let text = b"abcdabcdabcdabcd!";
        assert_eq!(lz4_block(&block, text.len()).as_deref(), Some(&text[..]));
        assert_eq!(lz4_block(&block, text.len() + 1), None);
        assert_eq!(lz4_block(&block, 8), None);
        assert_eq!(lz4_block(&[0x08, 1, 0], 12), None, "before the beginning");
        assert_eq!(lz4_block(&[0xf0, 255, 255], 12), None, "cut off");
        let long = [&[0xf0, 2][..], &[b'x'; 17]].concat();
        assert_eq!(lz4_block(&long, 17).as_deref(), Some(&[b'x'; 17][..]));
    }

    #[test]
    fn values_with_control_characters_are_exported_with_their_length() {
        let mut text = Vec::new();
        export_field(b"MESSAGE=a=b", &mut text);
        export_field(b"MESSAGE=a\nb", &mut text);
        assert_eq!(text, b"MESSAGE=a=b\nMESSAGE\n\x03\0\0\0\0\0\0\0a\nb\n");
    }
}
