//! One file as one record.

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

/// Files up to here are read before their record begins, so that the record has the length that was
/// read and not the one that was promised: files of `/proc` promise 0 bytes, those of `/sys` a
/// page.
const WHOLE_BYTES_MAX: u64 = 1024 * 1024;

const WARC_FIELDS: &str = "application/warc-fields";

/// What a record's header says.
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

    /// Adds what the file system says of the file, in the same fields as probes do.
    fn with(mut self, metadata: &Metadata) -> Self {
        self.fields.extend(FileFacts::from(metadata).fields());
        self
    }

    /// Hands the header of a record of this kind to `write`.
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
    /// The beginning of the file under way; kept for its memory.
    head: Vec<u8>,
}

impl<'a, 'd, 'w> FileRecorder<'a, 'd, 'w> {
    /// Begins the item of `target`.
    pub(super) fn start(
        draft: &'d mut DraftBundle,
        target: &FileTarget,
        control: &'a mut SealControl<'w>,
    ) -> Result<Self, FilesError> {
        let mut item = draft.item(&target.item)?;
        let about = format!(
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
        item.record(&header, about.as_bytes())?;
        Ok(Self {
            item,
            coverage: Coverage::new(),
            control,
            head: Vec::new(),
        })
    }

    /// Writes what the walk found.
    pub(super) fn entry(&mut self, entry: &WalkEntry) -> Result<(), FilesError> {
        if self.control.is_stopped() {
            return Err(FilesError::Interrupted);
        }
        self.coverage.pages += 1;
        let path = &entry.path;
        match &entry.metadata {
            Ok(metadata) if metadata.is_file() => self.file(path),
            Ok(metadata) if metadata.is_symlink() => self.link(path, metadata),
            Ok(metadata) => self.missing(
                GapReason::SpecialFile,
                RecordDescription::new(path, media_type::UNKNOWN).with(metadata),
            ),
            Err(e) => self.failed(path, e),
        }
    }

    /// Ends the item.
    pub(super) fn finish(self, source: ItemSource) -> Result<(), FilesError> {
        Ok(self.item.finish(source, self.coverage, Vec::new())?)
    }

    fn file(&mut self, path: &Path) -> Result<(), FilesError> {
        let about = RecordDescription::new(path, media_type::of(path));
        let (file, metadata) = match open(path) {
            Ok(opened) => opened,
            Err(e) => return self.failed(path, &e),
        };
        let about = about.with(&metadata);
        if !metadata.is_file() {
            return self.missing(GapReason::SpecialFile, about); // changed since the walk saw it
        }
        let _ = fadvise(&file, 0, None, Advice::Sequential); // advice: a file system that takes none is as good
        self.head.clear();
        match (&file).take(WHOLE_BYTES_MAX).read_to_end(&mut self.head) {
            Err(e) => self.failed(path, &e),
            Ok(n) if (n as u64) < WHOLE_BYTES_MAX => self.whole(&about),
            Ok(_) => self.long(about, file, metadata.len()),
        }
    }

    /// A file that `head` has altogether.
    fn whole(&mut self, about: &RecordDescription<'_>) -> Result<(), FilesError> {
        about.header(RecordType::Resource, |header| {
            self.item.record(header, &self.head)
        })?;
        (self.control.progress)(about.path, &self.head);
        Ok(())
    }

    /// A file that goes on behind `head`. Its length is `promised` when it was opened; what it grew
    /// by since is not taken.
    fn long(
        &mut self,
        mut about: RecordDescription<'_>,
        file: File,
        promised: u64,
    ) -> Result<(), FilesError> {
        let bytes = promised.max(WHOLE_BYTES_MAX);
        if promised < WHOLE_BYTES_MAX {
            // A long file of /proc, which does not say how long. Capturing those is work for a
            // probe.
            about.truncated = Some(TruncationReason::Length);
            self.gap(GapReason::TooLarge, about.path, bytes, 0);
        }
        let mut content = LongFileContent {
            bytes: self.head.chain(file),
            path: about.path,
            control: &mut *self.control,
        };
        let write = |header: &WarcHeader<'_>| self.item.record_stream(header, bytes, &mut content);
        let streamed = about.header(RecordType::Resource, write);
        if self.control.is_stopped() {
            return Err(FilesError::Interrupted); // whatever else failed by it
        }
        let streamed = streamed?;
        if streamed.kept < bytes {
            self.fell_short(about.path, bytes, &streamed)
        } else {
            Ok(())
        }
    }

    /// States that a record holds zero bytes where its file gave none, which was not known when the
    /// record began.
    fn fell_short(
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
        self.gap(reason, path, streamed.kept, bytes - streamed.kept);
        let mut about = RecordDescription::new(path, WARC_FIELDS);
        about
            .fields
            .push(("Exhibit-Gap", reason.as_str().to_owned()));
        let block = format!(
            "bytesAnnounced: {bytes}\r\nbytesKept: {}\r\n",
            streamed.kept
        );
        Ok(about.header(RecordType::Metadata, |header| {
            self.item.record(header, block.as_bytes())
        })?)
    }

    /// A link is kept as its text.
    fn link(&mut self, path: &Path, metadata: &Metadata) -> Result<(), FilesError> {
        let mut about = RecordDescription::new(path, media_type::UNKNOWN).with(metadata);
        about.fields.push(("Exhibit-Kind", "link".to_owned()));
        match fs::read_link(path) {
            Ok(to) => {
                let text = to.as_os_str().as_bytes();
                Ok(about.header(RecordType::Resource, |header| {
                    self.item.record(header, text)
                })?)
            }
            Err(e) => self.failed(path, &e),
        }
    }

    fn failed(&mut self, path: &Path, error: &io::Error) -> Result<(), FilesError> {
        let mut about = RecordDescription::new(path, media_type::UNKNOWN);
        about
            .fields
            .extend(Errno::from_io_error(error).map(|errno| ("Exhibit-Errno", errno_text(errno))));
        self.missing(reason(error), about)
    }

    /// Writes an empty record in the place of what is missing.
    fn missing(
        &mut self,
        reason: GapReason,
        mut about: RecordDescription<'_>,
    ) -> Result<(), FilesError> {
        self.gap(reason, about.path, 0, 0);
        about.truncated = Some(TruncationReason::Unspecified);
        about
            .fields
            .push(("Exhibit-Gap", reason.as_str().to_owned()));
        Ok(about.header(RecordType::Resource, |header| self.item.record(header, &[]))?)
    }

    fn gap(&mut self, reason: GapReason, path: &Path, bytes_kept: u64, bytes_lost: u64) {
        self.coverage
            .gap(reason, &path.to_string_lossy(), bytes_kept, bytes_lost);
    }
}

/// A long file's bytes on their way into the item.
struct LongFileContent<'a, 'w> {
    bytes: Chain<&'a [u8], File>,
    path: &'a Path,
    control: &'a mut SealControl<'w>,
}

impl Read for LongFileContent<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.control.is_stopped() {
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
        Some(Errno::NXIO | Errno::LOOP) => GapReason::SpecialFile, // became a socket or a link since the walk saw it
        _ => GapReason::ReadFailed,
    }
}
