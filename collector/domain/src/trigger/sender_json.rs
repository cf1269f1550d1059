//! Reads JSON as senders really write it. A program that cuts a text by UTF-16 units leaves half a
//! surrogate pair, one that cuts it by bytes leaves half a character, and some write a byte order
//! mark. Such a body declares its incident: U+FFFD replaces what is broken. The signature covers
//! the bytes as they arrived, so nothing here weakens it.

use std::borrow::Cow;

use serde_json::Value;

/// U+FEFF in UTF-8, which RFC 8259 §8.1 lets a parser ignore.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes of an escape such as `\ud83d`.
const ESCAPE_BYTES: usize = 6;

/// Parses JSON; `None` if more is wrong with it than broken characters and a byte order mark.
pub(super) fn parse(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    // Nearly all bodies are sound, and need no copy.
    serde_json::from_slice(body).ok().or_else(|| {
        let text = String::from_utf8_lossy(body);
        serde_json::from_str(&replace_lone_surrogates(&text)?).ok()
    })
}

/// `text` with `\ufffd` for each escape of half a surrogate pair. `None` if there was nothing to
/// repair.
fn replace_lone_surrogates(text: &str) -> Option<Cow<'_, str>> {
    let mut repaired = String::new();
    let (mut rest, mut copied) = (text, false);
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at..];
        let length = match unit(escape) {
            // No `\u`: the next character is part of the escape, whatever it is.
            None => 1 + escape[1..].chars().next().map_or(0, char::len_utf8),
            Some(high) if is_high(high) && unit(&escape[ESCAPE_BYTES..]).is_some_and(is_low) => {
                2 * ESCAPE_BYTES
            }
            Some(lone) if is_high(lone) || is_low(lone) => {
                repaired.push_str(&rest[..at]);
                repaired.push_str("\\ufffd");
                copied = true;
                rest = &rest[at + ESCAPE_BYTES..];
                continue;
            }
            Some(_) => ESCAPE_BYTES,
        };
        repaired.push_str(&rest[..at + length]);
        rest = &rest[at + length..];
    }
    if !copied {
        // Bytes that were not UTF-8 are already replaced in `text`.
        return text.contains('\u{fffd}').then_some(Cow::Borrowed(text));
    }
    repaired.push_str(rest);
    Some(Cow::Owned(repaired))
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
    fn rejects_whatever_else_is_wrong() {
        for body in [
            &br#"{"t":"\ud800"#[..],
            br#"{"t":"\ud8"}"#,
            br#"{"t":"\ud800}"#,
            br#"{"t":"\u+123"}"#,
            br#"{"t":"\x \ud800"}"#,
            b"\xff\xfe{\0}\0",
            b"\xef\xbb\xbf",
            b"",
            b"\\",
        ] {
            assert_eq!(parse(body), None, "{body:?}");
        }
    }
}
