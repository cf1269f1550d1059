//! Verification: reads a bundle once, from its first file to its last, and reports five findings.
//!
//! The checks are made in the order of SPEC.md, and the first that fails determines the finding.
//! Every size is checked against `limits` before it is used, and trust comes only from the caller.

mod contents;
mod fault;
mod judge;
mod report;
mod trust;

pub use fault::{BundleFault, FaultCode};
pub use report::{
    AttestationFound, CompletenessChecked, Finding, IntegrityChecked, UnavailableProof,
    UnsignedAddition, Verdict, VerificationReport,
};
pub use trust::TrustPolicy;

use contents::BundleContents;
use judge::{claim, completeness, judged_attestations, signer};

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::rc::Rc;

use crate::config::{BundleConfig, ConfigError, ItemEntry};
use crate::container::tar::is_malformed;
use crate::container::{BundleFiles, ContainerError, INDEX, OCI_LAYOUT, blob_name};
use crate::digest::{Digest, HashingStream};
use crate::item::{ItemError, PieceVisitor, WorkerPool, read_item};
use crate::limits::{
    CONFIG_BYTES_MAX, INDEX_BYTES_MAX, MANIFEST_BYTES_MAX, OCI_LAYOUT_BYTES_MAX,
    SEGMENT_LIST_BYTES_MAX, SIGSTORE_BUNDLE_BYTES_MAX,
};
use crate::manifest::{
    self, BUNDLE, Descriptor, ImageIndex, LOG_PROOF, Manifest, SIGSTORE_BUNDLE, TIMESTAMP,
};
use crate::signature::Attestation;
use crate::tree::{DisclosureKey, TreeRoot};

/// Chooses a visitor for the bytes of an item while they are read. They are not verified until the
/// report says so.
pub type ItemViewer<'v> = dyn FnMut(&ItemEntry) -> Option<Box<dyn PieceVisitor + 'v>> + 'v;

/// Verifies a bundle.
pub fn verify(
    files: &mut dyn BundleFiles,
    trust: &TrustPolicy,
    workers: &mut WorkerPool,
) -> VerificationReport {
    verify_and_view(files, trust, workers, &mut |_| None)
}

/// Verifies a bundle, and passes the bytes of its items to the visitors that `viewer` chooses.
pub fn verify_and_view(
    files: &mut dyn BundleFiles,
    trust: &TrustPolicy,
    workers: &mut WorkerPool,
    viewer: &mut ItemViewer<'_>,
) -> VerificationReport {
    // Integrity is decided by reading everything; the other findings follow from what was read, so
    // they are reported even if reading stopped early.
    let mut reading = BundleReader {
        files,
        workers,
        found: BundleContents::default(),
        lists: SegmentListCache::default(),
    };
    let integrity = match reading.read_all(trust, viewer) {
        Ok(()) => Finding::Ok(IntegrityChecked(())),
        Err(fault) => Finding::Failed(fault),
    };
    let mut found = reading.found;
    // The index is not signed, so its order must not show in the report.
    found
        .attestations
        .sort_by_key(|(digest, attestation)| (attestation.key_id(), *digest));
    found.additions.sort();
    let attestations = judged_attestations(&found, trust);
    let signer = signer(&found, &attestations, trust, &integrity);
    let completeness = completeness(&found, &integrity);
    VerificationReport {
        bundle: found.bundle.as_ref().map(|d| d.digest),
        integrity,
        time: Finding::NotChecked(
            if found.attestations.iter().any(|(_, a)| a.has_timestamp()) || found.has(TIMESTAMP) {
                "the bundle carries a timestamp, which this version does not check"
            } else {
                "the bundle carries no independent timestamp; the time of signing is the signer's own claim"
            },
        ),
        log: Finding::NotChecked(if found.has(LOG_PROOF) {
            "the bundle carries a log proof, which this version does not check"
        } else {
            "the bundle carries no log proof"
        }),
        completeness,
        claim: claim(&found, &signer),
        attestations,
        unsigned: found.additions,
        unrecorded: found.unrecorded,
        signer,
        config: found.config,
    }
}

struct BundleReader<'a> {
    files: &'a mut dyn BundleFiles,
    workers: &'a mut WorkerPool,
    found: BundleContents,
    lists: SegmentListCache,
}

/// Segment lists. A list that several items share is read once and kept until the last of them.
#[derive(Default)]
struct SegmentListCache {
    /// How many of the remaining items have the list.
    uses: BTreeMap<Digest, usize>,
    kept: BTreeMap<Digest, Rc<Vec<u8>>>,
}

