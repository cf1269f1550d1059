//! Captures on a scratch store.

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{DeclareError, DeclareRequest, Pipeline, PipelineConfig, WorkUntil};
use domain::incident::{
    CaptureRequest, Declaration, InitialReport, Name, PotentialImpact, Severity,
};
use platform::clock;
use store::ledger::{
    BundleRow, LeaseRequest, OverviewQuery, PassKey, PassStage, Queue, WorkerName,
};

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
    let (incident, _) = pipeline
        .declare(request(Some("INC-1"), 1000))
        .await
        .expect("a database");
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

/// A declaration whose evidence is this machine.
fn request(id: Option<&str>, key: u32) -> DeclareRequest {
    let capture = CaptureRequest {
        window: None,
        sources: vec!["host".parse().expect("a source")],
        accounts: vec![],
        regions: vec![],
        deadline_seconds: 600,
    };
    let declaration = Declaration {
        incident: "not-numbered".parse().expect("an id"),
        name: Name::escaped("Leaked key"),
        severity: Severity::Sev2,
        play: "general".parse().expect("a play"),
        checklist: vec![],
        started: None,
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
    }
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
async fn equal_declarations_at_once_are_one_incident_and_draw_one_number() {
    let (pipeline, _, _folder) = scratch().await;
    let mut declared = Vec::new();
    for number in 0..5 {
        let equal: Vec<_> = (0..20)
            .map(|_| {
                let (pipeline, request) = (pipeline.clone(), request(None, number));
                tokio::spawn(async move { pipeline.declare(request).await.expect("a database") })
            })
            .collect();
        let mut answers = Vec::new();
        for one in equal {
            answers.push(one.await.expect("no panic"));
        }
        assert_eq!(answers.iter().filter(|(_, is_new)| *is_new).count(), 1);
        answers.dedup_by(|a, b| a.0 == b.0);
        assert_eq!(answers.len(), 1, "{answers:?}");
        declared.push(answers[0].0.to_string());
    }
    let numbers: Vec<_> = declared.iter().map(|id| &id[id.len() - 3..]).collect();
    assert_eq!(numbers, ["001", "002", "003", "004", "005"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_declaration_draws_no_number_and_leaves_nothing() {
    let (pipeline, _, _folder) = scratch().await;
    let mut refused = request(None, 0);
    refused.declaration.play = "no-such-play".parse().expect("a name");
    for _ in 0..3 {
        let answer = pipeline.declare(refused.clone()).await;
        assert!(
            matches!(answer, Err(DeclareError::Refused(_))),
            "{answer:?}"
        );
    }
    let (id, is_new) = pipeline
        .declare(request(None, 0))
        .await
        .expect("a database");
    assert!(is_new && id.as_str().ends_with("-001"), "{id}");
}

/// Callers that hang up at any moment never leave an incident without its passes.
#[tokio::test(flavor = "multi_thread")]
async fn declaration_that_is_cut_off_has_all_its_passes_or_does_not_exist() {
    let (pipeline, _, _folder) = scratch().await;
    for number in 0..60 {
        let declaring = tokio::spawn({
            let (pipeline, request) = (pipeline.clone(), request(None, number));
            async move { pipeline.declare(request).await }
        });
        sleep(Duration::from_micros(u64::from(number) * 100)).await;
        declaring.abort();
        let _ = declaring.await;
    }
    for number in 0..60 {
        let (id, _) = pipeline
            .declare(request(None, number))
            .await
            .expect("a database");
        let passes = pipeline.parts.ledger.passes(&id).await.expect("a database");
        assert_eq!(passes.len(), 1, "{id}");
    }
    let all = OverviewQuery {
        limit: 100,
        ..OverviewQuery::default()
    };
    let listed = pipeline
        .parts
        .ledger
        .overviews(&all)
        .await
        .expect("a database");
    assert_eq!(listed.len(), 61, "each was declared once");
}

#[tokio::test(flavor = "multi_thread")]
async fn sealing_goes_on_when_its_job_is_dropped() {
    let (pipeline, pass, _folder) = scratch().await;
    let turn = pipeline.seal_mutex.lock().await;
    let job = tokio::spawn({
        let pipeline = pipeline.clone();
        async move { pipeline.work(WorkUntil::Idle).await }
    });
    let held_up = async {
        let state = async || {
            let row = pipeline.parts.ledger.pass(&pass).await.expect("a database");
            row.expect("it was added").stage
        };
        while state().await != PassStage::Captured {
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_millis(200)).await; // it waits for the lock
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
    pipeline.work(WorkUntil::Idle).await;
    let bundles = bundles(&pipeline, &pass).await;
    assert_eq!(bundles.len(), 1);
    let row = pipeline.parts.ledger.pass(&pass).await.expect("a database");
    assert_eq!(row.expect("it was added").stage, PassStage::Derived);
}

/// What was captured before somebody stopped it is sealed, also if its worker died meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_pass_that_was_begun_is_sealed_by_the_next_worker() {
    let (pipeline, pass, _folder) = scratch().await;
    let ledger = &pipeline.parts.ledger;
    let dead = LeaseRequest {
        worker: &WorkerName::current(),
        queue: Queue::Local,
        now: clock::now(),
        lease: Duration::from_secs(3600),
        only_begun: false,
    };
    let row = ledger
        .lease_next(&dead)
        .await
        .expect("a database")
        .expect("it is due");
    ledger
        .release_lease(&pass, row.fencing_token)
        .await
        .expect("a database");
    let by = Name::escaped("Ann");
    pipeline
        .stop_captures(&pass.incident, &by)
        .await
        .expect("a database");
    timeout(PATIENCE, pipeline.work(WorkUntil::Idle))
        .await
        .expect("it ends");
    assert_eq!(bundles(&pipeline, &pass).await.len(), 1);
}
