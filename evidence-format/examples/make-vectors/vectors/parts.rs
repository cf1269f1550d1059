//! A bundle in parts. Any document can be changed before it is encoded (`edit`) or afterwards
//! (`spell`); the documents that contain its digest, or sign it, are written after that.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use evidence_format::canonical;
use evidence_format::container::{OCI_LAYOUT_CONTENT, blob_name};
use evidence_format::digest::Digest;
use evidence_format::keyring::{SecretKey, Signer as _};
use evidence_format::manifest::{
    BUNDLE, CONFIG, DISCLOSURE_KEY, EMPTY, EMPTY_BLOB, INDEX, ITEM, MANIFEST, PUBLIC_KEY, REF_NAME,
    SEGMENTS, SIGSTORE_BUNDLE, TITLE,
};
use evidence_format::signature::pae;
use serde_json::{Value, json};

use super::items::TestItem;
use super::tar::TestTar;
use super::{FolderEntry, VectorContainer};

/// Seed of the auditor's key.
pub(crate) const KEY_A: u8 = 0xa1;
/// Seed of another key.
pub(crate) const KEY_B: u8 = 0xb2;
/// `payloadType` of the statement.
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

pub(crate) fn secret_key(seed: u8) -> SecretKey {
    SecretKey::from_random(&[seed; 32])
}

/// A document of a bundle. Referrers and their documents are numbered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DocumentKind {
    Config,
    Bundle,
    Statement(usize),
    Sigstore(usize),
    Referrer(usize),
    Index,
}

/// Something that refers to the bundle.
pub(crate) enum Referrer {
    Attestation {
        /// The key whose id the attestation carries.
        key: u8,
        /// Signs the message with the key.
        sign: fn(u8, &[u8]) -> [u8; 64],
    },
    Other {
        kind: &'static str,
        blob: Vec<u8>,
    },
}

pub(crate) fn attestation(key: u8) -> Referrer {
    Referrer::Attestation {
        key,
        sign: |key, message| {
            secret_key(key)
                .sign(message)
                .expect("a key in memory signs")
        },
    }
}

/// Carries the public key of key A.
pub(crate) fn public_key() -> Referrer {
    Referrer::Other {
        kind: PUBLIC_KEY,
        blob: secret_key(KEY_A).public_key().to_spki(),
    }
}

pub(crate) type DocumentEdit = Box<dyn Fn(&mut Value)>;
pub(crate) type ByteEdit = Box<dyn Fn(Vec<u8>) -> Vec<u8>>;

pub(crate) struct BundleParts {
    pub(crate) oci_layout: Vec<u8>,
    /// The disclosure key.
    pub(crate) key: Vec<u8>,
    /// The config without items.
    pub(crate) config: Value,
    pub(crate) items: Vec<TestItem>,
    pub(crate) referrers: Vec<Referrer>,
    /// How many referrers the index lists before the bundle.
    pub(crate) bundle_at: usize,
    pub(crate) edits: Vec<(DocumentKind, DocumentEdit)>,
    pub(crate) spells: Vec<(DocumentKind, ByteEdit)>,
}

/// What a file is, so that a vector can address it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BlobRole {
    OciLayout,
    Index,
    Bundle,
    Referrer(usize),
    Config,
    Key,
    Segments(usize),
    Layer(usize),
    /// The content of a referrer.
    Content(usize),
    /// `{}`
    Empty,
}

/// The files of a bundle in the order of a tar.
pub(crate) struct BundleFileList {
    pub(crate) id: Digest,
    pub(crate) list: Vec<(BlobRole, String, Vec<u8>)>,
}

impl BundleParts {
    /// No items, one attestation by key A.
    pub(crate) fn empty() -> Self {
        let time = "2026-11-23T13:40:17.25Z";
        Self {
            oci_layout: OCI_LAYOUT_CONTENT.to_vec(),
            key: vec![0x4b; 32],
            config: json!({
                "version": 1, "incident": "INC-1", "supplements": null, "window": null, "plan": {"deadlineSeconds": null, "steps": []},
                "collector": {"name": "agent", "version": "0.1", "commit": null, "binary": null, "host": "web-1",
                    "kernel": "6", "boot": null, "identity": "root"},
                "examined": null,
                "clock": [{"event": "begin", "utc": time, "bootNanoseconds": 1_000_000_000}],
            }),
            items: Vec::new(),
            referrers: vec![attestation(KEY_A)],
            bundle_at: 0,
            edits: Vec::new(),
            spells: Vec::new(),
        }
    }

    /// One item.
    pub(crate) fn base() -> Self {
        Self::of(vec![TestItem::uptime()])
    }

    pub(crate) fn of(items: Vec<TestItem>) -> Self {
        Self {
            items,
            ..Self::empty()
        }
    }

    pub(crate) fn edit(mut self, doc: DocumentKind, edit: impl Fn(&mut Value) + 'static) -> Self {
        self.edits.push((doc, Box::new(edit)));
        self
    }

