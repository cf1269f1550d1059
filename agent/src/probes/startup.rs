//! Code that runs at start, at login, or inside other programs: where intruders make themselves
//! persistent.

use evidence_format::bundle::BundleError;

use super::{DAY, HomeFolder, Probe, homes, request_files, request_folders};
use crate::read::{KeptPart, ReadRequest};
use crate::recorder::{ProbeRecorder, join};

pub(super) const PROBE: Probe = Probe {
    name: "startup",
    what: "what runs at start and at login or is loaded into programs: init and profile scripts, preloads, modules, udev rules",
    api: "file",
    lifetime_seconds: 14 * DAY,
    run,
};

const FILES: &[&str] = &[
    "/etc/ld.so.preload",
    "/etc/ld.so.conf",
    "/etc/rc.local",
    "/etc/rc.d/rc.local",
    "/etc/inittab",
    "/etc/environment",
    "/etc/profile",
    "/etc/bash.bashrc",
    "/etc/bashrc",
    "/etc/zsh/zshrc",
    "/etc/zsh/zshenv",
    "/etc/modules",
];
const FOLDERS: &[&str] = &[
    "/etc/ld.so.conf.d",
    "/etc/init.d",
    "/etc/rc.local.d",
    "/etc/local.d",
    "/etc/profile.d",
    "/etc/modules-load.d",
    "/usr/lib/modules-load.d",
    "/etc/modprobe.d",
    "/etc/udev/rules.d",
    "/run/udev/rules.d",
    "/etc/update-motd.d",
    "/etc/xdg/autostart",
    "/etc/NetworkManager/dispatcher.d",
    "/etc/network/if-up.d",
    "/etc/apt/apt.conf.d",
    "/etc/tmpfiles.d",
    "/etc/binfmt.d",
];
/// Below a home.
const LOGIN: &[&str] = &[
    ".profile",
    ".bash_profile",
    ".bash_login",
    ".bashrc",
    ".bash_logout",
    ".zshenv",
    ".zprofile",
    ".zshrc",
    ".zlogin",
    ".config/fish/config.fish",
    ".pam_environment",
    ".xprofile",
    ".xinitrc",
];

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    request_files(recorder, FILES)?;
    request_folders(recorder, FOLDERS)?;
    for HomeFolder { path: home, .. } in homes(recorder)? {
        for name in LOGIN {
            let request = ReadRequest::file(join(&home, name.as_bytes()), KeptPart::Start);
            recorder.request(ReadRequest {
                content_type: "text/plain",
                ..request
            })?;
        }
    }
    Ok(())
}
