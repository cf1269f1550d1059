//! `exhibit-audit cat`: writes the bytes of an item, a WARC file, or of one of its records.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use evidence_format::id::ItemName;
use evidence_format::item::{PieceVisitor, SegmentPiece};

use crate::bundle::{AuditedBundle, BundleArgs, item_of};
use crate::error::AuditError;
use crate::{output, records};

/// Command line of `cat`.
#[derive(Debug, Args)]
pub(crate) struct CatArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Name of the item
    #[arg(value_name = "ITEM")]
    item: ItemName,
    /// Write only the bytes of record N, counted from 0: the `record` of a line of `derive` or of a
    /// timeline
    #[arg(long, value_name = "N")]
    record: Option<u64>,
    /// Write raw bytes even to a terminal
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &CatArgs) -> Result<ExitCode, AuditError> {
    // Before verification, which can take minutes.
    output::allow_raw(args.force)?;
    let mut bundle = AuditedBundle::new_rereadable(&args.bundle)?;
    let report = bundle.verify_to_show()?;
    // Without these, a mistyped name or number would write nothing and exit with 0.
    records::check_number(args.record, item_of(&report, &args.item)?)?;
    if args.record.is_some() {
        records::write_raw(&mut bundle, &report, &args.item, args.record)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut all = StdoutCopy(output::StdoutStream::new());
    bundle.show(&report, &args.item, &mut all)?;
    // Dropping the buffer would flush it, too, but hide the error.
    all.0.finish()?;
    Ok(ExitCode::SUCCESS)
}

struct StdoutCopy(output::StdoutStream);

impl PieceVisitor for StdoutCopy {
    fn piece(&mut self, _: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}
