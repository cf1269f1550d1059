//! A folder for an attachment that is being made. Its process holds a lock on it, so that others
//! can tell when that process is dead.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use evidence_format::id::IncidentId;
use tracing::warn;

use super::PipelineError;

/// Prefix of these folders.
const PREFIX: &str = "attaching-";
/// Prefix of a folder with input that was read to its end and never sealed.
const PRESERVED_PREFIX: &str = "not-attached-";
/// A stream's bytes until its end is reached.
pub(super) const INPUT: &str = "input.unfinished";
/// The bundle's draft.
const DRAFT: &str = "draft.unfinished";

/// The folder, which is removed on drop.
pub(super) struct ScratchFolder {
    folder: PathBuf,
    /// The folder itself, open and locked.
    lock: File,
}

impl ScratchFolder {
    /// Creates one in `work` for an attachment of `incident`, and removes those of dead processes.
    /// Input of theirs that cannot be read again is preserved, and the log says where.
    pub(super) fn create(work: &Path, incident: &IncidentId) -> Result<Self, PipelineError> {
        fs::create_dir_all(work)
            .and_then(|()| remove_dead(work))
            .map_err(work_folder_failed(work))?;
        loop {
            let random = platform::random_hex::<8>().map_err(work_folder_failed(work))?;
            let folder = work.join(format!("{PREFIX}{incident}-{random}"));
            fs::create_dir(&folder).map_err(work_folder_failed(work))?;
            match try_lock(&folder) {
                Some(lock) => return Ok(Self { folder, lock }),
                // another process removed it as a dead one's before it was locked
                None => continue,
            }
        }
    }

    /// The folder of the bundle's draft.
    pub(super) fn draft(&self) -> PathBuf {
        self.path(DRAFT)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes the names of the files in the folder durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.lock.sync_all()
    }

    /// Moves a stream's bytes out of the folder, if they were read to their end. Returns their
    /// path.
    pub(super) fn preserve_input(&self) -> Option<PathBuf> {
        preserve_input(&self.folder)
    }
}

impl Drop for ScratchFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder); // if it stays, the next process removes it
    }
}

pub(super) fn work_folder_failed(path: &Path) -> impl Fn(io::Error) -> PipelineError {
    move |cause| PipelineError::WorkFolder {
        path: path.to_owned(),
        cause,
    }
}

/// Locks the folder, if nobody holds the lock and the folder still exists.
fn try_lock(folder: &Path) -> Option<File> {
    // The kernel releases it when the process dies, however it dies.
    let lock = File::open(folder).ok()?;
    lock.try_lock().ok()?;
    // A lock on a removed folder succeeds, too, and means nothing.
    folder.exists().then_some(lock)
}

/// Removes the folders of dead processes.
fn remove_dead(work: &Path) -> io::Result<()> {
    for entry in fs::read_dir(work)? {
        let folder = entry?.path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        // Held until the folder is gone, so that no third process takes it over.
        let Some(_lock) = name
            .starts_with(PREFIX)
            .then(|| try_lock(&folder))
            .flatten()
        else {
            continue;
        };
        if let Some(kept) = preserve_input(&folder) {
            warn!(kept = %kept.display(), "a process died before it had attached this; attach it again");
        }
        let _ = fs::remove_dir_all(&folder); // if it stays, the next process removes it
    }
    Ok(())
}

/// See [`ScratchFolder::preserve_input`].
fn preserve_input(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let mut files = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file());
    // input that was read to its end has been renamed
    let input = files.find(|path| path.file_name().is_some_and(|name| name != INPUT))?;
    let name = folder.file_name()?.to_string_lossy();
    let kept = folder.with_file_name(name.replacen(PREFIX, PRESERVED_PREFIX, 1));
    fs::create_dir(&kept).ok()?;
    let path = kept.join(input.file_name()?);
    fs::rename(&input, &path).ok()?;
    Some(path)
}

/// Input that was read to its end and never sealed. It waits until somebody attaches it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAttached {
    pub path: PathBuf,
    pub bytes: u64,
    /// What it was for; `None` if the folder was made by a version that did not note it.
    pub incident: Option<IncidentId>,
}

