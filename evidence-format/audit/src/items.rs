//! `exhibit-audit items`: a table of what a verified bundle holds.

use clap::Args;
use evidence_format::config::Item;
use evidence_format::safe::safe;
use evidence_format::verify::Exit;

use crate::bundle::{AuditedBundle, BundleArgs};
use crate::error::AuditError;
use crate::{output, summary};

/// Command line of `items`.
#[derive(Debug, Args)]
pub(crate) struct ItemsArgs {
    #[command(flatten)]
    bundle: BundleArgs,
}

pub(crate) fn run(args: &ItemsArgs) -> Result<Exit, AuditError> {
    let report = AuditedBundle::new(&args.bundle)?.verify_to_show()?;
    let items = report
        .config
        .as_ref()
        .map_or(&[][..], |config| &config.items);
    output::print(&summary::table(items, source))?;
    Ok(Exit::Holds)
}

fn source(item: &Item) -> String {
    format!("{} {}", safe(&item.source.provider), safe(&item.source.api))
}
