//! `exhibit-audit items`: a table of the items of a verified bundle.

use std::process::ExitCode;

use clap::Args;
use evidence_format::config::ItemEntry;
use evidence_format::safe::{safe, safe_json};

use crate::bundle::{AuditedBundle, BundleArgs};
use crate::error::AuditError;
use crate::{output, summary};

/// Command line of `items`.
#[derive(Debug, Args)]
pub(crate) struct ItemsArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Print each item as one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ItemsArgs) -> Result<ExitCode, AuditError> {
    let report = AuditedBundle::new(&args.bundle)?.verify_to_show()?;
    // A report that may be shown always has a config; an empty table is safer than a panic.
    let items = report
        .config
        .as_ref()
        .map_or(&[][..], |config| &config.items);
    output::print(&if args.json {
        let lines = items
            .iter()
            .map(|item| safe_json(&serde_json::json!(item)) + "\n");
        lines.collect()
    } else {
        summary::table(items, source)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn source(item: &ItemEntry) -> String {
    format!("{} {}", safe(&item.source.provider), safe(&item.source.api))
}
