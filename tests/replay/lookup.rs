//! `LookupEvents`: pages, filters, page tokens, retention.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::aws::{Config, Server, SyntheticEvents};

use crate::{ACCOUNT, AwsClient, END, REGION, START, event_ids, without_limit};

#[test]
fn paging_returns_all_events_newest_first() {
    let server = Server::start(without_limit(4000));
    let pages = AwsClient::new(&server, REGION).pages(&json!({}));
    let served = event_ids(&pages);
    assert_eq!(
        served,
        server.event_ids(ACCOUNT, REGION, START, END),
        "all events, in order"
    );
    assert_eq!((served.len(), pages.len()), (2000, 40));
    let times: Vec<f64> = pages
        .iter()
        .flat_map(|p| p["Events"].as_array().expect("a list"))
        .map(|e| e["EventTime"].as_f64().expect("a number"))
        .collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "newest first");
    let distinct = served.iter().collect::<BTreeSet<_>>().len();
    assert!(distinct < served.len(), "the corpus has duplicates");
    let truth = server.truth().counts(ACCOUNT, REGION);
    assert_eq!(
        (truth.requests, truth.pages, truth.last_pages, truth.events),
        (40, 40, 1, 2000)
    );
    assert_eq!(truth.distinct, distinct as u64);
    assert_eq!(
        (
            truth.newest.expect("a time") as f64,
            truth.oldest.expect("a time") as f64
        ),
        (times[0], times[1999])
    );
    let burst = times
        .chunk_by(|a, b| a == b)
        .map(<[f64]>::len)
        .max()
        .unwrap_or(0);
    assert!(burst > 50, "more than a page in one second: {burst}");
}

#[test]
fn events_match_the_services_format() {
    let server = Server::start(without_limit(4000));
    let pages = AwsClient::new(&server, REGION).pages(&json!({}));
    let (mut bytes, mut count, mut unusual) = (0, 0, 0);
    for event in pages
        .iter()
        .flat_map(|page| page["Events"].as_array().expect("a list"))
    {
        let text = event["CloudTrailEvent"].as_str().expect("a string");
        let record: Value = serde_json::from_str(text).expect("of JSON");
        (bytes, count) = (bytes + text.len(), count + 1);
        assert_eq!(record["eventID"], event["EventId"]);
        assert_eq!(record["eventName"], event["EventName"]);
        assert_eq!(record["eventSource"], event["EventSource"]);
        assert_eq!(record["awsRegion"], REGION);
        assert_eq!(record["recipientAccountId"], ACCOUNT);
        assert_eq!(
            record["readOnly"].to_string(),
            event["ReadOnly"].as_str().expect("text"),
            "the record has a boolean, the listing a string"
        );
        assert_eq!(
            record["userIdentity"]["accessKeyId"], event["AccessKeyId"],
            "both are absent for services"
        );
        assert_eq!(
            event["Username"].is_null(),
            record["userIdentity"]["type"] == "AWSService"
        );
        let time: jiff::Timestamp = record["eventTime"]
            .as_str()
            .expect("text")
            .parse()
            .expect("RFC 3339");
        assert_eq!(
            time.as_second() as f64,
            event["EventTime"].as_f64().expect("a number")
        );
        unusual += usize::from(!text.is_ascii() || text.contains("<script>"));
    }
    assert!(
        (1000..1500).contains(&(bytes / count)),
        "{} bytes on average",
        bytes / count
    );
    assert!(unusual > 0, "the corpus has hostile text");
}

#[test]
fn windows_are_inclusive_and_attributes_filter() {
    let server = Server::start(without_limit(4000));
    let mut client = AwsClient::new(&server, REGION);
    let pages = client.pages(&json!({}));
    let all: Vec<&Value> = pages
        .iter()
        .flat_map(|page| page["Events"].as_array().expect("a list"))
        .collect();
    let (end, start) = (
        all[700]["EventTime"].as_f64().expect("a number"),
        all[900]["EventTime"].as_f64().expect("a number"),
    );
    let inside = all
        .iter()
        .filter(|event| (start..=end).contains(&event["EventTime"].as_f64().expect("a number")));
    let expected: Vec<&str> = inside
        .map(|event| event["EventId"].as_str().expect("text"))
        .collect();
    assert_eq!(
        event_ids(&client.pages(&json!({ "StartTime": start, "EndTime": end }))),
        expected
    );
    assert_eq!(
        event_ids(&client.pages(&json!({ "StartTime": start, "EndTime": end, "MaxResults": 7 }))),
        expected
    );
    let key = all
        .iter()
        .find_map(|event| event["AccessKeyId"].as_str())
        .expect("a key");
    for (name, value) in [
        ("AccessKeyId", key),
        ("EventId", all[77]["EventId"].as_str().expect("text")),
        ("EventName", "ConsoleLogin"),
        ("EventSource", "iam.amazonaws.com"),
        ("ReadOnly", "false"),
        ("Username", "user-07"),
        ("ResourceType", "AWS::IAM::User"),
        (
            "ResourceName",
            all.iter()
                .find_map(|event| event["Resources"][0]["ResourceName"].as_str())
                .expect("a name"),
        ),
    ] {
        let expected: Vec<&str> = all
            .iter()
            .filter(|event| {
                let mut resources = event["Resources"].as_array().expect("a list").iter();
                event[name] == value || resources.any(|resource| resource[name] == value)
            })
            .map(|event| event["EventId"].as_str().expect("text"))
            .collect();
        assert!(!expected.is_empty(), "{name}");
        let attribute =
            json!({ "LookupAttributes": [{ "AttributeKey": name, "AttributeValue": value }] });
        assert_eq!(event_ids(&client.pages(&attribute)), expected, "{name}");
    }
    assert!(event_ids(&client.pages(&json!({ "EventCategory": "insight" }))).is_empty());
}

