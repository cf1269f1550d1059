//! Canonical JSON (RFC 8785, JCS): the one spelling in which a bundle's documents are written and
//! accepted.
//!
//! Decoding parses into a type that refuses unknown fields, encodes that again, and compares:
//! duplicate keys, white space, other escapes, other number spellings and reordered members all
//! fail the comparison, so no two byte strings decode to the same document.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::limits::{JSON_DEPTH_MAX, JSON_INTEGER_MAX};

/// A document was refused.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is longer than its kind may be.
    #[error("document has {bytes} bytes, limit is {bytes_max}")]
    TooLarge {
        /// Bytes of the document.
        bytes: u64,
        /// What its kind may have.
        bytes_max: u64,
    },
    /// It nests deeper than any document of the format.
    #[error("document nests deeper than {JSON_DEPTH_MAX} levels")]
    TooDeep,
    /// It is not JSON, or not this kind of document.
    #[error("document is not valid")]
    Invalid(#[source] serde_json::Error),
    /// It is JSON, but no object.
    #[error("document is not an object")]
    NotAnObject,
    /// It has an integer that IEEE doubles, which are what RFC 8785 writes, do not count exactly.
    #[error("document has an integer above {JSON_INTEGER_MAX}")]
    IntegerTooLarge,
    /// It has a member twice, `null` for a member that is left out, or a list for an object.
    #[error("document is not of its strict form")]
    NotStrict,
    /// It is this kind of document, but not in its canonical spelling.
    #[error("document is not in canonical form (RFC 8785)")]
    NotCanonical,
}

/// Writes `document` canonically.
///
/// # Panics
/// If the type cannot be written as JSON, which is an error in this crate and no property of the
/// data.
pub fn encode<T: Serialize>(document: &T) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(document)
        .expect("documents of this crate are plain maps, lists, texts and integers")
}

/// Reads a canonical document of at most `bytes_max` bytes.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    bytes_max: u64,
) -> Result<T, DecodeError> {
    let document = decode_lenient(bytes, bytes_max)?;
    check_integers(bytes)?;
    if encode(&document) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(document)
}

/// Reads a document that others may have written anew (`index.json`): its members stand in any
/// order, and nothing else is free.
///
/// # Errors
/// See [`DecodeError`]; never `NotCanonical`.
pub fn decode_any_order<T: Serialize + DeserializeOwned>(
    bytes: &[u8],
    bytes_max: u64,
) -> Result<T, DecodeError> {
    let document: T = decode_lenient(bytes, bytes_max)?;
    let found: Value = serde_json::from_slice(bytes).map_err(DecodeError::Invalid)?;
    let written = serde_json::to_value(&document).map_err(DecodeError::Invalid)?;
    let members_found = outside_strings(bytes).filter(|&b| b == b':').count(); // those that stand twice count twice
    if found != written || members_found != members(&written) {
        return Err(DecodeError::NotStrict);
    }
    check_integers(bytes)?;
    Ok(document)
}

/// Reads what `T` knows of a document; for a look at a document of a form that is not known yet.
///
/// # Errors
/// See [`DecodeError`]; never `NotCanonical`.
pub fn decode_lenient<T: DeserializeOwned>(bytes: &[u8], bytes_max: u64) -> Result<T, DecodeError> {
    if bytes.len() as u64 > bytes_max {
        return Err(DecodeError::TooLarge {
            bytes: bytes.len() as u64,
            bytes_max,
        });
    }
    if depth(bytes) > JSON_DEPTH_MAX {
        return Err(DecodeError::TooDeep);
    }
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(DecodeError::NotAnObject); // serde reads a list of an object's values as the object
    }
    serde_json::from_slice(bytes).map_err(DecodeError::Invalid)
}

/// True if no white space stands between tokens, as every common JSON writer's compact form.
#[must_use]
pub fn is_compact(bytes: &[u8]) -> bool {
    outside_strings(bytes).all(|b| !b.is_ascii_whitespace())
}

fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.values().map(|v| 1 + members(v)).sum(),
        Value::Array(list) => list.iter().map(members).sum(),
        _ => 0,
    }
}

