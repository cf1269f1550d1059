//! What is taken of a host: one file for each probe, and the list of them.
//!
//! A probe is a function that asks a [`ProbeRecorder`] for objects, in its order, and makes one item. It
//! runs no program, writes nothing, and opens nothing that has a side effect. A new probe is a
//! file, and two lines here.
//!
//! Below a root that is not `/`, two kernel interfaces still answer for our own process:
//! `/proc/sys/net` (network namespace) and `/proc/sys/kernel/{hostname,domainname,msg*,sem,shm*}`
//! (UTS and IPC namespaces). All others name a process.

mod accounts;
mod containers;
mod kernel;
mod logs;
mod mounts;
mod namespaces;
mod network;
mod packages;
mod processes;
mod scheduled;
mod sessions;
mod sockets;
mod startup;

use evidence_format::bundle::BundleError;
use evidence_format::coverage::GapReason;
use evidence_format::id::ItemName;

use crate::read::{KeptPart, ReadMethod, ReadRequest, RedactionRule};
use crate::recorder::{FolderListing, ProbeRecorder, Subtree, join};

/// Takes one kind of thing.
#[derive(Debug)]
pub struct Probe {
    /// Its name on the command line, `[a-z-]+`; the item is `host-` and this. Sealed into evidence:
    /// never renamed or reused.
    pub name: &'static str,
    /// What it takes, for people.
    pub what: &'static str,
    /// The interface it reads: `procfs`, `sysfs`, `file`.
    pub api: &'static str,
    /// For how many seconds such a thing stays as it is: the order of magnitude, which nobody
    /// publishes. Probes are sorted by it.
    pub lifetime_seconds: u64,
    /// Takes it.
    pub run: fn(&mut ProbeRecorder<'_>) -> Result<(), BundleError>,
}

/// All probes, most volatile first (RFC 3227 §2.1): what lives in memory, then what programs write,
/// then what people write.
pub static ALL: &[Probe] = &[
    sockets::PROBE,
    processes::PROBE,
    network::PROBE,
    kernel::PROBE,
    mounts::PROBE,
    namespaces::PROBE,
    sessions::PROBE,
    containers::PROBE,
    accounts::USERS,
    accounts::PRIVILEGES,
    accounts::AUTHORIZED_KEYS,
    scheduled::PROBE,
    startup::PROBE,
    logs::HISTORIES,
    logs::LOGS,
    logs::JOURNAL,
    packages::PROBE,
];

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Homes looked into; bounds the work for a host with a hostile or enormous passwd file.
const HOMES_MAX: usize = 4096;
/// Network, mount or user namespaces looked into: a host has one for each container or so.
const NAMESPACES_MAX: usize = 4096;

impl Probe {
    /// The name of the item that it makes.
    #[must_use]
    pub fn item(&self) -> ItemName {
        format!("host-{}", self.name)
            .parse()
            .expect("names of probes are of a-z and -")
    }
}

/// Where a person's files are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct HomeFolder {
    /// The folder.
    path: Vec<u8>,
    /// Whose it is.
    user: Vec<u8>,
}

/// The host's processes, whose listing is recorded.
fn processes(recorder: &mut ProbeRecorder<'_>) -> Result<Vec<String>, BundleError> {
    let listing = recorder.names_required(b"/proc")?;
    let processes: Vec<String> = listing.processes().map(str::to_owned).collect();
    if !processes.is_empty() && !processes.iter().any(|process| process == "1") {
        // Every process namespace has a process 1: where it is not listed, procfs hides others'
        // processes (hidepid).
        recorder.record_gap(GapReason::PermissionDenied, b"/proc/1")?;
    }
    Ok(processes)
}

/// One process of each namespace of a kind, process 1 first. As an ordinary user, who cannot tell
/// the namespaces of others apart: those of our own processes and, since its tables can be read
/// even so, process 1.
fn one_process_per_namespace(
    recorder: &mut ProbeRecorder<'_>,
    kind: &'static str,
) -> Result<Vec<String>, BundleError> {
    let request = ReadRequest::bytes("/proc", ReadMethod::Namespaces(kind)).required();
    let listing = FolderListing::from(recorder.fetch(request)?);
    let mut processes: Vec<String> = listing
        .processes()
        .filter(|process| *process != "1")
        .map(str::to_owned)
        .collect();
    processes.insert(0, "1".to_owned());
    if processes.len() > NAMESPACES_MAX {
        processes.truncate(NAMESPACES_MAX);
        recorder.record_gap(GapReason::TooLarge, format!("/proc/*/ns/{kind}").as_bytes())?;
    }
    Ok(processes)
}

