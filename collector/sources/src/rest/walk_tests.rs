//! What the walk does that no fault of a provider shows: windows in parts, large pages, pivots.

use domain::incident::PassKind;
use domain::plan::EvidenceLifetime;

use super::conformance::{Case, capture, capture_step, step};
use super::double::{Double, EVENTS_FROM, Fault, PAGE_RECORDS, PAGES};
use super::*;

/// A table with one offer, whose roots the test gives.
pub(super) struct OneOffer(pub(super) &'static [&'static RestOffer]);

static ME: Endpoint = Endpoint {
    id: "test:me",
    path: "/me",
    ..Endpoint::GET
};

#[async_trait::async_trait]
impl RestSource for OneOffer {
    fn name(&self) -> &'static str {
        "test"
    }

    fn provider(&self) -> &'static str {
        "test"
    }

    fn description(&self) -> &'static str {
        ""
    }

    fn offers(&self) -> &'static [&'static RestOffer] {
        self.0
    }

    fn me(&self) -> Option<&'static Endpoint> {
        Some(&ME)
    }

    fn identity(&self, _: &serde_json::Value) -> Option<String> {
        None
    }

    fn not_configured(&self, _: &crate::config::SourcesConfig) -> Option<&'static str> {
        None
    }

    async fn targets(
        &self,
        _: &AccessRequest<'_>,
    ) -> Vec<Result<domain::plan::CaptureTarget, String>> {
        Vec::new()
    }

    async fn open(
        &self,
        _: &domain::plan::CaptureTarget,
        _: &AccessRequest<'_>,
    ) -> Result<ProviderAccess, String> {
        Err("the tests replace it".to_owned())
    }
}

const WINDOW: WindowQuery = WindowQuery {
    chains: 4,
    ..WindowQuery::PLAIN
};
const EVENTS: BodyShape = BodyShape::Events {
    list: "/events",
    time: "/at",
    id: "/id",
};

/// All events of the double's window are in the answers of `row`, in `parts` of which each is
/// smaller than the whole.
fn case(table: &'static OneOffer) -> Case {
    let offer = table.0[0];
    Case {
        table,
        offer,
        endpoint: offer.roots[0],
        is_root: true,
    }
}

static CUT_OFF: Endpoint = Endpoint {
    id: "test:runs",
    path: "/runs?created={from}..{until}",
    paging: Paging::Link,
    window: Some(WindowQuery {
        results_max: Some(PAGE_RECORDS * PAGES - 1),
        until_inclusive: true,
        ..WindowQuery::PLAIN
    }),
    declared: Some(DeclaredCount::InAll("/total")),
    body: EVENTS,
    ..Endpoint::GET
};
static CUT_OFF_OFFER: RestOffer = RestOffer {
    item: "test-runs",
    lifetime: EvidenceLifetime::Forever,
    roots: &[&CUT_OFF],
    ..RestOffer::STATE
};
static CUT_OFF_TABLE: OneOffer = OneOffer(&[&CUT_OFF_OFFER]);

#[tokio::test(start_paused = true)]
async fn window_with_too_many_results_is_halved() {
    let double = Double::start(vec![&CUT_OFF, &ME], &CUT_OFF, Fault::ObeysWindow).await;
    let captured = capture(case(&CUT_OFF_TABLE), &double, PassKind::First, None, None).await;
    assert_eq!(captured.result, Ok(()));
    assert_eq!(captured.ids.len() as u64, PAGE_RECORDS * PAGES);
    assert!(double.listings() >= 3, "the whole and its halves");
}

#[tokio::test(start_paused = true)]
async fn provider_that_ignores_the_window_is_not_asked_for_ever() {
    let double = Double::start(vec![&CUT_OFF, &ME], &CUT_OFF, Fault::None).await;
    let captured = capture(case(&CUT_OFF_TABLE), &double, PassKind::First, None, None).await;
    let incomplete = captured.result.expect_err("not all can be had");
    assert!(incomplete.what.contains("test:runs"), "{incomplete:?}");
    assert!(double.asked_focus() < 50, "{}", double.asked_focus());
}

static DENSE: Endpoint = Endpoint {
    id: "test:log",
    path: "/log?since={from}&until={until}",
    paging: Paging::Link,
    window: Some(WindowQuery {
        polling: Some("/log?since={from}&order=ASCENDING"),
        ..WINDOW
    }),
    body: EVENTS,
    pivots: &[PivotQuery::by(
        domain::incident::PivotKind::User,
        "&filter=user+eq+%22{pivot}%22",
    )],
    ..Endpoint::GET
};
static DENSE_OFFER: RestOffer = RestOffer {
    item: "test-log",
    lifetime: EvidenceLifetime::Days(90),
    roots: &[&DENSE],
    ..RestOffer::STATE
};
static DENSE_TABLE: OneOffer = OneOffer(&[&DENSE_OFFER]);

