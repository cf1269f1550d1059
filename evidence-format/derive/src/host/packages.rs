//! Changes of packages, from the logs of package managers.

use evidence_format::time::Timestamp;

use super::clock::{LogTime, date_and_time, syslog_time};
use super::{COMMAND_CHARS_MAX, HostRecord, lines, user};
use crate::text::shortened;
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, EntityKind, EntityRef, ocsf,
};

const INSTALL: u8 = 1;
const REMOVE: u8 = 2;
const UPDATE: u8 = 8;

/// `2026-11-27 06:23:02 upgrade libc6:amd64 2.36-9 2.36-10`
pub(super) fn dpkg(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    for line in lines(file.record) {
        let Some((time, rest)) = date_and_time(line) else {
            continue;
        };
        let words: Vec<&str> = rest.split(' ').collect();
        let &[action, package, before, after] = &words[..] else {
            continue;
        };
        let (activity, version) = match action {
            "install" => (INSTALL, after.to_owned()),
            "upgrade" => (UPDATE, format!("{before} → {after}")),
            "remove" | "purge" => (REMOVE, before.to_owned()),
            _ => continue,
        };
        visit(change(
            file, &time, "dpkg", action, activity, package, &version,
        ));
    }
}

/// `2026-11-27T06:23:02+0000 SUBDEBUG Installed: bash-5.2-1.x86_64`, and yum's `Nov 27 06:23:02
/// Installed: …`.
pub(super) fn rpm(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    for line in lines(file.record) {
        let Some((time, rest)) = syslog_time(line, file.record.captured_at) else {
            continue;
        };
        let words = rest.strip_prefix("SUBDEBUG ").unwrap_or(rest);
        let Some((action, package)) = words.split_once(": ") else {
            continue;
        };
        let (action, activity) = match action {
            "Installed" => ("install", INSTALL),
            "Upgrade" | "Updated" | "Upgraded" => ("upgrade", UPDATE),
            "Erase" | "Erased" | "Removed" => ("remove", REMOVE),
            _ => continue,
        };
        visit(change(file, &time, "rpm", action, activity, package, ""));
    }
}

/// `[2026-11-27T06:23:02+0000] [ALPM] upgraded bash (5.2-1 -> 5.2-2)`
pub(super) fn pacman(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    for line in lines(file.record) {
        let parts = line
            .strip_prefix('[')
            .and_then(|line| line.split_once("] [ALPM] "));
        let Some((text, rest)) = parts else { continue };
        let Some(time) = Timestamp::parse_lenient(text) else {
            continue;
        };
        let time = LogTime {
            time,
            text,
            is_local: false,
        };
        let mut words = rest.splitn(3, ' ');
        let (Some(action), Some(package)) = (words.next(), words.next()) else {
            continue;
        };
        let (action, activity) = match action {
            "installed" | "reinstalled" => ("install", INSTALL),
            "upgraded" | "downgraded" => ("upgrade", UPDATE),
            "removed" => ("remove", REMOVE),
            _ => continue,
        };
        let version = words.next().unwrap_or_default().trim_matches(['(', ')']);
        visit(change(
            file, &time, "pacman", action, activity, package, version,
        ));
    }
}

fn change(
    file: &HostRecord<'_>,
    time: &LogTime<'_>,
    manager: &str,
    action: &str,
    activity: u8,
    package: &str,
    version: &str,
) -> Derivation {
    let mut event = ActivityEvent::new(
        file.record,
        ActivityCategory::Change,
        &format!("{manager}/{action}"),
    );
    (event.class, event.activity) = (ocsf::APPLICATION_LIFECYCLE, activity);
    time.set(&mut event);
    event.outcome = ActivityOutcome::Success;
    event.targets = vec![EntityRef::new(EntityKind::Artifact, package)];
    event.summary = format!("{action} of package {package} {version}")
        .trim_end()
        .to_owned();
    Derivation::Event(Box::new(event))
}

/// Paragraphs of `Start-Date:`, `Commandline:`, `Requested-By:` and long lists of packages. The
/// packages are in dpkg's log too; here is who asked for them.
pub(super) fn apt(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    let record = file.record;
    // A command line belongs to the date above it, which may be in the record before.
    let before = String::from_utf8_lossy(record.preceding);
    let mut started = before
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("Start-Date: "));
    let mut lines = lines(record).peekable();
    while let Some(line) = lines.next() {
        if let Some(date) = line.strip_prefix("Start-Date: ") {
            started = Some(date);
        }
        let Some(command) = line.strip_prefix("Commandline: ") else {
            continue;
        };
        let who = lines
            .peek()
            .and_then(|line| line.strip_prefix("Requested-By: "))
            .and_then(|who| who.split(' ').next());
        visit(apt_command(file, started.unwrap_or_default(), command, who));
    }
}

fn apt_command(
    file: &HostRecord<'_>,
    started: &str,
    command: &str,
    who: Option<&str>,
) -> Derivation {
    let mut event = ActivityEvent::new(file.record, ActivityCategory::Execution, "apt");
    (event.class, event.activity) = (ocsf::PROCESS_ACTIVITY, 1);
    // Two blanks stand between date and time.
    let spelled = started.replace("  ", " ");
    if let Some((time, _)) = date_and_time(&spelled) {
        time.set(&mut event);
        started.clone_into(&mut event.time_text);
    }
    event.outcome = ActivityOutcome::Unknown;
    event.actor = who.map(user);
    event.targets = vec![EntityRef::new(EntityKind::Process, command)];
    let by = who.map_or(String::new(), |who| format!(" by {who}"));
    event.summary = format!("ran {}{by}", shortened(command, COMMAND_CHARS_MAX));
    Derivation::Event(Box::new(event))
}
