//! Names of items, from names of files.

use std::collections::BTreeSet;
use std::path::Path;

use evidence_format::id::ItemName;

/// Most bytes taken from a file's name: leaves room for a number below the 128 that an item's name
/// may have.
const STEM_BYTES_MAX: usize = 100;

/// Names given so far.
#[derive(Default)]
pub(super) struct ItemNames(BTreeSet<ItemName>);

impl ItemNames {
    /// A name for the item of `path`, unlike all names before: `shot.png`, then `shot.png-2`.
    pub(super) fn give(&mut self, path: &Path) -> ItemName {
        let stem = stem(path);
        let numbered = (2_u64..).map(|n| format!("{stem}-{n}"));
        let mut free = std::iter::once(stem.clone())
            .chain(numbered)
            .map(|name| name.parse().expect("cut to the rule"));
        let name: ItemName = free
            .find(|name| !self.0.contains(name))
            .expect("numbers do not end");
        self.0.insert(name.clone());
        name
    }
}

/// The file's name in the letters that an item's name may have.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let letter = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let mapped: String = name.chars().map(letter).collect();
    let begun = mapped.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if begun.is_empty() {
        "files".to_owned()
    } else {
        begun.chars().take(STEM_BYTES_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_the_allowed_letters_and_unique() {
        let mut names = ItemNames::default();
        let long = "x".repeat(255);
        let given = [
            "/a/Shot 1.PNG",
            "/b/shot-1.png",
            "/c/shot-1.png",
            "/.bash_history",
            "/",
            "/…",
            &long,
        ]
        .map(|p| names.give(Path::new(p)));
        let given: Vec<&str> = given.iter().map(ItemName::as_str).collect();
        assert_eq!(
            given[..6],
            [
                "shot-1.png",
                "shot-1.png-2",
                "shot-1.png-3",
                "bash_history",
                "files",
                "files-2"
            ]
        );
        assert_eq!(given[6].len(), STEM_BYTES_MAX);
    }
}
