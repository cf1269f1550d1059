//! Real provider data for tests, which is not in this repository.

use std::path::{Path, PathBuf};

/// The file `name` of the corpora: in `EXHIBIT_CORPORA`, or in a folder beside the repository. If it
/// is absent, prints that the test is skipped.
pub(crate) fn corpora(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    let folder = std::env::var_os("EXHIBIT_CORPORA").map_or_else(beside, PathBuf::from);
    let path = folder.join(name);
    if path.is_file() {
        return Some(path);
    }
    skipped(&format!("there is no {}", path.display()));
    None
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
