//! OpenAPI schemas of the texts in this crate that an API shows, for the feature `schema`.

use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::coverage::TimeWindow;
use crate::digest::Digest;
use crate::id::{IncidentId, ItemName};
use crate::time::Timestamp;

fn string(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        string("RFC 3339 in UTC, with `Z` and no trailing zeros, such as 2026-11-23T13:40:17.25Z")
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl ToSchema for Timestamp {}

impl PartialSchema for IncidentId {
    fn schema() -> RefOr<Schema> {
        string("An incident's id, such as INC-2026-042")
            .pattern(Some("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"))
            .into()
    }
}

impl ToSchema for IncidentId {}

impl PartialSchema for ItemName {
    fn schema() -> RefOr<Schema> {
        string("The name of an item in a bundle")
            .pattern(Some("^[a-z0-9][a-z0-9._-]{0,127}$"))
            .into()
    }
}

impl ToSchema for ItemName {}

impl PartialSchema for Digest {
    fn schema() -> RefOr<Schema> {
        string("A SHA-256 digest: `sha256:` and 64 lowercase hex digits")
            .pattern(Some("^sha256:[0-9a-f]{64}$"))
            .into()
    }
}

impl ToSchema for Digest {}

impl PartialSchema for TimeWindow {
    fn schema() -> RefOr<Schema> {
        let time = Ref::from_schema_name(Timestamp::name());
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .description(Some("A span of time; `from` is inside, `until` is not"))
            .property("from", time.clone())
            .required("from")
            .property("until", time)
            .required("until")
            .into()
    }
}

impl ToSchema for TimeWindow {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Timestamp::name().into_owned(), Timestamp::schema()));
    }
}
