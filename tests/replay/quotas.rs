//! The request quota of each account and region.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::aws::{Config, RateLimit, Server, SyntheticEvents};

use crate::{ACCOUNT, AwsClient, AwsResponse, REGION, without_limit};

#[test]
fn each_account_and_region_has_its_own_quota() {
    let regions = [(REGION, 1), ("eu-west-1", 1)];
    let events = SyntheticEvents::new(0).spread(1000, &[ACCOUNT, "444455556666"], &regions);
    let server = Server::start(Config::new(events));
    let (mut here, mut there) = (
        AwsClient::new(&server, REGION),
        AwsClient::new(&server, "eu-west-1"),
    );
    let begin = Instant::now();
    let answers: Vec<AwsResponse> = (0..4)
        .map(|_| here.lookup(&json!({ "MaxResults": 1 })))
        .collect();
    assert!(
        begin.elapsed() < Duration::from_millis(400),
        "this machine is too slow for the test"
    );
    assert_eq!(
        answers
            .iter()
            .map(|answer| answer.status)
            .collect::<Vec<_>>(),
        [200, 200, 400, 400]
    );
    assert_eq!(answers[3].code(), "ThrottlingException");
    assert_eq!(there.lookup(&json!({})).status, 200, "another region");
    here.key = server.account_key("444455556666");
    assert_eq!(here.lookup(&json!({})).status, 200, "another account");
    std::thread::sleep(Duration::from_millis(600));
    here.key = server.account_key(ACCOUNT);
    assert_eq!(here.lookup(&json!({})).status, 200, "half a second later");
    let truth = server.truth();
    assert_eq!(
        (
            truth.counts(ACCOUNT, REGION).throttled,
            truth.counts(ACCOUNT, REGION).pages
        ),
        (2, 3)
    );
    assert_eq!(truth.counts("444455556666", REGION).requests, 1);
}

#[test]
fn quota_is_configurable() {
    let server = Server::start(Config {
        limit: Some(RateLimit {
            per_second: 200.0,
            burst: 1.0,
        }),
        ..without_limit(1000)
    });
    let mut client = AwsClient::new(&server, REGION);
    let begin = Instant::now();
    let mut answered = 0;
    while begin.elapsed() < Duration::from_millis(500) {
        answered += usize::from(client.lookup(&json!({ "MaxResults": 1 })).status == 200);
    }
    assert!(
        (50..=102).contains(&answered),
        "{answered} in half a second"
    );
}
