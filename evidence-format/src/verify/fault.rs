//! Faults of a bundle: a closed list of codes, each of which stands for rules of SPEC.md.

use std::fmt;

use serde::Serialize;

/// Why a finding failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleFault {
    /// The rule that is broken.
    pub code: FaultCode,
    /// What breaks the rule: a file, an item.
    pub object: String,
    /// How it breaks the rule, for people. May quote the bundle, so escape it before display.
    pub detail: String,
}

impl BundleFault {
    pub(crate) fn new(
        code: FaultCode,
        object: impl fmt::Display,
        detail: impl fmt::Display,
    ) -> Self {
        Self {
            code,
            object: object.to_string(),
            detail: detail.to_string(),
        }
    }

    /// A fault whose detail is `error` and its chain of causes.
    pub(crate) fn caused(
        code: FaultCode,
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
        /// Code of a broken rule, as in SPEC.md and in reports.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FaultCode { $($(#[$doc])* $name,)* }

        impl FaultCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as in SPEC.md and in reports.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// The files could not be read. This says nothing about the bundle itself.
    Unreadable = "unreadable",
    /// The folder is marked as unfinished.
    Unfinished = "unfinished",
    /// The tar is malformed.
    Tar = "tar",
    /// A file is not a regular file.
    NotAFile = "not-a-file",
    /// A file is listed in no manifest, or stands where another one must.
    UnexpectedFile = "unexpected-file",
    /// The file `oci-layout` is missing or has the wrong content.
    OciLayout = "oci-layout",
    /// `index.json` is missing, malformed, or contradicts the manifests.
    Index = "index",
    /// A blob is missing.
    BlobMissing = "blob-missing",
    /// A blob does not have the size that its descriptor states.
    BlobSize = "blob-size",
    /// A blob does not have the digest in its name.
    BlobDigest = "blob-digest",
    /// A manifest is malformed.
    Manifest = "manifest",
    /// Not a bundle, but a container of a kind that a later version knows. This says nothing about
    /// it.
    OtherKind = "other-kind",
    /// There is no bundle manifest, or more than one.
    BundleCount = "bundle-count",
    /// The bundle is not the expected one.
    OtherBundle = "other-bundle",
    /// A referrer refers to something other than the bundle.
    Referrer = "referrer",
    /// A sigstore bundle is malformed.
    Attestation = "attestation",
    /// The format version is unknown.
    Version = "version",
    /// The config is malformed or contradicts itself.
    Config = "config",
    /// The manifest does not follow from the config.
    ManifestConfig = "manifest-config",
    /// The disclosure key does not have 32 bytes.
    DisclosureKey = "disclosure-key",
    /// An item's layer is not zstd of the prescribed form.
    Frames = "frames",
    /// An item's segment list is malformed.
    SegmentList = "segment-list",
    /// An item's bytes, records, segment list and layer contradict each other.
    ItemSize = "item-size",
    /// An item's record tree does not have the stated root.
    ItemRoot = "item-root",
    /// An item is not WARC of the prescribed form.
    Warc = "warc",
    /// There is no attestation.
    Unsigned = "unsigned",
    /// No attestation is signed by one of the given keys.
    OtherSigner = "other-signer",
    /// The signed payload is not a statement about a capture.
    Statement = "statement",
    /// The signed statement is about another bundle or another incident.
    StatementSubject = "statement-subject",
    /// One of the given keys has signed, with something that is reserved for later versions. This
    /// says nothing about the bundle.
    Reserved = "reserved",
    /// One of the given keys has signed two different statements about this bundle.
    StatementsDiffer = "statements-differ",
    /// The config states gaps.
    Gaps = "gaps",
    /// An item has more records of gaps than its coverage counts.
    GapCount = "gap-count",
    /// The source says that there is more than it delivered.
    Declared = "declared",
    /// The source could answer only a part of the window that it was asked for.
    Narrowed = "narrowed",
    /// When the item was captured, more could still arrive at the source.
    Provisional = "provisional",
    /// The plan has steps without an item.
    PlanItems = "plan-items",
}

impl FaultCode {
    /// True if the fault says something about the bundle, and not only that this program could not
    /// judge it.
    #[must_use]
    pub fn is_of_bundle(self) -> bool {
        ![
            Self::Unreadable,
            Self::OtherKind,
            Self::Version,
            Self::Reserved,
        ]
        .contains(&self)
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for FaultCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
