//! What must not be written of lists of variables: their values, which may be passwords all the
//! same. `updated_at` shows that one changed.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::recorder::BodyReplacement;

/// Hides the values of variables.
pub(super) fn variables(body: &[u8]) -> Option<Vec<BodyReplacement>> {
    let list: VariableList<'_> = serde_json::from_slice(body).ok()?;
    let values = list
        .variables
        .into_iter()
        .filter_map(|variable| variable.value);
    let found = values.map(|value| {
        let removed = "\"removed\"".to_owned();
        BodyReplacement::of_value(body, value, removed, "values of variables")
    });
    Some(found.collect())
}

// A member that occurs twice is an error, and nothing is written: the second would hide the first.
#[derive(Deserialize)]
struct VariableList<'b> {
    #[serde(borrow)]
    variables: Vec<Variable<'b>>,
}

#[derive(Deserialize)]
struct Variable<'b> {
    #[serde(borrow, default)]
    value: Option<&'b RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_values_and_nothing_else() {
        let body = r#"{"total_count":2,"variables":[{"name":"A","value":"p\"w","updated_at":"1"},{"value": 7,"name":"B"},{"name":"C"}]}"#;
        let mut text = body.to_owned();
        for replacement in variables(body.as_bytes())
            .expect("a list")
            .into_iter()
            .rev()
        {
            text.replace_range(replacement.range, &replacement.text);
        }
        assert_eq!(
            text,
            r#"{"total_count":2,"variables":[{"name":"A","value":"removed","updated_at":"1"},{"value": "removed","name":"B"},{"name":"C"}]}"#
        );
    }

    #[test]
    fn what_is_no_list_of_variables_is_not_written() {
        for body in [
            "",
            "[]",
            r#"{"variables":[{"value":"a","value":"b"}]}"#,
            r#"{"variables":[{"value":"a"}],"variables":[]}"#,
        ] {
            assert_eq!(variables(body.as_bytes()), None, "{body}");
        }
    }
}
