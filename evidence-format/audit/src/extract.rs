//! `exhibit-audit extract`: writes the captured data as files.
//!
//! The folder is filled under a temporary name and renamed once the whole bundle is verified, so
//! its final name stands only for verified content. Files are created with `O_EXCL` in a folder
//! that only we may enter, so no link can lead outside. Nothing is synced to disk: an extraction
//! can be repeated.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use evidence_format::config::ItemEntry;
use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::warc::{RecordVisitor, WarcFields, WarcParser};

use crate::bundle::{AuditedBundle, BundleArgs};
use crate::error::AuditError;
use crate::paths::{candidates, components};
use crate::{output, verdict};

/// Longest file with holes that is written with them: what ext4 allows.
const FILE_BYTES_MAX: u64 = (16 << 40) - 4096;
/// Bytes of one write to a file: records arrive in pieces of a few kilobytes.
const WRITE_BYTES: usize = 64 * 1024;

/// Command line of `extract`.
#[derive(Debug, Args)]
pub(crate) struct ExtractArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Target folder; must not exist yet, or be empty
    #[arg(value_name = "DIR")]
    to: PathBuf,
    /// Write each item as one WARC file instead
    #[arg(long)]
    warc: bool,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ExtractArgs) -> Result<ExitCode, AuditError> {
    let mut bundle = AuditedBundle::new_rereadable(&args.bundle)?;
    let unfinished = UnfinishedFolder::create(&args.to)?;
    // Shared by the visitors of all items, which the verification calls one after the other.
    let summary = RefCell::new(ExtractionSummary::default());
    let report = bundle.verify_and_view(&mut |item| {
        // After a full disk, the rest is only verified.
        if summary.borrow().failure.is_some() {
            return None;
        }
        match visitor(unfinished.path(), item, args.warc, &summary) {
            Ok(visit) => Some(visit),
            Err(cause) => {
                summary.borrow_mut().failure = Some(cause);
                None
            }
        }
    })?;
    let mut summary = summary.into_inner();
    // Before the verdict: a failed write stops verification, and is not the bundle's fault.
    if let Some(cause) = summary.failure.take() {
        return Err(AuditError::Write {
            path: args.to.clone(),
            cause,
        });
    }
    // Dropping `unfinished` removes what was written, unless the bundle is verified.
    verdict::allow_showing(&report, bundle.trust())?;
    unfinished.publish(&args.to)?;
    output::print(&if args.json {
        summary.json(&args.to)
    } else {
        summary.text(&args.to)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What has been written so far.
#[derive(Default)]
struct ExtractionSummary {
    files: u64,
    bytes: u64,
    /// Records that only state that something could not be captured.
    gaps: u64,
    /// Files that hold only part of the original.
    partial: u64,
    failure: Option<io::Error>,
}

impl ExtractionSummary {
    fn json(&self, to: &Path) -> String {
        let value = serde_json::json!({
            "folder": to.to_string_lossy(),
            "files": self.files,
            "bytes": self.bytes,
            "gaps": self.gaps,
            "partial": self.partial,
        });
        evidence_format::safe::safe_json(&value) + "\n"
    }

    fn text(&self, to: &Path) -> String {
        let mut text = format!(
            "{} files, {} bytes in {}\n",
            self.files,
            self.bytes,
            evidence_format::safe::safe(&to.to_string_lossy())
        );
        if self.partial > 0 {
            text += &format!("{} of them are incomplete (WARC-Truncated)\n", self.partial);
        }
        if self.gaps > 0 {
            text += &format!(
                "{} more could not be captured; see `exhibit-audit inspect`\n",
                self.gaps
            );
        }
        text
    }
}

/// The folder while it is being filled. It is removed unless it is published.
struct UnfinishedFolder(Option<PathBuf>);

impl UnfinishedFolder {
    fn create(to: &Path) -> Result<Self, AuditError> {
        let mut name = to
            .file_name()
            .map(OsString::from)
            .ok_or_else(|| usage(to, "has no name"))?;
        // The metadata of a link itself: a rename would replace the link, not its target.
        let empty = match fs::symlink_metadata(to) {
            Ok(metadata) if metadata.is_dir() => {
                fs::read_dir(to).is_ok_and(|mut entries| entries.next().is_none())
            }
            Ok(_) => false,
            Err(e) => e.kind() == io::ErrorKind::NotFound,
        };
        if !empty {
            return Err(usage(to, "exists and is not an empty folder"));
        }
        // In the same folder: a rename cannot cross file systems.
        name.push(".unfinished");
        let path = to.with_file_name(name);
        match create_folder(&path) {
            Ok(()) => Ok(Self(Some(path))),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(usage(
                &path,
                "exists: another extraction is writing to it, or was interrupted and left it to be removed",
            )),
            Err(cause) => Err(AuditError::Write { path, cause }),
        }
    }

    fn path(&self) -> &Path {
        self.0.as_deref().expect("present until published")
    }

    fn publish(mut self, to: &Path) -> Result<(), AuditError> {
        fs::rename(self.path(), to).map_err(|cause| AuditError::Write {
            path: to.to_owned(),
            cause,
        })?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for UnfinishedFolder {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = fs::remove_dir_all(path); // what remains is still named as unfinished
        }
    }
}

fn usage(path: &Path, what: &str) -> AuditError {
    AuditError::Usage(format!("{} {what}", path.display()))
}

fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn create_file(path: &Path) -> io::Result<BufWriter<File>> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map(|file| BufWriter::with_capacity(WRITE_BYTES, file))
}

fn visitor<'t>(
    root: &Path,
    item: &ItemEntry,
    warc: bool,
    summary: &'t RefCell<ExtractionSummary>,
) -> io::Result<Box<dyn PieceVisitor + 't>> {
    // The item's name is safe as a file name: the format allows no `/` and no dot at its beginning.
    if warc {
        let file = create_file(&root.join(format!("{}.warc", item.name)))?;
        summary.borrow_mut().files += 1;
        return Ok(Box::new(WarcFileWriter {
            file,
            // Known from the config; if it is wrong, verification fails and the file is removed.
            left: item.bytes,
            summary,
        }));
    }
    let folder = root.join(item.name.as_str());
    create_folder(&folder)?;
    let files = BlockFiles {
        folder,
        number: 0,
        open: None,
        continues: None,
        paused: None,
        summary,
    };
    Ok(Box::new(BlockExtractor {
        parser: WarcParser::new(),
        files,
    }))
}

