//! The spool: bundles that the agent keeps until the collector has acknowledged them.
//!
//! Each bundle is a tar, with its order in a small file beside it. The order is written first: a tar
//! without an order cannot occur, and an order without its tar was never published. A bundle that
//! the collector rejects is moved into a folder of its own, and never deleted: it takes room until a
//! person has carried it away.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use evidence_format::canonical::{self, DecodeError};
use evidence_format::digest::Digest;
use platform::durable;
use protocol::identity::AgentId;
use protocol::poll::{OrderId, SpoolState};
use protocol::upload::CarriedBundle;
use serde::{Deserialize, Serialize};

/// Bytes of an order's file.
const ORDER_BYTES_MAX: u64 = 16 * 1024;
/// The folder of bundles that the collector has rejected.
const REJECTED: &str = "rejected";
/// The ending of a draft's folder.
pub(super) const UNFINISHED: &str = "unfinished";

/// The spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("cannot use {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{} is damaged: move it away for investigation", path.display())]
    Damaged {
        path: PathBuf,
        #[source]
        cause: DecodeError,
    },
}

/// A bundle in the spool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SpoolEntry {
    pub order: OrderId,
    pub bundle: Digest,
}

/// The spool of an agent.
#[derive(Clone, Debug)]
pub struct Spool {
    folder: PathBuf,
    bytes_max: u64,
}

impl Spool {
    /// Opens the folder, and creates it if absent.
    ///
    /// # Errors
    /// See [`SpoolError`].
    pub fn open(folder: PathBuf, bytes_max: u64) -> Result<Self, SpoolError> {
        let rejected = folder.join(REJECTED);
        fs::create_dir_all(&rejected).map_err(failed(&rejected))?;
        Ok(Self { folder, bytes_max })
    }

    /// Removes what a process that was killed has left: drafts, and orders without their tar. Only
    /// for the process that captures.
    pub(super) fn clean(&self) -> Result<(), SpoolError> {
        for path in list(&self.folder)? {
            let extension = path.extension().and_then(|extension| extension.to_str());
            let removed = match extension {
                Some(UNFINISHED) if path.is_dir() => fs::remove_dir_all(&path),
                Some("json") if !path.with_extension("tar").exists() => fs::remove_file(&path),
                Some(UNFINISHED) => fs::remove_file(&path),
                Some(_) | None => Ok(()),
            };
            removed.map_err(failed(&path))?;
        }
        Ok(())
    }

    /// The bundles that wait for delivery, the oldest first.
    ///
    /// # Errors
    /// See [`SpoolError`].
    pub fn entries(&self) -> Result<Vec<SpoolEntry>, SpoolError> {
        entries_in(&self.folder)
    }

    /// The bundles that the collector has rejected, the oldest first.
    ///
    /// # Errors
    /// See [`SpoolError`].
    pub fn rejected_entries(&self) -> Result<Vec<SpoolEntry>, SpoolError> {
        entries_in(&self.rejected_folder())
    }

    /// How full it is.
    ///
    /// # Errors
    /// See [`SpoolError`].
    pub fn state(&self) -> Result<SpoolState, SpoolError> {
        let mut state = SpoolState {
            bytes_max: self.bytes_max,
            ..SpoolState::default()
        };
        for entry in self.entries()? {
            state.bundles += 1;
            // one that was delivered meanwhile counts nothing
            state.bytes += self.tar(&entry).metadata().map_or(0, |file| file.len());
        }
        // They are the only bundles that nothing else ever removes.
        for path in list(&self.rejected_folder())? {
            state.bytes += path.metadata().map_or(0, |file| file.len());
        }
        Ok(state)
    }

