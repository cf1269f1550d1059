//! `exhibit-audit records`: lists the records of an item as escaped lines or as JSON, or writes
//! their raw bytes.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use evidence_format::config::ItemEntry;
use evidence_format::id::ItemName;
use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::safe::{safe, safe_bytes, safe_json};
use evidence_format::segment::SegmentKind;
use evidence_format::verify::VerificationReport;
use evidence_format::warc::{RecordVisitor, WarcFields, WarcParser};
use serde_json::json;

use crate::bundle::{AuditedBundle, BundleArgs, item_of};
use crate::error::AuditError;
use crate::output;

/// Bytes of a record that the listing shows.
const PREVIEW_BYTES: usize = 120;
/// Characters of a record's URI that the text listing shows; JSON has all of them.
const URI_CHARS_SHOWN: usize = 60;

/// Command line of `records`.
#[derive(Debug, Args)]
pub(crate) struct RecordsArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Name of the item
    #[arg(value_name = "ITEM")]
    item: ItemName,
    /// Print one JSON object per line
    #[arg(long, conflicts_with_all = ["raw", "record"])]
    json: bool,
    /// Write the raw bytes of all records, one after the other
    #[arg(long, conflicts_with = "record")]
    raw: bool,
    /// Write the raw bytes of record N, counted from 0
    #[arg(long, value_name = "N")]
    record: Option<u64>,
    /// Write raw bytes even to a terminal
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &RecordsArgs) -> Result<ExitCode, AuditError> {
    let raw = args.raw || args.record.is_some();
    if raw {
        output::allow_raw(args.force)?;
    }
    let mut bundle = AuditedBundle::new_rereadable(&args.bundle)?;
    let report = bundle.verify_to_show()?;
    // Without this, a number that is too large would write nothing and exit with 0.
    check_number(args.record, item_of(&report, &args.item)?)?;
    if raw {
        write_raw(&mut bundle, &report, &args.item, args.record)?;
    } else {
        let entry = item_of(&report, &args.item)?;
        let columns = ColumnWidths::of(entry);
        let mut list = if args.json {
            RecordLister::new(Box::new(json_line))
        } else {
            let header = columns.header();
            let mut list = RecordLister::new(Box::new(move |row| text_line(row, &columns)));
            writeln!(list.out, "{header}").map_err(output::stdout_failed)?;
            list
        };
        bundle.show(&report, &args.item, &mut list)?;
        list.out.finish()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the raw bytes of record `only`, or of all.
pub(crate) fn write_raw(
    bundle: &mut AuditedBundle,
    report: &VerificationReport,
    item: &ItemName,
    only: Option<u64>,
) -> Result<(), AuditError> {
    let mut bytes = RecordBytesWriter {
        out: output::StdoutStream::new(),
        only,
        number: 0,
    };
    bundle.show(report, item, &mut bytes)?;
    bytes.out.finish()
}

/// Rejects a number that no record of the item has.
pub(crate) fn check_number(number: Option<u64>, item: &ItemEntry) -> Result<(), AuditError> {
    match number {
        Some(number) if number >= item.records => {
            let text = format!(
                "no record {number}: item {} has {} records, counted from 0",
                item.name, item.records
            );
            Err(AuditError::Usage(text))
        }
        _ => Ok(()),
    }
}

/// Writes the bytes of all records, or of one.
struct RecordBytesWriter {
    out: output::StdoutStream,
    only: Option<u64>,
    /// Index of the current or next record.
    number: u64,
}

impl PieceVisitor for RecordBytesWriter {
    fn piece(&mut self, piece: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        // Glue is the WARC framing around records.
        if piece.kind == SegmentKind::Record {
            if self.only.is_none_or(|only| only == self.number) {
                self.out.write_all(bytes)?;
            }
            self.number += u64::from(piece.ends); // a record may span several frames, hence pieces
        }
        Ok(())
    }
}

/// Writes a line for each record.
struct RecordLister {
    out: output::StdoutStream,
    line: Box<dyn Fn(&RecordLine) -> String>,
    parser: WarcParser,
    uri: UriTracker,
    /// Bytes of the item that have been read.
    bytes: u64,
    /// Segments of the item that are complete.
    segments: u64,
    row: RecordLine,
}

/// What the listing shows of a record.
#[derive(Default)]
struct RecordLine {
    number: u64,
    /// Index of its leaf in the item's record tree.
    leaf: u64,
    /// Offset of its first byte in the item.
    offset: u64,
    bytes: u64,
    uri: String,
    /// Its first [`PREVIEW_BYTES`] bytes.
    head: Vec<u8>,
}

/// Remembers the `WARC-Target-URI` of the current WARC record.
#[derive(Default)]
struct UriTracker(String);

impl RecordVisitor for UriTracker {
    fn header(&mut self, fields: &WarcFields) {
        fields
            .get("WARC-Target-URI")
            .unwrap_or("")
            .clone_into(&mut self.0);
    }
    fn block(&mut self, _: &[u8]) {}
    fn end(&mut self) {}
}

impl RecordLister {
    fn new(line: Box<dyn Fn(&RecordLine) -> String>) -> Self {
        let (parser, uri, row) = (
            WarcParser::new(),
            UriTracker::default(),
            RecordLine::default(),
        );
        Self {
            out: output::StdoutStream::new(),
            line,
            parser,
            uri,
            bytes: 0,
            segments: 0,
            row,
        }
    }

    fn start_record(&mut self) {
        self.row.leaf = self.segments;
        self.row.offset = self.bytes;
        self.row.bytes = 0;
        // A WARC record can hold many of our records, which share its URI.
        self.row.uri.clone_from(&self.uri.0);
        self.row.head.clear();
    }

    fn end_record(&mut self) -> io::Result<()> {
        writeln!(self.out, "{}", (self.line)(&self.row))?;
        self.row.number += 1;
        Ok(())
    }
}

impl PieceVisitor for RecordLister {
    fn piece(&mut self, piece: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        let is_record = piece.kind == SegmentKind::Record;
        if is_record && piece.starts {
            // Before the parser reads the piece: the record belongs to the header before it.
            self.start_record();
        }
        self.parser
            .push(bytes, &mut self.uri)
            .map_err(io::Error::other)?;
        self.bytes += bytes.len() as u64;
        self.segments += u64::from(piece.ends);
        if !is_record {
            return Ok(());
        }
        // A record may be gigabytes long; only its beginning is kept.
        let room = PREVIEW_BYTES - self.row.head.len();
        self.row.head.extend(&bytes[..room.min(bytes.len())]);
        self.row.bytes += bytes.len() as u64;
        if piece.ends {
            self.end_record()
        } else {
            Ok(())
        }
    }
}

/// Widths of the columns of numbers, so that they are under their names.
struct ColumnWidths {
    number: usize,
    offset: usize,
    bytes: usize,
}

impl ColumnWidths {
    fn of(item: &ItemEntry) -> Self {
        let digits = |number: u64| number.to_string().len();
        Self {
            number: digits(item.records.saturating_sub(1)).max("number".len()),
            offset: digits(item.bytes).max("offset".len()),
            bytes: digits(item.bytes).max("bytes".len()),
        }
    }

    fn row(&self, number: &str, offset: &str, bytes: &str, uri: &str, head: &str) -> String {
        format!(
            "{number:>0$} {offset:>1$} {bytes:>2$} {uri} {head}",
            self.number, self.offset, self.bytes
        )
    }

    fn header(&self) -> String {
        self.row("number", "offset", "bytes", "origin", "first bytes")
    }
}

fn text_line(row: &RecordLine, columns: &ColumnWidths) -> String {
    // Cut before it is escaped: a cut inside an escape would be ambiguous.
    let uri: String = row.uri.chars().take(URI_CHARS_SHOWN).collect();
    let cut = if uri.len() < row.uri.len() { "…" } else { "" };
    let more = if row.bytes > row.head.len() as u64 {
        "…"
    } else {
        ""
    };
    let RecordLine {
        number,
        offset,
        bytes,
        ..
    } = row;
    columns.row(
        &number.to_string(),
        &offset.to_string(),
        &bytes.to_string(),
        &format!("{}{cut}", safe(&uri)),
        &format!("{}{more}", safe_bytes(&row.head)),
    )
}

fn json_line(row: &RecordLine) -> String {
    let RecordLine {
        number,
        leaf,
        offset,
        bytes,
        uri,
        ..
    } = row;
    let preview = String::from_utf8_lossy(&row.head);
    safe_json(
        &json!({"record": number, "leaf": leaf, "offset": offset, "bytes": bytes, "uri": uri, "preview": preview}),
    )
}
