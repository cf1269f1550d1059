//! Assembles a bundle from parts so that all its digests are right.
//!
//! A part may refer to an earlier one: `@key@` stands for its digest, `@key#@` for its size. For
//! items, `@root0@`, `@bytes0@` and `@records0@` stand for the result of reading them. So a
//! mutation of a config or a layer gets past the digests that cover it.

use std::num::NonZeroUsize;

use data_encoding::BASE64;
use evidence_format::container::{blob_name, tar::TarWriter};
use evidence_format::digest::Digest;
use evidence_format::item::{WorkerPool, read_item};
use evidence_format::keyring::Signer;
use evidence_format::signature::pae;
use evidence_format::tree::DisclosureKey;

use crate::seeds;

/// Names of the parts in the order of assembly. `segments` and `layer` are given before
/// compression: as numbers and as WARC.
pub const NAMES: [&str; 11] = [
    "key",
    "segments0",
    "layer0",
    "segments1",
    "layer1",
    "config",
    "bundle",
    "empty",
    "statement",
    "attestation",
    "index",
];

/// The order of the parts in a tar, after `oci-layout` and `index.json`.
const TAR_ORDER: [&str; 10] = [
    "bundle",
    "attestation",
    "empty",
    "statement",
    "config",
    "key",
    "segments0",
    "layer0",
    "segments1",
    "layer1",
];

/// The root of a longer item is not computed, in plaintext bytes.
const ITEM_BYTES_MAX: u64 = 4 << 20;

/// Splits an input into parts, each of which is its length (u32le) and its content. Missing parts
/// are empty.
#[must_use]
pub fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    for _ in NAMES {
        let (len, rest) = bytes.split_at(bytes.len().min(4));
        let len = len.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
        let (part, rest) = rest.split_at(rest.len().min(len));
        parts.push(part.to_vec());
        bytes = rest;
    }
    parts
}

/// Joins parts so that [`split`] restores them.
#[must_use]
pub fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    parts
        .iter()
        .flat_map(|part| [&(part.len() as u32).to_le_bytes()[..], part].concat())
        .collect()
}

/// The bundle's tar.
#[must_use]
pub fn assemble(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut blobs: Vec<(&str, Vec<u8>)> = Vec::new();
    let mut values: Vec<(String, String)> = Vec::new();
    for (name, part) in NAMES.into_iter().zip(parts) {
        let blob = match name {
            "layer0" | "layer1" => layer(part),
            "segments0" | "segments1" => zstd::encode_all(&part[..], 1).expect("in memory"),
            "statement" => envelope(&fill(part, &values)),
            _ => fill(part, &values),
        };
        let digest = Digest::of(&blob);
        values.push((format!("@{name}@"), digest.to_string()));
        values.push((format!("@{name}.hex@"), digest.hex()));
        values.push((format!("@{name}#@"), blob.len().to_string()));
        // The config comes after the items, so their totals are known when it is filled in.
        if let Some(number) = name.strip_prefix("layer") {
            let list = &blobs.last().expect("a list comes first").1;
            values.extend(item_values(number, &blobs[0].1, &blob, list));
        }
        blobs.push((name, blob));
    }
    write_tar(&blobs)
}

fn fill(part: &[u8], values: &[(String, String)]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(part) else {
        return part.to_vec();
    };
    values
        .iter()
        .fold(text.to_owned(), |text, (token, value)| {
            text.replace(token, value)
        })
        .into_bytes()
}

/// What the config must state about an item.
fn item_values(number: &str, key: &[u8], layer: &[u8], list: &[u8]) -> Vec<(String, String)> {
    let name = format!("item{number}").parse().expect("a valid name");
    let key = DisclosureKey::new(key.try_into().unwrap_or_default());
    let mut workers = WorkerPool::for_reading(NonZeroUsize::MIN);
    let contents = read_item(
        &name,
        &key,
        (layer, list),
        ITEM_BYTES_MAX,
        &mut workers,
        &mut (),
    );
    let (bytes, leaves, records, root) = contents.map_or((0, 0, 0, Digest::of(b"")), |c| {
        (c.bytes, c.leaves, c.records, c.root)
    });
    [
        ("bytes", bytes.to_string()),
        ("leaves", leaves.to_string()),
        ("records", records.to_string()),
        ("root", root.hex()),
    ]
    .map(|(what, value)| (format!("@{what}{number}@"), value))
    .into()
}

/// Frames of 1,000 bytes, the salt and the seek table as SPEC.md defines them, independently of the
/// library. A part that begins with a frame already is used unchanged.
fn layer(part: &[u8]) -> Vec<u8> {
    if part.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || part.starts_with(&[0x50, 0x2a, 0x4d, 0x18]) {
        return part.to_vec();
    }
    let (mut layer, mut table) = (Vec::new(), Vec::new());
    let mut entry = |packed: usize, plain: usize| {
        table.extend(
            [packed as u32, plain as u32]
                .into_iter()
                .flat_map(u32::to_le_bytes),
        );
    };
    for plain in part.chunks(1000) {
        let packed = zstd::bulk::compress(plain, 1).expect("memory");
        entry(packed.len(), plain.len());
        layer.extend(packed);
    }
    entry(40, 0);
    layer.extend(
        [
            &0x184D_2A50_u32.to_le_bytes()[..],
            &32_u32.to_le_bytes(),
            &[7; 32],
        ]
        .concat(),
    );
    let entries = (table.len() / 8) as u32;
    layer.extend(
        [0x184D_2A5E, table.len() as u32 + 9]
            .into_iter()
            .flat_map(u32::to_le_bytes),
    );
    layer.extend(table);
    layer.extend(
        [
            &entries.to_le_bytes()[..],
            &[0],
            &0x8F92_EAB1_u32.to_le_bytes(),
        ]
        .concat(),
    );
    layer
}

/// A sigstore bundle with `payload` and a valid signature. A part that begins as a sigstore bundle
/// is used unchanged.
fn envelope(payload: &[u8]) -> Vec<u8> {
    if payload.starts_with(b"{\"dsseEnvelope\"") {
        return payload.to_vec();
    }
    let (kind, key) = ("application/vnd.in-toto+json", seeds::secret_key());
    let signature = BASE64.encode(&key.sign(&pae(kind, payload)).expect("in memory"));
    let (payload, id) = (BASE64.encode(payload), key.public_key().id());
    let envelope = format!(
        r#"{{"payload":"{payload}","payloadType":"{kind}","signatures":[{{"keyid":"{id}","sig":"{signature}"}}]}}"#
    );
    let material = format!(r#"{{"publicKey":{{"hint":"{id}"}},"tlogEntries":[]}}"#);
    let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
    format!(
        r#"{{"dsseEnvelope":{envelope},"mediaType":"{kind}","verificationMaterial":{material}}}"#
    )
    .into_bytes()
}

fn write_tar(blobs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let blob = |name: &str| {
        blobs
            .iter()
            .find(|(n, _)| *n == name)
            .map_or(&[][..], |(_, blob)| blob)
    };
    let mut tar = TarWriter::new(Vec::new());
    let mut file = |name: &str, content: &[u8]| {
        tar.file(name, content.len() as u64, content)
            .expect("in memory")
    };
    file("oci-layout", evidence_format::container::OCI_LAYOUT_CONTENT);
    file("index.json", blob("index"));
    let mut written = Vec::new();
    for content in TAR_ORDER.map(blob) {
        let name = blob_name(&Digest::of(content));
        // Equal parts give one blob.
        if !written.contains(&name) {
            file(&name, content);
            written.push(name);
        }
    }
    tar.finish().expect("in memory")
}
