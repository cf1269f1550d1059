//! Writes each file as one record.

use std::fs::{self, File, Metadata};
use std::io::{self, Chain, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use evidence_format::bundle::{DraftBundle, DraftItem};
use evidence_format::config::ItemSource;
use evidence_format::coverage::{Coverage, GapReason};
use evidence_format::item::{StopError, StreamedBlock};
use evidence_format::time::Timestamp;
use evidence_format::warc::{RecordType, TruncationReason, WarcHeader, file_uri};
use rustix::fs::{Advice, fadvise};
use rustix::io::Errno;

use super::walk::WalkEntry;
use super::{FileTarget, FilesError, SealControl, media_type, open};
use crate::identity;
use crate::read::FileFacts;
use crate::recorder::errno_text;

/// Files up to this size are read before their record begins, so that the record has the length
/// that was read and not the one that was reported: files in `/proc` report 0 bytes, those in
/// `/sys` a page.
const WHOLE_BYTES_MAX: u64 = 1024 * 1024;

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
    fn with(mut self, metadata: &Metadata) -> Self {
        self.fields.extend(FileFacts::from(metadata).fields());
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
    /// The start of the current file; reused, to keep its memory.
    head: Vec<u8>,
}

impl<'a, 'd, 'w> FileRecorder<'a, 'd, 'w> {
    /// Starts the item of `target` with a record that describes it.
    pub(super) fn start(
        draft: &'d mut DraftBundle,
        target: &FileTarget,
        control: &'a mut SealControl<'w>,
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
            head: Vec::new(),
        })
    }

    pub(super) fn record_entry(&mut self, entry: &WalkEntry) -> Result<(), FilesError> {
        if self.control.is_stopped() {
            return Err(FilesError::Interrupted);
        }
        self.coverage.pages += 1;
        let path = &entry.path;
        match &entry.metadata {
            Ok(metadata) if metadata.is_file() => self.record_file(path),
            Ok(metadata) if metadata.is_symlink() => self.record_link(path, metadata),
            Ok(metadata) => self.record_gap(
                GapReason::SpecialFile,
                RecordDescription::new(path, media_type::UNKNOWN).with(metadata),
            ),
            Err(e) => self.record_failure(path, e),
        }
    }

    /// Ends the item.
    pub(super) fn finish(self, source: ItemSource) -> Result<(), FilesError> {
        Ok(self.item.finish(source, self.coverage, Vec::new())?)
    }

    fn record_file(&mut self, path: &Path) -> Result<(), FilesError> {
        let description = RecordDescription::new(path, media_type::of(path));
        let (file, metadata) = match open(path) {
            Ok(opened) => opened,
            Err(e) => return self.record_failure(path, &e),
        };
        let description = description.with(&metadata);
        if !metadata.is_file() {
            return self.record_gap(GapReason::SpecialFile, description); // replaced since the walk
        }
        let _ = fadvise(&file, 0, None, Advice::Sequential); // only a hint: without it reading is correct too
        self.head.clear();
        match (&file).take(WHOLE_BYTES_MAX).read_to_end(&mut self.head) {
            Err(e) => self.record_failure(path, &e),
            // Shorter than asked means at its end: the size that it reports does not matter.
            Ok(n) if (n as u64) < WHOLE_BYTES_MAX => self.record_whole(&description),
            Ok(_) => self.record_long(description, file, metadata.len()),
        }
    }

    /// A file that fits into `head`.
    fn record_whole(&mut self, description: &RecordDescription<'_>) -> Result<(), FilesError> {
        description.header(RecordType::Resource, |header| {
            self.item.record(header, &self.head)
        })?;
        (self.control.progress)(description.path, &self.head);
        Ok(())
    }

    /// A file that is longer than `head`. It reported `reported_bytes` when it was opened; what it
    /// has grown by since is not recorded.
    fn record_long(
        &mut self,
        mut description: RecordDescription<'_>,
        file: File,
        reported_bytes: u64,
    ) -> Result<(), FilesError> {
        // At least what is in `head`: the record states its length before its bytes.
        let bytes = reported_bytes.max(WHOLE_BYTES_MAX);
        if reported_bytes < WHOLE_BYTES_MAX {
            // A long file that reports no size, as in /proc. Probes are the way to capture these.
            description.truncated = Some(TruncationReason::Length);
            self.count_gap(GapReason::TooLarge, description.path, bytes, 0);
        }
        let mut content = LongFileContent {
            // The beginning was read already, and must not be read twice: the file may change.
            bytes: self.head.chain(file),
            path: description.path,
            control: &mut *self.control,
        };
        let streamed = description.header(RecordType::Resource, |header| {
            self.item.record_stream(header, bytes, &mut content)
        });
        if self.control.is_stopped() {
            return Err(FilesError::Interrupted); // rather than the error that the stop has caused
        }
        let streamed = streamed?;
        if streamed.kept < bytes {
            self.record_shortfall(description.path, bytes, &streamed)
        } else {
            Ok(())
        }
    }

    /// Writes a record that the one before ends in zero bytes which are not the file's: the file
    /// delivered less than it reported, and the record's length was already written.
    fn record_shortfall(
        &mut self,
        path: &Path,
        bytes: u64,
        streamed: &StreamedBlock,
    ) -> Result<(), FilesError> {
        let reason = if streamed.error.is_some() {
            GapReason::ReadFailed
        } else {
            GapReason::Shrank
        };
        self.count_gap(reason, path, streamed.kept, bytes - streamed.kept);
        let mut description = RecordDescription::new(path, WARC_FIELDS);
        description
            .fields
            .push(("Exhibit-Gap", reason.as_str().to_owned()));
        let block = format!(
            "bytesAnnounced: {bytes}\r\nbytesKept: {}\r\n",
            streamed.kept
        );
        Ok(description.header(RecordType::Metadata, |header| {
            self.item.record(header, block.as_bytes())
        })?)
    }

    /// Keeps a link as the text of its target.
    fn record_link(&mut self, path: &Path, metadata: &Metadata) -> Result<(), FilesError> {
        let mut description = RecordDescription::new(path, media_type::UNKNOWN).with(metadata);
        description.fields.push(("Exhibit-Kind", "link".to_owned()));
        match fs::read_link(path) {
            Ok(to) => {
                let text = to.as_os_str().as_bytes();
                Ok(description.header(RecordType::Resource, |header| {
                    self.item.record(header, text)
                })?)
            }
            Err(e) => self.record_failure(path, &e),
        }
    }

    fn record_failure(&mut self, path: &Path, error: &io::Error) -> Result<(), FilesError> {
        let mut description = RecordDescription::new(path, media_type::UNKNOWN);
        description
            .fields
            .extend(Errno::from_io_error(error).map(|errno| ("Exhibit-Errno", errno_text(errno))));
        self.record_gap(reason(error), description)
    }

    /// Writes an empty record for a missing file.
    fn record_gap(
        &mut self,
        reason: GapReason,
        mut description: RecordDescription<'_>,
    ) -> Result<(), FilesError> {
        self.count_gap(reason, description.path, 0, 0);
        // WARC has no word for "absent"; the reason is in `Exhibit-Gap`.
        description.truncated = Some(TruncationReason::Unspecified);
        description
            .fields
            .push(("Exhibit-Gap", reason.as_str().to_owned()));
        Ok(description.header(RecordType::Resource, |header| self.item.record(header, &[]))?)
    }

    fn count_gap(&mut self, reason: GapReason, path: &Path, bytes_kept: u64, bytes_lost: u64) {
        self.coverage
            .gap(reason, &path.to_string_lossy(), bytes_kept, bytes_lost);
    }
}

/// A long file's bytes, with progress and stop.
struct LongFileContent<'a, 'w> {
    bytes: Chain<&'a [u8], File>,
    path: &'a Path,
    control: &'a mut SealControl<'w>,
}

impl Read for LongFileContent<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.control.is_stopped() {
            // An error, since an early end would be padded as if the file had shrunk.
            return Err(io::Error::other(StopError));
        }
        let n = self.bytes.read(buffer)?;
        (self.control.progress)(self.path, &buffer[..n]);
        Ok(n)
    }
}

fn reason(error: &io::Error) -> GapReason {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS | Errno::PERM) => GapReason::PermissionDenied,
        Some(Errno::NOENT | Errno::NOTDIR | Errno::STALE) => GapReason::Vanished,
        Some(Errno::NXIO | Errno::LOOP) => GapReason::SpecialFile, // a socket or a link has replaced it since the walk
        _ => GapReason::ReadFailed,
    }
}
