//! What can be wished for, member by member: the shape of [`domain::incident::Command`].

use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::texts::{
    ClosureItemText, DayText, IncidentRoleText, LineText, NameText, PivotText, PlayText, ProseText,
    SeverityText, StandingText, StatusText, StepIdText, StepStateText, Time, TopicText, count,
    or_null, word,
};
use super::{AffectsShape, ReportShape, Schemas, add, by_name};

/// A member of a wish.
#[derive(Clone, Copy)]
struct Member {
    name: &'static str,
    /// False if it may be absent or `null`.
    is_needed: bool,
    schema: fn() -> RefOr<Schema>,
}

const fn needs(name: &'static str, schema: fn() -> RefOr<Schema>) -> Member {
    Member {
        name,
        is_needed: true,
        schema,
    }
}

const fn may(name: &'static str, schema: fn() -> RefOr<Schema>) -> Member {
    Member {
        name,
        is_needed: false,
        schema,
    }
}

/// Every wish: its name, what it is for, and its members.
const WISHES: &[(&str, &str, &[Member])] = &[
    (
        "rename",
        "Give it another short name",
        &[needs("to", by_name::<NameText>)],
    ),
    (
        "change-severity",
        "Raise or lower its severity",
        &[
            needs("to", by_name::<SeverityText>),
            needs("reason", by_name::<LineText>),
        ],
    ),
    (
        "change-status",
        "Go on, go back, close or reopen. Back needs a reason",
        &[
            needs("to", by_name::<StatusText>),
            may("reason", by_name::<LineText>),
        ],
    ),
    (
        "set-started",
        "Say when it started",
        &[needs("to", by_name::<Time>)],
    ),
    (
        "change-play",
        "Respond by another play",
        &[
            needs("to", by_name::<PlayText>),
            needs("reason", by_name::<LineText>),
        ],
    ),
    (
        "assign-role",
        "Give a role to somebody, or to nobody",
        &[
            needs("role", by_name::<IncidentRoleText>),
            may("to", by_name::<NameText>),
        ],
    ),
    (
        "change-report",
        "Replace the initial report",
        &[needs("to", by_name::<ReportShape>)],
    ),
    (
        "change-potential-impact",
        "Say what may be affected",
        &[needs("to", by_name::<AffectsShape>)],
    ),
    (
        "add-pivot",
        "Ask for evidence about one more thing",
        &[needs("pivot", by_name::<PivotText>)],
    ),
    (
        "change-step",
        "Go on with a step of a checklist; what is absent stays",
        &[
            needs("step", by_name::<StepIdText>),
            may("state", by_name::<StepStateText>),
            may("owner", by_name::<NameText>),
            may("note", by_name::<LineText>),
        ],
    ),
    (
        "complete-closure-item",
        "Fulfil an item of the closure checklist",
        &[
            needs("item", by_name::<ClosureItemText>),
            needs("note", by_name::<LineText>),
        ],
    ),
    (
        "waive-closure-item",
        "Waive it; without a name, the caller is responsible",
        &[
            needs("item", by_name::<ClosureItemText>),
            needs("reason", by_name::<LineText>),
            may("by", by_name::<NameText>),
        ],
    ),
    (
        "reopen-closure-item",
        "Take either back",
        &[
            needs("item", by_name::<ClosureItemText>),
            needs("reason", by_name::<LineText>),
        ],
    ),
    (
        "add-corrective-action",
        "Add a corrective action",
        &[
            needs("what", by_name::<LineText>),
            may("owner", by_name::<NameText>),
            may("due", by_name::<DayText>),
        ],
    ),
    (
        "assign-corrective-action",
        "Give it an owner or a date; what is absent stays",
        &[
            needs("id", count),
            may("owner", by_name::<NameText>),
            may("due", by_name::<DayText>),
        ],
    ),
    (
        "finish-corrective-action",
        "Say that it is done",
        &[needs("id", count), may("note", by_name::<LineText>)],
    ),
    (
        "add-statement",
        "State something for updates",
        &[
            needs("topic", by_name::<TopicText>),
            needs("standing", by_name::<StandingText>),
            needs("text", by_name::<LineText>),
        ],
    ),
    (
        "change-standing",
        "Confirm a statement, put it in doubt, or withdraw it",
        &[
            needs("id", count),
            needs("to", by_name::<StandingText>),
            may("reason", by_name::<LineText>),
        ],
    ),
    (
        "start-action",
        "Begin to do something",
        &[
            needs("text", by_name::<LineText>),
            may("owner", by_name::<NameText>),
        ],
    ),
    (
        "end-action",
        "End it",
        &[needs("id", count), may("outcome", by_name::<LineText>)],
    ),
    (
        "set-next-update",
        "Say when the next update is due, or that none is",
        &[may("to", by_name::<Time>)],
    ),
    (
        "note",
        "Write something down",
        &[needs("text", by_name::<ProseText>)],
    ),
];

/// One of [`WISHES`].
pub(crate) struct WishShape;

impl PartialSchema for WishShape {
    fn schema() -> RefOr<Schema> {
        let wishes = WISHES
            .iter()
            .map(|(name, about, members)| wish(name, about, members));
        wishes
            .fold(
                OneOfBuilder::new().description(Some("What can be wished for")),
                OneOfBuilder::item,
            )
            .into()
    }
}

fn wish(name: &str, about: &str, members: &[Member]) -> Schema {
    let object = ObjectBuilder::new()
        .schema_type(Type::Object)
        .description(Some(about));
    let object = object.property("type", word([name])).required("type");
    let object = members.iter().fold(object, |object, member| {
        let schema = (member.schema)();
        if member.is_needed {
            object.property(member.name, schema).required(member.name)
        } else {
            object.property(member.name, or_null(schema))
        }
    });
    object
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .into()
}

impl ToSchema for WishShape {
    fn name() -> std::borrow::Cow<'static, str> {
        "Wish".into()
    }

    fn schemas(schemas: &mut Schemas) {
        let all = [
            add::<NameText>,
            add::<SeverityText>,
            add::<LineText>,
            add::<StatusText>,
            add::<Time>,
            add::<PlayText>,
            add::<IncidentRoleText>,
            add::<ReportShape>,
            add::<AffectsShape>,
            add::<PivotText>,
            add::<StepIdText>,
            add::<StepStateText>,
            add::<ClosureItemText>,
            add::<DayText>,
            add::<TopicText>,
            add::<StandingText>,
            add::<ProseText>,
        ];
        all.into_iter().for_each(|add| add(schemas));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::texts::tests::known;
    use super::*;
    use domain::incident::Command;

    #[test]
    fn wishes_are_those_that_are_read() {
        let mut names: Vec<&str> = WISHES.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        assert_eq!(names, known::<Command>(json!({"type": "?"})));
        for (name, _, members) in WISHES {
            let mut described: Vec<&str> = members.iter().map(|member| member.name).collect();
            described.sort_unstable();
            assert_eq!(
                described,
                known::<Command>(json!({"type": name, "?": 1})),
                "{name}"
            );
        }
    }

    #[test]
    fn what_a_wish_needs_is_missed_where_it_is_not() {
        for (name, _, members) in WISHES {
            let said = serde_json::from_value::<Command>(json!({"type": name}))
                .err()
                .map(|error| error.to_string());
            let needed = members
                .iter()
                .find(|member| member.is_needed)
                .map(|member| format!("missing field `{}`", member.name));
            assert_eq!(said, needed, "{name}");
        }
    }
}
