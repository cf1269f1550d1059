use evidence_format::coverage::EndReason;

use super::samples::*;
use super::*;
use crate::incident::PivotKind;

fn items(steps: &[CaptureStep]) -> Vec<&str> {
    steps.iter().map(|step| step.item.as_str()).collect()
}

fn passes(plan: &CapturePlan) -> Vec<(&str, Vec<&str>)> {
    plan.passes
        .iter()
        .map(|pass| (pass.source.as_str(), items(&pass.steps)))
        .collect()
}

fn pass<'p>(plan: &'p CapturePlan, name: &str) -> &'p CapturePass {
    plan.passes
        .iter()
        .find(|pass| pass.source.as_str() == name)
        .expect("it is planned")
}

#[test]
fn most_volatile_step_comes_first_then_cheapest() {
    let play = play();
    let plan = plan(&ask(&play), &sources()).expect("a plan");
    let east = "aws_cloudtrail-111122223333-us-east-1";
    let west = "aws_cloudtrail-111122223333-eu-west-1";
    let digest =
        &evidence_format::digest::Digest::of(b"access-key=AKIAIOSFODNN7EXAMPLE").hex()[..8];
    let (pivot_east, pivot_west) = (
        format!("{east}-access-key-{digest}"),
        format!("{west}-access-key-{digest}"),
    );
    let expected = [
        ("host", vec!["host-sockets", "host-packages"]),
        ("kubernetes", vec!["kubernetes-events-prod"]),
        ("aws_cloudtrail", vec![&pivot_west, &pivot_east, west, east]),
    ];
    assert_eq!(passes(&plan), expected);
    assert_eq!(plan.pivots_wanted, [PivotKind::User]);
    assert_eq!(plan.deadline_at, time("2026-11-23T13:56:17Z"));
    let json = serde_json::to_string(&plan).expect("JSON");
    assert_eq!(
        serde_json::from_str::<CapturePlan>(&json).expect("it reads back"),
        plan
    );
}

#[test]
fn table_matches_sample() {
    let play = play();
    let mut ask = ask(&play);
    ask.budget.bytes_max = 1 << 30;
    ask.scope.pivots.push(pivot("token=1234"));
    ask.scope.regions = vec!["us-east-1".to_owned(), "us-east-9".to_owned()];
    ask.scope.except = vec![];
    assert_eq!(
        render_table(&plan(&ask, &sources()).expect("a plan"), usize::MAX),
        include_str!("samples/table.txt")
    );
    let narrow = render_table(&plan(&ask, &sources()).expect("a plan"), 80);
    assert_eq!(narrow, include_str!("samples/table_80.txt"));
}

#[test]
fn unavailable_source_has_its_reason() {
    let play = play();
    let mut sources = sources();
    // the host's packages are asked nowhere
    sources[3].readiness.offers.remove(0);
    sources[2].readiness = Readiness::of_source(
        source("kubernetes"),
        ReadinessState::NotConfigured,
        Vec::new(),
    );
    let mut ask = ask(&play);
    ask.scope.except = vec![source("aws_cloudtrail")];
    let plan = plan(&ask, &sources).expect("a plan");
    let why: Vec<_> = plan
        .unavailable
        .iter()
        .map(|u| (u.source.as_str(), u.why))
        .collect();
    assert_eq!(
        why,
        [
            ("aws_cloudtrail", UnavailableReason::Scope),
            ("entra", UnavailableReason::NotInThisVersion),
            ("host", UnavailableReason::NoTargets),
            ("kubernetes", UnavailableReason::NotConfigured),
            ("okta", UnavailableReason::Unavailable),
        ]
    );
    assert_eq!(plan.unavailable[4].problems, ["grant okta.logs.read"]);
    // the host is captured, but for its packages
    let not_captured = ["aws_cloudtrail", "entra", "kubernetes", "okta"].map(source);
    assert_eq!(plan.sources_not_captured(), not_captured);
    assert_eq!(plan.pivots_unused, ask.scope.pivots);
}

#[test]
fn scope_may_add_sources_but_rejects_unknown_ones() {
    let mut play = play();
    play.sources = vec![source("okta")];
    let mut ask = ask(&play);
    ask.scope.only = vec![source("kubernetes")];
    let planned = plan(&ask, &sources()).expect("a plan");
    assert_eq!(
        passes(&planned),
        [("kubernetes", vec!["kubernetes-events-prod"])]
    );
    assert_eq!(
        (planned.unavailable.len(), planned.unavailable[0].why),
        (1, UnavailableReason::Scope)
    );
    ask.scope = PlanScope {
        except: vec![source("kuberntes")],
        ..PlanScope::default()
    };
    let refused = plan(&ask, &sources()).expect_err("misspelled").to_string();
    let expected = "no source is called kuberntes (did you mean \"kubernetes\"?); there are: aws_cloudtrail, host, kubernetes, okta";
    assert_eq!(refused, expected);
}

