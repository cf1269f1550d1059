//! Why an object is missing, and what to do about it.

use evidence_format::coverage::GapReason;
use rustix::io::Errno;
use serde::Serialize;

use super::privileges::{Capability, HostSettings, Privileges};
use crate::recorder::{MissingObject, errno_text};

const RING_BUFFER: &[u8] = b"/dev/kmsg";
const PROCFS: &[u8] = b"/proc";
const SETTINGS: &[u8] = b"/proc/sys/";
/// The uid that settings of the kernel may be reserved for.
const ROOT: u32 = 0;
/// Below a process: files whose mode excludes others, before the kernel compares the processes.
const OWNERS_ONLY: [&[u8]; 4] = [b"/fd", b"/environ", b"/io", b"/ns"];

/// Why an object is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum Cause {
    /// A capability that this process does not have.
    CapabilitiesMissing { capabilities: Vec<Capability> },
    /// Only uid 0 may read it, whatever its capabilities.
    NotRoot,
    /// The kernel shows a setting only to who may change the whole system.
    AdministratorSetting,
    /// procfs hides other users' processes.
    HiddenProcesses,
    /// This process has the capabilities in a user namespace only.
    UserNamespace,
    /// A security module refuses.
    SecurityModule { label: String },
    /// The control group of a container does not allow this device.
    DeviceNotAllowed,
    /// The kernel refuses in spite of the capabilities: the process protects itself.
    ProcessProtected,
    /// The file system refuses even a process with all capabilities (NFS, FUSE).
    FileSystemRefuses,
    /// No procfs below the root.
    NoProcfs,
    /// Part of every system, and not below the root.
    NotMounted,
    /// The process sees a container and not its host.
    ContainerOnly,
    /// The sandbox of a systemd unit shows something else here.
    Sandboxed,
    /// A link of an account that may not read its target itself.
    ForeignLink,
    /// It does not answer.
    Hung,
    /// A FIFO, socket or device where a file is expected.
    SpecialFile,
    /// A folder has more entries than are captured.
    TooManyEntries,
    /// The rehearsal ended before it came to this.
    NotExamined,
    /// Reading failed.
    Failed { error: String },
}

/// What to do about a [`Cause`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Remedy {
    /// Lines for `[Service]` of a drop-in of the unit.
    pub systemd: Vec<String>,
    /// Fields of the pod's or container's specification.
    pub kubernetes: Vec<String>,
    /// In words; empty if the lines above say it all.
    pub otherwise: String,
}

/// The cause of what a rehearsal has found.
pub(super) fn of(
    object: &MissingObject<'_>,
    privileges: &Privileges,
    settings: &HostSettings,
) -> Cause {
    match object.reason {
        GapReason::PermissionDenied => denied(object, privileges, settings),
        GapReason::Unsupported if is_about_processes(object.path) => Cause::NoProcfs,
        GapReason::Unsupported => Cause::NotMounted,
        GapReason::ForeignLink => Cause::ForeignLink,
        GapReason::Hung => Cause::Hung,
        GapReason::SpecialFile => Cause::SpecialFile,
        GapReason::TooLarge => Cause::TooManyEntries,
        GapReason::Deadline | GapReason::Cancelled | GapReason::OverBudget => Cause::NotExamined,
        GapReason::Vanished
        | GapReason::ProcessEnded
        | GapReason::Shrank
        | GapReason::ReadFailed
        | GapReason::Crashed
        | GapReason::Retention
        | GapReason::RateLimited
        | GapReason::Unreachable
        | GapReason::Malformed
        | GapReason::Unauthenticated
        | GapReason::Refused => Cause::Failed {
            error: object
                .errno
                .map_or_else(|| object.reason.as_str().to_owned(), errno_text),
        },
    }
}

fn is_about_processes(path: &[u8]) -> bool {
    path == PROCFS || path.starts_with(b"/proc/")
}