/// Writes an item unchanged.
struct WarcFileWriter<'t> {
    file: BufWriter<File>,
    /// Bytes still to come. After the last one the file is flushed, while an error can still be
    /// reported.
    left: u64,
    summary: &'t RefCell<ExtractionSummary>,
}

impl PieceVisitor for WarcFileWriter<'_> {
    fn piece(&mut self, _: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        let written = self.file.write_all(bytes);
        let written = if self.left == 0 {
            written.and_then(|()| self.file.flush())
        } else {
            written
        };
        self.summary.borrow_mut().bytes += bytes.len() as u64;
        store_failure(written, self.summary)
    }
}

/// Writes the blocks of an item as files.
struct BlockExtractor<'t> {
    parser: WarcParser,
    files: BlockFiles<'t>,
}

impl PieceVisitor for BlockExtractor<'_> {
    fn piece(&mut self, _: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        // A malformed item also fails verification, which reports it better.
        self.parser
            .push(bytes, &mut self.files)
            .map_err(io::Error::other)?;
        match &self.files.summary.borrow().failure {
            Some(failure) => Err(failure.kind().into()),
            None => Ok(()),
        }
    }
}

/// Keeps the first error for the end of the command, and returns one that stops the verification.
fn store_failure(result: io::Result<()>, summary: &RefCell<ExtractionSummary>) -> io::Result<()> {
    result.map_err(|cause| {
        let kind = cause.kind();
        summary.borrow_mut().failure.get_or_insert(cause);
        kind.into()
    })
}

