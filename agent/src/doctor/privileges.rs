//! What decides which files this process may read: its own privileges, and settings of the system.
//!
//! Read from our own `/proc/self`, which never hangs, and from `/proc/sys` below the root.

use std::fs;
use std::path::Path;

use rustix::thread::CapabilitySet;
use serde::{Serialize, Serializer};

/// The process namespace that the machine booted with (`PROC_PID_INIT_INO`, linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";
/// The range of users of a process outside of all user namespaces (user_namespaces(7)).
const ALL_USERS: [&str; 3] = ["0", "0", "4294967295"];
/// What systemd mounts over the paths that it hides from a unit: `root` in proc_pid_mountinfo(5).
const HIDDEN_BY_SYSTEMD: [&str; 2] = ["/systemd/inaccessible/", "/systemd-private-"];

/// A capability that some evidence needs. The deployments in `deploy/` grant these and no others; a
/// test compares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    DacReadSearch,
    SysPtrace,
    Syslog,
}

/// What this process may do.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Privileges {
    /// Effective user.
    pub uid: u32,
    /// Those of [`Capability::ALL`] that are in effect.
    pub held: Vec<Capability>,
    pub lacking: Vec<Capability>,
    /// Capabilities hold for this user namespace only, and not for the host's processes and files.
    pub in_user_namespace: bool,
    /// The profile or context that a security module has given to this process (AppArmor, SELinux);
    /// `None` without one, or if it does not confine.
    pub confined_as: Option<String>,
}

/// Settings of the examined system, and how this process sees it.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostSettings {
    /// The option of procfs that hides other users' processes, where it is set (proc(5)).
    pub hidepid: Option<String>,
    /// `kernel.dmesg_restrict`: 1 reserves the ring buffer for `CAP_SYSLOG`.
    pub dmesg_restrict: Option<u32>,
    /// `kernel.yama.ptrace_scope`. It restricts attaching to processes, and nothing that the probes
    /// read (Documentation/admin-guide/LSM/Yama.rst).
    pub ptrace_scope: Option<u32>,
    /// `None` if that cannot be known.
    pub is_host_pid_namespace: Option<bool>,
    /// Paths that a unit's sandbox hides from this process.
    pub sandboxed: Vec<String>,
}

impl Capability {
    pub const ALL: [Self; 3] = [Self::DacReadSearch, Self::SysPtrace, Self::Syslog];

    /// As in capabilities(7).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::Syslog => "CAP_SYSLOG",
        }
    }

    /// What a capture lacks without it.
    #[must_use]
    pub fn evidence(self) -> &'static str {
        match self {
            Self::DacReadSearch => {
                "files and folders of other users: logs, journals, homes, keys, crontabs, \
                 containers' state"
            }
            Self::SysPtrace => {
                "other users' processes: executable and its digest, open files and sockets, \
                 mapped files, environment, namespaces"
            }
            Self::Syslog => "the kernel's ring buffer, and addresses in its list of modules",
        }
    }

    fn bits(self) -> CapabilitySet {
        match self {
            // the second one includes the first
            Self::DacReadSearch => CapabilitySet::DAC_READ_SEARCH | CapabilitySet::DAC_OVERRIDE,
            Self::SysPtrace => CapabilitySet::SYS_PTRACE,
            Self::Syslog => CapabilitySet::SYSLOG,
        }
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Privileges {
    /// Those of the calling thread.
    #[must_use]
    pub fn of_this_process() -> Self {
        let sets = rustix::thread::capabilities(None);
        let effective = sets.map_or(CapabilitySet::empty(), |sets| sets.effective);
        let (held, lacking) = Capability::ALL
            .into_iter()
            .partition(|capability| effective.intersects(capability.bits()));
        Self {
            uid: rustix::process::geteuid().as_raw(),
            held,
            lacking,
            in_user_namespace: own("uid_map").is_some_and(|map| is_partial_map(&map)),
            confined_as: own("attr/current").and_then(|label| confinement(&label)),
        }
    }

    pub(super) fn holds(&self, capability: Capability) -> bool {
        self.held.contains(&capability)
    }
}

impl HostSettings {
    pub(super) fn read(root: &Path) -> Self {
        let mounts = own("mountinfo").unwrap_or_default();
        let number = |path: &str| {
            let text = fs::read_to_string(root.join("proc/sys/kernel").join(path)).ok()?;
            text.trim().parse().ok()
        };
        // Below another root, process 1 of its procfs says whose processes these are.
        let process = if root == Path::new("/") { "self" } else { "1" };
        let namespace = fs::read_link(root.join("proc").join(process).join("ns/pid"));
        Self {
            hidepid: hidepid(&mounts, &root.join("proc").to_string_lossy()),
            dmesg_restrict: number("dmesg_restrict"),
            ptrace_scope: number("yama/ptrace_scope"),
            is_host_pid_namespace: namespace
                .ok()
                .map(|name| name.as_os_str() == INITIAL_PID_NAMESPACE),
            sandboxed: sandboxed(&mounts),
        }
    }
}

/// A file of this process.
fn own(name: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc/self").join(name)).ok()
}

fn is_partial_map(map: &str) -> bool {
    !map.split_whitespace().eq(ALL_USERS)
}

/// `docker-default (enforce)`, `system_u:system_r:container_t:s0`: labels that confine. Types of
/// SELinux that do not are `unconfined_t` and, for containers, `spc_t`.
fn confinement(label: &str) -> Option<String> {
    let label = label.trim_matches(['\0', '\n', ' ']);
    let is_free = label.is_empty()
        || label.starts_with("unconfined")
        || label.ends_with("(complain)")
        || label
            .split(':')
            .any(|part| matches!(part, "unconfined_t" | "spc_t" | "kernel_t"));
    (!is_free).then(|| label.to_owned())
}

/// `hidepid=…` of the last mount at `procfs`, unless it is off.
fn hidepid(mounts: &str, procfs: &str) -> Option<String> {
    let mount = mounts
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some(procfs))?;
    let options = mount
        .split([' ', ','])
        .filter(|option| option.starts_with("hidepid="));
    options
        .filter(|option| !matches!(*option, "hidepid=0" | "hidepid=off"))
        .map(str::to_owned)
        .next()
}

