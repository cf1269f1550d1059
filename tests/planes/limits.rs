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
        captures_host: false,
        settings: "[capture]\ndeadline-seconds = 60".to_owned(),
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
    let sealed_without_gitlab = 4;
    let report = measure(&planes, None, Some(sealed_without_gitlab));
    println!("{report:#?}");
    let bundles = planes.bundles();
    let complete = bundles
        .iter()
        .map(|(source, content)| (source.as_str(), content.config.is_complete()));
    let expected = [
        ("aws_cloudtrail", true),
        ("github", true),
        ("gitlab", false),
        ("kubernetes", true),
        ("okta", true),
    ];
    assert_eq!(BTreeMap::from_iter(complete), BTreeMap::from(expected));
    let refused: usize = report.quotas.iter().map(|used| used.refused).sum();
    assert_eq!(refused, 0, "{:?}", report.quotas);

    // one quota for all of these, in the order of their plan
    let okta = captured(&planes.okta.records());
    let order = [
        "/api-tokens",
        "/authorizationServers/",
        "/idps",
        "/policies",
        "/zones",
    ];
    let last = last_requests(&okta, &order);
    assert!(last.is_sorted(), "Okta's listings end out of order");
    let github = captured(&planes.github.records());
    let order = [
        "/activity",
        "/deployments",
        "/releases",
        "/collaborators",
        "/actions/runs",
    ];
    let last = last_requests(&github, &order);
    assert!(last.is_sorted(), "GitHub's listings end out of order");
}
