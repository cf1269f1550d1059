//! Scripted faults: errors, broken connections, slow and hostile responses.

use std::io::{ErrorKind, Read as _};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::aws::{Fault, FaultRule, Operation, RetryAfter, Server};

use crate::{ACCOUNT, AwsClient, AwsResponse, END, REGION, START, event_ids, with_rules};

/// Sends three requests on separate connections. The second one gets the fault; returns its result.
fn run_with_fault(fault: Fault) -> (Server, std::io::Result<AwsResponse>) {
    let server = Server::start(with_rules(vec![
        FaultRule::lookup(fault).region(REGION).at(2),
    ]));
    assert_eq!(
        AwsClient::new(&server, REGION).lookup(&json!({})).status,
        200
    );
    let answer = AwsClient::new(&server, REGION).try_lookup(&json!({}));
    assert_eq!(
        AwsClient::new(&server, REGION).lookup(&json!({})).status,
        200
    );
    let truth = server.truth().counts(ACCOUNT, REGION);
    let faults: Vec<_> = truth
        .faults
        .iter()
        .map(|fault| (fault.request, fault.kind))
        .collect();
    assert_eq!(faults, [(2, fault.name())]);
    assert_eq!(server.requests()[1].fault, Some(fault));
    (server, answer)
}

fn pages(server: &Server) -> u64 {
    server.truth().counts(ACCOUNT, REGION).pages
}

#[test]
fn scripted_errors_use_the_services_codes() {
    for (fault, code) in [
        (Fault::Throttle, "ThrottlingException"),
        (Fault::ExpiredToken, "ExpiredTokenException"),
        (Fault::AccessDenied, "AccessDeniedException"),
        (Fault::RegionDisabled, "UnrecognizedClientException"),
        (Fault::InvalidToken, "InvalidNextTokenException"),
    ] {
        let (server, answer) = run_with_fault(fault);
        let answer = answer.expect("a response");
        assert_eq!((answer.status, answer.code().as_str()), (400, code));
        assert_eq!(
            (
                pages(&server),
                server.truth().counts(ACCOUNT, REGION).throttled
            ),
            (2, 0)
        );
    }
}

#[test]
fn server_errors_carry_retry_after() {
    let (_server, answer) = run_with_fault(Fault::Status(500, None));
    let answer = answer.expect("a response");
    assert_eq!((answer.status, answer.header("retry-after")), (500, None));
    let (_server, answer) = run_with_fault(Fault::Status(503, Some(RetryAfter::Seconds(7))));
    let answer = answer.expect("a response");
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("7"))
    );
    let (_server, answer) = run_with_fault(Fault::Status(503, Some(RetryAfter::Date(60))));
    let answer = answer.expect("a response");
    let date =
        |name| httpdate::parse_http_date(answer.header(name).expect("a header")).expect("a date");
    let after = date("retry-after")
        .duration_since(date("date"))
        .expect("later")
        .as_secs();
    assert!((59..=60).contains(&after), "{after}");
}

#[test]
fn scripted_faults_break_connections() {
    let (server, answer) = run_with_fault(Fault::Close);
    assert_eq!(
        answer.expect_err("no answer").kind(),
        ErrorKind::UnexpectedEof
    );
    assert_eq!(pages(&server), 2);
    let (server, answer) = run_with_fault(Fault::Reset);
    assert_eq!(
        answer.expect_err("no answer").kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(pages(&server), 2);
    let (server, answer) = run_with_fault(Fault::Truncate(1000));
    assert_eq!(
        answer.expect_err("no answer").kind(),
        ErrorKind::UnexpectedEof
    );
    assert_eq!(pages(&server), 2);
}

#[test]
fn truncated_body_has_exactly_the_requested_bytes() {
    let server = Server::start(with_rules(vec![
        FaultRule::lookup(Fault::Truncate(1000)),
        FaultRule::lookup(Fault::Throttle),
    ]));
    let mut client = AwsClient::new(&server, REGION);
    client.send(
        (
            "cloudtrail",
            "/",
            "x-amz-target: CloudTrail_20131101.LookupEvents",
        ),
        "{}",
    );
    let mut all = Vec::new();
    client.stream.read_to_end(&mut all).expect("an end");
    let at = all
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    assert_eq!(all.len() - at - 4, 1000, "the first matching rule applies");
}

#[test]
fn responses_hang_or_arrive_slowly() {
    let server = Server::start(with_rules(vec![FaultRule::lookup(Fault::Hang)]));
    let mut client = AwsClient::new(&server, REGION);
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("a socket");
    assert_eq!(
        client.try_lookup(&json!({})).expect_err("no answer").kind(),
        ErrorKind::WouldBlock
    );
    assert_eq!(
        server.truth().counts(ACCOUNT, REGION).fault_count("hang"),
        1
    );

    for fault in [
        Fault::Slow(Duration::from_millis(200), Duration::from_millis(400)),
        Fault::Trickle(10_000, Duration::from_millis(40)),
    ] {
        let begin = Instant::now();
        let (server, answer) = run_with_fault(fault);
        assert_eq!(
            answer.expect("a response").json()["Events"]
                .as_array()
                .expect("a list")
                .len(),
            50
        );
        assert!(begin.elapsed() >= Duration::from_millis(200));
        assert_eq!(pages(&server), 3, "the page counts as served");
    }
}

#[test]
fn abandoned_page_does_not_count_as_served() {
    let server = Server::start(with_rules(vec![
        FaultRule::lookup(Fault::Slow(
            Duration::from_secs(60),
            Duration::from_secs(60),
        ))
        .at(2),
    ]));
    let mut client = AwsClient::new(&server, REGION);
    assert_eq!(client.lookup(&json!({ "MaxResults": 10 })).status, 200);
    let before = server.truth().counts(ACCOUNT, REGION);
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a socket");
    client.try_lookup(&json!({})).expect_err("no answer");
    drop(client);
    let begin = Instant::now();
    while pages(&server) == 2 {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "the page is removed from the counts"
        );
        std::thread::yield_now();
    }
    let after = server.truth().counts(ACCOUNT, REGION);
    assert_eq!(
        (after.events, after.distinct, after.bytes),
        (before.events, before.distinct, before.bytes)
    );
    assert_eq!(
        (after.newest, after.oldest, after.requests),
        (before.newest, before.oldest, 2)
    );
    assert_eq!(
        AwsClient::new(&server, REGION).lookup(&json!({})).status,
        200
    );
    assert!(
        server.truth().counts(ACCOUNT, REGION).distinct >= 45,
        "the events can be served again"
    );
}