#[test]
fn filters_narrow_only_sources_with_matching_target() {
    let play = play();
    let mut ask = ask(&play);
    ask.scope = PlanScope {
        regions: vec!["eu-west-1".to_owned()],
        ..PlanScope::default()
    };
    let planned = plan(&ask, &sources()).expect("a plan");
    assert_eq!(
        items(&pass(&planned, "aws_cloudtrail").steps),
        ["aws_cloudtrail-111122223333-eu-west-1"]
    );
    assert_eq!(
        pass(&planned, "host").steps.len(),
        2,
        "a host has no region"
    );
    assert!(
        planned
            .notices
            .iter()
            .any(|n| n.text == "asked at 1 of 2 places: the scope names the region")
    );
    ask.scope = PlanScope {
        accounts: vec!["999".to_owned()],
        ..PlanScope::default()
    };
    let planned = plan(&ask, &sources()).expect("a plan");
    assert_eq!(
        planned.steps().count(),
        5,
        "a filter that fits nothing takes nothing away"
    );
    assert!(
        planned
            .notices
            .iter()
            .any(|n| n.text == "no target is of account 999: it narrows nothing")
    );
}

#[test]
fn rejects_empty_and_future_windows() {
    let play = play();
    let mut ask = ask(&play);
    for (from, until) in [
        ("2026-11-23T13:00:00Z", "2026-11-23T13:00:00Z"),
        ("2026-11-23T13:00:00Z", "2026-11-22T13:00:00Z"),
        ("2026-11-24T13:00:00Z", "2026-11-25T13:00:00Z"),
    ] {
        ask.scope.window = Some(TimeWindow {
            from: time(from),
            until: time(until),
        });
        assert!(
            matches!(plan(&ask, &sources()), Err(PlanError::EmptyWindow { .. })),
            "{from} {until}"
        );
    }
    ask.scope.window = Some(TimeWindow {
        from: time("2026-11-20T00:00:00Z"),
        until: time("2026-11-21T00:00:00Z"),
    });
    let planned = plan(&ask, &sources()).expect("a plan");
    let events = &pass(&planned, "kubernetes").steps[0];
    assert_eq!(
        (events.left_out, events.effective),
        (Some(LeftOutReason::Expired), None)
    );
    assert_eq!(
        events.clipped.as_deref(),
        Some("nothing is left of it: kept for 1 h")
    );
}

#[test]
fn budget_serves_most_volatile_first_and_leaves_out_rest() {
    let play = play();
    let mut ask = ask(&play);
    ask.scope = PlanScope::default();
    ask.budget.bytes_max = 1 << 20;
    let planned = plan(&ask, &sources()).expect("a plan");
    let left_out: Vec<_> = planned
        .left_out()
        .map(|step| {
            (
                step.item.as_str(),
                step.left_out,
                step.limits.item_bytes_max,
            )
        })
        .collect();
    assert_eq!(
        left_out,
        [
            ("host-packages", Some(LeftOutReason::Bytes), 0),
            (
                "aws_cloudtrail-111122223333-us-east-1",
                Some(LeftOutReason::Bytes),
                0
            ),
        ],
        "each source has the budget, and there is room for one step"
    );
    assert!(planned.steps().all(|step| {
        step.limits.object_bytes_max <= step.limits.item_bytes_max || step.left_out.is_some()
    }));
}

