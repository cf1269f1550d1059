#!/bin/sh
# Builds the libFuzzer programs with a stable compiler, without cargo-fuzz: into target/x86_64-unknown-linux-gnu/release/.
# The flags are those of cargo-fuzz (its project.rs, rust_fuzz_flags), without a sanitizer: the format has no `unsafe`.
set -eu
cd "$(dirname "$0")"
passes='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters'
passes="$passes -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS="$passes --cfg fuzzing -Ccodegen-units=1" cargo build --release --bins --target x86_64-unknown-linux-gnu "$@"
