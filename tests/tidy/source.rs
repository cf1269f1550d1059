//! The source code that the rules read: our packages, without tests and comments.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tests::root;

use crate::layers::PACKAGES;

/// A source file whose tests and comments are blanked, which keeps its line numbers.
pub(crate) struct SourceFile {
    /// Its path in the repository: `collector/server/src/routes.rs`.
    pub name: String,
    /// The folder of its crate: `collector/server/src`, or `…/src/bin/NAME` for a binary.
    pub crate_root: String,
    /// Its module path in the crate, empty for `lib.rs` and `main.rs`.
    pub module: Vec<String>,
    pub code: String,
}

/// The source files of all packages, without tests.
pub(crate) fn product_files() -> Vec<SourceFile> {
    let packages = PACKAGES.iter().map(|(package, _)| *package);
    packages.flat_map(files_of_package).collect()
}

/// The source files of one package, without tests.
pub(crate) fn files_of_package(package: &str) -> Vec<SourceFile> {
    let folder = root().join(package).join("src");
    let files = files_below(&folder, "rs");
    let only_tests: BTreeSet<PathBuf> = files.iter().flat_map(|file| test_modules(file)).collect();
    files
        .iter()
        .filter(|file| {
            let stem = file.with_extension("");
            !only_tests.iter().any(|module| stem.starts_with(module))
        })
        .map(|file| source_file(file, &folder))
        .collect()
}

fn source_file(file: &Path, folder: &Path) -> SourceFile {
    let inside = file
        .strip_prefix(folder)
        .expect("the file is below the folder");
    let mut module: Vec<String> = inside
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let mut crate_root = relative(folder);
    if module.first().is_some_and(|first| first == "bin") {
        let program: Vec<_> = module.drain(..2).collect();
        crate_root = format!("{crate_root}/{}", program.join("/"));
    }
    if module
        .last()
        .is_some_and(|last| matches!(last.as_str(), "lib" | "main" | "mod"))
    {
        module.pop();
    }
    SourceFile {
        name: relative(file),
        crate_root,
        module,
        code: without_tests_and_comments(&text_of(file)),
    }
}

/// The paths, without extension, of the test modules that `file` declares.
fn test_modules(file: &Path) -> Vec<PathBuf> {
    let stem = file.with_extension("");
    let is_root = stem.ends_with("lib") || stem.ends_with("main") || stem.ends_with("mod");
    let folder = if is_root {
        file.parent().expect("a file is in a folder").to_owned()
    } else {
        stem
    };
    let text = text_of(file);
    let mut lines = text.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            continue;
        }
        let declared = lines
            .by_ref()
            .find(|line| !line.starts_with(['#', '/']))
            .unwrap_or("");
        if let Some(name) = declared
            .strip_suffix(';')
            .and_then(|line| line.split("mod ").nth(1))
        {
            found.push(folder.join(name));
        }
    }
    found
}

/// Blanks comments, and drops everything from the first unit test module on.
///
/// A `//` inside a string is kept unless it has a space on both sides.
pub(crate) fn without_tests_and_comments(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let begins_tests = line == "#[cfg(test)]"
            && lines
                .peek()
                .is_some_and(|next| next.contains("mod ") && next.ends_with('{'));
        if begins_tests {
            break;
        }
        if !line.trim_start().starts_with("//") {
            code.push_str(line.split(" // ").next().unwrap_or(""));
        }
        code.push('\n');
    }
    code
}

/// The text of the file at this path in the repository.
pub(crate) fn read(name: &str) -> String {
    text_of(&root().join(name))
}

pub(crate) fn text_of(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// The path of `file` in the repository.
pub(crate) fn relative(file: &Path) -> String {
    file.strip_prefix(root())
        .expect("the file is below the folder")
        .to_string_lossy()
        .into_owned()
}

/// The files below `folder` with this extension, sorted, without build output and dependencies.
pub(crate) fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .expect("the scratch folder is writable")
            .map(|entry| entry.expect("readable").path())
        {
            let name = entry.file_name().and_then(|n| n.to_str()).unwrap_or("");
            if entry.is_dir()
                && !entry.is_symlink()
                && !matches!(name, "target" | ".git" | "node_modules")
            {
                folders.push(entry);
            } else if entry.extension().is_some_and(|e| e == extension) {
                files.insert(entry);
            }
        }
    }
    assert!(
        !files.is_empty(),
        "{} has no .{extension} file",
        folder.display()
    );
    files.into_iter().collect()
}

#[test]
fn blanks_comments_and_unit_tests() {
    let text = "//! A\nuse a; // b\nlet c = \"https://d\";\n\n#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(
        without_tests_and_comments(text),
        "\nuse a;\nlet c = \"https://d\";\n\n"
    );
}