#[test]
fn estimate_orders_and_warns_but_never_limits() {
    let play = play();
    let mut ask = ask(&play);
    ask.scope = PlanScope::default();
    ask.budget.bytes_max = 100 << 20;
    let with_estimates = plan(&ask, &sources()).expect("a plan");
    let mut unknown = sources();
    for offer in unknown.iter_mut().flat_map(|s| &mut s.readiness.offers) {
        offer.requests = None;
    }
    let without = plan(&ask, &unknown).expect("a plan");
    let limits = |plan: &CapturePlan| -> BTreeMap<String, (StepLimits, bool)> {
        plan.steps()
            .map(|step| {
                (
                    step.item.to_string(),
                    (step.limits, step.left_out.is_none()),
                )
            })
            .collect()
    };
    assert_eq!(limits(&with_estimates), limits(&without));
    let cloudtrail = pass(&with_estimates, "aws_cloudtrail");
    assert_eq!(
        items(&cloudtrail.steps),
        [
            "aws_cloudtrail-111122223333-eu-west-1",
            "aws_cloudtrail-111122223333-us-east-1"
        ],
        "the cheaper one comes first"
    );
    let warnings: Vec<_> = with_estimates
        .notices
        .iter()
        .filter(|notice| notice.text.contains("expected"))
        .map(|notice| notice.text.as_str())
        .collect();
    assert_eq!(
        warnings,
        [
            "aws_cloudtrail-111122223333-us-east-1: about 1500 MB expected, limit is 52 MB: \
             narrow the scope, or raise bytes-max"
        ]
    );
}

#[test]
fn plan_of_one_source_has_the_numbers_of_the_plan_of_all() {
    let play = play();
    let mut ask = ask(&play);
    let all = plan(&ask, &sources()).expect("a plan");
    for planned in sources() {
        let source = planned.readiness.source.clone();
        ask.scope.only = vec![source.clone()];
        let one = plan(&ask, &[planned]).expect("a plan");
        let of = |plan: &CapturePlan| {
            let passes = plan.passes.iter();
            passes
                .filter(|pass| pass.source == source)
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&one), of(&all));
    }
}

#[test]
fn refused_offer_is_a_gap_while_others_of_its_source_go_on() {
    let play = play();
    let mut sources = sources();
    let refused = &mut sources[3].readiness.offers[1];
    refused.state = ReadinessState::Refused;
    refused.problems = vec!["procfs: denied".to_owned()];
    refused.missing_grants = vec!["CAP_SYS_PTRACE".to_owned()];
    let planned = plan(&ask(&play), &sources).expect("a plan");
    let host = pass(&planned, "host");
    let steps: Vec<_> = host
        .steps
        .iter()
        .map(|step| (step.item.as_str(), step.left_out, step.problem.as_deref()))
        .collect();
    assert_eq!(
        steps,
        [
            (
                "host-sockets",
                Some(LeftOutReason::Refused),
                Some("procfs: denied; grant CAP_SYS_PTRACE")
            ),
            ("host-packages", None, None),
        ]
    );
    let offer = Offer {
        settles: CLOUDTRAIL.settles,
        ..SOCKETS
    };
    let again = settle_passes(host, &[offer], planned.planned_at, 2);
    assert_eq!(
        (items(&again[0].pass.steps), again[0].pass.steps[0].left_out),
        (vec!["host-sockets"], None),
        "the permission may have been granted meanwhile"
    );
    assert!(again[0].pass.steps[0].limits.item_bytes_max > 0);
    assert!(
        render_table(&planned, usize::MAX)
            .contains("host: host-sockets (refused): procfs: denied; grant CAP_SYS_PTRACE")
    );
}

#[test]
fn offer_of_an_organisation_is_asked_once() {
    let play = play();
    let targets = vec![
        at(&SOCKETS, Some("acme"), None),
        at(&PACKAGES, Some("acme-web"), None),
        at(&PACKAGES, Some("acme-api"), None),
    ];
    let planned = plan(&ask(&play), &[planned("host", &HOST, targets)]).expect("a plan");
    assert_eq!(
        items(&pass(&planned, "host").steps),
        [
            "host-sockets-acme",
            "host-packages-acme-api",
            "host-packages-acme-web"
        ]
    );
}

#[test]
fn item_names_are_sanitized_and_distinct() {
    let play = play();
    let ask = ask(&play);
    let long = "x".repeat(300);
    let names = [
        "Prod",
        "prod",
        "prod ",
        "../prod",
        "",
        "\u{1b}",
        &long,
        &format!("{long}y"),
    ];
    let targets = names
        .iter()
        .map(|name| at(&EVENTS, Some(name), None))
        .collect();
    let plan = plan(&ask, &clusters(targets)).expect("a plan");
    let found: std::collections::BTreeSet<_> =
        plan.steps().map(|step| step.item.as_str()).collect();
    assert_eq!(found.len(), names.len(), "{found:?}");
    assert!(
        found.contains("kubernetes-events-prod"),
        "a name that fits stays as it is"
    );
    let made = found
        .iter()
        .filter(|name| name.starts_with("kubernetes-events-prod-"))
        .count();
    assert_eq!(made, 3, "others do not take it: {found:?}");
}

