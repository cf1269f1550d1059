//! The coverage of a bundle in a few numbers: for lists, without opening the bundle.

use evidence_format::config::BundleConfig;
use evidence_format::coverage::{Coverage, EndReason};
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The coverage of a bundle, no better than that of its worst item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BundleCoverage {
    pub items: u64,
    pub records: u64,
    /// Bytes in all items, before compression.
    pub bytes: u64,
    /// Events that sources delivered, duplicates included.
    pub events: u64,
    /// Objects missing from all items.
    pub missing: u64,
    /// True if nothing that was planned is missing.
    pub complete: bool,
    /// Why the first incomplete item ended early; `complete` if none did.
    #[schema(value_type = String)]
    pub ended: EndReason,
    /// The source may deliver more until this time.
    pub provisional_until: Option<Timestamp>,
}

impl BundleCoverage {
    /// Reads the ledger's copy. If another version wrote it and this one cannot read it, the bundle
    /// counts as incomplete.
    #[must_use]
    pub fn from_json(json: &str) -> Self {
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
            missing: sum(&mut coverages().map(Coverage::missing)),
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
