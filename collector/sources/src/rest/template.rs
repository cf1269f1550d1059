//! Fills the placeholders of an endpoint's path and body. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Values by placeholder.
pub(super) type Names = BTreeMap<String, String>;

/// How a value is written into a template.
#[derive(Clone, Copy)]
pub(super) enum Encoding {
    /// Percent-encoded (RFC 3986), for a path or a query.
    Url,
    /// Escaped, for a JSON string.
    Json,
}

/// A template cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("no value for {{{0}}}")]
    NoValue(String),
    /// `.` and `..` are segments that change the path, even percent-encoded (WHATWG URL, §4.4). The
    /// value is hostile: a repository cannot be called so.
    #[error("the value of {{{0}}} would change the path")]
    DotSegment(String),
}

/// Replaces each `{name}` in `template`. A brace that does not begin a placeholder, as in JSON,
/// stays as it is.
pub(super) fn fill(
    template: &str,
    names: &Names,
    encoding: Encoding,
) -> Result<String, TemplateError> {
    let mut filled = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some(name) = after.split_once('}').map(|(name, _)| name).filter(is_name) else {
            filled.push('{');
            rest = after;
            continue;
        };
        let value = names
            .get(name)
            .ok_or_else(|| TemplateError::NoValue(name.to_owned()))?;
        match encoding {
            Encoding::Url if matches!(value.as_str(), "." | "..") => {
                return Err(TemplateError::DotSegment(name.to_owned()));
            }
            Encoding::Url if name.ends_with("_path") => {
                if value
                    .split('/')
                    .any(|segment| matches!(segment, "" | "." | ".."))
                {
                    return Err(TemplateError::DotSegment(name.to_owned()));
                }
                filled.push_str(&encoded_path(value));
            }
            Encoding::Url => filled.push_str(&percent_encoded(value)),
            Encoding::Json => {
                let quoted = serde_json::Value::from(value.as_str()).to_string();
                filled.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
        rest = &after[name.len() + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The placeholders of `template`.
pub(super) fn placeholders(template: &'static str) -> impl Iterator<Item = &'static str> {
    template
        .split('{')
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('}')?.0))
        .filter(is_name)
}

fn is_name(name: &&str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// `value` as several segments of a path: `/` stays, and `:`, which a segment may have.
fn encoded_path(value: &str) -> String {
    percent_encoded(value)
        .replace("%2F", "/")
        .replace("%3A", ":")
}

/// `value` with all bytes but the unreserved ones of RFC 3986 percent-encoded.
pub(crate) fn percent_encoded(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)]) -> Names {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn hostile_value_stays_in_its_segment() {
        let names = names(&[("user", "a/../b?c=1&d#é"), ("dots", "..")]);
        assert_eq!(
            fill("/users/{user}/roles", &names, Encoding::Url).as_deref(),
            Ok("/users/a%2F..%2Fb%3Fc%3D1%26d%23%C3%A9/roles")
        );
        assert_eq!(
            fill("/users/{dots}/roles", &names, Encoding::Url),
            Err(TemplateError::DotSegment("dots".to_owned()))
        );
        assert_eq!(
            fill("/users/{other}", &names, Encoding::Url),
            Err(TemplateError::NoValue("other".to_owned()))
        );
    }

    #[test]
    fn value_of_several_segments_keeps_its_slashes_and_nothing_else() {
        let filled = |value: &str| {
            let names = names(&[("repository_path", value)]);
            fill("/v2/{repository_path}/tags", &names, Encoding::Url)
        };
        let path = filled("acme/shop:1?x#y");
        assert_eq!(path.as_deref(), Ok("/v2/acme/shop:1%3Fx%23y/tags"));
        for hostile in ["acme/../x", "../x", "acme//x", "/acme", "acme/.", ""] {
            assert!(filled(hostile).is_err(), "{hostile}");
        }
    }

    #[test]
    fn json_template_keeps_its_braces_and_escapes_values() {
        let names = names(&[("name", "a\"b\n")]);
        assert_eq!(
            fill(r#"{"spec":{"x":"{name}"}}"#, &names, Encoding::Json).as_deref(),
            Ok(r#"{"spec":{"x":"a\"b\n"}}"#)
        );
        assert_eq!(
            placeholders(r#"{"spec":{"x":"{name}"}}"#).collect::<Vec<_>>(),
            ["name"]
        );
    }
}
