//! The coverage of a bundle in a few numbers: for lists, without opening the bundle.

use std::collections::BTreeMap;

use evidence_format::config::{BundleConfig, ItemEntry};
use evidence_format::coverage::{Coverage, EndReason, GapReason, TimeWindow};
use evidence_format::safe::safe;
use evidence_format::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::spelling::counted;

/// Examples of each reason, and characters of each: enough to recognise what is missing.
const EXAMPLES_MAX: usize = 3;
const EXAMPLE_CHARS_MAX: usize = 160;
/// Items listed by name: one incident's row in the ledger must stay small.
const UNFINISHED_MAX: usize = 32;

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
    /// What is missing, by reason; empty for bundles of versions that did not say.
    #[serde(default)]
    pub gaps: Vec<GapSummary>,
    /// The first 32 items that ended early, such as a region that denies access.
    #[serde(default)]
    pub unfinished: Vec<UnfinishedItem>,
    /// How many items ended early.
    #[serde(default)]
    pub unfinished_count: u64,
    /// The machine that captured it; absent for bundles of versions that did not say.
    #[serde(default)]
    pub machine: Option<String>,
}

/// What is missing from a bundle for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GapSummary {
    #[schema(value_type = String)]
    pub reason: GapReason,
    /// Missing objects.
    pub count: u64,
    /// A few of them.
    pub examples: Vec<String>,
}

/// An item whose capture ended early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnfinishedItem {
    pub item: String,
    #[schema(value_type = String)]
    pub ended: EndReason,
    /// Pages captured before that.
    pub pages: u64,
    /// What the source said, if anything.
    pub problem: Option<String>,
}

/// The coverage of one item, as the ledger keeps it for answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ItemCoverage {
    /// Who provided the data: `aws`.
    pub provider: String,
    /// The interface used: `cloudtrail:LookupEvents`.
    pub api: String,
    pub account: Option<String>,
    pub region: Option<String>,
    /// The requested window; `None` for state.
    pub asked: Option<TimeWindow>,
    /// The window that the source could cover.
    pub effective: Option<TimeWindow>,
    /// Requests answered, or objects opened.
    pub pages: u64,
    /// Events or objects that the source delivered; `None` where they were not counted.
    pub events: Option<u64>,
    pub ended: EndReason,
    pub gaps: Vec<GapSummary>,
    /// More may arrive at the source until then.
    pub provisional_until: Option<Timestamp>,
}

impl ItemCoverage {
    #[must_use]
    pub fn of(item: &ItemEntry) -> Self {
        let (source, coverage) = (&item.source, &item.coverage);
        Self {
            provider: source.provider.clone(),
            api: source.api.clone(),
            account: source.account.clone(),
            region: source.region.clone(),
            asked: coverage.asked,
            effective: coverage.effective,
            pages: coverage.pages,
            events: coverage.events,
            ended: coverage.ended,
            gaps: gap_summaries(&[coverage]),
            provisional_until: coverage.provisional_until,
        }
    }
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
            gaps: Vec::new(),
            unfinished: Vec::new(),
            unfinished_count: 0,
            machine: None,
        })
    }

    #[must_use]
    pub fn of(config: &BundleConfig) -> Self {
        let coverages: Vec<&Coverage> = config.items.iter().map(|item| &item.coverage).collect();
        let ended_early = || {
            let items = config.items.iter();
            items.filter(|item| item.coverage.ended != EndReason::Complete)
        };
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
            gaps: gap_summaries(&coverages),
            unfinished: ended_early()
                .take(UNFINISHED_MAX)
                .map(UnfinishedItem::of)
                .collect(),
            unfinished_count: ended_early().count() as u64,
            machine: Some(config.collector.host.clone()),
        }
    }
}

impl UnfinishedItem {
    fn of(item: &ItemEntry) -> Self {
        let mut problems = item.coverage.gaps.iter().flat_map(|gap| &gap.examples);
        Self {
            item: item.name.to_string(),
            ended: item.coverage.ended,
            pages: item.coverage.pages,
            problem: problems.next().map(|problem| shortened(problem)),
        }
    }

    /// In words: `aws_cloudtrail-eu-west-1 was stopped after 26 pages: …`.
    #[must_use]
    pub fn text(&self) -> String {
        let pages = match self.pages {
            0 => String::new(),
            pages => format!(" after {}", counted(pages, "page")),
        };
        let problem = self
            .problem
            .as_ref()
            .map(|problem| format!(": {}", safe(problem)))
            .unwrap_or_default();
        format!("{} {}{pages}{problem}", self.item, ended_text(self.ended))
    }
}

impl GapSummary {
    /// In words: `21 permission denied: /proc/1/exe, …`.
    #[must_use]
    pub fn text(&self) -> String {
        let examples: Vec<String> = self.examples.iter().map(|example| safe(example)).collect();
        let more = if self.count > examples.len() as u64 {
            ", …"
        } else {
            ""
        };
        let reason = self.reason.as_str().replace('_', " ");
        if examples.is_empty() {
            return format!("{} {reason}", self.count);
        }
        format!("{} {reason}: {}{more}", self.count, examples.join(", "))
    }
}

/// How an item ended, after its name.
pub(crate) fn ended_text(ended: EndReason) -> &'static str {
    match ended {
        EndReason::Complete => "is complete",
        EndReason::Deadline => "was cut off by the deadline",
        EndReason::Limit => "reached its limit of bytes",
        EndReason::Forbidden => "was denied",
        EndReason::NotFound => "was not found",
        EndReason::Gone => "lost its place at the source",
        EndReason::Throttled => "was cut off by the source's rate limit",
        EndReason::Cancelled => "was stopped",
        EndReason::Failed => "failed",
    }
}

fn gap_summaries(coverages: &[&Coverage]) -> Vec<GapSummary> {
    let mut by_reason: BTreeMap<GapReason, GapSummary> = BTreeMap::new();
    for gap in coverages.iter().flat_map(|coverage| coverage.losses()) {
        let summary = by_reason.entry(gap.reason).or_insert_with(|| GapSummary {
            reason: gap.reason,
            count: 0,
            examples: Vec::new(),
        });
        summary.count = summary.count.saturating_add(gap.count);
        let room = EXAMPLES_MAX.saturating_sub(summary.examples.len());
        let examples = gap.examples.iter().take(room);
        summary
            .examples
            .extend(examples.map(|example| shortened(example)));
    }
    by_reason.into_values().collect()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(EXAMPLE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn sum(config: &BundleConfig, number: impl Fn(&ItemEntry) -> u64) -> u64 {
    // Sources state some of these numbers, and may state absurd ones.
    config.items.iter().map(number).fold(0, u64::saturating_add)
}
