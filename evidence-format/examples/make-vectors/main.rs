//! Writes every vector of `vectors/` into a folder, the same bytes each time: `make-vectors DIR`. With
//! `--hostile` it writes the bundles that want to exhaust a verifier instead.
//!
//! Nothing here depends on a clock, and all randomness is fixed. `tests/vectors.rs` compares the
//! result with the vectors that are checked in.

mod vectors;

use std::path::PathBuf;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let is_hostile = arguments
        .next_if(|argument| argument == "--hostile")
        .is_some();
    let folder = arguments
        .next()
        .map(PathBuf::from)
        .context("usage: make-vectors [--hostile] DIR")?;
    if is_hostile {
        return vectors::write_hostile(&folder);
    }
    vectors::write_all(&folder)
}
