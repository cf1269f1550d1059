//! Every row of every table that the provider answers only for some days at once, and every row that
//! filters by a pivot.

use domain::incident::PivotKind;
use evidence_format::coverage::{GapReason, TimeWindow};
use evidence_format::time::Timestamp;

use super::conformance::{Case, capture_step, cases, pivot, step};
use super::double::{Double, Fault};
use super::endpoints_of;

const DAY: i128 = 86_400_000_000_000;

/// The times in the query of `target`, in nanoseconds.
fn times_in(target: &str) -> Vec<i128> {
    let url = url::Url::parse(&format!("http://x{target}")).expect("a URL");
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    values
        .filter_map(|value| Timestamp::parse_lenient(&value))
        .map(|time| time.unix_nanoseconds())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn windows_that_are_too_long_are_asked_for_in_parts() {
    let limited = |case: &Case| {
        case.endpoint
            .window
            .is_some_and(|w| w.span_max_days.is_some() && !case.endpoint.only_in_search)
    };
    let mut tested = 0;
    for case in cases().into_iter().filter(limited) {
        let query = case.endpoint.window.expect("a window");
        let span = i128::from(query.span_max_days.expect("a limit")) * DAY;
        assert_eq!(
            query.polling, None,
            "{}: a poll has no end",
            case.endpoint.id
        );
        let double = Double::start(endpoints_of(case.table), case.endpoint, Fault::None).await;
        let mut step = step(case.offer);
        let until = step.effective.expect("a window").until;
        let from = until.unix_nanoseconds() - span * 5 / 2;
        let window = TimeWindow {
            from: Timestamp::from_unix_nanoseconds(from).expect("in range"),
            until,
        };
        (step.asked, step.effective) = (Some(window), Some(window));
        let captured = capture_step(case, &double, &step).await;
        assert_eq!(captured.result, Ok(()), "{}", case.endpoint.id);
        let targets = double.targets();
        let targets = targets
            .iter()
            .filter_map(|text| text.split_once(' '))
            .map(|(_, t)| t);
        let mut parts: Vec<Vec<i128>> = targets
            .filter(|target| !target.contains("after=p"))
            .map(times_in)
            .filter(|times| times.len() == 2)
            .collect();
        parts.sort();
        parts.dedup();
        assert!(parts.len() >= 3, "{}: {parts:?}", case.endpoint.id);
        assert_eq!(parts[0][0], from, "{}", case.endpoint.id);
        for part in &parts {
            assert!(part[1] - part[0] <= span, "{}: {part:?}", case.endpoint.id);
        }
        let gaps = parts.windows(2).map(|pair| pair[1][0] - pair[0][1]);
        assert!(
            gaps.clone().all(|gap| gap <= DAY / 86_400),
            "{}",
            case.endpoint.id
        );
        tested += 1;
    }
    assert!(tested >= 3, "GitLab's audit events have such windows");
}

#[tokio::test(start_paused = true)]
async fn pivots_narrow_their_rows_wherever_they_are() {
    let mut tested = 0;
    for case in cases() {
        for query in case.endpoint.pivots {
            if !query.query.contains("{pivot") {
                continue; // the path itself is narrowed
            }
            let double = Double::start(endpoints_of(case.table), case.endpoint, Fault::None).await;
            let mut step = step(case.offer);
            step.pivot = Some(pivot(query.kind));
            let captured = capture_step(case, &double, &step).await;
            let id = case.endpoint.id;
            assert_eq!(captured.result, Ok(()), "{id} {}", query.kind);
            let fixed = query.query.split("{pivot").next().unwrap_or_default();
            let targets = double.targets();
            assert!(
                targets
                    .iter()
                    .any(|target| target.replace("\\\"", "\"").contains(fixed)),
                "{id}: {targets:?}"
            );
            tested += 1;
        }
    }
    assert!(tested >= 10, "{tested}");
}

/// GitHub and GitLab compare whole hashes.
#[tokio::test(start_paused = true)]
async fn abbreviated_commit_is_a_gap_and_is_not_asked_for() {
    let by_commit = |case: &Case| {
        let mut pivots = case.endpoint.pivots.iter();
        pivots.any(|query| query.kind == PivotKind::Commit)
    };
    let mut tested = 0;
    for case in cases().into_iter().filter(by_commit) {
        let double = Double::start(endpoints_of(case.table), case.endpoint, Fault::None).await;
        let mut step = step(case.offer);
        step.pivot = Some("commit=b49a973".parse().expect("a pivot"));
        let captured = capture_step(case, &double, &step).await;
        let incomplete = captured.result.expect_err(case.endpoint.id);
        assert_eq!(incomplete.reason, GapReason::Unsupported);
        assert!(incomplete.what.contains("commit=b49a973"), "{incomplete:?}");
        assert_eq!(double.targets(), [""; 0]);
        tested += 1;
    }
    assert!(tested >= 4, "{tested}");
}
