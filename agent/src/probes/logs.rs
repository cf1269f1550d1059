//! Logs, the systemd journal, shell histories: the newest file first, and of each log the end, so
//! that what exceeds the limits is the oldest.

use evidence_format::bundle::BundleError;

use super::{DAY, HomeFolder, Probe, homes, tree};
use crate::read::{KeptPart, ReadRequest};
use crate::recorder::{ProbeRecorder, join, name_of};

pub(super) const HISTORIES: Probe = Probe {
    name: "histories",
    what: "shell histories and those of interactive programs, listings of home folders",
    api: "file",
    lifetime_seconds: 21 * DAY,
    run: histories,
};

pub(super) const LOGS: Probe = Probe {
    name: "logs",
    what: "files below /var/log, the newest first",
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
/// Histories in subfolders of a home.
const NESTED_HISTORIES: &[&str] = &[
    ".local/share/fish/fish_history",
    ".config/fish/fish_history",
    ".local/state/zsh/history",
];
/// Histories without `history` in their names.
const OTHER_HISTORIES: &[&[u8]] = &[b".lesshst", b".viminfo", b".wget-hsts", b".dbshell"];

const LOG_FOLDER: &str = "/var/log";
const LOG_DEPTH_MAX: usize = 6;
/// Below [`LOG_FOLDER`], but captured by other probes.
const OF_OTHER_PROBES: &[&str] = &[
    "/var/log/journal/",
    "/var/log/wtmp",
    "/var/log/btmp",
    "/var/log/lastlog",
    "/var/log/faillog",
];
const JOURNALS: &[&str] = &["/run/log/journal", "/var/log/journal"];

fn histories(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    for HomeFolder { path: home, .. } in homes(recorder)? {
        for name in NESTED_HISTORIES {
            recorder.request(ReadRequest::file(
                join(&home, name.as_bytes()),
                KeptPart::End,
            ))?;
        }
        // Their histories are still wanted: a shell as `www-data` is a finding.
        let is_system_account =
            home == b"/" || SYSTEM_FOLDERS.iter().any(|folder| home.starts_with(folder));
        if is_system_account {
            recorder.request(ReadRequest::file(
                join(&home, b".bash_history"),
                KeptPart::End,
            ))?;
        // A walk takes text; a home whose name is not text is left to the listing of `/home`.
        } else if let Ok(home) = std::str::from_utf8(&home) {
            let found = recorder.walk(tree(home, 0), |path, _| is_history(path))?;
            recorder.request_newest_first(found, KeptPart::End)?;
        }
    }
    Ok(())
}

/// `.bash_history`, `.zsh_history-20260101`, `.python_history`, `.zhistory`, ….
fn is_history(path: &[u8]) -> bool {
    let name = name_of(path);
    OTHER_HISTORIES.contains(&name)
        || name.first() == Some(&b'.') && name.windows(7).any(|part| part == b"history")
}

fn logs(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    let found = recorder.walk(tree(LOG_FOLDER, LOG_DEPTH_MAX), |path, _| {
        !OF_OTHER_PROBES
            .iter()
            .any(|prefix| path.starts_with(prefix.as_bytes()))
    })?;
    recorder.request_newest_first(found, KeptPart::End)
}

/// Keeps the start of a journal file and not its end: reading one starts with its header and first
/// hash table.
fn journal(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    let mut found = Vec::new();
    for folder in JOURNALS {
        found.extend(recorder.walk(tree(folder, 1), |path, _| {
            // `~` marks a file that systemd found damaged, as after a crash.
            path.ends_with(b".journal") || path.ends_with(b".journal~")
        })?);
    }
    recorder.request_newest_first(found, KeptPart::Start)
}

#[cfg(test)]
mod tests {
    use super::is_history;

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
