//! The coverage of a bundle in a few numbers, for lists that do not open the bundle.

use evidence_format::config::BundleConfig;
use evidence_format::coverage::EndReason;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A bundle's coverage, never better than that of its worst item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoverageSummary {
    pub items: u64,
    /// Of all items.
    pub records: u64,
    /// Of all items, before compression.
    pub bytes: u64,
    /// Events as delivered, duplicates included.
    pub events: u64,
    /// Objects that are missing from all items.
    pub missing: u64,
    /// True if nothing that was planned is missing.
    pub complete: bool,
    /// How the first incomplete item ended.
    pub ended: EndReason,
    /// Until then, sources may still deliver more of the window.
    pub provisional_until: Option<Timestamp>,
}

impl CoverageSummary {
    /// Reads a summary from the ledger. One that this version cannot read, because another wrote
    /// it, becomes an incomplete one.
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

    /// Adds up the coverage of all items.
    #[must_use]
    pub(crate) fn of(config: &BundleConfig) -> Self {
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
