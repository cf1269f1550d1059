//! The stand-in for AWS keeps to the service's rules: asked over plain sockets, by the bytes that
//! the SDKs send.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::aws::{
    Config, Credentials, Expiry, Fault, Files, Limit, Operation, Region, RetryAfter, Rule, Server,
    Synthetic,
};
use tests::{LocalEmu, corpora, localemu, root, run_ok, scratch};

const ACCOUNT: &str = "111122223333";
const REGION: &str = "us-east-1";
const START: i64 = 1_788_220_800 - 86_400;
const END: i64 = 1_788_220_800;

/// A connection of a client that signs as the SDKs do, but for the signature itself.
struct Client {
    stream: TcpStream,
    url: std::net::SocketAddr,
    key: Credentials,
    region: String,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The error's code, as AWS JSON has it.
    fn code(&self) -> String {
        assert_ne!(self.status, 200, "{}", self.head);
        self.json()["__type"].as_str().expect("a code").to_owned()
    }
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a socket");
    stream
}

impl Client {
    fn new(server: &Server, region: &str) -> Self {
        Self {
            stream: connect(server),
            url: server.address(),
            key: server.account_key(ACCOUNT),
            region: region.to_owned(),
        }
    }

    fn send(&mut self, (service, path, headers): (&str, &str, &str), body: &str) {
        let (key, token) = (&self.key.access_key_id, self.key.session_token.as_ref());
        let token = token.map_or(String::new(), |token| {
            format!("x-amz-security-token: {token}\r\n")
        });
        let scope = format!("{key}/20260901/{}/{service}/aws4_request", self.region);
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n{headers}\r\n{token}\
             authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=00\r\n\r\n{body}",
            self.url,
            body.len(),
        );
        self.stream
            .write_all(request.as_bytes())
            .expect("the server reads");
    }

    fn receive(&mut self) -> std::io::Result<Answer> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .expect("a status");
        let mut answer = Answer {
            status,
            head,
            body: Vec::new(),
        };
        answer.body = vec![
            0;
            answer
                .header("content-length")
                .and_then(|n| n.parse().ok())
                .expect("a length")
        ];
        self.stream.read_exact(&mut answer.body).map(|()| answer)
    }

    fn try_lookup(&mut self, input: &Value) -> std::io::Result<Answer> {
        let target = "content-type: application/x-amz-json-1.1\r\nx-amz-target: CloudTrail_20131101.LookupEvents";
        self.send(("cloudtrail", "/", target), &input.to_string());
        self.receive()
    }

    fn lookup(&mut self, input: &Value) -> Answer {
        self.try_lookup(input).expect("an answer")
    }

    fn sts(&mut self, form: &str) -> (u16, String) {
        self.send(
            (
                "sts",
                "/",
                "content-type: application/x-www-form-urlencoded",
            ),
            form,
        );
        let answer = self.receive().expect("an answer");
        (answer.status, String::from_utf8(answer.body).expect("XML"))
    }

    fn list_regions(&mut self, input: &Value) -> Answer {
        self.send(
            ("account", "/listRegions", "content-type: application/json"),
            &input.to_string(),
        );
        self.receive().expect("an answer")
    }

    /// All pages, to the last.
    fn pages(&mut self, input: &Value) -> Vec<Value> {
        let (mut input, mut pages) = (input.clone(), Vec::new());
        loop {
            let page = self.lookup(&input).json();
            let next = page["NextToken"].clone();
            pages.push(page);
            if next.is_null() {
                return pages;
            }
            input["NextToken"] = next;
        }
    }
}

fn ids(pages: &[Value]) -> Vec<String> {
    let events = pages
        .iter()
        .flat_map(|page| page["Events"].as_array().expect("a list"));
    events
        .map(|event| event["EventId"].as_str().expect("an id").to_owned())
        .collect()
}

fn fast(events: u64) -> Config {
    Config {
        limit: None,
        ..Config::new(Synthetic::new(events))
    }
}

fn with(rules: Vec<Rule>) -> Config {
    Config {
        rules,
        ..fast(1000)
    }
}

