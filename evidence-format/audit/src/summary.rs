//! What a bundle states about itself, as text: the parts that several commands print.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use evidence_format::config::{BundleConfig, ExaminedSystem, ItemEntry};
use evidence_format::coverage::{EndReason, Gap, TimeWindow};
use evidence_format::digest::Digest;
use evidence_format::manifest::PUBLIC_KEY;
use evidence_format::safe::safe;
use evidence_format::statement::Statement;
use evidence_format::verify::{FaultCode, Finding, VerificationReport};

use crate::trust::AuditorTrust;
use crate::verdict;
use crate::words::{end_reason, gap_reason};

/// Examples printed for each gap; the config has up to `GAP_EXAMPLES_MAX`.
const EXAMPLES_SHOWN: usize = 3;

/// The verdict, and a heading with the signer's statement.
pub(crate) fn head(report: &VerificationReport, trust: &AuditorTrust) -> String {
    let (verdict, signature) = (verdict::text(report, trust), signature(report, trust));
    if signature.is_empty() {
        verdict
    } else {
        format!("{verdict}\n{}\n{signature}", verdict::heading(report))
    }
}

/// Signer, incident, collector, what was examined, the window, time of signing, and position in the
/// stream.
fn signature(report: &VerificationReport, trust: &AuditorTrust) -> String {
    let mut text = String::new();
    // A key id that only the bundle claims would be believed by its look.
    if let Finding::Ok(proof) = &report.signer {
        row(&mut text, "signed by", &trust.key_text(&proof.key_id()));
    }
    // The config counts, if it was read: the statement may be somebody else's.
    let incident = report.config.as_ref().map(|config| &config.incident);
    let incident = incident.or(report.claim.as_ref().map(|claim| &claim.predicate.incident));
    if let Some(incident) = incident {
        row(&mut text, "incident", incident.as_str());
    }
    if let Some(config) = &report.config {
        push_capture(&mut text, config);
    }
    if let Some(claim) = &report.claim {
        row(
            &mut text,
            "signed at",
            &format!(
                "{} according to the signer's clock",
                claim.predicate.signed_at
            ),
        );
        row(&mut text, "stream", &stream(claim));
    }
    text
}

/// Who captured where, what was examined, for which time, and what the bundle adds to.
fn push_capture(text: &mut String, config: &BundleConfig) {
    let collector = &config.collector;
    let program = format!(
        "{} {} on host {}, as {}",
        safe(&collector.name),
        safe(&collector.version),
        safe(&collector.host),
        safe(&collector.identity)
    );
    row(text, "collector", &program);
    if let Some(system) = &config.examined {
        row(text, "examined", &examined(system));
    }
    if let Some(span) = &config.window {
        row(text, "window", &window(span));
    }
    if let Some(first) = &config.supplements {
        row(
            text,
            "adds to",
            &format!("{first}, the first bundle of the same capture"),
        );
    }
}

pub(crate) fn window(window: &TimeWindow) -> String {
    format!("from {} until {} (exclusive)", window.from, window.until)
}

/// All statements by keys that the auditor gave, if there are several or one that is not accepted;
/// the report has just the first that is.
pub(crate) fn statements(report: &VerificationReport, trust: &AuditorTrust) -> String {
    let by_given_keys: Vec<_> = { report.attestations.iter() }
        .filter(|found| match &found.finding {
            Finding::Ok(_) => true,
            Finding::Failed(fault) => fault.code != FaultCode::OtherSigner,
            Finding::NotChecked(_) => false,
        })
        .collect();
    if by_given_keys.len() < 2 {
        return String::new();
    }
    let mut text = "\nAll statements about this bundle by keys that you gave:\n".to_owned();
    for found in by_given_keys {
        let _ = writeln!(text, "  {}", trust.key_text(&found.key_id));
        let said = match (&found.finding, found.checked()) {
            (Finding::Failed(fault), _) => {
                format!("not accepted ({}): {}", fault.code, safe(&fault.detail))
            }
            (_, Some(checked)) => {
                let statement = checked.statement();
                format!(
                    "signed at {}; stream {}",
                    statement.predicate.signed_at,
                    stream(statement)
                )
            }
            (Finding::Ok(_) | Finding::NotChecked(_), None) => continue,
        };
        let _ = writeln!(text, "    {said}");
    }
    text
}

/// Public keys in the file that none of its signatures names. A signature by a key that was not given
/// is listed itself.
pub(crate) fn idle_keys(report: &VerificationReport) -> BTreeSet<Digest> {
    let signers = report.attestations.iter();
    let signers: BTreeSet<_> = signers.map(|found| found.key_id.fingerprint()).collect();
    let carried = report.unsigned.iter().filter(|a| a.kind == PUBLIC_KEY);
    let carried = carried.flat_map(|addition| &addition.content).copied();
    carried.filter(|key| !signers.contains(key)).collect()
}

/// What is in the file and signed by nobody whom the auditor trusts.
pub(crate) fn unsigned(report: &VerificationReport, trust: &AuditorTrust) -> String {
    let mut text = String::new();
    for addition in &report.unsigned {
        if addition.kind != PUBLIC_KEY {
            let _ = writeln!(text, "  {} {}", safe(&addition.kind), addition.manifest);
        }
    }
    for key in idle_keys(report) {
        let _ = writeln!(text, "  the public key {key}, which signed nothing in it");
    }
    // Without keys, every signature would be listed here.
    let strangers = report.attestations.iter().filter(|found| {
        let fault = found.finding.fault();
        trust.has_keys() && fault.is_some_and(|fault| fault.code == FaultCode::OtherSigner)
    });
    for found in strangers {
        let _ = writeln!(
            text,
            "  a signature that names the key {}; {}",
            found.key_id.fingerprint(),
            found
                .finding
                .fault()
                .map_or_else(String::new, |fault| safe(&fault.detail))
        );
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "\nAlso in this file, and not vouched for by anybody whom you trust (anybody who had the file may have added it):\n{text}"
    )
}

