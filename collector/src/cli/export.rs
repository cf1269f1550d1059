//! `exhibit export`: everything about an incident in one folder or tar, for an auditor.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use api::BundleSummary;
use clap::Args;
use evidence_format::container::tar::TarWriter;
use evidence_format::digest::{Digest, Hasher};
use evidence_format::id::IncidentId;
use evidence_format::keyring::PublicKey;
use evidence_format::safe::safe;
use platform::terminal::size;
use platform::{clock, durable};
use protocol::keyring::AgentKeyring;

use super::backend::Backend;
use super::capture::gaps;
use super::timeline::format_row;
use super::times::to_whole_seconds;
use super::{GlobalOptions, incident_or_only_open, print, print_json};
use domain::hosts::agent_of_source;
use domain::spelling::counted;
use pipeline::timeline::TimelineFilter;

const BUNDLES: &str = "bundles";
const KEYS: &str = "keys";
/// Which key of an agent vouches for which host, and when.
const AGENTS: &str = "agents.json";
const README: &str = "README.txt";
const CHECKSUMS: &str = "SHA256SUMS";
/// Added to the name of an export that is being made: nobody takes half of it for the whole.
const UNFINISHED: &str = ".unfinished";
/// Hex digits of a key's id in its file name.
const KEY_DIGITS: usize = 16;
/// Bytes of the name of the folder in a tar. With a bundle's name, that makes a path of 100.
const ROOT_BYTES_MAX: usize = 23;

/// Exports an incident for an auditor: bundles, public keys, timeline and brief
///
/// A README in it has the exact commands that verify the bundles. Each copied bundle is an entry of
/// the incident's journal.
#[derive(Args)]
#[command(
    allow_missing_positional = true,
    after_help = "\
Examples:
  exhibit export INC-2026-042 /mnt/usb/INC-2026-042
  exhibit export INC-2026-042 INC-2026-042.tar"
)]
pub(super) struct ExportArgs {
    /// Incident id [default: the only open incident]
    incident: Option<IncidentId>,
    /// Folder to create, or a file whose name ends with .tar
    #[arg(value_name = "DIR|FILE.tar")]
    to: PathBuf,
}

/// The output of `--json`. Members are added, never renamed or removed.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct ExportOutput<'a> {
    incident: &'a IncidentId,
    export: &'a Path,
    bundles: usize,
    bytes: u64,
    /// Fingerprints of the keys that signed the bundles.
    keys: Vec<Digest>,
}

/// Fingerprints of keys, and their files in the export.
type KeyFiles = BTreeMap<Digest, String>;

/// A file of the export.
struct ExportedFile {
    /// Below the folder of the export.
    name: String,
    bytes: u64,
    sha256: Digest,
}

pub(super) async fn run(global: &GlobalOptions, arguments: &ExportArgs) -> Result<()> {
    // without a slash at its end, behind which nothing can be appended to the name
    let to = &arguments.to.components().collect::<PathBuf>();
    if to.symlink_metadata().is_ok() {
        bail!("{} exists already: name a new folder or file", to.display());
    }
    let backend = global.backend().await?;
    let incident = incident_or_only_open(&*backend, arguments.incident.as_ref()).await?;
    let mut staging = to.clone().into_os_string();
    staging.push(UNFINISHED);
    let staging = StagingFolder::create(staging.into())?;
    let export = Export {
        backend: &*backend,
        incident: &incident,
        folder: &staging.0,
        to,
        quiet: global.quiet,
    };
    let (bundles, keys) = export.write().await?;
    let files = export.checksums()?;
    let bytes = files.iter().map(|file| file.bytes).sum();
    if is_tar(to) {
        write_tar(&staging.0, &files, &incident, to)
            .with_context(|| format!("cannot write {}", to.display()))?;
    } else {
        fs::rename(&staging.0, to)
            .and_then(|()| durable::sync_folder_of(to))
            .with_context(|| format!("cannot write {}", to.display()))?;
    }
    if global.json {
        return print_json(&ExportOutput {
            incident: &incident,
            export: to,
            bundles,
            bytes,
            keys: keys.into_keys().collect(),
        });
    }
    print(&format!(
        "exported {incident} to {}: {}, {}\n\n{README} in it says how to verify them; tell the auditor the fingerprints of the keys through another channel:\n{}",
        safe(&to.to_string_lossy()),
        counted(bundles as u64, "bundle"),
        size(bytes),
        keys.keys()
            .map(|id| format!("  {id}\n"))
            .collect::<String>()
    ))
}

