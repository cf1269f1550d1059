//! Finds the record behind a line of the timeline, and reads it from its stored bundle.

use std::fmt;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::str::FromStr;

use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, ItemName};
use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::segment::SegmentKind;
use tokio::task::spawn_blocking;

use crate::seal::{SealError, StoredBundle, file_failed, unnamed_file};
use crate::{Pipeline, PipelineError};
use domain::incident::{EvidenceRef, IncidentEvent, Name};
use store::ledger::{BundleRow, LedgerError};

/// Digits of an event's id that a timeline shows. Even among a million events, two rarely share
/// them; the JSON has all digits.
pub const LINE_DIGITS: usize = 10;

/// Names a line of a timeline, or a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineName {
    /// `j12`: the journal entry with this number.
    JournalEntry(u64),
    /// The first digits of an event's id.
    Event(String),
    /// `BUNDLE/ITEM/RECORD`; the bundle's id may be shortened.
    Record {
        bundle: String,
        item: ItemName,
        record: u64,
    },
}

/// The text names no line.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not a line of a timeline: use the second column, such as 3f2a9c0d1e or j12, or BUNDLE/ITEM/RECORD"
)]
pub struct ParseLineNameError(String);

/// A record, and where it is.
#[derive(Debug)]
pub struct RecordContent {
    pub evidence: EvidenceRef,
    /// Its bytes, with the separator that follows it. The file has no name: it vanishes when it is
    /// closed.
    pub content: File,
    pub bytes: u64,
}

/// A record was not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadRecordError {
    #[error("{incident} has no line {line}")]
    UnknownLine {
        incident: IncidentId,
        line: LineName,
    },
    #[error("line {0} has no record: it is an entry of the journal")]
    NoRecord(LineName),
    #[error("item {item} of {bundle} has no record {record}")]
    UnknownRecord {
        bundle: Digest,
        item: ItemName,
        record: u64,
    },
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

impl Pipeline {
    /// Reads the record behind a line of the timeline of `incident`, and records in the journal that
    /// `by` has read it. All of the bundle is verified first. A store that was opened for reading
    /// only keeps no record of it.
    ///
    /// # Errors
    /// See [`ReadRecordError`].
    pub async fn read_record(
        &self,
        incident: &IncidentId,
        line: &LineName,
        by: &Name,
    ) -> Result<RecordContent, ReadRecordError> {
        let (row, item, record) = self.find_record(incident, line).await?;
        let stored =
            StoredBundle::open(&self.parts.blobs, &row.object_key, &self.parts.work_folder);
        let stored = stored.await.map_err(PipelineError::from)?;
        let key = self.public_key(&row).await?;
        let (path, mut content) =
            unnamed_file(&self.parts.work_folder).map_err(PipelineError::from)?;
        let copy = content.try_clone().map_err(file_failed(&path));
        let mut copier = Some(RecordCopier {
            record,
            number: 0,
            content: copy.map_err(PipelineError::from)?,
        });
        let (wanted, id) = (item.clone(), row.id);
        let reading = spawn_blocking(move || {
            let mut is_there = false;
            let report = stored.verify(&key, &mut |entry| {
                let copier = copier.take_if(|_| entry.name == wanted)?;
                is_there = record < entry.records;
                Some(Box::new(copier) as Box<dyn PieceVisitor>)
            })?;
            if report.is_vouched_for() && report.bundle == Some(id) {
                Ok(is_there)
            } else {
                Err(SealError::Unsound { bundle: id })
            }
        });
        let is_there = reading
            .await
            .map_err(SealError::from)
            .flatten()
            .map_err(PipelineError::from)?;
        if !is_there {
            return Err(ReadRecordError::UnknownRecord {
                bundle: id,
                item,
                record,
            });
        }
        let bytes = content
            .stream_position()
            .and_then(|bytes| content.rewind().map(|()| bytes))
            .map_err(file_failed(&path));
        let bytes = bytes.map_err(PipelineError::from)?;
        // Recorded before the first byte leaves, so that no reading escapes the journal.
        let read = IncidentEvent::EvidenceRead {
            bundle: id,
            item: Some(item.clone()),
        };
        if !self.parts.ledger.is_read_only() {
            self.record(incident, by, read).await?;
        }
        let evidence = EvidenceRef {
            bundle: id,
            item: Some(item),
            record: Some(record),
        };
        Ok(RecordContent {
            evidence,
            content,
            bytes,
        })
    }