impl BundleReader<'_> {
    /// Makes all checks of SPEC.md, "Verification", in its order.
    fn read_all(
        &mut self,
        trust: &TrustPolicy,
        viewer: &mut ItemViewer<'_>,
    ) -> Result<(), BundleFault> {
        // A tar can only be read forwards: the order of these steps is the order of its files.
        let manifests = self.read_manifests()?;
        let bundle = self.choose_bundle(&manifests, trust)?;
        self.read_referrers(&manifests)?;
        let (config, config_blob) = self.read_config(bundle)?;
        let read = self.read_captured(&config, &config_blob, bundle, viewer);
        // The report shows the config even if an item is damaged.
        self.found.config = Some(config);
        read?;
        self.files.finish().map_err(container_fault)
    }

    /// Reads what the config refers to: the disclosure key and the items.
    fn read_captured(
        &mut self,
        config: &BundleConfig,
        config_blob: &[u8],
        bundle: &Manifest,
        viewer: &mut ItemViewer<'_>,
    ) -> Result<(), BundleFault> {
        let sizes: BTreeMap<_, _> = bundle
            .layers
            .iter()
            .map(|layer| (layer.digest, layer.size))
            .collect();
        // Only the sizes are taken from the manifest that was found; everything else must follow
        // from the config, so that the two cannot contradict each other.
        if Manifest::of_bundle(config, config_blob, &|digest| {
            sizes.get(digest).copied().unwrap_or(0)
        }) != *bundle
        {
            let object = blob_name(&bundle.config.digest);
            return Err(BundleFault::new(
                FaultCode::ManifestConfig,
                object,
                "the manifest does not follow from the config",
            ));
        }
        let (key, items) = bundle
            .layers
            .split_first()
            .expect("a manifest that follows from a config begins with the key");
        let key = self.read_key(key)?;
        for item in &config.items {
            *self.lists.uses.entry(item.segments).or_default() += 1;
        }
        // `of_bundle` puts the segment list and the layer of each item side by side.
        let mut items_read = Ok(());
        for (item, blobs) in config.items.iter().zip(items.as_chunks().0) {
            let read = self.read_item(item, blobs, &key, viewer);
            items_read = first_fault(items_read, read); // the remaining items are still read
        }
        items_read
    }

    fn read_manifests(&mut self) -> Result<Vec<Manifest>, BundleFault> {
        let layout = self.read_file(OCI_LAYOUT, OCI_LAYOUT_BYTES_MAX, FaultCode::OciLayout)?;
        manifest::check_oci_layout(&layout)
            .map_err(|e| BundleFault::caused(FaultCode::OciLayout, OCI_LAYOUT, &e))?;
        let index = self.read_file(INDEX, INDEX_BYTES_MAX, FaultCode::Index)?;
        let index = ImageIndex::decode(&index)
            .map_err(|e| BundleFault::caused(FaultCode::Index, INDEX, &e))?;
        let mut manifests = Vec::new();
        // One limit for all manifests: 64 of the largest size would be 1 GiB.
        let mut bytes_left = MANIFEST_BYTES_MAX;
        for entry in &index.manifests {
            let blob = self.read_blob(entry, bytes_left)?;
            bytes_left -= blob.len() as u64;
            let name = blob_name(&entry.digest);
            let manifest = Manifest::decode(&blob)
                .map_err(|e| BundleFault::caused(FaultCode::Manifest, &name, &e))?;
            if manifest.is_too_long(entry.size) {
                let detail = format!("has {} bytes, which no referrer needs", entry.size);
                return Err(BundleFault::new(FaultCode::BlobSize, name, detail));
            }
            if !ImageIndex::entry_matches(entry, &manifest) {
                return Err(BundleFault::new(
                    FaultCode::Index,
                    INDEX,
                    format!("contradicts {name}"),
                ));
            }
            if ![BUNDLE, SIGSTORE_BUNDLE].contains(&manifest.artifact_type.as_str()) {
                self.found.additions.push(UnsignedAddition {
                    kind: manifest.artifact_type.clone(),
                    manifest: entry.digest,
                    content: manifest.layers.iter().map(|layer| layer.digest).collect(),
                });
            }
            // Kept without the annotations, which are not part of what a referrer's subject names.
            if manifest.artifact_type == BUNDLE && self.found.bundle.is_none() {
                self.found.bundle =
                    Some(Descriptor::new(&entry.media_type, entry.digest, entry.size));
            }
            manifests.push(manifest);
        }
        Ok(manifests)
    }

    fn choose_bundle<'m>(
        &self,
        manifests: &'m [Manifest],
        trust: &TrustPolicy,
    ) -> Result<&'m Manifest, BundleFault> {
        let is_other_kind = |m: &Manifest| {
            m.subject.is_none() && m.artifact_type.starts_with(manifest::KIND_PREFIX)
        };
        if self.found.bundle.is_none() && manifests.iter().any(is_other_kind) {
            return Err(BundleFault::new(
                FaultCode::OtherKind,
                INDEX,
                "is of a kind that this version does not know",
            ));
        }
        let mut bundles = manifests.iter().filter(|m| m.artifact_type == BUNDLE);
        let (Some(bundle), None, Some(found)) =
            (bundles.next(), bundles.next(), &self.found.bundle)
        else {
            return Err(BundleFault::new(
                FaultCode::BundleCount,
                INDEX,
                "must list exactly one bundle manifest",
            ));
        };
        if trust
            .bundle
            .is_some_and(|expected| expected != found.digest)
        {
            return Err(BundleFault::new(
                FaultCode::OtherBundle,
                found.digest,
                "is not the expected bundle",
            ));
        }
        // No blob may have two roles: a tar holds each blob once, at the place of its first role.
        let mut taken: BTreeSet<Digest> =
            manifests.iter().map(|m| Digest::of(&m.encode())).collect();
        taken.extend(bundle.blobs().map(|blob| blob.digest));
        for other in manifests.iter().filter(|m| m.artifact_type != BUNDLE) {
            if other.subject.as_ref() != Some(found) {
                return Err(BundleFault::new(
                    FaultCode::Referrer,
                    &other.artifact_type,
                    "refers to something other than the bundle",
                ));
            }
            if other.blobs().any(|blob| taken.contains(&blob.digest)) {
                return Err(BundleFault::new(
                    FaultCode::Referrer,
                    &other.artifact_type,
                    "lists a manifest or a blob of the bundle as its own",
                ));
            }
        }
        Ok(bundle)
    }

    /// Reads the blobs of each referrer, each once even if several list it, and then decodes it if it
    /// is an attestation. Of other blobs only the digest is checked.
    fn read_referrers(&mut self, manifests: &[Manifest]) -> Result<(), BundleFault> {
        // The same blob may be listed by several referrers, but a tar holds it once, so it is read
        // at its first mention and later mentions only have to agree about its size.
        let attestations = manifests
            .iter()
            .filter(|m| m.artifact_type == SIGSTORE_BUNDLE);
        let attestations: BTreeSet<Digest> = attestations
            .flat_map(|m| &m.layers)
            .map(|layer| layer.digest)
            .collect();
        let (mut sizes_read, mut sigstore_bundles) = (BTreeMap::new(), BTreeMap::new());
        for referrer in manifests.iter().filter(|m| m.artifact_type != BUNDLE) {
            for descriptor in referrer.blobs() {
                match sizes_read.insert(descriptor.digest, descriptor.size) {
                    Some(size) if size == descriptor.size => {}
                    Some(size) => return Err(size_fault(descriptor, size)),
                    None if attestations.contains(&descriptor.digest) => {
                        let blob = self.read_blob(descriptor, SIGSTORE_BUNDLE_BYTES_MAX)?;
                        sigstore_bundles.insert(descriptor.digest, blob);
                    }
                    None => self.check_blob(descriptor)?,
                }
            }
            if referrer.artifact_type == SIGSTORE_BUNDLE {
                // Another attestation's manifest may have had the same layer.
                for layer in &referrer.layers {
                    if let Some(blob) = sigstore_bundles.remove(&layer.digest) {
                        self.decode_attestation(layer.digest, &blob)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn decode_attestation(&mut self, digest: Digest, blob: &[u8]) -> Result<(), BundleFault> {
        let decoded = Attestation::decode(blob)
            .map_err(|e| BundleFault::caused(FaultCode::Attestation, blob_name(&digest), &e))?;
        self.found.attestations.push((digest, decoded));
        Ok(())
    }

    fn read_config(&mut self, bundle: &Manifest) -> Result<(BundleConfig, Vec<u8>), BundleFault> {
        let blob = self.read_blob(&bundle.config, CONFIG_BYTES_MAX)?;
        let object = blob_name(&bundle.config.digest);
        let config = BundleConfig::decode(&blob).map_err(|e| {
            // An unknown version is not a fault of the bundle's author.
            let code = if matches!(e, ConfigError::Version { .. }) {
                FaultCode::Version
            } else {
                FaultCode::Config
            };
            BundleFault::caused(code, &object, &e)
        })?;
        Ok((config, blob))
    }

    fn read_key(&mut self, descriptor: &Descriptor) -> Result<DisclosureKey, BundleFault> {
        let fault = || {
            BundleFault::new(
                FaultCode::DisclosureKey,
                blob_name(&descriptor.digest),
                "does not have 32 bytes",
            )
        };
        if descriptor.size != 32 {
            return Err(fault());
        }
        let key = self.read_blob(descriptor, 32)?;
        Ok(DisclosureKey::new(key.try_into().map_err(|_| fault())?))
    }

    fn read_item(
        &mut self,
        item: &ItemEntry,
        [segments, descriptor]: &[Descriptor; 2],
        key: &DisclosureKey,
        viewer: &mut ItemViewer<'_>,
    ) -> Result<(), BundleFault> {
        let list = self.read_list(segments)?;
        let mut file = open_blob(self.files, descriptor)?;
        let mut layer = HashingStream::new(&mut file);
        let mut nobody: Box<dyn PieceVisitor> = Box::new(());
        let mut visit = viewer(item);
        let visit = visit.as_mut().unwrap_or(&mut nobody).as_mut();
        let contents = read_item(
            &item.name,
            key,
            (&mut layer, &list[..]),
            item.bytes,
            self.workers,
            visit,
        );
        // A changed layer is reported as such, whatever else the change broke.
        check_digest(layer, descriptor)?;
        let contents = contents.map_err(|e| item_fault(item, &e))?;
        if (contents.bytes, contents.records, contents.leaves)
            != (item.bytes, item.records, item.leaves)
        {
            return Err(BundleFault::new(
                FaultCode::ItemSize,
                &item.name,
                "has not as many bytes, records or leaves as the config states",
            ));
        }
        if TreeRoot(contents.root) != item.root {
            return Err(BundleFault::new(
                FaultCode::ItemRoot,
                &item.name,
                "its record tree does not have the root that the config states",
            ));
        }
        let found = &mut self.found;
        found
            .unrecorded
            .insert(item.name.clone(), contents.unrecorded);
        if found.uncounted_gap.is_none() {
            found.uncounted_gap = uncounted_gap(item, &contents.gap_records);
        }
        Ok(())
    }

    /// Reads the segment list of the next item. Lists that are kept for later items count against
    /// its limit, so that memory stays bounded.
    fn read_list(&mut self, descriptor: &Descriptor) -> Result<Rc<Vec<u8>>, BundleFault> {
        let uses = self.lists.uses.entry(descriptor.digest).or_default();
        *uses = uses.saturating_sub(1);
        let needed_later = *uses > 0;
        let list = match self.lists.kept.remove(&descriptor.digest) {
            Some(list) => list,
            None => {
                let kept: u64 = self.lists.kept.values().map(|list| list.len() as u64).sum();
                Rc::new(self.read_blob(descriptor, SEGMENT_LIST_BYTES_MAX - kept)?)
            }
        };
        if needed_later {
            self.lists.kept.insert(descriptor.digest, Rc::clone(&list));
        }
        Ok(list)
    }

    fn read_file(
        &mut self,
        name: &str,
        bytes_max: u64,
        code: FaultCode,
    ) -> Result<Vec<u8>, BundleFault> {
        let file = self.files.open(name).map_err(container_fault)?;
        let file = file.ok_or_else(|| {
            BundleFault::new(code, name, "is missing: not a bundle, or an incomplete one")
        })?;
        // The stated size is checked before anything is read into memory.
        if file.size > bytes_max {
            return Err(BundleFault::new(
                code,
                name,
                format!("has {} bytes, limit is {bytes_max}", file.size),
            ));
        }
        let mut bytes = Vec::new();
        { file }
            .content
            .read_to_end(&mut bytes)
            .map_err(|e| read_fault(name, &e))?;
        Ok(bytes)
    }

    /// Reads a blob of at most `bytes_max` bytes and checks its digest.
    fn read_blob(
        &mut self,
        descriptor: &Descriptor,
        bytes_max: u64,
    ) -> Result<Vec<u8>, BundleFault> {
        let name = blob_name(&descriptor.digest);
        let file = open_blob(self.files, descriptor)?;
        // The stated size is checked before anything is read into memory.
        if descriptor.size > bytes_max {
            return Err(BundleFault::new(
                FaultCode::BlobSize,
                name,
                format!("has {} bytes, limit is {bytes_max}", descriptor.size),
            ));
        }
        let mut file = HashingStream::new(file);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|e| read_fault(&name, &e))?;
        check_digest(file, descriptor)?;
        Ok(bytes)
    }

    /// Reads a blob of any size to check its digest.
    fn check_blob(&mut self, descriptor: &Descriptor) -> Result<(), BundleFault> {
        check_digest(
            HashingStream::new(open_blob(self.files, descriptor)?),
            descriptor,
        )
    }
}

/// A fault if the item has more records of gaps than its coverage counts. It may have fewer: of many
/// objects that are missing, a writer may name some.
fn uncounted_gap(item: &ItemEntry, records: &BTreeMap<String, u64>) -> Option<BundleFault> {
    let counted = |reason: &str| {
        let gaps = item.coverage.gaps.iter();
        gaps.filter(|gap| gap.reason.as_str() == reason)
            .map(|gap| gap.count)
            .sum::<u64>()
    };
    let (reason, found) = { records.iter() }.find(|(reason, found)| **found > counted(reason))?;
    let detail = format!(
        "{found} of its WARC records state the gap {reason:?}, its coverage counts {}",
        counted(reason)
    );
    Some(BundleFault::new(FaultCode::GapCount, &item.name, detail))
}

/// The first fault, except that a fault of the bundle counts more than one of the machine.
fn first_fault(
    before: Result<(), BundleFault>,
    now: Result<(), BundleFault>,
) -> Result<(), BundleFault> {
    match (&before, &now) {
        (Err(first), Err(_)) if first.code == FaultCode::Unreadable => now,
        _ => before.and(now),
    }
}

fn open_blob<'f>(
    files: &'f mut dyn BundleFiles,
    descriptor: &Descriptor,
) -> Result<impl Read + 'f, BundleFault> {
    let name = blob_name(&descriptor.digest);
    let file = files.open(&name).map_err(container_fault)?;
    let file = file.ok_or_else(|| BundleFault::new(FaultCode::BlobMissing, &name, "is missing"))?;
    if file.size != descriptor.size {
        return Err(size_fault(descriptor, file.size));
    }
    Ok(file.content)
}

fn size_fault(descriptor: &Descriptor, bytes: u64) -> BundleFault {
    let detail = format!(
        "has {bytes} bytes, its descriptor states {}",
        descriptor.size
    );
    BundleFault::new(FaultCode::BlobSize, blob_name(&descriptor.digest), detail)
}

/// Reads the rest of a blob, and compares the digest of all of it.
fn check_digest<R: Read>(
    mut blob: HashingStream<R>,
    descriptor: &Descriptor,
) -> Result<(), BundleFault> {
    let name = blob_name(&descriptor.digest);
    // A reader of the content may stop early; the digest covers all bytes.
    io::copy(&mut blob, &mut io::sink()).map_err(|e| read_fault(&name, &e))?;
    let (_, digest, bytes) = blob.finish();
    if bytes != descriptor.size {
        return Err(BundleFault::new(
            FaultCode::BlobSize,
            name,
            format!("ends after {bytes} of {} bytes", descriptor.size),
        ));
    }
    if digest != descriptor.digest {
        return Err(BundleFault::new(
            FaultCode::BlobDigest,
            name,
            format!("has the digest {digest}"),
        ));
    }
    Ok(())
}

/// A file that ends early or is padded badly is a fault of the tar; any other error is one of the
/// machine.
fn read_fault(name: &str, error: &io::Error) -> BundleFault {
    let code = if is_malformed(error) {
        FaultCode::Tar
    } else {
        FaultCode::Unreadable
    };
    BundleFault::caused(code, name, error)
}

fn container_fault(error: ContainerError) -> BundleFault {
    let (code, object) = match &error {
        ContainerError::Read { name, .. } => (FaultCode::Unreadable, name.clone()),
        ContainerError::Unfinished => (FaultCode::Unfinished, OCI_LAYOUT.to_owned()),
        ContainerError::Unexpected { name } => (FaultCode::UnexpectedFile, name.clone()),
        ContainerError::NotAFile { name } => (FaultCode::NotAFile, name.clone()),
        ContainerError::Tar(_) => (FaultCode::Tar, "the tar".to_owned()),
    };
    BundleFault::caused(code, object, &error)
}

fn item_fault(item: &ItemEntry, error: &ItemError) -> BundleFault {
    let code = match error {
        ItemError::Frame(crate::container::FrameError::Read(_)) | ItemError::Visit(_) => {
            FaultCode::Unreadable
        }
        ItemError::Frame(_) => FaultCode::Frames,
        ItemError::List(_) | ItemError::TooManySegments | ItemError::RecordOutsideBlock => {
            FaultCode::SegmentList
        }
        ItemError::Lengths | ItemError::Longer { .. } => FaultCode::ItemSize,
        ItemError::Warc(_) => FaultCode::Warc,
    };
    BundleFault::caused(code, &item.name, error)
}
