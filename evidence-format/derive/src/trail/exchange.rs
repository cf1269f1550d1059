//! Passes the exchanges of an item to a [`TrailAudit`].

use std::cell::RefCell;
use std::io;

use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::warc::{RecordVisitor, WarcFields, WarcParser};

use super::audit::TrailAudit;
use super::file::TRAIL_FILE_BYTES_MAX;

/// Longest head of an HTTP response that is read, as in [`crate::ItemReader`].
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Visits the pieces of one item, with one response in memory.
pub struct TrailReader<'a> {
    parser: WarcParser,
    responses: ResponseCollector<'a>,
}

impl<'a> TrailReader<'a> {
    #[must_use]
    pub fn new(audit: &'a RefCell<TrailAudit>) -> Self {
        Self {
            parser: WarcParser::new(),
            responses: ResponseCollector { audit, open: None },
        }
    }
}

impl PieceVisitor for TrailReader<'_> {
    fn piece(&mut self, _: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        let pushed = self.parser.push(bytes, &mut self.responses);
        pushed.map_err(io::Error::other)
    }
}

struct ResponseCollector<'a> {
    audit: &'a RefCell<TrailAudit>,
    open: Option<OpenResponse>,
}

struct OpenResponse {
    endpoint: String,
    uri: String,
    block: Vec<u8>,
}

impl RecordVisitor for ResponseCollector<'_> {
    fn header(&mut self, fields: &WarcFields) {
        let endpoint = fields.get("Exhibit-Endpoint").unwrap_or_default();
        let is_wanted = fields.get("WARC-Type") == Some("response") && TrailAudit::reads(endpoint);
        self.open = is_wanted.then(|| OpenResponse {
            endpoint: endpoint.to_owned(),
            uri: fields.get("WARC-Target-URI").unwrap_or_default().to_owned(),
            block: Vec::new(),
        });
    }

    fn block(&mut self, bytes: &[u8]) {
        if let Some(open) = &mut self.open {
            let room = HEAD_BYTES_MAX + TRAIL_FILE_BYTES_MAX - open.block.len();
            open.block
                .extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    fn end(&mut self) {
        if let Some(open) = self.open.take() {
            let mut audit = self.audit.borrow_mut();
            audit.add(&open.endpoint, &open.uri, &open.block);
        }
    }
}
