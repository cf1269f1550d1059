//! Reads a digest file, and checks its signature.

use data_encoding::HEXLOWER_PERMISSIVE;
use evidence_format::digest::{Digest, Hasher};
use evidence_format::time::Timestamp;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde::Deserialize;

use super::file::{TrailFileError, inflate};

/// Longest content of a digest file that is read: some hundred bytes for each log file.
const CONTENT_BYTES_MAX: usize = 64 << 20;
/// The only algorithm of digest files.
const ALGORITHM: &str = "SHA256withRSA";

/// A digest file ("CloudTrail digest file structure"), as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DigestContent {
    digest_start_time: String,
    digest_end_time: String,
    digest_s3_bucket: String,
    digest_s3_object: String,
    digest_public_key_fingerprint: String,
    previous_digest_s3_bucket: Option<String>,
    previous_digest_s3_object: Option<String>,
    previous_digest_hash_value: Option<String>,
    previous_digest_signature: Option<String>,
    #[serde(default)]
    log_files: Vec<LogFileEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogFileEntry {
    s3_bucket: String,
    s3_object: String,
    hash_value: String,
    hash_algorithm: String,
}

/// A log file that a digest file lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    pub bucket: String,
    pub key: String,
    /// Of its content, uncompressed; `None` if the digest file names another algorithm.
    pub(super) sha256: Option<Digest>,
}

impl ListedFile {
    /// Bucket and key.
    pub(super) fn object(&self) -> String {
        format!("{}/{}", self.bucket, self.key)
    }
}

/// What is needed of a digest file after it was read.
#[derive(Debug)]
pub(super) struct DigestFile {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    /// Where it says that it is: bucket and key.
    pub(super) object: String,
    pub(super) fingerprint: String,
    /// Bucket and key of the one before it; `None` for the first of a chain.
    pub(super) previous: Option<String>,
    pub(super) previous_sha256: Option<Digest>,
    previous_signature: Option<String>,
    pub(super) sha256: Digest,
    signed: String,
    signature: String,
    pub(super) files: Vec<ListedFile>,
}

/// Why a digest file proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DigestFileError {
    #[error(transparent)]
    File(#[from] TrailFileError),
    #[error("has not the form of a digest file")]
    Form,
    #[error("has no signature in its metadata")]
    NoSignature,
    #[error("is signed by an unknown algorithm")]
    Algorithm,
    #[error("is not where CloudTrail has put it")]
    Moved,
    #[error("names a public key that CloudTrail does not list")]
    UnknownKey,
    #[error("has a signature that does not fit")]
    Signature,
}

/// What a digest file names.
#[derive(Debug)]
pub struct NamedFiles {
    pub logs: Vec<ListedFile>,
    /// Bucket and key of the digest file before it.
    pub previous: Option<(String, String)>,
}

/// The log files that the compressed digest file `file` lists, and the digest file before it.
/// Nothing is checked: this says what to ask for.
///
/// # Errors
/// It is no digest file.
pub fn listed_files(file: &[u8]) -> Result<NamedFiles, TrailFileError> {
    let (content, _) = read(file).map_err(|error| {
        let DigestFileError::File(error) = error else {
            return TrailFileError::Json;
        };
        error
    })?;
    let previous = content
        .previous_digest_s3_bucket
        .zip(content.previous_digest_s3_object);
    let files = content.log_files.into_iter().map(LogFileEntry::listed);
    Ok(NamedFiles {
        logs: files.collect(),
        previous,
    })
}

fn read(file: &[u8]) -> Result<(DigestContent, Digest), DigestFileError> {
    let (mut content, mut hasher, mut is_long) = (Vec::new(), Hasher::new(), false);
    inflate(file, |part| {
        hasher.update(part);
        is_long |= content.len() + part.len() > CONTENT_BYTES_MAX;
        if !is_long {
            content.extend_from_slice(part);
        }
    })?;
    if is_long {
        return Err(TrailFileError::TooLong.into());
    }
    let parsed = serde_json::from_slice(&content).map_err(|_| DigestFileError::Form)?;
    Ok((parsed, hasher.finish()))
}

impl LogFileEntry {
    fn listed(self) -> ListedFile {
        let sha256 = (self.hash_algorithm == "SHA-256").then(|| sha256(&self.hash_value));
        ListedFile {
            bucket: self.s3_bucket,
            key: self.s3_object,
            sha256: sha256.flatten(),
        }
    }
}

fn sha256(hex: &str) -> Option<Digest> {
    Digest::from_hex(&hex.to_ascii_lowercase()).ok()
}

impl DigestFile {
    /// Reads the compressed digest file `file`, whose response has the header `head`.
    pub(super) fn parse(head: &str, file: &[u8]) -> Result<Self, DigestFileError> {
        let (content, digest) = read(file)?;
        let signature = field(head, "x-amz-meta-signature").ok_or(DigestFileError::NoSignature)?;
        if field(head, "x-amz-meta-signature-algorithm") != Some(ALGORITHM) {
            return Err(DigestFileError::Algorithm);
        }
        let time = |text: &str| Timestamp::parse_lenient(text).ok_or(DigestFileError::Form);
        let object = format!("{}/{}", content.digest_s3_bucket, content.digest_s3_object);
        // "Digital signature creation" of the guide's "Custom implementations of CloudTrail log
        // file integrity validation".
        let signed = format!(
            "{}\n{object}\n{}\n{}",
            content.digest_end_time,
            digest.hex(),
            content
                .previous_digest_signature
                .as_deref()
                .unwrap_or("null")
        );
        Ok(Self {
            start: time(&content.digest_start_time)?,
            end: time(&content.digest_end_time)?,
            object,
            fingerprint: content.digest_public_key_fingerprint,
            previous: content
                .previous_digest_s3_bucket
                .zip(content.previous_digest_s3_object)
                .map(|(bucket, key)| format!("{bucket}/{key}")),
            previous_sha256: content
                .previous_digest_hash_value
                .as_deref()
                .and_then(sha256),
            previous_signature: content.previous_digest_signature,
            sha256: digest,
            signed,
            signature: signature.to_owned(),
            files: content
                .log_files
                .into_iter()
                .map(LogFileEntry::listed)
                .collect(),
        })
    }

    /// Checks that CloudTrail has signed it, with the key `public_key` (PKCS #1, DER), and put it
    /// at `object`.
    pub(super) fn verify(
        &self,
        object: &str,
        public_key: Option<&Vec<u8>>,
    ) -> Result<(), DigestFileError> {
        if self.object != object {
            return Err(DigestFileError::Moved);
        }
        let key = public_key.ok_or(DigestFileError::UnknownKey)?;
        let signature = HEXLOWER_PERMISSIVE.decode(self.signature.as_bytes());
        let signature = signature.map_err(|_| DigestFileError::Signature)?;
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key)
            .verify(self.signed.as_bytes(), &signature)
            .map_err(|_| DigestFileError::Signature)
    }

    /// True if `before` is what this one says about the one before it.
    pub(super) fn follows(&self, before: &Self) -> bool {
        self.previous.as_ref() == Some(&before.object)
            && self.previous_sha256 == Some(before.sha256)
            && self.previous_signature.as_ref() == Some(&before.signature)
    }
}

/// The value of a header field; `name` in lower case.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (own, value) = line.split_once(':')?;
        own.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
