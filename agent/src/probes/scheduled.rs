//! Scheduled jobs: cron, at, and systemd's timers with the units that they start.

use evidence_format::bundle::BundleError;

use super::{
    DAY, Probe, homes, is_not_a_link, leave_out_dead, request_files, request_folders, walk_whole,
};
use crate::read::KeptPart;
use crate::recorder::{ProbeRecorder, join, name_of};

pub(super) const PROBE: Probe = Probe {
    name: "scheduled",
    what: "cron and at jobs, systemd timers, services and other units",
    api: "file",
    lifetime_seconds: 7 * DAY,
    run,
};

const FILES: &[&str] = &[
    "/etc/crontab",
    "/etc/anacrontab",
    "/etc/cron.allow",
    "/etc/cron.deny",
    "/etc/at.allow",
    "/etc/at.deny",
];
const FOLDERS: &[&str] = &[
    "/var/spool/cron",
    "/var/spool/at",
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/etc/cron.yearly",
    "/etc/crontabs",
    "/var/spool/anacron",
    // programs that make units (systemd.generator(7)), where only people and intruders put any
    "/etc/systemd/system-generators",
    "/etc/systemd/user-generators",
    "/usr/local/lib/systemd/system-generators",
    "/usr/local/lib/systemd/user-generators",
];
/// Unit folders (systemd.unit(5)). First those in `/run` and `/etc`, where an intruder adds units.
const UNITS: &[&str] = &[
    "/run/systemd/system",
    "/run/systemd/transient",
    "/run/systemd/generator",
    "/run/systemd/generator.early",
    "/run/systemd/generator.late",
    "/run/systemd/user",
    "/run/systemd/system.control",
    "/run/systemd/systemd.attached",
    "/etc/systemd",
    "/usr/local/lib/systemd",
    "/usr/local/share/systemd/user",
    "/usr/lib/systemd/system",
    "/usr/lib/systemd/user",
    "/usr/share/systemd/user",
];
/// Linked into `/usr` on most systems: then the same as in [`UNITS`].
const UNITS_BESIDE_USR: &[&str] = &["/lib/systemd/system", "/lib/systemd/user"];
/// Below a home. Units are in folders in these.
const UNITS_OF_USERS: &[&str] = &[".config/systemd", ".local/share/systemd"];
/// Has a folder for each user who is logged in. Only systemd's part is entered: desktops mount there.
const RUNTIME: &[u8] = b"/run/user";
const SUFFIXES: &[&str] = &[
    ".timer",
    ".service",
    ".socket",
    ".path",
    ".target",
    ".mount",
    ".automount",
    ".slice",
    ".scope",
    ".conf",
    ".preset",
];

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    request_files(recorder, FILES)?;
    request_folders(recorder, FOLDERS)?;
    for folder in UNITS {
        recorder.request_tree(folder.as_bytes(), 2, is_unit)?;
    }
    if is_not_a_link(recorder, "/lib")? {
        for folder in UNITS_BESIDE_USR {
            recorder.request_tree(folder.as_bytes(), 2, is_unit)?;
        }
    }
    for user in recorder.names(RUNTIME)?.entries() {
        let folder = join(&join(RUNTIME, user.name), b"systemd");
        recorder.request_tree(&folder, 2, is_unit)?;
    }
    let mut found = Vec::new();
    let mut homes = homes(recorder)?;
    for home in &homes {
        for folder in UNITS_OF_USERS {
            if recorder.is_hung(&home.path) {
                break; // its gap is recorded below
            }
            let folder = join(&home.path, folder.as_bytes());
            found.extend(walk_whole(recorder, &folder, 3, is_unit)?);
        }
    }
    leave_out_dead(recorder, &mut homes)?;
    recorder.request_fairly(found, |_| KeptPart::Start)
}

fn is_unit(path: &[u8]) -> bool {
    SUFFIXES
        .iter()
        .any(|suffix| name_of(path).ends_with(suffix.as_bytes()))
}
