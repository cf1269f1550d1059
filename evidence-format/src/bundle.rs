//! Writing a bundle: a [`DraftBundle`] collects items, a [`SealedBundle`] has an id and a signature
//! and can be published.
//!
//! A draft is a folder marked as unfinished. Each blob is written into it once, as it arrives. Only
//! publishing, whose last step is a rename, turns the folder into a bundle. A draft that is dropped
//! before sealing removes its folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};

use crate::canonical;
use crate::config::{
    BundleConfig, ClockReading, CollectorInfo, ConfigError, ExaminedSystem, ItemEntry, ItemSource,
    Redaction, VERSION,
};
use crate::container::layout::{DraftFolder, sync_parent};
use crate::container::{INDEX, OCI_LAYOUT, OCI_LAYOUT_CONTENT, blob_name, tar};
use crate::coverage::{Coverage, TimeWindow};
use crate::digest::Digest;
use crate::id::{IncidentId, ItemName};
use crate::item::{CompressionPool, ItemWriter, StreamedBlock, WriteItemError};
use crate::keyring::{PublicKey, Signer};
use crate::manifest::{
    self, ATTESTATION_REF, BUNDLE_REF, Descriptor, ImageIndex, MANIFEST, Manifest, PUBLIC_KEY_REF,
};
use crate::plan::SealedPlan;
use crate::signature::{AttestError, Attestation};
use crate::statement::{CapturePredicate, Statement};
use crate::tree::DisclosureKey;
use crate::warc::{RecordIds, WarcHeader};

