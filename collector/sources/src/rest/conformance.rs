//! Every endpoint of every table, against a double made of the same table, with every fault.
//!
//! A source is tested by existing: whoever adds a row needs to write nothing here. Time is paused,
//! so that waits of an hour take no time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use domain::incident::PassKind;
use domain::plan::{CaptureStep, CaptureTarget, StepLimits};
use evidence_format::coverage::{EndReason, GapReason, TimeWindow};
use evidence_format::time::Timestamp;
use evidence_format::warc;
use futures::future::join_all;
use http::Request;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::double::{Double, EVENTS_FROM, Fault, PAGES};
use super::page::{read_page, text_at};
use super::template::placeholders;
use super::{
    AccessRequest, BodyShape, Endpoint, Paging, ProviderAccess, RequestSigner, RestOffer,
    RestSource, SignError, UNPUBLISHED, WalkRoot, endpoints_of, walk,
};
use crate::Incomplete;
use crate::config::SourcesConfig;
use crate::context::{CaptureContext, PageSink, PageSinkError};
use crate::recorder::{QuotaKey, Recorder, RequestPolicy, ResponseClassifier, Transport};

/// Part of every token that the tests use: it must be nowhere.
const TOKEN: &str = "do-not-write-this-token";

thread_local! {
    /// One for each test: a client costs more than a walk.
    static TRANSPORT: Arc<Transport> = Arc::new(Transport::new().expect("a client"));
}

/// A table whose requests go to a double.
struct DoubledSource {
    table: &'static dyn RestSource,
    base: Url,
    /// The endpoint that is looked at.
    endpoint: &'static Endpoint,
}

#[async_trait]
impl RestSource for DoubledSource {
    fn name(&self) -> &'static str {
        self.table.name()
    }

    fn provider(&self) -> &'static str {
        self.table.provider()
    }

    fn description(&self) -> &'static str {
        self.table.description()
    }

    fn offers(&self) -> &'static [&'static RestOffer] {
        self.table.offers()
    }

    fn me(&self) -> &'static Endpoint {
        self.table.me()
    }

    fn identity(&self, me: &Value) -> Option<String> {
        self.table.identity(me)
    }

    fn classifier(&self) -> ResponseClassifier {
        self.table.classifier()
    }

    fn not_configured(&self, _: &SourcesConfig) -> Option<&'static str> {
        None
    }

    async fn targets(&self, _: &AccessRequest<'_>) -> Vec<Result<CaptureTarget, String>> {
        vec![Ok(CaptureTarget::default())]
    }

    async fn open(
        &self,
        _: &CaptureTarget,
        _: &AccessRequest<'_>,
    ) -> Result<ProviderAccess, String> {
        // what a source names at a root may be needed far below it
        let rows = endpoints_of(self.table).into_iter();
        let names = rows
            .flat_map(|row| placeholders(row.path))
            .map(|name| (name, "x".to_owned()));
        Ok(ProviderAccess {
            account: self.base.to_string(),
            base: self.base.clone(),
            trust: Arc::default(),
            signer: Arc::new(CountingSigner::default()),
            names: names.collect(),
        })
    }

    /// Roots can be alternatives, such as an organization or single repositories: one that leads to
    /// the endpoint is enough.
    async fn roots(
        &self,
        offer: &'static RestOffer,
        _: &CaptureTarget,
        _: &ProviderAccess,
        _: &AccessRequest<'_>,
    ) -> Result<Vec<WalkRoot>, String> {
        let mut roots = offer.roots.iter();
        let root = roots.find(|root| leads_to(root, self.endpoint));
        Ok(root.map(|root| WalkRoot::new(root)).into_iter().collect())
    }
}

fn leads_to(from: &Endpoint, endpoint: &Endpoint) -> bool {
    let mut children = from.children.iter();
    std::ptr::eq(from, endpoint) || children.any(|child| leads_to(child.endpoint, endpoint))
}

/// Its token has the number of times that it was renewed.
#[derive(Default)]
struct CountingSigner(Mutex<u32>);

#[async_trait]
impl RequestSigner for CountingSigner {
    async fn sign(
        &self,
        request: &mut Request<Bytes>,
        recorder: &Recorder,
    ) -> Result<(), SignError> {
        let token = format!("Bearer {TOKEN}-{}", self.0.lock().expect("no panic"));
        recorder.secrets().add(&token);
        let value = token.parse().expect("a header value");
        request.headers_mut().insert("authorization", value);
        Ok(())
    }

