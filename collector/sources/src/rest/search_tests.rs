//! Every row of every table that the provider answers only for some days at once, and every row that
//! filters by a pivot.

use evidence_format::coverage::TimeWindow;
use evidence_format::time::Timestamp;

use super::conformance::{Case, capture_step, cases, step};
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
            .is_some_and(|w| w.span_max_days.is_some())
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
        for pivot in case.endpoint.pivots {
            if !pivot.query.contains("{pivot}") {
                continue; // the source narrows the path itself
            }
            let double = Double::start(endpoints_of(case.table), case.endpoint, Fault::None).await;
            let mut step = step(case.offer);
            let value = ["0123abcd", "203.0.113.7", "a/b", "a/b/c"]
                .into_iter()
                .find_map(|value| format!("{}={value}", pivot.kind).parse().ok());
            step.pivot = Some(value.unwrap_or_else(|| panic!("no value of {}", pivot.kind)));
            let captured = capture_step(case, &double, &step).await;
            let id = case.endpoint.id;
            assert_eq!(captured.result, Ok(()), "{id} {}", pivot.kind);
            let fixed = pivot.query.split("{pivot}").next().unwrap_or_default();
            let targets = double.targets();
            assert!(
                targets.iter().any(|target| target.contains(fixed)),
                "{id}: {targets:?}"
            );
            tested += 1;
        }
    }
    assert!(tested >= 10, "{tested}");
}
