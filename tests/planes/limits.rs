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
        audit_events: 36,
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
        zones: 100,
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

/// When the last request whose target has `part` was sent.
fn last_request(records: &[RestRecord], part: &str) -> Instant {
    let of_part = records.iter().filter(|record| record.target.contains(part));
    let last = of_part.map(|record| record.at).max();
    last.unwrap_or_else(|| panic!("{part} is never asked for"))
}

#[test]
fn hanging_source_delays_nobody_and_volatile_evidence_comes_first() {
    let planes = Planes::start(busy());
    let sealed_without_gitlab = 4;
    let report = measure(&planes, None, Some(sealed_without_gitlab));
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
    // Kubernetes does not say how full its bucket is, so that ours may be a request ahead
    assert!(refused <= 2, "{:?}", report.quotas);

    // Each pair shares a quota, and the first vanishes first. What comes between may overlap: who is
    // not waiting for the quota leaves it to others.
    for (double, first, last) in [
        (&planes.okta, "/api-tokens", "/zones"),
        (&planes.github, "include=git", "include=web"),
        (&planes.github, "/collaborators", "/actions/runs"),
    ] {
        let records = captured(&double.records());
        let is_first = last_request(&records, first) < last_request(&records, last);
        assert!(is_first, "{last} ends before {first}: {report:#?}");
    }
}
