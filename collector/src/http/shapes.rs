//! What documents of the domain look like from outside. The domain does not know that there is an API, so their shapes stand here;
//! a test holds them to what is really written.

use utoipa::ToSchema;

use super::openapi::{SeverityText, StatusText, Time};

/// The initial report. What nobody said is `null`.
#[derive(ToSchema)]
#[schema(as = Report, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(super) struct ReportShape {
    reported_by: Option<String>,
    reported_at: Option<Time>,
    #[schema(required = false)]
    affected_systems: Vec<String>,
    suspected_impact: Option<String>,
    current_evidence: Option<String>,
}

/// What may be affected: each `yes`, `no` or `unknown`.
#[derive(ToSchema)]
#[schema(as = Affects, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(super) struct AffectsShape {
    #[schema(required = false)]
    customer_data: String,
    #[schema(required = false)]
    production_availability: String,
    #[schema(required = false)]
    privileged_access: String,
}

/// The evidence of an incident in numbers.
#[derive(ToSchema)]
#[schema(as = EvidenceCount, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(super) struct EvidenceCountShape {
    /// Bundles sealed, attachments among them.
    bundles: u64,
    records: u64,
    gaps: u64,
    /// Bundles with gaps.
    incomplete: u64,
    /// Captures that sealed nothing.
    failed: u64,
    /// Findings about the evidence.
    findings: u64,
    /// Until then more may arrive.
    provisional_until: Option<Time>,
}

/// What a bundle covers, never better than its worst item.
#[derive(ToSchema)]
#[schema(as = Coverage)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(super) struct CoverageShape {
    items: u64,
    records: u64,
    /// In all items, before compression.
    bytes: u64,
    /// That sources delivered, duplicates included.
    events: u64,
    /// Objects that are missing.
    missing: u64,
    /// True if nothing that was planned is missing.
    complete: bool,
    /// The first reason for which an item ended early, or `complete`.
    ended: String,
    /// Until then more may arrive at a source.
    provisional_until: Option<Time>,
}

/// One line of a timeline. Its texts are hostile: what evidence says is shown with care.
#[derive(ToSchema)]
#[schema(as = TimelineRow)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(super) struct RowShape {
    time: Time,
    /// Such as `incident.declared`, `evidence.sealed`, `aws.ConsoleLogin`.
    kind: String,
    /// In words.
    summary: String,
    /// Who entered it; absent where a record says it.
    #[schema(required = false)]
    by: String,
    /// What says so, or what it is about.
    #[schema(required = false)]
    evidence: PointerShape,
}

/// A step of a checklist.
#[derive(ToSchema)]
#[schema(as = Step)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(super) struct StepShape {
    id: String,
    /// `first-15-minutes`, `investigation` or `response`.
    list: String,
    text: String,
}

/// One place where a source is asked.
#[derive(ToSchema)]
#[schema(as = Target, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(super) struct TargetShape {
    /// Account, tenant or organisation.
    account: Option<String>,
    region: Option<String>,
    /// As whom it is asked.
    identity: Option<String>,
    /// By which credentials it is entered, in the source's own words.
    access: Option<String>,
    /// What its items are called, after the offer's name.
    name: Option<String>,
}

/// Points into a bundle.
#[derive(ToSchema)]
#[schema(as = Pointer)]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(super) struct PointerShape {
    /// The bundle's id.
    bundle: String,
    /// The item in it; `null` is the whole bundle.
    item: Option<String>,
    /// The record in the item, from 0; `null` is the whole item.
    record: Option<u64>,
}

/// The incident at a glance.
#[derive(ToSchema)]
#[schema(as = IncidentView, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(super) struct ViewShape {
    /// Its id.
    incident: String,
    name: String,
    severity: SeverityText,
    /// The runbook's definition of that.
    definition: String,
    response_target: String,
    /// The business day by whose end that is met.
    response_due: Option<String>,
    status: StatusText,
    /// Where it may go from here.
    next_statuses: Vec<StatusText>,
    started: Option<Time>,
    declared_at: Time,
    declared_by: String,
    closed_at: Option<Time>,
    play: String,
    pivots: Vec<String>,
    affects: AffectsShape,
    /// What set it off.
    trigger: Option<String>,
    report: ReportShape,
    /// What the initial report does not say.
    report_missing: Vec<String>,
    #[schema(value_type = Vec<Object>)]
    roles: (),
    #[schema(value_type = Object)]
    first_minutes: (),
    #[schema(value_type = Vec<Object>)]
    checklists: (),
    #[schema(value_type = Object)]
    closure: (),
    #[schema(value_type = Vec<Object>)]
    corrective_actions: (),
    #[schema(value_type = Vec<Object>)]
    statements: (),
    #[schema(value_type = Vec<Object>)]
    actions: (),
    next_update: Option<Time>,
    update_overdue: bool,
    evidence: EvidenceCountShape,
    /// The number of its last entry.
    seq: u64,
}

#[cfg(test)]
mod tests {
    use evidence_format::digest::Digest;
    use serde::Serialize;
    use serde_json::Value;

    use super::*;
    use crate::clock;
    use crate::incident::view::View;
    use crate::incident::{
        Affects, Change, Declaration, Entry, Evidence, EvidenceCount, Incident, Name, Plays, Report, Severity, declare,
    };
    use crate::plan::Target;
    use crate::seal::Summary;
    use crate::timeline::Row;

    /// The shape has the members that are written, and no other.
    fn assert_shape<T: ToSchema>(written: &impl Serialize) {
        let members = |json: &Value| json.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        let schema = serde_json::to_value(T::schema()).expect("JSON");
        let (mut shape, mut real) = (members(&schema["properties"]), members(&serde_json::to_value(written).expect("JSON")));
        shape.sort();
        real.sort();
        assert_eq!(shape, real, "{}", T::name());
    }

    fn incident() -> Incident {
        let declaration = Declaration {
            incident: "INC-1".parse().expect("an id"),
            name: Name::escaped("t"),
            severity: Severity::Sev1,
            play: "general".parse().expect("a play"),
            checklist: Vec::new(),
            started: None,
            report: Report::default(),
            affects: Affects::default(),
            pivots: Vec::new(),
            trigger: None,
        };
        let change: Change = declare(declaration, &Plays::built_in(), clock::now()).expect("it can be declared");
        Incident::replay(&[Entry { seq: 1, at: clock::now(), by: Name::escaped("Ann"), change }]).expect("a declaration")
    }

    #[test]
    fn shapes_are_those_of_what_is_written() {
        assert_shape::<ReportShape>(&Report::default());
        assert_shape::<AffectsShape>(&Affects::default());
        assert_shape::<EvidenceCountShape>(&EvidenceCount::default());
        assert_shape::<TargetShape>(&Target::default());
        assert_shape::<StepShape>(&Plays::built_in().iter().flat_map(|play| &play.steps).next());
        assert_shape::<CoverageShape>(&Summary::read(""));
        assert_shape::<ViewShape>(&View::of(&incident(), clock::now()));
        let evidence = Evidence { bundle: Digest::of(b""), item: None, record: None };
        assert_shape::<PointerShape>(&evidence);
        let (kind, summary, by) = ("note".to_owned(), "x".to_owned(), Some("Ann".to_owned()));
        assert_shape::<RowShape>(&Row { time: clock::now(), kind, summary, by, evidence: Some(evidence) });
    }
}
