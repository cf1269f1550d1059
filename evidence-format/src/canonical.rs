//! Canonical JSON (RFC 8785, JCS): the only spelling in which a bundle's documents are written and
//! accepted.
//!
//! Decoding parses into a type that rejects unknown members, encodes the value again and compares
//! the bytes. Duplicate members, white space, other escapes, other number spellings and reordered
//! members all fail the comparison, so no two byte strings decode to the same document.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::limits::{JSON_DEPTH_MAX, JSON_INTEGER_MAX, JSON_MARKS_MAX};

/// A document was rejected.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The document is longer than its kind may be.
    #[error("document has {bytes} bytes, limit is {bytes_max}")]
    TooLarge {
        /// Bytes of the document.
        bytes: u64,
        /// The most bytes that its kind may have.
        bytes_max: u64,
    },
    /// The document nests deeper than any document of the format.
    #[error("document nests deeper than {JSON_DEPTH_MAX} levels")]
    TooDeep,
    /// The document has more values than any document of the format.
    #[error("document has more than {JSON_MARKS_MAX} of `{{`, `[` and `,` outside of its texts")]
    TooManyValues,
    /// The bytes are not UTF-8, as JSON must be.
    #[error("document is not UTF-8")]
    NotUtf8(#[source] std::str::Utf8Error),
    /// A text has an escape for half a surrogate pair.
    #[error("document has half a surrogate pair")]
    LoneSurrogate,
    /// The bytes are not JSON, or not this kind of document.
    #[error("document is not valid")]
    Invalid(#[source] serde_json::Error),
    /// The document is JSON, but not an object.
    #[error("document is not an object")]
    NotAnObject,
    /// An integer is too large for an IEEE double, the number type of RFC 8785, to hold exactly.
    #[error("document has an integer above {JSON_INTEGER_MAX}")]
    IntegerTooLarge,
    /// A member occurs twice, is `null` where it should be left out, or is an array where an object
    /// is expected.
    #[error("document has a duplicate member, a needless null or an array for an object")]
    NotStrict,
    /// The document is of its kind, but not in the canonical spelling.
    #[error("document is not in canonical form (RFC 8785)")]
    NotCanonical,
}

/// Encodes `document` canonically.
///
/// # Panics
/// The type cannot be written as JSON, which is a bug in this crate and does not depend on the
/// data.
pub fn encode<T: Serialize>(document: &T) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(document)
        .expect("documents of this crate consist of maps, arrays, strings and integers")
}

/// Decodes a canonical document of at most `bytes_max` bytes.
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

/// Decodes a document that other tools may have rewritten (`index.json`): its members may stand in
/// any order, and white space is allowed; everything else is as strict as in [`decode`].
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
    // `Value` keeps one of two members with the same name. Each member has one colon outside of
    // strings, so counting colons finds the duplicates.
    let members_found = outside_strings(bytes).filter(|&b| b == b':').count();
    if found != written || members_found != count_members(&written) {
        return Err(DecodeError::NotStrict);
    }
    check_integers(bytes)?;
    Ok(document)
}

/// Decodes only the members that `T` has, in any spelling: for looking at a document before its
/// form is known.
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
    // serde does not look into texts that it passes over.
    std::str::from_utf8(bytes).map_err(DecodeError::NotUtf8)?;
    if has_lone_surrogate(bytes) {
        return Err(DecodeError::LoneSurrogate);
    }
    if depth(bytes) > JSON_DEPTH_MAX {
        return Err(DecodeError::TooDeep);
    }
    if outside_strings(bytes)
        .filter(|b| matches!(b, b'{' | b'[' | b','))
        .count()
        > JSON_MARKS_MAX
    {
        return Err(DecodeError::TooManyValues);
    }
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(DecodeError::NotAnObject); // serde would accept an array of the values too
    }
    serde_json::from_slice(bytes).map_err(DecodeError::Invalid)
}

/// True if there is no white space between tokens, as in the compact form of all common encoders.
#[must_use]
pub fn is_compact(bytes: &[u8]) -> bool {
    outside_strings(bytes).all(|b| !b.is_ascii_whitespace())
}

fn count_members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.values().map(|v| 1 + count_members(v)).sum(),
        Value::Array(list) => list.iter().map(count_members).sum(),
        _ => 0,
    }
}

/// Checks every run of digits outside of strings, so that the limit holds for positive and negative
/// integers. Fractions, exponents and unexpected signs are rejected by the types.
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

/// True if a text has an escape such as `\ud800` without its other half.
fn has_lone_surrogate(bytes: &[u8]) -> bool {
    let (mut rest, mut wants_low) = (bytes, false);
    while let [first, behind @ ..] = rest {
        let unit = match rest {
            [b'\\', b'u', digits @ ..] => digits
                .get(..4)
                .and_then(|digits| str::from_utf8(digits).ok())
                .and_then(|digits| u16::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        if wants_low != matches!(unit, Some(0xdc00..=0xdfff)) {
            return true;
        }
        wants_low = matches!(unit, Some(0xd800..=0xdbff));
        rest = match unit {
            Some(_) => &rest["\\uXXXX".len()..],
            None if *first == b'\\' => behind.get(1..).unwrap_or_default(),
            None => behind,
        };
    }
    wants_low
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

/// The bytes outside of string literals.
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
    fn rejects_every_other_spelling() {
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
    fn finds_half_a_surrogate_pair_in_any_text() {
        for (text, is_lone) in [
            (r#"{"x":"\ud83d\ude00 \\ud800 \u00e9"}"#, false),
            (r#"{"x":"\ud800"}"#, true),
            (r#"{"x":"\ud800\n\udc00"}"#, true),
            (r#"{"x":["\udc00"]}"#, true),
            (r#"{"\\\ud800":1}"#, true),
            (r#"{"x":"\ud8"#, false),
        ] {
            assert_eq!(has_lone_surrogate(text.as_bytes()), is_lone, "{text}");
        }
    }

    #[test]
    fn rejects_integers_that_a_double_cannot_hold() {
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
            "a string, not a number"
        );
    }

    #[test]
    fn any_order_still_rejects_duplicates_nulls_and_arrays() {
        #[derive(Debug, Serialize, serde::Deserialize)]
        struct Pair {
            #[serde(skip_serializing_if = "Option::is_none")]
            a: Option<u64>,
            b: Map,
        }
        fn read(text: &str) -> Result<Pair, DecodeError> {
            decode_any_order(text.as_bytes(), 100)
        }
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
    fn rejects_more_values_than_the_limit() {
        type Lists = BTreeMap<String, Vec<u64>>;
        let document = |count: usize| format!("{{\"a\":[{}0]}}", "0,".repeat(count));
        let most = JSON_MARKS_MAX - 2; // an object and a list
        let decode = |count| decode::<Lists>(document(count).as_bytes(), 1 << 20);
        assert!(decode(most).is_ok());
        assert!(matches!(decode(most + 1), Err(DecodeError::TooManyValues)));
        let commas = format!("{{\"{}\":[]}}", ",".repeat(JSON_MARKS_MAX));
        assert!(
            super::decode::<Lists>(commas.as_bytes(), 1 << 20).is_ok(),
            "in a text"
        );
    }

    #[test]
    fn ignores_brackets_and_spaces_in_strings() {
        assert_eq!(depth(br#"{"a":"[[[\"[["}"#), 1);
        assert!(is_compact(br#"{"a b":"c d"}"#));
        assert!(!is_compact(br#"{"a": 1}"#));
    }
}
