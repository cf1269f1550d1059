//! Threads that `/proc/PID` does not show.
//!
//! `/proc/PID` is what the first thread of a process has. Another thread may have namespaces and
//! descriptors of its own (unshare(2)). If the first thread has ended, nearly nothing is left in
//! `/proc/PID`, although the process is still running.

use std::collections::HashSet;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::request::is_process_number;
use super::root::READ_FLAGS;
use crate::os::share_descriptors;

/// Why a thread is to be read by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThreadDifference {
    /// The first thread has ended, and this one lives.
    LeaderEnded,
    Namespaces,
    Descriptors,
}

/// In a list of threads: the process is still running, without its first thread.
pub(crate) const LEADER_ENDED: &str = "leader ended";
/// Namespaces in which a thread can hide sockets and files.
const NAMESPACES: &[&str] = &["net", "mnt"];
/// Where the kernel does not say whether threads share their descriptors: descriptors whose targets
/// are compared for one process, over all its threads, which takes a fraction of a second. Of
/// processes with more, only the numbers are compared, and the caller is told.
const TARGETS_MAX: usize = 128 * 1024;
/// Links to a folder that has no subfolder: its name and `.`.
const OWN_LINKS: u64 = 2;

impl ThreadDifference {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::LeaderEnded => LEADER_ENDED,
            Self::Namespaces => "namespaces",
            Self::Descriptors => "descriptors",
        }
    }
}

/// The threads of a process besides the first, if it has any.
pub(super) fn other_threads(proc: impl AsFd, process: &str) -> Vec<String> {
    let task = format!("{process}/task");
    // The number of links is that of the threads, which saves listing them all.
    let links = rustix::fs::statat(&proc, &task, AtFlags::empty()).map(|stat| stat.st_nlink);
    if links.is_ok_and(|links| links <= OWN_LINKS + 1) {
        return Vec::new();
    }
    let mut threads = names(&proc, &task);
    threads.retain(|thread| thread != process);
    threads
}

/// What was found out about the threads of a process.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ComparedThreads {
    /// Those that differ from what `/proc/PID` shows: those that differ in the same way once.
    pub(super) differing: Vec<(String, ThreadDifference)>,
    /// Not all descriptors could be compared: there are too many, and the kernel does not help.
    pub(super) is_partial: bool,
}

/// Compares the threads of `process` with what `/proc/PID` shows.
///
/// `progress` is called for each thread, since a process may have thousands.
///
/// # Errors
/// Those of `progress`.
pub(super) fn differing_threads<E>(
    proc: impl AsFd,
    process: &str,
    progress: &mut dyn FnMut() -> Result<(), E>,
) -> Result<ComparedThreads, E> {
    let threads = other_threads(&proc, process);
    if threads.is_empty() {
        return Ok(ComparedThreads::default());
    }
    let path = |thread: &str| format!("{process}/task/{thread}");
    let mut found = Vec::new();
    let mut reference = process.to_owned();
    if has_ended(&proc, process) {
        let living = threads
            .iter()
            .find(|thread| !has_ended(&proc, &path(thread)));
        let Some(living) = living else {
            return Ok(ComparedThreads::default());
        };
        reference = path(living);
        found.push((reference.clone(), ThreadDifference::LeaderEnded));
    }
    let mut seen = HashSet::from([namespaces(&proc, &reference)]);
    let descriptors = names(&proc, &format!("{reference}/fd"));
    let is_few = descriptors.len().saturating_mul(threads.len()) <= TARGETS_MAX;
    let mut seen_descriptors = HashSet::new();
    let (can_ask, mut is_partial) = (is_our_procfs(&proc), false);
    for thread in threads.iter().map(|thread| path(thread)) {
        progress()?;
        if thread == reference || has_ended(&proc, &thread) {
            continue;
        }
        if seen.insert(namespaces(&proc, &thread)) {
            found.push((thread, ThreadDifference::Namespaces));
            continue;
        }
        let is_shared = if can_ask {
            share_descriptors(number_of(&reference), number_of(&thread))
        } else {
            None
        };
        if is_shared == Some(true) {
            continue;
        }
        let with_targets = is_few || is_shared == Some(false);
        is_partial |= !with_targets;
        if seen_descriptors.is_empty() {
            seen_descriptors.insert(descriptors_of(&proc, &reference, with_targets));
        }
        if seen_descriptors.insert(descriptors_of(&proc, &thread, with_targets)) {
            found.push((thread, ThreadDifference::Descriptors));
        }
    }
    Ok(ComparedThreads {
        differing: found,
        is_partial,
    })
}

/// True if the numbers in this procfs are those by which the kernel knows processes when we ask. Below
/// a root that is not `/`, they may be those of a container.
fn is_our_procfs(proc: impl AsFd) -> bool {
    let own = rustix::fs::readlinkat(proc, "self", Vec::new());
    let own = own.ok().and_then(|own| own.into_string().ok());
    own.and_then(|own| own.parse().ok()) == Some(std::process::id())
}

/// The number of the thread in `812` or `812/task/815`; 0, which no thread has, if it is none.
fn number_of(task: &str) -> i32 {
    let last = task.rsplit('/').next().unwrap_or_default();
    last.parse().unwrap_or(0)
}

/// True if the process or thread is a zombie, or gone.
fn has_ended(proc: impl AsFd, task: &str) -> bool {
    let Ok(stat) = rustix::fs::openat(proc, format!("{task}/stat"), READ_FLAGS, Mode::empty())
    else {
        return true;
    };
    let mut buffer = [0; 512];
    let got = rustix::io::read(&stat, &mut buffer).unwrap_or(0);
    // the state follows the name, which may have any characters, in parentheses
    let state = buffer[..got].rsplit(|&b| b == b')').next();
    !matches!(state, Some([b' ', state, ..]) if !b"ZX".contains(state))
}

fn namespaces(proc: impl AsFd, task: &str) -> Vec<Result<Vec<u8>, Errno>> {
    let link = |kind: &&str| {
        let path = format!("{task}/ns/{kind}");
        rustix::fs::readlinkat(&proc, path, Vec::new()).map(std::ffi::CString::into_bytes)
    };
    NAMESPACES.iter().map(link).collect()
}

/// The numbers of the descriptors, with what each leads to if `with_targets`.
fn descriptors_of(proc: impl AsFd, task: &str, mut with_targets: bool) -> Vec<(String, Vec<u8>)> {
    let folder = format!("{task}/fd");
    let mut numbers = names(&proc, &folder);
    numbers.sort();
    let mut descriptors = Vec::with_capacity(numbers.len());
    for number in numbers {
        let mut target = Vec::new();
        if with_targets {
            match rustix::fs::readlinkat(&proc, format!("{folder}/{number}"), Vec::new()) {
                Ok(found) => target = found.into_bytes(),
                // who may not read one of them may read none
                Err(Errno::ACCESS | Errno::PERM) => with_targets = false,
                Err(_) => {} // closed meanwhile
            }
        }
        descriptors.push((number, target));
    }
    descriptors
}

/// The numbers in a folder of procfs; none if it cannot be listed.
fn names(proc: impl AsFd, path: &str) -> Vec<String> {
    let flags = READ_FLAGS | OFlags::DIRECTORY;
    let Ok(folder): Result<OwnedFd, Errno> = rustix::fs::openat(proc, path, flags, Mode::empty())
    else {
        return Vec::new();
    };
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&folder, &mut buffer);
    let mut names = Vec::new();
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name().to_str().ok();
        let number = name.filter(|name| is_process_number(name));
        names.extend(number.map(str::to_owned));
    }
    names
}
