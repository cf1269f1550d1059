//! Names of items: readable, made of the names of offer and target, and always distinct.

use std::collections::{BTreeMap, BTreeSet};

use evidence_format::digest::Digest;
use evidence_format::id::ItemName;

use super::choose::StepQuestion;

/// Bytes of the offer's and of the target's part of an item name. With 20 for a pivot, 9 for a
/// digest and 7 for a number, a name stays below the 128 that the format allows.
const PART_BYTES_MAX: usize = 44;
/// Hex digits of a digest in a name. If two names collide even so, a number follows.
const DIGEST_DIGITS: usize = 8;

/// A distinct item name for each question.
///
/// A name in which something was replaced or cut, and names that would collide, end in a digest of
/// the whole question. So a name depends on its question only, and anyone who names a target cannot
/// take the name of another one.
pub(super) fn item_names(questions: &[StepQuestion<'_>]) -> Vec<ItemName> {
    let readable: Vec<(String, bool)> = questions.iter().map(readable_name).collect();
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    // Names that are not exact get a digest anyway, so only exact ones compete.
    for (name, _) in readable.iter().filter(|(_, exact)| *exact) {
        *count.entry(name).or_default() += 1;
    }
    let mut used = BTreeSet::new();
    let mut names = Vec::with_capacity(questions.len());
    for ((name, exact), question) in readable.iter().zip(questions) {
        let is_unique = *exact && count.get(name.as_str()) == Some(&1);
        let base = if is_unique {
            name.clone()
        } else {
            format!("{name}-{}", digest(&identity(question)))
        };
        let numbered = (2..).map(|number| format!("{base}-{number}"));
        let free = [base.clone()]
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

/// A name made of the question's parts, and whether it contains them unchanged.
fn readable_name(question: &StepQuestion<'_>) -> (String, bool) {
    let target = question.candidate.readiness.target.name.as_deref();
    let mut exact = true;
    let mut name = String::new();
    for part in [Some(question.candidate.offer.item), target]
        .into_iter()
        .flatten()
    {
        let clean = sanitized(part);
        exact &= clean == part;
        if !clean.is_empty() {
            name = if name.is_empty() {
                clean
            } else {
                format!("{name}-{clean}")
            };
        }
    }
    if let Some(pivot) = &question.pivot {
        // A pivot's value may be long and have any characters.
        name = format!("{name}-{}-{}", pivot.kind(), digest(&pivot.to_string()));
    }
    (
        if name.is_empty() {
            "item".to_owned()
        } else {
            // Offer and target may have no usable character; then the pivot's part begins the name.
            name.trim_start_matches('-').to_owned()
        },
        exact,
    )
}

/// Replaces what item names may not contain, and cuts.
fn sanitized(part: &str) -> String {
    let lower = part
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| match c {
            'a'..='z' | '0'..='9' | '.' | '_' | '-' => c,
            _ => '-',
        });
    let text: String = lower.take(PART_BYTES_MAX).collect();
    // After the cut, which may leave a separator at the end.
    text.trim_matches(['.', '_', '-']).to_owned()
}

fn identity(question: &StepQuestion<'_>) -> String {
    let (offer, target) = (
        question.candidate.offer,
        &question.candidate.readiness.target,
    );
    format!(
        // `Debug` quotes every text, so that different questions never have the same identity.
        "{:?}",
        (
            question.candidate.source.as_str(),
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
