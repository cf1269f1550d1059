//! Logs, the systemd journal, shell histories: the newest file first, and of each log the end, so
//! that what exceeds the limits is the oldest.

use std::cmp::Reverse;

use evidence_format::bundle::BundleError;
use evidence_format::coverage::GapReason;
use rustix::fs::FileType;

use super::pods::{self, SelectedEvidence};
use super::{DAY, HomeFolder, Probe, homes, sessions, tree, walk_whole};
use crate::read::{KeptPart, ReadMethod, ReadRequest};
use crate::recorder::{ProbeRecorder, Subtree, join, name_of};

pub(super) const HISTORIES: Probe = Probe {
    name: "histories",
    what: "shell histories and those of interactive programs, listings of home folders, of crashes, \
           and of temporary folders with the newest 64 in them",
    api: "file",
    lifetime_seconds: 21 * DAY,
    run: histories,
};

pub(super) const LOGS: Probe = Probe {
    name: "logs",
    what: "files below /var/log and what containers write, the newest first",
    api: "file",
    lifetime_seconds: 28 * DAY,
    run: logs,
};

pub(super) const JOURNAL: Probe = Probe {
    name: "journal",
    what: "systemd journal files, the newest first",
    api: "file",
    lifetime_seconds: 30 * DAY,
    run: journal,
};

/// "Homes" of system accounts. Listing them would describe the distribution and not its users.
const SYSTEM_FOLDERS: &[&[u8]] = &[
    b"/bin",
    b"/sbin",
    b"/usr",
    b"/dev",
    b"/proc",
    b"/sys",
    b"/lib",
    b"/etc",
    b"/nonexistent",
];
/// Histories in subfolders of a home: the folder, and how the names of its files begin.
const NESTED_HISTORIES: &[(&str, &[&str])] = &[
    (".local/share", &["lesshst", "recently-used.xbel"]),
    (".local/share/fish", &["fish_history"]),
    (".config/fish", &["fish_history"]),
    (".local/state", &["lesshst"]),
    (".local/state/zsh", &["history"]),
    (
        ".local/share/powershell/PSReadLine",
        &["ConsoleHost_history"],
    ),
    (".local/share/xonsh", &["xonsh"]),
    (".local/share/ion", &["history"]),
    (".local/share/elvish", &["db.bolt"]),
    (".local/share/Trash/info", &[""]),
    // who worked here from elsewhere
    (".local/share/logs/RustDesk", &[""]),
    (".anydesk", &["ad.trace", "connection_trace.txt"]),
];
/// Listed only, below a home: what was thrown away.
const TRASH: &str = ".local/share/Trash/files";
/// Histories without `history` in their names.
const OTHER_HISTORIES: &[&[u8]] = &[
    b".lesshst",
    b".viminfo",
    b".wget-hsts",
    b".dbshell",
    b".lastlogin",
];
/// Listed only: where intruders put their tools, and what their attempts have left. The contents are
/// too many, and cores are memory, with its secrets.
const LEFT_BEHIND: &[&[u8]] = &[
    b"/tmp",
    b"/var/tmp",
    b"/dev/shm",
    b"/var/crash",
    b"/var/lib/systemd/coredump",
];
/// Folders in each of these that are listed too, the newest: busy machines have thousands.
const LEFT_BEHIND_FOLDERS_MAX: usize = 64;

const LOGS_FOLDER: &[u8] = b"/var/log";
/// What containers write; for those of Kubernetes /var/log has links. Where, how deep, and how the
/// names of the files end.
const CONTAINER_LOGS: &[(&[u8], usize, &[u8])] = &[
    (b"/var/lib/docker/containers", 1, b"-json.log"),
    (
        b"/var/lib/containers/storage/overlay-containers",
        2,
        b"ctr.log",
    ),
];
/// Folders below that of a pod's logs: one for each container.
const POD_LOGS_DEPTH: usize = 1;
/// Logs elsewhere, each tree one share: where, how deep, and what the names of the files contain.
const OTHER_LOGS: &[(&[u8], usize, &[u8])] = &[
    // process accounting of Red Hat's distributions
    (b"/var/account", 0, b"pacct"),
    // what the cloud's console has run on this machine
    (b"/var/lib/waagent/run-command/download", 1, b""),
];
const JOURNALS: &[&[u8]] = &[b"/run/log/journal", b"/var/log/journal"];
/// Journals are in a folder for each machine.
const JOURNAL_DEPTH: usize = 1;

fn histories(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    let mut found = Vec::new();
    for HomeFolder { path: home, .. } in homes(recorder)? {
        // Their histories are still wanted: a shell as `www-data` is a finding.
        let is_system_account = home == b"/" || SYSTEM_FOLDERS.contains(&top_folder(&home));
        if is_system_account {
            recorder.request(ReadRequest::file(
                join(&home, b".bash_history"),
                KeptPart::End,
            ))?;
            continue;
        }
        found.extend(walk_whole(recorder, &home, 0, is_history)?);
        if recorder.is_hung(&home) {
            continue;
        }
        for (folder, names) in NESTED_HISTORIES {
            let folder = join(&home, folder.as_bytes());
            let begins = |path: &[u8], name: &str| name_of(path).starts_with(name.as_bytes());
            let wanted = |path: &[u8]| names.iter().any(|name| begins(path, name));
            found.extend(walk_whole(recorder, &folder, 0, wanted)?);
        }
        recorder.list(&join(&home, TRASH.as_bytes()))?;
    }
    // all homes together, so that each gets its part of the limit
    recorder.request_fairly(found, |_| KeptPart::End)?;
    LEFT_BEHIND
        .iter()
        .try_for_each(|folder| list_left_behind(recorder, folder))
}

