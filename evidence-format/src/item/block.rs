//! A record's block on its way into an item: reading it, and choosing how it is cut into segments.

use std::io::{self, Read};

use memchr::memmem;

use crate::segment::{SNIFF_BYTES, Segmenter};

/// Longest head of an HTTP response that is separated from its body, in bytes including the empty
/// line. Servers and clients have limits of 8 to 256 KiB; this much is buffered while looking for
/// the empty line.
const HTTP_HEAD_BYTES_MAX: usize = 64 * 1024;
/// The end of an HTTP response's head (RFC 9112 §2.1).
const HTTP_HEAD_END: &[u8] = b"\r\n\r\n";

/// The error that a reader returns (inside an [`io::Error`]) when the capture is stopped. It ends
/// the item at once. After any other error the rest of the block is written as zeros, which takes
/// minutes for a disk image.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub struct StopError;

/// How much of a streamed block was read.
#[derive(Debug)]
pub struct StreamedBlock {
    /// Bytes that the reader delivered. If they are fewer than the block has, the rest is zero
    /// bytes, and the caller states the gap.
    pub kept: u64,
    /// The reader's error, if it failed rather than ended early.
    pub error: Option<io::Error>,
}

/// How a block is cut into segments. That is the writer's choice: SPEC.md describes it, but readers
/// do not check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutPolicy {
    /// Not at all: the block describes evidence and is not a record itself.
    Glue,
    /// As its first bytes suggest.
    Body,
    /// The head of the HTTP response is glue; the body is cut as its first bytes suggest.
    HttpResponse,
}

impl CutPolicy {
    /// The policy for a record's `WARC-Type` and its block's `Content-Type`.
    pub(super) fn of(warc_type: &str, content_type: &str) -> Self {
        let media_type = content_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim_ascii_end();
        let is_http = media_type.eq_ignore_ascii_case("application/http");
        match warc_type {
            "warcinfo" => Self::Glue,
            "request" if is_http => Self::Glue,
            "response" if is_http => Self::HttpResponse,
            _ => Self::Body,
        }
    }
}

/// Reads a block, padding it with zero bytes to the announced length. Once the reader has ended or
/// failed, it is not read again: later bytes would follow the zero bytes, at the wrong offset.
pub(super) struct BlockReader<'r> {
    reader: &'r mut dyn Read,
    /// Bytes of the block that are still to be taken.
    left: u64,
    ended: bool,
    streamed: StreamedBlock,
    /// Bytes read ahead; those from `ahead_at` on are still to be taken.
    ahead: Vec<u8>,
    ahead_at: usize,
}

impl<'r> BlockReader<'r> {
    /// Reads the next `bytes` bytes of `reader`; `memory` is reused.
    pub(super) fn new(reader: &'r mut dyn Read, bytes: u64, mut memory: Vec<u8>) -> Self {
        memory.clear();
        let streamed = StreamedBlock {
            kept: 0,
            error: None,
        };
        Self {
            reader,
            left: bytes,
            ended: false,
            streamed,
            ahead: memory,
            ahead_at: 0,
        }
    }

    /// Bytes of the block that are still to be taken.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// True if the reader returned [`StopError`].
    pub(super) fn is_stopped(&self) -> bool {
        self.streamed
            .error
            .as_ref()
            .and_then(io::Error::get_ref)
            .is_some_and(|error| error.is::<StopError>())
    }

    /// Length of the HTTP response's head at the beginning of the block; 0 if its end is missing or
    /// too far away.
    pub(super) fn http_head_bytes(&mut self) -> usize {
        // Nearly all heads are short, so a small buffer is tried first.
        for bytes_max in [SNIFF_BYTES, HTTP_HEAD_BYTES_MAX] {
            let begin = self.peek(bytes_max);
            if let Some(at) = memmem::find(&begin[..begin.len().min(bytes_max)], HTTP_HEAD_END) {
                return at + HTTP_HEAD_END.len();
            }
        }
        0
    }

    /// Chooses how to cut the rest of the block by its first bytes.
    pub(super) fn sniff(&mut self) -> Segmenter {
        match self.peek(SNIFF_BYTES) {
            [] => Segmenter::sniff(&[0]), // the block will be zero bytes
            begin => Segmenter::sniff(begin),
        }
    }

    /// Takes the next `n` bytes, which must have been read ahead.
    pub(super) fn take_ahead(&mut self, n: usize) -> &[u8] {
        let from = self.ahead_at;
        self.ahead_at += n;
        self.left -= n as u64;
        &self.ahead[from..self.ahead_at]
    }

    /// Fills `buffer` with at least one byte of the block and returns the number of bytes. Once the
    /// reader has ended, it fills all of `buffer` with zero bytes.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let len = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..len];
        let ahead = &self.ahead[self.ahead_at..];
        // Bytes that were read ahead come first; only then is the reader asked again.
        let n = if !ahead.is_empty() {
            let n = ahead.len().min(len);
            buffer[..n].copy_from_slice(&ahead[..n]);
            self.ahead_at += n;
            n
        } else {
            match read(self.reader, &mut self.ended, &mut self.streamed, buffer) {
                0 => {
                    buffer.fill(0);
                    len
                }
                n => n,
            }
        };
        self.left -= n as u64;
        n
    }

    /// Returns how much was read, and the memory for reuse.
    pub(super) fn finish(self) -> (StreamedBlock, Vec<u8>) {
        (self.streamed, self.ahead)
    }

    /// Reads ahead without taking: returns at least `bytes_max` bytes, or all that are left.
    fn peek(&mut self, bytes_max: usize) -> &[u8] {
        let want = self.ahead_at + bytes_max.min(usize::try_from(self.left).unwrap_or(usize::MAX));
        while self.ahead.len() < want && !self.ended {
            let from = self.ahead.len();
            self.ahead.resize(want, 0);
            let n = read(
                self.reader,
                &mut self.ended,
                &mut self.streamed,
                &mut self.ahead[from..],
            );
            self.ahead.truncate(from + n);
        }
        &self.ahead[self.ahead_at..]
    }
}

/// Reads some bytes; 0 means that the reader has ended or failed, for good.
fn read(
    reader: &mut dyn Read,
    ended: &mut bool,
    streamed: &mut StreamedBlock,
    buffer: &mut [u8],
) -> usize {
    while !*ended {
        match reader.read(buffer) {
            Ok(n @ 1..) => {
                streamed.kept += n as u64;
                return n;
            }
            Ok(0) => *ended = true,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => {
                streamed.error = Some(e);
                *ended = true;
            }
        }
    }
    0
}
