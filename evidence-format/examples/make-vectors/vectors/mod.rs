//! The vectors, by chapter. Each breaks one rule of SPEC.md (or none), and everything that depends
//! on the change is recomputed: digests, manifests, the signature.
//!
//! The expected findings are written down as SPEC.md demands them; the verifier is never consulted.

mod accept;
mod attestations;
mod configs;
mod containers;
mod documents;
mod forge;
mod frames;
mod hostile;
mod items;
mod later;
mod layers;
mod manifests;
mod parts;
mod segments;
mod tar;
mod warc;

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use evidence_format::keyring::Signer as _;
use serde_json::{Value, json};

use parts::{KEY_A, KEY_B, secret_key};

/// A bundle, what the auditor trusts, and the findings that a verifier must report.
pub(crate) struct TestVector {
    name: &'static str,
    rule: String,
    container: VectorContainer,
    keys: &'static [&'static str],
    bundle: Option<String>,
    expect: ExpectedFindings,
}

/// The container of the bundle.
pub(crate) enum VectorContainer {
    Tar(Vec<u8>),
    Folder(Vec<FolderEntry>),
}

/// A file or a link in a folder, with its relative name.
pub(crate) enum FolderEntry {
    File(String, Vec<u8>),
    Link(&'static str, &'static str),
}

/// The findings that can differ; time and log are never checked in version 1.
#[derive(Clone, Copy)]
pub(crate) struct ExpectedFindings {
    integrity: &'static str,
    signer: &'static str,
    completeness: &'static str,
    exit: u8,
}

const OK: &str = "ok";
const NOT_CHECKED: &str = "not checked";
/// All findings are ok.
pub(crate) const HOLDS: ExpectedFindings = ExpectedFindings {
    integrity: OK,
    signer: OK,
    completeness: OK,
    exit: 0,
};

/// Integrity fails before an attestation has been read.
pub(crate) const fn early(integrity: &'static str) -> ExpectedFindings {
    ExpectedFindings {
        integrity,
        signer: NOT_CHECKED,
        completeness: NOT_CHECKED,
        exit: 1,
    }
}

/// Integrity fails once a good attestation has been read.
pub(crate) const fn late(integrity: &'static str) -> ExpectedFindings {
    ExpectedFindings {
        integrity,
        signer: OK,
        completeness: NOT_CHECKED,
        exit: 1,
    }
}

/// The bytes are sound, but no trusted key vouches for them.
pub(crate) const fn signer(signer: &'static str) -> ExpectedFindings {
    ExpectedFindings {
        integrity: OK,
        signer,
        completeness: OK,
        exit: 1,
    }
}

/// Everything is ok except completeness.
pub(crate) const fn incomplete(completeness: &'static str) -> ExpectedFindings {
    ExpectedFindings {
        integrity: OK,
        signer: OK,
        completeness,
        exit: 4,
    }
}

impl TestVector {
    /// A vector whose auditor trusts key A.
    pub(crate) fn new(
        name: &'static str,
        rule: impl Into<String>,
        container: VectorContainer,
        expect: ExpectedFindings,
    ) -> Self {
        Self {
            name,
            rule: rule.into(),
            container,
            keys: &["keys/a.pub.pem"],
            bundle: None,
            expect,
        }
    }

    pub(crate) fn keys(self, keys: &'static [&'static str]) -> Self {
        Self { keys, ..self }
    }

    pub(crate) fn bundle(self, id: String) -> Self {
        Self {
            bundle: Some(id),
            ..self
        }
    }

    fn json(&self) -> Value {
        let ExpectedFindings {
            integrity,
            signer,
            completeness,
            exit,
        } = self.expect;
        json!({
            "rule": format!("SPEC {}", self.rule),
            "trust": {"keys": self.keys, "bundle": self.bundle},
            "expect": {
                "integrity": integrity,
                "signer": signer,
                "time": NOT_CHECKED,
                "log": NOT_CHECKED,
                "completeness": completeness,
            },
            "exit": exit,
        })
    }

    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = format!("{}\n", serde_json::to_string_pretty(&self.json())?);
        fs::write(folder.join(format!("{}.json", self.name)), text)?;
        match &self.container {
            VectorContainer::Tar(tar) => fs::write(folder.join(format!("{}.tar", self.name)), tar)?,
            VectorContainer::Folder(entries) => {
                let folder = folder.join(self.name);
                if folder.exists() {
                    fs::remove_dir_all(&folder)?; // blobs of an earlier run would be unexpected files
                }
                entries.iter().try_for_each(|entry| entry.write(&folder))?;
            }
        }
        Ok(())
    }
}

impl FolderEntry {
    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let name = match self {
            Self::File(name, _) => name,
            Self::Link(name, _) => *name,
        };
        let path = folder.join(name);
        fs::create_dir_all(path.parent().context("a name inside of the folder")?)?;
        match self {
            Self::File(_, content) => fs::write(path, content)?,
            Self::Link(_, target) => std::os::unix::fs::symlink(target, path)?,
        }
        Ok(())
    }
}

/// Writes the keys and every vector into `folder`, which is created if necessary.
pub(crate) fn write_all(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder.join("keys"))?;
    for (name, seed) in [("a", KEY_A), ("b", KEY_B)] {
        fs::write(
            folder.join(format!("keys/{name}.pub.pem")),
            secret_key(seed).public_key().to_pem(),
        )?;
    }
    fs::write(
        folder.join("keys/c.pub.pem"),
        forge::mixed_order_key().to_pem(),
    )?;
    let vectors = all()?;
    for (vector, next) in vectors.iter().zip(vectors.iter().skip(1)) {
        ensure!(
            vector.name[..3] < next.name[..3],
            "{} does not come before {}",
            vector.name,
            next.name
        );
    }
    vectors.iter().try_for_each(|vector| {
        vector
            .write(folder)
            .with_context(|| format!("cannot write {}", vector.name))
    })
}

/// Writes the hostile bundles into `folder`.
pub(crate) fn write_hostile(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    for (name, container) in hostile::bundles() {
        if let VectorContainer::Tar(tar) = container {
            fs::write(folder.join(format!("{name}.tar")), tar)?;
        }
    }
    Ok(())
}

fn all() -> anyhow::Result<Vec<TestVector>> {
    let mut all = accept::vectors()?;
    for chapter in [
        containers::vectors,
        documents::vectors,
        manifests::vectors,
        configs::vectors,
        frames::vectors,
        segments::vectors,
        warc::vectors,
        attestations::vectors,
        later::vectors,
    ] {
        all.extend(chapter());
    }
    Ok(all)
}
