//! Texts that have a form: what each such type of the domain reads and writes as one JSON string.
//!
//! What a schema cannot say is left open rather than said wrongly: texts of people are trimmed, and
//! their limits are bytes.

use evidence_format::limits::JSON_INTEGER_MAX;
use utoipa::openapi::schema::{
    ArrayBuilder, KnownFormat, Object, ObjectBuilder, OneOfBuilder, SchemaFormat, Type,
};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::token::LABEL_BYTES_MAX;
use domain::incident::{
    ClosureItem, IncidentRole, IncidentStatus, LINE_BYTES_MAX, NAME_BYTES_MAX, PROSE_BYTES_MAX,
    PivotKind, Severity,
};
use domain::token::{TokenRole};
use store::ledger::{PassKind, PassState};

/// A type of its own for each, so that the description names it once.
macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident: $schema:expr;)+) => {
        $(
            $(#[$doc])*
            pub(crate) struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    $schema
                }
            }

            impl ToSchema for $name {}
        )+
    };
}

texts! {
    /// A time, as all of them are written.
    Time: dated(KnownFormat::DateTime, "RFC 3339 in UTC, with Z and no trailing zeros: 2026-11-23T13:40:17.25Z");
    /// A day.
    DayText: dated(KnownFormat::Date, "A day in UTC: 2026-11-23");
    /// How bad an incident is, as answers have it.
    SeverityText: word(Severity::ALL);
    /// The same, as it may be asked for.
    SeverityWanted: severity_wanted();
    /// How far its response is.
    StatusText: word(IncidentStatus::ALL);
    /// What whoever holds a token may do.
    RoleText: word(TokenRole::ALL);
    /// What a person answers for in an incident.
    IncidentRoleText: word(IncidentRole::ALL);
    /// Whether something is affected.
    AnswerText: word(["yes", "no", "unknown"]);
    /// How far a step of a checklist is.
    StepStateText: word(["open", "doing", "done", "not-applicable"]);
    /// An item of the closure checklist.
    ClosureItemText: word(ClosureItem::ALL);
    /// What a statement is about.
    TopicText: word(["what-happened", "impact", "customer-action"]);
    /// Whether a statement may be told as a fact.
    StandingText: word(["confirmed", "hypothesis", "withdrawn"]);
    /// What a pivot is about.
    PivotKindText: word(PivotKind::ALL);
    /// Why a source is asked.
    PassKindText: word(["first", "settle", "continuation"]);
    /// Seconds until a deadline.
    DeadlineSeconds: at_most(JSON_INTEGER_MAX);
    /// Why a source is or was asked, once more among it.
    PassListedText: word([PassKind::First, PassKind::Continuation, PassKind::Settle, PassKind::Again].map(PassKind::as_str));
    /// How far that is.
    PassStateText:
        word([PassState::Waiting, PassState::Capturing, PassState::Sealed, PassState::Failed].map(PassState::as_str));
    /// Why a source is not asked.
    WhyText: word(["not-in-this-version", "not-configured", "unavailable", "no-targets", "scope"]);
    /// Why a step is not taken.
    LeftOutText: word(["bytes", "requests", "expired"]);
    /// Which checklist a step is on.
    ListText: word(["first-15-minutes", "investigation", "response"]);
    IncidentIdText: formed("^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", "An incident's id, such as INC-2026-042");
    TokenIdText: formed("^[0-9a-f]{16}$", "A token's id, which is no secret");
    DigestText: formed("^sha256:[0-9a-f]{64}$", "A SHA-256");
    ItemText: formed("^[a-z0-9][a-z0-9._-]{0,127}$", "An item of a bundle");
    PlayText: formed("^[a-z][a-z0-9-]{0,31}$", "A play, such as leaked-secret");
    SourceText: formed("^[a-z][a-z0-9_]{0,31}$", "A source, such as aws_cloudtrail");
    StepIdText: formed("^[a-z][a-z0-9-]{0,31}$", "A step of a checklist, such as first-15-1");
    PivotText: pivot();
    NameText: written(NAME_BYTES_MAX, "A name");
    LineText: written(LINE_BYTES_MAX, "One line");
    ProseText: written(PROSE_BYTES_MAX, "Some lines");
    LabelText: written(LABEL_BYTES_MAX, "One line");
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// One of these words.
pub(crate) fn word<T: ToString>(words: impl IntoIterator<Item = T>) -> RefOr<Schema> {
    let words: Vec<String> = words.into_iter().map(|word| word.to_string()).collect();
    string().enum_values(Some(words)).into()
}

fn formed(pattern: &str, about: &str) -> RefOr<Schema> {
    string()
        .pattern(Some(pattern))
        .description(Some(about))
        .into()
}

fn dated(format: KnownFormat, about: &str) -> RefOr<Schema> {
    string()
        .format(Some(SchemaFormat::KnownFormat(format)))
        .description(Some(about))
        .into()
}

/// Texts of people. A character has one byte at least, so a limit in bytes is one in characters
/// too.
fn written(bytes_max: usize, about: &str) -> RefOr<Schema> {
    let about = format!(
        "{about}: at most {bytes_max} bytes of UTF-8, and nothing that a terminal obeys or nobody sees"
    );
    string()
        .min_length(Some(1))
        .max_length(Some(bytes_max))
        .description(Some(about))
        .into()
}

fn severity_wanted() -> RefOr<Schema> {
    let number = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(Severity::ALL.len()));
    OneOfBuilder::new()
        .item(number)
        .item(word(Severity::ALL))
        .description(Some("1 to 4, or in words"))
        .into()
}

