//! Every limit of the format, with its reason.
//!
//! A reader rejects whatever exceeds a limit, even if a trusted key signed it: a hostile bundle
//! must cost a verifier bounded memory and time. Names end in the unit.

/// Plaintext bytes in one zstd frame of an item. Bounds a reader's buffers, since a frame is
/// decompressed whole. On CloudTrail, frames of 2 MiB compress less than 1 % worse than a single
/// long frame does (see SPEC.md, "Frames").
pub const FRAME_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Compressed bytes of one frame: zstd's own bound for [`FRAME_BYTES_MAX`] incompressible bytes,
/// rounded up.
pub const FRAME_PACKED_BYTES_MAX: u64 = FRAME_BYTES_MAX + 16 * 1024;

/// Segments that touch one frame. Bounds the list of lengths that a worker holds when a hostile
/// segment list cuts a frame into single bytes.
pub const FRAME_SEGMENTS_MAX: u64 = 65_536;

/// Compressed bytes of one segment list, together with the lists that a reader keeps because later
/// items share them. At 1.5 bytes a record, this allows an item of 10 million records.
pub const SEGMENT_LIST_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// zstd window of a segment list, as a power of two: 1 MiB.
pub const SEGMENT_LIST_WINDOW_LOG_MAX: u32 = 20;

/// Frames of one item. The seek table counts frames in 32 bits, but zstd itself stops at 2^27.
pub const FRAMES_MAX: u64 = 1 << 27;

/// Bytes of `oci-layout`: ours has 30, other tools add a space or two.
pub const OCI_LAYOUT_BYTES_MAX: u64 = 64;

/// Bytes of `index.json`: 64 descriptors of about 400 bytes, with room.
pub const INDEX_BYTES_MAX: u64 = 64 * 1024;

/// Manifests listed in `index.json`: the bundle and its referrers.
pub const MANIFESTS_MAX: usize = 64;

/// Bytes of all manifests together. A bundle of [`ITEMS_MAX`] items with two descriptors of at most
/// 380 bytes each fits.
pub const MANIFEST_BYTES_MAX: u64 = 1024 * 1024;

/// Bytes of a manifest that is not a bundle's. That of an attestation has 600.
pub const REFERRER_MANIFEST_BYTES_MAX: u64 = 64 * 1024;

/// Annotations of one descriptor. Ours have one.
pub const ANNOTATIONS_MAX: usize = 16;

/// Bytes of a config blob: [`ITEMS_MAX`] items of about 1.5 KiB.
pub const CONFIG_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// How many of the characters `{`, `[` and `,` a JSON document has outside of its texts. That is how
/// many values it has, give or take a few, and so how much memory it takes once it is parsed: an
/// empty list of two bytes may take sixty.
pub const JSON_MARKS_MAX: usize = 64 * 1024;

/// Bytes of a sigstore bundle: a statement of [`PAE_BYTES_MAX`] in base64, and a timestamp token.
pub const SIGSTORE_BUNDLE_BYTES_MAX: u64 = 64 * 1024;

/// Timestamp tokens in one sigstore bundle: one or two, renewed now and then.
pub const TIMESTAMPS_MAX: usize = 16;

/// Log entries in one sigstore bundle, which version 1 does not check.
pub const LOG_ENTRIES_MAX: usize = 16;

/// Bytes to sign (the DSSE pre-authentication encoding, PAE). AWS KMS signs at most 4096 bytes with
/// Ed25519 in one call, and the PAE stays below that.
pub const PAE_BYTES_MAX: u64 = 4095;

/// Bytes of a key file in PEM.
pub const KEY_FILE_BYTES_MAX: u64 = 4096;

/// Nesting depth of any JSON document of a bundle. Our own reach 7.
pub const JSON_DEPTH_MAX: usize = 16;

/// Largest integer in a JSON document: numbers of RFC 8785 are IEEE doubles, which are exact up to
/// this value.
pub const JSON_INTEGER_MAX: u64 = (1 << 53) - 1;

/// Items of one bundle, and steps of its plan. A capture of more takes several bundles.
pub const ITEMS_MAX: usize = 1000;

/// Plaintext bytes of one item. 16 TiB is larger than any disk that one item is read from, and far
/// below [`JSON_INTEGER_MAX`].
pub const ITEM_BYTES_MAX: u64 = 16 << 40;

/// Bytes of one WARC record's header block. Real ones have 300 to 2,000.
pub const WARC_HEADER_BYTES_MAX: u64 = 64 * 1024;

/// Clock readings in one config: one at the beginning, one at the end, and room.
pub const CLOCK_READINGS_MAX: usize = 64;

/// Kinds of what was removed from one item.
pub const REDACTIONS_MAX: usize = 64;

/// Servers listed for one item, an endpoint for each region of a provider among them; responses of
/// further ones are counted.
pub const SERVERS_MAX: usize = 32;

/// Examples listed under one gap; the count beside them is exact.
pub const GAP_EXAMPLES_MAX: usize = 16;

/// UTF-8 bytes of any free text in the config (a path, a description).
pub const TEXT_BYTES_MAX: usize = 4096;

/// Bytes of a tar entry's name. USTAR has room for 100; `blobs/sha256/` and 64 hex digits need 77.
pub const TAR_NAME_BYTES_MAX: usize = 100;
