//! A record's block on its way into an item: where it comes from, and which part of it is cut by
//! whom.

use std::io::{self, Read};

use memchr::memmem;

use super::Stop;
use crate::segment::{SNIFF_BYTES, Segmenter};

/// Longest head of an HTTP answer that is told from its body, in bytes up to the empty line
/// inclusive. Servers and clients stop at 8 to 256 KiB; this much is kept in memory while the empty
/// line is looked for.
const HTTP_HEAD_BYTES_MAX: usize = 64 * 1024;
/// What ends the head of an HTTP answer (RFC 9112 §2.1).
const HTTP_HEAD_END: &[u8] = b"\r\n\r\n";

/// What became of a streamed block.
#[derive(Debug)]
pub struct Streamed {
    /// Bytes that the reader gave. Where they are fewer than announced, zero bytes stand for the
    /// rest, and the caller states the gap.
    pub kept: u64,
    /// Why the reader gave fewer, if it was an error and not merely its end.
    pub error: Option<io::Error>,
}

/// How a block is cut. That is a writer's policy, which SPEC.md tells and nobody checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutPolicy {
    /// It is about evidence and is none: no record.
    Glue,
    /// By what it looks like.
    Body,
    /// The head of an HTTP answer is glue, what follows is cut by what it looks like.
    HttpResponse,
}

impl CutPolicy {
    /// By `WARC-Type`, and the block's `Content-Type`.
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

/// The next bytes of a block. Its reader is not asked again once it has ended or failed: what it
/// gave then would stand behind zero bytes, at another place than it has in the object.
pub(super) struct BlockReader<'r> {
    reader: &'r mut dyn Read,
    /// Bytes that are still to be taken.
    left: u64,
    ended: bool,
    streamed: Streamed,
    /// Bytes that were read to be looked at and are still to be taken: those from `ahead_at` on.
    ahead: Vec<u8>,
    ahead_at: usize,
}

impl<'r> BlockReader<'r> {
    /// Of the next `bytes` bytes of `reader`; `memory` is used again.
    pub(super) fn new(reader: &'r mut dyn Read, bytes: u64, mut memory: Vec<u8>) -> Self {
        memory.clear();
        let streamed = Streamed {
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

    /// Bytes that are still to be taken.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// True if the reader said [`Stop`].
    pub(super) fn is_stopped(&self) -> bool {
        self.streamed
            .error
            .as_ref()
            .and_then(io::Error::get_ref)
            .is_some_and(|error| error.is::<Stop>())
    }

    /// Bytes of the head of an HTTP answer with which the block begins; 0 if it ends nowhere, or
    /// too late.
    pub(super) fn http_head_bytes(&mut self) -> usize {
        for bytes_max in [SNIFF_BYTES, HTTP_HEAD_BYTES_MAX] {
            // nearly all are short
            let begin = self.look(bytes_max);
            if let Some(at) = memmem::find(&begin[..begin.len().min(bytes_max)], HTTP_HEAD_END) {
                return at + HTTP_HEAD_END.len();
            }
        }
        0
    }

    /// Chooses how to cut what is left by its first bytes.
    pub(super) fn sniff(&mut self) -> Segmenter {
        match self.look(SNIFF_BYTES) {
            [] => Segmenter::sniff(&[0]), // zero bytes will stand here
            begin => Segmenter::sniff(begin),
        }
    }

    /// Takes the next `n` bytes, which have been looked at.
    pub(super) fn take_ahead(&mut self, n: usize) -> &[u8] {
        let from = self.ahead_at;
        self.ahead_at += n;
        self.left -= n as u64;
        &self.ahead[from..self.ahead_at]
    }

    /// Takes bytes into `buffer`, at least one; zero bytes fill all of it where nothing more is to
    /// be had. Says how many.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let len = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..len];
        let ahead = &self.ahead[self.ahead_at..];
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

    /// What became of it, and the memory.
    pub(super) fn finish(self) -> (Streamed, Vec<u8>) {
        (self.streamed, self.ahead)
    }

    /// The next bytes, which stay to be taken: `bytes_max` of them or more, or all that the block
    /// has.
    fn look(&mut self, bytes_max: usize) -> &[u8] {
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

/// Reads once; 0 is the end, now and ever after.
fn read(
    reader: &mut dyn Read,
    ended: &mut bool,
    streamed: &mut Streamed,
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
