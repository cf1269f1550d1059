//! OCI image manifests and the image index (OCI image-spec 1.1), as far as a bundle uses them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::canonical::{self, DecodeError};
use crate::config::BundleConfig;
use crate::digest::Digest;
use crate::limits::{
    ANNOTATIONS_MAX, INDEX_BYTES_MAX, MANIFEST_BYTES_MAX, MANIFESTS_MAX, OCI_LAYOUT_BYTES_MAX,
    REFERRER_MANIFEST_BYTES_MAX,
};

/// `mediaType` of manifests.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// `mediaType` of the index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// `artifactType` of a bundle's manifest.
pub const BUNDLE: &str = "application/vnd.exhibit.bundle.v1";
/// What the `artifactType` of every container of this format begins with.
pub(crate) const KIND_PREFIX: &str = "application/vnd.exhibit.";
/// Media type of the config blob.
pub const CONFIG: &str = "application/vnd.exhibit.config.v1+json";
/// Media type of the disclosure key.
pub const DISCLOSURE_KEY: &str = "application/vnd.exhibit.disclosure-key.v1";
/// Media type of segment lists.
pub const SEGMENTS: &str = "application/vnd.exhibit.segments.v1+zstd";
/// Media type of items.
pub const ITEM: &str = "application/vnd.exhibit.item.v1+zstd";
/// Media type of sigstore bundles, and `artifactType` of the manifests that carry one.
pub const SIGSTORE_BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// `artifactType` of a log proof, which a later version checks.
pub const LOG_PROOF: &str = "application/vnd.exhibit.log-proof.v1";
/// `artifactType` of a timestamp, which a later version checks.
pub const TIMESTAMP: &str = "application/vnd.exhibit.timestamp.v1";
/// `artifactType` of a referrer that carries a public key, and media type of its layer: the key's
/// SubjectPublicKeyInfo in DER. It counts only for who has its fingerprint from elsewhere.
pub const PUBLIC_KEY: &str = "application/vnd.exhibit.public-key.v1";
/// Media type of the config of manifests without a config.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The blob of media type [`EMPTY`].
pub const EMPTY_BLOB: &[u8] = b"{}";

/// Annotation: the name of a manifest in the index.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation: the name of a layer.
pub const TITLE: &str = "org.opencontainers.image.title";
/// [`REF_NAME`] of the bundle's manifest.
pub const BUNDLE_REF: &str = "bundle";
/// [`REF_NAME`] of the attestation's manifest.
pub const ATTESTATION_REF: &str = "attestation";
/// [`REF_NAME`] of the manifest of a public key.
pub const PUBLIC_KEY_REF: &str = "public-key";
/// [`TITLE`] of the disclosure key.
pub const DISCLOSURE_KEY_TITLE: &str = "disclosure-key";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OciLayout {
    image_layout_version: String,
}

/// Checks the content of the file `oci-layout`. Any spelling of the JSON value is accepted, since
/// skopeo adds a space.
///
/// # Errors
/// The file states anything but version 1.0.0.
pub fn check_oci_layout(bytes: &[u8]) -> Result<(), ManifestError> {
    let layout: OciLayout = canonical::decode_any_order(bytes, OCI_LAYOUT_BYTES_MAX)?;
    if layout.image_layout_version == "1.0.0" {
        Ok(())
    } else {
        Err(ManifestError::Invalid("not OCI image layout 1.0.0"))
    }
}

type Annotations = BTreeMap<String, String>;

/// Refers to a blob by digest and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Descriptor {
    /// Names for people, irrelevant for security.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
    /// In the index: the artifact type of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Digest of the blob.
    pub digest: Digest,
    /// Media type of the blob.
    pub media_type: String,
    /// Size of the blob in bytes.
    pub size: u64,
}

