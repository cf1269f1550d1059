//! Bounds texts, since whoever acted chose them.

/// Longest text of any field of a derivation, in bytes; longer ones are cut at a character.
pub const TEXT_BYTES_MAX: usize = 512;

/// `text` cut at a character to at most [`TEXT_BYTES_MAX`] bytes.
#[must_use]
pub fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

/// `text` cut to at most `chars_max` characters, the last of which is then `…`: for a part of a
/// summary, which must leave room for the others.
#[must_use]
pub fn shortened(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some(_) => text
            .chars()
            .take(chars_max.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

pub(crate) fn bound(text: &mut String) {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_a_character() {
        let long = "é".repeat(300);
        assert_eq!(bounded(&long).len(), 512);
        assert_eq!(bounded(&long[..511 - 1]), long[..510]);
        assert_eq!(shortened("user@example.com", 6), "user@…");
        assert_eq!(shortened("user@…", 6), "user@…");
    }
}
