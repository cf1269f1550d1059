//! Declarations: all of an incident or nothing, and each once.

use std::time::Duration;

use tokio::time::sleep;

use super::{request, scratch};
use crate::DeclareError;
use domain::incident::{CaptureRequest, IncidentEvent, Name};
use store::ledger::OverviewQuery;

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
async fn another_capture_names_the_sources_that_this_version_lacks() {
    let (pipeline, pass, _folder) = scratch().await;
    let by = Name::escaped("Ann");
    let capture = CaptureRequest {
        sources: ["host", "mainframe"]
            .map(|name| name.parse().expect("a source"))
            .to_vec(),
        ..request(None, 0).capture.expect("it has one")
    };
    pipeline
        .capture_again(&pass.incident, capture, &by)
        .await
        .expect("a database");
    let last = pipeline.entries(&pass.incident).await.expect("a database");
    let unavailable = match last.last().map(|entry| &entry.event) {
        Some(IncidentEvent::CapturePlanned {
            passes: 1,
            unavailable,
            ..
        }) => unavailable,
        other => panic!("it is announced: {other:?}"),
    };
    assert_eq!(unavailable[..], ["mainframe".parse().expect("a source")]);
}
