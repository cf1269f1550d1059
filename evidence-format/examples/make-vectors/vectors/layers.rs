//! The zstd encoding of items, written by hand (RFC 8878). Blocks are stored or repeat one byte, so
//! that the result does not depend on the version of a compressor.

use evidence_format::segment::SegmentKind;

/// Shortest run of one byte that gets a block of its own.
const RUN_BYTES_MIN: usize = 64;
const BLOCK_BYTES_MAX: usize = 128 * 1024;
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// Frame header: content size in four bytes, one segment.
pub(crate) const SIZE_IN_FOUR_BYTES: u8 = 0b1010_0000;
pub(crate) const SALT: [u8; 32] = [0x5a; 32];

/// A valid data frame of `plain`.
pub(crate) fn frame(plain: &[u8]) -> Vec<u8> {
    frame_with(
        SIZE_IN_FOUR_BYTES,
        &(plain.len() as u32).to_le_bytes(),
        &blocks(plain),
    )
}

/// A frame with any header: the descriptor, what follows it, and the blocks.
pub(crate) fn frame_with(descriptor: u8, header: &[u8], blocks: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &[descriptor], header, blocks].concat()
}

/// `plain` as blocks.
pub(crate) fn blocks(plain: &[u8]) -> Vec<u8> {
    let (mut blocks, mut rest) = (Vec::new(), plain);
    loop {
        let (block, size, repeated) = next_block(rest);
        rest = &rest[size..];
        let header = (size as u32) << 3 | u32::from(repeated) << 1 | u32::from(rest.is_empty());
        blocks.extend(&header.to_le_bytes()[..3]);
        blocks.extend(block);
        if rest.is_empty() {
            return blocks;
        }
    }
}

/// The content of the next block, how many bytes of `rest` it encodes, and whether it repeats one
/// byte.
fn next_block(rest: &[u8]) -> (&[u8], usize, bool) {
    let runs = || rest.chunk_by(|a, b| a == b);
    let first = runs().next().map_or(0, <[u8]>::len);
    if first >= RUN_BYTES_MIN {
        return (&rest[..1], first.min(BLOCK_BYTES_MAX), true);
    }
    let stored: usize = runs()
        .map(<[u8]>::len)
        .take_while(|len| *len < RUN_BYTES_MIN)
        .sum();
    let stored = stored.min(BLOCK_BYTES_MAX);
    (&rest[..stored], stored, false)
}

/// A skippable frame.
pub(crate) fn skippable(magic: u32, content: &[u8]) -> Vec<u8> {
    [
        &magic.to_le_bytes()[..],
        &(content.len() as u32).to_le_bytes(),
        content,
    ]
    .concat()
}

pub(crate) fn salt_frame() -> Vec<u8> {
    skippable(0x184D_2A50, &SALT)
}

/// The seek table of frames with these compressed and uncompressed sizes.
pub(crate) fn seek_table(sizes: &[(usize, usize)]) -> Vec<u8> {
    let mut content = Vec::new();
    for (packed, plain) in sizes {
        content.extend((*packed as u32).to_le_bytes());
        content.extend((*plain as u32).to_le_bytes());
    }
    content.extend((sizes.len() as u32).to_le_bytes());
    content.push(0);
    content.extend(0x8F92_EAB1_u32.to_le_bytes());
    skippable(0x184D_2A5E, &content)
}

/// A valid layer of data frames.
pub(crate) fn layer(plain: &[&[u8]]) -> Vec<u8> {
    layer_of(
        &plain
            .iter()
            .filter(|plain| !plain.is_empty())
            .map(|plain| (frame(plain), plain.len()))
            .collect::<Vec<_>>(),
    )
}

/// A layer of these frames, each with its content size, then the salt frame and the seek table.
pub(crate) fn layer_of(frames: &[(Vec<u8>, usize)]) -> Vec<u8> {
    let mut all = frames.to_vec();
    all.push((salt_frame(), 0));
    let sizes: Vec<_> = all
        .iter()
        .map(|(packed, plain)| (packed.len(), *plain))
        .collect();
    all.push((seek_table(&sizes), 0));
    all.into_iter().flat_map(|(packed, _)| packed).collect()
}

/// The number that encodes a segment.
pub(crate) fn number(kind: SegmentKind, len: u64) -> u64 {
    len * 2 + u64::from(kind == SegmentKind::Record)
}

pub(crate) fn leb128(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A valid segment list.
pub(crate) fn list(segments: &[(SegmentKind, u64)]) -> Vec<u8> {
    frame(&list_content(segments))
}

pub(crate) fn list_content(segments: &[(SegmentKind, u64)]) -> Vec<u8> {
    segments
        .iter()
        .flat_map(|(kind, len)| leb128(number(*kind, *len)))
        .collect()
}
