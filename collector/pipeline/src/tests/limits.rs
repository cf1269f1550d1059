//! What a sealed plan says about limits holds for the evidence that it is sealed with.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use evidence_format::config::{BundleConfig, ItemEntry};
use evidence_format::coverage::{Coverage, EndReason, GapReason};
use evidence_format::item::{PieceVisitor, SegmentPiece};
use evidence_format::warc::{RecordVisitor, WarcFields, WarcParser};

use super::{bundles, request, scratch_with};
use crate::seal::StoredBundle;
use crate::{PipelineConfig, WorkUntil};
use domain::plan::CapturePlan;

/// The largest block of the files of an item, which is written while the bundle is read.
type LargestBlocks = Arc<Mutex<BTreeMap<String, usize>>>;

struct BlockSizes {
    item: String,
    parser: WarcParser,
    block: CurrentBlock,
}

struct CurrentBlock {
    item: String,
    bytes: usize,
    largest: LargestBlocks,
}

impl RecordVisitor for CurrentBlock {
    fn header(&mut self, _: &WarcFields) {
        self.bytes = 0;
    }
    fn block(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
    }
    fn end(&mut self) {
        let mut largest = self.largest.lock().expect("one thread");
        let known = largest.entry(self.item.clone()).or_default();
        *known = self.bytes.max(*known);
    }
}

impl PieceVisitor for BlockSizes {
    fn piece(&mut self, _: SegmentPiece, bytes: &[u8]) -> io::Result<()> {
        let pushed = self.parser.push(bytes, &mut self.block);
        pushed.map_err(|cause| io::Error::other(format!("{}: {cause}", self.item)))
    }
}

/// Captures this machine; returns what the bundle says, and the largest block of each item.
async fn captured(config: PipelineConfig) -> (BundleConfig, BTreeMap<String, usize>) {
    let (pipeline, pass, _folder) = scratch_with(config).await;
    pipeline.work(WorkUntil::Idle).await;
    let bundle = bundles(&pipeline, &pass).await.remove(0);
    let parts = &pipeline.parts;
    let stored = StoredBundle::open(&parts.blobs, &bundle.object_key, &parts.work_folder)
        .await
        .expect("it is there");
    let largest = LargestBlocks::default();
    let mut viewer = |item: &ItemEntry| {
        let item = item.name.to_string();
        let block = CurrentBlock {
            item: item.clone(),
            bytes: 0,
            largest: Arc::clone(&largest),
        };
        let visitor = BlockSizes {
            item,
            parser: WarcParser::default(),
            block,
        };
        Some(Box::new(visitor) as Box<dyn PieceVisitor>)
    };
    let report = stored
        .verify(pipeline.key.public(), &mut viewer)
        .expect("it can be read");
    assert_eq!(report.integrity.state(), "ok", "{report:?}");
    let largest = largest.lock().expect("one thread").clone();
    (report.config.expect("a config"), largest)
}

fn limited(change: impl FnOnce(&mut PipelineConfig)) -> PipelineConfig {
    let mut config = PipelineConfig::default();
    change(&mut config);
    config
}

/// Each item must say what the plan says of it: captured within its limit, or left out.
#[tokio::test(flavor = "multi_thread")]
async fn steps_beyond_the_budget_are_gaps_of_the_host() {
    let (config, _) = captured(limited(|config| config.capture.bytes_max = 3_000_000)).await;
    let item = |name: &str| -> &ItemEntry {
        let mut items = config.items.iter();
        let found = items.find(|item| item.name.as_str() == name);
        found.expect("every planned step has its item")
    };
    let left_out: Vec<_> = config
        .plan
        .steps
        .iter()
        .filter(|step| step.item_bytes_max == Some(0))
        .collect();
    assert!(
        left_out.len() > 10 && left_out.len() + 2 == config.plan.steps.len(),
        "there is room for two steps of 1 MiB: {:?}",
        config.plan.steps
    );
    for step in left_out {
        let Coverage {
            ended, gaps, pages, ..
        } = &item(step.item.as_str()).coverage;
        let reasons: Vec<_> = gaps.iter().map(|gap| (gap.reason, gap.count)).collect();
        assert_eq!(
            (*ended, *pages, reasons),
            (EndReason::Limit, 0, vec![(GapReason::OverBudget, 1)]),
            "{}",
            step.item
        );
    }
    assert!(!config.is_complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn host_keeps_no_object_beyond_the_limit_of_its_plan() {
    let limit = 5000;
    let (config, largest) =
        captured(limited(|config| config.capture.object_bytes_max = limit)).await;
    let mut cut = 0;
    for step in &config.plan.steps {
        assert_eq!(step.object_bytes_max, Some(limit));
        let bytes = largest.get(step.item.as_str()).copied().unwrap_or(0);
        assert!(bytes as u64 <= limit, "{} has {bytes} bytes", step.item);
    }
    for item in &config.items {
        let gaps = item.coverage.gaps.iter();
        cut += gaps
            .filter(|gap| gap.reason == GapReason::TooLarge)
            .map(|gap| gap.count)
            .sum::<u64>();
    }
    assert!(cut > 0, "a host has longer files");
}

/// A source that is asked for nothing writes nothing; what was left out is sealed all the same.
#[tokio::test(flavor = "multi_thread")]
async fn budget_for_nothing_seals_only_gaps() {
    let (config, _) = captured(limited(|config| config.capture.bytes_max = 1000)).await;
    let planned = config.plan.steps.len();
    let gaps = config
        .items
        .iter()
        .filter(|item| item.coverage.ended == EndReason::Limit);
    assert_eq!(gaps.count(), planned);
}

/// The preview and the capture have the same limits, whatever else the preview plans.
#[tokio::test(flavor = "multi_thread")]
async fn preview_promises_the_limits_that_are_sealed() {
    let config = limited(|config| config.capture.bytes_max = 30 << 20);
    let (pipeline, pass, _folder) = scratch_with(config).await;
    let wanted = request(None, 0).capture.expect("a capture");
    let play = "general".parse().expect("a play");
    let shown = pipeline
        .preview(None, &play, Vec::new(), wanted)
        .await
        .expect("a plan");
    pipeline.work(WorkUntil::Idle).await;
    let row = super::row(&pipeline, &pass).await;
    let sealed: CapturePlan = serde_json::from_str(&row.plan.expect("a plan")).expect("JSON");
    let limits = |plan: &CapturePlan| {
        let steps = plan.steps();
        steps
            .map(|step| (step.item.clone(), step.limits, step.left_out))
            .collect::<Vec<_>>()
    };
    assert_eq!(limits(&shown), limits(&sealed));
}