    /// Sets one member, by JSON pointer.
    pub(crate) fn set(self, doc: DocumentKind, pointer: &'static str, value: Value) -> Self {
        self.edit(doc, move |document| set(document, pointer, value.clone()))
    }

    /// Removes one member of the object at a JSON pointer.
    pub(crate) fn remove(
        self,
        doc: DocumentKind,
        pointer: &'static str,
        member: &'static str,
    ) -> Self {
        self.edit(doc, move |document| {
            let removed = at(document, pointer)
                .as_object_mut()
                .and_then(|object| object.remove(member));
            removed.expect("the member is there");
        })
    }

    pub(crate) fn spell(
        mut self,
        doc: DocumentKind,
        spell: impl Fn(Vec<u8>) -> Vec<u8> + 'static,
    ) -> Self {
        self.spells.push((doc, Box::new(spell)));
        self
    }

    /// Replaces the first occurrence of `from` in the document's text.
    pub(crate) fn replace(self, doc: DocumentKind, from: &'static str, to: &'static str) -> Self {
        self.spell(doc, move |bytes| {
            let text = String::from_utf8(bytes).expect("documents are text");
            assert!(text.contains(from), "{from} is not in {text}");
            text.replacen(from, to, 1).into_bytes()
        })
    }

    pub(crate) fn tar(self) -> VectorContainer {
        self.files().tar()
    }

    pub(crate) fn files(self) -> BundleFileList {
        let mut blobs: Vec<(BlobRole, Vec<u8>)> = vec![(BlobRole::Key, self.key.clone())];
        for (i, item) in self.items.iter().enumerate() {
            blobs.extend([
                (BlobRole::Segments(i), item.list.clone()),
                (BlobRole::Layer(i), item.layer.clone()),
            ]);
        }
        let (config, config_blob) = self.write(DocumentKind::Config, self.config_value());
        let (_, bundle) = self.write(
            DocumentKind::Bundle,
            bundle_manifest(&config, &config_blob, &|digest| {
                let blob = blobs
                    .iter()
                    .find(|(_, blob)| json!(Digest::of(blob)) == *digest);
                blob.map_or(0, |(_, blob)| blob.len())
            }),
        );
        blobs.insert(0, (BlobRole::Config, config_blob));

        let id = Digest::of(&bundle);
        let (mut manifests, mut contents) = (Vec::new(), Vec::new());
        for (n, referrer) in self.referrers.iter().enumerate() {
            let (content, manifest, blob) = self.referrer(n, referrer, &config, &bundle);
            manifests.push((BlobRole::Referrer(n), content, manifest));
            contents.extend([
                (BlobRole::Empty, EMPTY_BLOB.to_vec()),
                (BlobRole::Content(n), blob),
            ]);
        }
        manifests.insert(
            self.bundle_at,
            (BlobRole::Bundle, json!({"artifactType": BUNDLE}), bundle),
        );
        let (_, index) = self.write(DocumentKind::Index, index(&manifests));

        let mut list = vec![
            (
                BlobRole::OciLayout,
                "oci-layout".to_owned(),
                self.oci_layout.clone(),
            ),
            (BlobRole::Index, "index.json".to_owned(), index),
        ];
        let manifests = manifests.into_iter().map(|(role, _, blob)| (role, blob));
        let blobs = manifests.chain(contents).chain(blobs);
        list.extend(blobs.map(|(role, blob)| (role, blob_name(&Digest::of(&blob)), blob)));
        let mut seen = BTreeSet::new();
        list.retain(|(_, name, _)| seen.insert(name.clone()));
        BundleFileList { id, list }
    }

    /// The document after its edits, and its bytes.
    fn write(&self, doc: DocumentKind, mut value: Value) -> (Value, Vec<u8>) {
        self.edits
            .iter()
            .filter(|(of, _)| *of == doc)
            .for_each(|(_, edit)| edit(&mut value));
        let bytes = canonical::encode(&value);
        let bytes = self
            .spells
            .iter()
            .filter(|(of, _)| *of == doc)
            .fold(bytes, |bytes, (_, spell)| spell(bytes));
        (value, bytes)
    }

    fn config_value(&self) -> Value {
        let mut config = self.config.clone();
        set(&mut config, "/disclosureKey", json!(Digest::of(&self.key)));
        set(
            &mut config,
            "/items",
            self.items.iter().map(|item| item.json(&self.key)).collect(),
        );
        config
    }

