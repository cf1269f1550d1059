//! The stand-in for AWS follows the service's rules. The tests send the same bytes as the SDKs,
//! over plain sockets.

mod faults;
mod identity;
mod lookup;
mod quotas;
mod recorded;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use tests::aws::{Config, Credentials, FaultRule, Server, SyntheticEvents};

const ACCOUNT: &str = "111122223333";
const REGION: &str = "us-east-1";
const START: i64 = 1_788_220_800 - 86_400;
const END: i64 = 1_788_220_800;

/// A client with one connection. It signs requests as the SDKs do, but with a dummy signature.
struct AwsClient {
    stream: TcpStream,
    url: std::net::SocketAddr,
    key: Credentials,
    region: String,
}

#[derive(Debug)]
struct AwsResponse {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl AwsResponse {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The error code in AWS JSON.
    fn code(&self) -> String {
        assert_ne!(self.status, 200, "{}", self.head);
        self.json()["__type"].as_str().expect("a code").to_owned()
    }
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("the server listens");
    stream.set_nodelay(true).expect("a socket");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a socket");
    stream
}

impl AwsClient {
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

    fn receive(&mut self) -> std::io::Result<AwsResponse> {
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
        let mut answer = AwsResponse {
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

    fn try_lookup(&mut self, input: &Value) -> std::io::Result<AwsResponse> {
        let target = "content-type: application/x-amz-json-1.1\r\nx-amz-target: CloudTrail_20131101.LookupEvents";
        self.send(("cloudtrail", "/", target), &input.to_string());
        self.receive()
    }

    fn lookup(&mut self, input: &Value) -> AwsResponse {
        self.try_lookup(input).expect("a response")
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
        let answer = self.receive().expect("a response");
        (answer.status, String::from_utf8(answer.body).expect("XML"))
    }

    fn list_regions(&mut self, input: &Value) -> AwsResponse {
        self.send(
            ("account", "/listRegions", "content-type: application/json"),
            &input.to_string(),
        );
        self.receive().expect("a response")
    }

    /// All pages of a query.
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

fn event_ids(pages: &[Value]) -> Vec<String> {
    let events = pages
        .iter()
        .flat_map(|page| page["Events"].as_array().expect("a list"));
    events
        .map(|event| event["EventId"].as_str().expect("an id").to_owned())
        .collect()
}

fn without_limit(events: u64) -> Config {
    Config {
        limit: None,
        ..Config::new(SyntheticEvents::new(events))
    }
}

fn with_rules(rules: Vec<FaultRule>) -> Config {
    Config {
        rules,
        ..without_limit(1000)
    }
}