/// Looks at every run of digits outside of strings, so that an integer of either sign has its
/// limit. What is no integer (a fraction, an exponent, a sign where none may be) is refused by the
/// types.
fn check_integers(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut integer = 0_u64;
    for b in outside_strings(bytes) {
        integer = if b.is_ascii_digit() {
            integer
                .saturating_mul(10)
                .saturating_add(u64::from(b - b'0'))
        } else {
            0
        };
        if integer > JSON_INTEGER_MAX {
            return Err(DecodeError::IntegerTooLarge);
        }
    }
    Ok(())
}

fn depth(bytes: &[u8]) -> usize {
    let (mut now, mut most) = (0_usize, 0_usize);
    for b in outside_strings(bytes) {
        match b {
            b'[' | b'{' => now += 1,
            b']' | b'}' => now = now.saturating_sub(1),
            _ => {}
        }
        most = most.max(now);
    }
    most
}

/// The bytes that stand outside of string literals.
fn outside_strings(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let (mut inside, mut escaped) = (false, false);
    bytes.iter().copied().filter(move |&b| {
        if !inside {
            inside = b == b'"';
            return !inside;
        }
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => inside = false,
            _ => {}
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Map = BTreeMap<String, u64>;

    #[test]
    fn only_one_spelling_is_accepted() {
        assert!(decode::<Map>(br#"{"a":1,"b":2}"#, 100).is_ok());
        for bad in [
            &br#"{"b":2,"a":1}"#[..],
            br#"{"a":1, "b":2}"#,
            br#"{"a":1,"a":1}"#,
            br#"{"\u0061":1}"#,
            br#"{"a":1}x"#,
        ] {
            assert!(
                decode::<Map>(bad, 100).is_err(),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
        assert!(matches!(
            decode::<Map>(br#"{"a":1}"#, 6),
            Err(DecodeError::TooLarge {
                bytes: 7,
                bytes_max: 6
            })
        ));
        assert!(decode::<Map>(br#"{"a":9007199254740991}"#, 100).is_ok());
        assert!(matches!(
            decode::<Map>(br#"{"a":9007199254740992}"#, 100),
            Err(DecodeError::IntegerTooLarge)
        ));
        let deep = "[".repeat(JSON_DEPTH_MAX + 1);
        assert!(matches!(
            decode::<Map>(deep.as_bytes(), 100),
            Err(DecodeError::TooDeep)
        ));
    }

    #[test]
    fn integers_that_a_double_does_not_count_exactly_are_refused() {
        assert!(decode::<Map>(br#"{"a":9007199254740991}"#, 100).is_ok());
        for bad in [
            "9007199254740992",
            "18014398509481984",
            "18446744073709551615",
        ] {
            let document = format!(r#"{{"a":{bad}}}"#);
            assert!(
                matches!(
                    decode::<Map>(document.as_bytes(), 100),
                    Err(DecodeError::IntegerTooLarge)
                ),
                "{bad}"
            );
            assert!(
                matches!(
                    decode_any_order::<Map>(document.as_bytes(), 100),
                    Err(DecodeError::IntegerTooLarge)
                ),
                "{bad}"
            );
        }
        assert!(
            decode::<BTreeMap<String, String>>(br#"{"a1":"99999999999999999999"}"#, 100).is_ok(),
            "a text"
        );
    }

    #[test]
    fn any_order_is_not_any_document() {
        #[derive(Debug, Serialize, serde::Deserialize)]
        struct Pair {
            #[serde(skip_serializing_if = "Option::is_none")]
            a: Option<u64>,
            b: Map,
        }
        let read = |text: &str| decode_any_order::<Pair>(text.as_bytes(), 100);
        for good in [r#"{"b":{"x":1,"y":2}, "a":1}"#, r#"{"b":{"\u0078:":1}}"#] {
            assert!(read(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"b":{"x":1,"x":1}}"#,
            r#"{"a":null,"b":{}}"#,
            "[1,{}]",
            r#"{"b":{"x":9007199254740992}}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn brackets_and_spaces_in_strings_do_not_count() {
        assert_eq!(depth(br#"{"a":"[[[\"[["}"#), 1);
        assert!(is_compact(br#"{"a b":"c d"}"#));
        assert!(!is_compact(br#"{"a": 1}"#));
    }
}
