//! Fuzz targets of the bundle format: one for each parser, as plain functions.
//!
//! A target takes any bytes, says whether the parser accepted them, and panics if what the format
//! promises does not hold: what was decoded is encoded to the same bytes; how bytes are divided
//! between calls makes no difference. `tests/smoke.rs` runs each for a few seconds with a stable
//! compiler; `libfuzzer/` runs them for as long as one likes.

pub mod parts;
pub mod seeds;
mod targets;

/// A parser under test.
pub struct FuzzTarget {
    /// As the libFuzzer program is called.
    pub name: &'static str,
    /// True if `bytes` were accepted.
    ///
    /// # Panics
    /// The format's promises are broken.
    pub run: fn(bytes: &[u8]) -> bool,
    /// Inputs that must be accepted, to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// No input is refused.
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