/// Lists a folder, and the newest of the folders in it.
fn list_left_behind(recorder: &mut ProbeRecorder<'_>, folder: &[u8]) -> Result<(), BundleError> {
    let listing = recorder.list(folder)?;
    let mut folders: Vec<_> = listing
        .entries()
        .filter(|entry| entry.kind() == Some(FileType::Directory))
        .map(|entry| (Reverse(entry.modified()), join(folder, entry.name)))
        .collect();
    folders.sort();
    let left_out = folders.len().saturating_sub(LEFT_BEHIND_FOLDERS_MAX);
    if left_out > 0 {
        folders.truncate(LEFT_BEHIND_FOLDERS_MAX);
        recorder.record_gap_of_many(GapReason::TooLarge, folder, left_out as u64)?;
    }
    for (_, path) in folders {
        // what is temporary goes, which is no gap
        recorder.request(ReadRequest::bytes(path, ReadMethod::Listing))?;
    }
    Ok(())
}

/// `/usr` of `/usr/lib/news`.
fn top_folder(path: &[u8]) -> &[u8] {
    let below = path.iter().skip(1).position(|&b| b == b'/');
    below.map_or(path, |at| &path[..=at])
}

/// `.bash_history`, `.zsh_history-20260101`, `.python_history`, `.zhistory`, ….
fn is_history(path: &[u8]) -> bool {
    let name = name_of(path);
    OTHER_HISTORIES.contains(&name)
        || name.first() == Some(&b'.') && name.windows(7).any(|part| part == b"history")
}

fn logs(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    if let Some(selected) = pods::selected(recorder)? {
        return logs_of_pods(recorder, &selected);
    }
    // what other probes take is said by the very functions with which they choose it
    let mut found = recorder.walk(tree(LOGS_FOLDER, usize::MAX), |path, _| {
        !is_journal(path) && !sessions::is_login_record(path)
    })?;
    for (folder, depth_max, part) in CONTAINER_LOGS.iter().chain(OTHER_LOGS) {
        let wanted = |path: &[u8]| {
            let name = name_of(path);
            part.is_empty() || name.windows(part.len()).any(|window| window == *part)
        };
        found.extend(walk_whole(recorder, folder, *depth_max, wanted)?);
    }
    recorder.request_fairly(found, |_| KeptPart::End)
}

/// The logs of some pods: folders of their own, and files that have a container's id in their names.
fn logs_of_pods(
    recorder: &mut ProbeRecorder<'_>,
    selected: &SelectedEvidence,
) -> Result<(), BundleError> {
    let mut found = Vec::new();
    for folder in &selected.log_folders {
        found.extend(walk_whole(recorder, folder, POD_LOGS_DEPTH, |_| true)?);
    }
    let links = pods::CONTAINER_LOGS.as_bytes();
    found.extend(walk_whole(recorder, links, 0, |path| {
        selected.has_log(path)
    })?);
    for (folder, depth_max, part) in CONTAINER_LOGS {
        let is_log = |path: &[u8]| path.ends_with(part) && selected.has_log(path);
        found.extend(walk_whole(recorder, folder, *depth_max, is_log)?);
    }
    recorder.request_fairly(found, |_| KeptPart::End)
}

/// Keeps the start of a journal file and not its end: reading one starts with its header and first
/// hash table.
fn journal(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    let mut found = Vec::new();
    for folder in JOURNALS {
        found.extend(recorder.walk(tree(folder, JOURNAL_DEPTH), |path, _| is_journal(path))?);
    }
    recorder.request_fairly(found, |_| KeptPart::Start)
}

/// The journal's files, which are not recorded.
pub(super) fn journal_files(recorder: &mut ProbeRecorder<'_>) -> Result<Vec<Vec<u8>>, BundleError> {
    let mut found = Vec::new();
    for folder in JOURNALS {
        let folder = Subtree {
            record: false, // the listing is that of the journal's own probe
            ..tree(folder, JOURNAL_DEPTH)
        };
        let files = recorder.walk(folder, |path, _| is_journal(path))?;
        found.extend(files.iter().map(|file| file.path().to_vec()));
    }
    Ok(found)
}

/// True for the files that [`JOURNAL`] takes. `~` marks one that systemd found damaged, as after a
/// crash.
fn is_journal(path: &[u8]) -> bool {
    let mut folders = JOURNALS.iter();
    let below = folders.find_map(|folder| path.strip_prefix(*folder)?.strip_prefix(b"/"));
    let is_near = |below: &[u8]| below.iter().filter(|&&b| b == b'/').count() <= JOURNAL_DEPTH;
    below.is_some_and(is_near) && (path.ends_with(b".journal") || path.ends_with(b".journal~"))
}

#[cfg(test)]
mod tests {
    use super::{is_history, top_folder};

    #[test]
    fn folder_at_the_top_is_compared_whole() {
        assert_eq!(top_folder(b"/usr/lib/news"), b"/usr");
        assert_eq!(top_folder(b"/usr"), b"/usr");
        assert_eq!(top_folder(b"/usr2/ann"), b"/usr2");
    }

    #[test]
    fn histories_are_told_by_name() {
        for yes in [
            "/root/.bash_history",
            "/h/.zhistory",
            "/h/.zsh_history-old",
            "/h/.viminfo",
        ] {
            assert!(is_history(yes.as_bytes()), "{yes}");
        }
        for no in ["/root/history", "/root/.bashrc", "/h/."] {
            assert!(!is_history(no.as_bytes()), "{no}");
        }
    }
}