#[test]
fn paging_to_the_end_gives_every_event_once_newest_first() {
    let server = Server::start(fast(4000));
    let pages = Client::new(&server, REGION).pages(&json!({}));
    let served = ids(&pages);
    assert_eq!(
        served,
        server.ids(ACCOUNT, REGION, START, END),
        "all of them, in order"
    );
    assert_eq!((served.len(), pages.len()), (2000, 40));
    let times: Vec<f64> = pages
        .iter()
        .flat_map(|p| p["Events"].as_array().expect("a list"))
        .map(|e| e["EventTime"].as_f64().expect("a number"))
        .collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "newest first");
    let distinct = served.iter().collect::<BTreeSet<_>>().len();
    assert!(distinct < served.len(), "some are served twice");
    let truth = server.truth().place(ACCOUNT, REGION);
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
fn events_are_as_the_service_writes_them() {
    let server = Server::start(fast(4000));
    let pages = Client::new(&server, REGION).pages(&json!({}));
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
            "a flag, and a string"
        );
        assert_eq!(
            record["userIdentity"]["accessKeyId"], event["AccessKeyId"],
            "both absent for services"
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
    assert!(unusual > 0, "text that attackers write");
}

#[test]
fn windows_are_inclusive_and_attributes_choose() {
    let server = Server::start(fast(4000));
    let mut client = Client::new(&server, REGION);
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
        ids(&client.pages(&json!({ "StartTime": start, "EndTime": end }))),
        expected
    );
    assert_eq!(
        ids(&client.pages(&json!({ "StartTime": start, "EndTime": end, "MaxResults": 7 }))),
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
        let has = |event: &&&Value| {
            event[name] == value
                || event["Resources"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .any(|r| r[name] == value)
        };
        let expected: Vec<&str> = all
            .iter()
            .filter(has)
            .map(|event| event["EventId"].as_str().expect("text"))
            .collect();
        assert!(!expected.is_empty(), "{name}");
        let attribute =
            json!({ "LookupAttributes": [{ "AttributeKey": name, "AttributeValue": value }] });
        assert_eq!(ids(&client.pages(&attribute)), expected, "{name}");
    }
    assert!(ids(&client.pages(&json!({ "EventCategory": "insight" }))).is_empty());
}

#[test]
fn requests_that_the_service_refuses_are_refused() {
    let server = Server::start(fast(1000));
    let mut client = Client::new(&server, REGION);
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
        server.truth().place(ACCOUNT, REGION).refused["InvalidMaxResultsException"],
        2
    );
}

#[test]
fn tokens_are_good_for_the_same_question_only() {
    let server = Server::start(Config {
        token_lifetime: Duration::from_millis(1000),
        ..fast(1000)
    });
    let mut client = Client::new(&server, REGION);
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
    assert_eq!(with(&[], REGION).status, 200, "and again");
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
        "in another region"
    );
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(
        with(&[], REGION).code(),
        "InvalidNextTokenException",
        "too late"
    );
}

