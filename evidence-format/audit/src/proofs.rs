//! `exhibit-audit proofs`: checks what providers have signed themselves: CloudTrail's digest files
//! against each other and against the log files that they list.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use evidence_derive::trail::{TrailAudit, TrailFaultKind, TrailReader, TrailReport};
use evidence_format::safe::{safe, safe_json};
use evidence_format::verify::Verdict;
use serde_json::{Value, json};

use crate::error::AuditError;
use crate::trust::TrustArgs;
use crate::{bundle_set, output};

/// Faults of one kind that are printed; `--json` has all.
const FAULTS_SHOWN: usize = 10;

/// Command line of `proofs`.
#[derive(Debug, Args)]
pub(crate) struct ProofsArgs {
    /// Bundles: folders, tars, or folders of such bundles
    #[arg(value_name = "BUNDLE", required = true)]
    bundles: Vec<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ProofsArgs) -> Result<ExitCode, AuditError> {
    let named = bundle_set::expand(&args.bundles)?;
    let trust = args.trust.policy()?;
    // Shared by the readers of all items, which the verification calls one after the other.
    let audit = RefCell::new(TrailAudit::default());
    for bundle in &named.bundles {
        let mut bundle = bundle.open(&trust)?.rereadable()?;
        let report = bundle.verify_to_show()?;
        bundle.show_items(&report, &mut |_| {
            Some(Box::new(TrailReader::new(&audit)) as Box<_>)
        })?;
    }
    let report = audit.into_inner().report();
    let verdict = verdict_of(&report);
    if args.json {
        output::print(&(safe_json(&json_of(&report, verdict)) + "\n"))?;
    } else {
        output::print_text(&(text(&report) + &named.skipped_text()))?;
    }
    Ok(ExitCode::from(verdict as u8))
}

fn verdict_of(report: &TrailReport) -> Verdict {
    if !report.faults.is_empty() {
        Verdict::Invalid
    } else if report.digests == 0 {
        Verdict::Undecided
    } else if report.unproven > 0 {
        Verdict::Incomplete
    } else {
        Verdict::Holds
    }
}

fn text(report: &TrailReport) -> String {
    let mut text = "CloudTrail:\n".to_owned();
    if report.digests == 0 && report.unproven == 0 && report.faults.is_empty() {
        return text + "  not checked: no digest file and no log file is in these bundles\n";
    }
    for (count, what) in [
        (report.digests, "digest files that CloudTrail has signed"),
        (report.files, "log files that are as they say"),
        (
            report.unproven,
            "log files without a digest file here that covers their hours",
        ),
        (
            report.elsewhere,
            "log files that they list, and that are not in these bundles",
        ),
    ] {
        let _ = writeln!(text, "  {count:>9}  {what}");
    }
    if !report.chains.is_empty() {
        text += "\nChains of digest files:\n";
    }
    for (chain, from, until) in &report.chains {
        let _ = writeln!(text, "  {}: from {from} until {until}", safe(chain));
    }
    let mut shown = BTreeMap::<TrailFaultKind, usize>::new();
    for fault in &report.faults {
        let count = shown.entry(fault.kind).or_default();
        *count += 1;
        if *count == 1 {
            let _ = writeln!(text, "\nFault: {}", fault.kind.as_str());
        }
        if *count <= FAULTS_SHOWN {
            let _ = writeln!(text, "  {}: {}", safe(&fault.object), safe(&fault.what));
        }
    }
    for (kind, count) in shown.iter().filter(|(_, count)| **count > FAULTS_SHOWN) {
        let more = count - FAULTS_SHOWN;
        let _ = writeln!(text, "\n{more} more of: {}", kind.as_str());
    }
    text
}

fn json_of(report: &TrailReport, verdict: Verdict) -> Value {
    let chains = report
        .chains
        .iter()
        .map(|(chain, from, until)| json!({"chain": chain, "from": from, "until": until}));
    let faults = report.faults.iter().map(
        |fault| json!({"kind": fault.kind.as_str(), "object": fault.object, "what": fault.what}),
    );
    json!({"cloudTrail": {
        "ok": verdict == Verdict::Holds,
        "digestFiles": report.digests,
        "provenLogFiles": report.files,
        "unprovenLogFiles": report.unproven,
        "listedElsewhere": report.elsewhere,
        "chains": chains.collect::<Vec<_>>(),
        "faults": faults.collect::<Vec<_>>(),
    }})
}
