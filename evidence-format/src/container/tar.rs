//! A bundle in a tar: POSIX ustar (IEEE Std 1003.1-2024, pax), with one spelling for each content.
//!
//! Owner, group and times are zero, the mode is 0444, names are those of the OCI layout, and two
//! zero blocks end the tar. A file of 8 GiB or more, whose size does not fit into ustar's field, is
//! preceded by a pax header with `size`. A reader builds the header that it expects and compares
//! all 512 bytes, so links, devices, sparse files and odd names need no rules of their own.

use std::io::{self, Read, Write};

use super::{BundleFiles, ContainerError, OpenFile};
use crate::limits::TAR_NAME_BYTES_MAX;

const BLOCK_BYTES: usize = 512;
/// Smallest size that does not fit into eleven octal digits.
const PAX_SIZE_MIN: u64 = 1 << 33;
const PAX_NAME: &str = "PaxHeaders/size";
/// Bytes of a pax header's content; the longest is `28 size=18446744073709551615\n`.
const PAX_BYTES_MAX: u64 = 64;

const BAD_PADDING: &str = "after a file, zero bytes up to the next block are missing";

type TarBlock = [u8; BLOCK_BYTES];

/// Writes the files of a bundle as a tar.
pub struct TarWriter<W: Write>(W);

impl<W: Write> TarWriter<W> {
    /// Writes to `inner`, beginning with the first entry.
    pub fn new(inner: W) -> Self {
        Self(inner)
    }

    /// Adds a file of exactly `size` bytes.
    ///
    /// # Errors
    /// Reading or writing failed, or `content` has fewer bytes.
    pub fn file<R: Read>(&mut self, name: &str, size: u64, content: R) -> io::Result<()> {
        self.0.write_all(&entry_header(name, size))?;
        let copied = io::copy(&mut content.take(size), &mut self.0)?;
        if copied != size {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{name} has {copied} bytes, expected {size}"),
            ));
        }
        self.0.write_all(&[0; BLOCK_BYTES][..padding(size)])
    }

    /// Ends the tar and returns the inner writer.
    ///
    /// # Errors
    /// Writing failed.
    pub fn finish(mut self) -> io::Result<W> {
        self.0.write_all(&[0; 2 * BLOCK_BYTES])?;
        Ok(self.0)
    }
}

/// Reads the files of a bundle from a tar, in one pass.
pub struct TarReader<R: Read> {
    inner: R,
    /// Unread bytes of the open file.
    left: u64,
    /// Padding bytes after the open file that have not been checked.
    padding: usize,
    has_bad_padding: bool,
    /// Name and size of the next entry, once its header has been read.
    next: Option<(String, u64)>,
    ended: bool,
}

impl<R: Read> TarReader<R> {
    /// Reads from `inner`, beginning with the first entry.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            left: 0,
            padding: 0,
            has_bad_padding: false,
            next: None,
            ended: false,
        }
    }

    /// Name and size of the next entry; `None` after the last.
    fn peek(&mut self) -> Result<Option<&(String, u64)>, ContainerError> {
        self.skip_rest()?;
        if self.next.is_none() && !self.ended {
            self.next = self.read_header()?;
            self.ended = self.next.is_none();
        }
        Ok(self.next.as_ref())
    }

    fn skip_rest(&mut self) -> Result<(), ContainerError> {
        let left = std::mem::take(&mut self.left);
        let skipped =
            io::copy(&mut self.inner.by_ref().take(left), &mut io::sink()).map_err(read_failed)?;
        if skipped != left {
            return Err(ContainerError::Tar("ends inside a file"));
        }
        self.check_padding().map_err(|e| {
            if is_malformed(&e) {
                ContainerError::Tar(BAD_PADDING)
            } else {
                read_failed(e)
            }
        })
    }

    /// Reads the padding after the open file, once. If it is bad, all further calls fail, too.
    fn check_padding(&mut self) -> io::Result<()> {
        if self.has_bad_padding {
            return Err(io::Error::new(io::ErrorKind::InvalidData, BAD_PADDING));
        }
        let mut padding = [0; BLOCK_BYTES];
        let padding = &mut padding[..std::mem::take(&mut self.padding)];
        let read = self.inner.read_exact(padding);
        let is_cut = { read.as_ref() }.is_err_and(is_malformed);
        if is_cut || padding.iter().any(|&b| b != 0) {
            self.has_bad_padding = true;
            return self.check_padding();
        }
        read
    }

    /// Reads the header of the next entry, or the two blocks that end a tar.
    fn read_header(&mut self) -> Result<Option<(String, u64)>, ContainerError> {
        let block = self.block()?;
        if block == [0; BLOCK_BYTES] {
            if self.block()? != [0; BLOCK_BYTES] {
                return Err(ContainerError::Tar(
                    "a single zero block where two must end the tar",
                ));
            }
            return Ok(None);
        }
        let (name, size) =
            name_and_size(&block).ok_or(ContainerError::Tar("header without a name or size"))?;
        if name != PAX_NAME {
            return self.expect_header(&block, &name, size);
        }
        if size > PAX_BYTES_MAX {
            return Err(ContainerError::Tar("pax header is too long"));
        }
        // The header after a pax header states size 0; the pax header has the real size.
        let content = self.block()?;
        let size = pax_size(&content[..size as usize])
            .ok_or(ContainerError::Tar("pax header without a size"))?;
        let main = self.block()?;
        let (name, _) =
            name_and_size(&main).ok_or(ContainerError::Tar("header without a name or size"))?;
        self.expect_header(&[block, content, main].concat(), &name, size)
    }

    fn expect_header(
        &self,
        found: &[u8],
        name: &str,
        size: u64,
    ) -> Result<Option<(String, u64)>, ContainerError> {
        // Comparing all bytes leaves one spelling: checksum, mode, owner, time and type included.
        if found != entry_header(name, size) {
            return Err(ContainerError::Tar("header is not in canonical form"));
        }
        Ok(Some((name.to_owned(), size)))
    }

    fn block(&mut self) -> Result<TarBlock, ContainerError> {
        let mut block = [0; BLOCK_BYTES];
        self.inner
            .read_exact(&mut block)
            .map_err(|e| cut_or_failed(e, "ends before its two zero blocks"))?;
        Ok(block)
    }
}

