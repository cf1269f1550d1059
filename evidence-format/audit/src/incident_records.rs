//! The journal and the plan that a collector seals with what it captured.

use std::io;

use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::warc::{RecordVisitor, WarcFields, WarcParser};

const JOURNAL_URI: &str = "urn:exhibit:journal";
const PLAN_URI: &str = "urn:exhibit:plan";
/// Bytes of an item that are read: the journals of real incidents have less than one megabyte.
const BYTES_MAX: usize = 64 << 20;

/// Collects the journal and the plan while a bundle is verified. What it has is as trustworthy as
/// the verdict about the bundle.
#[derive(Default)]
pub(crate) struct IncidentReader {
    parser: WarcParser,
    pub(crate) records: IncidentRecords,
    bytes: usize,
}

/// What the reader has found.
#[derive(Default)]
pub(crate) struct IncidentRecords {
    /// Of the record that is being read.
    uri: String,
    /// One JSON object a line.
    pub(crate) journal: Vec<u8>,
    pub(crate) plan: Vec<u8>,
}

impl RecordVisitor for IncidentRecords {
    fn header(&mut self, fields: &WarcFields) {
        fields
            .get("WARC-Target-URI")
            .unwrap_or("")
            .clone_into(&mut self.uri);
    }

    fn block(&mut self, bytes: &[u8]) {
        match self.uri.as_str() {
            JOURNAL_URI => self.journal.extend(bytes),
            PLAN_URI => self.plan.extend(bytes),
            _ => {}
        }
    }

    fn end(&mut self) {}
}

impl PieceVisitor for &mut IncidentReader {
    fn piece(&mut self, _: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len();
        if self.bytes <= BYTES_MAX {
            // A fault of the item is the verifier's to report.
            let _ = self.parser.push(bytes, &mut self.records);
        }
        Ok(())
    }
}
