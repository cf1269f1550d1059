//! Every endpoint of every table, with every fault.

use std::collections::BTreeSet;

use domain::incident::PassKind;
use evidence_format::coverage::{EndReason, GapReason};
use futures::future::join_all;

use super::{Captured, Case, capture, cases};
use crate::loop_guard::EMPTY_PAGES_MAX;
use crate::rest::double::{Double, Fault, PAGES};
use crate::rest::{Paging, endpoints_of};

async fn run(case: Case, fault: Fault) -> (Captured, Double) {
    let double = Double::start(endpoints_of(case.table), case.endpoint, fault).await;
    let captured = capture(case, &double, PassKind::First, None, None).await;
    (captured, double)
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
            // not the hours of the skew; hundreds of children take their time
            assert!(captured.seconds < 600, "{} s", captured.seconds);
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
    // rows of one operation differ in what they ask for only
    let mut operations = BTreeSet::new();
    let one_each = |case: &Case| case.is_json() && operations.insert(case.endpoint.id);
    for case in cases().into_iter().filter(one_each) {
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

/// Ever-new tokens are no progress: only records are.
#[tokio::test(start_paused = true)]
async fn listings_whose_pages_stay_empty_end() {
    let fault = Fault::NextForEver;
    for_each(fault, Case::has_tokens, |case, captured, double| {
        if case.endpoint.is_polled {
            is_whole(case, &captured, fault);
        } else {
            is_malformed(case, &captured);
            let what = captured.result.expect_err("malformed").what;
            assert!(what.contains("pages in a row have no record"), "{what}");
        }
        let pages_max = PAGES as u32 + EMPTY_PAGES_MAX;
        assert!(
            double.asked_focus() <= pages_max * double.listings(),
            "{}",
            double.asked_focus()
        );
    })
    .await;
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
    // each place of a short listing, and some of a long one
    let places = (1..24).chain((3_u32..).map(|n| n.pow(3)));
    for pages_max in places.map(|place| place as usize) {
        let double = Double::start(endpoints_of(case.table), case.endpoint, Fault::None).await;
        let first = capture(case, &double, PassKind::First, None, Some(pages_max)).await;
        if first.result.is_ok() {
            // Whoever is not asked who we are has one page.
            let is_short = case.table.me().is_none() && !case.has_pages();
            assert!(
                pages_max > 1 || is_short,
                "{}: it never crashed",
                case.endpoint.id
            );
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