#[test]
fn each_region_of_each_account_has_a_quota_of_its_own() {
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
fn a_quota_can_be_scaled() {
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

#[test]
fn retention_is_ninety_days() {
    let (day, newest) = (86_400, END);
    let events = Synthetic::new(0)
        .spread(1000, &[ACCOUNT], &[(REGION, 1)])
        .window(newest - 100 * day, newest);
    let server = Server::start(Config {
        limit: None,
        present: Some(newest),
        ..Config::new(events)
    });
    let served =
        ids(&Client::new(&server, REGION).pages(&json!({ "StartTime": newest - 100 * day })));
    assert!(
        (850..950).contains(&served.len()),
        "{} of 1000",
        served.len()
    );
    let oldest = server
        .truth()
        .place(ACCOUNT, REGION)
        .oldest
        .expect("a time");
    assert!(
        (89 * day..=90 * day).contains(&(newest - oldest)),
        "{}",
        newest - oldest
    );
}

#[test]
fn a_million_events_are_the_same_each_time_and_start_at_once() {
    let begin = Instant::now();
    let first = |seed| {
        let server = Server::start(Config {
            limit: None,
            ..Config::new(Synthetic::new(1_000_000).seed(seed))
        });
        let mut client = Client::new(&server, "eu-west-1");
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
        "nothing is made before it is asked for"
    );
}

#[test]
fn answers_have_an_id_a_date_and_a_type() {
    let server = Server::start(Config {
        clock_skew_seconds: -3600,
        ..fast(1000)
    });
    let mut client = Client::new(&server, REGION);
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

#[test]
fn sts_says_who_asks_and_remembers_sessions() {
    let events = Synthetic::new(0).spread(100, &[ACCOUNT, "444455556666"], &[(REGION, 1)]);
    let server = Server::start(Config {
        limit: None,
        ..Config::new(events)
    });
    let mut client = Client::new(&server, REGION);
    let (status, who) = client.sts("Action=GetCallerIdentity&Version=2011-06-15");
    assert_eq!(status, 200);
    assert!(
        who.contains("<Account>111122223333</Account>") && who.contains("user/replay</Arn>"),
        "{who}"
    );
    let role = "arn%3Aaws%3Aiam%3A%3A444455556666%3Arole%2Fexhibit%2Freader";
    let assume = format!(
        "Action=AssumeRole&Version=2011-06-15&RoleArn={role}&RoleSessionName=INC-7&ExternalId=x&DurationSeconds=900"
    );
    let (status, session) = client.sts(&assume);
    assert_eq!(status, 200, "{session}");
    let between = |name: &str| {
        let value = session
            .split(&format!("<{name}>"))
            .nth(1)
            .and_then(|rest| rest.split('<').next());
        value.expect("a member").to_owned()
    };
    client.key.access_key_id = between("AccessKeyId");
    assert_eq!(
        client.lookup(&json!({})).code(),
        "UnrecognizedClientException",
        "a session needs its token"
    );
    client.key.session_token = Some(between("SessionToken"));
    assert!(
        client
            .sts("Action=GetCallerIdentity")
            .1
            .contains("arn:aws:sts::444455556666:assumed-role/reader/INC-7")
    );
    assert_eq!(
        client.lookup(&json!({})).json()["Events"]
            .as_array()
            .expect("a list")
            .len(),
        50
    );
    let truth = server.truth();
    assert_eq!(truth.place("444455556666", REGION).pages, 1);
    let sessions: Vec<_> = truth
        .sessions
        .iter()
        .map(|s| (s.name.as_str(), s.external_id.as_deref(), &*s.access_key_id))
        .collect();
    assert_eq!(sessions, [("INC-7", Some("x"), &*client.key.access_key_id)]);
    for (form, code) in [
        (
            assume.replace("444455556666", "999999999999"),
            "AccessDenied",
        ),
        (assume.replace("INC-7", "INC%207"), "ValidationError"),
    ] {
        let (status, error) = client.sts(&form);
        assert!(
            status >= 400 && error.contains(&format!("<Code>{code}</Code>")),
            "{error}"
        );
    }
}

#[test]
fn regions_are_listed_in_pages() {
    let regions: Vec<(String, u64)> = (1..=12).map(|i| (format!("eu-test-{i}"), 1)).collect();
    let regions: Vec<(&str, u64)> = regions
        .iter()
        .map(|(name, weight)| (name.as_str(), *weight))
        .collect();
    let server = Server::start(Config {
        limit: None,
        ..Config::new(Synthetic::new(0).spread(120, &[ACCOUNT], &regions))
    });
    let mut client = Client::new(&server, REGION);
    let first = client.list_regions(&json!({})).json();
    assert_eq!(first["Regions"].as_array().expect("a list").len(), 10);
    let second = client
        .list_regions(&json!({ "NextToken": first["NextToken"] }))
        .json();
    assert_eq!(
        second["Regions"].as_array().expect("a list").len(),
        5,
        "us-east-1, eu-north-1 and me-south-1 too"
    );
    assert!(second["NextToken"].is_null());
    let enabled = json!({ "RegionOptStatusContains": ["DISABLED"], "MaxResults": 50 });
    let disabled = client.list_regions(&enabled).json();
    assert_eq!(
        disabled["Regions"],
        json!([{ "RegionName": "me-south-1", "RegionOptStatus": "DISABLED" }])
    );
    client.region = "me-south-1".to_owned();
    assert_eq!(
        client.list_regions(&json!({})).status,
        403,
        "keys are not known there"
    );
    assert_eq!(
        client.lookup(&json!({})).code(),
        "UnrecognizedClientException"
    );
}

#[test]
fn keys_of_sessions_expire() {
    let sessions = Expiry {
        requests: Some(2),
        after: None,
    };
    let server = Server::start(Config {
        sessions,
        ..fast(1000)
    });
    let mut client = Client::new(&server, REGION);
    client.key = server.session_key(ACCOUNT, "reader", "INC-7");
    assert_eq!(
        [
            client.lookup(&json!({})).status,
            client.lookup(&json!({})).status
        ],
        [200, 200]
    );
    assert_eq!(client.lookup(&json!({})).code(), "ExpiredTokenException");
    assert!(
        client
            .sts("Action=GetCallerIdentity")
            .1
            .contains("<Code>ExpiredToken</Code>")
    );
    client.key = server.session_key(ACCOUNT, "reader", "INC-7");
    assert_eq!(client.lookup(&json!({})).status, 200, "a new one");
    assert_eq!(
        server.truth().place(ACCOUNT, REGION).refused["ExpiredTokenException"],
        1
    );

    let sessions = Expiry {
        requests: None,
        after: Some(Duration::from_millis(200)),
    };
    let server = Server::start(Config {
        sessions,
        ..fast(1000)
    });
    let mut client = Client::new(&server, REGION);
    client.key = server.session_key(ACCOUNT, "reader", "INC-7");
    assert_eq!(client.lookup(&json!({})).status, 200);
    std::thread::sleep(Duration::from_millis(250));
    assert_eq!(client.lookup(&json!({})).code(), "ExpiredTokenException");
    client.key = server.account_key(ACCOUNT);
    assert_eq!(
        client.lookup(&json!({})).status,
        200,
        "an account's own key stays"
    );
}

#[test]
fn the_truth_and_credentials_are_there_over_http() {
    let server = Server::start(fast(1000));
    let mut client = Client::new(&server, REGION);
    client
        .stream
        .write_all(format!("GET /_credentials/{ACCOUNT} HTTP/1.1\r\n\r\n").as_bytes())
        .expect("the server reads");
    let credentials = client.receive().expect("an answer").json();
    assert_eq!(credentials["Version"], 1);
    client.key.access_key_id = credentials["AccessKeyId"]
        .as_str()
        .expect("text")
        .to_owned();
    client.key.session_token = Some(
        credentials["SessionToken"]
            .as_str()
            .expect("text")
            .to_owned(),
    );
    assert_eq!(client.lookup(&json!({})).status, 200);
    client
        .stream
        .write_all(b"GET /_truth HTTP/1.1\r\n\r\n")
        .expect("the server reads");
    let truth = client.receive().expect("an answer").json();
    assert_eq!(truth, serde_json::to_value(server.truth()).expect("JSON"));
    assert_eq!(truth["places"][0]["events"], 50);
    assert_eq!(truth["places"][0]["region"], REGION);
    assert_eq!(server.requests().len(), 1, "such requests are not counted");
}

/// Recorded events come as they were recorded, each as often as it was delivered.
#[test]
fn a_corpus_of_real_events_is_served_whole() {
    let Some(corpora) = corpora() else { return };
    let file = corpora.join("internal-only/aws/cloudtrail/sans504-s3-ransomware.files.jsonl.zst");
    let account = "342082656213";
    let server = Server::start(Config {
        limit: None,
        ..Config::new(Files::open(&file).expect("a corpus"))
    });
    let mut served = Vec::new();
    for region in [
        "us-west-1",
        "us-east-1",
        "ap-northeast-2",
        "eu-central-1",
        "us-east-2",
    ] {
        let mut client = Client::new(&server, region);
        client.key = server.account_key(account);
        for event in client
            .pages(&json!({}))
            .iter()
            .flat_map(|page| page["Events"].as_array().expect("a list"))
        {
            served.push(event["CloudTrailEvent"].as_str().expect("text").to_owned());
        }
    }
    let place = server.truth().place(account, "us-west-1");
    assert_eq!(
        (place.events, place.pages, place.last_pages),
        (30_416, 609, 1)
    );
    assert_eq!(
        server.truth().events(),
        (30_469, 23_973),
        "the other eight regions have one event each"
    );
    let text = String::from_utf8(
        zstd::decode_all(std::fs::File::open(file).expect("a corpus")).expect("of zstd"),
    )
    .expect("JSON");
    let files = text.lines().map(|line| {
        line.strip_prefix(r#"{"Records":["#)
            .and_then(|line| line.strip_suffix("]}"))
            .expect("a file")
    });
    let begin = r#"{"eventVersion""#;
    let recorded = files
        .flat_map(|file| file.split(begin).skip(1))
        .map(|rest| format!("{begin}{}", rest.trim_end_matches(',')));
    let (mut recorded, served) = (
        recorded.collect::<Vec<_>>(),
        served.into_iter().collect::<BTreeSet<_>>(),
    );
    assert_eq!(recorded.len(), 30_477);
    recorded.retain(|text| !served.contains(text));
    assert_eq!(recorded.len(), 8, "byte for byte");
}

/// One request with a fault, and one without on a new connection.
fn struck(fault: Fault) -> (Server, std::io::Result<Answer>) {
    let server = Server::start(with(vec![Rule::lookup(fault).region(REGION).at(2)]));
    assert_eq!(Client::new(&server, REGION).lookup(&json!({})).status, 200);
    let answer = Client::new(&server, REGION).try_lookup(&json!({}));
    assert_eq!(Client::new(&server, REGION).lookup(&json!({})).status, 200);
    let truth = server.truth().place(ACCOUNT, REGION);
    let faults: Vec<_> = truth
        .faults
        .iter()
        .map(|struck| (struck.request, struck.kind))
        .collect();
    assert_eq!(faults, [(2, fault.name())]);
    assert_eq!(server.requests()[1].fault, Some(fault));
    (server, answer)
}

fn pages(server: &Server) -> u64 {
    server.truth().place(ACCOUNT, REGION).pages
}

#[test]
fn scripted_refusals_are_the_services_own() {
    for (fault, code) in [
        (Fault::Throttle, "ThrottlingException"),
        (Fault::ExpiredToken, "ExpiredTokenException"),
        (Fault::AccessDenied, "AccessDeniedException"),
        (Fault::RegionDisabled, "UnrecognizedClientException"),
        (Fault::InvalidToken, "InvalidNextTokenException"),
    ] {
        let (server, answer) = struck(fault);
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, answer.code().as_str()), (400, code));
        assert_eq!(
            (
                pages(&server),
                server.truth().place(ACCOUNT, REGION).throttled
            ),
            (2, 0)
        );
    }
}

#[test]
fn server_errors_say_when_to_come_again() {
    let (_server, answer) = struck(Fault::Status(500, None));
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, answer.header("retry-after")), (500, None));
    let (_server, answer) = struck(Fault::Status(503, Some(RetryAfter::Seconds(7))));
    let answer = answer.expect("an answer");
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("7"))
    );
    let (_server, answer) = struck(Fault::Status(503, Some(RetryAfter::Date(60))));
    let answer = answer.expect("an answer");
    let date =
        |name| httpdate::parse_http_date(answer.header(name).expect("a header")).expect("a date");
    let after = date("retry-after")
        .duration_since(date("date"))
        .expect("later")
        .as_secs();
    assert!((59..=60).contains(&after), "{after}");
}