#[test]
fn serves_hostile_responses() {
    let (server, answer) = run_with_fault(Fault::Malformed);
    let answer = answer.expect("a response");
    assert_eq!((answer.status, pages(&server)), (200, 2));
    assert!(serde_json::from_slice::<Value>(&answer.body).is_err());

    let (server, answer) = run_with_fault(Fault::Retyped);
    let answer = answer.expect("a response");
    let events = answer.json()["Events"].as_array().expect("a list").clone();
    assert_eq!((events.len(), pages(&server)), (50, 3));
    assert!(
        events.iter().all(|event| !event["ReadOnly"].is_string())
            && events.iter().any(|event| event["ReadOnly"].is_number())
    );

    let (server, answer) = run_with_fault(Fault::Blanks(3_000_000));
    let answer = answer.expect("a response");
    assert_eq!(
        (answer.status, answer.body.len(), pages(&server)),
        (200, 3_000_000, 2)
    );
    assert!(answer.body.iter().all(|byte| *byte == b' '));

    let server = Server::start(with_rules(vec![FaultRule::lookup(Fault::EndlessToken)]));
    let mut client = AwsClient::new(&server, REGION);
    let token = client.lookup(&json!({})).json()["NextToken"].clone();
    let question = json!({ "NextToken": token });
    let (second, third) = (
        client.lookup(&question).json(),
        client.lookup(&question).json(),
    );
    assert_eq!(
        (&second["NextToken"], &third),
        (&token, &second),
        "paging never ends"
    );
    let truth = server.truth().counts(ACCOUNT, REGION);
    assert_eq!(
        (truth.pages, truth.events, truth.fault_count("endless")),
        (3, 150, 2)
    );
    assert!(
        truth.distinct <= 100,
        "events served again are not counted again"
    );
}

#[test]
fn short_and_empty_pages_lose_no_events() {
    let rules = vec![
        FaultRule::lookup(Fault::Short(0)).every(3),
        FaultRule::lookup(Fault::Short(7)).every(2),
    ];
    let server = Server::start(with_rules(rules));
    let pages = AwsClient::new(&server, REGION).pages(&json!({}));
    assert!(
        pages[2]["Events"].as_array().expect("a list").is_empty()
            && !pages[2]["NextToken"].is_null()
    );
    assert_eq!(
        event_ids(&pages),
        server.event_ids(ACCOUNT, REGION, START, END)
    );
}

#[test]
fn faults_apply_to_other_operations_and_at_random() {
    let denied = FaultRule::lookup(Fault::AccessDenied).on(Operation::AssumeRole);
    let failing = FaultRule::lookup(Fault::Status(500, None))
        .on(Operation::ListRegions)
        .at(1);
    let chance = FaultRule::lookup(Fault::Throttle).per_million(500_000);
    let server = Server::start(with_rules(vec![denied, failing, chance]));
    let mut client = AwsClient::new(&server, REGION);
    let (status, error) = client
        .sts("Action=AssumeRole&RoleArn=arn:aws:iam::111122223333:role/r&RoleSessionName=INC-7");
    assert!(status == 403 && error.contains("AccessDenied"), "{error}");
    assert_eq!(
        [
            client.list_regions(&json!({})).status,
            client.list_regions(&json!({})).status
        ],
        [500, 200]
    );
    let refused = (0..100)
        .filter(|_| client.lookup(&json!({ "MaxResults": 1 })).status == 400)
        .count();
    assert!((30..70).contains(&refused), "{refused}");
    assert_eq!(
        server
            .truth()
            .counts(ACCOUNT, REGION)
            .fault_count("throttle"),
        refused
    );
}
