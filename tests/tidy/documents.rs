//! Documents have readable lines and sentences, and agree with the code.

use tests::root;

use crate::source::{files_below, read, relative, text_of};

/// The longest line of the README.
const LINE_COLUMNS_MAX: usize = 120;
/// The longest sentence of the README.
const SENTENCE_WORDS_MAX: usize = 30;
/// The most lines of the glossary. It explains our own terms, not those of the field.
const GLOSSARY_LINES_MAX: usize = 25;

#[test]
fn readme_has_short_lines_and_sentences() {
    let text = read("README.md");
    let long: Vec<&str> = text
        .lines()
        .filter(|line| LINE_COLUMNS_MAX < line.chars().count())
        .collect();
    assert!(long.is_empty(), "long lines:\n{}", long.join("\n"));
    let long: Vec<String> = sentences(&text)
        .into_iter()
        .filter(|sentence| SENTENCE_WORDS_MAX < sentence.split_whitespace().count())
        .collect();
    assert!(long.is_empty(), "long sentences:\n{}", long.join("\n"));
}

#[test]
fn glossary_is_short_and_linked() {
    let lines = read("GLOSSARY.md").lines().count();
    assert!(lines <= GLOSSARY_LINES_MAX, "GLOSSARY.md has {lines} lines");
    assert!(read("README.md").contains("](GLOSSARY.md)"));
}

/// The sentences in a document's prose, list items and table cells, without code blocks.
fn sentences(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    let mut is_code = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            is_code = !is_code;
            blocks.push(String::new());
        } else if is_code {
            continue;
        } else if line.starts_with('|') {
            blocks.extend(line.split('|').map(|cell| format!(" {cell}")));
            blocks.push(String::new());
        } else {
            if line.is_empty() || line.starts_with(['#', '*', '-']) {
                blocks.push(String::new());
            }
            let block = blocks.last_mut().expect("the list starts with a block");
            block.push(' ');
            block.push_str(line.trim_start_matches(['#', '*', '-', ' ']));
        }
    }
    let ends = [". ", "? ", "! "];
    blocks
        .iter()
        .map(|block| format!("{} ", without_link_targets(block).trim()))
        .flat_map(|block| {
            let separated = ends.iter().fold(block, |block, end| {
                block.replace(end, &format!("{}\n", end.trim()))
            });
            separated.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|sentence| !sentence.trim().is_empty())
        .collect()
}

/// Replaces each Markdown link with its text.
fn without_link_targets(text: &str) -> String {
    let mut parts = text.split("](");
    let mut plain = parts.next().unwrap_or("").to_owned();
    for part in parts {
        plain.push_str(part.split_once(')').map_or("", |(_, rest)| rest));
    }
    plain
}

#[test]
fn finds_sentences_in_prose_and_cells() {
    let text = "# A b\n\nOne [two\nthree](x.md). Four!\n\n```sh\nno\n```\n| five. six | `a` |\n";
    let found: Vec<String> = sentences(text);
    let found: Vec<&str> = found.iter().map(|sentence| sentence.trim()).collect();
    assert_eq!(
        found,
        ["A b", "One [two three.", "Four!", "five.", "six", "`a`"]
    );
}

#[test]
fn links_between_documents_resolve() {
    let mut checked = 0;
    for file in files_below(&root(), "md") {
        let text = text_of(&file);
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = target.split('#').next().unwrap_or("");
            if path.is_empty() || target.contains("://") {
                continue;
            }
            let folder = file.parent().expect("a file is in a folder");
            assert!(
                folder.join(path).exists(),
                "{} links to {target}",
                relative(&file)
            );
            checked += 1;
        }
    }
    assert!(
        checked > 5,
        "only {checked} links were found: does the pattern still match?"
    );
}

#[test]
fn specification_names_every_fault_code() {
    let spec = read("evidence-format/SPEC.md");
    for code in evidence_format::verify::FaultCode::ALL {
        assert!(
            spec.contains(&format!("`{code}`")),
            "SPEC.md does not name {code}"
        );
    }
}
