//! Places where reading hung, which are not touched again.
//!
//! A place is a device: everything on a dead mount hangs, and nothing else does. The text of a path
//! does not tell the device. A link may lead to another one, and the path of an executable is one of
//! the process's own mount namespace.
//!
//! One object that hangs does not yet make its device a dead one: a broken sector or a huge folder
//! of a slow disk hangs alone. A device is given up if its file system does not answer either
//! (statfs(2), which a dead server or FUSE program leaves unanswered), or once several of its
//! objects have hung, since each of them costs a wait.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::{split_path, task_of};

/// Major and minor number.
type Device = (u32, u32);

/// File systems that the kernel provides itself. One of their files can hang while the others are
/// readable, such as `environ` of a process whose memory is locked.
const KERNEL_FILE_SYSTEMS: &[&[u8]] = &[
    b"autofs",
    b"bpf",
    b"cgroup",
    b"cgroup2",
    b"configfs",
    b"debugfs",
    b"devpts",
    b"devtmpfs",
    b"efivarfs",
    b"mqueue",
    b"proc",
    b"pstore",
    b"ramfs",
    b"securityfs",
    b"sysfs",
    b"tmpfs",
    b"tracefs",
];
/// Files of a process that are read from its memory.
const MEMORY_FILES: &[&[u8]] = &[b"cmdline", b"environ", b"maps"];
/// Objects of a device that hang, at which it is given up although its file system answers.
const OBJECTS_HUNG_MAX: u32 = 3;
/// Bytes read of a list of mounts: that of a host with 10,000 containers has about 2 MB.
const MOUNTS_BYTES_MAX: usize = 16 << 20;

/// The mounts of one mount namespace.
#[derive(Debug, Clone, Default)]
pub(crate) struct MountTable(Vec<Mount>);

#[derive(Debug, Clone)]
struct Mount {
    point: Vec<u8>,
    device: Device,
    is_of_kernel: bool,
}

impl MountTable {
    /// Reads `/proc/PID/mountinfo`, which the kernel answers without asking a file system. Without
    /// one, nothing is known about mounts.
    pub(crate) fn read(path: &Path) -> Self {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else {
            return Self::default();
        };
        let (mut text, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        while text.len() < MOUNTS_BYTES_MAX {
            match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer)) {
                Ok(0) | Err(_) => break,
                Ok(got) => text.extend_from_slice(&buffer[..got]),
            }
        }
        Self::parse(&text)
    }

    /// Parses the lines of proc_pid_mountinfo(5).
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(text.split(|&b| b == b'\n').filter_map(mount_of).collect())
    }

    /// Keeps the mounts of `devices`, and those that may cover them: on every other path nothing hung,
    /// and this is asked before each file.
    fn keep_those_of(&mut self, devices: &[Device]) {
        let points: Vec<_> = self
            .0
            .iter()
            .filter(|mount| devices.contains(&mount.device))
            .map(|mount| mount.point.clone())
            .collect();
        self.0
            .retain(|mount| points.iter().any(|point| is_below(&mount.point, point)));
    }

    /// The mount that `path` lies on: the one with the longest mount point, and of several at one
    /// point the last, which covers the others.
    fn of(&self, path: &[u8]) -> Option<&Mount> {
        let mounts = self.0.iter().filter(|mount| is_below(path, &mount.point));
        mounts.max_by_key(|mount| mount.point.len())
    }
}

/// Fields 3 and 5 are device and mount point; the file system follows a lone `-`.
fn mount_of(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let point = unescaped(fields.nth(1)?);
    let file_system = fields.skip_while(|field| *field != b"-").nth(1)?;
    Some(Mount {
        // the root is a prefix of every path
        point: if point == b"/" { Vec::new() } else { point },
        device: (major.parse().ok()?, minor.parse().ok()?),
        is_of_kernel: KERNEL_FILE_SYSTEMS.contains(&file_system),
    })
}

/// Replaces the octal escapes of blanks and backslashes, such as `\040`.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<3>().filter(|_| byte == b'\\');
        let code =
            digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    out
}

/// Where reading hung.
#[derive(Debug, Clone, Default)]
pub(super) struct HungPlaces {
    /// Each with all that is below it.
    paths: Vec<Vec<u8>>,
    /// Files in [`KERNEL_FILE_SYSTEMS`]: only these themselves are avoided.
    kernel_files: Vec<Vec<u8>>,
    /// Those that are given up.
    devices: Vec<Device>,
    /// How many objects of each device hung.
    objects: BTreeMap<Device, u32>,
    /// The mounts of our own namespace, when something hung last.
    mounts: MountTable,
    /// The path of the capture's root in our own namespace; empty for `/`.
    root: Vec<u8>,
}