fn denied(object: &MissingObject<'_>, privileges: &Privileges, settings: &HostSettings) -> Cause {
    let path = object.path;
    if path == b"/proc/1" && settings.hidepid.is_some() {
        return Cause::HiddenProcesses;
    }
    // proc_sys_permission compares users only, and the ring buffer's EPERM is not about its mode
    let is_setting = path.starts_with(SETTINGS);
    if is_setting && privileges.uid != ROOT {
        return Cause::NotRoot;
    }
    let lacking: Vec<Capability> = needed(path, object.errno)
        .iter()
        .copied()
        .filter(|capability| !privileges.holds(*capability))
        .collect();
    if !lacking.is_empty() && !is_setting {
        return Cause::CapabilitiesMissing {
            capabilities: lacking,
        };
    }
    if privileges.in_user_namespace {
        Cause::UserNamespace
    } else if is_setting && object.errno == Some(Errno::PERM) {
        // proc_dointvec_minmax_bpf_restricted
        Cause::AdministratorSetting
    } else if path == RING_BUFFER {
        Cause::DeviceNotAllowed
    } else if let Some(label) = &privileges.confined_as {
        Cause::SecurityModule {
            label: label.clone(),
        }
    } else if is_about_processes(path) && !is_setting {
        Cause::ProcessProtected
    } else {
        Cause::FileSystemRefuses
    }
}

/// The capabilities that let any process read `path`.
fn needed(path: &[u8], errno: Option<Errno>) -> &'static [Capability] {
    let is_of_process = path.starts_with(b"/proc/")
        && path[b"/proc/".len()..]
            .first()
            .is_some_and(|&b| b.is_ascii_digit() || b == b'*');
    if path == RING_BUFFER && errno != Some(Errno::ACCESS) {
        &[Capability::Syslog]
    } else if is_of_process && OWNERS_ONLY.iter().any(|name| path.ends_with(name)) {
        &[Capability::DacReadSearch, Capability::SysPtrace]
    } else if is_of_process || path == PROCFS {
        &[Capability::SysPtrace]
    } else {
        &[Capability::DacReadSearch]
    }
}

impl Cause {
    /// For people.
    pub(super) fn why(&self, settings: &HostSettings) -> String {
        match self {
            Self::CapabilitiesMissing { capabilities } => {
                let names: Vec<_> = capabilities.iter().map(|known| known.name()).collect();
                let verb = if names.len() == 1 { "is" } else { "are" };
                let setting = match settings.dmesg_restrict {
                    Some(1..) if capabilities.contains(&Capability::Syslog) => {
                        " (kernel.dmesg_restrict is 1)"
                    }
                    Some(_) | None => "",
                };
                format!("{} {verb} missing{setting}", names.join(" and "))
            }
            Self::NotRoot => "only uid 0 may read these settings, whatever its capabilities".into(),
            Self::AdministratorSetting => {
                "the kernel shows these settings only with CAP_SYS_ADMIN".into()
            }
            Self::HiddenProcesses => format!(
                "procfs is mounted with {}: other users' processes are not even listed",
                settings.hidepid.as_deref().unwrap_or("hidepid")
            ),
            Self::UserNamespace => {
                "the capabilities hold in a user namespace only, not for the host".into()
            }
            Self::SecurityModule { label } => {
                format!(
                    "the capabilities are there, but a security module confines this process ({label})"
                )
            }
            Self::DeviceNotAllowed => "the container may not open this device".into(),
            Self::ProcessProtected => {
                "the capabilities are there, but the kernel does not show these processes".into()
            }
            Self::FileSystemRefuses => {
                "the capabilities are there, but the file system refuses (NFS and FUSE do)".into()
            }
            Self::NoProcfs => "no procfs is mounted at /proc of the examined root".into(),
            Self::NotMounted => {
                "every system has this, but it is not below the examined root".into()
            }
            Self::ContainerOnly => {
                "this is a container: processes and files of its host are not seen at all".into()
            }
            Self::Sandboxed => "the sandbox of the unit replaces this path: it looks empty".into(),
            Self::ForeignLink => {
                "links of accounts that may not read the target themselves are not followed".into()
            }
            Self::Hung => "reading does not return: a dead mount?".into(),
            Self::SpecialFile => "a FIFO, socket or device is where a file is expected".into(),
            Self::TooManyEntries => {
                "more entries than a capture takes: the oldest are left out".into()
            }
            Self::NotExamined => "not examined: the time was over before".into(),
            Self::Failed { error } => format!("reading failed: {error}"),
        }
    }