#[test]
fn target_cannot_take_generated_name() {
    let play = play();
    let of = |names: &[&str]| {
        let targets = names
            .iter()
            .map(|name| at(&EVENTS, Some(name), None))
            .collect();
        let plan = plan(&ask(&play), &clusters(targets)).expect("a plan");
        plan.steps()
            .map(|step| step.item.to_string())
            .collect::<Vec<_>>()
    };
    let made = of(&["Prod"]).remove(0);
    let taken = made
        .strip_prefix("kubernetes-events-")
        .expect("the target's part");
    let mut both = of(&["Prod", taken]);
    both.sort();
    assert_eq!(both, [made.clone(), format!("{made}-2")]);
}

#[test]
fn sealed_plan_has_every_step() {
    let play = play();
    let planned = plan(&ask(&play), &sources()).expect("a plan");
    let host = pass(&planned, "host");
    let sealed = host.sealed_plan(Some(900));
    assert_eq!(sealed.steps.len(), 2);
    assert_eq!(
        (&sealed.steps[0].item, sealed.deadline_seconds),
        (&host.steps[0].item, Some(900))
    );
    assert_eq!(
        sealed.steps[0].item_bytes_max,
        Some(host.steps[0].limits.item_bytes_max)
    );
    let narrow = CaptureStep {
        pivot: Some("node=wrk-1".parse().expect("a pivot")),
        ..host.steps[0].clone()
    };
    let what = format!("{}; only node=wrk-1", narrow.what);
    assert_eq!(narrow.sealed().what, what);
}

#[test]
fn steps_beyond_bundle_limit_make_more_passes() {
    let play = play();
    let targets = (0..ITEMS_MAX + 1)
        .map(|n| at(&EVENTS, Some(&format!("c{n}")), None))
        .collect();
    let plan = plan(
        &PlanRequest {
            first_number: 7,
            ..ask(&play)
        },
        &clusters(targets),
    )
    .expect("a plan");
    let sizes: Vec<_> = plan
        .passes
        .iter()
        .map(|pass| (pass.number, pass.steps.len()))
        .collect();
    assert_eq!(sizes, [(7, ITEMS_MAX), (8, 1)]);
    let targets = (0..STEPS_MAX + 1)
        .map(|n| at(&EVENTS, Some(&n.to_string()), None))
        .collect();
    let refused = super::plan(&ask(&play), &clusters(targets));
    assert_eq!(
        refused,
        Err(PlanError::TooManySteps {
            steps: STEPS_MAX + 1
        })
    );
}

#[test]
fn settle_passes_repeat_what_arrives_late() {
    let play = play();
    let planned = plan(&ask(&play), &sources()).expect("a plan");
    let sealed_at = time("2026-11-23T14:00:00Z");
    let first = pass(&planned, "aws_cloudtrail");
    let due = settle_passes(first, &[CLOUDTRAIL, EVENTS], sealed_at, 2);
    let times: Vec<_> = due
        .iter()
        .map(|due| (due.pass.number, due.pass.kind, due.due_at))
        .collect();
    let expected = [
        (2, time("2026-11-23T14:15:00Z")),
        (3, time("2026-11-24T14:00:00Z")),
    ];
    assert_eq!(
        times,
        expected.map(|(number, at)| (number, PassKind::Settle, at))
    );
    let until = planned.window.until;
    let [near, whole] = [&due[0].pass.steps, &due[1].pass.steps];
    assert_eq!(items(near), items(&first.steps));
    assert!(near.iter().all(|step| step.asked
        == Some(TimeWindow {
            from: time("2026-11-23T12:41:17Z"),
            until
        })));
    assert!(
        whole
            .iter()
            .all(|step| step.asked == Some(planned.window) && step.cursor.is_none())
    );
    assert!(settle_passes(pass(&planned, "host"), &[SOCKETS, PACKAGES], sealed_at, 2).is_empty());
    let open_files = Offer {
        item: "host-files",
        settles: CLOUDTRAIL.settles,
        ..SOCKETS
    };
    let of_another = settle_passes(
        pass(&planned, "host"),
        &[open_files, SOCKETS, PACKAGES],
        sealed_at,
        2,
    );
    assert_eq!(
        of_another,
        [],
        "an offer by the same interface says nothing about these"
    );
    let late = settle_passes(
        pass(&planned, "kubernetes"),
        &[EVENTS],
        time("2026-11-24T00:00:00Z"),
        2,
    );
    assert_eq!(
        late[0].pass.steps[0].left_out,
        Some(LeftOutReason::Expired),
        "what a late settle pass asks for is deleted"
    );
}