#[test]
fn connections_break() {
    let (server, answer) = struck(Fault::Close);
    assert_eq!(
        answer.expect_err("no answer").kind(),
        ErrorKind::UnexpectedEof
    );
    assert_eq!(pages(&server), 2);
    let (server, answer) = struck(Fault::Reset);
    assert_eq!(
        answer.expect_err("no answer").kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(pages(&server), 2);
    let (server, answer) = struck(Fault::Truncate(1000));
    assert_eq!(
        answer.expect_err("no answer").kind(),
        ErrorKind::UnexpectedEof
    );
    assert_eq!(pages(&server), 2);
}

#[test]
fn a_body_cut_short_has_exactly_the_bytes_that_were_asked_for() {
    let server = Server::start(with(vec![
        Rule::lookup(Fault::Truncate(1000)),
        Rule::lookup(Fault::Throttle),
    ]));
    let mut client = Client::new(&server, REGION);
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
    assert_eq!(
        all.len() - at - 4,
        1000,
        "the first rule that fits is followed"
    );
}

#[test]
fn answers_never_come_or_come_slowly() {
    let server = Server::start(with(vec![Rule::lookup(Fault::Hang)]));
    let mut client = Client::new(&server, REGION);
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("a socket");
    assert_eq!(
        client.try_lookup(&json!({})).expect_err("no answer").kind(),
        ErrorKind::WouldBlock
    );
    assert_eq!(server.truth().place(ACCOUNT, REGION).struck("hang"), 1);

    for fault in [
        Fault::Slow(Duration::from_millis(200), Duration::from_millis(400)),
        Fault::Trickle(10_000, Duration::from_millis(40)),
    ] {
        let begin = Instant::now();
        let (server, answer) = struck(fault);
        assert_eq!(
            answer.expect("an answer").json()["Events"]
                .as_array()
                .expect("a list")
                .len(),
            50
        );
        assert!(begin.elapsed() >= Duration::from_millis(200));
        assert_eq!(pages(&server), 3, "whole in the end");
    }
}

#[test]
fn a_page_that_its_client_did_not_wait_for_was_not_served() {
    let server = Server::start(with(vec![
        Rule::lookup(Fault::Slow(
            Duration::from_secs(60),
            Duration::from_secs(60),
        ))
        .at(2),
    ]));
    let mut client = Client::new(&server, REGION);
    assert_eq!(client.lookup(&json!({ "MaxResults": 10 })).status, 200);
    let before = server.truth().place(ACCOUNT, REGION);
    client
        .stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a socket");
    client.try_lookup(&json!({})).expect_err("no answer");
    drop(client);
    let begin = Instant::now();
    while pages(&server) == 2 {
        assert!(begin.elapsed() < Duration::from_secs(10), "it is taken out");
        std::thread::yield_now();
    }
    let after = server.truth().place(ACCOUNT, REGION);
    assert_eq!(
        (after.events, after.distinct, after.bytes),
        (before.events, before.distinct, before.bytes)
    );
    assert_eq!(
        (after.newest, after.oldest, after.requests),
        (before.newest, before.oldest, 2)
    );
    assert_eq!(Client::new(&server, REGION).lookup(&json!({})).status, 200);
    assert!(
        server.truth().place(ACCOUNT, REGION).distinct >= 45,
        "and can be served again"
    );
}

#[test]
fn hostile_answers() {
    let (server, answer) = struck(Fault::Malformed);
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, pages(&server)), (200, 2));
    assert!(serde_json::from_slice::<Value>(&answer.body).is_err());

    let (server, answer) = struck(Fault::Retyped);
    let answer = answer.expect("an answer");
    let events = answer.json()["Events"].as_array().expect("a list").clone();
    assert_eq!((events.len(), pages(&server)), (50, 3));
    assert!(
        events.iter().all(|event| !event["ReadOnly"].is_string())
            && events.iter().any(|event| event["ReadOnly"].is_number())
    );

    let (server, answer) = struck(Fault::Blanks(3_000_000));
    let answer = answer.expect("an answer");
    assert_eq!(
        (answer.status, answer.body.len(), pages(&server)),
        (200, 3_000_000, 2)
    );
    assert!(answer.body.iter().all(|byte| *byte == b' '));

    let server = Server::start(with(vec![Rule::lookup(Fault::EndlessToken)]));
    let mut client = Client::new(&server, REGION);
    let token = client.lookup(&json!({})).json()["NextToken"].clone();
    let question = json!({ "NextToken": token });
    let (second, third) = (
        client.lookup(&question).json(),
        client.lookup(&question).json(),
    );
    assert_eq!(
        (&second["NextToken"], &third),
        (&token, &second),
        "for ever"
    );
    let truth = server.truth().place(ACCOUNT, REGION);
    assert_eq!(
        (truth.pages, truth.events, truth.struck("endless")),
        (3, 150, 2)
    );
    assert!(
        truth.distinct <= 100,
        "events served again are not counted again"
    );
}