impl Descriptor {
    /// A descriptor of a blob of `size` bytes.
    #[must_use]
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            annotations: None,
            artifact_type: None,
            digest,
            media_type: media_type.to_owned(),
            size,
        }
    }

    /// The descriptor of `blob`.
    #[must_use]
    pub fn of(media_type: &str, blob: &[u8]) -> Self {
        Self::new(media_type, Digest::of(blob), blob.len() as u64)
    }

    /// Replaces the annotations by a single one.
    #[must_use]
    pub fn annotated(mut self, key: &str, value: &str) -> Self {
        self.annotations = Some(Annotations::from([(key.to_owned(), value.to_owned())]));
        self
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// The manifest of a bundle, or of a referrer such as an attestation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// What the manifest stands for: a bundle, an attestation.
    pub artifact_type: String,
    /// The config blob.
    pub config: Descriptor,
    /// All other blobs.
    pub layers: Vec<Descriptor>,
    /// Always [`MANIFEST`].
    pub media_type: String,
    /// Always 2.
    pub schema_version: u64,
    /// In a referrer: the manifest that it refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
}

impl Manifest {
    /// The manifest of a bundle, whose layers are the disclosure key and, for each item, its
    /// segment list and its layer. `sizes` returns the size of a blob.
    #[must_use]
    pub fn of_bundle(
        config: &BundleConfig,
        config_blob: &[u8],
        sizes: &dyn Fn(&Digest) -> u64,
    ) -> Self {
        let descriptor = |media_type, digest: &Digest, title: &str| {
            Descriptor::new(media_type, *digest, sizes(digest)).annotated(TITLE, title)
        };
        // The order is that of a tar, in which a verifier needs the key before the items, and an
        // item's segment list before its layer.
        let mut layers = vec![descriptor(
            DISCLOSURE_KEY,
            &config.disclosure_key,
            DISCLOSURE_KEY_TITLE,
        )];
        for item in &config.items {
            layers.push(descriptor(
                SEGMENTS,
                &item.segments,
                &format!("{}.segments.zst", item.name),
            ));
            layers.push(descriptor(
                ITEM,
                &item.layer,
                &format!("{}.warc.zst", item.name),
            ));
        }
        Self {
            artifact_type: BUNDLE.to_owned(),
            config: Descriptor::of(CONFIG, config_blob),
            layers,
            media_type: MANIFEST.to_owned(),
            schema_version: 2,
            subject: None,
        }
    }

    /// The manifest that attaches a sigstore bundle to the bundle `subject`.
    #[must_use]
    pub fn of_attestation(sigstore_bundle: &[u8], subject: Descriptor) -> Self {
        Self {
            artifact_type: SIGSTORE_BUNDLE.to_owned(),
            config: Descriptor::of(EMPTY, EMPTY_BLOB),
            layers: vec![Descriptor::of(SIGSTORE_BUNDLE, sigstore_bundle)],
            media_type: MANIFEST.to_owned(),
            schema_version: 2,
            subject: Some(subject),
        }
    }

    /// The manifest that attaches a public key, SubjectPublicKeyInfo in DER, to the bundle
    /// `subject`.
    pub(crate) fn of_public_key(spki: &[u8], subject: Descriptor) -> Self {
        Self {
            artifact_type: PUBLIC_KEY.to_owned(),
            config: Descriptor::of(EMPTY, EMPTY_BLOB),
            layers: vec![Descriptor::of(PUBLIC_KEY, spki)],
            media_type: MANIFEST.to_owned(),
            schema_version: 2,
            subject: Some(subject),
        }
    }

    /// Encodes the document canonically.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    fn annotations_max(&self) -> usize {
        self.blobs()
            .chain(&self.subject)
            .filter_map(|blob| Some(blob.annotations.as_ref()?.len()))
            .max()
            .unwrap_or(0)
    }

    /// True if a manifest of so many bytes is too long for its kind: only that of a bundle has a
    /// descriptor for each item.
    pub(crate) fn is_too_long(&self, bytes: u64) -> bool {
        self.artifact_type != BUNDLE && bytes > REFERRER_MANIFEST_BYTES_MAX
    }

    /// Decodes a manifest.
    ///
    /// # Errors
    /// The document is not a canonical manifest, or an attestation that differs in form from
    /// [`Manifest::of_attestation`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = canonical::decode(bytes, MANIFEST_BYTES_MAX)?;
        if manifest.schema_version != 2 || manifest.media_type != MANIFEST {
            return Err(ManifestError::Invalid("not an OCI image manifest"));
        }
        if manifest.annotations_max() > ANNOTATIONS_MAX {
            return Err(ManifestError::Invalid(
                "a descriptor has too many annotations",
            ));
        }
        // A verifier keeps attestations in memory, so their number and form are limited here.
        if manifest.artifact_type == SIGSTORE_BUNDLE && !manifest.carries_one_sigstore_bundle() {
            return Err(ManifestError::Invalid(
                "not the manifest of one sigstore bundle",
            ));
        }
        Ok(manifest)
    }

    fn carries_one_sigstore_bundle(&self) -> bool {
        let [layer] = &self.layers[..] else {
            return false;
        };
        self.config == Descriptor::of(EMPTY, EMPTY_BLOB)
            && *layer == Descriptor::new(SIGSTORE_BUNDLE, layer.digest, layer.size)
    }

    /// The descriptors of all blobs: the config, then the layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }
}

