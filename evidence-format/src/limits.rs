//! Every limit of the format, with its reason.
//!
//! A reader refuses what exceeds them, whoever signed it: a hostile bundle must
//! cost a verifier bounded memory and time. Names end in the unit.

/// Plaintext bytes in one zstd frame of an item. Bounds a reader's buffers, since a frame is
/// decompressed whole; 2 MiB keep the loss against one long frame below 1 % on CloudTrail (see
/// SPEC.md, "Frames").
pub const FRAME_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Compressed bytes of one frame: zstd's own bound for [`FRAME_BYTES_MAX`] incompressible bytes,
/// rounded up.
pub const FRAME_PACKED_BYTES_MAX: u64 = FRAME_BYTES_MAX + 16 * 1024;

/// Segments that lie wholly inside one frame. Bounds the list of lengths that a worker holds (256
/// KiB) when a hostile segment list cuts a frame into single bytes.
pub const FRAME_SEGMENTS_MAX: u64 = 65_536;

/// Compressed bytes of one segment list and of those kept beside it, since later items share them;
/// at 1.5 bytes a record this is an item of 40 million records.
pub const SEGMENT_LIST_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// zstd window of a segment list, as a power of two: 1 MiB.
pub const SEGMENT_LIST_WINDOW_LOG_MAX: u32 = 20;

/// Frames of one item: what zstd's seek table can count (its field is 32 bits; zstd itself stops at
/// 2^27).
pub const FRAMES_MAX: u64 = 1 << 27;

/// Bytes of `oci-layout`: ours has 30, other tools put a blank or two into it.
pub const OCI_LAYOUT_BYTES_MAX: u64 = 64;

/// Bytes of `index.json`: 64 descriptors of about 400 bytes, with room.
pub const INDEX_BYTES_MAX: u64 = 64 * 1024;

/// Manifests listed in `index.json`: the bundle and its referrers.
pub const MANIFESTS_MAX: usize = 64;

/// Bytes of all manifests together: [`ITEMS_MAX`] items with two descriptors each fit, and what
/// refers to them is small.
pub const MANIFEST_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of a config blob: [`ITEMS_MAX`] items of about 1.5 KiB.
pub const CONFIG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Bytes of a sigstore bundle: a statement of [`PAE_BYTES_MAX`] in base64, and a timestamp token.
pub const SIGSTORE_BUNDLE_BYTES_MAX: u64 = 64 * 1024;

/// Bytes that are signed (the DSSE pre-authentication encoding): what AWS KMS signs with Ed25519 in
/// one call is 4096 bytes at most, and the PAE stays under it.
pub const PAE_BYTES_MAX: u64 = 4095;

/// Bytes of a key file in PEM.
pub const KEY_FILE_BYTES_MAX: u64 = 4096;

/// Depth of nesting of any JSON document of a bundle. Ours reach 7.
pub const JSON_DEPTH_MAX: usize = 16;

/// Largest integer in a JSON document: RFC 8785 numbers are IEEE doubles, which count exactly up to
/// here.
pub const JSON_INTEGER_MAX: u64 = (1 << 53) - 1;

/// Items of one bundle.
pub const ITEMS_MAX: usize = 10_000;

/// Plaintext bytes of one item: [`JSON_INTEGER_MAX`] is far above, 16 TiB is above any disk that
/// one item comes from.
pub const ITEM_BYTES_MAX: u64 = 16 << 40;

/// Bytes of one WARC record's header block. Real ones take 300 to 2,000.
pub const WARC_HEADER_BYTES_MAX: u64 = 64 * 1024;

/// Named examples under one gap; the count beside them is exact.
pub const GAP_EXAMPLES_MAX: usize = 16;

/// Bytes of any one free text in the config (a path, a detail), in UTF-8.
pub const TEXT_BYTES_MAX: usize = 4096;

/// Bytes of a tar entry's name: what `blobs/sha256/` and 64 hex digits need is 77, and USTAR has
/// 100.
pub const TAR_NAME_BYTES_MAX: usize = 100;
