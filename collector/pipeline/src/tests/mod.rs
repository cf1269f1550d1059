//! Captures on a scratch store.

mod declare;
mod limits;
mod timeline;
mod work;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use evidence_format::bundle::{BundleError, DraftBundle};
use evidence_format::coverage::TimeWindow;
use evidence_format::time::Timestamp;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::planning::encode;
use crate::{DeclareRequest, Pipeline, PipelineConfig};
use domain::incident::{
    CaptureRequest, DeclarationDraft, InitialReport, Name, PassKind as PlannedKind,
    PotentialImpact, Severity,
};
use domain::plan::{
    CaptureBudget, CapturePass, CapturePlan, CaptureStep, Offer, Readiness, ReadinessState,
};
use platform::clock;
use sources::{CaptureMode, LocalContext, LocalSource, ReadinessProbe, Source};
use store::ledger::{BundleRow, NewPass, PassKey, PassKind, PassQueue, PassRow};

/// An incident whose evidence is this machine, and the pass that nobody has begun.
async fn scratch() -> (Pipeline, PassKey, TempDir) {
    scratch_with(PipelineConfig::default()).await
}

async fn scratch_with(mut config: PipelineConfig) -> (Pipeline, PassKey, TempDir) {
    sources::crypto::install_provider();
    let folder = tempfile::tempdir().expect("a folder");
    config.sources.aws_cloudtrail.enabled = false; // nothing of the test leaves this machine
    let pipeline = Pipeline::open(folder.path(), &config, CancellationToken::new())
        .await
        .expect("a fresh store");
    let (incident, _) = pipeline
        .declare(request(Some("INC-1"), 1000))
        .await
        .expect("a database");
    let pass = PassKey {
        incident,
        source: "host".to_owned(),
        pass: 0,
    };
    (pipeline, pass, folder)
}

/// A declaration whose evidence is this machine.
fn request(id: Option<&str>, key: u32) -> DeclareRequest {
    let capture = CaptureRequest {
        window: None,
        sources: vec!["host".parse().expect("a source")],
        accounts: vec![],
        regions: vec![],
        deadline_seconds: 600,
        hosts: domain::hosts::HostSelection::default(),
        hosts_only: false,
    };
    let declaration = DeclarationDraft {
        name: Name::escaped("Leaked key"),
        severity: Severity::Sev2,
        play: "general".parse().expect("a play"),
        started_at: None,
        report: InitialReport::default(),
        affects: PotentialImpact::default(),
        pivots: vec![],
        trigger: None,
    };
    DeclareRequest {
        id: id.map(|id| id.parse().expect("an id")),
        declaration,
        by: Name::escaped("Ann"),
        capture: Some(capture),
        idempotency_key: Some(format!("key {key}")),
        other_keys: Vec::new(),
    }
}

async fn row(pipeline: &Pipeline, pass: &PassKey) -> PassRow {
    let row = pipeline.parts.ledger.pass(pass).await.expect("a database");
    row.expect("it was added")
}

async fn bundles(pipeline: &Pipeline, pass: &PassKey) -> Vec<BundleRow> {
    pipeline
        .parts
        .ledger
        .bundles(&pass.incident)
        .await
        .expect("a database")
}

/// A source whose captures take nothing, and last until the test ends them.
struct FakeSource {
    name: &'static str,
    /// A bug of ours outside the source's own capture, which is caught there.
    panics: bool,
    may_end: AtomicBool,
    running: AtomicUsize,
    running_max: AtomicUsize,
}

impl FakeSource {
    /// One that lives as long as the program, as all sources do.
    fn leaked(name: &'static str, panics: bool) -> &'static Self {
        Box::leak(Box::new(Self {
            name,
            panics,
            may_end: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            running_max: AtomicUsize::new(0),
        }))
    }

    fn let_captures_end(&self) {
        self.may_end.store(true, Ordering::SeqCst);
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Source for FakeSource {
    fn name(&self) -> &'static str {
        self.name
    }

    fn provider(&self) -> &'static str {
        self.name
    }

    fn description(&self) -> &'static str {
        "nothing"
    }

    fn offers(&self) -> &'static [Offer] {
        &[]
    }

    async fn check_readiness(&self, _: &ReadinessProbe) -> Readiness {
        let source = self.name.parse().expect("a source");
        Readiness::of_source(source, ReadinessState::Ready, Vec::new())
    }

    fn capture_mode(&self) -> CaptureMode<'_> {
        assert!(!self.panics, "a bug that the test wants");
        CaptureMode::Local(self)
    }
}

impl LocalSource for FakeSource {
    fn capture(
        &self,
        _: &mut DraftBundle,
        _: &[CaptureStep],
        context: &LocalContext<'_>,
    ) -> Result<(), BundleError> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.running_max.fetch_max(running, Ordering::SeqCst);
        while !self.may_end.load(Ordering::SeqCst) && !context.stop.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Adds a pass of a fake source, as another process would: no worker is woken.
async fn add_fake_pass(
    pipeline: &Pipeline,
    key: PassKey,
    queue: PassQueue,
    due_at: Timestamp,
) -> PassKey {
    add_fake_pass_of_kind(pipeline, key, PassKind::First, queue, due_at).await
}

async fn add_fake_pass_of_kind(
    pipeline: &Pipeline,
    key: PassKey,
    kind: PassKind,
    queue: PassQueue,
    due_at: Timestamp,
) -> PassKey {
    let now = clock::now();
    let pass = CapturePass {
        source: key.source.parse().expect("a source"),
        number: key.pass.into(),
        kind: PlannedKind::First,
        steps: Vec::new(),
        host: None,
    };
    let plan = CapturePlan {
        incident: key.incident.clone(),
        play: "general".parse().expect("a play"),
        declared_at: now,
        planned_at: now,
        window: TimeWindow {
            from: now,
            until: now,
        },
        deadline_at: now,
        budget: CaptureBudget {
            bytes_max: 1 << 20,
            deadline_seconds: 600,
            object_bytes_max: 1 << 20,
        },
        passes: vec![pass],
        unavailable: Vec::new(),
        notices: Vec::new(),
        pivots_unused: Vec::new(),
        pivots_wanted: Vec::new(),
    };
    let new = NewPass {
        key: key.clone(),
        kind,
        queue,
        due_at,
        plan: Some(encode(&plan)),
        supplements: None,
    };
    let added = pipeline.parts.ledger.add_pass(&new).await;
    assert!(added.expect("a declared incident"), "it is new");
    key
}
