//! Real provider data, which is not part of this repository.

#![allow(dead_code, reason = "each test uses some of these")]

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use evidence_derive::{Derivation, RecordContext, derive_record};

/// The folder of the corpora. If this machine has none, prints that the test is skipped.
///
/// `EXHIBIT_CORPORA` overrides the default, a folder beside the repository.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn corpora() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora");
    let folder = std::env::var_os("EXHIBIT_CORPORA").map_or_else(beside, PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!(
        "SKIPPED: there is no folder {} with provider data",
        folder.display()
    );
    None
}

/// The text of a file, decompressed if its name ends in `.zst`.
pub(crate) fn text(path: &Path) -> String {
    let file = File::open(path).expect("a file of the corpora");
    let bytes = if path.extension().is_some_and(|extension| extension == "zst") {
        zstd::decode_all(file).expect("zstd")
    } else {
        let mut file = file;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("readable");
        bytes
    };
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Name and bytes of each regular file in a `.tar.zst`, in its order.
pub(crate) fn tar_files(path: &Path) -> Vec<(String, Vec<u8>)> {
    let tar = zstd::decode_all(File::open(path).expect("a file of the corpora")).expect("zstd");
    let mut files = Vec::new();
    let mut rest = &tar[..];
    while let Some((header, after)) = rest.split_at_checked(512) {
        let field = |from: usize, len: usize| {
            let bytes = &header[from..from + len];
            let end = bytes.iter().position(|b| *b == 0).unwrap_or(len);
            String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
        };
        let Ok(size) = usize::from_str_radix(&field(124, 12), 8) else {
            break;
        };
        if matches!(header[156], b'0' | 0) {
            let (prefix, name) = (field(345, 155), field(0, 100));
            let name = [prefix, name].into_iter().filter(|part| !part.is_empty());
            let name = name.collect::<Vec<_>>().join("/");
            files.push((name, after[..size].to_vec()));
        }
        rest = &after[size.next_multiple_of(512)..];
    }
    files
}

/// What `bytes` says as a record of `endpoint`.
pub(crate) fn derive(endpoint: &str, uri: &str, bytes: &[u8]) -> Vec<Derivation> {
    let context = RecordContext {
        endpoint,
        uri,
        status: 0,
        captured_at: "2026-11-27T00:00:00Z".parse().expect("a time"),
        booted_at: None,
        process_uid: None,
        account: None,
        frame: b"",
        offset: 0,
        preceding: b"",
        bytes,
    };
    let mut derived = Vec::new();
    derive_record(&context, &mut |derivation| derived.push(derivation));
    derived
}
