//! Writes each file as one record.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evidence_format::bundle::{DraftBundle, DraftItem};
use evidence_format::config::ItemSource;
use evidence_format::coverage::{Coverage, GapReason};
use evidence_format::item::StopError;
use evidence_format::time::Timestamp;
use evidence_format::warc::{RecordType, TruncationReason, WarcHeader, file_uri};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::{FileTarget, FilesError, SealControl, media_type};
use crate::identity;
use crate::read::{
    FileFacts, ObjectStart, ReadEvent, ReadMethod, ReadOutcome, ReadRequest, Reader, ReaderPoll,
};
use crate::recorder::{FolderListing, errno_text, truncation};

/// How often a stop is noticed while nothing is delivered.
const TICK: Duration = Duration::from_millis(50);

const WARC_FIELDS: &str = "application/warc-fields";

/// The header of a record, before its kind is known.
struct RecordDescription<'p> {
    path: &'p Path,
    date: Timestamp,
    content_type: &'static str,
    truncated: Option<TruncationReason>,
    fields: Vec<(&'static str, String)>,
}

impl<'p> RecordDescription<'p> {
    fn new(path: &'p Path, content_type: &'static str) -> Self {
        Self {
            path,
            date: platform::clock::now(),
            content_type,
            truncated: None,
            fields: Vec::new(),
        }
    }

    /// Adds the facts of the file, in the same fields as probes do.
    fn with(mut self, facts: Option<FileFacts>) -> Self {
        self.fields.extend(facts.iter().flat_map(FileFacts::fields));
        self
    }

    /// Calls `write` with the header of a record of this kind.
    fn header<R>(&self, kind: RecordType, write: impl FnOnce(&WarcHeader<'_>) -> R) -> R {
        let uri = file_uri(self.path.as_os_str().as_bytes());
        let fields: Vec<_> = self
            .fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let Self {
            date,
            content_type,
            truncated,
            ..
        } = *self;
        write(&WarcHeader {
            kind,
            target_uri: Some(&uri),
            date,
            content_type,
            truncated,
            fields: &fields,
        })
    }
}

/// Writes the records of one item.
pub(super) struct FileRecorder<'a, 'd, 'w> {
    item: DraftItem<'d>,
    coverage: Coverage,
    control: &'a mut SealControl<'w>,
    reader: &'a mut Reader,
    /// A file, a link's target or the names in a folder; reused, to keep its memory.
    head: Vec<u8>,
}

impl<'a, 'd, 'w> FileRecorder<'a, 'd, 'w> {
    /// Starts the item of `target` with a record that describes it.
    pub(super) fn start(
        draft: &'d mut DraftBundle,
        target: &FileTarget,
        control: &'a mut SealControl<'w>,
        reader: &'a mut Reader,
    ) -> Result<Self, FilesError> {
        let mut item = draft.item(&target.item)?;
        let description = format!(
            "software: {} {}\r\nformat: WARC File Format 1.1\r\ndescription: files as they are, from {}\r\n",
            identity::NAME,
            env!("CARGO_PKG_VERSION"),
            file_uri(target.path.as_os_str().as_bytes())
        );
        let header = WarcHeader {
            kind: RecordType::Warcinfo,
            target_uri: None,
            date: platform::clock::now(),
            content_type: WARC_FIELDS,
            truncated: None,
            fields: &[],
        };
        item.record(&header, description.as_bytes())?;
        Ok(Self {
            item,
            coverage: Coverage::new(),
            control,
            reader,
            head: Vec::new(),
        })
    }

    /// Requests a path. Each must then be recorded, in the order of the requests.
    pub(super) fn request(&mut self, path: &Path) {
        let path = path.as_os_str().as_bytes();
        self.reader
            .request(ReadRequest::bytes(path, ReadMethod::AsIs));
    }

