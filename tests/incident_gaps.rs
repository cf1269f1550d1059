//! What a provider refuses, or never ends to answer, is a gap of the capture.

use std::path::Path;

use evidence_format::coverage::{EndReason, GapReason};
use serde_json::Value;
use tests::audit;
use tests::aws::{Config, Fault, FaultRule, Operation};

use super::{ACCOUNT, IncidentFixture, config_of, coverage, events, remove_rate_limit};

/// An account that is closed or suspended is a gap of the pass, and `verify` counts it.
#[test]
fn account_that_cannot_be_entered_is_a_gap() {
    let refused = FaultRule::lookup(Fault::AccessDenied).on(Operation::GetCallerIdentity);
    let incident = IncidentFixture::new(Config {
        rules: vec![refused],
        ..Config::new(events(10))
    });
    let receipt = incident.capture(ACCOUNT, &[]);
    let config = config_of(&receipt);
    let gaps: Vec<GapReason> = config
        .items
        .iter()
        .filter(|item| item.source.provider == "aws")
        .flat_map(|item| item.coverage.gaps.iter().map(|gap| gap.reason))
        .collect();
    assert!(
        gaps.contains(&GapReason::PermissionDenied) || gaps.contains(&GapReason::Unauthenticated),
        "{gaps:?}"
    );
    assert!(!config.is_complete());
    let path = |value: &Value| value.as_str().expect("a path").to_owned();
    let (bundle, key) = (
        path(&receipt["bundles"][0]["bundle"]),
        path(&receipt["publicKey"]),
    );
    assert_eq!(audit(Path::new(&bundle), Path::new(&key)), 4);
}

/// A listing of empty pages with ever-new tokens ends, says so, and is not continued.
#[test]
fn pages_that_stay_empty_end_as_a_gap() {
    let rules = vec![FaultRule::lookup(Fault::Short(0)).region("us-east-1")];
    let incident = IncidentFixture::new(Config {
        limit: None,
        rules,
        ..Config::new(events(3000))
    });
    remove_rate_limit(incident.path());
    let config = config_of(&incident.capture(ACCOUNT, &[]));
    let coverage = coverage(&config, "us-east-1");
    assert_eq!(coverage.ended, EndReason::Failed);
    let gap = coverage.gaps.first().expect("a gap");
    assert_eq!(gap.reason, GapReason::Malformed);
    let what = gap.examples.join(" ");
    assert!(what.contains("pages in a row have no record"), "{what}");
    let asked = incident.server.truth().counts(ACCOUNT, "us-east-1");
    assert_eq!(asked.pages, 100);
}
