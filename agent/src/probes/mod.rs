//! The probes: one file for each, and their list.
//!
//! A probe is a function that requests objects from a [`ProbeRecorder`], in its order; they become
//! one item. It runs no program, writes nothing, and opens nothing that has a side effect. A new
//! probe needs its file, and two lines here.
//!
//! Below a root that is not `/`, two kernel interfaces still describe our own process:
//! `/proc/sys/net` (network namespace) and `/proc/sys/kernel/{hostname,domainname,msg*,sem,shm*}`
//! (UTS and IPC namespaces). All others name a process.

mod accounts;
mod applications;
mod containers;
mod kernel;
mod logs;
mod mounts;
mod namespaces;
mod network;
mod packages;
mod pods;
mod processes;
mod scheduled;
mod sessions;
mod sockets;
mod startup;

use std::collections::BTreeSet;

use evidence_format::bundle::BundleError;
use evidence_format::coverage::GapReason;
use evidence_format::id::ItemName;

pub(crate) use self::pods::PodMap;
use self::pods::SelectedEvidence;
use crate::read::{KeptPart, ReadMethod, ReadRequest, RedactionRule};
use crate::recorder::{
    FolderEntry, FolderListing, FoundFile, ProbeRecorder, Subtree, TreeShares, join,
};

/// Captures one kind of evidence.
#[derive(Debug)]
pub struct Probe {
    /// Name on the command line, `[a-z-]+`. The item is called `host-` and this name, in sealed
    /// evidence: never rename or reuse it.
    pub name: &'static str,
    /// What it captures, for people.
    pub what: &'static str,
    /// The interface it reads: `procfs`, `sysfs`, `file`.
    pub api: &'static str,
    /// How long such evidence lasts, in seconds: our estimate of the order of magnitude. Probes are
    /// sorted by it.
    pub lifetime_seconds: u64,
    /// Requests its objects.
    pub(crate) run: fn(&mut ProbeRecorder<'_>) -> Result<(), BundleError>,
}

/// All probes, most volatile first (RFC 3227 §2.1): state in memory, then what programs write, then
/// what people write.
pub(crate) static ALL: &[Probe] = &[
    sockets::PROBE,
    processes::PROBE,
    network::PROBE,
    kernel::PROBE,
    mounts::PROBE,
    namespaces::PROBE,
    sessions::PROBE,
    pods::PROBE,
    containers::PROBE,
    accounts::USERS,
    accounts::PRIVILEGES,
    accounts::AUTHORIZED_KEYS,
    applications::PROBE,
    scheduled::PROBE,
    startup::PROBE,
    logs::HISTORIES,
    logs::LOGS,
    logs::JOURNAL,
    packages::PROBE,
];

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

const HOME: &[u8] = b"/home";
/// Homes that are searched: bounds the work for a host with a hostile or enormous passwd file.
const HOMES_MAX: usize = 4096;
/// Bytes kept of a script or a list of keys in a home: real ones have a few kilobytes.
const OWN_FILE_BYTES_MAX: u64 = 1 << 20;
/// Namespaces of one kind that are read: a host has about one for each container.
const NAMESPACES_MAX: usize = 4096;

impl Probe {
    /// True if it can capture some pods alone.
    #[must_use]
    pub fn knows_pods(&self) -> bool {
        [
            &sockets::PROBE,
            &processes::PROBE,
            &pods::PROBE,
            &logs::LOGS,
        ]
        .iter()
        .any(|probe| probe.name == self.name)
    }

    /// True if it captures only what the owner of a host has named in `agent.toml`.
    #[must_use]
    pub fn needs_configuration(&self) -> bool {
        self.name == applications::PROBE.name
    }