fn is_tar(to: &Path) -> bool {
    to.extension().is_some_and(|extension| extension == "tar")
}

/// A folder that is removed on drop, unless it has got its name.
struct StagingFolder(PathBuf);

impl StagingFolder {
    fn create(path: PathBuf) -> Result<Self> {
        // Left by a process that was killed. Nothing in it is anybody's only copy.
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            // As private as the store: what is in it is evidence.
            _ => private_folder(&path),
        }
        .with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for StagingFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // the next export removes it
    }
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// An export that is being written.
struct Export<'e> {
    backend: &'e dyn Backend,
    incident: &'e IncidentId,
    folder: &'e Path,
    /// What the export is going to be called.
    to: &'e Path,
    quiet: bool,
}

impl Export<'_> {
    /// Writes all files but the checksums. Returns how many bundles there are, and the keys that
    /// signed them, by id.
    async fn write(&self) -> Result<(usize, KeyFiles)> {
        for folder in [BUNDLES, KEYS] {
            let path = self.folder.join(folder);
            private_folder(&path).with_context(|| format!("cannot create {}", path.display()))?;
        }
        let bundles = self.backend.bundles(self.incident).await?;
        let mut keys = BTreeMap::new();
        let mut exported = Vec::new();
        for bundle in &bundles {
            let (key_id, key_file) = self.copy(bundle).await?;
            keys.insert(key_id, key_file.clone());
            exported.push((bundle, key_file));
        }
        // Last, so that the copies of the bundles are on the timeline.
        self.write_timeline().await?;
        let keyring = self.keyring(&bundles, &keys).await?;
        if let Some(keyring) = &keyring {
            let json = serde_json::to_string_pretty(keyring).context("cannot write JSON")?;
            self.write_file(AGENTS, (json + "\n").as_bytes())?;
        }
        let brief = self.backend.brief(self.incident, false).await?;
        self.write_file("brief.txt", brief.as_bytes())?;
        let view = self.backend.incident(self.incident).await?.view;
        let view = serde_json::to_string_pretty(&view).context("cannot write JSON")?;
        self.write_file("incident.json", (view + "\n").as_bytes())?;
        let readme = self.readme(&exported, &keys, keyring.is_some());
        self.write_file(README, readme.as_bytes())?;
        Ok((bundles.len(), keys))
    }

    /// The agents that signed bundles of this incident; `None` if there are none, or if the token may
    /// not see agents.
    async fn keyring(
        &self,
        bundles: &[BundleSummary],
        keys: &KeyFiles,
    ) -> Result<Option<AgentKeyring>> {
        let of_agent = |bundle: &BundleSummary| agent_of_source(&bundle.source).is_some();
        if !bundles.iter().any(of_agent) {
            return Ok(None);
        }
        let Some(mut keyring) = self.backend.agent_keyring().await? else {
            return Ok(None);
        };
        // Only those: an auditor of one incident need not learn of every host.
        keyring.agents.retain(|agent| {
            PublicKey::from_pem(&agent.public_key)
                .is_ok_and(|key| keys.contains_key(&key.id().fingerprint()))
        });
        Ok(Some(keyring))
    }

    /// What a file of the staging folder is called once the export has its name.
    fn name_after(&self, file: &Path) -> PathBuf {
        match file.strip_prefix(self.folder) {
            Ok(below) if !is_tar(self.to) => self.to.join(below),
            Ok(_) | Err(_) => self.to.to_owned(),
        }
    }

    /// Copies a bundle, and the key that signed it. Returns the key's id and its file.
    async fn copy(&self, bundle: &BundleSummary) -> Result<(Digest, String)> {
        let file = self
            .folder
            .join(BUNDLES)
            .join(format!("{}.tar", bundle.id.hex()));
        let hex = bundle.id.to_string();
        self.backend
            .fetch_bundle(&hex, Some(&file), Some(&self.name_after(&file)), self.quiet)
            .await?;
        let source = self.backend.public_key_file_of(&bundle.id, &file).await?;
        let pem = fs::read_to_string(&source)
            .with_context(|| format!("cannot read {}", source.display()))?;
        let id = PublicKey::from_pem(&pem)
            .with_context(|| format!("cannot use {}", source.display()))?
            .id()
            .fingerprint();
        if source.starts_with(self.folder) {
            fs::remove_file(&source)
                .with_context(|| format!("cannot move {}", source.display()))?;
        }
        let name = format!("{KEYS}/{}.pub.pem", &id.hex()[..KEY_DIGITS]);
        self.write_file(&name, pem.as_bytes())?;
        Ok((id, name))
    }

    async fn write_timeline(&self) -> Result<()> {
        let create = |name: &str| {
            let path = self.folder.join(name);
            let file = File::create_new(&path);
            file.map(BufWriter::new)
                .with_context(|| format!("cannot create {}", path.display()))
        };
        let (mut text, mut json) = (create("timeline.txt")?, create("timeline.jsonl")?);
        self.backend
            .read_timeline(self.incident, TimelineFilter::default(), &mut |row| {
                text.write_all(format_row(&row, usize::MAX).as_bytes())?;
                serde_json::to_writer(&mut json, &row)?;
                Ok(json.write_all(b"\n")?)
            })
            .await?;
        for file in [text, json] {
            file.into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|file| file.sync_all())
                .context("cannot write the timeline")?;
        }
        Ok(())
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        durable::replace(&path, bytes, 0o644)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Hashes every file, and writes the list that `sha256sum -c` reads.
    fn checksums(&self) -> Result<Vec<ExportedFile>> {
        let mut files = Vec::new();
        for folder in ["", BUNDLES, KEYS] {
            let path = self.folder.join(folder);
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                if !entry.file_type()?.is_file() {
                    continue;
                }
                let name = entry.file_name().to_string_lossy().into_owned();
                let name = if folder.is_empty() {
                    name
                } else {
                    format!("{folder}/{name}")
                };
                files.push(hash_file(&entry.path(), name)?);
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let lines = files
            .iter()
            .map(|file| format!("{}  {}\n", file.sha256.hex(), file.name));
        self.write_file(CHECKSUMS, lines.collect::<String>().as_bytes())?;
        files.push(hash_file(
            &self.folder.join(CHECKSUMS),
            CHECKSUMS.to_owned(),
        )?);
        Ok(files)
    }

    fn readme(
        &self,
        bundles: &[(&BundleSummary, String)],
        keys: &KeyFiles,
        has_agents: bool,
    ) -> String {
        let verify: String = bundles
            .iter()
            .map(|(bundle, key)| {
                let hex = bundle.id.hex();
                format!("  exhibit-audit verify {BUNDLES}/{hex}.tar --key {key}\n")
            })
            .collect();
        let mut all_keys: String = keys.values().map(|key| format!(" --key {key}")).collect();
        let mut agents = String::new();
        if has_agents {
            all_keys.push_str(&format!(" --agents {AGENTS}"));
            agents = format!(
                "  {AGENTS}     agents on hosts: whose key vouches for which host, from when until when\n"
            );
        }
        let fingerprints: String = keys
            .iter()
            .map(|(id, file)| format!("  {id}  {file}\n"))
            .collect();
        let listed: String = bundles
            .iter()
            .map(|(bundle, _)| {
                let name = bundle
                    .name
                    .as_deref()
                    .map(|name| format!(" {}", safe(name)));
                format!(
                    "  {}  {}  {}{}, gaps: {}\n",
                    bundle.id.hex(),
                    to_whole_seconds(bundle.sealed_at),
                    safe(&bundle.source),
                    name.unwrap_or_default(),
                    gaps(&bundle.coverage)
                )
            })
            .collect();
        format!(
            "\
Evidence of incident {incident}
Exported at {now} by exhibit {version}.

What is here
  {BUNDLES}/        the sealed evidence: signed, each bundle named by its SHA-256
  {KEYS}/           public keys of those who sealed it
  timeline.jsonl  journal and events, one JSON object a line; timeline.txt for reading
  incident.json   the incident as its journal describes it
  brief.txt       the last internal update
{agents}  {CHECKSUMS}      digests of all files here

1. Nothing was damaged on the way

  sha256sum -c {CHECKSUMS}

2. The keys are the right ones

Ask the owner of the evidence for the fingerprints of the keys, through another channel than this export:
whoever forges an export forges this page with it. If the owner names others than these, stop.

{fingerprints}
To compute the digits of one yourself:
  openssl pkey -pubin -in KEY -outform DER | sha256sum

3. The whole case at once

  exhibit-audit case .{all_keys}

It checks the files, the bundles and their streams, holds the journals in them against each other,
and derives the timeline again from the evidence. With fingerprints instead of files, --key
sha256:..., it takes the keys from here only if they are the right ones.

4. Or only the evidence

  exhibit-audit verify {BUNDLES}{all_keys}

Or one after the other, each with the key that sealed it:

{verify}
Exit code 0: everything holds. 4: the same, but something could not be captured; the bundle names
it with its reason. 3: undecided. 1: invalid, or not signed by a key that you gave.
`exhibit-audit inspect` shows what a bundle states: plan, machine, clocks, items, gaps.

What is signed, and what is not
  Only the bundles are signed. Each has the incident's journal, as it was then, in its item
  `incident`. Timeline, brief and incident.json come from the collector's database: compare what
  you rely on with the bundles.

Bundles, in the order in which they were sealed
{listed}",
            incident = self.incident,
            now = to_whole_seconds(clock::now()),
            version = env!("CARGO_PKG_VERSION"),
        )
    }
}