    async fn find_record(
        &self,
        incident: &IncidentId,
        line: &LineName,
    ) -> Result<(BundleRow, ItemName, u64), ReadRecordError> {
        let unknown = || ReadRecordError::UnknownLine {
            incident: incident.clone(),
            line: line.clone(),
        };
        let ledger = &self.parts.ledger;
        let (bundle, item, record) = match line {
            LineName::JournalEntry(seq) => {
                let entries = self.entries(incident).await?;
                let entry = entries.iter().find(|entry| entry.seq == *seq);
                match entry.ok_or_else(unknown)?.evidence() {
                    Some(EvidenceRef {
                        bundle,
                        item: Some(item),
                        record: Some(record),
                    }) => (bundle.hex(), item, record),
                    Some(_) | None => return Err(ReadRecordError::NoRecord(line.clone())),
                }
            }
            LineName::Event(prefix) => {
                let event = ledger.event(incident, prefix).await;
                let event = event.map_err(PipelineError::from)?.ok_or_else(unknown)?;
                let (bundle, pointer) = event.evidence.into_iter().next().ok_or_else(unknown)?;
                (bundle.hex(), pointer.item, pointer.record)
            }
            LineName::Record {
                bundle,
                item,
                record,
            } => (bundle.clone(), item.clone(), *record),
        };
        let row = ledger.bundle(&bundle).await.map_err(PipelineError::from)?;
        // The caller may see this incident only, so a bundle of another one counts as unknown.
        let row = row.filter(|row| row.pass.incident == *incident);
        Ok((row.ok_or_else(unknown)?, item, record))
    }
}

/// Copies one record of an item into a file.
struct RecordCopier {
    record: u64,
    /// Number of the current record.
    number: u64,
    content: File,
}

impl PieceVisitor for RecordCopier {
    fn piece(&mut self, piece: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        if piece.kind != SegmentKind::Record {
            return Ok(());
        }
        if self.number == self.record {
            self.content.write_all(bytes)?;
        }
        self.number += u64::from(piece.ends);
        Ok(())
    }
}

impl From<LedgerError> for ReadRecordError {
    fn from(error: LedgerError) -> Self {
        Self::Pipeline(error.into())
    }
}

impl fmt::Display for LineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::JournalEntry(seq) => write!(f, "j{seq}"),
            Self::Event(digits) => f.write_str(digits),
            Self::Record {
                bundle,
                item,
                record,
            } => write!(f, "{bundle}/{item}/{record}"),
        }
    }
}

impl FromStr for LineName {
    type Err = ParseLineNameError;

    fn from_str(text: &str) -> Result<Self, ParseLineNameError> {
        parse_line(text).ok_or_else(|| ParseLineNameError(text.chars().take(80).collect()))
    }
}

fn parse_line(text: &str) -> Option<LineName> {
    let is_hex = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    if let Some((bundle, pointer)) = text.split_once('/') {
        let (item, record) = pointer.split_once('/')?;
        return is_hex(bundle.strip_prefix("sha256:").unwrap_or(bundle)).then_some(
            LineName::Record {
                bundle: bundle.to_owned(),
                item: item.parse().ok()?,
                record: record.parse().ok()?,
            },
        );
    }
    if let Some(seq) = text.strip_prefix('j') {
        return Some(LineName::JournalEntry(seq.parse().ok()?));
    }
    is_hex(text).then(|| LineName::Event(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_read_from_what_a_timeline_prints() {
        for text in [
            "j12",
            "3f2a9c0d1e",
            "3f",
            "sha256:ab/okta-1/7",
            "ab/okta-1/0",
        ] {
            let line: LineName = text.parse().expect(text);
            assert_eq!(line.to_string(), text);
        }
        for bad in [
            "",
            "j",
            "jx",
            "j-1",
            "3F",
            "x",
            "#1",
            "ab/okta-1",
            "ab/okta-1/x",
            "ab/../1",
            "/okta/1",
        ] {
            assert!(bad.parse::<LineName>().is_err(), "{bad:?}");
        }
    }
}
