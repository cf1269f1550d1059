//! What holds for every plan, whatever it is made of.

use std::collections::BTreeSet;

use evidence_format::coverage::TimeWindow;
use evidence_format::time::Timestamp;
use proptest::prelude::*;

use super::samples::*;
use super::*;

static OFFERS: [&[Offer]; 4] = [
    &HOST,
    std::slice::from_ref(&EVENTS),
    std::slice::from_ref(&CLOUDTRAIL),
    std::slice::from_ref(&OKTA),
];

fn target() -> impl Strategy<Value = CaptureTarget> {
    let name = prop_oneof![Just(None), "[a-cA-C ./]{0,3}".prop_map(Some)];
    let place = (name, prop::option::of("[12]"), prop::option::of("[ew]"));
    place.prop_map(|(name, account, region)| CaptureTarget {
        name,
        account,
        region,
        identity: None,
        access: None,
    })
}

fn state() -> impl Strategy<Value = ReadinessState> {
    prop_oneof![
        5 => Just(ReadinessState::Ready),
        1 => Just(ReadinessState::Unavailable),
        1 => Just(ReadinessState::Refused),
        1 => Just(ReadinessState::NotConfigured),
    ]
}

fn problems() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-z]{1,3}", 0..2)
}

/// Each source at most once, as in a program, with its offers in one order.
fn planned_sources() -> impl Strategy<Value = Vec<PlannedSource<'static>>> {
    let ready = (
        any::<prop::sample::Index>(),
        target(),
        state(),
        prop::option::of(0..50_000_u64),
        problems(),
    );
    let one = (
        state(),
        prop::collection::vec(ready, 0..6),
        problems(),
        any::<bool>(),
    );
    prop::collection::vec(one, OFFERS.len()).prop_map(|all| {
        let sources = OFFERS.iter().zip(all).filter(|(_, one)| one.3);
        sources
            .map(|(offers, (state, ready, problems, _))| {
                let ready = ready
                    .into_iter()
                    .map(
                        |(index, target, state, requests, problems)| OfferReadiness {
                            state,
                            requests,
                            problems,
                            ..OfferReadiness::ready(index.get(offers), target)
                        },
                    );
                PlannedSource {
                    offers,
                    readiness: Readiness::of_offers(
                        source(offers[0].source),
                        state,
                        ready.collect(),
                        problems,
                    ),
                }
            })
            .collect()
    })
}

fn scope() -> impl Strategy<Value = PlanScope> {
    let hours = prop::option::of((1..5_000_i64, 0..4_000_i64));
    let window = hours.prop_map(|hours| {
        let hour = |h: i64| {
            time("2026-11-23T13:41:17Z").unix_nanoseconds() - i128::from(h) * 3_600_000_000_000
        };
        let time = |h| Timestamp::from_unix_nanoseconds(hour(h)).expect("a time");
        hours.map(|(length, back)| TimeWindow {
            from: time(back + length),
            until: time(back - 1),
        })
    });
    let pivots = prop::sample::subsequence(
        vec![
            "access-key=AKIA1",
            "user=a",
            "user=b",
            "workload=w",
            "token=t",
        ],
        0..5,
    );
    let filter = || prop::collection::vec("[12ew]", 0..2);
    (window, pivots, filter(), filter()).prop_map(|(window, pivots, accounts, regions)| PlanScope {
        window,
        pivots: pivots.into_iter().map(pivot).collect(),
        accounts,
        regions,
        ..PlanScope::default()
    })
}

fn budget() -> impl Strategy<Value = CaptureBudget> {
    (0..1_u64 << 34, 0..5_000_u64, 0..1_u64 << 30).prop_map(
        |(bytes_max, deadline_seconds, object_bytes_max)| CaptureBudget {
            bytes_max,
            deadline_seconds,
            object_bytes_max,
        },
    )
}

