//! The coverage of a bundle in a few numbers: for lists, without opening the bundle.

use evidence_format::config::{BundleConfig, ItemEntry};
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
        let coverages: Vec<&Coverage> = config.items.iter().map(|item| &item.coverage).collect();
        Self {
            items: config.items.len() as u64,
            records: sum(config, |item| item.records),
            bytes: sum(config, |item| item.bytes),
            events: sum(config, |item| item.coverage.events.unwrap_or(0)),
            missing: sum(config, |item| item.coverage.missing()),
            complete: config.is_complete(),
            ended: coverages
                .iter()
                .map(|coverage| coverage.ended)
                .find(|ended| *ended != EndReason::Complete)
                .unwrap_or(EndReason::Complete),
            provisional_until: coverages
                .iter()
                .filter_map(|coverage| coverage.provisional_until)
                // Provisional as long as one item is.
                .max(),
        }
    }
}

fn sum(config: &BundleConfig, number: impl Fn(&ItemEntry) -> u64) -> u64 {
    // Sources state some of these numbers, and may state absurd ones.
    config.items.iter().map(number).fold(0, u64::saturating_add)
}
