//! What a bundle covers, in a few numbers: for lists, without opening the bundle.

use evidence_format::config::BundleConfig;
use evidence_format::coverage::EndReason;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A bundle's coverage, never better than that of its worst item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoverageSummary {
    /// Items.
    pub items: u64,
    /// Records in all items.
    pub records: u64,
    /// Bytes in all items, before compression.
    pub bytes: u64,
    /// Events that sources delivered, duplicates included.
    pub events: u64,
    /// Missing objects, over all items.
    pub missing: u64,
    /// True if nothing that was planned is missing.
    pub complete: bool,
    /// The first reason for which an item ended early.
    pub ended: EndReason,
    /// Until then, more may arrive at a source.
    pub provisional_until: Option<Timestamp>,
}

impl CoverageSummary {
    /// What the ledger keeps of a bundle. What another version wrote there, and this one cannot
    /// read, is stated as incomplete.
    #[must_use]
    pub fn read(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or(Self {
            items: 0,
            records: 0,
            bytes: 0,
            events: 0,
            missing: 0,
            complete: false,
            ended: EndReason::Failed,
            provisional_until: None,
        })
    }

    /// Adds up.
    #[must_use]
    pub fn of(config: &BundleConfig) -> Self {
        let items = || config.items.iter();
        let coverages = || items().map(|item| &item.coverage);
        let sum = |numbers: &mut dyn Iterator<Item = u64>| numbers.fold(0, u64::saturating_add);
        Self {
            items: config.items.len() as u64,
            records: sum(&mut items().map(|item| item.records)),
            bytes: sum(&mut items().map(|item| item.bytes)),
            events: sum(&mut coverages().filter_map(|coverage| coverage.events)),
            missing: sum(&mut coverages().map(evidence_format::coverage::Coverage::missing)),
            complete: config.is_complete(),
            ended: coverages()
                .map(|coverage| coverage.ended)
                .find(|ended| *ended != EndReason::Complete)
                .unwrap_or(EndReason::Complete),
            provisional_until: coverages()
                .filter_map(|coverage| coverage.provisional_until)
                .max(),
        }
    }
}
