//! Words of a shell's command line, for commands that people paste.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use evidence_format::safe::safe;

/// `text` as one word. What needs no quotes gets none.
#[must_use]
pub fn shell_word(text: impl AsRef<OsStr>) -> String {
    let bytes = text.as_ref().as_bytes();
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_./:@+,".contains(b);
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && bytes.iter().all(is_plain) => text.to_owned(),
        Ok(_) | Err(_) => quoted_word(text),
    }
}

/// `text` as one word in quotes.
#[must_use]
pub fn quoted_word(text: impl AsRef<OsStr>) -> String {
    let bytes = text.as_ref().as_bytes();
    match std::str::from_utf8(bytes) {
        // Only text that a terminal shows unchanged may stay as it is.
        Ok(text) if safe(text) == text => format!("'{}'", text.replace('\'', r"'\''")),
        _ => ansi_c_word(bytes),
    }
}

/// Quoting for bytes that cannot be shown, as bash, zsh, ksh and POSIX (since 2024) read it.
fn ansi_c_word(bytes: &[u8]) -> String {
    let mut word = "$'".to_owned();
    for &b in bytes {
        match b {
            b'\'' | b'\\' => word.extend(['\\', char::from(b)]),
            b' '..=b'~' => word.push(char::from(b)),
            _ => word.push_str(&format!("\\{b:03o}")), // octal: always three digits, unlike hexadecimal
        }
    }
    word + "'"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_as_one_shell_word() {
        let word = |bytes: &[u8]| shell_word(OsStr::from_bytes(bytes));
        assert_eq!(word(b"/var/lib/x.tar"), "/var/lib/x.tar");
        assert_eq!(word(b""), "''");
        assert_eq!(word(b"/a b/$(c)"), "'/a b/$(c)'");
        assert_eq!(word(b"/it's"), r"'/it'\''s'");
        assert_eq!(word(b"/a\n1'\\\xff2"), r"$'/a\0121\'\\\3772'");
    }
}