    /// Copies a bundle, waiting or rejected, with its order into `folder`, to be carried to the
    /// collector. Durable when this returns. Returns the bundle's bytes; `None` if it has been
    /// delivered meanwhile.
    ///
    /// # Errors
    /// See [`SpoolError`].
    pub fn export(
        &self,
        entry: &SpoolEntry,
        agent: &AgentId,
        folder: &Path,
    ) -> Result<Option<u64>, SpoolError> {
        let Some(tar) = self.existing_tar(entry) else {
            return Ok(None);
        };
        let copied = folder.join(format!("{}.tar", entry.bundle.hex()));
        let bytes = copy(&tar, &copied)?;
        let carried = CarriedBundle {
            agent: agent.clone(),
            order: entry.order.clone(),
            bundle: entry.bundle,
        };
        // Last: an order is there only with its bundle.
        let order = copied.with_extension("json");
        let write = || {
            let mut file = File::create(&order)?;
            file.write_all(&canonical::encode(&carried))?;
            file.sync_all()?;
            durable::sync_folder_of(&order)
        };
        write().map_err(failed(&order))?;
        Ok(Some(bytes))
    }

    /// The file of a bundle that waits or was rejected.
    fn existing_tar(&self, entry: &SpoolEntry) -> Option<PathBuf> {
        let name = format!("{}.tar", entry.bundle.hex());
        let candidates = [self.folder.join(&name), self.rejected_folder().join(&name)];
        candidates.into_iter().find(|tar| tar.exists())
    }

    fn rejected_folder(&self) -> PathBuf {
        self.folder.join(REJECTED)
    }

    /// Bytes of a bundle, waiting or rejected; 0 if it was delivered meanwhile.
    #[must_use]
    pub fn bytes_of(&self, entry: &SpoolEntry) -> u64 {
        let file = self.existing_tar(entry).and_then(|tar| tar.metadata().ok());
        file.map_or(0, |file| file.len())
    }