/// The input in `work` that was never sealed, by path.
pub(super) fn not_attached(work: &Path) -> Vec<NotAttached> {
    // What a dead process left counts too. A store that cannot be written shows what it has.
    let _ = remove_dead(work);
    let folders = fs::read_dir(work).into_iter().flatten().flatten();
    let mut found: Vec<_> = folders
        .filter_map(|folder| {
            let name = folder.file_name().to_string_lossy().into_owned();
            let name = name.strip_prefix(PRESERVED_PREFIX)?;
            let file = fs::read_dir(folder.path()).ok()?.flatten().next()?;
            Some(NotAttached {
                path: file.path(),
                bytes: file.metadata().ok()?.len(),
                incident: name
                    .rsplit_once('-')
                    .and_then(|(incident, _)| incident.parse().ok()),
            })
        })
        .collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Removes the preserved input `path` from `work`, since it is attached now. Other files stay.
pub(super) fn remove_attached(work: &Path, path: &Path) {
    let (Ok(work), Ok(path)) = (work.canonicalize(), path.canonicalize()) else {
        return;
    };
    let Some(folder) = path.parent() else { return };
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    if folder.parent() == Some(&work) && name.starts_with(PRESERVED_PREFIX) {
        let _ = fs::remove_dir_all(folder); // if it stays, it is listed and can be removed by hand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(work: &Path) -> ScratchFolder {
        ScratchFolder::create(work, &"INC-1".parse().expect("an id")).expect("own folder")
    }

    #[test]
    fn preserved_input_is_listed_until_it_is_attached() {
        let work = tempfile::tempdir().expect("a folder");
        let dead = work.path().join("attaching-INC-2026-7-00ff");
        fs::create_dir_all(dead.join(DRAFT)).expect("own folder");
        fs::write(dead.join("ticket.json"), "bytes").expect("own folder");
        let old = work.path().join("not-attached-00ff");
        fs::create_dir(&old).expect("own folder");
        fs::write(old.join("a.txt"), "a").expect("own folder");
        let found = not_attached(work.path());
        let ids: Vec<_> = found
            .iter()
            .map(|one| (one.bytes, one.incident.as_ref().map(IncidentId::as_str)))
            .collect();
        assert_eq!(ids, [(1, None), (5, Some("INC-2026-7"))]);
        let other = work.path().join("other");
        fs::write(&other, "x").expect("own folder");
        remove_attached(work.path(), &other);
        assert!(other.exists());
        for one in found {
            remove_attached(work.path(), &one.path);
        }
        assert_eq!(not_attached(work.path()), []);
    }

    #[test]
    fn folder_of_a_dead_process_is_removed_but_for_whole_input() {
        let work = tempfile::tempdir().expect("a folder");
        let living = create(work.path());
        fs::write(living.path(INPUT), "half").expect("own folder");
        for (folder, file) in [("attaching-1", INPUT), ("attaching-2", "ticket.json")] {
            fs::create_dir_all(work.path().join(folder).join(DRAFT)).expect("own folder");
            fs::write(work.path().join(folder).join(file), "bytes").expect("own folder");
        }
        drop(create(work.path()));
        assert!(living.path(INPUT).exists());
        assert_eq!(
            fs::read(work.path().join("not-attached-2/ticket.json")).expect("it is kept"),
            b"bytes"
        );
        assert_eq!(fs::read_dir(work.path()).expect("own folder").count(), 2);
    }

    #[test]
    fn only_input_that_was_read_to_its_end_is_preserved() {
        let work = tempfile::tempdir().expect("a folder");
        let scratch = create(work.path());
        fs::write(scratch.path(INPUT), "half").expect("own folder");
        assert_eq!(scratch.preserve_input(), None);
        fs::rename(scratch.path(INPUT), scratch.path("ticket.json")).expect("own folder");
        let kept = scratch.preserve_input().expect("whole");
        drop(scratch);
        assert_eq!(fs::read(kept).expect("it is kept"), b"half");
    }
}
