//! A short form of `cargo run --example limits`: what does not depend on the machine's speed.

use std::collections::BTreeMap;
use std::time::Instant;

use tests::limits::{captured, hanging_gitlab, measure};
use tests::planes::{Planes, PlanesOptions, cloudtrail, newest};
use tests::rest::github::GitHub;
use tests::rest::kubernetes::Kubernetes;
use tests::rest::okta::Okta;
use tests::rest::{Behaviour, RestRecord};

/// Planes that take some seconds at their limits, and a GitLab that never answers.
fn busy() -> PlanesOptions {
    let (newest, behaviour) = (newest(), Behaviour::default());
    let github = GitHub {
        runs_per_repository: 8,
        ..GitHub::new("ghp_limitsGithubToken0001", newest)
    };
    let kubernetes = Kubernetes {
        pods: 60,
        ..Kubernetes::new("limits-kubernetes-token-0001", newest)
    };
    let okta = Okta {
        api_tokens: 60,
        identity_providers: 60,
        policies: 4,
        zones: 40,
        ..Okta::new("00limitsOktaToken0001", newest)
    };
    PlanesOptions {
        aws: cloudtrail(600),
        github: (github, behaviour),
        gitlab: Some(hanging_gitlab()),
        kubernetes: (kubernetes, behaviour),
        okta: (okta, behaviour),
        settings: "[capture]\ndeadline-seconds = 20".to_owned(),
        ..PlanesOptions::small()
    }
}

/// When the last request of each part of the plan was sent, in the plan's order.
fn last_requests(records: &[RestRecord], parts: &[&str]) -> Vec<Instant> {
    let last = |part: &&str| {
        let of_part = records
            .iter()
            .filter(|record| record.target.contains(*part));
        let last = of_part.map(|record| record.at).max();
        last.unwrap_or_else(|| panic!("{part} is never asked for"))
    };
    parts.iter().map(last).collect()
}

#[test]
fn hanging_source_delays_nobody_and_volatile_evidence_comes_first() {
    let planes = Planes::start(busy());
    let report = measure(&planes, None);
    println!("{report:#?}");
    let bundles = report.receipt["bundles"].as_array().expect("bundles");
    let complete: BTreeMap<&str, bool> = bundles
        .iter()
        .map(|bundle| {
            let source = bundle["source"].as_str().expect("a name");
            (source, bundle["complete"] == true)
        })
        .collect();
    assert_eq!(complete.get("gitlab"), Some(&false), "{complete:?}");
    for source in ["aws_cloudtrail", "github", "kubernetes", "okta"] {
        assert_eq!(complete.get(source), Some(&true), "{complete:?}");
    }
    let refused: usize = report.quotas.iter().map(|used| used.refused).sum();
    assert_eq!(refused, 0, "{:?}", report.quotas);

    // one quota for all of these, in the order of their plan
    let okta = captured(&planes.okta.records());
    let order = [
        "/api-tokens",
        "/idps",
        "/policies",
        "/zones",
        "/authorizationServers/",
    ];
    let last = last_requests(&okta, &order);
    assert!(last.is_sorted(), "Okta's listings end out of order");
    let github = captured(&planes.github.records());
    let order = [
        "/actions/runs",
        "/collaborators",
        "/deployments",
        "/activity",
        "/releases",
    ];
    let last = last_requests(&github, &order);
    assert!(last.is_sorted(), "GitHub's listings end out of order");
}
