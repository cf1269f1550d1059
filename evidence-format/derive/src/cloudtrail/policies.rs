//! Whom a policy document lets in (IAM User Guide, "IAM JSON policy elements reference").

use serde_json::Value;

/// Principals of the document's `Allow` statements, each once: ARNs, services, `*`.
pub(super) fn allowed_principals(document: &Value) -> Vec<String> {
    let parsed;
    let document = match document {
        Value::String(text) => {
            parsed = serde_json::from_str(text).unwrap_or_default();
            &parsed
        }
        other => other,
    };
    let mut principals = Vec::new();
    for statement in one_or_more(document.get("Statement").unwrap_or(&Value::Null)) {
        if statement.get("Effect").and_then(Value::as_str) != Some("Allow") {
            continue;
        }
        match statement.get("Principal") {
            Some(Value::String(text)) => push(&mut principals, text),
            Some(Value::Object(by_kind)) => {
                let values = by_kind.values().flat_map(one_or_more);
                values
                    .filter_map(Value::as_str)
                    .for_each(|text| push(&mut principals, text));
            }
            _ => {}
        }
        // Everybody but these.
        if statement.get("NotPrincipal").is_some() {
            push(&mut principals, "*");
        }
    }
    principals
}

fn push(principals: &mut Vec<String>, text: &str) {
    if !principals.iter().any(|known| known == text) {
        principals.push(text.to_owned());
    }
}

/// The elements of a list, or the one value that stands for a list of one.
fn one_or_more(value: &Value) -> &[Value] {
    match value {
        Value::Array(list) => list,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}
