//! Which children a record has. Pure.

use serde_json::{Value, json};

use super::endpoint::{ChildEndpoint, ChildRepeat, Condition, Endpoint, ValueFrom};
use super::page::{scalar, text_at};
use super::template::Names;

/// Children of one kind that one record can have: a hostile number must not make a million
/// requests.
const REPEATS_MAX: u64 = 1000;
/// Bytes of a value that becomes a part of a URL. Names of objects in Kubernetes have 253.
const VALUE_BYTES_MAX: usize = 1024;

/// The name of [`ValueFrom::BodyDigest`] among the names of [`children_of`]. No placeholder is called
/// so.
pub(super) const BODY_DIGEST: &str = "body digest";

/// A child that is still to be asked: its index in [`Endpoint::children`], and the values of its
/// [`ChildEndpoint::takes`], in their order.
pub(super) type PendingChild = (u8, Vec<String>);

/// Calls `visit` with each child of `record`; `names` are those of the walk so far. Returns false if
/// there were more than are asked.
pub(super) fn children_of(
    endpoint: &Endpoint,
    record: &Value,
    names: &Names,
    visit: &mut dyn FnMut(PendingChild),
) -> bool {
    let mut is_all = true;
    for (index, child) in (0..=u8::MAX).zip(endpoint.children) {
        let elements = match child.each {
            ChildRepeat::Once => vec![Value::Null],
            ChildRepeat::Elements(at) => match record.pointer(at) {
                Some(Value::Array(elements)) => elements.clone(),
                Some(_) | None => Vec::new(),
            },
            ChildRepeat::Members(at) => match record.pointer(at) {
                Some(Value::Object(members)) => members.iter().map(member).collect(),
                Some(_) | None => Vec::new(),
            },
            ChildRepeat::UpTo(at) => {
                let last = record.pointer(at).and_then(Value::as_u64).unwrap_or(0);
                is_all &= last <= REPEATS_MAX;
                (1..=last.min(REPEATS_MAX)).map(Value::from).collect()
            }
        };
        is_all &= elements.len() as u64 <= REPEATS_MAX;
        for element in elements.iter().take(REPEATS_MAX as usize) {
            let mut conditions = child.only.iter();
            if !conditions.all(|only| holds(only, record, element, names)) {
                continue;
            }
            match values(child, record, element, names) {
                Some(values) if values.iter().all(|value| value.len() <= VALUE_BYTES_MAX) => {
                    visit((index, values));
                }
                Some(_) => is_all = false,
                None => {}
            }
        }
    }
    is_all
}

/// A member of an object as an element: see [`ChildRepeat::Members`].
fn member((name, value): (&String, &Value)) -> Value {
    json!({"name": name.trim_end_matches('/'), "value": value})
}

/// True if a child is called by the digest of the page.
pub(super) fn needs_body_digest(endpoint: &Endpoint) -> bool {
    let takes = endpoint.children.iter().flat_map(|child| child.takes);
    takes
        .into_iter()
        .any(|(_, from)| *from == ValueFrom::BodyDigest)
}

/// What `record` says is missing from the evidence: see [`Endpoint::shortfalls`].
pub(super) fn shortfalls_of(endpoint: &Endpoint, record: &Value) -> Vec<&'static str> {
    let said = endpoint
        .shortfalls
        .iter()
        .filter(|(condition, _)| holds(condition, record, &Value::Null, &Names::new()));
    said.map(|(_, what)| *what).collect()
}

fn values(
    child: &ChildEndpoint,
    record: &Value,
    element: &Value,
    names: &Names,
) -> Option<Vec<String>> {
    child
        .takes
        .iter()
        .map(|(_, from)| value(*from, record, element, names).filter(|value| !value.is_empty()))
        .collect()
}

fn value(from: ValueFrom, record: &Value, element: &Value, names: &Names) -> Option<String> {
    match from {
        ValueFrom::Record(at) => text_at(record, at),
        ValueFrom::RecordUntil(at, end) => {
            let text = text_at(record, at)?;
            Some(text.split(end).next().unwrap_or_default().to_owned())
        }
        ValueFrom::Element(at) => text_at(element, at),
        ValueFrom::Fixed(text) => Some(text.to_owned()),
        ValueFrom::BodyDigest => names.get(BODY_DIGEST).cloned(),
    }
}

fn holds(condition: &Condition, record: &Value, element: &Value, names: &Names) -> bool {
    let at = |from: ValueFrom| match from {
        ValueFrom::Record(at) | ValueFrom::RecordUntil(at, _) => record.pointer(at),
        ValueFrom::Element(at) => element.pointer(at),
        ValueFrom::Fixed(_) | ValueFrom::BodyDigest => None,
    };
    match *condition {
        Condition::Present(from) => match at(from) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => true,
        },
        Condition::OneOf(from, texts) => at(from)
            .and_then(scalar)
            .is_some_and(|text| texts.contains(&text.as_str())),
        Condition::StartsWith(from, start) => at(from)
            .and_then(Value::as_str)
            .is_some_and(|text| text.starts_with(start)),
        Condition::AtLeast(from, least) => at(from)
            .and_then(|value| match value {
                Value::Array(elements) => Some(elements.len() as u64),
                other => other.as_u64(),
            })
            .is_some_and(|number| number >= least),
        Condition::Mentions(from, kind) => {
            let is_searched = names
                .get("pivot_kind")
                .is_some_and(|own| *own == kind.to_string());
            let text = names.get("pivot_last").filter(|_| is_searched);
            text.is_none_or(|text| at(from).is_some_and(|value| mentions(value, text)))
        }
    }
}

