//! The root that a capture reads below, and how paths lead to objects inside of it.
//!
//! Nothing outside is ever reached, whatever links a hostile root holds: `..` and absolute links
//! stop at the root. Folders are opened by openat2(2) with `RESOLVE_IN_ROOT`. Where the kernel
//! (before 5.6) or a container's filter (ENOSYS, EPERM) has no such call,
//! [`CaptureRoot::walk_to_folder`] opens one name at a time and resolves each link itself.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::facts::FileFacts;

/// Links followed on the way to one object: as many as Linux does (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// Folders that [`CaptureRoot::walk_to_folder`] holds open, for `..` to return to.
const DEPTH_MAX: usize = 256;
const FOLDER_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Opening never waits for a FIFO's other side, never takes a terminal, never follows a link that
/// replaced the file.
pub(super) const READ_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW);

/// The root; see the module.
pub(super) struct CaptureRoot {
    top: Rc<OwnedFd>,
    without_openat2: Cell<bool>,
}

/// An object: its name in an open folder. It stays the same object if folders above it are renamed.
/// One in `/proc/PID` stays with that process, even if another process gets the number.
pub(super) struct ObjectHandle {
    pub(crate) folder: Rc<OwnedFd>,
    pub(crate) name: Vec<u8>,
    pub(crate) facts: FileFacts,
}

impl CaptureRoot {
    pub(super) fn open(path: &Path) -> Result<Self, Errno> {
        let top = rustix::fs::openat(rustix::fs::CWD, path, FOLDER_FLAGS, Mode::empty())?;
        Ok(Self {
            top: Rc::new(top),
            without_openat2: Cell::new(false),
        })
    }

    /// Opens the folder at `path`, following links inside the root.
    pub(super) fn folder(&self, path: &[u8]) -> Result<Rc<OwnedFd>, Errno> {
        if self.without_openat2.get() {
            return self.walk_to_folder(path);
        }
        // openat2 rejects an empty path, which here means the root.
        let path_in = if path.is_empty() { b"/" } else { path };
        match rustix::fs::openat2(
            &*self.top,
            path_in,
            FOLDER_FLAGS,
            Mode::empty(),
            ResolveFlags::IN_ROOT,
        ) {
            Ok(folder) => Ok(Rc::new(folder)),
            Err(Errno::NOSYS | Errno::PERM) => {
                // Remembered: a filter does not change while we run.
                self.without_openat2.set(true);
                self.walk_to_folder(path)
            }
            Err(errno) => Err(errno),
        }
    }

    fn walk_to_folder(&self, path: &[u8]) -> Result<Rc<OwnedFd>, Errno> {
        let mut above = vec![Rc::clone(&self.top)];
        let mut names: VecDeque<Vec<u8>> = names_of(path).collect();
        let mut links = 0;
        while let Some(name) = names.pop_front() {
            let here = Rc::clone(&above[above.len() - 1]);
            if name == b".." {
                above.truncate((above.len() - 1).max(1));
            } else if facts_at(&*here, &name)?.kind() == FileType::Symlink {
                links += 1;
                let target = rustix::fs::readlinkat(&*here, &name, Vec::new())?.into_bytes();
                if target.first() == Some(&b'/') {
                    above.truncate(1); // an absolute link begins at the root, not at the machine's
                }
                names_of(&target)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                    .for_each(|name| names.push_front(name));
            } else {
                above.push(Rc::new(rustix::fs::openat(
                    &*here,
                    &name,
                    FOLDER_FLAGS | OFlags::NOFOLLOW,
                    Mode::empty(),
                )?));
            }
            // Links may lead in circles, and each open folder takes a descriptor.
            if links > LINKS_MAX || above.len() > DEPTH_MAX || names.len() > DEPTH_MAX {
                return Err(Errno::LOOP);
            }
        }
        Ok(above.swap_remove(above.len() - 1))
    }
}

/// The facts of `name` in `folder`. Does not follow a link, and does not mount an automount point.
pub(super) fn facts_at(folder: impl AsFd, name: &[u8]) -> Result<FileFacts, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    rustix::fs::statx(folder, name, flags, mask).map(|stat| FileFacts::from(&stat))
}

/// The facts of an open file.
pub(super) fn facts_of(file: impl AsFd) -> Result<FileFacts, Errno> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, mask).map(|stat| FileFacts::from(&stat))
}

/// The folder's path and the name in it.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    match path.iter().rposition(|&b| b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn names_of(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|&b| b == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
}

/// Finds objects below a root, and caches the last folder: many requests in a row are for files in
/// one.
pub(super) struct ObjectFinder {
    root: CaptureRoot,
    last: Option<CachedFolder>,
}

struct CachedFolder {
    path: Vec<u8>,
    folder: Rc<OwnedFd>,
    is_procfs: bool,
}

