//! Requests to the reading thread, and the events by which it answers.

use std::ops::Range;
use std::sync::Arc;

use evidence_format::coverage::GapReason;
use evidence_format::time::Timestamp;
use rustix::io::Errno;

use super::facts::FileFacts;
use super::redact::RedactionRule;

/// One object to read.
#[derive(Debug, Clone)]
pub(crate) struct ReadRequest {
    /// Absolute path as on the host: without the root's own path.
    pub(crate) path: Vec<u8>,
    /// How to read it.
    pub(crate) method: ReadMethod,
    pub(crate) presence: Presence,
    /// `Content-Type` of its record.
    pub(crate) content_type: &'static str,
    /// Bytes kept of it, if that is less than the item's limit for one object.
    pub(crate) bytes_max: u64,
    /// False if a probe needs the bytes only to know what to read next.
    pub(crate) record: bool,
    /// Read only the first byte of it: a rehearsal asks whether that works, and no more.
    pub(crate) sample: bool,
    /// The source that the object belongs to, where its owner has named it.
    pub(crate) label: Option<Arc<str>>,
    /// For [`ReadMethod::JournalCount`] and [`ReadMethod::JournalEntries`].
    pub(crate) query: Option<Arc<JournalQuery>>,
}

/// How to read an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadMethod {
    /// A file that the kernel generates while it is read: its length is not known before.
    Kernel,
    /// A file from which secrets are removed while it is read.
    Redacted(RedactionRule),
    /// An ordinary file.
    File(KeptPart),
    /// An ordinary file behind a symbolic link; skipped if its item has the same file already.
    Linked(KeptPart),
    /// A symbolic link's target.
    Link,
    /// The symbolic links in a folder whose targets have this prefix.
    Links(&'static str),
    /// The names in a folder, each with its type.
    Names,
    /// The names in a folder, each with its [`FileFacts`]; of a folder with too many, the newest.
    Listing,
    /// The same of a folder behind a symbolic link, unless its item has it already, or the link
    /// leads to a folder above itself.
    LinkedListing,
    /// Some bytes if a symbolic link leads to a folder, none if not.
    IsFolder,
    /// SHA-256 of the file behind `/proc/PID/exe`, deleted or not.
    Executable,
    /// Of `/proc`: one process or thread of each namespace of this kind (`net`).
    Namespaces(&'static str),
    /// Of `/proc`: the threads that differ from what `/proc/PID` shows of their process.
    Threads,
    /// The kernel's ring buffer, `/dev/kmsg`.
    Ring,
    /// Of a journal file: how many entries a query finds, and how many there are before its window:
    /// two numbers.
    JournalCount,
    /// Of a journal file: the entries that a query finds, in the Journal Export Format.
    JournalEntries,
    /// A file, a link's target, or the names in a folder as for [`Self::Names`], whichever it is.
    /// Nothing is followed, and its facts say what it is.
    AsIs,
}

/// What is wanted of a journal file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalQuery {
    /// The unit that wrote the entries, or that systemd wrote them about.
    pub(crate) unit: String,
    /// Microseconds since 1970; older entries are left out.
    pub(crate) since: u64,
}

/// Which part of a file to keep if a limit does not allow all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeptPart {
    Start,
    /// Logs grow at the end.
    End,
}

/// What the absence of an object means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Not a gap: not every distribution or kernel has it.
    Optional,
    /// Not a gap: the link has its own record, and may lead nowhere or to something that is not a
    /// file (systemd units are masked by a link to `/dev/null`).
    LinkTarget,
    /// A gap: its folder listed it, and it has vanished since.
    Listed,
    /// A gap: every system should have it.
    Required,
}

impl ReadRequest {
    /// A kernel file in text form, which not every system has.
    pub(crate) fn kernel(path: impl Into<Vec<u8>>) -> Self {
        Self {
            path: path.into(),
            method: ReadMethod::Kernel,
            presence: Presence::Optional,
            content_type: "text/plain",
            bytes_max: u64::MAX,
            record: true,
            sample: false,
            label: None,
            query: None,
        }
    }

    /// An ordinary file, which not every system has.
    pub(crate) fn file(path: impl Into<Vec<u8>>, keep: KeptPart) -> Self {
        Self {
            method: ReadMethod::File(keep),
            content_type: "application/octet-stream",
            ..Self::kernel(path)
        }
    }

    /// A symbolic link's target.
    pub(crate) fn link(path: impl Into<Vec<u8>>) -> Self {
        Self {
            method: ReadMethod::Link,
            ..Self::kernel(path)
        }
    }

