//! The root that a capture reads below, and how paths lead to objects inside of it.
//!
//! Nothing outside is ever reached, whatever links a hostile root holds: `..` and absolute links
//! stop at the root. Folders are opened by openat2(2) with `RESOLVE_IN_ROOT`. Where the kernel
//! (before 5.6) or a container's filter (ENOSYS, EPERM) has no such call,
//! [`CaptureRoot::walk_to_folder`] opens one name at a time and resolves each link itself. It also
//! does where a link is on the way, since it matters whose link that is, and after something hung,
//! so that a dead mount is not entered again.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::facts::FileFacts;
use super::request::ReadStop;
use super::within;

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

/// `path` with its links resolved; without, if that does not answer in time.
///
/// Mount points are known by resolved paths, and a bundle should name the folder that was read.
pub(super) fn resolved(path: &Path, patience: Duration) -> PathBuf {
    let given = path.to_owned();
    // the root may be on a dead mount
    let answer = within(patience, || std::fs::canonicalize(given));
    let resolved = answer.ok().flatten().and_then(Result::ok);
    resolved.unwrap_or_else(|| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

/// Bits of a mode that let accounts which are neither owner nor in the group enter or read.
const ENTER_OTHERS: u32 = 0o001;
const READ_OTHERS: u32 = 0o004;
const WRITE_GROUP: u32 = 0o020;
const WRITE_OTHERS: u32 = 0o002;
/// The account that may read everything anyway.
const ROOT_UID: u32 = 0;
/// No account (`(uid_t) -1`, chown(2)).
const NOBODY: u32 = u32::MAX;
/// linux/magic.h.
const FUSE_SUPER_MAGIC: rustix::fs::FsWord = 0x6573_5546;

/// The root; see the module.
pub(super) struct CaptureRoot {
    top: Rc<OwnedFd>,
    without_openat2: Cell<bool>,
}

/// Decides what may be touched on the way to an object, and whether it is walked step by step.
pub(super) trait EnterGuard {
    /// True if folders must be entered one by one.
    fn is_careful(&self) -> bool;

    /// Called before `path`, whose links are resolved, is entered or examined.
    ///
    /// # Errors
    /// It must not be touched.
    fn enter(&mut self, path: &[u8]) -> Result<(), ReadStop>;
}

/// A folder, and the owners of the links that led to it.
struct OpenFolder {
    folder: Rc<OwnedFd>,
    link_owners: Vec<u32>,
    /// Its path below the root, links and `..` resolved.
    place: Vec<u8>,
}

/// An object: its name in an open folder. It stays the same object if folders above it are renamed.
/// One in `/proc/PID` stays with that process, even if another process gets the number.
pub(super) struct ObjectHandle {
    pub(crate) folder: Rc<OwnedFd>,
    pub(crate) name: Vec<u8>,
    pub(crate) facts: FileFacts,
    /// Owners of the links that led to it.
    pub(crate) link_owners: Vec<u32>,
    /// Its path below the root, links and `..` resolved.
    place: Vec<u8>,
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
    fn folder(&self, path: &[u8], guard: &mut dyn EnterGuard) -> Result<OpenFolder, ReadStop> {
        // `..` after a link leads elsewhere than the text says
        let is_plain = names_of(path).all(|name| name != b"..");
        if self.without_openat2.get() || guard.is_careful() || !is_plain {
            return self.walk_to_folder(path, guard);
        }
        guard.enter(path)?;
        // openat2 rejects an empty path, which here means the root.
        let path_in = if path.is_empty() { b"/" } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(&*self.top, path_in, FOLDER_FLAGS, Mode::empty(), resolve) {
            Ok(folder) => Ok(OpenFolder {
                folder: Rc::new(folder),
                link_owners: Vec::new(),
                place: path.strip_suffix(b"/").unwrap_or(path).to_vec(),
            }),
            Err(Errno::LOOP) => self.walk_to_folder(path, guard),
            Err(Errno::NOSYS | Errno::PERM) => {
                // Remembered: a filter does not change while we run.
                self.without_openat2.set(true);
                self.walk_to_folder(path, guard)
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn walk_to_folder(
        &self,
        path: &[u8],
        guard: &mut dyn EnterGuard,
    ) -> Result<OpenFolder, ReadStop> {
        // the folders above, and where the path of each ends in `here`
        let mut above = vec![(Rc::clone(&self.top), 0)];
        let mut here = Vec::new();
        let mut names: VecDeque<Vec<u8>> = names_of(path).collect();
        let mut link_owners = Vec::new();
        while let Some(name) = names.pop_front() {
            if name == b".." {
                above.truncate((above.len() - 1).max(1));
                here.truncate(above[above.len() - 1].1);
                continue;
            }
            let folder = Rc::clone(&above[above.len() - 1].0);
            here.push(b'/');
            here.extend_from_slice(&name);
            guard.enter(&here)?;
            let facts = facts_at(&*folder, &name)?;
            if facts.kind() == FileType::Symlink {
                link_owners.push(owner_of_link(&folder, &facts));
                let target = rustix::fs::readlinkat(&*folder, &name, Vec::new())?.into_bytes();
                if target.first() == Some(&b'/') {
                    above.truncate(1); // an absolute link begins at the root, not at the machine's
                }
                here.truncate(above[above.len() - 1].1);
                names_of(&target)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                    .for_each(|name| names.push_front(name));
            } else {
                let flags = FOLDER_FLAGS | OFlags::NOFOLLOW;
                let entered = rustix::fs::openat(&*folder, &name, flags, Mode::empty())?;
                above.push((Rc::new(entered), here.len()));
            }
            // Links may lead in circles, and each open folder takes a descriptor.
            if link_owners.len() > LINKS_MAX || above.len() > DEPTH_MAX || names.len() > DEPTH_MAX {
                return Err(Errno::LOOP.into());
            }
        }
        Ok(OpenFolder {
            folder: above.swap_remove(above.len() - 1).0,
            link_owners,
            place: here,
        })
    }

    /// True if every account may enter `folder` and all folders above it, up to the root.
    fn is_open_to_everybody(&self, folder: &OwnedFd) -> bool {
        // the mode of the root itself is that of a mount point where an image was examined
        let Ok(top) = facts_of(&*self.top) else {
            return false;
        };
        self.climb(folder, &mut |facts| {
            facts.mode & ENTER_OTHERS != 0 || facts.is_same_file(&top)
        })
    }

    /// Calls `visit` with `folder` and each folder above it, up to the root, until it returns false.
    /// True if the root was reached.
    fn climb(&self, folder: &OwnedFd, visit: &mut dyn FnMut(&FileFacts) -> bool) -> bool {
        let Ok(top) = facts_of(&*self.top) else {
            return false;
        };
        let mut here = folder.try_clone().ok();
        for _ in 0..DEPTH_MAX {
            let Some(folder) = here else { return false };
            match facts_of(&folder) {
                Ok(facts) if !visit(&facts) => return false,
                Ok(facts) if facts.is_same_file(&top) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
            here = rustix::fs::openat(&folder, "..", FOLDER_FLAGS, Mode::empty()).ok();
        }
        false
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

/// Who answers for a link. A FUSE file system may claim any owner, and any account may mount one. It
/// may also refuse to say what it is.
fn owner_of_link(folder: impl AsFd, link: &FileFacts) -> u32 {
    let is_other = rustix::fs::fstatfs(folder).is_ok_and(|stat| stat.f_type != FUSE_SUPER_MAGIC);
    if is_other { link.uid } else { NOBODY }
}

/// True if an account that is neither root nor the file's owner, and not in its group, may make names
/// in `folder`: with
/// `fs.protected_hardlinks` off, names for files that it may not read.
fn may_be_named_by_others(folder: &FileFacts, file: &FileFacts) -> bool {
    let is_own = folder.uid == ROOT_UID || folder.uid == file.uid;
    let by_group = folder.mode & WRITE_GROUP != 0 && folder.gid != file.gid;
    !is_own || by_group || folder.mode & WRITE_OTHERS != 0
}

/// The path of an object's folder, and the name in it.
pub(crate) fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
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
    opened: OpenFolder,
    is_procfs: bool,
}

impl ObjectFinder {
    pub(super) fn new(root: CaptureRoot) -> Self {
        Self { root, last: None }
    }

    /// The object at `path`, which may be a link.
    pub(super) fn find(
        &mut self,
        path: &[u8],
        guard: &mut dyn EnterGuard,
    ) -> Result<ObjectHandle, ReadStop> {
        let (folder_path, name) = split_path(path);
        let opened = &self.cached_folder(folder_path, guard)?.opened;
        // The root has no name in a folder above it.
        let name = if name.is_empty() { b"." } else { name };
        let place = [&opened.place, &b"/"[..], name].concat();
        guard.enter(&place)?;
        let facts = facts_at(&*opened.folder, name)?;
        Ok(ObjectHandle {
            folder: Rc::clone(&opened.folder),
            name: name.to_vec(),
            facts,
            link_owners: opened.link_owners.clone(),
            place,
        })
    }

    /// The object that `path` leads to, all links followed.
    pub(super) fn follow(
        &mut self,
        path: &[u8],
        guard: &mut dyn EnterGuard,
    ) -> Result<ObjectHandle, ReadStop> {
        let mut path = path.to_vec();
        let mut owners = Vec::new();
        for _ in 0..LINKS_MAX {
            let mut object = self.find(&path, guard)?;
            owners.append(&mut object.link_owners);
            if object.facts.kind() != FileType::Symlink {
                object.link_owners = owners;
                return Ok(object);
            }
            owners.push(owner_of_link(&object.folder, &object.facts));
            let target =
                rustix::fs::readlinkat(&*object.folder, &object.name, Vec::new())?.into_bytes();
            if target.first() == Some(&b'/') {
                path = target;
            } else {
                path = [split_path(&object.place).0, b"/", &target].concat();
            }
        }
        Err(Errno::LOOP.into())
    }

    /// True unless somebody who could not read the object has made one of the names on the way: a
    /// symbolic link, or a second name for the file itself. `facts` are those of the open object.
    pub(super) fn may_read(&self, object: &ObjectHandle, facts: &FileFacts) -> bool {
        if facts.is_regular() && facts.names > 1 && facts.mode & READ_OTHERS == 0 {
            let folder = facts_of(&*object.folder);
            if folder.map_or(true, |folder| may_be_named_by_others(&folder, facts)) {
                return false;
            }
        }
        let is_own = |owner: &u32| *owner == ROOT_UID || *owner == facts.uid;
        // procfs lets each reader see what it may, whatever the mode says
        let is_procfs =
            rustix::fs::fstatfs(&*object.folder).is_ok_and(|stat| stat.f_type == PROC_SUPER_MAGIC);
        object.link_owners.iter().all(is_own)
            || !is_procfs
                && facts.mode & READ_OTHERS != 0
                && self.root.is_open_to_everybody(&object.folder)
    }

    /// True if `folder` is the folder that `facts` describe, or below it.
    pub(super) fn is_in(&self, folder: &OwnedFd, facts: &FileFacts) -> bool {
        let mut is_in = false;
        self.root.climb(folder, &mut |above| {
            is_in |= above.is_same_file(facts);
            !is_in
        });
        is_in
    }

    /// The target of the link `path`. In procfs it need not be a path: `socket:[99]`.
    pub(super) fn read_link(
        &mut self,
        path: &[u8],
        guard: &mut dyn EnterGuard,
    ) -> Result<Vec<u8>, ReadStop> {
        let (folder_path, name) = split_path(path);
        let folder = &self.cached_folder(folder_path, guard)?.opened.folder;
        Ok(rustix::fs::readlinkat(&**folder, name, Vec::new()).map(CString::into_bytes)?)
    }

    /// Opens `path` if it is in procfs itself: not a link, and not mounted over. Its type need not
    /// be checked before, since procfs has only files and folders there, which saves half the time
    /// of reading a small one.
    pub(super) fn open_in_procfs(
        &mut self,
        path: &[u8],
        flags: OFlags,
        guard: &mut dyn EnterGuard,
    ) -> Option<OwnedFd> {
        // Without openat2 nothing keeps a mount or a link from leading out of procfs.
        if self.root.without_openat2.get() {
            return None;
        }
        let (folder_path, name) = split_path(path);
        let last = self.cached_folder(folder_path, guard).ok()?;
        let place = [&last.opened.place, &b"/"[..], name].concat();
        if !last.is_procfs || guard.enter(&place).is_err() {
            return None;
        }
        let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let folder = &*last.opened.folder;
        rustix::fs::openat2(folder, name, READ_FLAGS | flags, Mode::empty(), stay).ok()
    }

    /// True if `path` is in a folder of procfs.
    pub(super) fn is_procfs(&mut self, path: &[u8], guard: &mut dyn EnterGuard) -> bool {
        self.cached_folder(split_path(path).0, guard)
            .is_ok_and(|last| last.is_procfs)
    }

    fn cached_folder(
        &mut self,
        path: &[u8],
        guard: &mut dyn EnterGuard,
    ) -> Result<&CachedFolder, ReadStop> {
        // Taken out, so that a folder that cannot be opened leaves no stale cache.
        let last = match self.last.take() {
            Some(last) if last.path == path => last,
            _ => {
                let opened = self.root.folder(path, guard)?;
                let is_procfs = rustix::fs::fstatfs(&*opened.folder)
                    .is_ok_and(|stat| stat.f_type == PROC_SUPER_MAGIC);
                CachedFolder {
                    path: path.to_vec(),
                    opened,
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

    /// Lets everything be entered, as before anything hung.
    struct Unguarded;

    impl EnterGuard for Unguarded {
        fn is_careful(&self) -> bool {
            false
        }
        fn enter(&mut self, _: &[u8]) -> Result<(), ReadStop> {
            Ok(())
        }
    }

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
                        .follow(path.as_bytes(), &mut Unguarded)
                        .map(|object| object.facts.size),
                    Ok(6),
                    "{path} {without_openat2}"
                );
            }
            let mut failure = |path: &[u8]| match finder.follow(path, &mut Unguarded) {
                Err(ReadStop::Failed(errno)) => Some(errno),
                Err(_) | Ok(_) => None,
            };
            assert_eq!(failure(b"/var/loop"), Some(Errno::LOOP));
            assert_eq!(failure(b"/var/loop/x"), Some(Errno::LOOP));
            assert_eq!(failure(b"/var/outside"), Some(Errno::NOENT));
        }
    }
}