    /// Records the oldest request. Returns the names in it if it is a folder, which has no record.
    pub(super) fn record_next(&mut self) -> Result<Option<FolderListing>, FilesError> {
        let Some(request) = self.reader.current().map(Arc::clone) else {
            return Ok(None);
        };
        let path = PathBuf::from(OsStr::from_bytes(&request.path));
        self.head.clear();
        let mut start = None;
        let outcome = loop {
            match self.next_event()? {
                ReadEvent::Start(long) if long.stream_bytes.is_some() => {
                    self.coverage.pages += 1;
                    self.record_long(&path, &long)?;
                    return Ok(None);
                }
                ReadEvent::Start(object) => start = Some(object),
                ReadEvent::Bytes(range) => {
                    self.head.extend_from_slice(self.reader.bytes(range));
                }
                ReadEvent::End(outcome) => break outcome,
            }
        };
        self.reader.pop_request();
        let facts = start.and_then(|start| start.facts);
        let is_folder = facts.is_some_and(|facts| facts.kind() == FileType::Directory);
        if is_folder && matches!(outcome, ReadOutcome::Whole { .. }) {
            let names = std::mem::take(&mut self.head);
            return Ok(Some(FolderListing::from(names)));
        }
        // All or nothing: a folder that is listed in part would pass for complete.
        if is_folder {
            self.head.clear();
        }
        self.coverage.pages += 1;
        self.record_whole(&path, facts, outcome)?;
        Ok(None)
    }

    /// The next event of the oldest request.
    fn next_event(&mut self) -> Result<ReadEvent, FilesError> {
        loop {
            if self.control.is_stopped() {
                return Err(FilesError::Interrupted);
            }
            match self.reader.next(TICK) {
                ReaderPoll::Event(event) => return Ok(event),
                // nothing is pending, and yet something is awaited: a bug of ours
                ReaderPoll::Idle => return Ok(ReadEvent::End(ReadOutcome::Crashed)),
                ReaderPoll::Waiting => {}
            }
        }
    }

    /// Ends the item.
    pub(super) fn finish(self, source: ItemSource) -> Result<(), FilesError> {
        Ok(self.item.finish(source, self.coverage, Vec::new())?)
    }

    /// Records what is in `head`: a short file or a link's target, whole or not.
    fn record_whole(
        &mut self,
        path: &Path,
        facts: Option<FileFacts>,
        outcome: ReadOutcome,
    ) -> Result<(), FilesError> {
        let is_link = facts.is_some_and(|facts| facts.kind() == FileType::Symlink);
        let is_file = facts.is_some_and(|facts| facts.is_regular());
        let content_type = if is_file {
            media_type::of(path)
        } else {
            media_type::UNKNOWN
        };
        let mut description = RecordDescription::new(path, content_type).with(facts);
        if is_link {
            description.fields.push(("Exhibit-Kind", "link".to_owned()));
        }
        if let ReadOutcome::Failed(errno) = outcome {
            let errno = errno_text(errno);
            description.fields.push(("Exhibit-Errno", errno));
        }
        if let Some(reason) = reason(outcome) {
            // WARC has no word for "absent"; the reason is in `Exhibit-Gap`.
            description.truncated = truncation(outcome);
            let reason_text = reason.as_str().to_owned();
            description.fields.push(("Exhibit-Gap", reason_text));
            let kept = self.head.len() as u64;
            let size = facts.filter(|_| is_file).map_or(0, |facts| facts.size);
            self.count_gap(reason, path, kept, size.saturating_sub(kept));
        }
        description.header(RecordType::Resource, |header| {
            self.item.record(header, &self.head)
        })?;
        if !is_link {
            (self.control.progress)(path, &self.head);
        }
        Ok(())
    }

    /// A long file: its record states its length before its bytes, which are never in memory as a
    /// whole. What it has grown by since is not recorded.
    fn record_long(&mut self, path: &Path, start: &ObjectStart) -> Result<(), FilesError> {
        let bytes = start.stream_bytes.unwrap_or(0);
        let description = RecordDescription::new(path, media_type::of(path)).with(start.facts);
        let mut content = LongFileContent {
            reader: self.reader,
            path,
            control: self.control,
            rest: 0..0,
            outcome: None,
        };
        let streamed = description.header(RecordType::Resource, |header| {
            self.item.record_stream(header, bytes, &mut content)
        });
        let mut outcome = content.outcome;
        if self.control.is_stopped() {
            return Err(FilesError::Interrupted); // rather than the error that the stop has caused
        }
        let streamed = streamed?;
        while outcome.is_none() {
            if let ReadEvent::End(end) = self.next_event()? {
                outcome = Some(end);
            }
        }
        self.reader.pop_request();
        match outcome.and_then(reason) {
            Some(reason) => self.record_shortfall(path, bytes, streamed.kept, reason),
            None => Ok(()),
        }
    }

