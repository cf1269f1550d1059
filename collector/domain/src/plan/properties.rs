//! What holds for every plan, whatever it is made of.

use std::collections::BTreeSet;

use evidence_format::coverage::TimeWindow;
use evidence_format::time::Timestamp;
use proptest::prelude::*;

use super::samples::*;
use super::*;

const OFFERS: [&Offer; 5] = [&SOCKETS, &PACKAGES, &EVENTS, &CLOUDTRAIL, &OKTA];

fn targets() -> impl Strategy<Value = Vec<TargetEstimate>> {
    let name = prop_oneof![Just(None), "[a-cA-C ./]{0,3}".prop_map(Some)];
    let place = (name, prop::option::of("[12]"), prop::option::of("[ew]"));
    let target = place.prop_map(|(name, account, region)| CaptureTarget {
        name,
        account,
        region,
        identity: None,
        access: None,
    });
    let requests = prop::option::of(0..50_000_u64);
    prop::collection::vec(
        (target, requests).prop_map(|(target, requests)| TargetEstimate { target, requests }),
        0..6,
    )
}

fn readiness() -> impl Strategy<Value = Vec<(&'static Offer, Readiness)>> {
    let state = prop_oneof![4 => Just(ReadinessState::Ready), 1 => Just(ReadinessState::NotConfigured), 1 => Just(ReadinessState::Unavailable)];
    let one = (
        0..OFFERS.len(),
        state,
        targets(),
        prop::collection::vec("[a-z]{1,3}", 0..2),
    );
    let one = one.prop_map(|(index, state, targets, problems)| {
        (
            OFFERS[index],
            Readiness {
                source: source(OFFERS[index].source),
                state,
                targets,
                problems,
            },
        )
    });
    prop::collection::vec(one, 0..8)
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
fn shuffled(offers: &[(&'static Offer, Readiness)], seed: u64) -> Vec<(&'static Offer, Readiness)> {
    let mut offers = offers.to_vec();
    let key =
        |text: String| evidence_format::digest::Digest::of(format!("{seed}{text}").as_bytes());
    offers.iter_mut().for_each(|(_, ready)| {
        ready
            .targets
            .sort_by_key(|target| key(format!("{target:?}")))
    });
    offers.sort_by_key(|offer| key(format!("{offer:?}")));
    offers
}

proptest! {
    #[test]
    fn plan_is_independent_of_order(offers in readiness(), scope in scope(), budget in budget(), seed: u64) {
        let play = play();
        let first = plan(&PlanRequest { scope: scope.clone(), budget, ..ask(&play) }, &offers).expect("a plan");
        let mut turned = play.clone();
        turned.sources.reverse();
        turned.pivots.reverse();
        let mut scope = scope;
        scope.pivots.reverse();
        scope.accounts.reverse();
        scope.regions.reverse();
        let second = plan(&PlanRequest { scope, budget, ..ask(&turned) }, &shuffled(&offers, seed)).expect("a plan");
        prop_assert_eq!(first, second);
    }

    #[test]
    fn windows_only_shrink(offers in readiness(), scope in scope(), budget in budget()) {
        let play = play();
        let ask = PlanRequest { scope, budget, ..ask(&play) };
        let plan = plan(&ask, &offers).expect("a plan");
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
    fn nothing_is_omitted_silently(offers in readiness(), scope in scope(), budget in budget()) {
        let play = play();
        let scope = PlanScope { accounts: Vec::new(), regions: Vec::new(), ..scope };
        let plan = plan(&PlanRequest { scope, budget, ..ask(&play) }, &offers).expect("a plan");
        for (offer, ready) in &offers {
            for estimate in ready.targets.iter().filter(|_| ready.state == ReadinessState::Ready) {
                let own = plan.passes.iter().filter(|pass| pass.source.as_str() == offer.source).flat_map(|pass| &pass.steps);
                let mut whole = own.filter(|step| step.offer == offer.item && step.target == estimate.target);
                prop_assert!(whole.any(|step| step.pivot.is_none()), "{} {:?} is not in the plan", offer.api, estimate.target);
            }
            let said = plan.unavailable.iter().any(|u| u.source == ready.source && u.api.as_deref() == Some(offer.api));
            prop_assert!(ready.state == ReadinessState::Ready && !ready.targets.is_empty() || said);
        }
        let planned: BTreeSet<&SourceName> = plan.passes.iter().map(|pass| &pass.source).collect();
        let named: BTreeSet<&SourceName> = plan.unavailable.iter().map(|unavailable| &unavailable.source).collect();
        prop_assert!(play.sources.iter().all(|source| planned.contains(source) || named.contains(source)));
    }

    #[test]
    fn steps_are_ordered_uniquely_named_and_within_budget(
        offers in readiness(), scope in scope(), budget in budget()
    ) {
        let play = play();
        let plan = plan(&PlanRequest { scope, budget, ..ask(&play) }, &offers).expect("a plan");
        for pass in &plan.passes {
            prop_assert!(pass.steps.is_sorted_by_key(|step| step.lifetime.seconds()));
        }
        prop_assert!(plan.passes.is_sorted_by_key(|pass| pass.steps[0].lifetime.seconds()));
        let names: BTreeSet<_> = plan.steps().map(|step| &step.item).collect();
        prop_assert_eq!(names.len(), plan.steps().count());
        let taken = || plan.steps().filter(|step| step.left_out.is_none());
        prop_assert!(taken().map(|step| step.limits.item_bytes_max).sum::<u64>() <= budget.bytes_max);
        prop_assert!(taken().all(|step| step.bytes_expected.is_none_or(|bytes| bytes <= step.limits.item_bytes_max)));
    }
}