    async fn forget(&self) {
        *self.0.lock().expect("no panic") += 1;
    }
}

/// Keeps pages in memory, and fails after some of them, as a crash would.
#[derive(Default)]
pub(crate) struct MemorySink {
    pub(crate) pages: Mutex<Vec<(Bytes, String)>>,
    pages_max: Option<usize>,
}

#[async_trait]
impl PageSink for MemorySink {
    async fn persist(&self, warc: Bytes, cursor: Option<&str>) -> Result<(), PageSinkError> {
        let mut pages = self.pages.lock().expect("no panic");
        if self.pages_max.is_some_and(|max| pages.len() >= max) {
            return Err(PageSinkError::Failed("crashed".into()));
        }
        pages.push((warc, cursor.unwrap_or_default().to_owned()));
        Ok(())
    }
}

/// One endpoint of one table, and an offer that leads to it.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) table: &'static dyn RestSource,
    pub(super) offer: &'static RestOffer,
    pub(super) endpoint: &'static Endpoint,
    pub(super) is_root: bool,
}

fn cases() -> Vec<Case> {
    let tables = crate::ALL.iter().filter_map(|source| source.table());
    let mut cases = Vec::new();
    for table in tables {
        let mut seen: Vec<&Endpoint> = Vec::new();
        for offer in table.offers() {
            let mut waiting: Vec<_> = offer.roots.iter().map(|root| (*root, true)).collect();
            while let Some((endpoint, is_root)) = waiting.pop() {
                if seen.iter().any(|known| std::ptr::eq(*known, endpoint)) {
                    continue;
                }
                seen.push(endpoint);
                let children = endpoint.children.iter();
                waiting.extend(children.map(|child| (child.endpoint, false)));
                cases.push(Case {
                    table,
                    offer,
                    endpoint,
                    is_root,
                });
            }
        }
    }
    assert!(cases.len() >= 20, "tables must not vanish: {}", cases.len());
    cases
}

impl Case {
    fn is_json(&self) -> bool {
        !self.endpoint.body.is_streamed()
    }

    fn has_pages(&self) -> bool {
        self.is_json() && !matches!(self.endpoint.paging, Paging::None)
    }

    fn has_tokens(&self) -> bool {
        self.has_pages()
            && !matches!(
                self.endpoint.paging,
                Paging::PageNumber { .. } | Paging::Offset { .. }
            )
    }
}

/// What came of a capture.
pub(super) struct Captured {
    pub(super) result: Result<(), Incomplete>,
    sink: MemorySink,
    seconds: u64,
    /// Ids of the records of the endpoint that was looked at.
    pub(super) ids: BTreeSet<String>,
    /// Its successful answers.
    answers: usize,
}

impl Captured {
    pub(super) fn cursor_bytes_max(&self) -> usize {
        let pages = self.sink.pages.lock().expect("no panic");
        pages
            .iter()
            .map(|(_, cursor)| cursor.len())
            .max()
            .unwrap_or(0)
    }
}

async fn run(case: Case, fault: Fault) -> (Captured, Double) {
    let double = Double::start(endpoints_of(case.table), case.endpoint, fault).await;
    let captured = capture(case, &double, PassKind::First, None, None).await;
    (captured, double)
}

pub(super) async fn capture(
    case: Case,
    double: &Double,
    pass_kind: PassKind,
    cursor: Option<String>,
    pages_max: Option<usize>,
) -> Captured {
    let sink = Arc::new(MemorySink {
        pages_max,
        ..MemorySink::default()
    });
    let cx = context(pass_kind, cursor, sink.clone());
    capture_with(case, double, &step(case.offer), cx, sink).await
}

pub(super) async fn capture_step(case: Case, double: &Double, step: &CaptureStep) -> Captured {
    let sink = Arc::new(MemorySink::default());
    let cx = context(PassKind::First, None, sink.clone());
    capture_with(case, double, step, cx, sink).await
}

