//! Where the records of an item go: into a draft, or nowhere if the capture is only rehearsed.

use std::io::{self, Read};

use evidence_format::bundle::{BundleError, DraftItem};
use evidence_format::config::{ItemSource, Redaction};
use evidence_format::coverage::{Coverage, GapReason};
use evidence_format::warc::WarcHeader;
use rustix::io::Errno;

/// An object that an item lacks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MissingObject<'p> {
    pub(crate) reason: GapReason,
    pub(crate) path: &'p [u8],
    /// The system call's error, where one failed.
    pub(crate) errno: Option<Errno>,
    /// More than one where `path` is the folder of several.
    pub(crate) count: u64,
}

/// Is told what an item would lack.
type MissingListener<'l> = &'l mut dyn FnMut(MissingObject<'_>);

/// Takes the records of one item.
pub(crate) enum RecordOutput<'a> {
    Draft(Box<DraftItem<'a>>),
    /// Nothing is written, and of most objects only the first byte is read.
    Rehearsal(MissingListener<'a>),
}

impl RecordOutput<'_> {
    pub(super) fn is_rehearsal(&self) -> bool {
        matches!(self, Self::Rehearsal(_))
    }

    pub(super) fn missing(&mut self, missing: MissingObject<'_>) {
        if let Self::Rehearsal(listener) = self {
            listener(missing);
        }
    }

    pub(super) fn record(
        &mut self,
        header: &WarcHeader<'_>,
        block: &[u8],
    ) -> Result<(), BundleError> {
        match self {
            Self::Draft(item) => item.record(header, block),
            Self::Rehearsal(_) => Ok(()),
        }
    }

    pub(super) fn record_stream(
        &mut self,
        header: &WarcHeader<'_>,
        bytes: u64,
        content: &mut dyn Read,
    ) -> Result<(), BundleError> {
        match self {
            Self::Draft(item) => item.record_stream(header, bytes, content).map(drop),
            Self::Rehearsal(_) => {
                // The reading side of a long file reports its end as bytes that never come.
                let _ = io::copy(&mut content.take(bytes), &mut io::sink());
                Ok(())
            }
        }
    }

    pub(super) fn finish(
        self,
        source: ItemSource,
        coverage: Coverage,
        redactions: Vec<Redaction>,
    ) -> Result<(), BundleError> {
        match self {
            Self::Draft(item) => item.finish(source, coverage, redactions),
            Self::Rehearsal(_) => Ok(()),
        }
    }

    pub(super) fn records(&self) -> u64 {
        match self {
            Self::Draft(item) => item.records(),
            Self::Rehearsal(_) => 0,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Draft(item) => item.bytes(),
            Self::Rehearsal(_) => 0,
        }
    }
}