impl<R: Read> BundleFiles for TarReader<R> {
    fn open(&mut self, name: &str) -> Result<Option<OpenFile<'_>>, ContainerError> {
        if self.peek()?.is_none_or(|(next, _)| next != name) {
            return Ok(None);
        }
        let size = self.next.take().map_or(0, |(_, size)| size);
        self.left = size;
        self.padding = padding(size);
        Ok(Some(OpenFile {
            size,
            content: Box::new(EntryContent(self)),
        }))
    }

    fn finish(&mut self) -> Result<(), ContainerError> {
        if let Some((name, _)) = self.peek()? {
            return Err(ContainerError::Unexpected { name: name.clone() });
        }
        // A tar from tape is padded to 10 KiB; here the two zero blocks are the end.
        match self.inner.read(&mut [0]).map_err(read_failed)? {
            0 => Ok(()),
            _ => Err(ContainerError::Tar("bytes after its end")),
        }
    }
}

/// The content of the open file.
struct EntryContent<'r, R: Read>(&'r mut TarReader<R>);

impl<R: Read> Read for EntryContent<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.0.inner.by_ref().take(self.0.left).read(buffer)?;
        // Otherwise a tar that was cut off would look like a shorter file.
        if n == 0 && self.0.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the tar ends inside a file",
            ));
        }
        self.0.left -= n as u64;
        // A file counts as read only if what follows it is right, so that all readers blame the same.
        if self.0.left == 0 {
            self.0.check_padding()?;
        }
        Ok(n)
    }
}

fn read_failed(cause: io::Error) -> ContainerError {
    ContainerError::Read {
        name: "the tar".to_owned(),
        cause,
    }
}

/// True if the bundle is at fault, and not the machine.
pub(crate) fn is_malformed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
    )
}

fn cut_or_failed(cause: io::Error, cut: &'static str) -> ContainerError {
    if cause.kind() == io::ErrorKind::UnexpectedEof {
        ContainerError::Tar(cut)
    } else {
        read_failed(cause)
    }
}

/// Number of zero bytes after a file, up to the next block.
fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK_BYTES as u64) as usize // cannot overflow, whatever size is stated
}

/// All header blocks of a file.
fn entry_header(name: &str, size: u64) -> Vec<u8> {
    if size < PAX_SIZE_MIN {
        return header(name, size, b'0').to_vec();
    }
    let content = pax_content(size);
    let mut padded = [0; BLOCK_BYTES];
    padded[..content.len()].copy_from_slice(content.as_bytes());
    [
        header(PAX_NAME, content.len() as u64, b'x'),
        padded,
        header(name, 0, b'0'),
    ]
    .concat()
}