/// A bundle could not be written, signed or published.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Writing to the file system failed.
    #[error("cannot write {path}")]
    Write {
        /// The file or folder that could not be written.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        cause: io::Error,
    },
    /// An item could not be written.
    #[error(transparent)]
    Item(#[from] WriteItemError),
    /// The config breaks a rule of the format, so that no verifier would accept the bundle.
    #[error("config cannot be sealed")]
    Config(#[source] ConfigError),
    /// The statement could not be signed.
    #[error(transparent)]
    Attest(#[from] AttestError),
}

/// Derives all randomness of a bundle from 32 random bytes that are not stored.
struct BundleEntropy(Hmac<sha2::Sha256>);

impl BundleEntropy {
    fn new(seed: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(seed).expect("HMAC takes keys of any length"))
    }

    fn bytes(&self, label: &str, item: &str) -> [u8; 32] {
        let mut mac = self.0.clone();
        // The NUL separates label and name, so that no two pairs give the same message.
        for part in [label, "\0", item] {
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

/// A bundle that is being written.
pub struct DraftBundle {
    /// `None` once the bundle is sealed.
    folder: Option<DraftFolder>,
    entropy: BundleEntropy,
    key: DisclosureKey,
    pack: CompressionPool,
    examined: Option<ExaminedSystem>,
    items: Vec<ItemEntry>,
    sizes: BTreeMap<Digest, u64>,
}

/// Everything that the config states except the items and the examined system.
#[derive(Debug, Clone)]
pub struct BundleMetadata {
    /// The incident that the capture belongs to.
    pub incident: IncidentId,
    /// Id of the capture's first bundle, if this one supplements it.
    pub supplements: Option<Digest>,
    /// The requested window, if any.
    pub window: Option<TimeWindow>,
    /// What the capture set out to do.
    pub plan: SealedPlan,
    /// The program that captured.
    pub collector: CollectorInfo,
    /// Clock readings taken during the capture, in order.
    pub clock: Vec<ClockReading>,
}

impl DraftBundle {
    /// Starts a bundle in the new folder `path`. `seed` is 32 random bytes that must never be used
    /// for another bundle.
    ///
    /// # Errors
    /// The folder already exists, or cannot be written.
    pub fn create(
        path: &Path,
        seed: &[u8; 32],
        pack: CompressionPool,
    ) -> Result<Self, BundleError> {
        let folder = DraftFolder::create(path).map_err(|cause| BundleError::Write {
            path: path.to_owned(),
            cause,
        })?;
        let entropy = BundleEntropy::new(seed);
        let key = DisclosureKey::new(entropy.bytes("disclosure-key", ""));
        Ok(Self {
            folder: Some(folder),
            entropy,
            key,
            pack,
            examined: None,
            items: Vec::new(),
            sizes: BTreeMap::new(),
        })
    }

    /// Starts an item. Its name must be new in this bundle.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn item(&mut self, name: &ItemName) -> Result<DraftItem<'_>, BundleError> {
        let folder = self.folder.as_ref().expect("present until sealed");
        let blobs = (
            create_spool(folder, &layer_spool(name))?,
            BufWriter::new(create_spool(folder, &list_spool(name))?),
        );
        // Record ids need only eight bytes of the derived 32.
        let [a, b, c, d, e, f, g, h, ..] = self.entropy.bytes("record-ids", name.as_str());
        let ids = RecordIds::new([a, b, c, d, e, f, g, h]);
        let salt = self.entropy.bytes("layer-salt", name.as_str());
        let writer = ItemWriter::start(&mut self.pack, name.clone(), &self.key, ids, blobs)?;
        Ok(DraftItem {
            writer,
            salt,
            folder,
            items: &mut self.items,
            sizes: &mut self.sizes,
        })
    }

    /// States which system the items about a host were read from.
    pub fn set_examined(&mut self, system: ExaminedSystem) {
        self.examined = Some(system);
    }

    /// The items finished so far.
    #[must_use]
    pub fn items(&self) -> &[ItemEntry] {
        &self.items
    }

    /// Writes config, manifests and signature. Nothing can be added afterwards.
    ///
    /// # Errors
    /// See [`BundleError`]; the draft is removed.
    pub fn seal(
        mut self,
        metadata: BundleMetadata,
        predicate: CapturePredicate,
        signer: &dyn Signer,
    ) -> Result<SealedBundle, BundleError> {
        let items = std::mem::take(&mut self.items);
        let folder = self.folder.as_ref().expect("present until sealed");
        let write = |blob: &[u8]| {
            folder.write(blob).map_err(|cause| BundleError::Write {
                path: folder.path().to_owned(),
                cause,
            })
        };
        // The key is a blob of the bundle; who discloses single records leaves it out.
        let disclosure_key = write(self.key.as_bytes())?;
        self.sizes
            .insert(disclosure_key, self.key.as_bytes().len() as u64);
        let BundleMetadata {
            incident,
            supplements,
            window,
            plan,
            collector,
            clock,
        } = metadata;
        let mut config = BundleConfig {
            version: VERSION,
            incident,
            supplements,
            window,
            plan,
            collector,
            examined: self.examined.take(),
            clock,
            disclosure_key,
            items,
        };
        config.shorten();
        debug_assert_eq!(
            config.check(),
            Ok(()),
            "what this crate's users state is consistent"
        );
        let config_blob = config.encode();
        BundleConfig::decode(&config_blob).map_err(BundleError::Config)?;
        write(&config_blob)?;

        // The id is the digest of the bundle manifest, so everything that it covers is written
        // before it, and what refers to it (the attestation) after it.
        let bundle = Manifest::of_bundle(&config, &config_blob, &|digest| self.sizes[digest]);
        let bundle_blob = bundle.encode();
        let id = write(&bundle_blob)?;
        let sigstore_bundle = Attestation::sign(
            &Statement {
                bundle: id,
                predicate,
            },
            signer,
        )?
        .encode();
        write(&sigstore_bundle)?;
        write(manifest::EMPTY_BLOB)?;
        let attestation =
            Manifest::of_attestation(&sigstore_bundle, Descriptor::of(MANIFEST, &bundle_blob));
        write(&attestation.encode())?;
        let folder = self.folder.take().expect("present until here");
        Ok(SealedBundle {
            id,
            folder: Some(folder),
            config,
            manifests: vec![(BUNDLE_REF, bundle), (ATTESTATION_REF, attestation)],
        })
    }
}

impl Drop for DraftBundle {
    fn drop(&mut self) {
        remove(self.folder.take());
    }
}

/// An item that is being written. If it is dropped unfinished, the bundle does not list it.
pub struct DraftItem<'d> {
    writer: ItemWriter<'d, File, BufWriter<File>>,
    salt: [u8; 32],
    folder: &'d DraftFolder,
    items: &'d mut Vec<ItemEntry>,
    sizes: &'d mut BTreeMap<Digest, u64>,
}

impl DraftItem<'_> {
    /// Writes a WARC record whose block is in memory.
    ///
    /// # Errors
    /// See [`WriteItemError`].
    pub fn record(&mut self, header: &WarcHeader<'_>, block: &[u8]) -> Result<(), BundleError> {
        Ok(self.writer.record(header, block)?)
    }

    /// Writes a WARC record whose block is the next `block_bytes` bytes of `block`; see
    /// [`ItemWriter::record_stream`].
    ///
    /// # Errors
    /// See [`WriteItemError`].
    pub fn record_stream(
        &mut self,
        header: &WarcHeader<'_>,
        block_bytes: u64,
        block: &mut dyn Read,
    ) -> Result<StreamedBlock, BundleError> {
        Ok(self.writer.record_stream(header, block_bytes, block)?)
    }

    /// Writes complete WARC records unchanged; see [`ItemWriter::append`].
    ///
    /// # Errors
    /// [`WriteItemError::Append`] if `warc` is anything but complete records; nothing is written
    /// then. Otherwise see [`WriteItemError`].
    pub fn append(&mut self, warc: &[u8]) -> Result<(), BundleError> {
        Ok(self.writer.append(warc)?)
    }

    /// Plaintext bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.writer.bytes()
    }

    /// Records written so far.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.writer.records()
    }

    /// Ends the item and adds it to the bundle.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn finish(
        self,
        source: ItemSource,
        coverage: Coverage,
        redactions: Vec<Redaction>,
    ) -> Result<(), BundleError> {
        let (item, _, list) = self.writer.finish(&self.salt)?;
        let failed = |cause| BundleError::Write {
            path: self.folder.path().to_owned(),
            cause,
        };
        // `into_inner` flushes, and reports an error that dropping the buffer would swallow.
        list.into_inner()
            .map_err(io::IntoInnerError::into_error)
            .map_err(failed)?;
        self.folder
            .keep(&layer_spool(&item.name), &item.layer)
            .map_err(failed)?;
        self.folder
            .keep(&list_spool(&item.name), &item.segments)
            .map_err(failed)?;
        self.sizes.insert(item.layer, item.layer_bytes);
        self.sizes.insert(item.segments, item.segments_bytes);
        self.items
            .push(ItemEntry::new(&item, source, coverage, redactions));
        Ok(())
    }
}