/// The same in another order.
fn shuffled(sources: &[PlannedSource<'static>], seed: u64) -> Vec<PlannedSource<'static>> {
    let mut sources = sources.to_vec();
    let key =
        |text: String| evidence_format::digest::Digest::of(format!("{seed}{text}").as_bytes());
    for planned in &mut sources {
        let offers = &mut planned.readiness.offers;
        offers.sort_by_key(|offer| key(format!("{offer:?}")));
    }
    sources.sort_by_key(|planned| key(format!("{planned:?}")));
    sources
}

proptest! {
    #[test]
    fn plan_is_independent_of_order(sources in planned_sources(), scope in scope(), budget in budget(), seed: u64) {
        let play = play();
        let first = plan(&PlanRequest { scope: scope.clone(), budget, ..ask(&play) }, &sources).expect("a plan");
        let mut turned = play.clone();
        turned.sources.reverse();
        turned.pivots.reverse();
        let mut scope = scope;
        scope.pivots.reverse();
        scope.accounts.reverse();
        scope.regions.reverse();
        let second = plan(&PlanRequest { scope, budget, ..ask(&turned) }, &shuffled(&sources, seed)).expect("a plan");
        prop_assert_eq!(first, second);
    }

    #[test]
    fn windows_only_shrink(sources in planned_sources(), scope in scope(), budget in budget()) {
        let play = play();
        let ask = PlanRequest { scope, budget, ..ask(&play) };
        let plan = plan(&ask, &sources).expect("a plan");
        for step in plan.steps() {
            prop_assert!(step.asked.is_none_or(|asked| asked == plan.window));
            let Some(effective) = step.effective else {
                prop_assert!(step.asked.is_none() || step.left_out == Some(LeftOutReason::Expired) && step.clipped.is_some());
                continue;
            };
            let asked = step.asked.expect("a part of nothing");
            prop_assert!(asked.from <= effective.from && effective.from < effective.until && effective.until <= asked.until);
            prop_assert_eq!(step.clipped.is_some(), asked != effective, "a clip is said, and only a clip");
            prop_assert!(step.expires_at.is_none_or(|expires_at| expires_at >= plan.planned_at));
        }
    }

    #[test]
    fn nothing_is_omitted_silently(sources in planned_sources(), scope in scope(), budget in budget()) {
        let play = play();
        let scope = PlanScope { accounts: Vec::new(), regions: Vec::new(), ..scope };
        let plan = plan(&PlanRequest { scope, budget, ..ask(&play) }, &sources).expect("a plan");
        for PlannedSource { offers, readiness } in &sources {
            let said = |api: Option<&str>| plan.unavailable.iter().any(|unavailable| {
                unavailable.source == readiness.source
                    && (unavailable.api.as_deref() == api || unavailable.api.is_none())
            });
            for offer in *offers {
                let mut targets = readiness.offers.iter().filter(|ready| ready.offer == offer.item);
                prop_assert!(targets.next().is_some() || said(Some(offer.api)));
            }
            for ready in &readiness.offers {
                let own = plan.passes.iter().filter(|pass| pass.source == readiness.source).flat_map(|pass| &pass.steps);
                let mut whole = own.filter(|step| step.offer == ready.offer && step.target == ready.target);
                if ready.state == ReadinessState::NotConfigured {
                    let offer = offers.iter().find(|offer| offer.item == ready.offer).expect("its own");
                    prop_assert!(said(Some(offer.api)));
                } else {
                    prop_assert!(whole.any(|step| step.pivot.is_none()), "{} {:?} is not in the plan", ready.offer, ready.target);
                }
            }
        }
        let planned: BTreeSet<&SourceName> = plan.passes.iter().map(|pass| &pass.source).collect();
        let named: BTreeSet<&SourceName> = plan.unavailable.iter().map(|unavailable| &unavailable.source).collect();
        prop_assert!(play.sources.iter().all(|source| planned.contains(source) || named.contains(source)));
    }

    #[test]
    fn steps_are_ordered_uniquely_named_and_within_budget(
        sources in planned_sources(), scope in scope(), budget in budget()
    ) {
        let play = play();
        let plan = plan(&PlanRequest { scope, budget, ..ask(&play) }, &sources).expect("a plan");
        for pass in &plan.passes {
            prop_assert!(pass.steps.is_sorted_by_key(|step| step.lifetime.seconds()));
        }
        prop_assert!(plan.passes.is_sorted_by_key(|pass| pass.steps[0].lifetime.seconds()));
        let names: BTreeSet<_> = plan.steps().map(|step| &step.item).collect();
        prop_assert_eq!(names.len(), plan.steps().count());
        for pass in &plan.passes {
            let taken = || pass.steps.iter().filter(|step| step.left_out.is_none());
            prop_assert!(taken().map(|step| step.limits.item_bytes_max).sum::<u64>() <= budget.bytes_max);
            let limits: BTreeSet<_> = taken().map(|step| step.limits.item_bytes_max).collect();
            prop_assert!(limits.len() <= 1, "an estimate is no limit");
        }
    }
}
