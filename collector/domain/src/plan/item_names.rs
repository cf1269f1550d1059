//! Names of items: from what offers and targets are called, and distinct whatever that is.

use std::collections::{BTreeMap, BTreeSet};

use evidence_format::digest::Digest;
use evidence_format::id::ItemName;

use super::choose::StepQuestion;

/// Bytes of an offer's and of a target's part of an item's name: with a pivot's 20, a digest's 9
/// and a number's 7 they stay under the 128 of an item.
const PART_BYTES_MAX: usize = 44;
/// Hex digits by which names are told apart. Where they meet even so, a number follows.
const DIGEST_DIGITS: usize = 8;

/// The names of the items, each once. A name from which something was replaced or cut, and names
/// that would meet, end in a digest of the whole question, so that they depend on nothing else;
/// whoever names a target cannot take another's name.
pub(super) fn item_names(questions: &[StepQuestion<'_>]) -> Vec<ItemName> {
    let plain: Vec<(String, bool)> = questions.iter().map(plain).collect();
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, _) in plain.iter().filter(|(_, exact)| *exact) {
        *count.entry(name).or_default() += 1;
    }
    let mut used = BTreeSet::new();
    let mut names = Vec::with_capacity(questions.len());
    for ((name, exact), question) in plain.iter().zip(questions) {
        let clear = *exact && count.get(name.as_str()) == Some(&1);
        let told = if clear {
            name.clone()
        } else {
            format!("{name}-{}", digest(&identity(question)))
        };
        let numbered = (2..).map(|number| format!("{told}-{number}"));
        let free = [told.clone()]
            .into_iter()
            .chain(numbered)
            .find(|name| used.insert(name.clone()));
        let free = free.expect("there are more numbers than steps");
        names.push(
            free.parse()
                .expect("parts are short and of the characters of item names"),
        );
    }
    names
}

/// A name made of the question's parts, and whether it says them exactly.
fn plain(question: &StepQuestion<'_>) -> (String, bool) {
    let target = question.place.estimate.target.name.as_deref();
    let mut exact = true;
    let mut name = String::new();
    for part in [Some(question.place.offer.item), target]
        .into_iter()
        .flatten()
    {
        let written = written(part);
        exact &= written == part;
        if !written.is_empty() {
            name = if name.is_empty() {
                written
            } else {
                format!("{name}-{written}")
            };
        }
    }
    if let Some(pivot) = &question.pivot {
        name = format!("{name}-{}-{}", pivot.kind(), digest(&pivot.to_string()));
    }
    (
        if name.is_empty() {
            "item".to_owned()
        } else {
            name.trim_start_matches('-').to_owned()
        },
        exact,
    )
}

/// `part` in the characters of item names.
fn written(part: &str) -> String {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let lower = part
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if allowed(c) { c } else { '-' });
    let text: String = lower.take(PART_BYTES_MAX).collect();
    text.trim_matches(['.', '_', '-']).to_owned()
}

fn identity(question: &StepQuestion<'_>) -> String {
    let (offer, target) = (question.place.offer, &question.place.estimate.target);
    format!(
        "{:?}",
        (
            question.place.source.as_str(),
            offer.item,
            offer.api,
            target,
            &question.pivot
        )
    )
}

fn digest(text: &str) -> String {
    Digest::of(text.as_bytes()).hex()[..DIGEST_DIGITS].to_owned()
}