    /// Writes a record that the one before ends in zero bytes which are not the file's: the file
    /// delivered less than it reported, and the record's length was already written.
    fn record_shortfall(
        &mut self,
        path: &Path,
        bytes: u64,
        kept: u64,
        reason: GapReason,
    ) -> Result<(), FilesError> {
        self.count_gap(reason, path, kept, bytes - kept);
        let mut description = RecordDescription::new(path, WARC_FIELDS);
        description
            .fields
            .push(("Exhibit-Gap", reason.as_str().to_owned()));
        let block = format!("bytesAnnounced: {bytes}\r\nbytesKept: {kept}\r\n");
        Ok(description.header(RecordType::Metadata, |header| {
            self.item.record(header, block.as_bytes())
        })?)
    }

    fn count_gap(&mut self, reason: GapReason, path: &Path, bytes_kept: u64, bytes_lost: u64) {
        self.coverage
            .gap(reason, &path.to_string_lossy(), bytes_kept, bytes_lost);
    }
}

/// A long file's bytes, with progress and stop.
struct LongFileContent<'a, 'w> {
    reader: &'a mut Reader,
    path: &'a Path,
    control: &'a mut SealControl<'w>,
    /// Bytes that have arrived.
    rest: Range<usize>,
    outcome: Option<ReadOutcome>,
}

impl Read for LongFileContent<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() && self.outcome.is_none() {
            if self.control.is_stopped() {
                // An error, since an early end would be padded as if the file had shrunk.
                return Err(io::Error::other(StopError));
            }
            match self.reader.next(TICK) {
                ReaderPoll::Event(ReadEvent::Bytes(range)) => self.rest = range,
                ReaderPoll::Event(ReadEvent::End(outcome)) => self.outcome = Some(outcome),
                ReaderPoll::Idle => self.outcome = Some(ReadOutcome::Crashed),
                ReaderPoll::Event(ReadEvent::Start(_)) | ReaderPoll::Waiting => {}
            }
        }
        let from = self.rest.start;
        let n = buffer.len().min(self.rest.len());
        buffer[..n].copy_from_slice(self.reader.bytes(from..from + n));
        self.rest.start += n;
        (self.control.progress)(self.path, &buffer[..n]);
        Ok(n)
    }
}

/// Why an object is missing, or a part of it; `None` if it is whole.
fn reason(outcome: ReadOutcome) -> Option<GapReason> {
    match outcome {
        ReadOutcome::Whole { .. } | ReadOutcome::Repeated => None,
        ReadOutcome::Cut(reason) => Some(reason),
        ReadOutcome::Shortened { .. } => Some(GapReason::TooLarge),
        ReadOutcome::Special => Some(GapReason::SpecialFile),
        ReadOutcome::ForeignLink => Some(GapReason::ForeignLink),
        ReadOutcome::ProcessEnded => Some(GapReason::ProcessEnded),
        ReadOutcome::Shrank => Some(GapReason::Shrank),
        ReadOutcome::Hung => Some(GapReason::Hung),
        ReadOutcome::Crashed => Some(GapReason::Crashed),
        ReadOutcome::Failed(Errno::ACCESS | Errno::PERM) => Some(GapReason::PermissionDenied),
        ReadOutcome::Failed(Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::SRCH) => {
            Some(GapReason::Vanished)
        }
        // a socket or a link has replaced it since it was listed
        ReadOutcome::Failed(Errno::NXIO | Errno::LOOP) => Some(GapReason::SpecialFile),
        ReadOutcome::Failed(_) => Some(GapReason::ReadFailed),
    }
}