/// Which system was read: its root first, which the collector states and not the system itself.
fn examined(system: &ExaminedSystem) -> String {
    let ExaminedSystem {
        root,
        os,
        machine_id,
        host,
    } = system;
    let mut text = safe(root);
    for (what, value) in [("", os), ("host ", host), ("machine ", machine_id)] {
        if let Some(value) = value {
            let _ = write!(text, ", {what}{}", safe(value));
        }
    }
    text
}

/// Appends the line `name  value`; `value` must be escaped already.
pub(crate) fn row(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:12}  {value}");
}

fn stream(claim: &Statement) -> String {
    let stream = &claim.predicate.stream;
    match &stream.prev {
        Some(prev) => format!("{}, number {}, after {prev}", stream.id, stream.seq),
        None => format!("{}, number {}, the first", stream.id, stream.seq),
    }
}

/// A table of the items: name, records, bytes, how many objects were read and how many are missing,
/// and the text that `more` returns.
pub(crate) fn table(items: &[ItemEntry], more: fn(&ItemEntry) -> String) -> String {
    let width = items
        .iter()
        .map(|item| item.name.as_str().len())
        .max()
        .unwrap_or(0)
        .max("item".len());
    let mut text = format!(
        "  {:width$}  {:>9}  {:>13}  {:>8}  {:>8}\n",
        "item", "records", "bytes", "read", "missing"
    );
    for item in items {
        let (name, missing) = (item.name.as_str(), item.coverage.missing());
        let line = format!(
            "  {name:width$}  {:>9}  {:>13}  {:>8}  {missing:>8}  {}",
            item.records,
            item.bytes,
            item.coverage.pages,
            more(item)
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// What the numbers of [`table`] count.
pub(crate) const TABLE_LEGEND: &str = "  read, missing: files, objects or pages that were opened or answered, and those that were not\n";

/// What is not gaps and still limits what an item says.
pub(crate) fn limits(report: &VerificationReport) -> String {
    let mut text = String::new();
    for item in report.config.iter().flat_map(|config| &config.items) {
        for limit in item_limits(report, item) {
            let _ = writeln!(text, "  {}: {limit}", item.name);
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("\nTo know about the items:\n{text}")
}

fn item_limits(report: &VerificationReport, item: &ItemEntry) -> Vec<String> {
    let coverage = &item.coverage;
    let mut limits = Vec::new();
    if let Some(asked) = &coverage.asked {
        let could = match &coverage.effective {
            Some(effective) if effective == asked => String::new(),
            Some(effective) => format!("; the source could answer {}", window(effective)),
            None => "; the source could answer none of it".to_owned(),
        };
        limits.push(format!("asked {}{could}", window(asked)));
    }
    if let Some(until) = coverage.provisional_until {
        limits.push(format!(
            "provisional: until {until}, more could arrive at the source"
        ));
    }
    if let (Some(declared), Some(events)) = (coverage.declared, coverage.events)
        && declared > events
    {
        limits.push(format!(
            "the source says that it has {declared}, and delivered {events}"
        ));
    }
    for redaction in &item.redactions {
        limits.push(format!(
            "removed before sealing: {} {}",
            redaction.count,
            safe(&redaction.what)
        ));
    }
    if let Some(unrecorded) = report.unrecorded.get(&item.name)
        && unrecorded.bytes > 0
    {
        limits.push(format!(
            "in no record, so not listed by `records`: {} bytes; {} blocks have no record at all (`cat` shows them)",
            unrecorded.bytes, unrecorded.blocks
        ));
    }
    limits
}

/// The gaps of each item, by reason, with examples; empty if there are none.
pub(crate) fn gaps(items: &[ItemEntry]) -> String {
    let mut text = String::new();
    // An item can end early without a gap, so completeness decides and not the number of gaps.
    for item in items
        .iter()
        .filter(|item| !item.coverage.is_complete() || !item.coverage.gaps.is_empty())
    {
        let coverage = &item.coverage;
        let ended = if coverage.ended == EndReason::Complete {
            String::new()
        } else {
            format!("; ended early: {}", end_reason(coverage.ended))
        };
        let _ = writeln!(
            text,
            "  {}: {} missing, {} read{ended}",
            item.name,
            coverage.missing(),
            coverage.pages
        );
        for gap in &coverage.gaps {
            let _ = writeln!(text, "    {}", gap_line(gap));
        }
    }
    text
}

fn gap_line(gap: &Gap) -> String {
    let mut line = format!("{} {}", gap.count, gap_reason(gap.reason));
    if gap.bytes_lost > 0 {
        let _ = write!(line, ", {} bytes lost", gap.bytes_lost);
    }
    let examples: Vec<_> = gap
        .examples
        .iter()
        .take(EXAMPLES_SHOWN)
        .map(|example| safe(example))
        .collect();
    let more = if gap.count > examples.len() as u64 {
        ", …"
    } else {
        ""
    };
    if !examples.is_empty() {
        let _ = write!(line, ": {}{more}", examples.join(", "));
    }
    line
}