#[test]
fn continuation_resumes_where_deadline_cut() {
    let play = play();
    let planned = plan(&ask(&play), &sources()).expect("a plan");
    let first = pass(&planned, "aws_cloudtrail");
    let ends = [
        EndReason::Complete,
        EndReason::Deadline,
        EndReason::Forbidden,
    ];
    let outcomes: Vec<StepOutcome> = first.steps[..3]
        .iter()
        .zip(ends)
        .map(|(step, ended)| StepOutcome {
            item: step.item.clone(),
            ended,
            cursor: Some("page 7".to_owned()),
        })
        .collect();
    let now = time("2026-11-23T14:00:00Z");
    let rest = continuation(first, &outcomes, now, 5).expect("two steps are left");
    assert_eq!((rest.number, rest.kind), (5, PassKind::Continuation));
    assert_eq!(
        items(&rest.steps),
        [first.steps[1].item.as_str(), first.steps[3].item.as_str()]
    );
    let cursors: Vec<_> = rest
        .steps
        .iter()
        .map(|step| step.cursor.as_deref())
        .collect();
    assert_eq!(cursors, [Some("page 7"), None], "the last had not begun");
    let done = |step: &CaptureStep| StepOutcome {
        item: step.item.clone(),
        ended: EndReason::Complete,
        cursor: None,
    };
    let outcomes: Vec<StepOutcome> = rest.steps.iter().map(done).collect();
    assert_eq!(continuation(&rest, &outcomes, now, 6), None);
    let mut spent = first.clone();
    spent.steps[3].left_out = Some(LeftOutReason::Bytes);
    let throttled = StepOutcome {
        ended: EndReason::Throttled,
        ..outcomes[0].clone()
    };
    let left = continuation(&spent, &[throttled], now, 6).expect("three steps are left");
    assert_eq!(
        items(&left.steps),
        items(&first.steps[..3]),
        "what was over budget stays a gap; a rate limit cuts too"
    );
    let again = continuation(&rest, &[], now, 6).expect("nothing had begun");
    assert_eq!(
        again.steps[0].cursor.as_deref(),
        Some("page 7"),
        "a cursor is kept until it is used"
    );
}

/// A source that accepts requests and never answers.
#[test]
fn continuation_that_gets_no_further_is_the_last() {
    let play = play();
    let planned = plan(&ask(&play), &sources()).expect("a plan");
    let first = pass(&planned, "aws_cloudtrail");
    let cut = |step: &CaptureStep| StepOutcome {
        item: step.item.clone(),
        ended: EndReason::Deadline,
        cursor: step.cursor.clone(),
    };
    let now = time("2026-11-23T14:00:00Z");
    let outcomes: Vec<StepOutcome> = first.steps.iter().map(cut).collect();
    let again = continuation(first, &outcomes, now, 5).expect("it may have been down for a while");
    let mut outcomes: Vec<StepOutcome> = again.steps.iter().map(cut).collect();
    assert_eq!(continuation(&again, &outcomes, now, 6), None);
    outcomes[0].cursor = Some("page 1".to_owned());
    assert!(continuation(&again, &outcomes, now, 6).is_some());
}

/// The largest integer in a document.
fn largest(json: &serde_json::Value) -> u64 {
    match json {
        serde_json::Value::Array(list) => list.iter().map(largest).max().unwrap_or(0),
        serde_json::Value::Object(object) => object.values().map(largest).max().unwrap_or(0),
        other => other.as_u64().unwrap_or(0),
    }
}

#[test]
fn unlimited_budget_can_be_sealed() {
    let play = play();
    let mut ask = ask(&play);
    ask.budget = CaptureBudget {
        bytes_max: u64::MAX,
        deadline_seconds: u64::MAX,
        object_bytes_max: u64::MAX,
    };
    let mut sources = sources();
    sources[0]
        .readiness
        .offers
        .push(region("111122223333", "ap-south-1", Some(u64::MAX)));
    let plan = plan(&ask, &sources).expect("a plan");
    assert_eq!(
        largest(&serde_json::to_value(&plan).expect("JSON")),
        JSON_INTEGER_MAX
    );
    assert_eq!(plan.deadline_at, time("9998-12-31T23:59:59Z"));
}