async fn capture_with(
    case: Case,
    double: &Double,
    step: &CaptureStep,
    cx: CaptureContext,
    sink: Arc<MemorySink>,
) -> Captured {
    let source = DoubledSource {
        table: case.table,
        base: double.base.clone(),
        endpoint: case.endpoint,
    };
    let begin = Instant::now();
    let result = walk::walk(&source, case.offer, step, &cx).await;
    drop(cx);
    let sink = Arc::into_inner(sink).expect("the context is gone");
    let (ids, answers) = records_of(case.endpoint, &sink);
    check_pages(case, double, &sink);
    Captured {
        result,
        sink,
        seconds: begin.elapsed().as_secs(),
        ids,
        answers,
    }
}

pub(crate) fn context(
    pass_kind: PassKind,
    cursor: Option<String>,
    sink: Arc<MemorySink>,
) -> CaptureContext {
    crate::crypto::install_provider();
    let quota = QuotaKey {
        provider: "test",
        account: String::new(),
        region: String::new(),
        endpoint: "test",
    };
    CaptureContext {
        incident: "INC-1".parse().expect("an id"),
        config: Arc::default(),
        recorder: Recorder::new(
            TRANSPORT.with(Arc::clone),
            RequestPolicy::new(quota, UNPUBLISHED.rate),
            [7; 8],
            CancellationToken::new(),
        ),
        cursor,
        bytes_max: u64::MAX,
        object_bytes_max: 64 << 20,
        pass_kind,
        contained: CancellationToken::new(),
        progress: Arc::default(),
        pass_progress: Arc::default(),
        sink,
    }
}

pub(crate) fn step(offer: &RestOffer) -> CaptureStep {
    let time = |seconds: i64| {
        Timestamp::from_unix_nanoseconds(i128::from(seconds) * 1_000_000_000).expect("in range")
    };
    let window = Some(TimeWindow {
        from: time(EVENTS_FROM),
        until: time(EVENTS_FROM + 3600),
    });
    CaptureStep {
        item: "x".parse().expect("a name"),
        offer: offer.item.to_owned(),
        api: String::new(),
        target: CaptureTarget::default(),
        what: String::new(),
        pivot: None,
        asked: window,
        effective: window,
        clipped: None,
        lifetime: offer.lifetime,
        citation: String::new(),
        expires_at: None,
        requests_expected: None,
        bytes_expected: None,
        seconds_expected: None,
        limits: StepLimits {
            object_bytes_max: 64 << 20,
            item_bytes_max: u64::MAX,
        },
        cursor: None,
        left_out: None,
        problem: None,
    }
}

/// The ids of all records of `endpoint`, and how many of its requests were answered with success.
fn records_of(endpoint: &Endpoint, sink: &MemorySink) -> (BTreeSet<String>, usize) {
    let (mut ids, mut answers) = (BTreeSet::new(), 0);
    for (warc, _) in sink.pages.lock().expect("no panic").iter() {
        for record in warc::records(warc).map(|record| record.expect("WARC")) {
            let field = |name| record.fields.get(name).unwrap_or_default();
            if field("WARC-Type") != "response"
                || field("Exhibit-Endpoint") != endpoint.id
                || field("Exhibit-Outcome") != "answered"
                || !record.block.starts_with(b"HTTP/1.1 200")
            {
                continue;
            }
            answers += 1;
            let at = memchr::memmem::find(record.block, b"\r\n\r\n").expect("a head") + 4;
            let _ = read_page(endpoint, &record.block[at..], &mut |record| {
                let id = match endpoint.body {
                    BodyShape::Events { id, .. }
                    | BodyShape::Objects { id, .. }
                    | BodyShape::Object { id, .. } => id,
                    BodyShape::Lines | BodyShape::Opaque => "",
                };
                ids.insert(text_at(record, id).unwrap_or_else(|| record.to_string()));
            });
        }
    }
    (ids, answers)
}

/// What holds whatever goes wrong: no token anywhere, and cursors that are small and have no host.
fn check_pages(case: Case, double: &Double, sink: &MemorySink) {
    let host = double.base.authority().to_owned();
    for (warc, cursor) in sink.pages.lock().expect("no panic").iter() {
        let id = case.endpoint.id;
        assert!(
            memchr::memmem::find(warc, TOKEN.as_bytes()).is_none(),
            "{id}: token"
        );
        assert!(cursor.len() <= 64 << 10, "{id}: {} bytes", cursor.len());
        assert!(
            !cursor.contains(&host) && !cursor.contains("://"),
            "{id}: {cursor}"
        );
    }
}

