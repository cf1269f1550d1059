//! Trail files for tests, as CloudTrail makes them, signed with a key of the test's own.

use std::collections::BTreeMap;
use std::io::Write as _;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use data_encoding::{BASE64, HEXLOWER};
use evidence_format::digest::Digest;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

/// A file in the bucket: its bytes, and its metadata.
#[derive(Clone, Debug)]
pub(crate) struct MadeFile {
    pub(crate) bytes: Vec<u8>,
    /// Names without `x-amz-meta-`.
    pub(crate) metadata: Vec<(&'static str, String)>,
}

/// A trail in one region of one account, and what it has delivered.
pub(crate) struct MadeTrail {
    key: KeyPair,
    fingerprint: String,
    pub(crate) bucket: String,
    /// The folder of all accounts.
    pub(crate) root: String,
    pub(crate) account: String,
    pub(crate) region: String,
    /// By their names.
    pub(crate) files: BTreeMap<String, MadeFile>,
    /// Name, digest and signature of the last digest file.
    previous: Option<(String, String, String)>,
    /// Log files that no digest file lists yet.
    undigested: Vec<Value>,
}

impl MadeTrail {
    #[must_use]
    pub(crate) fn new(bucket: &str, account: &str, region: &str) -> Self {
        let key = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let fingerprint = Digest::of(key.public_key().as_ref()).hex()[..32].to_owned();
        Self {
            key,
            fingerprint,
            bucket: bucket.to_owned(),
            root: "AWSLogs".to_owned(),
            account: account.to_owned(),
            region: region.to_owned(),
            files: BTreeMap::new(),
            previous: None,
            undigested: Vec::new(),
        }
    }

    /// The answer of ListPublicKeys.
    #[must_use]
    pub(crate) fn public_keys(&self) -> Value {
        json!({"PublicKeyList": [{
            "Fingerprint": self.fingerprint,
            "Value": BASE64.encode(self.key.public_key().as_ref()),
            "ValidityStartTime": 1_764_000_000.0, "ValidityEndTime": 1_900_000_000.0,
        }]})
    }

    /// Delivers `events` at a time such as `20261127T1405Z`. Returns the file's name.
    pub(crate) fn deliver(&mut self, time: &str, id: &str, events: &[Value]) -> String {
        let name = format!(
            "{}_CloudTrail_{}_{time}_{id}.json.gz",
            self.account, self.region
        );
        let key = self.key_of("CloudTrail", time, &name);
        let content = json!({"Records": events}).to_string();
        self.undigested.push(json!({
            "s3Bucket": self.bucket, "s3Object": key,
            "hashValue": Digest::of(content.as_bytes()).hex(), "hashAlgorithm": "SHA-256",
            "newestEventTime": "2026-11-27T14:00:00Z", "oldestEventTime": "2026-11-27T14:00:00Z",
        }));
        self.put(&key, &content, Vec::new());
        key
    }

    /// Leaves the last log file out of the next digest file.
    pub(crate) fn forget_last(&mut self) -> Value {
        self.undigested.pop().expect("a log file")
    }

    /// Ends the chain, as if log file validation was switched off.
    pub(crate) fn switch_off(&mut self) {
        self.previous = None;
        self.undigested.clear();
    }

    /// Signs what was delivered since the last digest file, in the hour that ends at a time such as
    /// `2026-11-27T15:00:00Z`. Returns the digest file's name.
    pub(crate) fn digest(&mut self, start: &str, end: &str) -> String {
        let files = std::mem::take(&mut self.undigested);
        let previous = self.previous.take();
        let (key, own) = self.sign((start, end), "", files, previous.as_ref());
        self.previous = Some(own);
        key
    }

    /// Signs log files that an earlier digest file of the same hour has left out.
    pub(crate) fn backfill(&mut self, start: &str, end: &str, files: Vec<Value>) -> String {
        self.sign((start, end), "_backfill", files, None).0
    }

    fn sign(
        &mut self,
        (start, end): (&str, &str),
        suffix: &str,
        files: Vec<Value>,
        previous: Option<&(String, String, String)>,
    ) -> (String, (String, String, String)) {
        let compact: String = end.chars().filter(|c| !"-:".contains(*c)).collect();
        let (account, region) = (&self.account, &self.region);
        let name =
            format!("{account}_CloudTrail-Digest_{region}_made_{region}_{compact}{suffix}.json.gz");
        let key = self.key_of("CloudTrail-Digest", &compact, &name);
        let [object, hash, signature] = match previous {
            Some((object, hash, signature)) => [json!(object), json!(hash), json!(signature)],
            None => [Value::Null, Value::Null, Value::Null],
        };
        let bucket = if object.is_null() {
            Value::Null
        } else {
            json!(self.bucket)
        };
        let content = json!({
            "awsAccountId": account, "digestStartTime": start, "digestEndTime": end,
            "digestS3Bucket": self.bucket, "digestS3Object": key,
            "digestPublicKeyFingerprint": self.fingerprint,
            "digestSignatureAlgorithm": "SHA256withRSA",
            "newestEventTime": end, "oldestEventTime": start,
            "previousDigestS3Bucket": bucket, "previousDigestS3Object": object,
            "previousDigestHashValue": hash, "previousDigestHashAlgorithm": "SHA-256",
            "previousDigestSignature": signature, "logFiles": files,
        })
        .to_string();
        let hash = Digest::of(content.as_bytes()).hex();
        let before = previous.map_or("null", |(_, _, signature)| signature);
        let signed = format!("{end}\n{}/{key}\n{hash}\n{before}", self.bucket);
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .expect("signed");
        let signature = HEXLOWER.encode(&signature);
        let mut metadata = vec![
            ("signature", signature.clone()),
            ("signature-algorithm", "SHA256withRSA".to_owned()),
        ];
        if !suffix.is_empty() {
            metadata.push(("backfill-generation-timestamp", end.to_owned()));
        }
        self.put(&key, &content, metadata);
        (key.clone(), (key, hash, signature))
    }

    fn key_of(&self, folder: &str, time: &str, name: &str) -> String {
        let day = format!("{}/{}/{}", &time[..4], &time[4..6], &time[6..8]);
        format!(
            "{}/{}/{folder}/{}/{day}/{name}",
            self.root, self.account, self.region
        )
    }

    fn put(&mut self, key: &str, content: &str, metadata: Vec<(&'static str, String)>) {
        let bytes = gzip(content.as_bytes());
        self.files
            .insert(key.to_owned(), MadeFile { bytes, metadata });
    }
}

#[must_use]
pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}
