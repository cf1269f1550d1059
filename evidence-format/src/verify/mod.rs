//! Verification: reads a bundle once, from its first file to its last, and reports five findings.
//!
//! The checks are made in the order of SPEC.md, and the first that fails determines the finding.
//! Every size is checked against `limits` before it is used, and trust comes only from the caller.

mod fault;
mod report;
mod trust;

pub use fault::{Code, Fault};
pub use report::{CompletenessChecked, Exit, Finding, IntegrityChecked, NotYet, Report};
pub use trust::Trust;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::rc::Rc;

use crate::config::{Config, ConfigError, Item};
use crate::container::{ContainerError, Files, INDEX, OCI_LAYOUT, blob_name};
use crate::digest::{Digest, Hashing};
use crate::item::{ItemError, Visit, Workers, read_item};
use crate::limits::{
    CONFIG_BYTES_MAX, INDEX_BYTES_MAX, MANIFEST_BYTES_MAX, OCI_LAYOUT_BYTES_MAX,
    SEGMENT_LIST_BYTES_MAX, SIGSTORE_BUNDLE_BYTES_MAX,
};
use crate::manifest::{self, BUNDLE, Descriptor, Index, Manifest, SIGSTORE_BUNDLE};
use crate::signature::{Attestation, SignatureChecked};
use crate::statement::Statement;
use crate::tree::{DisclosureKey, Root};

/// Chooses a visitor for the bytes of an item while they are read. They are not verified until the
/// report says so.
pub type Viewer<'v> = dyn FnMut(&Item) -> Option<Box<dyn Visit + 'v>> + 'v;

/// Verifies a bundle.
pub fn verify(files: &mut dyn Files, trust: &Trust, workers: &mut Workers) -> Report {
    verify_and_view(files, trust, workers, &mut |_| None)
}

/// Verifies a bundle, and passes the bytes of its items to the visitors that `viewer` chooses.
pub fn verify_and_view(
    files: &mut dyn Files,
    trust: &Trust,
    workers: &mut Workers,
    viewer: &mut Viewer<'_>,
) -> Report {
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
    let found = reading.found;
    let signer = signer(&found, trust, &integrity);
    let completeness = completeness(found.config.as_ref(), &integrity);
    Report {
        bundle: found.bundle.as_ref().map(|d| d.digest),
        integrity,
        time: Finding::NotChecked(
            if found.attestations.iter().any(Attestation::has_timestamp) {
                "the bundle carries a timestamp, which this version does not check"
            } else {
                "the bundle carries no independent timestamp; the time of signing is the signer's own claim"
            },
        ),
        log: Finding::NotChecked("the bundle carries no log proof"),
        completeness,
        claim: claim(&found, &signer),
        signer,
        config: found.config,
    }
}

/// What has been read of a bundle so far.
#[derive(Default)]
struct BundleContents {
    bundle: Option<Descriptor>,
    attestations: Vec<Attestation>,
    config: Option<Config>,
}