/// `index.json`, which lists the manifests. Mutable and untrusted: any OCI tool may rewrite it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageIndex {
    /// The manifests, each with a [`REF_NAME`].
    pub manifests: Vec<Descriptor>,
    /// [`INDEX`], or `None`: some tools leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Always 2.
    pub schema_version: u64,
}

/// A manifest, `index.json` or `oci-layout` was rejected.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The bytes are not a document of the expected kind.
    #[error("cannot be decoded")]
    Decode(#[from] DecodeError),
    /// The document breaks a rule of the format.
    #[error("is invalid: {0}")]
    Invalid(&'static str),
}

impl ImageIndex {
    /// The index of a bundle and its referrers, each with its name.
    #[must_use]
    pub fn new(manifests: &[(&str, &Manifest)]) -> Self {
        let entries = manifests.iter().map(|(name, manifest)| Descriptor {
            artifact_type: Some(manifest.artifact_type.clone()),
            ..Descriptor::of(MANIFEST, &manifest.encode()).annotated(REF_NAME, name)
        });
        Self {
            manifests: entries.collect(),
            media_type: Some(INDEX.to_owned()),
            schema_version: 2,
        }
    }

    /// Encodes the document canonically.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        canonical::encode(self)
    }

    /// Decodes an index: compact JSON whose members may stand in any order.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let index: Self = canonical::decode_any_order(bytes, INDEX_BYTES_MAX)?;
        // Nothing signs the index. Without white space there is no room for hidden bytes in it.
        if !canonical::is_compact(bytes) {
            return Err(ManifestError::Invalid("white space between tokens"));
        }
        if index.schema_version != 2 || index.media_type.as_deref().is_some_and(|t| t != INDEX) {
            return Err(ManifestError::Invalid("not an OCI image index"));
        }
        if index.manifests.len() > MANIFESTS_MAX {
            return Err(ManifestError::Invalid("too many manifests"));
        }
        for (i, entry) in index.manifests.iter().enumerate() {
            if entry.media_type != MANIFEST {
                return Err(ManifestError::Invalid("an entry is not a manifest"));
            }
            if index.manifests[..i]
                .iter()
                .any(|other| other.digest == entry.digest)
            {
                return Err(ManifestError::Invalid("a manifest is listed twice"));
            }
            if entry
                .annotations
                .as_ref()
                .is_some_and(|a| a.len() != 1 || !a.contains_key(REF_NAME))
            {
                return Err(ManifestError::Invalid(
                    "an entry has an annotation other than its name",
                ));
            }
        }
        Ok(index)
    }

    /// True if the name and the artifact type in `entry`, where given, are those of `manifest`.
    #[must_use]
    pub fn entry_matches(entry: &Descriptor, manifest: &Manifest) -> bool {
        let name = match manifest.artifact_type.as_str() {
            BUNDLE => Some(BUNDLE_REF),
            SIGSTORE_BUNDLE => Some(ATTESTATION_REF),
            PUBLIC_KEY => Some(PUBLIC_KEY_REF),
            _ => None, // referrers of later versions may have any name
        };
        let name_ok = entry
            .annotation(REF_NAME)
            .is_none_or(|found| name.is_none_or(|name| found == name));
        let type_ok = entry
            .artifact_type
            .as_ref()
            .is_none_or(|found| *found == manifest.artifact_type);
        name_ok && type_ok
    }
}