fn pivot() -> RefOr<Schema> {
    let kinds = PivotKind::ALL.map(PivotKind::as_str).join("|");
    formed(
        &format!("^({kinds})=.+$"),
        "What to look for in particular, such as user=mallory; never a secret itself",
    )
}

fn at_most(max: u64) -> RefOr<Schema> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .maximum(Some(max))
        .into()
}

/// A text of any form.
pub(crate) fn text() -> RefOr<Schema> {
    string().into()
}

/// What a client names a request by.
pub(crate) fn idempotency_key() -> RefOr<Schema> {
    formed(
        "^[ -~]{1,256}$",
        "1 to 256 visible ASCII characters that name this declaration",
    )
}

/// A number of something.
pub(crate) fn count() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0))
        .into()
}

/// Several of something.
pub(crate) fn several(items: RefOr<Schema>) -> RefOr<Schema> {
    ArrayBuilder::new().items(items).into()
}

/// Something, or `null`.
pub(super) fn or_null(schema: RefOr<Schema>) -> RefOr<Schema> {
    OneOfBuilder::new()
        .item(Object::with_type(Type::Null))
        .item(schema)
        .into()
}

#[cfg(test)]
pub(super) mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use domain::incident::{
        Checklist, ImpactAnswer, PassKind as Planned, StatementStanding, StatementTopic, StepState,
    };
    use domain::plan::{LeftOutReason, UnavailableReason};

    /// What serde says that there is, when it is given what there is not.
    pub(crate) fn known<T: DeserializeOwned>(wrong: Value) -> Vec<String> {
        let said = serde_json::from_value::<T>(wrong)
            .err()
            .expect("there is no such thing")
            .to_string();
        let mut known: Vec<String> = said
            .split('`')
            .skip(3)
            .step_by(2)
            .map(str::to_owned)
            .collect();
        known.sort();
        known
    }

    fn words<S: PartialSchema>() -> Vec<String> {
        let mut words: Vec<String> = serde_json::from_value(
            serde_json::to_value(S::schema()).expect("JSON")["enum"].clone(),
        )
        .expect("words");
        words.sort();
        words
    }

    #[test]
    fn words_are_those_that_are_read() {
        assert_eq!(words::<AnswerText>(), known::<ImpactAnswer>(json!("?")));
        assert_eq!(words::<TopicText>(), known::<StatementTopic>(json!("?")));
        assert_eq!(
            words::<StandingText>(),
            known::<StatementStanding>(json!("?"))
        );
        assert_eq!(words::<StepStateText>(), known::<StepState>(json!("?")));
        assert_eq!(words::<PassKindText>(), known::<Planned>(json!("?")));
        assert_eq!(words::<WhyText>(), known::<UnavailableReason>(json!("?")));
        assert_eq!(words::<LeftOutText>(), known::<LeftOutReason>(json!("?")));
        assert_eq!(words::<ListText>(), known::<Checklist>(json!("?")));
    }
}