impl HungPlaces {
    /// `root`: the capture's root, absolute, with its links resolved.
    pub(super) fn new(root: &Path) -> Self {
        use std::os::unix::ffi::OsStrExt as _;
        let root = root.as_os_str().as_bytes();
        Self {
            root: root.strip_suffix(b"/").unwrap_or(root).to_vec(),
            ..Self::default()
        }
    }

    /// How many files of [`KERNEL_FILE_SYSTEMS`] hung.
    pub(super) fn kernel_files(&self) -> usize {
        self.kernel_files.len()
    }

    /// True until something hangs.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.kernel_files.is_empty()
    }

    /// Adds the place of `path`, which is below the capture's root. `mounts` are those of our own
    /// namespace; `of_process` those of the process whose executable `path` is, and the path of
    /// that executable there. `answers` is false if the file system at this mount point, which is a
    /// path of the same namespace, does not answer.
    pub(super) fn add(
        &mut self,
        path: Vec<u8>,
        mounts: MountTable,
        of_process: Option<(&MountTable, &[u8])>,
        answers: impl FnOnce(&[u8]) -> bool,
    ) {
        self.mounts = mounts;
        let root_device = self.mounts.of(&self.root).map(|mount| mount.device);
        let mount = match of_process {
            Some((mounts, executable)) => mounts.of(executable),
            None => self.mounts.of(&self.below_root(&path)),
        };
        // the root is never given up as a whole, nor is procfs
        let mount = mount.filter(|it| !it.is_of_kernel && Some(it.device) != root_device);
        if let Some(mount) = mount {
            let hung = self.objects.entry(mount.device).or_default();
            *hung += 1;
            if *hung >= OBJECTS_HUNG_MAX || !answers(&mount.point) {
                self.devices.push(mount.device);
            }
        }
        let is_of_kernel = self.is_of_kernel(&self.mounts, &path);
        self.mounts.keep_those_of(&self.devices);
        if is_of_kernel {
            self.kernel_files.push(path);
        } else {
            self.paths.push(path);
        }
    }

    /// True if `path`, which is below the capture's root, is on a file system of the kernel.
    pub(super) fn is_of_kernel(&self, mounts: &MountTable, path: &[u8]) -> bool {
        let mount = mounts.of(&self.below_root(path));
        mount.is_some_and(|mount| mount.is_of_kernel)
    }

    /// True if `path`, which is below the capture's root, is where something hung.
    pub(super) fn contains(&self, path: &[u8]) -> bool {
        if self.paths.iter().any(|hung| is_below(path, hung))
            || self
                .kernel_files
                .iter()
                .any(|hung| hung == path || are_of_one_memory(hung, path))
        {
            return true;
        }
        let mount = (!self.devices.is_empty()).then(|| self.mounts.of(&self.below_root(path)));
        mount
            .flatten()
            .is_some_and(|mount| self.devices.contains(&mount.device))
    }

    /// True if the executable at `path` in the mount namespace of `mounts` is where something hung.
    pub(super) fn contains_executable(&self, mounts: &MountTable, path: &[u8]) -> bool {
        let mount = mounts.of(path);
        mount.is_some_and(|mount| self.devices.contains(&mount.device))
    }

    fn below_root(&self, path: &[u8]) -> Vec<u8> {
        [&self.root, path].concat()
    }
}

/// True for two files of one process whose reading waits for the same lock of its memory: if one
/// hangs, the other does.
fn are_of_one_memory(one: &[u8], other: &[u8]) -> bool {
    let process = |path| {
        let is_memory = MEMORY_FILES.contains(&split_path(path).1);
        task_of(path).filter(|_| is_memory)
    };
    process(one).is_some_and(|process_of_one| process(other) == Some(process_of_one))
}