/// Mount points whose content systemd has replaced.
fn sandboxed(mounts: &str) -> Vec<String> {
    let hidden = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let is_hidden = HIDDEN_BY_SYSTEMD.iter().any(|part| root.contains(part));
        (is_hidden && is_evidence(point)).then(|| point.to_owned())
    });
    hidden.collect()
}

/// True for what a probe reads or lists; the kernel's memory, for one, is hidden on purpose.
fn is_evidence(point: &str) -> bool {
    [
        "/home",
        "/root",
        "/run/user",
        "/tmp",
        "/var",
        "/dev/kmsg",
        "/etc",
        "/srv",
    ]
    .iter()
    .any(|top| Path::new(point).starts_with(top))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confinement_is_told_from_its_absence() {
        for free in [
            "unconfined\n",
            "",
            "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023\0",
            "system_u:system_r:spc_t:s0",
            "exhibit (complain)",
        ] {
            assert_eq!(confinement(free), None, "{free}");
        }
        for label in [
            "docker-default (enforce)",
            "system_u:system_r:container_t:s0:c1,c2",
        ] {
            assert_eq!(confinement(&format!("{label}\n")).as_deref(), Some(label));
        }
    }

    #[test]
    fn mounts_tell_what_a_sandbox_hides() {
        let mounts = "\
22 1 0:21 / /proc rw,nosuid - proc proc rw
23 1 0:21 / /proc rw,nosuid - proc proc rw,hidepid=invisible
24 1 0:22 /systemd/inaccessible/dir /home ro - tmpfs tmpfs rw
25 1 8:1 /tmp/systemd-private-ab-x.service-c/tmp /tmp rw - ext4 /dev/sda1 rw
26 1 0:22 /systemd/inaccessible/reg /proc/kallsyms ro - tmpfs tmpfs rw
27 1 8:1 /home /srv/home rw - ext4 /dev/sda1 rw
";
        assert_eq!(sandboxed(mounts), ["/home", "/tmp"]);
        assert_eq!(
            hidepid(mounts, "/proc").as_deref(),
            Some("hidepid=invisible")
        );
        assert_eq!(
            hidepid("22 1 0:21 / /proc rw - proc proc rw", "/proc"),
            None
        );
        assert_eq!(hidepid(mounts, "/host/proc"), None);
    }

    #[test]
    fn map_of_all_users_is_no_user_namespace() {
        assert!(!is_partial_map("         0          0 4294967295\n"));
        assert!(is_partial_map("0 1000 1\n"));
    }
}
