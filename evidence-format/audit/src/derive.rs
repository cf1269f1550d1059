//! `exhibit-audit derive`: writes what the records of a bundle say, as lines of canonical JSON.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;
use evidence_derive::{DerivedLine, ItemReader};
use evidence_format::id::ItemName;
use evidence_format::safe::safe_json;

use crate::bundle::{AuditedBundle, BundleArgs, item_of};
use crate::error::AuditError;
use crate::output;

/// Command line of `derive`.
#[derive(Debug, Args)]
pub(crate) struct DeriveArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Derive only from this item; may be repeated
    #[arg(long = "item", value_name = "ITEM")]
    items: Vec<ItemName>,
}

pub(crate) fn run(args: &DeriveArgs) -> Result<ExitCode, AuditError> {
    let mut bundle = AuditedBundle::new_rereadable(&args.bundle)?;
    let report = bundle.verify_to_show()?;
    for name in &args.items {
        item_of(&report, name)?;
    }
    let to_terminal = io::stdout().is_terminal();
    // Shared by the readers of all items, which the verification calls one after the other.
    let out = RefCell::new(output::StdoutStream::new());
    bundle.show_items(&report, &mut |item| {
        let is_chosen = args.items.is_empty() || args.items.contains(&item.name);
        is_chosen.then(|| {
            let write = |line: DerivedLine| write_line(&mut *out.borrow_mut(), &line, to_terminal);
            Box::new(ItemReader::new(item, write)) as Box<_>
        })
    })?;
    out.borrow_mut().finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Canonical JSON, except on a terminal: it lets pass characters that control terminals, which JSON
/// can also spell as escapes.
fn write_line(out: &mut dyn Write, line: &DerivedLine, to_terminal: bool) -> io::Result<()> {
    if to_terminal {
        let value = serde_json::to_value(line).map_err(io::Error::other)?;
        writeln!(out, "{}", safe_json(&value))
    } else {
        out.write_all(&line.to_bytes())
    }
}