fn hash_file(path: &Path, name: String) -> Result<ExportedFile> {
    let fail = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(fail)?;
    let (mut hasher, mut bytes, mut buffer) = (Hasher::new(), 0, vec![0; 128 << 10]);
    loop {
        match io::Read::read(&mut file, &mut buffer).with_context(fail)? {
            0 => break,
            n => {
                hasher.update(&buffer[..n]);
                bytes += n as u64;
            }
        }
    }
    Ok(ExportedFile {
        name,
        bytes,
        sha256: hasher.finish(),
    })
}

/// Packs the files below a folder named after the incident, as `tar` users expect.
fn write_tar(
    folder: &Path,
    files: &[ExportedFile],
    incident: &IncidentId,
    to: &Path,
) -> io::Result<()> {
    let mut unfinished = to.to_path_buf().into_os_string();
    unfinished.push(".part");
    let unfinished = PathBuf::from(unfinished);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    let mut tar = TarWriter::new(BufWriter::new(&file));
    // Longer names do not fit into a tar's header.
    let root = match incident.as_str() {
        id if id.len() <= ROOT_BYTES_MAX => id,
        _ => "incident",
    };
    for ExportedFile { name, bytes, .. } in files {
        tar.file(
            &format!("{root}/{name}"),
            *bytes,
            File::open(folder.join(name))?,
        )?;
    }
    tar.finish()?.flush()?;
    file.sync_all()?;
    fs::rename(&unfinished, to)?;
    durable::sync_folder_of(to)
}
