//! One declaration captures the host, AWS, GitHub, Kubernetes and Okta.

use std::collections::BTreeMap;
use std::path::Path;

use evidence_format::coverage::EndReason;
use serde_json::Value;
use tests::planes::{INCIDENT, Planes, PlanesOptions};
use tests::{BundleContent, audit, lacks, run_ok};

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    let text = value[member].as_str();
    text.unwrap_or_else(|| panic!("no {member} in {value}"))
}

/// Each item says as many records as its double served, and nothing else is missing than what the
/// test expects.
fn assert_coverage(source: &str, content: &BundleContent) {
    for item in &content.config.items {
        let coverage = &item.coverage;
        // a test may not look into every process of its machine, and processes end
        if source != "host" {
            assert_eq!(coverage.ended, EndReason::Complete, "{}", item.name);
            assert!(coverage.attempts >= coverage.pages, "{}", item.name);
            assert!(
                coverage.gaps.is_empty(),
                "{}: {:?}",
                item.name,
                coverage.gaps
            );
        }
    }
}

/// Records of the kinds of the timeline: who did what to what.
fn facts(planes: &Planes, options: &[&str]) -> Vec<Value> {
    planes.lines(&[&["timeline", INCIDENT], options].concat())
}

#[test]
fn one_declaration_captures_every_plane() {
    let planes = Planes::start(PlanesOptions::small());
    let receipt: Value = serde_json::from_str(&run_ok(&mut planes.capture())).expect("a receipt");
    let key = Path::new(text(&receipt, "publicKey"));
    let bundles = receipt["bundles"].as_array().expect("bundles");
    for bundle in bundles {
        let path = Path::new(text(bundle, "bundle"));
        assert!([0, 4].contains(&audit(path, key)), "{bundle}");
        // Complete as far as its source could answer: the latest events may come later.
        let is_whole = matches!(lacks(path, key).as_deref(), None | Some("provisional"));
        assert_eq!(bundle["complete"] == true, is_whole, "{bundle}");
    }
    let contents: BTreeMap<String, BundleContent> = planes.bundles().into_iter().collect();
    let sources: Vec<&str> = contents.keys().map(String::as_str).collect();
    assert_eq!(
        sources,
        ["aws_cloudtrail", "github", "host", "kubernetes", "okta"]
    );
    for (source, content) in &contents {
        assert_coverage(source, content);
    }
    for (name, double) in planes.doubles() {
        let refused = double
            .records()
            .into_iter()
            .filter(|record| record.status >= 400);
        let refused: Vec<String> = refused.map(|record| record.target).collect();
        assert!(refused.is_empty(), "{name}: {refused:?}");
    }

    for (kind, by) in [
        ("github.", "mallory"),
        ("okta.", "mallory@acme.example"),
        ("kubernetes.", "kubelet"),
    ] {
        let rows = facts(&planes, &["--kind", kind, "--actor", by]);
        assert!(!rows.is_empty(), "{kind} has nothing by {by}");
        let has_target = |row: &&Value| {
            row["event"]["targets"]
                .as_array()
                .is_some_and(|t| !t.is_empty())
        };
        assert!(rows.iter().any(|row| has_target(&row)), "{rows:?}");
    }
    let granted = facts(
        &planes,
        &[
            "--kind",
            "okta.",
            "--target",
            "eve@acme.example",
            "--writes",
        ],
    );
    assert!(!granted.is_empty(), "no change of eve");
    let lookups = facts(&planes, &["--kind", "aws."]);
    assert_eq!(lookups.len(), 120, "one row for each event");
    let from_address = facts(&planes, &["--address", "203.0.113.7"]);
    let kinds: Vec<&str> = from_address.iter().map(|row| text(row, "kind")).collect();
    for plane in ["github.", "okta."] {
        let is_there = kinds.iter().any(|kind| kind.starts_with(plane));
        assert!(is_there, "{plane} from the address: {kinds:?}");
    }
}