    /// The file of a bundle.
    #[must_use]
    pub fn tar(&self, entry: &SpoolEntry) -> PathBuf {
        self.folder.join(format!("{}.tar", entry.bundle.hex()))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the order of a bundle, before the bundle is published. Durable when this returns.
    pub(super) fn announce(&self, entry: &SpoolEntry) -> Result<(), SpoolError> {
        let path = self.order_file(entry);
        durable::replace(&path, &canonical::encode(entry), 0o600).map_err(failed(&path))
    }

    /// Removes a bundle that the collector has acknowledged.
    pub(super) fn remove(&self, entry: &SpoolEntry) -> Result<(), SpoolError> {
        // The tar first: its order without it is removed at the next start.
        for path in [self.tar(entry), self.order_file(entry)] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&path)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Moves a bundle that the collector has rejected out of the way. Returns its new path.
    pub(super) fn reject(&self, entry: &SpoolEntry) -> Result<PathBuf, SpoolError> {
        let rejected = self.rejected_folder();
        // The order first: without it, the tar is not sent again.
        for path in [self.order_file(entry), self.tar(entry)] {
            let name = path.file_name().expect("a file of the spool has a name");
            fs::rename(&path, rejected.join(name)).map_err(failed(&path))?;
        }
        let tar = self.tar(entry);
        Ok(rejected.join(tar.file_name().expect("a file of the spool has a name")))
    }

    fn order_file(&self, entry: &SpoolEntry) -> PathBuf {
        self.tar(entry).with_extension("json")
    }
}

/// The bundles in a folder that have an order, the oldest first.
fn entries_in(folder: &Path) -> Result<Vec<SpoolEntry>, SpoolError> {
    let mut entries = Vec::new();
    for path in list(folder)? {
        let is_order = path
            .extension()
            .is_some_and(|extension| extension == "json");
        let Ok(tar) = path.with_extension("tar").metadata() else {
            continue; // not published yet
        };
        if is_order {
            let bytes = fs::read(&path).map_err(failed(&path))?;
            let entry: SpoolEntry = canonical::decode(&bytes, ORDER_BYTES_MAX)
                .map_err(|cause| SpoolError::Damaged { path, cause })?;
            entries.push((tar.modified().ok(), entry));
        }
    }
    entries.sort_by(|(a, one), (b, other)| (a, &one.order).cmp(&(b, &other.order)));
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let entries = fs::read_dir(folder).map_err(failed(folder))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Copies a file. Durable when this returns. Without modes and links, which the file systems of USB
/// sticks do not have.
fn copy(from: &Path, to: &Path) -> Result<u64, SpoolError> {
    let source = File::open(from).map_err(failed(from))?;
    let unfinished = to.with_extension(UNFINISHED);
    let write = || {
        let mut copy = File::create(&unfinished)?;
        let bytes = io::copy(&mut &source, &mut copy)?;
        copy.sync_all()?;
        fs::rename(&unfinished, to)?;
        durable::sync_folder_of(to)?;
        Ok(bytes)
    };
    let copied: io::Result<u64> = write();
    copied.map_err(|cause| {
        let _ = fs::remove_file(&unfinished); // the error of the copy matters more
        failed(to)(cause)
    })
}

fn failed(path: &Path) -> impl Fn(io::Error) -> SpoolError {
    move |cause| SpoolError::File {
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(order: &str) -> SpoolEntry {
        SpoolEntry {
            order: order.parse().expect("an order"),
            bundle: Digest::of(order.as_bytes()),
        }
    }

    #[test]
    fn bundle_counts_once_it_is_published_and_rejected_ones_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(folder.path().join("spool"), 1000).expect("own folder");
        let (first, second) = (entry("INC-1/0/1"), entry("INC-2/0/1"));
        spool.announce(&first).expect("own folder");
        assert!(spool.entries().expect("readable").is_empty());
        fs::write(spool.tar(&first), "abc").expect("own folder");
        assert_eq!(
            spool.entries().expect("readable"),
            std::slice::from_ref(&first)
        );
        let state = spool.state().expect("readable");
        assert_eq!((state.bundles, state.bytes, state.bytes_max), (1, 3, 1000));

        spool.announce(&second).expect("own folder"); // and then the process is killed
        fs::create_dir(spool.folder().join("x.unfinished")).expect("own folder");
        spool.clean().expect("own folder");
        assert_eq!(
            spool.entries().expect("readable"),
            std::slice::from_ref(&first)
        );
        assert!(!spool.folder().join("x.unfinished").exists());

        let kept = spool.reject(&first).expect("own folder");
        assert_eq!(fs::read(kept).expect("kept"), b"abc");
        assert!(spool.entries().expect("readable").is_empty());
        let rejected = spool.rejected_entries().expect("readable");
        assert_eq!(rejected, std::slice::from_ref(&first));
        let order_bytes = canonical::encode(&first).len() as u64;
        let state = spool.state().expect("readable");
        assert_eq!((state.bundles, state.bytes), (0, 3 + order_bytes));
        spool.remove(&first).expect("what is gone is removed");
    }

    #[test]
    fn exported_bundle_is_a_copy_with_its_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(folder.path().join("spool"), 1000).expect("own folder");
        let entry = entry("INC-1/0/1");
        let agent = "0123456789abcdef".parse().expect("an id");
        let stick = folder.path().join("stick");
        fs::create_dir(&stick).expect("own folder");
        let export = || spool.export(&entry, &agent, &stick).expect("own folder");
        assert_eq!(export(), None, "it is not published");
        spool.announce(&entry).expect("own folder");
        fs::write(spool.tar(&entry), "abc").expect("own folder");
        assert_eq!(export(), Some(3));
        spool.reject(&entry).expect("own folder");
        assert_eq!(export(), Some(3), "again, and after it was rejected");
        let tar = stick.join(format!("{}.tar", entry.bundle.hex()));
        assert_eq!(fs::read(&tar).expect("a copy"), b"abc");
        let order = fs::read(tar.with_extension("json")).expect("its order");
        let carried: CarriedBundle = canonical::decode(&order, ORDER_BYTES_MAX).expect("canonical");
        assert_eq!((carried.agent, carried.order), (agent, entry.order));
        assert_eq!(fs::read_dir(&stick).expect("own folder").count(), 2);
        let gone = folder.path().join("no-stick");
        let nowhere = "0123456789abcdef".parse().expect("an id");
        assert!(
            spool
                .export(&super::tests::entry("INC-1/0/1"), &nowhere, &gone)
                .is_err()
        );
    }
}
