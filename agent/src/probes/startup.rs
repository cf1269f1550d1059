//! Code that runs at start, at login, or inside other programs: where intruders make themselves
//! persistent.

use evidence_format::bundle::BundleError;

use super::{DAY, Probe, homes, own_file, request_files, request_folders, request_own_files, tree};
use crate::recorder::{ProbeRecorder, join};

pub(super) const PROBE: Probe = Probe {
    name: "startup",
    what: "what runs at start and at login or is loaded into programs: init and profile scripts, preloads, modules, \
           kernel settings, udev rules; what is logged",
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
    "/etc/profile.local",
    "/etc/bash.bashrc",
    "/etc/bashrc",
    "/etc/bash.bash_logout",
    "/etc/csh.cshrc",
    "/etc/csh.login",
    "/etc/csh.logout",
    "/etc/kshrc",
    "/etc/zshrc",
    "/etc/zshenv",
    "/etc/zprofile",
    "/etc/zlogin",
    "/etc/fish/config.fish",
    "/etc/xonshrc",
    "/etc/powershell/profile.ps1",
    "/etc/modules",
    "/etc/modules.conf",
    "/etc/sysctl.conf",
    "/etc/insserv.conf",
    "/etc/xinetd.conf",
    "/etc/inetd.conf",
    "/etc/default/grub",
    "/etc/ca-certificates.conf",
    "/etc/rsyslog.conf",
    "/etc/syslog-ng/syslog-ng.conf",
    "/etc/audit/auditd.conf",
    "/etc/audit/audit.rules",
    "/etc/logrotate.conf",
];
const FOLDERS: &[&str] = &[
    "/etc/ld.so.conf.d",
    "/etc/init.d",
    "/etc/rc.d",
    "/etc/rc0.d",
    "/etc/rc1.d",
    "/etc/rc2.d",
    "/etc/rc3.d",
    "/etc/rc4.d",
    "/etc/rc5.d",
    "/etc/rc6.d",
    "/etc/rcS.d",
    "/etc/init",
    "/etc/xinetd.d",
    "/etc/zsh",
    "/etc/fish/conf.d",
    "/etc/rc.local.d",
    "/etc/local.d",
    "/etc/profile.d",
    "/etc/modules-load.d",
    "/usr/lib/modules-load.d",
    "/etc/modprobe.d",
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/lib/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/etc/udev/rules.d",
    "/run/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/etc/update-motd.d",
    "/etc/xdg/autostart",
    "/usr/share/autostart",
    "/etc/dbus-1",
    "/usr/share/dbus-1/services",
    "/usr/share/dbus-1/system-services",
    "/etc/NetworkManager/dispatcher.d",
    "/etc/network/if-pre-up.d",
    "/etc/network/if-up.d",
    "/etc/network/if-down.d",
    "/etc/network/if-post-down.d",
    "/etc/apt/apt.conf.d",
    "/etc/dnf/plugins",
    "/etc/yum/pluginconf.d",
    "/etc/dracut.conf.d",
    "/etc/initramfs-tools/hooks",
    "/usr/local/share/ca-certificates",
    "/etc/rsyslog.d",
    "/etc/syslog-ng/conf.d",
    "/etc/audit/rules.d",
    "/etc/logrotate.d",
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
    ".bash_aliases",
    ".inputrc",
    ".zshenv",
    ".zprofile",
    ".zshrc",
    ".zlogin",
    ".zlogout",
    ".kshrc",
    ".shrc",
    ".cshrc",
    ".tcshrc",
    ".login",
    ".logout",
    ".xonshrc",
    ".config/fish/config.fish",
    ".config/powershell/profile.ps1",
    ".config/elvish/rc.elv",
    ".config/ion/initrc",
    ".config/oil/oshrc",
    ".pam_environment",
    ".xprofile",
    ".xinitrc",
];

/// Below a home: folders of which everything runs.
const LOGIN_FOLDERS: &[&str] = &[
    ".config/autostart",
    ".config/autostart-scripts",
    ".config/fish/conf.d",
    ".config/plasma-workspace/env",
    ".local/share/autostart",
    ".local/share/dbus-1/services",
];

fn run(recorder: &mut ProbeRecorder<'_>) -> Result<(), BundleError> {
    request_files(recorder, FILES)?;
    request_folders(recorder, FOLDERS)?;
    let homes = homes(recorder)?;
    for home in &homes {
        for folder in LOGIN_FOLDERS {
            if recorder.is_hung(&home.path) {
                break; // its gap is recorded below
            }
            let folder = join(&home.path, folder.as_bytes());
            for file in recorder.walk(tree(&folder, 0), |_, _| true)? {
                recorder.request(own_file(file.path))?;
            }
        }
    }
    // Last: a walk waits for its answer, so that dead homes are known by now.
    request_own_files(recorder, homes, LOGIN)
}