    /// Anything else that is not text.
    pub(crate) fn bytes(path: impl Into<Vec<u8>>, method: ReadMethod) -> Self {
        Self {
            method,
            content_type: "application/octet-stream",
            ..Self::kernel(path)
        }
    }

    /// The entries of a journal file that a query finds.
    pub(crate) fn journal_entries(path: Vec<u8>, query: Arc<JournalQuery>) -> Self {
        Self {
            content_type: "application/vnd.fdo.journal",
            query: Some(query),
            ..Self::bytes(path, ReadMethod::JournalEntries).listed()
        }
    }

    /// With [`Presence::Listed`].
    pub(crate) fn listed(self) -> Self {
        Self {
            presence: Presence::Listed,
            ..self
        }
    }

    /// With [`Presence::Required`].
    pub(crate) fn required(self) -> Self {
        Self {
            presence: Presence::Required,
            ..self
        }
    }

    /// Without a record in the item.
    pub(crate) fn unrecorded(self) -> Self {
        Self {
            record: false,
            ..self
        }
    }
}

/// One event of a request: at most one start, then bytes, and always one end. A file with holes has a
/// start for each run of data.
#[derive(Debug)]
pub(crate) enum ReadEvent {
    Start(ObjectStart),
    /// The object's next bytes, by their range in the reader's buffer.
    Bytes(Range<usize>),
    End(ReadOutcome),
}

/// The object is open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ObjectStart {
    /// When reading began.
    pub(crate) at: Timestamp,
    /// Of an ordinary file.
    pub(crate) facts: Option<FileFacts>,
    /// Of a long file, how many bytes will come: its record is streamed and begins with this length.
    pub(crate) stream_bytes: Option<u64>,
    /// Of a file with holes: the bytes that are not in holes. What no record has is a hole.
    pub(crate) sparse: Option<SparsePart>,
    /// Where in the file the bytes begin.
    pub(crate) offset: u64,
}

/// One run of data of a file with holes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SparsePart {
    /// Bytes of data in the whole file.
    pub(crate) data_bytes: u64,
    /// True if another run follows.
    pub(crate) continued: bool,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadOutcome {
    /// All of it was read; this many secrets were removed.
    Whole { redacted: u64 },
    /// Only as much as a limit allows.
    Cut(GapReason),
    /// A folder without this many of its entries, the oldest.
    Shortened { left_out: u64 },
    /// A system call failed; bytes read before are kept.
    Failed(Errno),
    /// Not a regular file, and not opened.
    Special,
    /// Behind a link of an account that may not read it.
    ForeignLink,
    /// Its process or thread has ended.
    ProcessEnded,
    /// Shorter than the size that it reported.
    Shrank,
    /// Reading did not return in time, or was not tried since its folder hangs.
    Hung,
    /// The reading thread panicked: a bug of ours.
    Crashed,
    /// Skipped, see [`ReadMethod::Linked`] and [`ReadMethod::LinkedListing`].
    Repeated,
}

/// Why reading an object ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadStop {
    /// A system call failed.
    Failed(Errno),
    /// For another reason.
    Ended(ReadOutcome),
    /// The watching side has replaced this thread.
    Abandoned,
}

impl From<Errno> for ReadStop {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno)
    }
}

/// True for the name of a process's or thread's folder in procfs.
pub(crate) fn is_process_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit())
}

/// `/proc/812` of `/proc/812/fd`, `/proc/812/task/815` of `/proc/812/task/815/fd`.
pub(crate) fn task_of(path: &[u8]) -> Option<&[u8]> {
    let after_number = |at: usize| {
        let digits = path[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        (digits > 0).then_some(at + digits)
    };
    let process = path
        .starts_with(b"/proc/")
        .then(|| after_number(b"/proc/".len()))??;
    let in_task = path[process..].starts_with(b"/task/");
    let thread = in_task.then(|| after_number(process + b"/task/".len()));
    Some(&path[..thread.flatten().unwrap_or(process)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_is_told_from_a_path() {
        for (path, task) in [
            ("/proc/812/fd", Some("/proc/812")),
            ("/proc/812", Some("/proc/812")),
            ("/proc/812/task/815/fd", Some("/proc/812/task/815")),
            ("/proc/812/task", Some("/proc/812")),
            ("/proc/version", None),
            ("/var/log/812", None),
        ] {
            assert_eq!(task_of(path.as_bytes()), task.map(str::as_bytes), "{path}");
        }
    }
}
