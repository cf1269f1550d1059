//! What verification has read of a bundle.

use std::collections::BTreeMap;

use super::fault::BundleFault;
use super::report::UnsignedAddition;
use crate::config::BundleConfig;
use crate::digest::Digest;
use crate::id::ItemName;
use crate::item::UnrecordedBytes;
use crate::manifest::Descriptor;
use crate::signature::Attestation;

/// What has been read of a bundle so far.
#[derive(Default)]
pub(super) struct BundleContents {
    pub(super) bundle: Option<Descriptor>,
    /// Each with the digest of its blob.
    pub(super) attestations: Vec<(Digest, Attestation)>,
    /// Referrers of other kinds.
    pub(super) additions: Vec<UnsignedAddition>,
    pub(super) unrecorded: BTreeMap<ItemName, UnrecordedBytes>,
    /// The first item with more gap records than its coverage counts.
    pub(super) uncounted_gap: Option<BundleFault>,
    pub(super) config: Option<BundleConfig>,
}

impl BundleContents {
    pub(super) fn has(&self, kind: &str) -> bool {
        self.additions.iter().any(|addition| addition.kind == kind)
    }
}