#[test]
fn rejects_requests_that_the_service_rejects() {
    let server = Server::start(without_limit(1000));
    let mut client = AwsClient::new(&server, REGION);
    let attribute = |key: &str| json!({ "AttributeKey": key, "AttributeValue": "x" });
    for (input, code) in [
        (
            json!({ "StartTime": 2, "EndTime": 1 }),
            "InvalidTimeRangeException",
        ),
        (json!({ "MaxResults": 51 }), "InvalidMaxResultsException"),
        (json!({ "MaxResults": 0 }), "InvalidMaxResultsException"),
        (
            json!({ "EventCategory": "management" }),
            "InvalidEventCategoryException",
        ),
        (
            json!({ "LookupAttributes": [attribute("Colour")] }),
            "InvalidLookupAttributesException",
        ),
        (
            json!({ "LookupAttributes": [attribute("EventId"), attribute("EventName")] }),
            "InvalidLookupAttributesException",
        ),
        (
            json!({ "NextToken": "unknown" }),
            "InvalidNextTokenException",
        ),
        (
            json!({ "StartTime": "yesterday" }),
            "SerializationException",
        ),
    ] {
        let answer = client.lookup(&input);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, code),
            "{input}"
        );
    }
    assert_eq!(
        server.truth().counts(ACCOUNT, REGION).refused["InvalidMaxResultsException"],
        2
    );
}

#[test]
fn page_tokens_are_bound_to_their_query() {
    let server = Server::start(Config {
        token_lifetime: Duration::from_millis(1000),
        ..without_limit(1000)
    });
    let mut client = AwsClient::new(&server, REGION);
    let question = json!({ "StartTime": START, "EndTime": END });
    let token = client.lookup(&question).json()["NextToken"].clone();
    let mut with = |changes: &[(&str, Value)], region: &str| {
        let mut question = question.clone();
        question["NextToken"] = token.clone();
        for (name, value) in changes {
            question[name] = value.clone();
        }
        client.region = region.to_owned();
        client.lookup(&question)
    };
    assert_eq!(with(&[], REGION).status, 200);
    assert_eq!(with(&[], REGION).status, 200, "a token can be used again");
    let attribute = json!([{ "AttributeKey": "ReadOnly", "AttributeValue": "true" }]);
    for change in [
        ("StartTime", json!(START + 1)),
        ("EndTime", json!(END - 1)),
        ("MaxResults", json!(10)),
        ("LookupAttributes", attribute),
    ] {
        assert_eq!(with(&[change], REGION).code(), "InvalidNextTokenException");
    }
    assert_eq!(
        with(&[], "eu-west-1").code(),
        "InvalidNextTokenException",
        "the token is for another region"
    );
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(
        with(&[], REGION).code(),
        "InvalidNextTokenException",
        "the token has expired"
    );
}

#[test]
fn retention_is_ninety_days() {
    let (day, newest) = (86_400, END);
    let events = SyntheticEvents::new(0)
        .spread(1000, &[ACCOUNT], &[(REGION, 1)])
        .window(newest - 100 * day, newest);
    let server = Server::start(Config {
        limit: None,
        present: Some(newest),
        ..Config::new(events)
    });
    let served = event_ids(
        &AwsClient::new(&server, REGION).pages(&json!({ "StartTime": newest - 100 * day })),
    );
    assert!(
        (850..950).contains(&served.len()),
        "{} of 1000",
        served.len()
    );
    let oldest = server
        .truth()
        .counts(ACCOUNT, REGION)
        .oldest
        .expect("a time");
    assert!(
        (89 * day..=90 * day).contains(&(newest - oldest)),
        "{}",
        newest - oldest
    );
}

#[test]
fn million_events_are_deterministic_and_generated_lazily() {
    let begin = Instant::now();
    let first = |seed| {
        let server = Server::start(Config {
            limit: None,
            ..Config::new(SyntheticEvents::new(1_000_000).seed(seed))
        });
        let mut client = AwsClient::new(&server, "eu-west-1");
        let window = json!({ "StartTime": START + 40_000, "EndTime": START + 40_100 });
        client.lookup(&window).body
    };
    let without_token = |body: Vec<u8>| {
        let body = String::from_utf8(body).expect("JSON");
        body.split_once(r#","NextToken""#)
            .expect("a token")
            .0
            .to_owned()
    };
    assert_eq!(without_token(first(1)), without_token(first(1)));
    assert_ne!(without_token(first(1)), without_token(first(2)));
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "events are generated on demand"
    );
}

#[test]
fn responses_have_an_id_a_date_and_a_type() {
    let server = Server::start(Config {
        clock_skew_seconds: -3600,
        ..without_limit(1000)
    });
    let mut client = AwsClient::new(&server, REGION);
    for answer in [
        client.lookup(&json!({})),
        client.lookup(&json!({ "MaxResults": 99 })),
    ] {
        assert_eq!(
            answer.header("content-type"),
            Some("application/x-amz-json-1.1")
        );
        let date =
            httpdate::parse_http_date(answer.header("date").expect("a date")).expect("of HTTP");
        let behind = date.elapsed().expect("in the past").as_secs();
        assert!((3598..3610).contains(&behind), "{behind}");
    }
    let seen = server.requests();
    let answer = client.lookup(&json!({}));
    assert_eq!(
        answer.header("x-amzn-requestid"),
        Some(server.requests()[2].request_id.as_str())
    );
    assert_ne!(seen[0].request_id, seen[1].request_id);
    assert_eq!(
        (seen[0].status, seen[1].status, seen[1].number),
        (200, 400, 2)
    );
    assert_eq!(
        seen[0].header("x-amz-target"),
        Some("CloudTrail_20131101.LookupEvents")
    );
}
