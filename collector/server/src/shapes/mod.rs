//! What documents of the domain look like from outside. The domain does not know that there is an
//! API, so their shapes stand here; tests hold them to what is really read and written.

mod plan;
pub(super) mod texts;
mod view;
mod wish;

use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

pub(super) use plan::PlanShape;
pub(super) use view::{ClosureShape, CorrectiveActionShape, ListShape, ViewShape};
pub(super) use wish::WishShape;

use self::texts::{AnswerText, DigestText, ItemText, LineText, NameText, ProseText, Time, or_null};
use domain::incident::IncidentRole;

/// The initial report. What nobody said is `null`.
#[derive(ToSchema)]
#[schema(as = InitialReport, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(super) struct ReportShape {
    reported_by: Option<NameText>,
    reported_at: Option<Time>,
    #[schema(required = false)]
    affected_systems: Vec<NameText>,
    suspected_impact: Option<LineText>,
    current_evidence: Option<ProseText>,
}

/// A report as it may be declared with: whole, or a text that is its current evidence.
pub(super) struct ReportWanted;

impl PartialSchema for ReportWanted {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(by_name::<ReportShape>())
            .item(by_name::<ProseText>())
            .into()
    }
}

impl ToSchema for ReportWanted {
    fn schemas(schemas: &mut Schemas) {
        add::<ReportShape>(schemas);
        add::<ProseText>(schemas);
    }
}

/// Who has which role; `null` is nobody.
pub(super) struct RolesWanted;

impl PartialSchema for RolesWanted {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new().schema_type(Type::Object);
        let with = |object: ObjectBuilder, role: IncidentRole| {
            object.property(role.as_str(), or_null(by_name::<NameText>()))
        };
        IncidentRole::ALL
            .into_iter()
            .fold(object, with)
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .into()
    }
}

impl ToSchema for RolesWanted {
    fn schemas(schemas: &mut Schemas) {
        add::<NameText>(schemas);
    }
}

/// Schemas by their names.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

/// Adds a type's schema, and those that it names in turn.
pub(super) fn add<T: ToSchema>(schemas: &mut Schemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

/// A schema that is elsewhere.
fn by_name<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

/// What may be affected.
#[derive(ToSchema)]
#[schema(as = PotentialImpact, rename_all = "camelCase")]
#[expect(dead_code, reason = "only its shape is of interest")]
pub(super) struct AffectsShape {
    #[schema(required = false)]
    customer_data: AnswerText,
    #[schema(required = false)]
    production_availability: AnswerText,
    #[schema(required = false)]
    privileged_access: AnswerText,
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
#[schema(as = CaptureTarget, rename_all = "camelCase")]
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
    bundle: DigestText,
    /// The item in it; `null` is the whole bundle.
    item: Option<ItemText>,
    /// The record in the item, from 0; `null` is the whole item.
    record: Option<u64>,
}

#[cfg(test)]
mod tests {
    use evidence_format::digest::Digest;
    use serde::Serialize;
    use serde_json::Value;

    use super::*;
    use domain::incident::{
        Declaration, EvidenceCount, EvidenceRef, Incident, IncidentEvent, InitialReport,
        JournalEntry, Name, Plays, PotentialImpact, Severity, declare,
    };
    use domain::plan::CaptureTarget;
    use domain::incident::BundleCoverage;
    use domain::incident::TimelineRow;
    use platform::clock;

    /// The shape has the members that are written, and no other.
    pub(super) fn assert_shape<T: ToSchema>(written: &impl Serialize) {
        let members = |json: &Value| {
            json.as_object()
                .expect("an object")
                .keys()
                .cloned()
                .collect::<Vec<_>>()
        };
        let schema = serde_json::to_value(T::schema()).expect("JSON");
        let (mut shape, mut real) = (
            members(&schema["properties"]),
            members(&serde_json::to_value(written).expect("JSON")),
        );
        shape.sort();
        real.sort();
        assert_eq!(shape, real, "{}", T::name());
    }

    pub(super) fn incident() -> Incident {
        let declaration = Declaration {
            incident: "INC-1".parse().expect("an id"),
            name: Name::escaped("t"),
            severity: Severity::Sev1,
            play: "general".parse().expect("a play"),
            checklist: Vec::new(),
            started: None,
            report: InitialReport::default(),
            affects: PotentialImpact::default(),
            pivots: Vec::new(),
            trigger: None,
        };
        let change: IncidentEvent =
            declare(declaration, &Plays::built_in(), clock::now()).expect("it can be declared");
        Incident::replay(&[JournalEntry {
            seq: 1,
            at: clock::now(),
            by: Name::escaped("Ann"),
            change,
        }])
        .expect("a declaration")
    }

    #[test]
    fn shapes_are_those_of_what_is_written() {
        assert_shape::<ReportShape>(&InitialReport::default());
        assert_shape::<AffectsShape>(&PotentialImpact::default());
        assert_shape::<EvidenceCountShape>(&EvidenceCount::default());
        assert_shape::<TargetShape>(&CaptureTarget::default());
        assert_shape::<StepShape>(&Plays::built_in().iter().flat_map(|play| &play.steps).next());
        assert_shape::<CoverageShape>(&BundleCoverage::from_json(""));
        let evidence = EvidenceRef {
            bundle: Digest::of(b""),
            item: None,
            record: None,
        };
        assert_shape::<PointerShape>(&evidence);
        let (kind, summary, by) = ("note".to_owned(), "x".to_owned(), Some("Ann".to_owned()));
        assert_shape::<RowShape>(&TimelineRow {
            time: clock::now(),
            kind,
            summary,
            by,
            evidence: Some(evidence),
        });
    }
}