    pub(super) fn remedy(&self, settings: &HostSettings) -> Remedy {
        match self {
            Self::CapabilitiesMissing { capabilities } => grant(capabilities),
            Self::NotRoot => lines(&["User=root"], &["securityContext: {runAsUser: 0}"]),
            Self::AdministratorSetting => {
                words("nothing: with that capability the agent could change the whole host")
            }
            Self::HiddenProcesses => Remedy {
                otherwise: format!(
                    "or run it with the group of the procfs option gid= ({})",
                    settings.hidepid.as_deref().unwrap_or("hidepid")
                ),
                ..lines(
                    &[
                        "ProtectProc=default",
                        "AmbientCapabilities=CAP_SYS_PTRACE",
                        "CapabilityBoundingSet=CAP_SYS_PTRACE",
                    ],
                    &["securityContext: {capabilities: {add: [SYS_PTRACE]}}"],
                )
            },
            Self::UserNamespace => lines(&["PrivateUsers=no"], &["hostUsers: true"]),
            Self::SecurityModule { label } if label.contains(':') => Remedy {
                otherwise: "`ausearch -m AVC -c exhibit-agent` shows what was refused".into(),
                ..lines(&[], &["securityContext: {seLinuxOptions: {type: spc_t}}"])
            },
            Self::SecurityModule { .. } => Remedy {
                otherwise: "the kernel's log shows what was refused (apparmor=\"DENIED\")".into(),
                ..lines(
                    &[],
                    &["securityContext: {appArmorProfile: {type: Unconfined}}"],
                )
            },
            Self::DeviceNotAllowed => Remedy {
                otherwise: "only a privileged container may open it; the journal or \
                            /var/log/kern.log has most of its messages"
                    .into(),
                ..lines(&["DeviceAllow=/dev/kmsg r", "ProtectKernelLogs=no"], &[])
            },
            Self::ProcessProtected => {
                words("nothing: a hypervisor or a hardened kernel protects them, even from root")
            }
            Self::FileSystemRefuses => words(
                "read it on the server that exports it (NFS), or mount it with allow_other (FUSE)",
            ),
            Self::NoProcfs | Self::NotMounted => Remedy {
                otherwise: "mount the host's / with all that is mounted below it, as \
                            `docker run -v /:/host:ro` does"
                    .into(),
                ..lines(
                    &[],
                    &[
                        "volumes: [{name: host, hostPath: {path: /}}]",
                        "volumeMounts: [{name: host, mountPath: /host, readOnly: true, mountPropagation: HostToContainer}]",
                    ],
                )
            },
            Self::ContainerOnly => Remedy {
                otherwise: "pass --root /host, where the host's / is mounted; with Docker: \
                            --pid host -v /:/host:ro"
                    .into(),
                ..lines(
                    &[],
                    &[
                        "hostPID: true",
                        "volumes: [{name: host, hostPath: {path: /}}]",
                    ],
                )
            },
            Self::Sandboxed => lines(&["ProtectHome=read-only", "PrivateTmp=no"], &[]),
            Self::ForeignLink => words("let root own the link, or name its target in agent.toml"),
            Self::Hung => words("unmount it, or mend the server behind it"),
            Self::SpecialFile => words("nothing, unless a file should be there"),
            Self::TooManyEntries => words("clean the folder up, if its old entries matter"),
            Self::NotExamined => words("run it again with a longer --deadline"),
            Self::Failed { .. } => words("look at the disk and the kernel's log"),
        }
    }
}

fn grant(capabilities: &[Capability]) -> Remedy {
    let names: Vec<_> = capabilities.iter().map(|known| known.name()).collect();
    let short: Vec<_> = names.iter().map(|name| &name["CAP_".len()..]).collect();
    Remedy {
        systemd: vec![
            format!("AmbientCapabilities={}", names.join(" ")),
            format!("CapabilityBoundingSet={}", names.join(" ")),
        ],
        kubernetes: vec![format!(
            "securityContext: {{capabilities: {{add: [{}]}}}}",
            short.join(", ")
        )],
        otherwise: "or run it as root".into(),
    }
}

