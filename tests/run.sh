#!/usr/bin/env bash
# Runs all tests of Exhibit. Needs Debian 12 with Rust, gcc, Python 3.11, Node 20, git, and root for apt. Installs everything else.
#
#   tests/run.sh            all tests
#   tests/run.sh --quick    only what needs no installation: formatting, lints, documentation, Rust tests
#   tests/run.sh --mutants N [--seed N]    compares all verifiers on N changed bundles, some 15 in a second
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$*"; }

if [[ ${1:-} == --mutants ]]; then
  tests/interop/install.sh
  cargo build --workspace --locked --quiet
  exec target/interop/venv/bin/python -B tests/interop/mutate.py --audit target/debug/exhibit-audit --count "${@:2}"
fi

step "formatting, lints, documentation"
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- --deny warnings
RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps --locked --quiet

if [[ ${1:-} != --quick ]]; then
  step "third-party programs"
  tests/interop/install.sh
  step "licences, bans and sources of dependencies"
  cargo fetch --locked --quiet
  PATH=$PWD/target/interop/venv/bin:$PATH cargo deny --locked --log-level error check licenses bans sources
else
  export EXHIBIT_TESTS_QUICK=1 # tests with third-party programs print that they are skipped
fi

step "tests"
cargo build --workspace --locked --quiet
if cargo nextest --version > /dev/null 2>&1; then
  cargo nextest run --workspace --locked --no-fail-fast
else
  cargo test --workspace --locked --no-fail-fast --quiet --lib --bins --tests
fi
cargo test --workspace --locked --doc --quiet
