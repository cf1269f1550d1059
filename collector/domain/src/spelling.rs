//! Help with misspelled names.

use std::fmt::Display;

/// Wrong, missing or swapped letters up to which a known name is offered in place of an unknown
/// one.
const TYPING_ERRORS_MAX: usize = 3;
/// Characters of the unknown word that are looked at: no known name is as long.
const WORD_CHARS_MAX: usize = 64;

/// The known name that `word` is probably a misspelling of.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word: Vec<char> = word.chars().take(WORD_CHARS_MAX).collect();
    let allowed = TYPING_ERRORS_MAX.min(word.len().div_ceil(2));
    let distances = known
        .into_iter()
        .map(|name| (distance(&word, &name.chars().collect::<Vec<_>>()), name));
    distances
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

/// `, did you mean "x"?` as part of an error, or nothing.
pub fn did_you_mean(nearest: Option<&str>) -> String {
    nearest
        .map(|name| format!(" (did you mean {name:?}?)"))
        .unwrap_or_default()
}

/// What there is, as part of an error.
pub fn comma_separated<T: Display>(known: &[T]) -> String {
    known
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The known key that is nearest to the unknown one which a message of toml's is about.
#[must_use]
pub fn suggested_key(message: &str) -> Option<&str> {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (unknown, known) = quoted
        .split_first()
        .filter(|_| message.starts_with("unknown field"))?;
    nearest(unknown, known.iter().copied())
}

/// Letters to put in, take out, change or swap with their neighbour (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                rows[i][j] = i + j;
                continue;
            }
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_no_distant_one() {
        let known = ["host", "okta", "entra", "kubernetes"];
        assert_eq!(nearest("kuberntes", known), Some("kubernetes"));
        assert_eq!(nearest("otka", known), Some("okta"));
        assert_eq!(nearest("zzzzzz", known), None);
        assert_eq!(nearest("", known), None);
    }
}
