//! Canonical JSON (RFC 8785, JCS): the one spelling in which a bundle's documents are written and accepted.
//!
//! Decoding parses into a type that refuses unknown fields, encodes that again, and compares: duplicate keys,
//! white space, other escapes, other number spellings and reordered members all fail the comparison, so no two
//! byte strings decode to the same document.

use serde::Serialize;
use serde::de::DeserializeOwned;

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
    /// It has a number that IEEE doubles, which are what RFC 8785 writes, do not count exactly.
    #[error("document has an integer above {JSON_INTEGER_MAX}")]
    NumberTooLarge,
    /// It is not JSON, or not this kind of document.
    #[error("document is not valid")]
    Invalid(#[source] serde_json::Error),
    /// It is this kind of document, but not in its canonical spelling.
    #[error("document is not in canonical form (RFC 8785)")]
    NotCanonical,
}

/// Writes `document` canonically.
///
/// # Panics
/// If the type cannot be written as JSON, which is an error in this crate and no property of the data.
pub fn encode<T: Serialize>(document: &T) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(document).expect("documents of this crate are plain maps, lists, texts and integers")
}

/// Reads a canonical document of at most `bytes_max` bytes.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], bytes_max: u64) -> Result<T, DecodeError> {
    let document = decode_lenient(bytes, bytes_max)?;
    if encode(&document) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(document)
}

/// Reads a document whose spelling others may have changed (`index.json`).
///
/// # Errors
/// See [`DecodeError`]; never `NotCanonical`.
pub fn decode_lenient<T: DeserializeOwned>(bytes: &[u8], bytes_max: u64) -> Result<T, DecodeError> {
    if bytes.len() as u64 > bytes_max {
        return Err(DecodeError::TooLarge { bytes: bytes.len() as u64, bytes_max });
    }
    if depth(bytes) > JSON_DEPTH_MAX {
        return Err(DecodeError::TooDeep);
    }
    if largest_integer(bytes) > JSON_INTEGER_MAX {
        return Err(DecodeError::NumberTooLarge);
    }
    serde_json::from_slice(bytes).map_err(DecodeError::Invalid)
}

/// True if no white space stands between tokens, as every common JSON writer's compact form.
#[must_use]
pub fn is_compact(bytes: &[u8]) -> bool {
    outside_strings(bytes).all(|b| !b.is_ascii_whitespace())
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

/// The largest run of digits outside of strings. What is no integer (a fraction, an exponent, a sign) is refused by the types.
fn largest_integer(bytes: &[u8]) -> u64 {
    let (mut now, mut most) = (0_u64, 0_u64);
    for b in outside_strings(bytes) {
        now = if b.is_ascii_digit() { now.saturating_mul(10).saturating_add(u64::from(b - b'0')) } else { 0 };
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
        for bad in [&br#"{"b":2,"a":1}"#[..], br#"{"a":1, "b":2}"#, br#"{"a":1,"a":1}"#, br#"{"\u0061":1}"#, br#"{"a":1}x"#] {
            assert!(decode::<Map>(bad, 100).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        assert!(matches!(decode::<Map>(br#"{"a":1}"#, 6), Err(DecodeError::TooLarge { bytes: 7, bytes_max: 6 })));
        let deep = "[".repeat(JSON_DEPTH_MAX + 1);
        assert!(matches!(decode::<Map>(deep.as_bytes(), 100), Err(DecodeError::TooDeep)));
    }

    #[test]
    fn integers_that_a_double_does_not_count_exactly_are_refused() {
        assert!(decode::<Map>(br#"{"a":9007199254740991}"#, 100).is_ok());
        for bad in ["9007199254740992", "18014398509481984", "18446744073709552000", "18446744073709551615"] {
            let document = format!(r#"{{"a":{bad}}}"#);
            assert!(matches!(decode::<Map>(document.as_bytes(), 100), Err(DecodeError::NumberTooLarge)), "{bad}");
            assert!(matches!(decode_lenient::<Map>(document.as_bytes(), 100), Err(DecodeError::NumberTooLarge)), "{bad}");
        }
        assert!(decode::<BTreeMap<String, String>>(br#"{"a1":"99999999999999999999"}"#, 100).is_ok(), "a text");
    }

    #[test]
    fn brackets_and_spaces_in_strings_do_not_count() {
        assert_eq!(depth(br#"{"a":"[[[\"[["}"#), 1);
        assert!(is_compact(br#"{"a b":"c d"}"#));
        assert!(!is_compact(br#"{"a": 1}"#));
    }
}
