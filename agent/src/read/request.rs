//! What is asked of the reading thread, and what it answers.

use std::ops::Range;

use evidence_format::coverage::GapReason;
use evidence_format::time::Timestamp;
use rustix::io::Errno;

use super::facts::FileFacts;
use super::redact::RedactionRule;

/// One object to read.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// Absolute path as on the host: without the root's own path.
    pub path: Vec<u8>,
    /// How to read it.
    pub method: ReadMethod,
    /// What its absence means.
    pub presence: Presence,
    /// `Content-Type` of its record.
    pub content_type: &'static str,
    /// False if the bytes are only looked at to know what to read next.
    pub record: bool,
}

/// How to read an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMethod {
    /// A file that the kernel makes up while it is read, so that its length is not known before.
    Kernel,
    /// A file from which something is removed while it is read.
    Redacted(RedactionRule),
    /// An ordinary file.
    File(KeptPart),
    /// An ordinary file found through a symbolic link; left out if this step has read the same file
    /// before.
    Linked(KeptPart),
    /// A symbolic link's target.
    Link,
    /// The symbolic links of a folder whose targets begin so.
    Links(&'static str),
    /// The names in a folder.
    Names,
    /// The names in a folder, each with its [`FileFacts`].
    Listing,
    /// SHA-256 of the file behind `/proc/PID/exe`, deleted or not.
    Executable,
    /// For `/proc`: the first process of each namespace of this kind (`net`).
    Namespaces(&'static str),
    /// The kernel's ring buffer, `/dev/kmsg`.
    Ring,
}

/// Which part of a file is kept where not all of it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptPart {
    /// Its beginning.
    Start,
    /// Its end: logs are written there.
    End,
}

/// What the absence of an object means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing: not every distribution, or kernel, has it.
    Optional,
    /// Nothing: it was found through a link that has its own record, and that leads nowhere, or to
    /// no file (units are masked by a link to `/dev/null`).
    LinkTarget,
    /// It was listed and has vanished.
    Listed,
    /// Every system should have it.
    Required,
}

impl ReadRequest {
    /// A kernel file in text form, which not every system has.
    #[must_use]
    pub fn kernel(path: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            method: ReadMethod::Kernel,
            presence: Presence::Optional,
            content_type: "text/plain",
            record: true,
        }
    }

    /// An ordinary file, which not every system has.
    #[must_use]
    pub fn file(path: impl Into<Vec<u8>>, keep: KeptPart) -> Self {
        Self {
            method: ReadMethod::File(keep),
            content_type: "application/octet-stream",
            ..Self::kernel(path)
        }
    }

    /// A symbolic link's target.
    #[must_use]
    pub fn link(path: impl Into<Vec<u8>>) -> Self {
        Self {
            method: ReadMethod::Link,
            ..Self::kernel(path)
        }
    }

    /// Anything else that is no text.
    #[must_use]
    pub fn bytes(path: impl Into<Vec<u8>>, method: ReadMethod) -> Self {
        Self {
            method,
            content_type: "application/octet-stream",
            ..Self::kernel(path)
        }
    }

    /// The same, where it was listed before.
    #[must_use]
    pub fn listed(self) -> Self {
        Self {
            presence: Presence::Listed,
            ..self
        }
    }

    /// The same, where its absence is a gap.
    #[must_use]
    pub fn required(self) -> Self {
        Self {
            presence: Presence::Required,
            ..self
        }
    }

    /// The same, only to look at.
    #[must_use]
    pub fn unrecorded(self) -> Self {
        Self {
            record: false,
            ..self
        }
    }
}

/// Part of an answer: at most one begin, bytes, and always one end.
#[derive(Debug)]
pub(crate) enum ReadEvent {
    /// The object is open.
    Start(ObjectStart),
    /// Its next bytes lie there in the reader's buffer.
    Bytes(Range<usize>),
    /// It is done.
    End(ReadOutcome),
}

/// See [`ReadEvent`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct ObjectStart {
    /// When reading began.
    pub at: Timestamp,
    /// What the file system says of an ordinary file.
    pub facts: Option<FileFacts>,
    /// How many bytes will come, where that is known and too much to wait for: the file goes
    /// through in a stream.
    pub announced: Option<u64>,
    /// Where in the file the bytes begin.
    pub from: u64,
    /// Which limit it is, where fewer bytes are announced than the file has.
    pub limit: GapReason,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// All of it was read; this many things were removed.
    Whole { redacted: u64 },
    /// Only as much as a limit allows.
    Cut(GapReason),
    /// This failed; bytes read before are kept.
    Failed(Errno),
    /// No regular file, and not opened.
    Special,
    /// Shorter than it said.
    Shrank,
    /// Reading did not return in time, or would not, since its folder hangs.
    Hung,
    /// Our own fault.
    Crashed,
    /// Read before in this step.
    Repeated,
}
