//! Counts of records as the recorder writes them, of a source that exists only here.

use async_trait::async_trait;
use domain::plan::CaptureStep;
use evidence_format::warc::{RecordIds, RecordType, TruncationReason, WarcHeader};

use super::*;
use crate::Incomplete;
use crate::context::CaptureContext;

/// `x:users` lists two a page and declares a total; `x:roles` and `x:log` are asked for each user;
/// `x:events` gives 3 events to a query at most.
struct FakeSource;

#[async_trait]
impl RemoteSource for FakeSource {
    async fn capture(&self, _: &CaptureStep, _: &CaptureContext) -> Result<(), Incomplete> {
        Ok(())
    }

    fn counting(&self, _: &str, endpoint: &str) -> Option<EndpointCounting> {
        let root = EndpointCounting::root;
        Some(match endpoint {
            "x:me" => root(CountedKind::Auxiliary),
            "x:users" => EndpointCounting {
                path: "/users?limit=2",
                declares: true,
                ..root(CountedKind::Objects)
            },
            "x:events" => EndpointCounting {
                path: "/events?from={from}&until={until}&page=1",
                paging_parameter: "page",
                declares: true,
                results_max: Some(3),
                ..root(CountedKind::Events)
            },
            "x:roles" => EndpointCounting {
                path: "/users/{user}/roles",
                is_child: true,
                losses: &[(409, None), (451, Some(GapReason::Unsupported))],
                ..root(CountedKind::Objects)
            },
            "x:pods" => EndpointCounting {
                path: "/pods?limit=2",
                paging_parameter: "continue",
                restarts_on: &[410],
                ..root(CountedKind::Objects)
            },
            "x:log" => EndpointCounting {
                path: "/users/{user}/log",
                is_child: true,
                ..root(CountedKind::Opaque)
            },
            _ => return None,
        })
    }

    fn read_body(
        &self,
        _: &str,
        body: &[u8],
        visit: &mut dyn FnMut(CountedRecord<'_>),
    ) -> Result<Option<DeclaredRecords>, UnreadableBody> {
        let body: serde_json::Value = serde_json::from_slice(body).map_err(|_| UnreadableBody)?;
        for record in body["items"].as_array().ok_or(UnreadableBody)? {
            visit(CountedRecord {
                time: record["time"].as_str().and_then(|time| time.parse().ok()),
                id: record["id"].as_str(),
                is_readable: record.is_object(),
            });
        }
        let all = body["total"].as_u64().map(DeclaredRecords::InAll);
        let more = body["more"].as_u64().map(DeclaredRecords::AfterThisPage);
        Ok(all.or(more))
    }
}

/// Writes exchanges as the recorder does.
struct Item {
    warc: Vec<u8>,
    ids: RecordIds,
}

impl Item {
    fn new() -> Self {
        Self {
            warc: Vec::new(),
            ids: RecordIds::new([7; 8]),
        }
    }

    fn record(
        &mut self,
        kind: RecordType,
        path: &str,
        fields: &[(&str, &str)],
        truncated: Option<TruncationReason>,
        block: &str,
    ) {
        let uri = format!("https://x.test{path}");
        let header = WarcHeader {
            kind,
            target_uri: Some(&uri),
            date: "2026-11-27T16:00:00Z".parse().expect("a time"),
            content_type: "application/http",
            truncated,
            fields,
        };
        let block = [block.as_bytes()];
        warc::write_record_parts(&mut self.warc, &header, &mut self.ids, &block).expect("short");
    }

    fn response(&mut self, endpoint: &str, path: &str, status: u16, outcome: &str, body: &str) {
        let fields = [("Exhibit-Endpoint", endpoint), ("Exhibit-Outcome", outcome)];
        let request = format!("GET {path} HTTP/1.1\r\n\r\n");
        self.record(RecordType::Request, path, &fields[..1], None, &request);
        let response = format!("HTTP/1.1 {status} X\r\nserver: x\r\n\r\n{body}");
        self.record(RecordType::Response, path, &fields, None, &response);
    }

    fn answered(&mut self, endpoint: &str, path: &str, status: u16, body: &str) {
        self.response(endpoint, path, status, "answered", body);
    }

    /// A request without a response.
    fn failed(&mut self, endpoint: &str, path: &str, outcome: &str) {
        let fields = [("Exhibit-Endpoint", endpoint), ("Exhibit-Outcome", outcome)];
        self.record(RecordType::Request, path, &fields[..1], None, "GET");
        self.record(RecordType::Metadata, path, &fields, None, "refused");
    }

