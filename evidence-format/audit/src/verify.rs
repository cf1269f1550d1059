//! `exhibit-audit verify`: the five findings, then a summary of what the bundle states. Of several
//! bundles, a line for each, and whether their streams fit together.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use evidence_format::safe::safe_json;
use evidence_format::verify::VerificationReport;

use crate::bundle::AuditedBundle;
use crate::bundle_set::NamedBundles;
use crate::error::AuditError;
use crate::report::report_json;
use crate::trust::{AuditorTrust, TrustArgs};
use crate::{bundle_set, output, servers, summary};

/// Command line of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Bundles: folders, tars, folders of such bundles, or - for a tar on standard input
    #[arg(value_name = "BUNDLE", required = true)]
    bundles: Vec<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
    /// Print the report of each bundle as one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &VerifyArgs) -> Result<ExitCode, AuditError> {
    let named = bundle_set::expand(&args.bundles)?;
    let trust = args.trust.policy()?;
    match named.bundles.as_slice() {
        [only] => verify_one(only.open(&trust)?, &named, args.json),
        several if trust.expects_one_bundle() => Err(AuditError::Usage(format!(
            "--bundle names one bundle, but {} were given",
            several.len()
        ))),
        _ => bundle_set::verify(&named, &trust, args.json),
    }
}

fn verify_one(
    mut bundle: AuditedBundle,
    named: &NamedBundles,
    json: bool,
) -> Result<ExitCode, AuditError> {
    let report = bundle.verify()?;
    if json {
        let mut value = report_json(&report, bundle.trust());
        named.add_skipped(&mut value);
        output::print(&(safe_json(&value) + "\n"))?;
    } else {
        output::print_text(&(text(&report, bundle.trust()) + &named.skipped_text()))?;
    }
    Ok(ExitCode::from(report.verdict() as u8))
}

fn text(report: &VerificationReport, trust: &AuditorTrust) -> String {
    let mut text = summary::head(report, trust);
    if let Some(config) = &report.config {
        text += &format!("\n{}", summary::table(&config.items, |_| String::new()));
        text += summary::TABLE_LEGEND;
        text += &servers::text(config);
        text += &summary::limits(report);
        let gaps = summary::gaps(&config.items);
        if !gaps.is_empty() {
            text += &format!("\nGaps:\n{gaps}");
        }
    }
    text + &summary::statements(report, trust) + &summary::unsigned(report, trust)
}
