//! The receipt of a sealed bundle: a summary for people, or JSON for programs.
//!
//! An attacker may have chosen the names of files and processes, so none is printed with its
//! control characters.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use evidence_format::config::{BundleConfig, ExaminedSystem, ItemEntry};
use evidence_format::coverage::{Gap, GapReason};
use evidence_format::digest::Digest;
use evidence_format::id::{IncidentId, KeyId};
use evidence_format::safe::safe;
use platform::shell::quoted_word;
use platform::terminal::size;
use serde::Serialize;

use super::{OutputArguments, out};

/// [`ExaminedSystem::root`] of the machine itself.
const OWN_ROOT: &str = "file:///";
/// Examples of one kind of gap in a summary; the bundle has more.
const EXAMPLES_MAX: usize = 3;
/// Characters of one example in a summary.
const EXAMPLE_CHARS_MAX: usize = 60;

pub(super) struct PublishedBundle {
    /// Absolute.
    pub(super) path: PathBuf,
    pub(super) id: Digest,
    pub(super) key_id: KeyId,
    /// The public key's file, absolute.
    pub(super) public_key: PathBuf,
    pub(super) config: BundleConfig,
}

/// What `--json` prints. Members are added, never renamed or removed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BundleReceipt<'a> {
    bundle: String,
    id: Digest,
    incident: &'a IncidentId,
    key_id: Digest,
    public_key: String,
    items: usize,
    records: u64,
    bytes: u64,
    gaps: u64,
    /// `null` where no host was read.
    examined: &'a Option<ExaminedSystem>,
}

/// Prints the receipt in the form that `target` asks for.
pub(super) fn print_published(published: &PublishedBundle, target: &OutputArguments) -> Result<()> {
    let printed = if target.json {
        out(&receipt(published))
    } else if target.quiet {
        Ok(())
    } else {
        out(&summary(published))
    };
    printed.with_context(|| {
        format!(
            "cannot print the receipt, but the bundle is sealed: {}",
            path_text(&published.path)
        )
    })
}

/// One line of JSON.
fn receipt(published: &PublishedBundle) -> String {
    let items = &published.config.items;
    let receipt = BundleReceipt {
        bundle: path_text(&published.path),
        id: published.id,
        incident: &published.config.incident,
        key_id: published.key_id.fingerprint(),
        public_key: path_text(&published.public_key),
        items: items.len(),
        records: items.iter().map(|item| item.records).sum(),
        bytes: items.iter().map(|item| item.bytes).sum(),
        gaps: items.iter().map(|item| item.coverage.missing()).sum(),
        examined: &published.config.examined,
    };
    serde_json::to_string(&receipt).expect("texts and integers") + "\n"
}

/// What was captured, what was not and why, and how to verify the bundle.
fn summary(published: &PublishedBundle) -> String {
    let BundleConfig {
        incident,
        collector,
        examined,
        items,
        ..
    } = &published.config;
    let mut text = format!("sealed for {incident} on {}\n", safe(&collector.host));
    let system = examined.as_ref().filter(|system| system.root != OWN_ROOT);
    if let Some(ExaminedSystem { root, os, host, .. }) = system {
        let names: Vec<_> = [host, os]
            .into_iter()
            .flatten()
            .map(|name| safe(name))
            .collect();
        let _ = writeln!(text, "examined {}: {}", safe(root), names.join(", "));
    }
    text.push('\n');
    write_items(&mut text, items);
    write_gaps(&mut text, items);
    let (path, key) = (
        quoted_word(&published.path),
        quoted_word(&published.public_key),
    );
    let _ = writeln!(text, "\nbundle  {}", safe(&path_text(&published.path)));
    let _ = writeln!(text, "id      {}", published.id);
    let _ = writeln!(
        text,
        "key     {} (fingerprint)",
        published.key_id.fingerprint()
    );
    let _ = writeln!(
        text,
        "\nverify it with\n  exhibit-audit verify {path} --key {key}"
    );
    text
}

fn write_items(text: &mut String, items: &[ItemEntry]) {
    let width = items
        .iter()
        .map(|item| item.name.as_str().len())
        .max()
        .unwrap_or(0);
    for item in items {
        let (name, records) = (item.name.as_str(), item.records);
        let _ = writeln!(
            text,
            "  {name:<width$}  {records:>9} records  {:>10}",
            size(item.bytes)
        );
    }
}

/// Gaps of all items, by reason.
fn write_gaps(text: &mut String, items: &[ItemEntry]) {
    let mut by_reason: BTreeMap<GapReason, Vec<&Gap>> = BTreeMap::new();
    for gap in items.iter().flat_map(|item| &item.coverage.gaps) {
        by_reason.entry(gap.reason).or_default().push(gap);
    }
    if by_reason.is_empty() {
        text.push_str("\nnothing is missing\n");
        return;
    }
    text.push_str("\nnot captured:\n");
    for (reason, gaps) in by_reason {
        let count: u64 = gaps.iter().map(|gap| gap.count).sum();
        let examples = examples(gaps.iter().flat_map(|gap| &gap.examples), count);
        let _ = writeln!(
            text,
            "  {count:>6} {}: {examples}",
            reason.as_str().replace('_', " "),
        );
    }
}

/// The first few of `examples`, and a sign if there are more of `count`.
pub(super) fn examples<'e>(examples: impl Iterator<Item = &'e String>, count: u64) -> String {
    let examples = examples.take(EXAMPLES_MAX);
    let examples: Vec<_> = examples.map(|example| safe(&shortened(example))).collect();
    let more = if count > examples.len() as u64 {
        ", …"
    } else {
        ""
    };
    examples.join(", ") + more
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(EXAMPLE_CHARS_MAX) {
        // By characters: a cut inside one would panic.
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `path` as text for JSON and messages; bytes that are not UTF-8 are replaced.
pub(super) fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
