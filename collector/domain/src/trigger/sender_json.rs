//! Reads JSON as senders really write it. A program that cuts a text by UTF-16 units leaves half a
//! surrogate pair, one that cuts it by bytes leaves half a character. Some write UTF-16, or a byte
//! order mark, line breaks as they are, the end of a C string, or numbers beyond what others can
//! hold. Such a body declares its incident: U+FFFD replaces broken characters, and a number that is
//! too large stays a text. The signature covers the bytes as they arrived, so nothing here weakens
//! it.

use std::borrow::Cow;

use serde_json::Value;

/// U+FEFF in UTF-8, which RFC 8259 §8.1 lets a parser ignore.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The same in UTF-16.
const LITTLE_ENDIAN_MARK: &[u8] = b"\xff\xfe";
const BIG_ENDIAN_MARK: &[u8] = b"\xfe\xff";
/// Bytes of an escape such as `\ud83d`.
const ESCAPE_BYTES: usize = 6;

/// Parses JSON; `None` if more is wrong with it than what this module repairs.
pub(super) fn parse(body: &[u8]) -> Option<Value> {
    let utf8 = if let Some(units) = body.strip_prefix(LITTLE_ENDIAN_MARK) {
        Cow::Owned(from_utf16(units, u16::from_le_bytes)?.into_bytes())
    } else if let Some(units) = body.strip_prefix(BIG_ENDIAN_MARK) {
        Cow::Owned(from_utf16(units, u16::from_be_bytes)?.into_bytes())
    } else {
        Cow::Borrowed(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body))
    };
    // Nearly all bodies are sound, and need no copy.
    serde_json::from_slice(&utf8).ok().or_else(|| {
        let text = String::from_utf8_lossy(&utf8);
        serde_json::from_str(&repaired(text.trim_end_matches('\0'))).ok()
    })
}

/// `None` if the last unit is cut off.
fn from_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (units, []) = bytes.as_chunks() else {
        return None;
    };
    let units = units.iter().map(|pair| unit(*pair));
    let characters = char::decode_utf16(units);
    Some(
        characters
            .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect(),
    )
}

/// `text` with its strings and numbers as every parser reads them. Whatever else is wrong stays.
fn repaired(text: &str) -> String {
    let mut repaired = String::with_capacity(text.len());
    let (mut rest, mut in_string) = (text, false);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => {
                in_string = !in_string;
                repaired.push('"');
                1
            }
            '\\' if in_string => push_escape(rest, &mut repaired),
            control if in_string && control < ' ' => {
                repaired.push_str(&format!("\\u{:04x}", u32::from(control)));
                1
            }
            '-' | '0'..='9' if !in_string => push_number(rest, &mut repaired),
            other => {
                repaired.push(other);
                other.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    repaired
}

/// Adds the escape that `text` begins with, and returns its length in `text`: U+FFFD if it is half a
/// surrogate pair.
fn push_escape(text: &str, repaired: &mut String) -> usize {
    let length = match unit(text) {
        // No `\u`: the next character is part of the escape, whatever it is.
        None => 1 + text[1..].chars().next().map_or(0, char::len_utf8),
        Some(high) if is_high(high) && unit(&text[ESCAPE_BYTES..]).is_some_and(is_low) => {
            2 * ESCAPE_BYTES
        }
        Some(lone) if is_high(lone) || is_low(lone) => {
            repaired.push_str("\\ufffd");
            return ESCAPE_BYTES;
        }
        Some(_) => ESCAPE_BYTES,
    };
    repaired.push_str(&text[..length]);
    length
}

/// Adds the number that `text` begins with, and returns its length: as a text if a double cannot
/// hold it.
fn push_number(text: &str, repaired: &mut String) -> usize {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    let length = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let number = &text[..length];
    // `parse` accepts `1.` and `+1`, which JSON does not have; they are finite, and stay.
    if number.parse::<f64>().is_ok_and(f64::is_infinite) {
        repaired.push('"');
        repaired.push_str(number);
        repaired.push('"');
    } else {
        repaired.push_str(number);
    }
    length
}

/// The UTF-16 unit of the escape that `text` begins with.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    // `from_str_radix` alone would accept `+123`.
    let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex.then(|| u16::from_str_radix(digits, 16).ok())?
}

fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn is_low(unit: u16) -> bool {
    (0xdc00..0xe000).contains(&unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_half_a_surrogate_pair_and_half_a_character() {
        for (body, title) in [
            (&br#"{"t":"\ud800"}"#[..], "\u{fffd}"),
            (br#"{"t":"a\uDFFFb"}"#, "a\u{fffd}b"),
            (br#"{"t":"\ud83d\ud83d\ude00"}"#, "\u{fffd}😀"),
            (br#"{"t":"\ude00\ud83d"}"#, "\u{fffd}\u{fffd}"),
            // An escaped backslash, and the text `ud800`.
            (br#"{"t":"\\ud800 \ud800"}"#, "\\ud800 \u{fffd}"),
            (b"{\"t\":\"caf\xc3\"}", "caf\u{fffd}"),
            (b"{\"t\":\"x\xed\xa0\xbdy\"}", "x\u{fffd}\u{fffd}\u{fffd}y"),
            (b"\xef\xbb\xbf{\"t\":\"a\"}", "a"),
            (b"\xef\xbb\xbf{\"t\":\"\\ud800\"}", "\u{fffd}"),
        ] {
            assert_eq!(parse(body), Some(json!({"t": title})), "{body:?}");
        }
    }

    #[test]
    fn reads_what_is_no_fault_of_the_message() {
        let utf16 = |mark: &[u8], bytes: fn(u16) -> [u8; 2]| {
            let units = r#"{"t":"é😀"}"#.encode_utf16().flat_map(bytes);
            mark.iter().copied().chain(units).collect::<Vec<u8>>()
        };
        let little = utf16(LITTLE_ENDIAN_MARK, u16::to_le_bytes);
        let big = utf16(BIG_ENDIAN_MARK, u16::to_be_bytes);
        for (body, title) in [
            (&little[..], "é😀"),
            (&big[..], "é😀"),
            (b"{\"t\":\"a\"}\0", "a"),
            (b"{\"t\":\"a\"}\n\0\0", "a"),
            (b"{\"t\":\"a\nb\tc\"}", "a\nb\tc"),
            (br#"{"t":"1e999 \ud800"}"#, "1e999 \u{fffd}"),
        ] {
            assert_eq!(parse(body), Some(json!({"t": title})), "{body:?}");
        }
        assert_eq!(
            parse(br#"{"a":[1e999,-1E+999,1e9],"t":"x"}"#),
            Some(json!({"a": ["1e999", "-1E+999", 1e9], "t": "x"}))
        );
    }

    #[test]
    fn rejects_whatever_else_is_wrong() {
        for body in [
            &br#"{"t":"\ud800"#[..],
            br#"{"t":"\ud8"}"#,
            br#"{"t":"\ud800}"#,
            br#"{"t":"\u+123"}"#,
            br#"{"t":"\x \ud800"}"#,
            b"\xff\xfe{\0}",
            b"\xff\xfe",
            b"{\"t\":\"a\"}\0{",
            br#"{"t":1e999x}"#,
            br#"{"t":01e999 2}"#,
            b"{\n\"t\":\"a",
            b"\xef\xbb\xbf",
            b"",
            b"\\",
        ] {
            assert_eq!(parse(body), None, "{body:?}");
        }
    }
}
