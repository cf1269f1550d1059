//! Values that requests may write in several forms, with the schemas of those forms. Also the
//! schemas that utoipa cannot derive.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::schema::{AdditionalProperties, Object, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use domain::incident::{Command, IncidentRole, InitialReport, Name, Prose, Severity};

type NamedSchemas = Vec<(String, RefOr<Schema>)>;

/// The schema of what [`severity`] reads.
pub(crate) struct LenientSeverity;

impl PartialSchema for LenientSeverity {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(Severity::ALL.len()));
        OneOfBuilder::new()
            .item(number)
            .item(Severity::schema())
            .description(Some("1 to 4, or `SEV-1` to `SEV-4`"))
            .into()
    }
}

impl ToSchema for LenientSeverity {}

/// The schema of what [`report`] reads.
pub(crate) struct LenientReport;

impl PartialSchema for LenientReport {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .item(reference::<InitialReport>())
            .item(reference::<Prose>())
            .into()
    }
}

impl ToSchema for LenientReport {
    fn schemas(schemas: &mut NamedSchemas) {
        add::<InitialReport>(schemas);
        add::<Prose>(schemas);
    }
}

/// The schema of a map from roles to names.
pub(crate) struct RoleAssignments;

impl PartialSchema for RoleAssignments {
    fn schema() -> RefOr<Schema> {
        let mut object = ObjectBuilder::new().schema_type(Type::Object);
        for role in IncidentRole::ALL {
            let name_or_null = OneOfBuilder::new()
                .item(Object::with_type(Type::Null))
                .item(reference::<Name>());
            object = object.property(role.as_str(), name_or_null);
        }
        object
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .into()
    }
}

impl ToSchema for RoleAssignments {
    fn schemas(schemas: &mut NamedSchemas) {
        add::<Name>(schemas);
    }
}

/// The schema of a [`Command`]. Its derived schema does not say that unknown members are rejected.
pub(crate) struct StrictCommand;

impl PartialSchema for StrictCommand {
    fn schema() -> RefOr<Schema> {
        let mut schema = Command::schema();
        if let RefOr::T(Schema::OneOf(commands)) = &mut schema {
            for command in &mut commands.items {
                if let RefOr::T(Schema::Object(object)) = command {
                    let closed = AdditionalProperties::FreeForm(false);
                    object.additional_properties = Some(Box::new(closed));
                }
            }
        }
        schema
    }
}

impl ToSchema for StrictCommand {
    fn name() -> Cow<'static, str> {
        Command::name()
    }

    fn schemas(schemas: &mut NamedSchemas) {
        Command::schemas(schemas);
    }
}

fn reference<T: ToSchema>() -> RefOr<Schema> {
    Ref::from_schema_name(T::name()).into()
}

fn add<T: ToSchema>(schemas: &mut NamedSchemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

/// Reads a severity: a number, or the runbook's word.
pub(crate) fn severity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Severity, D::Error> {
    struct SeverityVisitor;
    impl Visitor<'_> for SeverityVisitor {
        type Value = Severity;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a severity: 1 to 4, or a text such as SEV-2")
        }

        // By way of the text, so that both forms accept the same severities.
        fn visit_u64<E: Error>(self, number: u64) -> Result<Severity, E> {
            number
                .to_string()
                .parse()
                .map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Severity, E> {
            text.parse()
                .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_any(SeverityVisitor)
}

pub(crate) fn some_severity<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Severity>, D::Error> {
    severity(deserializer).map(Some)
}

/// Reads a report: an object with the runbook's five points, or a text that is its current
/// evidence, which is easier for scripts.
pub(crate) fn report<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<InitialReport, D::Error> {
    struct ReportVisitor;
    impl<'de> Visitor<'de> for ReportVisitor {
        type Value = InitialReport;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a report: an object such as {\"reportedBy\": \"scanner\"}, or a text")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<InitialReport, E> {
            let current_evidence = Some(text.parse().map_err(E::custom)?);
            Ok(InitialReport {
                current_evidence,
                ..InitialReport::default()
            })
        }

        fn visit_map<M: MapAccess<'de>>(self, members: M) -> Result<InitialReport, M::Error> {
            InitialReport::deserialize(MapAccessDeserializer::new(members))
        }
    }
    deserializer.deserialize_any(ReportVisitor)
}

/// Reads an object. serde's derived code would also accept an array of the members in order.
pub(crate) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    object_or_null(deserializer)?
        .ok_or_else(|| D::Error::invalid_type(Unexpected::Unit, &"an object"))
}

/// Reads an object or `null`.
pub(crate) fn object_or_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    struct ObjectVisitor<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        // There is no `visit_seq`: its absence is what rejects an array.
        fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_map<M: MapAccess<'de>>(self, members: M) -> Result<Option<T>, M::Error> {
            T::deserialize(MapAccessDeserializer::new(members)).map(Some)
        }
    }
    deserializer.deserialize_any(ObjectVisitor(PhantomData))
}

/// Reads `null` as `Some(None)`, so that it differs from an absent member.
pub(crate) fn null_or_value<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn reads_severities_as_numbers_and_words() {
        for good in [json!(2), json!("2"), json!("SEV-2"), json!("sev2")] {
            assert_eq!(severity(good).expect("a severity"), Severity::Sev2);
        }
        for bad in [
            json!(0),
            json!(5),
            json!(2.5),
            json!(-1),
            json!("high"),
            Value::Null,
            json!([2]),
        ] {
            assert!(severity(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn rejects_array_as_object() {
        assert_eq!(
            object_or_null::<InitialReport, _>(json!(null)).expect("nothing"),
            None
        );
        assert!(
            object_or_null::<InitialReport, _>(json!({}))
                .expect("an object")
                .is_some()
        );
        assert!(object::<InitialReport, _>(json!({})).is_ok());
        for bad in [json!([]), json!(["Eve", null]), json!("Eve"), json!(1)] {
            let error = object_or_null::<InitialReport, _>(bad)
                .expect_err("no object")
                .to_string();
            assert!(error.contains("expected an object"), "{error}");
        }
        assert!(object::<InitialReport, _>(json!(null)).is_err());
    }

    #[test]
    fn reads_reports_as_objects_and_texts() {
        let text =
            report(json!("Key AKIA… in a public gist\nseen by the scanner")).expect("a text");
        assert_eq!(
            text.current_evidence.as_ref().map(|prose| prose.as_str()),
            Some("Key AKIA… in a public gist\nseen by the scanner")
        );
        assert_eq!(
            text.missing(),
            [
                "who reported",
                "when",
                "affected systems",
                "suspected impact"
            ]
        );
        assert_eq!(
            report(json!({"reportedBy": "Eve"}))
                .expect("an object")
                .missing()
                .len(),
            4
        );
        for (bad, message) in [
            (json!({"reporter": "Eve"}), "unknown field `reporter`"),
            (json!(""), "text is empty"),
            (json!("\u{1b}[2J"), "control or invisible character"),
            (json!("x".repeat(16 * 1024 + 1)), "limit is 16384"),
            (json!(["Eve"]), "expected a report: an object such as"),
            (json!(null), "expected a report"),
        ] {
            let error = report(bad).expect_err(message).to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