/// Creates the file of a blob whose digest, and so its name, is not known yet.
fn create_spool(folder: &DraftFolder, name: &str) -> Result<File, BundleError> {
    folder.spool(name).map_err(|cause| BundleError::Write {
        path: folder.path().join(name),
        cause,
    })
}

fn layer_spool(name: &ItemName) -> String {
    format!("{name}.warc.zst")
}

fn list_spool(name: &ItemName) -> String {
    format!("{name}.segments.zst")
}

/// A complete, signed bundle that is not published yet. Dropping it removes it.
#[derive(Debug)]
pub struct SealedBundle {
    id: Digest,
    folder: Option<DraftFolder>,
    config: BundleConfig,
    manifests: Vec<(&'static str, Manifest)>,
}

impl SealedBundle {
    /// The bundle's id: the digest of its manifest.
    #[must_use]
    pub fn id(&self) -> Digest {
        self.id
    }

    /// The config, which describes what the bundle holds.
    #[must_use]
    pub fn config(&self) -> &BundleConfig {
        &self.config
    }

    /// Adds the public key of a signer, so that an auditor needs no more than its fingerprint. It
    /// vouches for nothing, and the bundle's id does not depend on it.
    ///
    /// # Errors
    /// The bundle's folder cannot be written.
    pub fn with_public_key(mut self, key: &PublicKey) -> Result<Self, BundleError> {
        let folder = self.folder.as_ref().expect("present until published");
        let (_, bundle) = self.manifests.first().expect("the bundle's manifest");
        let spki = key.to_spki();
        let subject = Descriptor::of(MANIFEST, &bundle.encode());
        let manifest = Manifest::of_public_key(&spki, subject);
        for blob in [&spki, &manifest.encode()] {
            folder.write(blob).map_err(|cause| BundleError::Write {
                path: folder.path().to_owned(),
                cause,
            })?;
        }
        self.manifests.push((PUBLIC_KEY_REF, manifest));
        Ok(self)
    }