struct BundleReader<'a> {
    files: &'a mut dyn Files,
    workers: &'a mut Workers,
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
    fn read_all(&mut self, trust: &Trust, viewer: &mut Viewer<'_>) -> Result<(), Fault> {
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
        config: &Config,
        config_blob: &[u8],
        bundle: &Manifest,
        viewer: &mut Viewer<'_>,
    ) -> Result<(), Fault> {
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
            return Err(Fault::new(
                Code::ManifestConfig,
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

    fn read_manifests(&mut self) -> Result<Vec<Manifest>, Fault> {
        let layout = self.read_file(OCI_LAYOUT, OCI_LAYOUT_BYTES_MAX, Code::OciLayout)?;
        manifest::check_oci_layout(&layout)
            .map_err(|e| Fault::caused(Code::OciLayout, OCI_LAYOUT, &e))?;
        let index = self.read_file(INDEX, INDEX_BYTES_MAX, Code::Index)?;
        let index = Index::decode(&index).map_err(|e| Fault::caused(Code::Index, INDEX, &e))?;
        let mut manifests = Vec::new();
        // One limit for all manifests: 64 of the largest size would be 1 GiB.
        let mut bytes_left = MANIFEST_BYTES_MAX;
        for entry in &index.manifests {
            let blob = self.read_blob(entry, bytes_left)?;
            bytes_left -= blob.len() as u64;
            let name = blob_name(&entry.digest);
            let manifest =
                Manifest::decode(&blob).map_err(|e| Fault::caused(Code::Manifest, &name, &e))?;
            if !Index::entry_matches(entry, &manifest) {
                return Err(Fault::new(
                    Code::Index,
                    INDEX,
                    format!("contradicts {name}"),
                ));
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
        trust: &Trust,
    ) -> Result<&'m Manifest, Fault> {
        let mut bundles = manifests.iter().filter(|m| m.artifact_type == BUNDLE);
        let (Some(bundle), None, Some(found)) =
            (bundles.next(), bundles.next(), &self.found.bundle)
        else {
            return Err(Fault::new(
                Code::BundleCount,
                INDEX,
                "must list exactly one bundle manifest",
            ));
        };
        if trust
            .bundle
            .is_some_and(|expected| expected != found.digest)
        {
            return Err(Fault::new(
                Code::OtherBundle,
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
                return Err(Fault::new(
                    Code::Referrer,
                    &other.artifact_type,
                    "refers to something other than the bundle",
                ));
            }
            if other.blobs().any(|blob| taken.contains(&blob.digest)) {
                return Err(Fault::new(
                    Code::Referrer,
                    &other.artifact_type,
                    "lists a manifest or a blob of the bundle as its own",
                ));
            }
        }
        Ok(bundle)
    }

    /// Reads the blobs of the referrers, each once even if several list it. Attestations are
    /// decoded; of other blobs only the digest is checked.
    fn read_referrers(&mut self, manifests: &[Manifest]) -> Result<(), Fault> {
        // The same blob may be listed by several referrers, but a tar holds it once, so it is read
        // at its first mention and later mentions only have to agree about its size.
        let attestations = manifests
            .iter()
            .filter(|m| m.artifact_type == SIGSTORE_BUNDLE);
        let attestations: BTreeSet<Digest> = attestations
            .flat_map(|m| &m.layers)
            .map(|layer| layer.digest)
            .collect();
        let mut sizes_read = BTreeMap::new();
        for descriptor in manifests
            .iter()
            .filter(|m| m.artifact_type != BUNDLE)
            .flat_map(Manifest::blobs)
        {
            match sizes_read.insert(descriptor.digest, descriptor.size) {
                Some(size) if size == descriptor.size => {}
                Some(size) => return Err(size_fault(descriptor, size)),
                None if attestations.contains(&descriptor.digest) => {
                    self.read_attestation(descriptor)?
                }
                None => self.check_blob(descriptor)?,
            }
        }
        Ok(())
    }

    fn read_attestation(&mut self, descriptor: &Descriptor) -> Result<(), Fault> {
        let blob = self.read_blob(descriptor, SIGSTORE_BUNDLE_BYTES_MAX)?;
        let decoded = Attestation::decode(&blob);
        let decoded = decoded
            .map_err(|e| Fault::caused(Code::Attestation, blob_name(&descriptor.digest), &e))?;
        self.found.attestations.push(decoded);
        Ok(())
    }

    fn read_config(&mut self, bundle: &Manifest) -> Result<(Config, Vec<u8>), Fault> {
        let blob = self.read_blob(&bundle.config, CONFIG_BYTES_MAX)?;
        let object = blob_name(&bundle.config.digest);
        let config = Config::decode(&blob).map_err(|e| {
            // An unknown version is not a fault of the bundle's author.
            let code = if matches!(e, ConfigError::Version { .. }) {
                Code::Version
            } else {
                Code::Config
            };
            Fault::caused(code, &object, &e)
        })?;
        Ok((config, blob))
    }

    fn read_key(&mut self, descriptor: &Descriptor) -> Result<DisclosureKey, Fault> {
        let fault = || {
            Fault::new(
                Code::DisclosureKey,
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
        item: &Item,
        [segments, descriptor]: &[Descriptor; 2],
        key: &DisclosureKey,
        viewer: &mut Viewer<'_>,
    ) -> Result<(), Fault> {
        let list = self.read_list(segments)?;
        let mut file = open_blob(self.files, descriptor)?;
        let mut layer = Hashing::new(&mut file);
        let mut nobody: Box<dyn Visit> = Box::new(());
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
        if (contents.bytes, contents.records) != (item.bytes, item.records) {
            return Err(Fault::new(
                Code::ItemSize,
                &item.name,
                "has not as many bytes or records as the config states",
            ));
        }
        if Root(contents.root) != item.root {
            return Err(Fault::new(
                Code::ItemRoot,
                &item.name,
                "its record tree does not have the root that the config states",
            ));
        }
        Ok(())
    }

    /// Reads the segment list of the next item. Lists that are kept for later items count against
    /// its limit, so that memory stays bounded.
    fn read_list(&mut self, descriptor: &Descriptor) -> Result<Rc<Vec<u8>>, Fault> {
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

    fn read_file(&mut self, name: &str, bytes_max: u64, code: Code) -> Result<Vec<u8>, Fault> {
        let file = self.files.open(name).map_err(container_fault)?;
        let file = file.ok_or_else(|| {
            Fault::new(code, name, "is missing: not a bundle, or an incomplete one")
        })?;
        // The stated size is checked before anything is read into memory.
        if file.size > bytes_max {
            return Err(Fault::new(
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
    fn read_blob(&mut self, descriptor: &Descriptor, bytes_max: u64) -> Result<Vec<u8>, Fault> {
        let name = blob_name(&descriptor.digest);
        if descriptor.size > bytes_max {
            return Err(Fault::new(
                Code::BlobSize,
                name,
                format!("has {} bytes, limit is {bytes_max}", descriptor.size),
            ));
        }
        let mut file = Hashing::new(open_blob(self.files, descriptor)?);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)
            .map_err(|e| read_fault(&name, &e))?;
        check_digest(file, descriptor)?;
        Ok(bytes)
    }

    /// Reads a blob of any size to check its digest.
    fn check_blob(&mut self, descriptor: &Descriptor) -> Result<(), Fault> {
        check_digest(Hashing::new(open_blob(self.files, descriptor)?), descriptor)
    }
}

/// The first fault, except that a fault of the bundle counts more than one of the machine.
fn first_fault(before: Result<(), Fault>, now: Result<(), Fault>) -> Result<(), Fault> {
    match (&before, &now) {
        (Err(first), Err(_)) if first.code == Code::Unreadable => now,
        _ => before.and(now),
    }
}

fn open_blob<'f>(
    files: &'f mut dyn Files,
    descriptor: &Descriptor,
) -> Result<impl Read + 'f, Fault> {
    let name = blob_name(&descriptor.digest);
    let file = files.open(&name).map_err(container_fault)?;
    let file = file.ok_or_else(|| Fault::new(Code::BlobMissing, &name, "is missing"))?;
    if file.size != descriptor.size {
        return Err(size_fault(descriptor, file.size));
    }
    Ok(file.content)
}

fn size_fault(descriptor: &Descriptor, bytes: u64) -> Fault {
    let detail = format!(
        "has {bytes} bytes, its descriptor states {}",
        descriptor.size
    );
    Fault::new(Code::BlobSize, blob_name(&descriptor.digest), detail)
}

/// Reads the rest of a blob, and compares the digest of all of it.
fn check_digest<R: Read>(mut blob: Hashing<R>, descriptor: &Descriptor) -> Result<(), Fault> {
    let name = blob_name(&descriptor.digest);
    // A reader of the content may stop early; the digest covers all bytes.
    io::copy(&mut blob, &mut io::sink()).map_err(|e| read_fault(&name, &e))?;
    let (_, digest, bytes) = blob.finish();
    if bytes != descriptor.size {
        return Err(Fault::new(
            Code::BlobSize,
            name,
            format!("ends after {bytes} of {} bytes", descriptor.size),
        ));
    }
    if digest != descriptor.digest {
        return Err(Fault::new(
            Code::BlobDigest,
            name,
            format!("has the digest {digest}"),
        ));
    }
    Ok(())
}

/// A file that ends early is a fault of the tar; any other error is one of the machine.
fn read_fault(name: &str, error: &io::Error) -> Fault {
    let code = if error.kind() == io::ErrorKind::UnexpectedEof {
        Code::Tar
    } else {
        Code::Unreadable
    };
    Fault::caused(code, name, error)
}

fn container_fault(error: ContainerError) -> Fault {
    let (code, object) = match &error {
        ContainerError::Read { name, .. } => (Code::Unreadable, name.clone()),
        ContainerError::Unfinished => (Code::Unfinished, OCI_LAYOUT.to_owned()),
        ContainerError::Unexpected { name } => (Code::UnexpectedFile, name.clone()),
        ContainerError::NotAFile { name } => (Code::NotAFile, name.clone()),
        ContainerError::Tar(_) => (Code::Tar, "the tar".to_owned()),
    };
    Fault::caused(code, object, &error)
}

fn item_fault(item: &Item, error: &ItemError) -> Fault {
    let code = match error {
        ItemError::Frame(crate::container::FrameError::Read(_)) | ItemError::Visit(_) => {
            Code::Unreadable
        }
        ItemError::Frame(_) => Code::Frames,
        ItemError::List(_) | ItemError::TooManySegments => Code::SegmentList,
        ItemError::Lengths | ItemError::Longer { .. } => Code::ItemSize,
        ItemError::Warc(_) => Code::Warc,
    };
    Fault::caused(code, &item.name, error)
}

/// Looks for an attestation by any of the auditor's keys.
fn signer(
    found: &BundleContents,
    trust: &Trust,
    integrity: &Finding<IntegrityChecked>,
) -> Finding<SignatureChecked> {
    let Some(bundle) = &found.bundle else {
        return Finding::NotChecked("no bundle manifest was read");
    };
    if found.attestations.is_empty() {
        return match integrity {
            Finding::Ok(_) => Finding::Failed(Fault::new(
                Code::Unsigned,
                bundle.digest,
                "has no signature",
            )),
            Finding::Failed(_) | Finding::NotChecked(_) => {
                Finding::NotChecked("reading failed before a signature was found")
            }
        };
    }
    if trust.keys.is_empty() {
        return Finding::NotChecked("no key was given");
    }
    // Every attestation is tried with every key: one good signature is enough. If there is none, a
    // fault in something that a trusted key did sign says more than "other signer".
    let mut fault = Fault::new(
        Code::OtherSigner,
        bundle.digest,
        "is not signed by any of the given keys",
    );
    for (attestation, key) in found
        .attestations
        .iter()
        .flat_map(|a| trust.keys.iter().map(move |k| (a, k)))
    {
        match attestation.verify(key) {
            Ok(None) => {}
            Ok(Some(checked)) => match about_this_bundle(&checked, found, bundle) {
                Ok(()) => return Finding::Ok(checked),
                Err(other) => fault = other,
            },
            Err(error) => fault = Fault::caused(Code::Statement, bundle.digest, &error),
        }
    }
    Finding::Failed(fault)
}

/// The statement signed by the trusted key, or else by anybody. The index is not signed, so
/// somebody may have put another attestation before the trusted one; it must not speak for the
/// signer.
fn claim(found: &BundleContents, signer: &Finding<SignatureChecked>) -> Option<Statement> {
    match signer {
        Finding::Ok(proof) => Some(proof.statement().clone()),
        Finding::Failed(_) | Finding::NotChecked(_) => found
            .attestations
            .first()
            .and_then(|a| a.unverified_statement().ok()),
    }
}

fn about_this_bundle(
    checked: &SignatureChecked,
    found: &BundleContents,
    bundle: &Descriptor,
) -> Result<(), Fault> {
    let statement = checked.statement();
    if statement.bundle != bundle.digest {
        return Err(Fault::new(
            Code::StatementSubject,
            bundle.digest,
            "the signed statement is about another bundle",
        ));
    }
    // Without a config there is no second incident to compare with.
    if found
        .config
        .as_ref()
        .is_some_and(|config| config.incident != statement.predicate.incident)
    {
        return Err(Fault::new(
            Code::StatementSubject,
            bundle.digest,
            "the signed statement is about another incident",
        ));
    }
    Ok(())
}

fn completeness(
    config: Option<&Config>,
    integrity: &Finding<IntegrityChecked>,
) -> Finding<CompletenessChecked> {
    let (Some(config), Finding::Ok(_)) = (config, integrity) else {
        return Finding::NotChecked("requires a bundle whose integrity is ok");
    };
    // A missing item is worse than a gap inside an item, which is at least stated.
    if let Some(step) = config.planned_but_absent().next() {
        return Finding::Failed(Fault::new(
            Code::PlanItems,
            step,
            "is planned, but not among the items",
        ));
    }
    let missing: Vec<_> = config
        .items
        .iter()
        .filter(|item| !item.coverage.is_complete())
        .collect();
    if let Some(first) = missing.first() {
        let objects = missing.iter().fold(0_u64, |sum, item| {
            sum.saturating_add(item.coverage.missing())
        });
        let detail = format!(
            "{} of {} items have gaps, {objects} objects in all",
            missing.len(),
            config.items.len()
        );
        return Finding::Failed(Fault::new(Code::Gaps, &first.name, detail));
    }
    Finding::Ok(CompletenessChecked(()))
}
