//! OpenAPI schemas of the domain's texts and keywords. Those of its structs are derived.
//!
//! JSON Schema cannot express two rules: texts are trimmed, and their limits count bytes.

use std::borrow::Cow;

use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::hosts::{HostLabel, LABEL_BYTES_MAX};
use crate::incident::{
    BoundedText, ClosureItem, Day, IncidentRole, IncidentStatus, LINE_BYTES_MAX, NAME_BYTES_MAX,
    PROSE_BYTES_MAX, Pivot, PivotKind, PlayName, ReviewPrompt, Severity, SourceName, StepId,
};
use crate::token::TokenId;

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn pattern(pattern: &str, description: &str) -> RefOr<Schema> {
    string()
        .pattern(Some(pattern))
        .description(Some(description))
        .into()
}

fn keywords<T: ToString>(
    keywords: impl IntoIterator<Item = T>,
    description: &str,
) -> RefOr<Schema> {
    let keywords: Vec<String> = keywords.into_iter().map(|word| word.to_string()).collect();
    string()
        .enum_values(Some(keywords))
        .description(Some(description))
        .into()
}

impl<const BYTES_MAX: usize, const LINES: bool> PartialSchema for BoundedText<BYTES_MAX, LINES> {
    fn schema() -> RefOr<Schema> {
        let form = if LINES { "Text" } else { "One line of text" };
        let description = format!(
            "{form}: at most {BYTES_MAX} bytes of UTF-8, without control or invisible characters"
        );
        // A character has at least one byte, so the limit in bytes is also one in characters.
        string()
            .min_length(Some(1))
            .max_length(Some(BYTES_MAX))
            .description(Some(description))
            .into()
    }
}

impl<const BYTES_MAX: usize, const LINES: bool> ToSchema for BoundedText<BYTES_MAX, LINES> {
    fn name() -> Cow<'static, str> {
        // Components are referred to by name, so two limits must not share one.
        match (BYTES_MAX, LINES) {
            (NAME_BYTES_MAX, false) => "Name".into(),
            (LINE_BYTES_MAX, false) => "Line".into(),
            (PROSE_BYTES_MAX, true) => "Prose".into(),
            (bytes_max, false) => format!("Line{bytes_max}").into(),
            (bytes_max, true) => format!("Prose{bytes_max}").into(),
        }
    }
}

impl PartialSchema for Severity {
    fn schema() -> RefOr<Schema> {
        keywords(Self::ALL, "The severity of an incident; SEV-1 is the worst")
    }
}

impl ToSchema for Severity {}

impl PartialSchema for ReviewPrompt {
    fn schema() -> RefOr<Schema> {
        keywords(Self::ALL, "A prompt of the post-incident review")
    }
}

impl ToSchema for ReviewPrompt {}

impl PartialSchema for IncidentStatus {
    fn schema() -> RefOr<Schema> {
        keywords(Self::ALL, "The stage of the response")
    }
}

impl ToSchema for IncidentStatus {}

impl PartialSchema for IncidentRole {
    fn schema() -> RefOr<Schema> {
        keywords(Self::ALL, "What a person is responsible for in an incident")
    }
}

impl ToSchema for IncidentRole {
    fn name() -> Cow<'static, str> {
        "IncidentRole".into()
    }
}

impl PartialSchema for ClosureItem {
    fn schema() -> RefOr<Schema> {
        keywords(Self::ALL, "An item of the closure checklist")
    }
}

impl ToSchema for ClosureItem {}

impl PartialSchema for PivotKind {
    fn schema() -> RefOr<Schema> {
        keywords(Self::ALL, "What a pivot identifies")
    }
}

impl ToSchema for PivotKind {}

impl PartialSchema for Pivot {
    fn schema() -> RefOr<Schema> {
        let kinds = PivotKind::ALL.map(PivotKind::as_str).join("|");
        pattern(
            &format!("^({kinds})=.+$"),
            "What to look for in particular, such as user=mallory; never a secret",
        )
    }
}

impl ToSchema for Pivot {}

impl PartialSchema for PlayName {
    fn schema() -> RefOr<Schema> {
        pattern(
            "^[a-z][a-z0-9-]{0,31}$",
            "The name of a play, such as leaked-secret",
        )
    }
}

impl ToSchema for PlayName {}

impl PartialSchema for HostLabel {
    fn schema() -> RefOr<Schema> {
        let word = format!("[A-Za-z0-9._/-]{{1,{LABEL_BYTES_MAX}}}");
        pattern(
            &format!("^{word}={word}$"),
            "A label of a host, such as role=web",
        )
    }
}

impl ToSchema for HostLabel {}

impl PartialSchema for SourceName {
    fn schema() -> RefOr<Schema> {
        pattern(
            "^[a-z][a-z0-9_]{0,31}$",
            "The name of a source, such as aws_cloudtrail",
        )
    }
}

impl ToSchema for SourceName {}

impl PartialSchema for StepId {
    fn schema() -> RefOr<Schema> {
        pattern(
            "^[a-z][a-z0-9-]{0,31}$",
            "The id of a checklist step, such as first-15-1",
        )
    }
}

impl ToSchema for StepId {}

impl PartialSchema for Day {
    fn schema() -> RefOr<Schema> {
        string()
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)))
            .description(Some("A day in UTC, such as 2026-11-23"))
            .into()
    }
}

impl ToSchema for Day {}

impl PartialSchema for TokenId {
    fn schema() -> RefOr<Schema> {
        pattern("^[0-9a-f]{16}$", "The id of a token; not a secret")
    }
}

impl ToSchema for TokenId {}