/// Runs `fault` at all endpoints that `applies` to, and checks what came of it.
async fn for_each(
    fault: Fault,
    applies: impl Fn(&Case) -> bool,
    check: impl Fn(Case, Captured, Double),
) {
    let all = cases().into_iter().filter(|case| applies(case));
    for cases in all.collect::<Vec<_>>().chunks(8) {
        let runs = cases
            .iter()
            .map(|case| async move { (*case, run(*case, fault).await) });
        for (case, (captured, double)) in join_all(runs).await {
            check(case, captured, double);
        }
    }
}

/// All records are there, and nothing is missing.
fn is_whole(case: Case, captured: &Captured, fault: Fault) {
    let id = case.endpoint.id;
    assert_eq!(captured.result, Ok(()), "{id} {fault:?}");
    assert!(captured.answers > 0, "{id} {fault:?}: not asked");
    if case.has_pages() {
        let pages = captured.ids.len() as u64;
        assert!(pages > PAGES, "{id} {fault:?}: {:?}", captured.ids);
    }
}

fn is_malformed(case: Case, captured: &Captured) {
    let id = case.endpoint.id;
    let incomplete = captured.result.as_ref().expect_err(id);
    assert_eq!(
        (incomplete.ended, incomplete.reason),
        (EndReason::Failed, GapReason::Malformed),
        "{incomplete:?}"
    );
    assert!(incomplete.what.contains(id), "{incomplete:?}");
}

