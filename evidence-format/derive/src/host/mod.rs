//! Files of a Linux host, as the agent's probes capture them: logins, sudo, sshd, changes of
//! accounts and packages as events; sockets, processes, units, accounts as objects; what connects
//! them as edges.
//!
//! A record names its file in its URI. A file that is known here and has lines or rows that say
//! nothing for an investigation gives no lines for these. Compressed logs and binary journals are
//! not read.

mod accounts;
mod clock;
mod logins;
mod packages;
pub(crate) mod processes;
mod sockets;
mod syslog;
mod units;

use evidence_format::warc::path_of_file_uri;

use crate::{Derivation, Deriver, EntityKind, EntityRef, RecordContext};

/// Most characters of a command or path in a summary.
const COMMAND_CHARS_MAX: usize = 200;

#[derive(Debug)]
pub(crate) struct HostDeriver;

impl Deriver for HostDeriver {
    fn name(&self) -> &'static str {
        "host"
    }

    fn version(&self) -> u32 {
        3 // a time that was read as UTC is a member and no longer in the summary
    }

    fn reads(&self, record: &RecordContext<'_>) -> bool {
        path_of(record).is_some_and(|path| reader_of(&path).is_some())
    }

    fn derive(&self, record: &RecordContext<'_>, visit: &mut dyn FnMut(Derivation)) {
        let Some(path) = path_of(record) else { return };
        if let Some(read) = reader_of(&path) {
            read(
                &HostRecord {
                    record,
                    path: &path,
                },
                visit,
            );
        }
    }
}

/// A record of a file of a host.
struct HostRecord<'r> {
    record: &'r RecordContext<'r>,
    path: &'r str,
}

type FileReader = fn(&HostRecord<'_>, &mut dyn FnMut(Derivation));

fn path_of(record: &RecordContext<'_>) -> Option<String> {
    // Paths that are not text are none of those below.
    String::from_utf8(path_of_file_uri(record.uri)?).ok()
}

/// How to read the file at `path`.
fn reader_of(path: &str) -> Option<FileReader> {
    if let Some(rest) = path.strip_prefix("/proc/") {
        return match rest.split_once('/')? {
            (_, "net/tcp" | "net/tcp6" | "net/udp" | "net/udp6") => Some(sockets::table),
            (_, "fd") => Some(sockets::holders),
            (_, "stat") => Some(processes::stat),
            (_, "exe") => Some(processes::executable),
            _ => None,
        };
    }
    let (folder, name) = path.rsplit_once('/')?;
    // Rotated logs are called `auth.log.1` and `secure-20261101`.
    let is_log = |log: &str| {
        name.strip_prefix(log).is_some_and(|suffix| {
            let suffix = suffix.trim_start_matches(['.', '-']);
            suffix.bytes().all(|b| b.is_ascii_digit())
        })
    };
    match folder {
        "/var/log" if is_log("wtmp") => Some(logins::wtmp),
        "/var/log" if is_log("btmp") => Some(logins::btmp),
        "/var/log" if name == "lastlog" => Some(logins::lastlog),
        "/var/log"
            if ["auth.log", "secure", "syslog", "messages", "cron"]
                .iter()
                .any(|log| is_log(log)) =>
        {
            Some(syslog::lines_of)
        }
        "/var/log" if is_log("dpkg.log") => Some(packages::dpkg),
        "/var/log" if is_log("dnf.rpm.log") || is_log("yum.log") => Some(packages::rpm),
        "/var/log" if is_log("pacman.log") => Some(packages::pacman),
        "/var/log/apt" if is_log("history.log") => Some(packages::apt),
        "/etc" if name == "passwd" => Some(accounts::passwd),
        "/etc" if name == "group" => Some(accounts::group),
        _ if folder.ends_with("/systemd/system") || folder.ends_with("/systemd/user") => {
            Some(units::file)
        }
        _ if name == "authorized_keys" || name == "authorized_keys2" => {
            Some(accounts::authorized_keys)
        }
        _ => None,
    }
}

/// The whole lines that end in the record, without their line ends. A file may begin in mid-line,
/// since of long logs only the end is captured.
fn lines<'r>(record: &RecordContext<'r>) -> impl Iterator<Item = &'r str> {
    record
        .bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| str::from_utf8(line).ok())
        .map(|line| line.trim_end_matches('\r'))
        .filter(|line| !line.is_empty())
}

fn user(name: &str) -> EntityRef {
    EntityRef::new(EntityKind::User, name)
}

/// A process, by its number.
fn process(pid: &str) -> EntityRef {
    EntityRef::new(EntityKind::Process, pid)
}

/// The number of the process whose folder in `/proc` holds the file.
fn pid_of(path: &str) -> Option<&str> {
    let (pid, _) = path.strip_prefix("/proc/")?.split_once('/')?;
    pid.bytes().all(|b| b.is_ascii_digit()).then_some(pid)
}

#[cfg(test)]
mod tests;