#[tokio::test(start_paused = true)]
async fn dense_window_is_walked_in_parts_at_the_same_time() {
    let double = Double::start(vec![&DENSE, &ME], &DENSE, Fault::DenseWindow).await;
    let captured = capture(case(&DENSE_TABLE), &double, PassKind::First, None, None).await;
    assert_eq!(captured.result, Ok(()));
    assert_eq!(captured.ids.len() as u64, 3600, "an event for each second");
    assert_eq!(double.listings(), 5, "the whole, and four parts");
}

#[tokio::test(start_paused = true)]
async fn settle_pass_polls_and_ends_with_an_empty_page() {
    let double = Double::start(vec![&DENSE, &ME], &DENSE, Fault::NextForEver).await;
    let captured = capture(case(&DENSE_TABLE), &double, PassKind::Settle, None, None).await;
    assert_eq!(captured.result, Ok(()));
    assert_eq!(captured.ids.len() as u64, PAGE_RECORDS * PAGES);
    let targets = double.targets();
    assert!(
        targets.iter().all(|target| !target.contains("until=")),
        "{targets:?}"
    );
    assert_eq!(double.asked_focus(), PAGES as u32 + 1);
}

#[tokio::test(start_paused = true)]
async fn pivot_narrows_the_request_and_cannot_end_its_filter() {
    let double = Double::start(vec![&DENSE, &ME], &DENSE, Fault::None).await;
    let mut step = step(&DENSE_OFFER);
    step.pivot = Some("user=o\"brien".parse().expect("a pivot"));
    let captured = capture_step(case(&DENSE_TABLE), &double, &step).await;
    assert_eq!(captured.result, Ok(()));
    let targets = double.targets();
    let filter = "filter=user+eq+%22o%5C%22brien%22";
    assert!(
        targets.iter().any(|target| target.contains(filter)),
        "{targets:?}"
    );
}

static SORTED: Endpoint = Endpoint {
    id: "test:deployments",
    path: "/deployments",
    paging: Paging::Link,
    newest_first: Some("/created_at"),
    body: BodyShape::Objects {
        list: "",
        id: "/id",
        version: "",
        name: "",
    },
    ..Endpoint::GET
};
static SORTED_OFFER: RestOffer = RestOffer {
    item: "test-deployments",
    lifetime: EvidenceLifetime::Forever,
    roots: &[&SORTED],
    ..RestOffer::STATE
};
static SORTED_TABLE: OneOffer = OneOffer(&[&SORTED_OFFER]);

#[tokio::test(start_paused = true)]
async fn sorted_list_ends_with_the_first_page_from_before_the_window() {
    let double = Double::start(vec![&SORTED, &ME], &SORTED, Fault::None).await;
    let mut step = step(&SORTED_OFFER);
    let window = step.effective.as_mut().expect("a window");
    // the newest record of the second page is 1,800 seconds after the first event
    let from = i128::from(EVENTS_FROM + 1801) * 1_000_000_000;
    window.from = evidence_format::time::Timestamp::from_unix_nanoseconds(from).expect("in range");
    let captured = capture_step(case(&SORTED_TABLE), &double, &step).await;
    assert_eq!(captured.result, Ok(()));
    assert_eq!(captured.ids.len() as u64, 2 * PAGE_RECORDS);
    assert_eq!(double.asked_focus(), 2, "of {PAGES} pages");
}

static LOG: Endpoint = Endpoint {
    id: "test:podLog",
    path: "/pods/{pod}/log",
    body: BodyShape::Lines,
    ..Endpoint::GET
};
static PODS: Endpoint = Endpoint {
    id: "test:pods",
    path: "/pods",
    body: BodyShape::Objects {
        list: "/items",
        id: "/name",
        version: "",
        name: "",
    },
    children: &[ChildEndpoint {
        takes: &[("pod", ValueFrom::Record("/name"))],
        ..ChildEndpoint::of(&LOG)
    }],
    ..Endpoint::GET
};
static PODS_OFFER: RestOffer = RestOffer {
    item: "test-pods",
    roots: &[&PODS],
    ..RestOffer::STATE
};
static PODS_TABLE: OneOffer = OneOffer(&[&PODS_OFFER]);

#[tokio::test(start_paused = true)]
async fn page_with_thousands_of_children_keeps_the_cursor_small() {
    let double = Double::start(vec![&PODS, &LOG, &ME], &PODS, Fault::Records(1500)).await;
    let captured = capture(case(&PODS_TABLE), &double, PassKind::First, None, None).await;
    assert_eq!(captured.result, Ok(()));
    assert_eq!(captured.ids.len(), 1500);
    let logs = double
        .targets()
        .iter()
        .filter(|target| target.ends_with("/log"))
        .count();
    assert_eq!(logs, 1500, "each once");
    assert!(
        double.asked_focus() > 1,
        "the page is asked again for the rest"
    );
    let longest = captured.cursor_bytes_max();
    assert!(longest < 48 << 10, "{longest}");
}

#[test]
fn events_begin_where_the_window_does() {
    assert_eq!(EVENTS_FROM % 3600, 0);
}
