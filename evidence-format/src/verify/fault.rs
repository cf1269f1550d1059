//! What can be wrong with a bundle: a closed list of codes, each a rule of SPEC.md.

use std::fmt;

use serde::Serialize;

/// Why a finding is `failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Which rule is broken.
    pub code: Code,
    /// What breaks it: a file, an item.
    pub object: String,
    /// How, for people; may quote the bundle, so it is made safe before it is shown.
    pub detail: String,
}

impl Fault {
    pub(crate) fn new(code: Code, object: impl fmt::Display, detail: impl fmt::Display) -> Self {
        Self {
            code,
            object: object.to_string(),
            detail: detail.to_string(),
        }
    }

    /// With `error` and what caused it as the detail.
    pub(crate) fn caused(
        code: Code,
        object: impl fmt::Display,
        error: &dyn std::error::Error,
    ) -> Self {
        let causes = std::iter::successors(Some(error), |e| e.source());
        let detail: Vec<String> = causes.map(ToString::to_string).collect();
        Self::new(code, object, detail.join(": "))
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// A rule of SPEC.md, as its breach is called there and in reports.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// As in SPEC.md and in reports.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The files could not be read. Not a property of the bundle: says nothing about it.
    Unreadable = "unreadable",
    /// The folder is marked as unfinished.
    Unfinished = "unfinished",
    /// The tar is malformed.
    Tar = "tar",
    /// A file is no regular file.
    NotAFile = "not-a-file",
    /// A file belongs to no manifest, or stands where another must.
    UnexpectedFile = "unexpected-file",
    /// The file `oci-layout` is missing or other than it must be.
    OciLayout = "oci-layout",
    /// `index.json` is missing, malformed, or says other than the manifests do.
    Index = "index",
    /// A blob is missing.
    BlobMissing = "blob-missing",
    /// A blob has another size than its descriptor says.
    BlobSize = "blob-size",
    /// A blob has another digest than its name.
    BlobDigest = "blob-digest",
    /// A manifest is malformed.
    Manifest = "manifest",
    /// There is no bundle manifest, or more than one.
    BundleCount = "bundle-count",
    /// The bundle is not the one that was asked for.
    OtherBundle = "other-bundle",
    /// A referrer refers to something else than the bundle.
    Referrer = "referrer",
    /// A sigstore bundle is malformed.
    Attestation = "attestation",
    /// The format version is not known.
    Version = "version",
    /// The config is malformed or contradicts itself.
    Config = "config",
    /// The manifest is not the one that the config asks for.
    ManifestConfig = "manifest-config",
    /// The disclosure key is not of 32 bytes.
    DisclosureKey = "disclosure-key",
    /// An item's layer is not zstd as it must be.
    Frames = "frames",
    /// An item's segment list is malformed.
    SegmentList = "segment-list",
    /// An item's bytes, records, segment list and layer do not agree.
    ItemSize = "item-size",
    /// An item's record tree has another root.
    ItemRoot = "item-root",
    /// An item is not WARC as it must be.
    Warc = "warc",
    /// There is no attestation.
    Unsigned = "unsigned",
    /// No attestation is signed by a key that was given.
    OtherSigner = "other-signer",
    /// What was signed is no statement about a capture.
    Statement = "statement",
    /// What was signed is about another bundle or another incident.
    StatementSubject = "statement-subject",
    /// The config states gaps.
    Gaps = "gaps",
    /// The plan has steps without an item.
    PlanItems = "plan-items",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