    /// Publishes the bundle as the folder `to`. It is durable when this returns.
    ///
    /// # Errors
    /// The folder exists or cannot be written.
    pub fn publish_folder(mut self, to: &Path) -> Result<(), BundleError> {
        let folder = self.folder.as_ref().expect("present until published");
        folder
            .publish(&self.index(), to)
            .map_err(|cause| BundleError::Write {
                path: to.to_owned(),
                cause,
            })?;
        self.folder = None;
        Ok(())
    }

    /// Publishes the bundle as the tar file `to`. It is durable when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn publish_tar(mut self, to: &Path) -> Result<(), BundleError> {
        let unfinished = unfinished(to);
        let published = self.write_tar_file(&unfinished, to);
        if published.is_err() {
            let _ = fs::remove_file(&unfinished); // the first error is the one to report
        }
        remove(self.folder.take());
        published.map_err(|cause| BundleError::Write {
            path: to.to_owned(),
            cause,
        })
    }

    /// Writes the tar under another name first: a reader must never see half a bundle as `to`.
    fn write_tar_file(&self, unfinished: &Path, to: &Path) -> io::Result<()> {
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(unfinished)?;
        self.write_tar(file)?.sync_all()?;
        fs::rename(unfinished, to)?;
        sync_parent(to)
    }

    fn write_tar<W: Write>(&self, out: W) -> io::Result<W> {
        let folder = self.folder.as_ref().expect("present until published");
        let mut tar = tar::TarWriter::new(out);
        let index = self.index();
        tar.file(
            OCI_LAYOUT,
            OCI_LAYOUT_CONTENT.len() as u64,
            OCI_LAYOUT_CONTENT,
        )?;
        tar.file(INDEX, index.len() as u64, &index[..])?;
        for (digest, size) in blob_order(self.manifests.iter().map(|(_, manifest)| manifest)) {
            tar.file(
                &blob_name(&digest),
                size,
                File::open(folder.blob_path(&digest))?,
            )?; // from file to file: the kernel copies
        }
        tar.finish()
    }

    fn index(&self) -> Vec<u8> {
        let manifests: Vec<_> = self
            .manifests
            .iter()
            .map(|(name, manifest)| (*name, manifest))
            .collect();
        ImageIndex::new(&manifests).encode()
    }
}

impl Drop for SealedBundle {
    fn drop(&mut self) {
        remove(self.folder.take());
    }
}

/// The name of the tar file `to` while it is written.
#[must_use]
pub fn unfinished(to: &Path) -> PathBuf {
    let mut unfinished = to.as_os_str().to_owned();
    unfinished.push(".unfinished");
    unfinished.into()
}

/// Removes a draft's folder. If that fails, the folder stays marked as unfinished.
fn remove(folder: Option<DraftFolder>) {
    if let Some(folder) = folder {
        let _ = fs::remove_dir_all(folder.path());
    }
}

/// The order of blobs in a tar, each once: the manifests as the index lists them, then the blobs of
/// the referrers, then those of the bundle.
pub(crate) fn blob_order<'m>(
    manifests: impl Iterator<Item = &'m Manifest> + Clone,
) -> Vec<(Digest, u64)> {
    let mut order: Vec<(Digest, u64)> = Vec::new();
    for manifest in manifests.clone() {
        let blob = canonical::encode(manifest);
        order.push((Digest::of(&blob), blob.len() as u64));
    }
    // Referrers come first because they are small: a reader knows who signed before it reads items.
    for of_bundle in [false, true] {
        for manifest in manifests
            .clone()
            .filter(|m| (m.artifact_type == manifest::BUNDLE) == of_bundle)
        {
            order.extend(manifest.blobs().map(|blob| (blob.digest, blob.size)));
        }
    }
    let mut seen = BTreeSet::new();
    order.retain(|(digest, _)| seen.insert(*digest));
    order
}
