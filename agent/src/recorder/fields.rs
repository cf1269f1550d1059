//! The `Exhibit-` header fields of a record.

use evidence_format::coverage::GapReason;
use evidence_format::warc::TruncationReason;
use rustix::io::Errno;

use crate::read::{ObjectStart, ReadMethod, ReadOutcome, ReadRequest};

/// The names of common errors (errno(3)); of others only the number is recorded.
const ERRNO_NAMES: &[(Errno, &str)] = &[
    (Errno::PERM, "EPERM"),
    (Errno::NOENT, "ENOENT"),
    (Errno::SRCH, "ESRCH"),
    (Errno::IO, "EIO"),
    (Errno::NXIO, "ENXIO"),
    (Errno::NOMEM, "ENOMEM"),
    (Errno::ACCESS, "EACCES"),
    (Errno::BUSY, "EBUSY"),
    (Errno::NODEV, "ENODEV"),
    (Errno::NOTDIR, "ENOTDIR"),
    (Errno::ISDIR, "EISDIR"),
    (Errno::INVAL, "EINVAL"),
    (Errno::NFILE, "ENFILE"),
    (Errno::MFILE, "EMFILE"),
    (Errno::LOOP, "ELOOP"),
    (Errno::NAMETOOLONG, "ENAMETOOLONG"),
    (Errno::OPNOTSUPP, "EOPNOTSUPP"),
    (Errno::STALE, "ESTALE"),
    (Errno::TIMEDOUT, "ETIMEDOUT"),
    (Errno::NOTCONN, "ENOTCONN"),
];

/// Name and value, in the order of the header.
pub(super) struct RecordFields(Vec<(&'static str, String)>);

impl RecordFields {
    /// What is known about an object before its end. `written` bytes of it are in earlier records.
    pub(super) fn of(request: &ReadRequest, start: Option<&ObjectStart>, written: u64) -> Self {
        let mut fields = Self(Vec::new());
        if let Some(kind) = kind(request.method) {
            fields.add("Exhibit-Kind", kind);
        }
        if let Some(label) = &request.label {
            fields.add("Exhibit-Log", label);
        }
        if let Some(facts) = start.and_then(|start| start.facts) {
            fields.0.extend(facts.fields());
        }
        let offset = start.map_or(0, |start| start.offset) + written;
        if offset > 0 {
            fields.add("Exhibit-Offset", &offset.to_string());
        }
        if let Some(part) = start.and_then(|start| start.sparse) {
            fields.add("Exhibit-Sparse", "true");
            if part.continued {
                fields.add("Exhibit-Continued", "true");
            }
        }
        fields
    }

    /// Adds how the object ended, and returns why its block is not the whole object.
    pub(super) fn outcome(
        &mut self,
        end: ReadOutcome,
        gap: Option<GapReason>,
    ) -> Option<TruncationReason> {
        if let ReadOutcome::Failed(errno) = end {
            self.add("Exhibit-Errno", &errno_text(errno));
        }
        if let Some(reason) = gap {
            self.add("Exhibit-Gap", reason.as_str());
        }
        truncation(end)
    }

    pub(super) fn add(&mut self, name: &'static str, value: &str) {
        self.0.push((name, value.to_owned()));
    }

    pub(super) fn pairs(&self) -> Vec<(&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }
}

fn kind(method: ReadMethod) -> Option<&'static str> {
    match method {
        ReadMethod::Link => Some("link"),
        ReadMethod::Links(_) => Some("links"),
        ReadMethod::Names | ReadMethod::Listing | ReadMethod::LinkedListing => Some("directory"),
        ReadMethod::Executable => Some("executable"),
        ReadMethod::Namespaces(_) => Some("namespaces"),
        ReadMethod::Threads => Some("threads"),
        ReadMethod::JournalEntries => Some("journal-entries"),
        ReadMethod::Kernel
        | ReadMethod::Redacted(_)
        | ReadMethod::File(_)
        | ReadMethod::Linked(_)
        | ReadMethod::Ring
        | ReadMethod::IsFolder
        | ReadMethod::JournalCount
        | ReadMethod::AsIs => None,
    }
}

/// Why the block of an object that ended so is not the whole object.
pub(crate) fn truncation(end: ReadOutcome) -> Option<TruncationReason> {
    match end {
        ReadOutcome::Cut(GapReason::Deadline | GapReason::Cancelled) | ReadOutcome::Hung => {
            Some(TruncationReason::Time)
        }
        ReadOutcome::Cut(_) | ReadOutcome::Shortened { .. } => Some(TruncationReason::Length),
        ReadOutcome::Shrank
        | ReadOutcome::Failed(_)
        | ReadOutcome::Special
        | ReadOutcome::ForeignLink
        | ReadOutcome::ProcessEnded
        | ReadOutcome::Crashed => Some(TruncationReason::Unspecified),
        // A repeated file is whole: its bytes are in another record.
        ReadOutcome::Whole { .. } | ReadOutcome::Repeated => None,
    }
}

/// `13 EACCES`.
pub(crate) fn errno_text(errno: Errno) -> String {
    let name = ERRNO_NAMES
        .iter()
        .find(|(known, _)| *known == errno)
        .map(|(_, name)| *name);
    name.map_or_else(
        || errno.raw_os_error().to_string(),
        |name| format!("{} {name}", errno.raw_os_error()),
    )
}
