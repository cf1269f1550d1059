//! Captures on a scratch store.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{DeclareRequest, Pipeline, PipelineConfig};
use domain::incident::{Affects, CaptureRequest, Declaration, Name, Report, Severity};
use store::jobs::Until;
use store::ledger::{BundleRow, NewPass, PassKey, PassKind};

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// An incident whose evidence is this machine, and the pass that nobody has begun.
async fn scratch() -> (Pipeline, PassKey, TempDir) {
    sources::crypto::install_provider();
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = PipelineConfig::default();
    config.sources.aws_cloudtrail.enabled = false; // nothing of the test leaves this machine
    let pipeline = Pipeline::open(folder.path(), &config, CancellationToken::new())
        .await
        .expect("a fresh store");
    let sources = vec!["host".parse().expect("a source")];
    let ask = CaptureRequest {
        window: None,
        sources,
        accounts: vec![],
        regions: vec![],
        deadline_seconds: 600,
    };
    let declaration = Declaration {
        incident: "INC-1".parse().expect("an id"),
        name: Name::escaped("Leaked key"),
        severity: Severity::Sev2,
        play: "general".parse().expect("a play"),
        checklist: vec![],
        started: None,
        report: Report::default(),
        affects: Affects::default(),
        pivots: vec![],
        trigger: None,
    };
    let by = Name::escaped("Ann");
    let wish = DeclareRequest {
        declaration,
        by,
        capture: Some(ask),
        idempotency_key: None,
    };
    let (incident, _) = pipeline.declare(wish).await.expect("a database");
    (
        pipeline,
        PassKey {
            incident,
            source: "host".to_owned(),
            pass: 0,
        },
        folder,
    )
}

async fn bundles(pipeline: &Pipeline, pass: &PassKey) -> Vec<BundleRow> {
    pipeline
        .parts
        .ledger
        .bundles(&pass.incident)
        .await
        .expect("a database")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_and_is_not_queued_is_queued_at_the_next_start() {
    let (pipeline, first, _folder) = scratch().await;
    let lost = PassKey {
        pass: first.pass + 1,
        ..first.clone()
    };
    let due_at = "2999-01-01T00:00:00Z".parse().expect("a time");
    let new = NewPass {
        key: lost.clone(),
        kind: PassKind::Settle,
        due_at,
        supplements: None,
    };
    assert!(
        pipeline
            .parts
            .ledger
            .add_pass(&new)
            .await
            .expect("a database")
    );
    for expected in [
        vec![first.clone()],
        vec![first.clone(), lost.clone()],
        vec![first, lost],
    ] {
        let queued = pipeline.jobs.waiting().await.expect("a database");
        assert_eq!(
            queued.into_iter().map(|job| job.pass).collect::<Vec<_>>(),
            expected
        );
        pipeline.take_up().await.expect("a store");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sealing_goes_on_when_its_job_is_dropped() {
    let (pipeline, pass, _folder) = scratch().await;
    let job = tokio::spawn({
        let pipeline = pipeline.clone();
        async move { pipeline.work(Until::idle()).await }
    });
    let held_up = async {
        while !pipeline
            .meters
            .watch()
            .iter()
            .any(|watched| watched.pages > 0)
        {
            sleep(Duration::from_millis(1)).await; // it has not begun
        }
        let turn = pipeline.sealing.lock().await;
        let before = Arc::strong_count(&pipeline.sealing);
        while Arc::strong_count(&pipeline.sealing) <= before {
            sleep(Duration::from_millis(1)).await; // it captures; who seals has a clone of the pipeline
        }
        job.abort();
        assert!(job.await.expect_err("it was dropped").is_cancelled());
        assert!(
            bundles(&pipeline, &pass).await.is_empty(),
            "nobody has sealed it"
        );
        drop(turn);
        while bundles(&pipeline, &pass).await.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, held_up).await.expect("it is sealed");
    // whoever has the job next finds the bundle, and makes no second one
    pipeline
        .work(Until::idle())
        .await
        .expect("the rest is done");
    let bundles = bundles(&pipeline, &pass).await;
    assert_eq!((bundles.len(), bundles[0].is_derived), (1, true));
}
