//! What a bundle states about itself, as text: the parts that several commands print.

use std::fmt::Write as _;

use evidence_format::config::{ExaminedSystem, ItemEntry};
use evidence_format::coverage::{EndReason, Gap};
use evidence_format::safe::safe;
use evidence_format::statement::Statement;
use evidence_format::verify::{Finding, VerificationReport};
use serde::Serialize;

use crate::verdict;

/// Examples printed for each gap; the config has up to `GAP_EXAMPLES_MAX`.
const EXAMPLES_SHOWN: usize = 3;

/// The verdict, and a heading with the signer's statement.
pub(crate) fn head(report: &VerificationReport) -> String {
    let (verdict, signature) = (verdict::text(report), signature(report));
    if signature.is_empty() {
        verdict
    } else {
        format!("{verdict}\n{}\n{signature}", verdict::heading(report))
    }
}

/// Signer, incident, time of signing, and position in the stream.
fn signature(report: &VerificationReport) -> String {
    let mut text = String::new();
    // A key id that only the bundle claims would be believed by its look.
    if let Finding::Ok(proof) = &report.signer {
        row(
            &mut text,
            "signed by",
            &format!("{} (SHA-256 of the public key)", proof.key_id().hex()),
        );
    }
    // The config counts, if it was read: the statement may be somebody else's.
    let incident = report.config.as_ref().map(|config| &config.incident);
    let incident = incident.or(report.claim.as_ref().map(|claim| &claim.predicate.incident));
    if let Some(incident) = incident {
        row(&mut text, "incident", incident.as_str());
    }
    let system = report.config.as_ref();
    if let Some(system) = system.and_then(|config| config.examined.as_ref()) {
        row(&mut text, "examined", &examined(system));
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

/// A table of the items: name, records, bytes, missing objects, and the text that `more` returns.
pub(crate) fn table(items: &[ItemEntry], more: fn(&ItemEntry) -> String) -> String {
    let width = items
        .iter()
        .map(|item| item.name.as_str().len())
        .max()
        .unwrap_or(0)
        .max("item".len());
    let mut text = format!(
        "  {:width$}  {:>10}  {:>15}  {:>9}\n",
        "item", "records", "bytes", "missing"
    );
    for item in items {
        let (name, missing) = (item.name.as_str(), item.coverage.missing());
        let line = format!(
            "  {name:width$}  {:>10}  {:>15}  {missing:>9}  {}",
            item.records,
            item.bytes,
            more(item)
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The gaps of each item, by reason, with examples; empty if there are none.
pub(crate) fn gaps(items: &[ItemEntry]) -> String {
    let mut text = String::new();
    // An item can end early without a gap, so completeness decides and not the number of gaps.
    for item in items
        .iter()
        .filter(|item| !item.coverage.is_complete() || !item.coverage.gaps.is_empty())
    {
        let ended = if item.coverage.ended == EndReason::Complete {
            String::new()
        } else {
            format!(" (ended early: {})", word(&item.coverage.ended))
        };
        let _ = writeln!(text, "  {}{ended}", item.name);
        for gap in &item.coverage.gaps {
            let _ = writeln!(text, "    {}", gap_line(gap));
        }
    }
    text
}

fn gap_line(gap: &Gap) -> String {
    let mut line = format!("{} {}", gap.count, gap.reason.as_str());
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

/// A value that the config writes as one word.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(safe))
        .unwrap_or_default()
}
