//! Suggests a known name in place of a misspelled one, for error messages.

use std::fmt::Display;

/// Edits (insertions, deletions, substitutions, swaps of neighbours) up to which a known name is
/// suggested.
const EDITS_MAX: usize = 3;
/// Characters of the unknown word that are compared: every known name is shorter.
const WORD_CHARS_MAX: usize = 64;

/// The known name that `word` is probably a misspelling of.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word: String = word.chars().take(WORD_CHARS_MAX).collect();
    // At most half of a short word may differ: otherwise `git` would suggest `s3`.
    let edits_max = EDITS_MAX.min(word.chars().count().div_ceil(2));
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&word, name), name))
        .filter(|(edits, _)| *edits <= edits_max)
        // Among equally near names the first by alphabet, so that messages do not vary.
        .min()
        .map(|(_, name)| name)
}

/// ` (did you mean "x"?)`, or nothing.
#[must_use]
pub fn did_you_mean(nearest: Option<&str>) -> String {
    nearest
        .map(|name| format!(" (did you mean {name:?}?)"))
        .unwrap_or_default()
}

/// A number with its noun: `1 record`, `2 records`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        // "passes", "boxes"; other nouns of ours take a plain s
        _ if noun.ends_with('s') || noun.ends_with('x') => format!("{number} {noun}es"),
        _ => format!("{number} {noun}s"),
    }
}

#[must_use]
pub fn comma_separated<T: Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(", ")
}

/// The known key nearest to the unknown one in an error message of the `toml` crate, which reads
/// "unknown field `x`, expected one of `y`, `z`".
#[must_use]
pub fn suggested_key(message: &str) -> Option<&str> {
    // The crate has no other interface to the keys that it knows.
    if !message.starts_with("unknown field") {
        return None;
    }
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (unknown, known) = quoted.split_first()?;
    nearest(unknown, known.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_nearest_name_but_no_distant_one() {
        let known = ["host", "okta", "entra", "kubernetes"];
        assert_eq!(nearest("kuberntes", known), Some("kubernetes"));
        assert_eq!(nearest("otka", known), Some("okta"));
        assert_eq!(nearest("zzzzzz", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn finds_key_in_message_of_toml() {
        let message = "unknown field `region`, expected one of `enabled`, `regions`";
        assert_eq!(suggested_key(message), Some("regions"));
        assert_eq!(suggested_key("invalid type: `region`, `regions`"), None);
    }
}
