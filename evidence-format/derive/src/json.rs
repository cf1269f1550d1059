//! Reads JSON records, whose every member may be missing or of another type. Places are JSON
//! pointers (RFC 6901): `/actor/login`.

use evidence_format::time::Timestamp;
use serde_json::Value;

/// The record as JSON, with or without the comma after it; `None` if it is not JSON.
#[must_use]
pub fn parse_record(bytes: &[u8]) -> Option<Value> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let bytes = bytes.trim_ascii();
    serde_json::from_slice(bytes.strip_suffix(b",").unwrap_or(bytes)).ok()
}

/// The text at `pointer`; `None` if it is empty or not a text.
#[must_use]
pub fn text_at<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    let text = value.pointer(pointer)?.as_str()?;
    (!text.is_empty()).then_some(text)
}

/// The text of the first of `pointers` that has one.
#[must_use]
pub fn first_text<'v>(value: &'v Value, pointers: &[&str]) -> Option<&'v str> {
    pointers.iter().find_map(|pointer| text_at(value, pointer))
}

/// The text or number at `pointer`, as text: ids are either.
#[must_use]
pub fn id_at(value: &Value, pointer: &str) -> Option<String> {
    match value.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

/// The time at `pointer`, and the provider's own spelling of it.
#[must_use]
pub fn time_at(value: &Value, pointer: &str) -> Option<(Timestamp, String)> {
    let text = id_at(value, pointer)?;
    Some((Timestamp::parse_lenient(&text)?, text))
}

/// The truth value at `pointer`, also where it is spelled as text (`"true"`).
#[must_use]
pub fn bool_at(value: &Value, pointer: &str) -> Option<bool> {
    match value.pointer(pointer)? {
        Value::Bool(flag) => Some(*flag),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        Value::String(_) | Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

/// The list at `pointer`; empty if there is none.
#[must_use]
pub fn list_at<'v>(value: &'v Value, pointer: &str) -> &'v [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_keeps_its_separator_out_of_the_value() {
        let record = b"\xEF\xBB\xBF {\"id\":18446744073709551615,\"on\":\"TRUE\",\"at\":1753109304590,\"e\":\"\"} ,\n";
        let value = parse_record(record).expect("JSON");
        assert_eq!(
            id_at(&value, "/id").as_deref(),
            Some("18446744073709551615")
        );
        assert_eq!(bool_at(&value, "/on"), Some(true));
        assert_eq!(text_at(&value, "/e"), None);
        assert_eq!(list_at(&value, "/at").len(), 0);
        let (time, text) = time_at(&value, "/at").expect("a time");
        assert_eq!(
            (time.to_string().as_str(), text.as_str()),
            ("2025-07-21T14:48:24.59Z", "1753109304590")
        );
        assert_eq!(parse_record(b"{} x"), None);
    }
}
