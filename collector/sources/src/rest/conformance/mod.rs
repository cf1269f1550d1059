//! Runs walks of any table against a double made of the same table, with pages in memory.
//!
//! A source is tested by existing ([`faults`]): whoever adds a row needs to write nothing here. Time
//! is paused, so that waits of an hour take no time.

mod faults;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use domain::incident::{PassKind, Pivot, PivotKind};
use domain::plan::{CaptureStep, CaptureTarget, StepLimits};
use evidence_format::coverage::TimeWindow;
use evidence_format::time::Timestamp;
use evidence_format::warc;
use http::Request;
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::double::{Double, EVENTS_FROM};
use super::page::{read_page, text_at};
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

    fn me(&self) -> Option<&'static Endpoint> {
        self.table.me()
    }

    fn identity(&self, me: &Value) -> Option<String> {
        self.table.identity(me)
    }

    fn classifier(&self) -> ResponseClassifier {
        self.table.classifier()
    }

    fn throttled_wait(&self) -> Duration {
        self.table.throttled_wait()
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
            .flat_map(|row| row.placeholders())
            .map(|name| (name, "x".to_owned()));
        Ok(ProviderAccess {
            account: self.base.to_string(),
            base: self.base.clone(),
            services: Vec::new(),
            trust: Arc::default(),
            signer: Arc::new(CountingSigner::default()),
            names: names.collect(),
            redirect_hosts: Vec::new(),
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

pub(super) fn cases() -> Vec<Case> {
    let example: &dyn crate::Source = &crate::example::SOURCE;
    let sources = crate::ALL.iter().chain([&example]);
    // One table alone, for whoever writes it: all of them take minutes.
    let only = std::env::var("EXHIBIT_TABLE").ok();
    let sources = sources.filter(|one| only.as_ref().is_none_or(|only| one.name() == only));
    let tables = sources.filter_map(|source| source.table());
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
    let least = if only.is_some() { 1 } else { 20 };
    assert!(
        cases.len() >= least,
        "tables must not vanish: {}",
        cases.len()
    );
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
    let mut step = step(case.offer);
    if case.endpoint.only_in_search {
        step.pivot = case.endpoint.pivots.first().map(|query| pivot(query.kind));
    }
    capture_with(case, double, &step, cx, sink).await
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

/// A pivot of `kind`, with any value.
pub(super) fn pivot(kind: PivotKind) -> Pivot {
    let values = [
        "0123456789abcdef0123456789abcdef01234567",
        "203.0.113.7",
        "a/b",
        "a/b/c",
        ".github/workflows/a.yml",
    ];
    let pivot = values
        .iter()
        .find_map(|value| format!("{kind}={value}").parse().ok());
    pivot.unwrap_or_else(|| panic!("no value of {kind}"))
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