#[tokio::test(start_paused = true)]
async fn captures_all_pages_of_every_endpoint() {
    for_each(
        Fault::None,
        |_| true,
        |case, captured, double| {
            is_whole(case, &captured, Fault::None);
            let id = case.endpoint.id;
            assert_eq!(double.repeated(), 0, "{id}: {:?}", double.targets());
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn every_dialect_of_throttling_is_waited_for() {
    for (status, fields) in [
        (429, "retry-after: 30\r\n"),
        (429, "retry-after: Tue, 14 Nov 2000 22:13:50 GMT\r\n"),
        (
            429,
            "x-rate-limit-remaining: 0\r\nx-rate-limit-reset: 30\r\n",
        ),
        (429, ""),
        (403, "retry-after: 60\r\n"),
        (503, "retry-after: 1\r\n"),
    ] {
        let fault = Fault::OnceEach(status, fields);
        for_each(
            fault,
            |_| true,
            |case, captured, _| {
                is_whole(case, &captured, fault);
            },
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn limits_by_a_skewed_clock_delay_for_seconds() {
    for ahead in [-7200, 7200] {
        let fault = Fault::LimitBySkewedClock(ahead);
        for_each(fault, Case::has_pages, |case, captured, _| {
            is_whole(case, &captured, fault);
            assert!(captured.seconds < 60, "{} s", captured.seconds);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_that_expire_in_mid_listing_are_renewed() {
    let fault = Fault::ExpiresInMidListing;
    for_each(fault, Case::has_pages, |case, captured, double| {
        is_whole(case, &captured, fault);
        let once_each = 1..=double.listings();
        assert!(
            once_each.contains(&double.repeated()),
            "{}",
            case.endpoint.id
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn connections_that_break_at_any_byte_are_repeated() {
    for share in [0.0, 0.1, 0.5, 0.9, 0.999] {
        let fault = Fault::CutAt(share);
        for_each(
            fault,
            |_| true,
            |case, captured, _| is_whole(case, &captured, fault),
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn silent_servers_are_asked_again() {
    for fault in [Fault::SilentOnce, Fault::StallsOnce] {
        let waits = |case: &Case| case.endpoint.idle_timeout.is_some();
        for_each(fault, waits, |case, captured, _| {
            is_whole(case, &captured, fault)
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn pages_that_cannot_be_read_are_asked_again() {
    for body in ["", "{", "<html>sorry</html>"] {
        let fault = Fault::BodyOnce(body);
        for_each(fault, Case::is_json, |case, captured, _| {
            is_whole(case, &captured, fault)
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_the_wrong_shape_are_malformed() {
    for body in ["", "[[", "7", "\"text\"", "{\"error\":\"E1\"}x"] {
        for_each(
            Fault::Body(body),
            Case::is_json,
            |case, captured, double| {
                is_malformed(case, &captured);
                assert!(
                    double.asked_focus() <= 3 * double.listings(),
                    "{}",
                    case.endpoint.id
                );
            },
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_ten_megabytes_are_read() {
    let fault = Fault::PageBytes(10 << 20);
    for case in cases().into_iter().filter(Case::is_json) {
        let (captured, _) = run(case, fault).await;
        is_whole(case, &captured, fault);
    }
}

#[tokio::test(start_paused = true)]
async fn listings_that_go_round_in_a_circle_end() {
    for to in [PAGES - 1, PAGES - 2, 0] {
        for_each(
            Fault::LoopsTo(to),
            Case::has_tokens,
            |case, captured, double| {
                is_malformed(case, &captured);
                assert!(
                    double.asked_focus() < 20 * double.listings(),
                    "{}",
                    double.asked_focus()
                );
                assert!(captured.ids.len() as u64 > PAGES, "{}", case.endpoint.id);
            },
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn empty_tokens_end_a_listing() {
    let fault = Fault::EmptyToken;
    for_each(fault, Case::has_tokens, |case, captured, double| {
        is_whole(case, &captured, fault);
        assert_eq!(
            double.asked_focus(),
            PAGES as u32 * double.listings(),
            "{}",
            case.endpoint.id
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pages_and_redirects_do_not_lead_to_another_host() {
    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    elsewhere.set_nonblocking(true).expect("a socket");
    let address = elsewhere.local_addr().expect("bound");
    let host: &'static str = format!("http://{address}").leak();
    let is_url = |case: &Case| {
        matches!(
            case.endpoint.paging,
            Paging::Link | Paging::LinkQuery | Paging::NextUrl { .. }
        )
    };
    for_each(Fault::NextOnHost(host), is_url, |case, captured, _| {
        is_malformed(case, &captured);
    })
    .await;
    for status in [301, 302, 307] {
        let fields: &'static str = format!("location: {host}/elsewhere\r\n").leak();
        let fault = Fault::Always(status, fields);
        for_each(
            fault,
            |_| true,
            |case, captured, _| {
                is_malformed(case, &captured);
            },
        )
        .await;
    }
    assert!(elsewhere.accept().is_err(), "somebody came");
}

#[tokio::test(start_paused = true)]
async fn refused_children_are_recorded_and_the_walk_goes_on() {
    for status in [401, 403, 404, 410] {
        for_each(
            Fault::Always(status, ""),
            |_| true,
            |case, captured, _| {
                let id = case.endpoint.id;
                let means_nothing = case.endpoint.losses.contains(&(status, None));
                if !case.is_root || means_nothing {
                    assert_eq!(captured.result, Ok(()), "{id} {status}");
                    return;
                }
                let incomplete = captured.result.expect_err(id);
                if status == 403 {
                    assert_eq!(incomplete.reason, GapReason::PermissionDenied);
                    let grant = case.endpoint.grant;
                    assert!(incomplete.what.contains(grant), "{incomplete:?}");
                }
            },
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn crash_at_any_page_loses_nothing_and_repeats_little() {
    for cases in cases().chunks(8) {
        join_all(cases.iter().map(|case| crash_everywhere(*case))).await;
    }
}

async fn crash_everywhere(case: Case) {
    for pages_max in 1.. {
        let double = Double::start(endpoints_of(case.table), case.endpoint, Fault::None).await;
        let first = capture(case, &double, PassKind::First, None, Some(pages_max)).await;
        if first.result.is_ok() {
            assert!(pages_max > 1, "{}: it never crashed", case.endpoint.id);
            break;
        }
        let cursor = first
            .sink
            .pages
            .lock()
            .expect("no panic")
            .last()
            .map(|page| page.1.clone());
        let second = capture(case, &double, PassKind::First, cursor, None).await;
        assert_eq!(
            second.result,
            Ok(()),
            "{} after {pages_max}",
            case.endpoint.id
        );
        let all: BTreeSet<_> = first.ids.union(&second.ids).cloned().collect();
        let whole = Captured {
            ids: all,
            answers: first.answers + second.answers,
            ..second
        };
        is_whole(case, &whole, Fault::None);
        // who we are, and the requests under way: a group of leaves for each root
        let at_once = case.offer.roots.len() * 8;
        let repeated = double.repeated() as usize;
        assert!(
            repeated <= 1 + at_once,
            "{}: {repeated} repeated",
            case.endpoint.id
        );
    }
}