/// One ustar header block.
fn header(name: &str, size: u64, kind: u8) -> TarBlock {
    let mut block = [0; BLOCK_BYTES];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    let name = &name.as_bytes()[..name.len().min(TAR_NAME_BYTES_MAX)];
    put(0, name);
    put(100, b"0000444\0"); // mode
    put(108, b"0000000\0"); // owner
    put(116, b"0000000\0"); // group
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0"); // time
    put(148, b"        "); // checksum, for its own computation
    put(156, &[kind]);
    put(257, b"ustar\x0000"); // magic and version
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// `"<length> size=<size>\n"`, where the length includes its own digits (IEEE Std 1003.1, pax
/// extended header).
fn pax_content(size: u64) -> String {
    let tail = format!(" size={size}\n");
    let mut length = tail.len() + 1;
    // The number of digits of the length is part of the length, so it is searched upwards.
    while format!("{length}{tail}").len() != length {
        length += 1;
    }
    format!("{length}{tail}")
}

fn pax_size(content: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(content).ok()?;
    text.split_once(" size=")?
        .1
        .strip_suffix('\n')?
        .parse()
        .ok()
        .filter(|&size| size >= PAX_SIZE_MIN)
}

fn name_and_size(block: &TarBlock) -> Option<(String, u64)> {
    let name = &block[..TAR_NAME_BYTES_MAX];
    let name = &name[..name.iter().position(|&b| b == 0).unwrap_or(name.len())];
    let size = std::str::from_utf8(&block[124..135]).ok()?;
    Some((
        String::from_utf8(name.to_vec()).ok()?,
        u64::from_str_radix(size, 8).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_files() -> Vec<u8> {
        let mut writer = TarWriter::new(Vec::new());
        writer
            .file("oci-layout", 3, &b"abc"[..])
            .expect("in memory");
        writer
            .file("index.json", 512, &[b'x'; 512][..])
            .expect("in memory");
        writer.finish().expect("in memory")
    }

    fn read(tar: &[u8]) -> Result<Vec<Vec<u8>>, ContainerError> {
        let (mut reader, mut contents) = (TarReader::new(tar), Vec::new());
        for name in ["oci-layout", "index.json"] {
            let mut content = Vec::new();
            if let Some(mut file) = reader.open(name)? {
                file.content
                    .read_to_end(&mut content)
                    .map_err(read_failed)?;
            }
            contents.push(content);
        }
        reader.finish()?;
        Ok(contents)
    }

    #[test]
    fn written_files_can_be_read() {
        assert_eq!(
            read(&two_files()).expect("own output"),
            [b"abc".to_vec(), vec![b'x'; 512]]
        );
    }

    #[test]
    fn rejects_every_bit_flip_and_cut_outside_of_contents() {
        let whole = two_files();
        let contents = [512..515, 1536..2048];
        for i in (0..whole.len()).filter(|i| !contents.iter().any(|c| c.contains(i))) {
            let mut bad = whole.clone();
            bad[i] ^= 0x20;
            assert!(read(&bad).is_err(), "flip at {i}");
        }
        for n in 0..whole.len() {
            assert!(read(&whole[..n]).is_err(), "cut at {n}");
        }
        assert!(read(&[&whole[..], &[0]].concat()).is_err(), "trailing byte");
    }

    #[test]
    fn bad_padding_is_a_fault_of_the_file_before_it() {
        let mut bad = two_files();
        bad[512 + 3] = 1;
        let mut reader = TarReader::new(&bad[..]);
        let mut file = reader
            .open("oci-layout")
            .expect("a header")
            .expect("a file");
        let mut content = [0; 2];
        file.content.read_exact(&mut content).expect("not the end");
        for _ in 0..2 {
            let error = file.content.read(&mut content).expect_err("the end");
            assert!(is_malformed(&error), "{error}");
        }
        drop(file);
        assert!(matches!(
            reader.finish(),
            Err(ContainerError::Tar(BAD_PADDING))
        ));
    }

    #[test]
    fn files_of_8_gib_and_more_have_a_pax_header() {
        let size = PAX_SIZE_MIN + 5;
        let mut reader = TarReader::new(
            io::Cursor::new(entry_header("blobs/sha256/ab", size)).chain(io::repeat(7)),
        );
        let file = reader
            .open("blobs/sha256/ab")
            .expect("a valid header")
            .expect("the next file");
        assert_eq!(file.size, size);
        let small = [
            header(PAX_NAME, 10, b'x').to_vec(),
            b"10 size=5\n".to_vec(),
            vec![0; 502],
            entry_header("a", 0),
        ]
        .concat();
        assert!(
            TarReader::new(&small[..]).open("a").is_err(),
            "a pax size that ustar can state"
        );
        let mut reader =
            TarReader::new(io::Cursor::new(entry_header("a", u64::MAX)).chain(io::empty()));
        assert!(
            reader.open("a").is_ok_and(|file| file.is_some()),
            "the largest size"
        );
        assert!(reader.finish().is_err(), "no content");
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
        assert_eq!(pax_content(8_589_934_592), "19 size=8589934592\n");
    }
}
