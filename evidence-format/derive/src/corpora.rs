//! Real provider data for tests, which is not in this repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

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

/// The raw messages in an archive of pairs of input and expected output.
pub(crate) fn messages(archive: &str) -> Option<Vec<Value>> {
    let archive = corpora(&format!("internal-only/sekoia-pairs/{archive}.tar.zst"))?;
    let unpacked = Command::new("tar")
        .args(["--zstd", "--to-command", "cat; printf '\\0'", "-xf"])
        .arg(archive)
        .output();
    let output = match unpacked {
        Ok(output) if output.status.success() => output.stdout,
        other => {
            skipped(&format!("tar with zstd is needed, and gives {other:?}"));
            return None;
        }
    };
    let pairs = output
        .split(|byte| *byte == 0)
        .filter(|pair| !pair.is_empty());
    let messages = pairs.map(|pair| {
        let pair: Value = serde_json::from_slice(pair).expect("a pair is JSON");
        let text = pair["input"]["message"].as_str().expect("a message");
        serde_json::from_str(text).expect("a message is JSON")
    });
    Some(messages.collect())
}