/// Writes each block to the file that its header determines.
struct BlockFiles<'t> {
    folder: PathBuf,
    /// Index of the current WARC record.
    number: u64,
    open: Option<BufWriter<File>>,
    /// Set if the next record goes on with the current file, which has holes.
    continues: Option<String>,
    /// That file, between its records, and the URI of both.
    paused: Option<(String, BufWriter<File>)>,
    summary: &'t RefCell<ExtractionSummary>,
}

impl BlockFiles<'_> {
    fn begin(&mut self, fields: &WarcFields) -> io::Result<()> {
        let holes = HolesOfFile::of(fields);
        let uri = fields.get("WARC-Target-URI").unwrap_or_default();
        self.continues = holes
            .filter(|holes| holes.continued)
            .map(|_| uri.to_owned());
        if let (Some(holes), Some((before, mut file))) = (holes, self.paused.take())
            && before == uri
        {
            let is_cut = fields.get("WARC-Truncated").is_some();
            self.summary.borrow_mut().partial += u64::from(is_cut);
            file.seek(SeekFrom::Start(holes.offset))?;
            self.open = Some(file);
            return Ok(());
        }
        let mut summary = self.summary.borrow_mut();
        if is_gap(fields) {
            summary.gaps += 1;
            return Ok(());
        }
        if fields.get("WARC-Type") == Some("warcinfo") {
            return Ok(()); // describes the item and is not evidence; `--warc` includes it
        }
        summary.files += 1;
        summary.partial += u64::from(fields.get("WARC-Truncated").is_some());
        drop(summary);
        let parts = target(fields, self.number);
        let (name, folders) = parts.split_last().expect("a target has a name");
        let mut folder = self.folder.clone();
        for part in folders {
            folder = self.enter(&folder, part)?;
        }
        let mut file = self.create(&folder, name)?;
        if let Some(holes) = holes {
            file.get_mut().set_len(holes.file_bytes)?;
            file.seek(SeekFrom::Start(holes.offset))?;
        }
        self.open = Some(file);
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(mut file) = self.open.take() else {
            return Ok(());
        };
        file.flush()?;
        self.paused = self.continues.take().map(|uri| (uri, file));
        Ok(())
    }

    /// The folder `name` in `folder`, created if necessary; under another name if a file has it.
    fn enter(&self, folder: &Path, name: &str) -> io::Result<PathBuf> {
        for candidate in candidates(name, self.number) {
            let path = folder.join(candidate);
            match create_folder(&path) {
                // The name belongs to a file of another record, so the next candidate is tried.
                Err(e)
                    if e.kind() == io::ErrorKind::AlreadyExists
                        && !fs::symlink_metadata(&path)?.is_dir() => {}
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => return Ok(path),
            }
        }
        unreachable!("candidates have no end")
    }

    /// Creates the file `name` in `folder`, or under another name if that is taken.
    fn create(&self, folder: &Path, name: &str) -> io::Result<BufWriter<File>> {
        for candidate in candidates(name, self.number) {
            match create_file(&folder.join(candidate)) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other,
            }
        }
        unreachable!("candidates have no end")
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.open else {
            return Ok(());
        };
        self.summary.borrow_mut().bytes += bytes.len() as u64;
        file.write_all(bytes)
    }

    /// Runs a step unless an earlier one failed.
    fn attempt(&mut self, what: impl FnOnce(&mut Self) -> io::Result<()>) {
        if self.summary.borrow().failure.is_none() {
            let result = what(self);
            let _ = store_failure(result, self.summary); // `BlockExtractor` checks it
        }
    }
}

impl RecordVisitor for BlockFiles<'_> {
    fn header(&mut self, fields: &WarcFields) {
        self.attempt(|files| files.begin(fields));
    }

    fn block(&mut self, bytes: &[u8]) {
        self.attempt(|files| files.write(bytes));
    }

    fn end(&mut self) {
        self.attempt(Self::finish);
        self.number += 1;
    }
}

/// Where a record's block belongs in a file with holes, which no record has.
#[derive(Clone, Copy)]
struct HolesOfFile {
    offset: u64,
    file_bytes: u64,
    continued: bool,
}

