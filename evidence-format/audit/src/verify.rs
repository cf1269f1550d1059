//! `exhibit-audit verify`: the five findings, then a summary of what the bundle states.

use std::process::ExitCode;

use clap::Args;
use evidence_format::safe::safe_json;
use evidence_format::verify::VerificationReport;

use crate::bundle::{AuditedBundle, BundleArgs};
use crate::error::AuditError;
use crate::{output, summary};

/// Command line of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Print the report as one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<ExitCode, AuditError> {
    let report = AuditedBundle::new(&args.bundle)?.verify()?;
    let answer = if args.json {
        safe_json(&report.json()) + "\n"
    } else {
        text(&report)
    };
    output::print(&answer)?;
    Ok(ExitCode::from(report.verdict() as u8))
}

fn text(report: &VerificationReport) -> String {
    let mut text = summary::head(report);
    if let Some(config) = &report.config {
        text += &format!("\n{}", summary::table(&config.items, |_| String::new()));
        let gaps = summary::gaps(&config.items);
        if !gaps.is_empty() {
            text += &format!("\nGaps:\n{gaps}");
        }
    }
    text
}