/// True if a text in `value` contains `text`.
fn mentions(value: &Value, text: &str) -> bool {
    match value {
        Value::String(own) => own.contains(text),
        Value::Array(elements) => elements.iter().any(|element| mentions(element, text)),
        Value::Object(members) => members.values().any(|member| mentions(member, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use domain::incident::PivotKind;

    use super::*;

    static LOG: Endpoint = Endpoint::GET;
    static PODS: Endpoint = Endpoint {
        children: &[
            ChildEndpoint {
                takes: &[
                    ("pod", ValueFrom::Record("/metadata/name")),
                    ("container", ValueFrom::Element("/name")),
                    ("previous", ValueFrom::Fixed("true")),
                ],
                each: ChildRepeat::Elements("/status/containerStatuses"),
                only: &[Condition::AtLeast(ValueFrom::Element("/restartCount"), 1)],
                ..ChildEndpoint::of(&LOG)
            },
            ChildEndpoint {
                takes: &[("attempt", ValueFrom::Element(""))],
                each: ChildRepeat::UpTo("/attempts"),
                only: &[Condition::OneOf(
                    ValueFrom::Record("/status/phase"),
                    &["Running"],
                )],
                ..ChildEndpoint::of(&LOG)
            },
        ],
        ..Endpoint::GET
    };

    fn children(record: &Value) -> (Vec<PendingChild>, bool) {
        let mut found = Vec::new();
        let is_all = children_of(&PODS, record, &Names::new(), &mut |child| {
            found.push(child);
        });
        (found, is_all)
    }

    #[test]
    fn asks_for_each_element_and_number_that_satisfies_its_conditions() {
        let record = json!({"metadata": {"name": "p"}, "attempts": 2, "status": {"phase": "Running",
            "containerStatuses": [{"name": "a", "restartCount": 3}, {"name": "b", "restartCount": 0}]}});
        let (found, is_all) = children(&record);
        let child =
            |index, values: &[&str]| (index, values.iter().map(|v| (*v).to_owned()).collect());
        assert_eq!(
            found,
            [
                child(0, &["p", "a", "true"]),
                child(1, &["1"]),
                child(1, &["2"])
            ]
        );
        assert!(is_all);
    }

    #[test]
    fn asks_for_each_member_that_satisfies_its_conditions() {
        static MOUNTS: Endpoint = Endpoint {
            children: &[ChildEndpoint {
                takes: &[("mount", ValueFrom::Element("/name"))],
                each: ChildRepeat::Members("/data"),
                only: &[Condition::OneOf(
                    ValueFrom::Element("/value/type"),
                    &["aws"],
                )],
                ..ChildEndpoint::of(&LOG)
            }],
            ..Endpoint::GET
        };
        let record = json!({"data": {"team/aws/": {"type": "aws"}, "kv/": {"type": "kv"}}});
        let mut found = Vec::new();
        assert!(children_of(&MOUNTS, &record, &Names::new(), &mut |child| {
            found.push(child)
        }));
        assert_eq!(found, [(0, vec!["team/aws".to_owned()])]);
    }

    #[test]
    fn history_that_is_full_is_a_shortfall() {
        static APPLICATIONS: Endpoint = Endpoint {
            shortfalls: &[(
                Condition::AtLeast(ValueFrom::Record("/history"), 2),
                "history is full",
            )],
            ..Endpoint::GET
        };
        let full = json!({"history": [{"id": 1}, {"id": 2}]});
        assert_eq!(shortfalls_of(&APPLICATIONS, &full), ["history is full"]);
        for other in [json!({"history": [{"id": 1}]}), json!({"history": null})] {
            assert!(shortfalls_of(&APPLICATIONS, &other).is_empty(), "{other}");
        }
    }

    #[test]
    fn condition_on_pivot_holds_where_nothing_is_searched() {
        let condition = Condition::Mentions(ValueFrom::Record("/status"), PivotKind::Image);
        let record = json!({"status": {"all": [{"imageID": "docker.io/x@sha256:ab"}]}});
        let holds = |kind: &str, text: &str| {
            let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
            let names = [("pivot_kind", kind), ("pivot_last", text)];
            let names = names.into_iter().map(own).collect();
            super::holds(&condition, &record, &Value::Null, &names)
        };
        assert!(super::holds(
            &condition,
            &record,
            &Value::Null,
            &Names::new()
        ));
        assert!(holds("node", "sha256:cd") && holds("image", "sha256:ab"));
        assert!(!holds("image", "sha256:cd"));
    }

    #[test]
    fn hostile_record_does_not_make_endless_children() {
        let (found, is_all) =
            children(&json!({"status": {"phase": "Running"}, "attempts": u64::MAX}));
        assert_eq!((found.len(), is_all), (1000, false));
        assert!(
            children(&json!({"status": {"containerStatuses": [{"restartCount": 1}]}}))
                .0
                .is_empty()
        );
    }
}
