//! Databases of the package managers.

use evidence_format::bundle::BundleError;

use super::{DAY, Probe, is_not_a_link, request_files, request_folders};
use crate::read::{KeptPart, ReadRequest};
use crate::recorder::{ProbeRecorder, name_of};

pub(super) const PROBE: Probe = Probe {
    name: "packages",
    what: "databases of installed packages: dpkg, rpm, apk, pacman, portage, snap, flatpak; where packages come from",
    api: "file",
    lifetime_seconds: 90 * DAY,
    run,
};

const TEXTS: &[&str] = &[
    "/var/lib/dpkg/status",
    "/var/lib/dpkg/diversions",
    "/var/lib/dpkg/statoverride",
    "/var/lib/portage/world",
    "/etc/apt/sources.list",
    "/etc/yum.conf",
    "/etc/dnf/dnf.conf",
    "/etc/apk/repositories",
    "/etc/apk/world",
    "/etc/pacman.conf",
];
/// Where packages come from, and whose signatures count.
const SOURCES: &[&str] = &[
    "/etc/apt/sources.list.d",
    "/etc/apt/trusted.gpg.d",
    "/etc/yum.repos.d",
    "/etc/zypp/repos.d",
];
/// What dnf has installed and removed.
const HISTORIES: &[&str] = &[
    "/var/lib/dnf/history.sqlite",
    "/var/lib/dnf/history.sqlite-wal",
    "/usr/lib/sysimage/libdnf5/transaction_history.sqlite",
    "/usr/lib/sysimage/libdnf5/transaction_history.sqlite-wal",
];
/// apk's list, and where it is if `/lib` is not a link into `/usr`.
const APK: &[&str] = &["/usr/lib/apk/db/installed"];
const APK_BESIDE_USR: &[&str] = &["/lib/apk/db/installed"];
const RPM_FOLDERS: &[&str] = &["/var/lib/rpm", "/usr/lib/sysimage/rpm"];
const RPM_FILES: &[&str] = &[
    "rpmdb.sqlite",
    "rpmdb.sqlite-wal",
    "Packages",
    "Packages.db",
];
const PACMAN: &str = "/var/lib/pacman/local";
/// Listed only: a snap is an image, and its name has the revision.
const IMAGES: &[&[u8]] = &[b"/var/lib/snapd/snaps", b"/var/lib/flatpak/app"];

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    request_files(recorder, TEXTS)?;
    request_files(recorder, APK)?;
    if is_not_a_link(recorder, "/lib")? {
        request_files(recorder, APK_BESIDE_USR)?;
    }
    for folder in RPM_FOLDERS {
        // Fedora links the old folder to the new one, and the database is large.
        if is_not_a_link(recorder, folder)? {
            for name in RPM_FILES {
                recorder.request(ReadRequest::file(
                    format!("{folder}/{name}"),
                    KeptPart::Start,
                ))?;
            }
        }
    }
    recorder.request_tree(PACMAN.as_bytes(), 1, |path| name_of(path) == b"desc")?;
    request_folders(recorder, SOURCES)?;
    for path in HISTORIES {
        recorder.request(ReadRequest::file(*path, KeptPart::Start))?;
    }
    IMAGES
        .iter()
        .try_for_each(|folder| recorder.list(folder).map(drop))
}