impl HolesOfFile {
    fn of(fields: &WarcFields) -> Option<Self> {
        let is_true = |name| fields.get(name) == Some("true");
        let number = |name| fields.get(name).and_then(|text| text.parse().ok());
        is_true("Exhibit-Sparse").then_some(())?;
        // no file system has longer files; a bundle may claim anything
        let file_bytes = number("Exhibit-Size").filter(|bytes| *bytes <= FILE_BYTES_MAX)?;
        Some(Self {
            offset: number("Exhibit-Offset").unwrap_or(0).min(file_bytes),
            file_bytes,
            continued: is_true("Exhibit-Continued"),
        })
    }
}

/// True for a record that only states that something could not be captured.
fn is_gap(fields: &WarcFields) -> bool {
    // A truncated record with content is a partial file, not a gap.
    let missing = ["Exhibit-Errno", "Exhibit-Gap", "WARC-Truncated"]
        .iter()
        .any(|name| fields.get(name).is_some());
    missing && fields.get("Content-Length") == Some("0")
}

/// Path of a record's block below its item's folder: the original path of a resource, otherwise the
/// record's number.
fn target(fields: &WarcFields, number: u64) -> Vec<String> {
    let kind = fields.get("WARC-Type").unwrap_or("");
    // Only a resource has the bytes of its URI; a request or response would be taken for the file.
    let original = fields
        .get("WARC-Target-URI")
        .filter(|_| kind == "resource")
        .and_then(components);
    let mut parts = original.unwrap_or_else(|| vec![format!("{number:06}.{}", plain_word(kind))]);
    if let (Some(suffix), Some(name)) = (
        fields.get("Exhibit-Kind").and_then(suffix),
        parts.last_mut(),
    ) {
        // A link's text must not be mistaken for the content of its target.
        name.push_str(suffix);
    }
    parts
}

/// The record type if it looks like one of ISO 28500, otherwise `record`: it becomes part of a
/// name.
fn plain_word(kind: &str) -> &str {
    if (1..=16).contains(&kind.len()) && kind.bytes().all(|b| b.is_ascii_lowercase()) {
        kind
    } else {
        "record"
    }
}

/// Suffix of a file that only describes the object at its path.
fn suffix(kind: &str) -> Option<&'static str> {
    match kind {
        "link" => Some(".link"),
        "links" => Some(".links"),
        "directory" => Some(".directory"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn holes_are_written_as_holes() {
        let record = |offset: u64, continued: &str, block: &str| {
            format!(
                "WARC/1.1\r\nWARC-Type: resource\r\nWARC-Target-URI: file:///var/log/lastlog\r\n\
                 WARC-Record-ID: <urn:uuid:6f1fd1a2-0a3b-4c6f-9a34-5b7f8c2f4e1{}>\r\n\
                 WARC-Date: 2026-11-27T21:00:00Z\r\nExhibit-Size: 1000000300\r\n\
                 Exhibit-Offset: {offset}\r\nExhibit-Sparse: true\r\n{continued}\
                 Content-Length: {}\r\n\r\n{block}\r\n\r\n",
                block.len() % 10,
                block.len()
            )
        };
        let continued = "Exhibit-Continued: true\r\n";
        let warc = record(4096, continued, "root") + &record(1_000_000_000, "", "domain user");
        let folder = tempfile::tempdir().expect("a folder");
        let summary = RefCell::default();
        let mut files = BlockFiles {
            folder: folder.path().to_owned(),
            number: 0,
            open: None,
            continues: None,
            paused: None,
            summary: &summary,
        };
        let mut parser = WarcParser::new();
        parser.push(warc.as_bytes(), &mut files).expect("a WARC");
        let path = folder.path().join("var/log/lastlog");
        let metadata = fs::metadata(&path).expect("extracted");
        assert_eq!((metadata.len(), summary.borrow().files), (1_000_000_300, 1));
        assert!(metadata.blocks() < 1000, "{} blocks", metadata.blocks());
        let file = File::open(&path).expect("extracted");
        for (at, text) in [
            (4096, &b"root"[..]),
            (1_000_000_000, b"domain user"),
            (0, b"\0\0"),
        ] {
            let mut found = vec![1; text.len()];
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut found, at).expect("inside");
            assert_eq!(found, text);
        }
    }
}