/// The homes that passwd names, and those in `/home` of accounts that a directory service keeps.
fn homes(recorder: &mut ProbeRecorder<'_>) -> Result<Vec<HomeFolder>, BundleError> {
    let passwd = recorder.fetch(
        ReadRequest::bytes("/etc/passwd", ReadMethod::Redacted(RedactionRule::Accounts))
            .unrecorded(),
    )?;
    let in_home = FolderListing::from(
        recorder.fetch(ReadRequest::bytes("/home", ReadMethod::Names).unrecorded())?,
    );
    let mut homes: Vec<HomeFolder> = passwd
        .split(|&b| b == b'\n')
        .filter_map(home_of_line)
        .collect();
    homes.push(HomeFolder {
        path: b"/root".to_vec(),
        user: b"root".to_vec(),
    });
    homes.extend(in_home.entries().map(|entry| HomeFolder {
        path: join(b"/home", entry.name),
        user: entry.name.to_vec(),
    }));
    homes.sort();
    homes.dedup_by(|a, b| a.path == b.path);
    if homes.len() > HOMES_MAX {
        homes.truncate(HOMES_MAX);
        recorder.record_gap(GapReason::TooLarge, b"/home")?;
    }
    Ok(homes)
}

/// What a line of passwd says (passwd(5)).
fn home_of_line(line: &[u8]) -> Option<HomeFolder> {
    let mut fields = line.split(|&b| b == b':');
    let user = fields.next()?.to_vec();
    let path = fields.nth(4)?.to_vec();
    path.starts_with(b"/").then_some(HomeFolder { path, user })
}

/// Takes short files of text, where they exist.
fn request_files(recorder: &mut ProbeRecorder<'_>, paths: &[&str]) -> Result<(), BundleError> {
    paths.iter().try_for_each(|path| {
        recorder.request(ReadRequest {
            content_type: "text/plain",
            ..ReadRequest::file(*path, KeptPart::Start)
        })
    })
}

/// Takes kernel files, where they exist.
fn request_kernel_files(
    recorder: &mut ProbeRecorder<'_>,
    folder: &str,
    names: &[&str],
) -> Result<(), BundleError> {
    names
        .iter()
        .try_for_each(|name| recorder.request(ReadRequest::kernel(format!("{folder}/{name}"))))
}

/// Takes everything in the folders, and in those directly below them.
fn request_folders(recorder: &mut ProbeRecorder<'_>, folders: &[&str]) -> Result<(), BundleError> {
    folders
        .iter()
        .try_for_each(|folder| recorder.request_tree(folder, 1, |_| true))
}

/// A tree whose listings are evidence.
fn tree(top: &str, depth_max: usize) -> Subtree<'_> {
    Subtree {
        top,
        depth_max,
        record: true,
    }
}

/// True where `path` is no link to another folder: distributions link `/lib` and `/bin` into
/// `/usr`.
fn is_not_a_link(recorder: &mut ProbeRecorder<'_>, path: &str) -> Result<bool, BundleError> {
    Ok(recorder
        .fetch(ReadRequest::link(path).unrecorded())?
        .is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_fit_items() {
        let names: BTreeSet<_> = ALL.iter().map(|probe| probe.item()).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn the_most_volatile_comes_first() {
        assert!(
            ALL.is_sorted_by(|a, b| a.lifetime_seconds < b.lifetime_seconds),
            "each has a place of its own"
        );
    }

    #[test]
    fn homes_are_absolute() {
        assert_eq!(
            home_of_line(b"a:x:0:0:g:/home/a:/bin/sh"),
            Some(HomeFolder {
                path: b"/home/a".to_vec(),
                user: b"a".to_vec()
            })
        );
        assert_eq!(home_of_line(b"a:x:0:0:g:home:/bin/sh"), None);
        assert_eq!(home_of_line(b"+::::::"), None);
        assert_eq!(home_of_line(b""), None);
    }
}
