//! The request quota of each account and region.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::aws::{Config, Limit, Server, Synthetic};

use crate::{ACCOUNT, Answer, Client, REGION, fast};

#[test]
fn each_account_and_region_has_its_own_quota() {
    let regions = [(REGION, 1), ("eu-west-1", 1)];
    let events = Synthetic::new(0).spread(1000, &[ACCOUNT, "444455556666"], &regions);
    let server = Server::start(Config::new(events));
    let (mut here, mut there) = (
        Client::new(&server, REGION),
        Client::new(&server, "eu-west-1"),
    );
    let begin = Instant::now();
    let answers: Vec<Answer> = (0..4)
        .map(|_| here.lookup(&json!({ "MaxResults": 1 })))
        .collect();
    assert!(
        begin.elapsed() < Duration::from_millis(400),
        "this machine is too slow to test with"
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
            truth.place(ACCOUNT, REGION).throttled,
            truth.place(ACCOUNT, REGION).pages
        ),
        (2, 3)
    );
    assert_eq!(truth.place("444455556666", REGION).requests, 1);
}

#[test]
fn quota_is_configurable() {
    let server = Server::start(Config {
        limit: Some(Limit {
            per_second: 200.0,
            burst: 1.0,
        }),
        ..fast(1000)
    });
    let mut client = Client::new(&server, REGION);
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
