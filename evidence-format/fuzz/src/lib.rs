//! Fuzz targets of the bundle format: one for each parser, as plain functions.
//!
//! A target takes any bytes, returns whether the parser accepted them, and panics if a promise of
//! the format is broken: decoding and encoding must give the same bytes, and it must not matter how
//! the bytes are split between calls. `tests/smoke.rs` runs each target for a few seconds with a
//! stable compiler; `libfuzzer/` runs it for any time.

pub mod parts;
pub mod seeds;
mod targets;

/// A parser under test.
pub struct FuzzTarget {
    /// Name of the libFuzzer program.
    pub name: &'static str,
    /// Returns true if `bytes` were accepted.
    ///
    /// # Panics
    /// A promise of the format is broken.
    pub run: fn(bytes: &[u8]) -> bool,
    /// Valid inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// True if no input is ever rejected.
    pub takes_all: bool,
}

const fn parser(
    name: &'static str,
    run: fn(&[u8]) -> bool,
    seeds: fn() -> Vec<Vec<u8>>,
) -> FuzzTarget {
    FuzzTarget {
        name,
        run,
        seeds,
        takes_all: false,
    }
}

/// Every target.
pub const TARGETS: &[FuzzTarget] = &[
    parser("attestation", targets::attestation, seeds::attestation),
    parser("bundle", targets::bundle, seeds::bundle),
    parser("bundle_parts", targets::bundle_parts, seeds::bundle_parts),
    parser("config", targets::config, seeds::config),
    parser("index", targets::index, seeds::index),
    FuzzTarget {
        takes_all: true,
        ..parser("item", targets::item, seeds::bodies)
    },
    parser("keys", targets::keys, seeds::keys),
    parser("layer", targets::layer, seeds::layer),
    parser("manifest", targets::manifest, seeds::manifest),
    parser("oci_layout", targets::oci_layout, seeds::oci_layout),
    parser("segment_list", targets::segment_list, seeds::segment_list),
    parser(
        "segment_numbers",
        targets::segment_numbers,
        seeds::segment_numbers,
    ),
    FuzzTarget {
        takes_all: true,
        ..parser("segmenter", targets::segmenter, seeds::bodies)
    },
    parser("statement", targets::statement, seeds::statement),
    parser("tar", targets::tar, seeds::bundle),
    parser("texts", targets::texts, seeds::texts),
    parser("warc", targets::warc, seeds::warc),
    parser("warc_header", targets::warc_header, seeds::warc_header),
];

/// Runs the target `name`.
///
/// # Panics
/// There is no such target, or it found something.
pub fn run(name: &str, bytes: &[u8]) -> bool {
    let target = TARGETS
        .iter()
        .find(|target| target.name == name)
        .expect("a target of this name");
    (target.run)(bytes)
}
