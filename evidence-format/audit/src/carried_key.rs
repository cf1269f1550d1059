//! Public keys that lie in a bundle or beside it. Nobody vouches for them: a caller takes one only if
//! its SHA-256 is the fingerprint that the auditor gave.

use std::fs;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use evidence_format::container::blob_name;
use evidence_format::digest::Digest;
use evidence_format::keyring::PublicKey;
use evidence_format::limits::KEY_FILE_BYTES_MAX;

use crate::found_file;

/// Bytes of an Ed25519 SubjectPublicKeyInfo in DER (RFC 8410).
const SPKI_BYTES: u64 = 44;
/// Entries of a tar that are looked at: manifests and what referrers point to come first.
const ENTRIES_MAX: usize = 256;
const TAR_BLOCK_BYTES: u64 = 512;
/// Keys beside a bundle that are looked at.
const FILES_MAX: usize = 1000;

/// The public key that the bundle at `path` carries as the blob `fingerprint`: the id of a key is
/// the SHA-256 of its SubjectPublicKeyInfo, and so is the name of the blob.
pub(crate) fn carried_key(path: &Path, fingerprint: &Digest) -> Option<PublicKey> {
    let name = blob_name(fingerprint);
    let der = if path.is_dir() {
        read_key_bytes(found_file::open(&path.join(&name)).ok()?)?
    } else {
        tar_entry(path, &name)? // none of a pipe, which can be read only once
    };
    PublicKey::from_spki(&der).ok()
}

fn read_key_bytes(file: impl Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(SPKI_BYTES + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 == SPKI_BYTES).then_some(bytes)
}

/// The content of a small entry of a tar. Whether the tar is well formed is the verifier's to say.
fn tar_entry(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut tar = BufReader::new(found_file::open(path).ok()?);
    for _ in 0..ENTRIES_MAX {
        let mut header = [0; TAR_BLOCK_BYTES as usize];
        tar.read_exact(&mut header).ok()?;
        let found = header[..100].split(|byte| *byte == 0).next()?;
        let size = std::str::from_utf8(&header[124..135]).ok()?;
        let size = u64::from_str_radix(size, 8).ok()?;
        if found == name.as_bytes() {
            return read_key_bytes(tar.take(size));
        }
        let padded = size.div_ceil(TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES;
        tar.seek(SeekFrom::Current(i64::try_from(padded).ok()?))
            .ok()?;
    }
    None
}

/// Public keys in files beside the bundle at `path`, and in the folder of keys of an export.
pub(crate) fn keys_beside(path: &Path) -> Vec<PublicKey> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let folders = [parent.clone(), parent.join("keys"), parent.join("../keys")];
    folders.iter().flat_map(|folder| keys_in(folder)).collect()
}

/// The public keys in the files `*.pem` and `*.pub` of `folder`.
pub(crate) fn keys_in(folder: &Path) -> Vec<PublicKey> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|end| end == "pem" || end == "pub")
        })
        .take(FILES_MAX)
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| key_file(path)).collect()
}

fn key_file(path: &Path) -> Option<PublicKey> {
    let mut pem = String::new();
    let file = found_file::open(path).ok()?;
    file.take(KEY_FILE_BYTES_MAX)
        .read_to_string(&mut pem)
        .ok()?;
    PublicKey::from_pem(&pem).ok()
}
