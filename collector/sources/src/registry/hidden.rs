//! Values of environment variables.

/// What is written in place of `variable`, the JSON of `NAME=value`.
pub(super) fn without_value(variable: &str) -> Option<String> {
    let variable: String = serde_json::from_str(variable).ok()?;
    let (name, _) = variable.split_once('=')?;
    Some(serde_json::Value::from(format!("{name}=removed")).to_string())
}
