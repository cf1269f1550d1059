//! `exhibit export`: everything about an incident in one folder or tar, for an auditor.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::process::geteuid;
use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use super::capture::gaps;
use super::interrupt::{EXIT_INTERRUPTED, cancel_on_interrupt};
use super::timeline::{format_row, is_assumed_utc};
use super::times::{ASSUMED_UTC, to_whole_seconds};
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
const TIMELINE_TEXT: &str = "timeline.txt";
const TIMELINE: &str = "timeline.jsonl";
const BRIEF: &str = "brief.txt";
const INCIDENT: &str = "incident.json";
/// The tar, until it is whole.
const TAR: &str = "export.tar";
/// What is in the folder of an export that is being made.
const FILES: [&str; 10] = [
    BUNDLES,
    KEYS,
    AGENTS,
    README,
    CHECKSUMS,
    TIMELINE_TEXT,
    TIMELINE,
    BRIEF,
    INCIDENT,
    TAR,
];
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

pub(super) async fn run(global: &GlobalOptions, arguments: &ExportArgs) -> Result<ExitCode> {
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
        folder: &staging.path,
        to,
        quiet: global.quiet,
    };
    // From here on, Ctrl-C removes what is half made.
    let interrupted = cancel_on_interrupt()?;
    let written = tokio::select! {
        written = export.write() => Some(written?),
        () = interrupted.cancelled() => None,
    };
    let published = match &written {
        Some(_) => export.publish(&interrupted)?,
        None => None,
    };
    let (Some((bundles, keys)), Some(bytes)) = (written, published) else {
        let _ = writeln!(io::stderr(), "\rexhibit: interrupted: nothing is exported");
        return Ok(ExitCode::from(EXIT_INTERRUPTED as u8));
    };
    if global.json {
        let output = ExportOutput {
            incident: &incident,
            export: to,
            bundles,
            bytes,
            keys: keys.into_keys().collect(),
        };
        return print_json(&output).map(|()| ExitCode::SUCCESS);
    }
    print(&format!(
        "exported {incident} to {}: {}, {}\n\n{README} in it says how to verify them. Tell the auditor\nthe fingerprints of the keys through another channel:\n{}",
        safe(&to.to_string_lossy()),
        counted(bundles as u64, "bundle"),
        size(bytes),
        keys.keys()
            .map(|id| format!("  {id}\n"))
            .collect::<String>()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn is_tar(to: &Path) -> bool {
    to.extension().is_some_and(|extension| extension == "tar")
}

/// A folder that is removed on drop, unless it has got its name.
struct StagingFolder {
    path: PathBuf,
    /// Locked while this process writes to the folder.
    _lock: File,
}

impl StagingFolder {
    fn create(path: PathBuf) -> Result<Self> {
        let failed = || format!("cannot create {}", path.display());
        // As private as the store: what is in it is evidence.
        match private_folder(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                remove_abandoned(&path)?;
                private_folder(&path).with_context(failed)?;
            }
            created => created.with_context(failed)?,
        }
        let lock = File::open(&path).with_context(failed)?;
        // Without locks, as on some network disks, there is no protection against a second export.
        let _ = lock.try_lock();
        Ok(Self { path, _lock: lock })
    }
}

/// Removes what an export left that was killed: a folder of this user, that nobody is writing to,
/// with nothing in it but the files of an export. Anything else is somebody's.
fn remove_abandoned(path: &Path) -> Result<()> {
    let shown = path.display();
    let refused = || format!("{shown} is in the way: move it away, or export to another place");
    let metadata = path.symlink_metadata().with_context(refused)?;
    if !metadata.is_dir() || metadata.uid() != geteuid().as_raw() {
        bail!(refused());
    }
    let lock = File::open(path).with_context(refused)?;
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        bail!("another export to {shown} is running");
    }
    for entry in fs::read_dir(path).with_context(refused)? {
        let name = entry.with_context(refused)?.file_name();
        if !FILES.iter().any(|ours| *ours == name) {
            bail!(refused());
        }
    }
    fs::remove_dir_all(path).with_context(refused)
}

impl Drop for StagingFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path); // the next export removes it
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
        self.write_file(BRIEF, brief.as_bytes())?;
        let view = self.backend.incident(self.incident).await?.view;
        let view = serde_json::to_string_pretty(&view).context("cannot write JSON")?;
        self.write_file(INCIDENT, (view + "\n").as_bytes())?;
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
        let (mut text, mut json) = (create(TIMELINE_TEXT)?, create(TIMELINE)?);
        let mut assumes_utc = false;
        self.backend
            .read_timeline(self.incident, TimelineFilter::default(), &mut |row| {
                assumes_utc |= is_assumed_utc(&row);
                text.write_all(format_row(&row, usize::MAX).as_bytes())?;
                serde_json::to_writer(&mut json, &row)?;
                Ok(json.write_all(b"\n")?)
            })
            .await?;
        if assumes_utc {
            writeln!(text, "{ASSUMED_UTC}")?;
        }
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

    /// Gives the export its name. Returns its bytes; `None` if it was interrupted.
    fn publish(&self, interrupted: &CancellationToken) -> Result<Option<u64>> {
        let failed = || format!("cannot write {}", self.to.display());
        let Some(files) = self.checksums(interrupted)? else {
            return Ok(None);
        };
        let bytes = files.iter().map(|file| file.bytes).sum();
        let is_whole = if is_tar(self.to) {
            write_tar(self.folder, &files, self.incident, self.to, interrupted)
                .with_context(failed)?
        } else {
            rename_new(self.folder, self.to).with_context(failed)?;
            true
        };
        Ok(is_whole.then_some(bytes))
    }

    /// Hashes every file, and writes the list that `sha256sum -c` reads. `None` if it was
    /// interrupted.
    fn checksums(&self, interrupted: &CancellationToken) -> Result<Option<Vec<ExportedFile>>> {
        let mut files = Vec::new();
        for folder in ["", BUNDLES, KEYS] {
            let path = self.folder.join(folder);
            for entry in fs::read_dir(&path)? {
                let entry = entry?;
                if interrupted.is_cancelled() {
                    return Ok(None);
                }
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
        Ok(Some(files))
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

/// Packs the files below a folder named after the incident, as `tar` users expect. The tar is in the
/// private folder until it is whole: in the folder of `to`, others might have put a link in its place.
/// False if it was interrupted.
fn write_tar(
    folder: &Path,
    files: &[ExportedFile],
    incident: &IncidentId,
    to: &Path,
    interrupted: &CancellationToken,
) -> io::Result<bool> {
    let unfinished = folder.join(TAR);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    let mut tar = TarWriter::new(BufWriter::new(&file));
    // Longer names do not fit into a tar's header.
    let root = match incident.as_str() {
        id if id.len() <= ROOT_BYTES_MAX => id,
        _ => "incident",
    };
    for ExportedFile { name, bytes, .. } in files {
        if interrupted.is_cancelled() {
            return Ok(false);
        }
        tar.file(
            &format!("{root}/{name}"),
            *bytes,
            File::open(folder.join(name))?,
        )?;
    }
    tar.finish()?.flush()?;
    file.sync_all()?;
    rename_new(&unfinished, to)?;
    Ok(true)
}

/// Gives a finished export its name, which is not taken: nothing is overwritten. Durable when this
/// returns.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems, such as FAT on a stick, cannot do both at once.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            if to.symlink_metadata().is_ok() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)?;
        }
        renamed => renamed?,
    }
    durable::sync_folder_of(to)
}