#[test]
fn short_and_empty_pages_lose_nothing() {
    let rules = vec![
        Rule::lookup(Fault::Short(0)).every(3),
        Rule::lookup(Fault::Short(7)).every(2),
    ];
    let server = Server::start(with(rules));
    let pages = Client::new(&server, REGION).pages(&json!({}));
    assert!(
        pages[2]["Events"].as_array().expect("a list").is_empty()
            && !pages[2]["NextToken"].is_null()
    );
    assert_eq!(ids(&pages), server.ids(ACCOUNT, REGION, START, END));
}

#[test]
fn faults_strike_other_operations_too_and_by_chance() {
    let denied = Rule::lookup(Fault::AccessDenied).on(Operation::AssumeRole);
    let failing = Rule::lookup(Fault::Status(500, None))
        .on(Operation::ListRegions)
        .at(1);
    let chance = Rule::lookup(Fault::Throttle).per_million(500_000);
    let server = Server::start(with(vec![denied, failing, chance]));
    let mut client = Client::new(&server, REGION);
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
        server.truth().place(ACCOUNT, REGION).struck("throttle"),
        refused
    );
}

/// What boto3 gets from a server, asked about a window.
fn semantics(url: &str, key: [&str; 2], window: &Value) -> Value {
    let script = root().join("tests/interop/cloudtrail_semantics.py");
    let mut python = Command::new(LocalEmu::python());
    python
        .arg("-B")
        .arg(script)
        .args(["ask", url])
        .args(key)
        .args([window["start"].to_string(), window["end"].to_string()]);
    serde_json::from_str(&run_ok(&mut python)).expect("JSON")
}

