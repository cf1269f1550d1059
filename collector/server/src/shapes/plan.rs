//! What a capture would take, as `GET /v1/incidents/{id}/plan` answers it: the shape of
//! [`domain::plan::CapturePlan`].

use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::TargetShape;
use super::texts::{
    IncidentIdText, ItemText, LeftOutText, PassKindText, PivotKindText, PivotText, PlayText,
    SourceText, Time, WhyText, word,
};

/// What would be captured, what would not, and why.
#[derive(ToSchema)]
#[schema(as = CapturePlan, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct PlanShape {
    incident: IncidentIdText,
    play: PlayText,
    /// When the incident was declared.
    declared: Time,
    /// When this was planned.
    planned: Time,
    /// What is asked for of sources that have a past.
    window: WindowShape,
    /// When a pass seals what it has.
    deadline: Time,
    budget: BudgetShape,
    /// What is asked, most volatile first. All passes run at once.
    passes: Vec<PlanPassShape>,
    /// Sources that are not asked.
    unavailable: Vec<UnavailableShape>,
    /// What else whoever reads this must know.
    notices: Vec<NoticeShape>,
    /// Pivots that no source here can filter by: they narrow nothing.
    pivots_unused: Vec<PivotText>,
    /// Kinds of pivots that would help, and were not given.
    pivots_wanted: Vec<PivotKindText>,
}

/// From one time to before another.
#[derive(ToSchema)]
#[schema(as = Window)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct WindowShape {
    from: Time,
    until: Time,
}

/// How much may be taken in all.
#[derive(ToSchema)]
#[schema(as = Budget, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct BudgetShape {
    /// Bytes of all steps, before compression.
    bytes_max: u64,
    /// Requests of all steps; `null` is no limit.
    requests_max: Option<u64>,
    /// Seconds after which each pass seals what it has.
    deadline_seconds: u64,
    /// Bytes of one object.
    object_bytes_max: u64,
}

/// One source, asked once: it makes one bundle.
#[derive(ToSchema)]
#[schema(as = PlanPass, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct PlanPassShape {
    source: SourceText,
    /// From 1; each pass of a source in an incident has its own.
    number: u64,
    kind: PassKindText,
    /// What, in order. Never empty.
    steps: Vec<PlanStepShape>,
}

/// One question to a source: it makes one item, if only to say why that is empty.
#[derive(ToSchema)]
#[schema(as = PlanStep, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct PlanStepShape {
    item: ItemText,
    /// Which of the source's offers.
    offer: String,
    /// By which interface.
    api: String,
    target: TargetShape,
    /// What it takes, for people.
    what: String,
    /// What of it in particular; `null` is all.
    pivot: Option<PivotText>,
    /// The window asked for; `null` if there is no past to ask for.
    asked: Option<WindowShape>,
    /// What of that the source can still have.
    effective: Option<WindowShape>,
    /// Why that is less than what is asked.
    clipped: Option<String>,
    lifetime: LifetimeShape,
    /// Who says so.
    citation: String,
    /// When the oldest of it dies.
    expires: Option<Time>,
    /// Requests that it will take; `null` if nothing was sampled.
    requests_expected: Option<u64>,
    /// Bytes that these answer with.
    bytes_expected: Option<u64>,
    /// Seconds that the requests take at the published quota.
    seconds_expected: Option<u64>,
    limits: StepLimitsShape,
    /// Where an earlier pass stopped, in the source's own words.
    cursor: Option<String>,
    /// Why it is not taken and becomes a gap; `null` if it is taken.
    left_out: Option<LeftOutText>,
}

/// How much one step may take.
#[derive(ToSchema)]
#[schema(as = StepLimits, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct StepLimitsShape {
    object_bytes_max: u64,
    item_bytes_max: u64,
    requests_max: Option<u64>,
}

/// A source, or one offer of it, that is not asked.
#[derive(ToSchema)]
#[schema(as = Unavailable, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct UnavailableShape {
    source: SourceText,
    /// By which interface; `null` is the whole source.
    api: Option<String>,
    why: WhyText,
    /// What to do about it, as the source says.
    problems: Vec<String>,
}

