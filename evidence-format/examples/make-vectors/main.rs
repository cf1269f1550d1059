//! Writes every vector of `vectors/` into a folder, the same bytes each time: `make-vectors DIR`.
//!
//! Nothing here depends on a clock, and all randomness is fixed. `tests/vectors.rs` compares the
//! result with the vectors that are checked in.

mod vectors;

use std::path::PathBuf;

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .context("usage: make-vectors DIR")?;
    vectors::write_all(&folder)
}
