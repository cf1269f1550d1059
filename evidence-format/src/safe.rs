//! Escapes untrusted text for display. The author of a bundle may try to control the auditor's
//! terminal (escape sequences), to forge lines of our report (line breaks), or to disguise a name
//! (bidirectional overrides).

use std::fmt::Write as _;

use serde_json::Value;

/// True for characters that a terminal interprets instead of showing, that reorder the text around
/// them, or that are invisible.
#[must_use]
pub fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' // marks, overrides, isolates
            | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' // byte-order mark, annotations
            | '\u{E0000}'..='\u{E007F}') // tags
}

/// `text` on one line, with every unsafe character escaped as `\n`, `\t` or `\u{1b}`.
#[must_use]
pub fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_safe(&mut out, text);
    out
}

/// Like [`safe`], for bytes that may not be text: bytes that are not UTF-8 appear as `\xff`.
#[must_use]
pub fn safe_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        push_safe(&mut out, chunk.valid());
        for b in chunk.invalid() {
            let _ = write!(out, "\\x{b:02x}");
        }
    }
    out
}

/// `value` as JSON on one line, with every unsafe character as a JSON escape: the same document,
/// but safe to print to a terminal.
#[must_use]
pub fn safe_json(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        if is_unsafe(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn push_safe(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unsafe(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "a\u{1b}[31m\u{9b}2J\u{7f}\n\r\t\0\u{202e}\u{2066}\u{2069}\u{200f}\u{feff}\u{e0041}é漢";

    #[test]
    fn escapes_everything_a_terminal_interprets() {
        let shown = safe(HOSTILE);
        assert!(!shown.chars().any(is_unsafe), "{shown:?}");
        assert_eq!(
            shown,
            r"a\u{1b}[31m\u{9b}2J\u{7f}\n\r\t\u{0}\u{202e}\u{2066}\u{2069}\u{200f}\u{feff}\u{e0041}é漢"
        );
        for c in ('\0'..='\u{1f}')
            .chain('\u{7f}'..='\u{9f}')
            .chain('\u{202a}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}')
        {
            assert!(is_unsafe(c), "{c:?}");
        }
    }

    #[test]
    fn shows_invalid_utf8_as_hex() {
        assert_eq!(safe_bytes(b"ok\xff\x9b\x1b[0m"), r"ok\xff\x9b\u{1b}[0m");
    }

    #[test]
    fn escaped_json_parses_to_the_same_value() {
        let value = Value::from(HOSTILE);
        let shown = safe_json(&value);
        assert!(!shown.chars().any(is_unsafe), "{shown:?}");
        assert_eq!(
            serde_json::from_str::<Value>(&shown).expect("still JSON"),
            value
        );
    }
}
