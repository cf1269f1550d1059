//! Makes names of items from names of files.

use std::collections::BTreeSet;
use std::path::Path;

use evidence_format::id::ItemName;

/// Bytes used of a file's name: an item's name may have 128, and a number must fit too.
const STEM_BYTES_MAX: usize = 100;

/// The names that are in use.
#[derive(Default)]
pub(super) struct ItemNames(BTreeSet<ItemName>);

impl ItemNames {
    /// A name for the item of `path` that is not in use: `shot.png`, then `shot.png-2`.
    pub(super) fn give(&mut self, path: &Path) -> ItemName {
        let stem = stem(path);
        let numbered = (2_u64..).map(|n| format!("{stem}-{n}"));
        let mut free = std::iter::once(stem.clone()).chain(numbered).map(|name| {
            name.parse()
                .expect("its characters and length follow the rule")
        });
        let name: ItemName = free
            .find(|name| !self.0.contains(name))
            .expect("there is always a next number");
        self.0.insert(name.clone());
        name
    }
}

/// The file's name, with only the characters that an item's name may have.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mapped: String = name
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '.' | '_' | '-') => c,
            _ => '-',
        })
        .collect();
    // an item's name begins with a letter or a digit
    let trimmed = mapped.trim_start_matches(['.', '_', '-']);
    if trimmed.is_empty() {
        "files".to_owned()
    } else {
        trimmed.chars().take(STEM_BYTES_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn item_names_are_valid_and_unique() {
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
