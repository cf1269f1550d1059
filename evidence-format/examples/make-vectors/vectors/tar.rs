//! A tar in which every byte can be changed. It is a second implementation, so that it also checks
//! the library's own writer.

use super::VectorContainer;
use super::parts::{BlobRole, BundleFileList};

pub(crate) const BLOCK_BYTES: usize = 512;

pub(crate) struct TestTar {
    pub(crate) entries: Vec<TestTarEntry>,
    /// The bytes after the last entry.
    pub(crate) end: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct TestTarEntry {
    pub(crate) role: Option<BlobRole>,
    pub(crate) header: [u8; BLOCK_BYTES],
    pub(crate) content: Vec<u8>,
    pub(crate) padding: Vec<u8>,
}

impl TestTarEntry {
    pub(crate) fn new(role: Option<BlobRole>, name: &str, content: &[u8]) -> Self {
        let mut header = [0; BLOCK_BYTES];
        let size = format!("{:011o}\0", content.len());
        for (at, bytes) in [
            (0, name.as_bytes()),
            (100, b"0000444\0"),
            (108, b"0000000\0"),
            (116, b"0000000\0"),
            (124, size.as_bytes()),
            (136, b"00000000000\0"),
            (156, b"0"),
            (257, b"ustar\x0000"),
        ] {
            header[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let padding = vec![0; content.len().next_multiple_of(BLOCK_BYTES) - content.len()];
        let mut entry = Self {
            role,
            header,
            content: content.to_vec(),
            padding,
        };
        entry.sum();
        entry
    }

    /// Sets header bytes, and the checksum to match.
    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.header[at..at + bytes.len()].copy_from_slice(bytes);
        self.sum();
    }

    fn sum(&mut self) {
        self.header[148..156].fill(b' ');
        let sum: u32 = self.header.iter().map(|&b| u32::from(b)).sum();
        self.header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

impl TestTar {
    pub(crate) fn of(files: &BundleFileList) -> Self {
        let entries = files
            .list
            .iter()
            .map(|(role, name, content)| TestTarEntry::new(Some(*role), name, content))
            .collect();
        Self {
            entries,
            end: vec![0; 2 * BLOCK_BYTES],
        }
    }

    pub(crate) fn position(&self, role: BlobRole) -> usize {
        self.entries
            .iter()
            .position(|entry| entry.role == Some(role))
            .expect("the bundle has this file")
    }

    pub(crate) fn entry(&mut self, role: BlobRole) -> &mut TestTarEntry {
        let at = self.position(role);
        &mut self.entries[at]
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let parts = self
            .entries
            .iter()
            .flat_map(|entry| [&entry.header[..], &entry.content, &entry.padding]);
        parts.chain([&self.end[..]]).collect::<Vec<_>>().concat()
    }

    /// The bytes up to and including the first `content_bytes` of a file.
    pub(crate) fn cut_in(mut self, role: BlobRole, content_bytes: usize) -> VectorContainer {
        self.entries.truncate(self.position(role) + 1);
        let last = self.entry(role);
        last.content.truncate(content_bytes);
        last.padding.clear();
        self.end.clear();
        self.container()
    }

    pub(crate) fn container(self) -> VectorContainer {
        VectorContainer::Tar(self.bytes())
    }
}