/// True if `path` is `folder` or below it.
fn is_below(path: &[u8], folder: &[u8]) -> bool {
    path.starts_with(folder) && matches!(path.get(folder.len()), None | Some(b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"21 1 254:0 / / rw - ext4 /dev/vda rw\n\
        22 21 0:20 / /proc rw,nosuid - proc proc rw\n\
        30 21 0:51 / /home/dead rw shared:3 master:2 - fuse.dead dead rw\n\
        31 21 0:52 / /srv/a\\040b rw - nfs4 server:/x rw\n\
        32 21 0:53 / /srv/a\\040b rw - nfs4 server:/y rw\n";

    fn hung_at(paths: &[&str]) -> HungPlaces {
        let mut hung = HungPlaces::new(Path::new("/"));
        for path in paths {
            let mounts = MountTable::parse(MOUNTS);
            hung.add(path.as_bytes().to_vec(), mounts, None, |_| false);
        }
        hung
    }

    #[test]
    fn slow_objects_cost_their_device_only_once_several_hang() {
        let mut hung = HungPlaces::new(Path::new("/"));
        for number in 1..=3 {
            let path = format!("/home/dead/{number}").into_bytes();
            let is_asked = std::cell::Cell::new(None);
            hung.add(path.clone(), MountTable::parse(MOUNTS), None, |point| {
                is_asked.set(Some(point.to_vec()));
                true
            });
            assert!(hung.contains(&path));
            let others = hung.contains(b"/home/dead/other");
            assert_eq!(others, number == 3, "{number} have hung");
            let point = (number < 3).then(|| b"/home/dead".to_vec());
            assert_eq!(is_asked.into_inner(), point);
        }
        assert!(!hung.contains(b"/home/a"));
    }

    #[test]
    fn dead_mount_costs_itself_alone() {
        let hung = hung_at(&["/home/dead"]);
        assert!(hung.contains(b"/home/dead") && hung.contains(b"/home/dead/.bashrc"));
        for path in ["/home", "/home/a", "/home/deadline", "/home/z", "/"] {
            assert!(!hung.contains(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn file_below_the_root_or_in_procfs_hangs_alone() {
        let hung = hung_at(&["/app", "/proc/7/environ", "/proc", "/proc/9"]);
        assert!(hung.contains(b"/app") && hung.contains(b"/proc/7/environ"));
        for path in ["/etc/passwd", "/proc/7/status", "/proc/8/environ"] {
            assert!(!hung.contains(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn memory_of_a_process_hangs_as_a_whole() {
        let hung = hung_at(&["/proc/7/cmdline"]);
        assert!(hung.contains(b"/proc/7/environ") && hung.contains(b"/proc/7/maps"));
        for path in ["/proc/7/status", "/proc/7/task/9/maps", "/proc/77/maps"] {
            assert!(!hung.contains(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn only_mounts_that_matter_are_kept() {
        let covered = [MOUNTS, b"33 30 0:54 / /home/dead/alive rw - ext4 x rw\n"].concat();
        let mut hung = HungPlaces::new(Path::new("/"));
        let mounts = MountTable::parse(&covered);
        hung.add(b"/home/dead/x".to_vec(), mounts, None, |_| false);
        assert_eq!(hung.mounts.0.len(), 2);
        assert!(hung.contains(b"/home/dead/y") && !hung.contains(b"/home/dead/alive/z"));
    }

    #[test]
    fn everything_on_a_mount_is_one_place_whatever_its_name() {
        let hung = hung_at(&["/srv/a b/x"]);
        assert!(hung.contains(b"/srv/a b/y") && !hung.contains(b"/srv/a"));
        assert_eq!(hung.devices, [(0, 53)], "the mount on top");
    }

    #[test]
    fn executable_is_placed_by_the_mounts_of_its_process() {
        let container = MountTable::parse(b"40 1 0:60 / / rw - fuse.dead dead rw\n");
        let mut hung = HungPlaces::new(Path::new("/"));
        let exe = b"/proc/9/exe".to_vec();
        hung.add(
            exe,
            MountTable::parse(MOUNTS),
            Some((&container, b"/usr/bin/app")),
            |_| false,
        );
        assert!(hung.contains(b"/proc/9/exe") && !hung.contains(b"/usr/bin/bash"));
        assert!(hung.contains_executable(&container, b"/bin/other"));
        assert!(!hung.contains_executable(&MountTable::parse(MOUNTS), b"/usr/bin/app"));
    }

    #[test]
    fn paths_below_another_root_are_found_in_our_mounts() {
        let mut hung = HungPlaces::new(Path::new("/srv/a b"));
        let mounts = || MountTable::parse(MOUNTS);
        hung.add(b"/etc/x".to_vec(), mounts(), None, |_| false);
        assert!(
            hung.contains(b"/etc/x") && !hung.contains(b"/etc/y"),
            "the root itself"
        );
        let mut hung = HungPlaces::new(Path::new("/home"));
        hung.add(b"/dead/x".to_vec(), mounts(), None, |_| false);
        assert!(hung.contains(b"/dead/y") && !hung.contains(b"/a"));
    }
}