/// Something to know.
#[derive(ToSchema)]
#[schema(as = Notice, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(crate) struct NoticeShape {
    /// About which source; `null` is the whole plan.
    source: Option<SourceText>,
    text: String,
}

/// How long evidence lives at its source.
pub(crate) struct LifetimeShape;

impl PartialSchema for LifetimeShape {
    fn schema() -> RefOr<Schema> {
        let about = "How long it lives at the source: for good until somebody deletes it, so many seconds or days after it happened, \
            or, of state, the seconds for which it usually stays as it is";
        let numbers = ["state", "seconds", "days"].map(|name| {
            let number = ObjectBuilder::new()
                .schema_type(Type::Integer)
                .minimum(Some(0));
            ObjectBuilder::new()
                .schema_type(Type::Object)
                .property(name, number)
                .required(name)
        });
        let one_of = OneOfBuilder::new()
            .item(word(["forever"]))
            .description(Some(about));
        numbers.into_iter().fold(one_of, OneOfBuilder::item).into()
    }
}

impl ToSchema for LifetimeShape {
    fn name() -> std::borrow::Cow<'static, str> {
        "Lifetime".into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::assert_shape;
    use super::*;
    use domain::plan::{CapturePlan, EvidenceLifetime};

    fn plan() -> CapturePlan {
        let (time, until) = ("2026-11-23T13:40:17Z", "2026-11-23T14:40:17Z");
        let step = json!({
            "item": "host", "offer": "host", "api": "host", "target": {"account": null, "region": null, "identity": null, "name": null},
            "what": "x", "pivot": null, "asked": null, "effective": null, "clipped": null, "lifetime": "forever", "citation": "x",
            "expires": null, "requestsExpected": null, "bytesExpected": null, "secondsExpected": null,
            "limits": {"objectBytesMax": 1, "itemBytesMax": 1, "requestsMax": null}, "cursor": null, "leftOut": null,
        });
        let plan = json!({
            "incident": "INC-1", "play": "general", "declared": time, "planned": time, "window": {"from": time, "until": until},
            "deadline": until, "budget": {"bytesMax": 1, "requestsMax": null, "deadlineSeconds": 1, "objectBytesMax": 1},
            "passes": [{"source": "host", "number": 1, "kind": "first", "steps": [step]}],
            "unavailable": [{"source": "okta", "api": null, "why": "scope", "problems": []}],
            "notices": [{"source": null, "text": "x"}], "pivotsUnused": [], "pivotsWanted": [],
        });
        serde_json::from_value(plan).expect("a plan")
    }

    #[test]
    fn shapes_of_plans_are_those_of_what_is_written() {
        let plan = plan();
        assert_shape::<PlanShape>(&plan);
        assert_shape::<WindowShape>(&plan.window);
        assert_shape::<BudgetShape>(&plan.budget);
        assert_shape::<PlanPassShape>(&plan.passes[0]);
        assert_shape::<PlanStepShape>(&plan.passes[0].steps[0]);
        assert_shape::<TargetShape>(&plan.passes[0].steps[0].target);
        assert_shape::<StepLimitsShape>(&plan.passes[0].steps[0].limits);
        assert_shape::<UnavailableShape>(&plan.unavailable[0]);
        assert_shape::<NoticeShape>(&plan.notices[0]);
    }

    #[test]
    fn a_lifetime_is_one_of_four() {
        let schema = serde_json::to_value(LifetimeShape::schema()).expect("JSON");
        let shapes = schema["oneOf"].as_array().expect("four");
        let written = [
            EvidenceLifetime::Forever,
            EvidenceLifetime::State(1),
            EvidenceLifetime::Seconds(1),
            EvidenceLifetime::Days(1),
        ];
        assert_eq!(shapes.len(), written.len());
        for (shape, lifetime) in shapes.iter().zip(written) {
            match serde_json::to_value(lifetime).expect("JSON") {
                Value::String(word) => assert_eq!(shape["enum"][0], word),
                object => assert_eq!(
                    object.as_object().expect("one").keys().next(),
                    shape["properties"].as_object().expect("one").keys().next()
                ),
            }
        }
    }
}