fn lines(systemd: &[&str], kubernetes: &[&str]) -> Remedy {
    let owned = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
    Remedy {
        systemd: owned(systemd),
        kubernetes: owned(kubernetes),
        otherwise: String::new(),
    }
}

fn words(text: &str) -> Remedy {
    Remedy {
        otherwise: text.to_owned(),
        ..Remedy::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(path: &str, errno: Errno, privileges: &Privileges, hidepid: Option<&str>) -> Cause {
        let object = MissingObject {
            reason: GapReason::PermissionDenied,
            path: path.as_bytes(),
            errno: Some(errno),
            count: 1,
        };
        let settings = HostSettings {
            hidepid: hidepid.map(str::to_owned),
            ..HostSettings::default()
        };
        of(&object, privileges, &settings)
    }

    fn privileges(uid: u32, held: &[Capability]) -> Privileges {
        Privileges {
            uid,
            held: held.to_vec(),
            lacking: Vec::new(),
            in_user_namespace: false,
            confined_as: None,
        }
    }

    fn missing(capabilities: &[Capability]) -> Cause {
        Cause::CapabilitiesMissing {
            capabilities: capabilities.to_vec(),
        }
    }

    #[test]
    fn refusal_names_the_capabilities_that_are_missing() {
        use Capability::{DacReadSearch, SysPtrace, Syslog};
        let (none, all) = (privileges(7, &[]), privileges(7, &Capability::ALL));
        let reads_files = privileges(7, &[DacReadSearch]);
        for (path, errno, held, expected) in [
            (
                "/proc/1/fd",
                Errno::ACCESS,
                &none,
                missing(&[DacReadSearch, SysPtrace]),
            ),
            (
                "/proc/1/fd",
                Errno::ACCESS,
                &reads_files,
                missing(&[SysPtrace]),
            ),
            (
                "/proc/1/task/5/maps",
                Errno::ACCESS,
                &none,
                missing(&[SysPtrace]),
            ),
            (
                "/var/log/auth.log",
                Errno::ACCESS,
                &none,
                missing(&[DacReadSearch]),
            ),
            ("/dev/kmsg", Errno::PERM, &none, missing(&[Syslog])),
            ("/dev/kmsg", Errno::ACCESS, &none, missing(&[DacReadSearch])),
            ("/dev/kmsg", Errno::PERM, &all, Cause::DeviceNotAllowed),
            (
                "/proc/sys/kernel/cad_pid",
                Errno::ACCESS,
                &all,
                Cause::NotRoot,
            ),
            ("/mnt/nfs/x", Errno::ACCESS, &all, Cause::FileSystemRefuses),
            ("/proc/1/maps", Errno::ACCESS, &all, Cause::ProcessProtected),
            (
                "/proc/sys/net/core/bpf_jit_limit",
                Errno::PERM,
                &privileges(0, &Capability::ALL),
                Cause::AdministratorSetting,
            ),
        ] {
            assert_eq!(cause(path, errno, held, None), expected, "{path}");
        }
        assert_eq!(
            cause("/proc/1", Errno::ACCESS, &none, Some("hidepid=2")),
            Cause::HiddenProcesses
        );
    }

    #[test]
    fn refusal_in_spite_of_the_capabilities_names_who_refuses() {
        let all = privileges(0, &Capability::ALL);
        let confined = Privileges {
            confined_as: Some("docker-default (enforce)".to_owned()),
            ..all.clone()
        };
        let label = confined.confined_as.clone().expect("just set");
        assert_eq!(
            cause("/proc/1/maps", Errno::ACCESS, &confined, None),
            Cause::SecurityModule { label }
        );
        let nested = Privileges {
            in_user_namespace: true,
            ..confined
        };
        for path in ["/proc/1/maps", "/proc/sys/kernel/cad_pid", "/etc/shadow"] {
            assert_eq!(
                cause(path, Errno::ACCESS, &nested, None),
                Cause::UserNamespace
            );
        }
    }
}