    fn coverage(&self, is_whole: bool) -> Coverage {
        let mut counter = CoverageCounter::new("x-users", "x:users");
        counter.add(&FakeSource, &self.warc);
        let mut coverage = Coverage::new();
        counter.fill(&mut coverage, is_whole);
        coverage
    }
}

/// Reason, count and examples of each gap.
fn gaps(coverage: &Coverage) -> Vec<(GapReason, u64, Vec<&str>)> {
    let gaps = coverage.gaps.iter();
    gaps.map(|gap| {
        let examples = gap.examples.iter().map(String::as_str).collect();
        (gap.reason, gap.count, examples)
    })
    .collect()
}

const EMPTY: &str = r#"{"items":[]}"#;

#[test]
fn child_that_is_refused_is_a_gap_with_its_address() {
    let mut item = Item::new();
    item.answered("x:me", "/me", 200, "{}");
    let users = r#"{"total":3,"items":[{"id":"u1"},{"id":"u2"}]}"#;
    item.answered("x:users", "/users?limit=2", 200, users);
    item.answered(
        "x:roles",
        "/users/u1/roles",
        200,
        r#"{"items":[{"id":"r"}]}"#,
    );
    item.answered("x:roles", "/users/u2/roles", 404, "");
    let more = r#"{"total":3,"items":[{"id":"u3"}]}"#;
    item.answered("x:users", "/users?limit=2&after=u2", 200, more);
    item.answered("x:roles", "/users/u3/roles", 403, "");
    item.answered("x:log", "/users/u3/log", 410, "");
    item.answered("x:roles", "/users/u4/roles", 409, "");
    item.answered("x:roles", "/users/u5/roles", 451, "");
    let coverage = item.coverage(true);
    assert_eq!(
        gaps(&coverage),
        [
            (
                GapReason::PermissionDenied,
                1,
                vec!["x:roles https://x.test/users/u3/roles: 403"]
            ),
            (
                GapReason::Vanished,
                2,
                vec![
                    "x:roles https://x.test/users/u2/roles: 404",
                    "x:log https://x.test/users/u3/log: 410"
                ]
            ),
            (
                GapReason::Unsupported,
                1,
                vec!["x:roles https://x.test/users/u5/roles: 451"]
            ),
        ]
    );
    assert_eq!(
        (coverage.attempts, coverage.pages, coverage.events),
        (9, 8, Some(4)),
        "who we are is no evidence that was asked for"
    );
    assert_eq!((coverage.declared, coverage.duplicates), (Some(3), 0));
}

#[test]
fn listing_that_begins_again_is_stated_and_its_first_page_counts_twice() {
    let mut item = Item::new();
    let first = r#"{"items":[{"id":"a"},{"id":"b"}]}"#;
    item.answered("x:pods", "/pods?limit=2", 200, first);
    item.answered("x:pods", "/pods?limit=2&continue=t", 410, "");
    item.answered("x:pods", "/pods?limit=2", 200, first);
    item.answered("x:pods", "/pods?limit=2&continue=u", 200, EMPTY);
    let coverage = item.coverage(true);
    let what = "x:pods: the listing began again, because the provider had forgotten its page token \
                (410); what was deleted meanwhile is missing";
    assert_eq!(gaps(&coverage), [(GapReason::Vanished, 1, vec![what])]);
    assert_eq!((coverage.events, coverage.duplicates), (Some(4), 2));
    // the root itself is gone: its step ends, and says so
    let mut item = Item::new();
    item.answered("x:pods", "/pods?limit=2", 410, "");
    assert_eq!(gaps(&item.coverage(false)), []);
}

#[test]
fn failure_of_a_root_is_left_to_the_step() {
    let mut item = Item::new();
    item.answered("x:users", "/users?limit=2", 403, "");
    item.failed("x:users", "/users?limit=2", "permanent-failure");
    let coverage = item.coverage(false);
    assert_eq!(gaps(&coverage), []);
    assert_eq!((coverage.pages, coverage.events), (1, Some(0)));
}

#[test]
fn request_that_was_given_up_is_a_gap_unless_asked_again() {
    let mut item = Item::new();
    for user in ["u1", "u2"] {
        let path = format!("/users/{user}/roles");
        item.failed("x:roles", &path, "transient-failure");
        item.response("x:roles", &path, 503, "transient-failure", "");
    }
    item.answered("x:roles", "/users/u2/roles", 200, EMPTY);
    item.answered("x:roles", "/users/u3/roles", 401, "");
    item.answered("x:roles", "/users/u3/roles", 200, EMPTY);
    item.answered("x:roles", "/users/u4/roles", 200, r#"{"items":["#);
    item.response("x:roles", "/users/u5/roles", 429, "throttled", "");
    item.failed("x:roles", "/users/u6/roles", "stopped");
    item.failed("x:log", "/users/u7/log", "transient-failure");
    assert_eq!(
        gaps(&item.coverage(true)),
        [
            (
                GapReason::Unreachable,
                1,
                vec!["x:log https://x.test/users/u7/log: given up"]
            ),
            (
                GapReason::Malformed,
                1,
                vec!["x:roles https://x.test/users/u4/roles: not readable"]
            ),
            (
                GapReason::Refused,
                1,
                vec!["x:roles https://x.test/users/u1/roles: given up"]
            ),
        ]
    );
}

#[test]
fn fewer_records_than_declared_are_a_gap_with_the_number() {
    let mut item = Item::new();
    let page = r#"{"total":5,"items":[{"id":"u1"},{"id":"u2"}]}"#;
    item.answered("x:users", "/users?limit=2", 200, page);
    // a restart asks again, and delivers nothing new
    item.answered("x:users", "/users?limit=2", 200, page);
    let rest = r#"{"total":6,"items":[{"id":"u3"}]}"#;
    item.answered("x:users", "/users?limit=2&after=u2", 200, rest);
    let coverage = item.coverage(true);
    assert_eq!(
        (coverage.declared, coverage.events, coverage.duplicates),
        (Some(5), Some(5), 2)
    );
    assert_eq!(
        gaps(&coverage),
        [(
            GapReason::Malformed,
            2,
            vec!["https://x.test/users?limit=2: 3 of 5 that the source declares"]
        )]
    );
    assert_eq!(
        gaps(&item.coverage(false)),
        [],
        "a step that ended early has a gap of its own"
    );
    let mut endless = Item::new();
    let page = format!(r#"{{"total":{},"items":[]}}"#, u64::MAX);
    endless.answered("x:users", "/users?limit=2", 200, &page);
    let coverage = endless.coverage(true);
    assert_eq!(coverage.declared, Some(JSON_INTEGER_MAX));
    assert_eq!(coverage.gaps[0].count, JSON_INTEGER_MAX);
}

#[test]
fn totals_of_windows_that_were_split_count_once() {
    let event = |id: u32| format!(r#"{{"id":"e{id}","time":"2026-11-27T1{id}:00:00Z"}}"#);
    let page = |total: u32, ids: &[u32]| {
        let items: Vec<String> = ids.iter().map(|id| event(*id)).collect();
        format!(r#"{{"total":{total},"items":[{}]}}"#, items.join(","))
    };
    let mut item = Item::new();
    let path =
        |from: u32, until: u32, page: u32| format!("/events?from={from}&until={until}&page={page}");
    item.answered("x:events", &path(0, 8, 1), 200, &page(4, &[3, 2]));
    item.answered("x:events", &path(4, 8, 1), 200, &page(2, &[3, 2]));
    item.answered("x:events", &path(0, 4, 1), 200, &page(2, &[1]));
    item.answered("x:events", &path(0, 4, 2), 200, &page(2, &[0]));
    let coverage = item.coverage(true);
    assert_eq!(
        (coverage.declared, coverage.events, coverage.duplicates),
        (Some(4), Some(6), 2)
    );
    assert_eq!(gaps(&coverage), []);
    let time = |text: &str| text.parse().ok();
    assert_eq!(
        (coverage.first, coverage.last),
        (time("2026-11-27T10:00:00Z"), time("2026-11-27T13:00:00Z"))
    );
}

#[test]
fn total_may_be_declared_as_what_follows() {
    let mut item = Item::new();
    let page = r#"{"more":2,"items":[{"id":"u1"},{"id":"u2"}]}"#;
    item.answered("x:users", "/users?limit=2", 200, page);
    let rest = r#"{"items":[{"id":"u3"}]}"#;
    item.answered("x:users", "/users?limit=2&continue=x", 200, rest);
    let coverage = item.coverage(true);
    assert_eq!(coverage.declared, Some(4));
    assert_eq!(coverage.missing(), 1);
}

#[test]
fn item_of_logs_has_no_events_and_says_where_it_was_cut() {
    let mut item = Item::new();
    item.answered("x:log", "/users/u1/log", 200, "a\nb\n");
    let fields = [
        ("Exhibit-Endpoint", "x:log"),
        ("Exhibit-Offset", "10"),
        ("Exhibit-Gap", "too_large"),
        ("Exhibit-Size", "100"),
    ];
    let length = Some(TruncationReason::Length);
    item.record(
        RecordType::Resource,
        "/users/u1/log",
        &fields,
        length,
        "abcd",
    );
    let coverage = item.coverage(true);
    assert_eq!((coverage.events, coverage.pages), (None, 1));
    let gap = &coverage.gaps[0];
    assert_eq!(
        (gap.reason, gap.count, gap.bytes_kept, gap.bytes_lost),
        (GapReason::TooLarge, 1, 14, 86)
    );
}

#[test]
fn unreadable_record_counts_and_is_said() {
    let mut item = Item::new();
    let page = r#"{"items":[{"id":"u1"},7]}"#;
    // an earlier version named no endpoint
    item.record(RecordType::Request, "/users?limit=2", &[], None, "GET");
    let fields = [("Exhibit-Outcome", "answered")];
    let response = format!("HTTP/1.1 200 OK\r\nserver: x\r\n\r\n{page}");
    item.record(
        RecordType::Response,
        "/users?limit=2",
        &fields,
        None,
        &response,
    );
    let coverage = item.coverage(true);
    assert_eq!(coverage.events, Some(2));
    assert_eq!(
        gaps(&coverage),
        [(
            GapReason::Malformed,
            1,
            vec!["x:users https://x.test/users?limit=2: record 2 is not readable"]
        )]
    );
}