/// The same records, asked for from LocalEmu, which made them, and from our server: two readings of
/// the service's documents.
#[test]
fn an_emulator_of_other_people_answers_the_same() {
    let Some(emulator) = localemu() else { return };
    let work = scratch();
    let corpus = work.path().join("corpus.jsonl");
    let script = root().join("tests/interop/cloudtrail_semantics.py");
    let mut record = Command::new(LocalEmu::python());
    let recorded = run_ok(
        record
            .arg("-B")
            .arg(script)
            .args(["record", &emulator.url])
            .arg(&corpus),
    );
    let window = serde_json::from_str(&recorded).expect("JSON");

    let regions = vec![Region {
        name: REGION.to_owned(),
        status: "ENABLED_BY_DEFAULT",
    }];
    let server = Server::start(Config {
        limit: None,
        regions,
        ..Config::new(Files::open(&corpus).expect("a corpus"))
    });
    let key = server.account_key("000000000000");
    let mut theirs = semantics(&emulator.url, ["test", "test"], &window);
    let mut ours = semantics(
        &server.url(),
        [&key.access_key_id, &key.secret_access_key],
        &window,
    );

    // LocalEmu lets these pass, or has no such operation; the service does not (API reference of
    // LookupEvents and ListRegions).
    let wrong = json!({ "token of another question": null, "page too large": null, "page of nothing": null, "backwards": null, "unknown attribute": null });
    assert_eq!(theirs["errors of the service alone"].take(), wrong);
    assert_eq!(theirs["regions"].take(), "InternalFailure");
    let right = json!({
        "token of another question": "InvalidNextTokenException",
        "page too large": "InvalidMaxResultsException",
        "page of nothing": "InvalidMaxResultsException",
        "backwards": "InvalidTimeRangeException",
        "unknown attribute": "InvalidLookupAttributesException",
    });
    assert_eq!(ours["errors of the service alone"].take(), right);
    assert!(ours["regions"].take().is_null());
    assert_eq!(ours["events"].as_array().map(Vec::len), Some(101));
    for (question, answer) in theirs.as_object().expect("questions") {
        assert!(
            &ours[question] == answer,
            "{question}: {answer}, and ours: {}",
            ours[question]
        );
    }
}
