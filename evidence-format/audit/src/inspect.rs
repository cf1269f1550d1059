//! `exhibit-audit inspect`: the verdict, then everything that a bundle states about itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use evidence_format::config::{BundleConfig, CollectorInfo, ItemEntry, SourceClock};
use evidence_format::plan::SealedStep;
use evidence_format::safe::{safe, safe_json};
use evidence_format::verify::{Finding, VerificationReport};

use crate::bundle::{AuditedBundle, BundleArgs};
use crate::error::AuditError;
use crate::incident_records::IncidentReader;
use crate::never_asked;
use crate::report::report_json;
use crate::summary::row;
use crate::trust::AuditorTrust;
use crate::words::end_reason;
use crate::{output, servers, summary};

/// Command line of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Print all of it as one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &InspectArgs) -> Result<ExitCode, AuditError> {
    let mut reader = IncidentReader::default();
    let mut unread = Some(&mut reader);
    // One pass over the bundle, so that it may come from standard input.
    let mut bundle = AuditedBundle::new(&args.bundle)?;
    let report = bundle.verify_and_view(&mut |item| {
        let reader = unread.take_if(|_| never_asked::is_wanted(item))?;
        Some(Box::new(reader))
    })?;
    // An item that was altered must not speak below a verdict that says so.
    let never_asked = match report.integrity {
        Finding::Ok(_) => never_asked::sources(&reader.records),
        Finding::NotChecked(_) | Finding::Failed(_) => BTreeMap::new(),
    };
    if args.json {
        let mut value = report_json(&report, bundle.trust());
        value["config"] = serde_json::json!(report.config);
        value["neverAsked"] = serde_json::json!(never_asked);
        output::print(&(safe_json(&value) + "\n"))?;
    } else {
        let text = text(&report, bundle.trust()) + &never_asked_lines(&never_asked);
        output::print_text(&text)?;
    }
    Ok(ExitCode::from(report.verdict() as u8))
}

fn text(report: &VerificationReport, trust: &AuditorTrust) -> String {
    let mut text = summary::head(report, trust);
    // Shown even if a finding failed: the heading says how far to believe it.
    if let Some(config) = &report.config {
        push_config(&mut text, config);
        text += &summary::limits(report);
        // Gaps come last: they are what a reader must not miss at the end of a long listing.
        let gaps = summary::gaps(&config.items);
        if !gaps.is_empty() {
            let _ = write!(text, "\nGaps:\n{gaps}");
        }
    }
    text + &summary::statements(report, trust) + &summary::unsigned(report, trust)
}

fn never_asked_lines(sources: &BTreeMap<String, String>) -> String {
    if sources.is_empty() {
        return String::new();
    }
    let lines = sources
        .iter()
        .map(|(name, why)| format!("  {name}: {why}\n"));
    format!("\nNever asked:\n{}", lines.collect::<String>())
}

fn push_config(text: &mut String, config: &BundleConfig) {
    push_collector(text, &config.collector);
    for reading in &config.clock {
        let value = format!(
            "{} at {}, {} ns after boot",
            safe(&reading.event),
            reading.utc,
            reading.boot_nanoseconds
        );
        row(text, "clock", &value);
    }
    let deadline = config
        .plan
        .deadline_seconds
        .map_or("no deadline".to_owned(), |s| {
            format!("deadline after {s} s")
        });
    // Steps mostly have the same limits, which are then said once.
    let limits = step_limits(config.plan.steps.first());
    let steps = config.plan.steps.iter();
    let is_common = steps.clone().all(|step| step_limits(Some(step)) == limits);
    let common = if is_common && !limits.is_empty() {
        format!("; each step{}", limits.trim_start_matches(';'))
    } else {
        String::new()
    };
    let _ = writeln!(text, "\nPlan, {deadline}{common}:");
    for step in steps {
        let limits = if is_common {
            String::new()
        } else {
            step_limits(Some(step))
        };
        row(text, step.item.as_str(), &(safe(&step.what) + &limits));
    }
    let _ = writeln!(text, "\nItems:");
    for item in &config.items {
        push_item(text, item);
    }
}

fn push_collector(text: &mut String, collector: &CollectorInfo) {
    let commit = collector
        .commit
        .as_ref()
        .map_or(String::new(), |commit| safe(commit));
    if !commit.is_empty() {
        row(text, "built from", &commit);
    }
    if let Some(binary) = &collector.binary {
        row(text, "executable", &binary.to_string());
    }
    row(text, "kernel", &safe(&collector.kernel));
    if let Some(boot) = &collector.boot {
        row(text, "boot", &safe(boot));
    }
}

/// `; at most 10 bytes per object; at most 20 bytes in total`, or nothing.
fn step_limits(step: Option<&SealedStep>) -> String {
    let mut text = String::new();
    let Some(step) = step else {
        return text;
    };
    for (what, bytes_max) in [
        ("per object", step.object_bytes_max),
        ("in total", step.item_bytes_max),
    ] {
        if let Some(bytes) = bytes_max {
            let _ = write!(text, "; at most {bytes} bytes {what}");
        }
    }
    text
}

fn push_item(text: &mut String, item: &ItemEntry) {
    let _ = writeln!(
        text,
        "  {}: {} records, {} bytes",
        item.name, item.records, item.bytes
    );
    let source = &item.source;
    let parts = [
        Some(&source.provider),
        Some(&source.api),
        source.account.as_ref(),
        source.region.as_ref(),
    ];
    // All of it is text of the bundle, so it is escaped.
    let parts: Vec<_> = parts.into_iter().flatten().map(|part| safe(part)).collect();
    let identity = source
        .identity
        .as_ref()
        .map_or(String::new(), |identity| format!(", as {}", safe(identity)));
    let _ = writeln!(text, "    from {}{identity}", parts.join(" "));
    for line in servers::lines(source) {
        let _ = writeln!(text, "    {line}");
    }
    if let Some(clock) = &source.clock {
        let _ = writeln!(text, "    {}", source_clock(clock));
    }
    let _ = writeln!(text, "    {}", coverage(item));
    let _ = writeln!(text, "    layer {}", item.layer);
}

fn source_clock(clock: &SourceClock) -> String {
    let (min, max) = (clock.offset_milliseconds_min, clock.offset_milliseconds_max);
    format!(
        "its clock minus the collector's: from {min} to {max} ms in {} responses",
        clock.samples
    )
}

fn coverage(item: &ItemEntry) -> String {
    let coverage = &item.coverage;
    let mut text = format!(
        "{} objects or pages read, ended: {}",
        coverage.pages,
        end_reason(coverage.ended)
    );
    if coverage.attempts > 0 {
        let _ = write!(text, "; {} requests sent", coverage.attempts);
    }
    if let Some(events) = coverage.events {
        let _ = write!(text, "; {events} events or objects delivered");
    }
    for (what, time) in [
        ("first event", coverage.first),
        ("last event", coverage.last),
    ] {
        if let Some(time) = time {
            let _ = write!(text, "; {what} {time}");
        }
    }
    if let Some(declared) = coverage.declared {
        let _ = write!(
            text,
            "; {declared} in the lists whose length the source states"
        );
    }
    if coverage.duplicates > 0 {
        let _ = write!(text, "; {} duplicates", coverage.duplicates);
    }
    text
}