    /// A referrer's manifest, as a value and as bytes, and its content.
    fn referrer(
        &self,
        n: usize,
        referrer: &Referrer,
        config: &Value,
        bundle: &[u8],
    ) -> (Value, Vec<u8>, Vec<u8>) {
        let (kind, media_type, blob) = match referrer {
            Referrer::Other { kind, blob } if *kind == PUBLIC_KEY => (*kind, *kind, blob.clone()),
            Referrer::Other { kind, blob } => (*kind, "application/octet-stream", blob.clone()),
            Referrer::Attestation { key, sign } => {
                let statement = statement(&Digest::of(bundle), config);
                let (_, payload) = self.write(DocumentKind::Statement(n), statement);
                let signature = sign(*key, &pae(PAYLOAD_TYPE, &payload));
                let (_, blob) = self.write(
                    DocumentKind::Sigstore(n),
                    sigstore_bundle(*key, &payload, &signature),
                );
                (SIGSTORE_BUNDLE, SIGSTORE_BUNDLE, blob)
            }
        };
        let manifest = json!({
            "artifactType": kind, "config": descriptor(EMPTY, EMPTY_BLOB), "layers": [descriptor(media_type, &blob)],
            "mediaType": MANIFEST, "schemaVersion": 2, "subject": descriptor(MANIFEST, bundle),
        });
        let (value, bytes) = self.write(DocumentKind::Referrer(n), manifest);
        (value, bytes, blob)
    }
}

impl BundleFileList {
    pub(crate) fn tar(self) -> VectorContainer {
        VectorContainer::Tar(TestTar::of(&self).bytes())
    }

    pub(crate) fn folder(self) -> Vec<FolderEntry> {
        self.list
            .into_iter()
            .map(|(_, name, content)| FolderEntry::File(name, content))
            .collect()
    }

    pub(crate) fn position(&self, role: BlobRole) -> usize {
        self.list
            .iter()
            .position(|(r, _, _)| *r == role)
            .expect("the bundle has this file")
    }

    pub(crate) fn without(mut self, role: BlobRole) -> Self {
        self.list.remove(self.position(role));
        self
    }

    /// Changes the bytes of a file, but not its name.
    pub(crate) fn change(mut self, role: BlobRole, change: impl Fn(&mut Vec<u8>)) -> Self {
        let at = self.position(role);
        change(&mut self.list[at].2);
        self
    }
}

pub(crate) fn descriptor(media_type: &str, blob: &[u8]) -> Value {
    json!({"digest": Digest::of(blob), "mediaType": media_type, "size": blob.len()})
}

/// The value at a JSON pointer.
pub(crate) fn at<'v>(document: &'v mut Value, pointer: &str) -> &'v mut Value {
    document
        .pointer_mut(pointer)
        .expect("the pointer leads to a value")
}

fn set(document: &mut Value, pointer: &str, value: Value) {
    let (holder, member) = pointer
        .rsplit_once('/')
        .expect("pointers begin with a slash");
    match at(document, holder) {
        Value::Array(list) => list[member.parse::<usize>().expect("a list's index")] = value,
        object => object[member] = value,
    }
}

fn bundle_manifest(config: &Value, config_blob: &[u8], size: &dyn Fn(&Value) -> usize) -> Value {
    let layer = |media_type: &str, digest: &Value, title: String| json!({"annotations": {TITLE: title}, "digest": digest, "mediaType": media_type, "size": size(digest)});
    let mut layers = vec![layer(
        DISCLOSURE_KEY,
        &config["disclosureKey"],
        "disclosure-key".to_owned(),
    )];
    for item in config["items"].as_array().into_iter().flatten() {
        let name = item["name"].as_str().unwrap_or_default();
        layers.push(layer(
            SEGMENTS,
            &item["segments"],
            format!("{name}.segments.zst"),
        ));
        layers.push(layer(ITEM, &item["layer"], format!("{name}.warc.zst")));
    }
    json!({
        "artifactType": BUNDLE, "config": descriptor(CONFIG, config_blob), "layers": layers, "mediaType": MANIFEST,
        "schemaVersion": 2,
    })
}

fn statement(bundle: &Digest, config: &Value) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "predicate": {
            "incident": config["incident"], "role": "collector", "signedAt": "2026-11-23T13:40:18Z",
            "stream": {"id": "000102030405060708090a0b0c0d0e0f", "prev": null, "seq": 0},
        },
        "predicateType": "urn:exhibit:capture:v1",
        "subject": [{"digest": {"sha256": bundle.hex()}, "name": "bundle"}],
    })
}

pub(crate) fn sigstore_bundle(key: u8, payload: &[u8], signature: &[u8]) -> Value {
    let id = secret_key(key).public_key().id();
    json!({
        "dsseEnvelope": {
            "payload": BASE64.encode(payload), "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": id, "sig": BASE64.encode(signature)}],
        },
        "mediaType": SIGSTORE_BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": id}, "tlogEntries": []},
    })
}

fn index(manifests: &[(BlobRole, Value, Vec<u8>)]) -> Value {
    let entry = |(_, manifest, blob): &(BlobRole, Value, Vec<u8>)| {
        let kind = &manifest["artifactType"];
        let name = match kind.as_str() {
            Some(BUNDLE) => "bundle",
            Some(SIGSTORE_BUNDLE) => "attestation",
            Some(PUBLIC_KEY) => "public-key",
            _ => "other",
        };
        let mut entry = descriptor(MANIFEST, blob);
        entry["annotations"] = json!({REF_NAME: name});
        entry["artifactType"] = kind.clone();
        entry
    };
    json!({"manifests": manifests.iter().map(entry).collect::<Vec<_>>(), "mediaType": INDEX, "schemaVersion": 2})
}