    #[must_use]
    pub fn item(&self) -> ItemName {
        format!("host-{}", self.name)
            .parse()
            .expect("names of probes are of a-z and -")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct HomeFolder {
    path: Vec<u8>,
    user: Vec<u8>,
}

/// Records the list of the host's processes, and returns their numbers.
fn processes(recorder: &mut ProbeRecorder<'_>) -> Result<Vec<String>, BundleError> {
    list_processes(recorder, true)
}

fn list_processes(
    recorder: &mut ProbeRecorder<'_>,
    record: bool,
) -> Result<Vec<String>, BundleError> {
    let request = ReadRequest::bytes("/proc", ReadMethod::Names).required();
    let listing = FolderListing::from(recorder.fetch(ReadRequest { record, ..request })?);
    let processes: Vec<String> = listing.processes().map(str::to_owned).collect();
    if processes.is_empty() && !recorder.is_stopped() {
        // an image that was mounted, or a root without procfs: not "no process ran"
        recorder.record_gap(GapReason::Unsupported, b"/proc")?;
    } else if !processes.is_empty() && !processes.iter().any(|process| process == "1") {
        // Every process namespace has a process 1. If it is not listed, procfs hides the processes
        // of other users (hidepid).
        recorder.record_gap(GapReason::PermissionDenied, b"/proc/1")?;
    }
    Ok(processes)
}

/// The threads that differ from what `/proc/PID` shows of their process, as paths below `/proc`
/// (`812/task/815`), and whether that is since the first thread has ended.
fn differing_threads(recorder: &mut ProbeRecorder<'_>) -> Result<Vec<(String, bool)>, BundleError> {
    let listing = recorder.fetch(ReadRequest::bytes("/proc", ReadMethod::Threads))?;
    let listing = FolderListing::from(listing);
    let threads = listing.tasks().zip(listing.entries());
    Ok(threads
        .map(|(task, entry)| (task.to_owned(), entry.lives_without_leader()))
        .collect())
}

/// One process or thread of each namespace of a kind, process 1 first. An ordinary user cannot see the
/// namespaces of other users' processes, and gets those of their own processes and process 1, whose
/// tables are readable anyway.
fn one_process_per_namespace(
    recorder: &mut ProbeRecorder<'_>,
    kind: &'static str,
) -> Result<Vec<String>, BundleError> {
    let request = ReadRequest::bytes("/proc", ReadMethod::Namespaces(kind)).required();
    let listing = FolderListing::from(recorder.fetch(request)?);
    let mut processes: Vec<String> = listing
        .tasks()
        .filter(|process| *process != "1")
        .map(str::to_owned)
        .collect();
    let is_empty = processes.is_empty() && !listing.tasks().any(|process| process == "1");
    if is_empty && !recorder.is_stopped() {
        recorder.record_gap(
            GapReason::Unsupported,
            format!("/proc/*/ns/{kind}").as_bytes(),
        )?;
    }
    // listed or not: its namespaces are the host's own, and without permission to read its links it
    // is missing from the listing
    processes.insert(0, "1".to_owned());
    let left_out = processes.len().saturating_sub(NAMESPACES_MAX);
    if left_out > 0 {
        processes.truncate(NAMESPACES_MAX);
        let path = format!("/proc/*/ns/{kind}");
        recorder.record_gap_of_many(GapReason::TooLarge, path.as_bytes(), left_out as u64)?;
    }
    Ok(processes)
}

/// One process of each namespace of a kind that the selected processes are in.
fn namespaces_of(
    recorder: &mut ProbeRecorder<'_>,
    kind: &'static str,
    selected: &SelectedEvidence,
) -> Result<Vec<String>, BundleError> {
    let processes: Vec<String> = selected
        .processes()
        .map(|process| process.to_string())
        .collect();
    let links = processes
        .iter()
        .map(|process| ReadRequest::link(format!("/proc/{process}/ns/{kind}")).unrecorded());
    let targets = recorder.fetch_all(links)?;
    let mut seen = BTreeSet::new();
    let found = processes.into_iter().zip(targets);
    let found = found.filter(|(_, target)| !target.is_empty() && seen.insert(target.clone()));
    Ok(found.map(|(process, _)| process).collect())
}

/// The homes in passwd, and those in `/home`, whose accounts may be in a directory service.
fn homes(recorder: &mut ProbeRecorder<'_>) -> Result<Vec<HomeFolder>, BundleError> {
    let passwd = recorder.fetch(
        ReadRequest::bytes("/etc/passwd", ReadMethod::Redacted(RedactionRule::Accounts))
            .unrecorded(),
    )?;
    // recorded, so that the item says which homes were looked at
    let in_home = recorder.names(HOME)?;
    let mut homes: Vec<HomeFolder> = passwd
        .split(|&b| b == b'\n')
        .filter_map(home_of_line)
        .collect();
    // Root's home is searched even if passwd cannot be read.
    homes.push(HomeFolder {
        path: b"/root".to_vec(),
        user: b"root".to_vec(),
    });
    let in_passwd: BTreeSet<Vec<u8>> = homes.iter().map(|home| home.path.clone()).collect();
    for entry in in_home.entries() {
        let path = join(HOME, entry.name);
        let is_known = in_passwd.contains(&path);
        let of_domain = if is_known || !entry.may_be_folder() {
            Vec::new()
        } else {
            homes_of_domain(recorder, &path)?
        };
        homes.extend(of_domain);
        homes.push(HomeFolder {
            path,
            user: entry.name.to_vec(),
        });
    }
    homes.sort();
    // A home in passwd is mostly in `/home` too.
    homes.dedup_by(|a, b| a.path == b.path);
    // root's first, then those that are at the top of /home
    homes.sort_by_key(|home| {
        let depth = home.path.iter().filter(|&&b| b == b'/').count();
        (home.path != b"/root", depth)
    });
    let left_out = homes.len().saturating_sub(HOMES_MAX);
    if left_out > 0 {
        homes.truncate(HOMES_MAX);
        recorder.record_gap_of_many(GapReason::TooLarge, HOME, left_out as u64)?;
    }
    leave_out_dead(recorder, &mut homes)?; // what an earlier probe has found out
    Ok(homes)
}

/// Removes the homes on mounts that do not answer: each of them is one gap, and not one for each name
/// in it. The first of several on one mount shows that the others are dead too.
fn leave_out_dead(
    recorder: &mut ProbeRecorder<'_>,
    homes: &mut Vec<HomeFolder>,
) -> Result<(), BundleError> {
    let dead = homes.extract_if(.., |home| recorder.is_hung(&home.path));
    for dead in dead.collect::<Vec<_>>() {
        recorder.record_gap(GapReason::Hung, &dead.path)?;
    }
    Ok(())
}

/// The homes in `folder`, if it may be that of a domain (`/home/EXAMPLE.COM/jdoe`). Something in each
/// home is hidden, and in such a folder mostly nothing. Where something is (`.snapshot`, `.DS_Store`),
/// each folder counts that has something hidden itself: a look for the files of a home costs little
/// where there are none.
fn homes_of_domain(
    recorder: &mut ProbeRecorder<'_>,
    folder: &[u8],
) -> Result<Vec<HomeFolder>, BundleError> {
    let listing = recorder.fetch(ReadRequest::bytes(folder, ReadMethod::Names).unrecorded())?;
    let listing = FolderListing::from(listing);
    let is_hidden = |entry: &FolderEntry<'_>| entry.name.starts_with(b".");
    let has_hidden = listing.entries().any(|entry| is_hidden(&entry));
    let mut homes = Vec::new();
    let folders = listing.entries().filter(FolderEntry::may_be_folder);
    for entry in folders.filter(|entry| !is_hidden(entry)) {
        let path = join(folder, entry.name);
        if has_hidden {
            let inside = ReadRequest::bytes(path.clone(), ReadMethod::Names).unrecorded();
            let inside = FolderListing::from(recorder.fetch(inside)?);
            // One that hangs is stated as a gap with the other homes.
            if !inside.entries().any(|entry| is_hidden(&entry)) && !recorder.is_hung(&path) {
                continue;
            }
        }
        homes.push(HomeFolder {
            path,
            user: entry.name.to_vec(),
        });
    }
    Ok(homes)
}

/// The home in a line of passwd (passwd(5)).
fn home_of_line(line: &[u8]) -> Option<HomeFolder> {
    let mut fields = line.split(|&b| b == b':');
    let user = fields.next()?.to_vec();
    let path = fields.nth(4)?.to_vec();
    path.starts_with(b"/").then_some(HomeFolder { path, user })
}

/// Requests text files that need not exist.
fn request_files(recorder: &mut ProbeRecorder<'_>, paths: &[&str]) -> Result<(), BundleError> {
    paths.iter().try_for_each(|path| {
        recorder.request(ReadRequest {
            content_type: "text/plain",
            ..ReadRequest::file(*path, KeptPart::Start)
        })
    })
}

/// Requests text files that people write, below each of `homes`: of each at most
/// [`OWN_FILE_BYTES_MAX`], so that nobody uses up the limit for all homes.
fn request_own_files(
    recorder: &mut ProbeRecorder<'_>,
    mut homes: Vec<HomeFolder>,
    names: &[&str],
) -> Result<(), BundleError> {
    leave_out_dead(recorder, &mut homes)?;
    for home in homes {
        if recorder.is_hung(&home.path) {
            recorder.record_gap(GapReason::Hung, &home.path)?; // found out by the last requests
            continue;
        }
        for name in names {
            recorder.request(own_file(join(&home.path, name.as_bytes())))?;
        }
    }
    Ok(())
}

/// A text file that people write, which need not exist.
fn own_file(path: Vec<u8>) -> ReadRequest {
    ReadRequest {
        content_type: "text/plain",
        bytes_max: OWN_FILE_BYTES_MAX,
        ..ReadRequest::file(path, KeptPart::Start)
    }
}

/// Requests kernel files that need not exist.
fn request_kernel_files(
    recorder: &mut ProbeRecorder<'_>,
    folder: &str,
    names: &[&str],
) -> Result<(), BundleError> {
    names
        .iter()
        .try_for_each(|name| recorder.request(ReadRequest::kernel(format!("{folder}/{name}"))))
}

/// Requests all files in the folders and in their direct subfolders.
fn request_folders(recorder: &mut ProbeRecorder<'_>, folders: &[&str]) -> Result<(), BundleError> {
    folders
        .iter()
        .try_for_each(|folder| recorder.request_tree(folder.as_bytes(), 1, |_| true))
}

/// The files in a tree that is one share.
fn walk_whole(
    recorder: &mut ProbeRecorder<'_>,
    top: &[u8],
    depth_max: usize,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<Vec<FoundFile>, BundleError> {
    let tree = Subtree {
        shares: TreeShares::Whole,
        ..tree(top, depth_max)
    };
    recorder.walk(tree, |path, _| wanted(path))
}

/// A tree whose listings are evidence.
fn tree(top: &[u8], depth_max: usize) -> Subtree<'_> {
    Subtree {
        top,
        depth_max,
        record: true,
        shares: TreeShares::PerChild,
        enters: &|_| true,
    }
}

/// True unless `path` is a link: most distributions link `/lib` and `/bin` into `/usr`, where the
/// same files have been requested already.
fn is_not_a_link(recorder: &mut ProbeRecorder<'_>, path: &str) -> Result<bool, BundleError> {
    Ok(recorder
        .fetch(ReadRequest::link(path).unrecorded())?
        .is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probe_names_are_distinct_item_names() {
        let names: BTreeSet<_> = ALL.iter().map(|probe| probe.item()).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn probes_are_sorted_by_lifetime() {
        assert!(
            ALL.is_sorted_by(|a, b| a.lifetime_seconds < b.lifetime_seconds),
            "no two lifetimes are equal, so that the order is defined"
        );
    }

    #[test]
    fn ignores_passwd_lines_without_absolute_home() {
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