impl ObjectFinder {
    pub(super) fn new(root: CaptureRoot) -> Self {
        Self { root, last: None }
    }

    /// The object at `path`, which may be a link.
    pub(super) fn find(&mut self, path: &[u8]) -> Result<ObjectHandle, Errno> {
        let (folder_path, name) = split(path);
        let folder = self.folder(folder_path)?;
        // The root has no name in a folder above it.
        let name = if name.is_empty() { b"." } else { name };
        let facts = facts_at(&*folder, name)?;
        Ok(ObjectHandle {
            folder,
            name: name.to_vec(),
            facts,
        })
    }

    /// The object that `path` leads to, all links followed.
    pub(super) fn follow(&mut self, path: &[u8]) -> Result<ObjectHandle, Errno> {
        let mut path = path.to_vec();
        for _ in 0..LINKS_MAX {
            let object = self.find(&path)?;
            if object.facts.kind() != FileType::Symlink {
                return Ok(object);
            }
            let target =
                rustix::fs::readlinkat(&*object.folder, &object.name, Vec::new())?.into_bytes();
            if target.first() == Some(&b'/') {
                path = target;
            } else {
                let folder = split(&path).0.len();
                path.truncate(folder);
                path.push(b'/');
                path.extend(target);
            }
        }
        Err(Errno::LOOP)
    }

    /// The target of the link `path`. In procfs it need not be a path: `socket:[99]`.
    pub(super) fn read_link(&mut self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        let (folder_path, name) = split(path);
        let folder = &self.cached_folder(folder_path)?.folder;
        rustix::fs::readlinkat(&**folder, name, Vec::new()).map(CString::into_bytes)
    }

    /// Opens `path` if it is in procfs itself: not a link, and not mounted over. Its type need not
    /// be checked before, since procfs has only files and folders there, which saves half the time
    /// of reading a small one.
    pub(super) fn open_in_procfs(&mut self, path: &[u8], flags: OFlags) -> Option<OwnedFd> {
        // Without openat2 nothing keeps a mount or a link from leading out of procfs.
        if self.root.without_openat2.get() {
            return None;
        }
        let (folder_path, name) = split(path);
        let last = self.cached_folder(folder_path).ok()?;
        if !last.is_procfs {
            return None;
        }
        let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(&*last.folder, name, READ_FLAGS | flags, Mode::empty(), stay).ok()
    }

    /// True if `path` is in a folder of procfs.
    pub(super) fn is_procfs(&mut self, path: &[u8]) -> bool {
        self.cached_folder(split(path).0)
            .is_ok_and(|last| last.is_procfs)
    }

    fn folder(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Errno> {
        self.cached_folder(path).map(|last| Rc::clone(&last.folder))
    }

    fn cached_folder(&mut self, path: &[u8]) -> Result<&CachedFolder, Errno> {
        // Taken out, so that a folder that cannot be opened leaves no stale cache.
        let last = match self.last.take() {
            Some(last) if last.path == path => last,
            _ => {
                let folder = self.root.folder(path)?;
                let is_procfs =
                    rustix::fs::fstatfs(&*folder).is_ok_and(|stat| stat.f_type == PROC_SUPER_MAGIC);
                CachedFolder {
                    path: path.to_vec(),
                    folder,
                    is_procfs,
                }
            }
        };
        Ok(self.last.insert(last))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_inside_the_root_with_and_without_openat2() {
        let root = tempfile::tempdir().expect("a folder");
        let make = |path: &str| fs::create_dir_all(root.path().join(path)).expect("a folder");
        let link =
            |target: &str, path: &str| symlink(target, root.path().join(path)).expect("a link");
        make("etc/a");
        make("var");
        fs::write(root.path().join("etc/a/passwd"), "inside").expect("a file");
        link("/etc/a", "var/absolute");
        link("../../../../etc/a", "var/above");
        link("loop", "var/loop");
        link("/etc/hostname", "var/outside");
        link("../etc/a/passwd", "var/file");
        for without_openat2 in [false, true] {
            let opened = CaptureRoot::open(root.path()).expect("the root");
            opened.without_openat2.set(without_openat2);
            let mut finder = ObjectFinder::new(opened);
            for path in [
                "/etc/a/passwd",
                "/var/absolute/passwd",
                "/var/above/passwd",
                "/var/file",
                "/../var/file",
            ] {
                assert_eq!(
                    finder
                        .follow(path.as_bytes())
                        .map(|object| object.facts.size),
                    Ok(6),
                    "{path} {without_openat2}"
                );
            }
            assert_eq!(finder.follow(b"/var/loop").err(), Some(Errno::LOOP));
            assert_eq!(finder.follow(b"/var/loop/x").err(), Some(Errno::LOOP));
            assert_eq!(finder.follow(b"/var/outside").err(), Some(Errno::NOENT));
        }
    }
}
