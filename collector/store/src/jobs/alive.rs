//! Which workers on this machine live: each holds a lock on a file of its name, which ends with its
//! process.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use super::JobsError;

/// A worker, as long as it is not dropped.
pub(super) struct Living {
    name: String,
    lock: Option<(PathBuf, File)>,
}

impl Living {
    /// A worker of a new name, with its lock where there is a folder for it.
    pub(super) fn begin(folder: Option<&Path>) -> Result<Self, JobsError> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).expect("every system has randomness");
        let name = format!("exhibit-{}", HEXLOWER.encode(&random));
        let lock = folder
            .map(|folder| lock(folder, &name).map_err(|cause| error(folder, cause)))
            .transpose()?;
        Ok(Self { name, lock })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.lock {
            drop(fs::remove_file(path)); // else it is found free later
        }
    }
}

fn lock(folder: &Path, name: &str) -> io::Result<(PathBuf, File)> {
    let path = folder.join(name);
    let file = File::create_new(&path)?;
    file.lock()?;
    Ok((path, file))
}

/// Workers whose lock is free. Each lock is held, and its file removed, by whoever has the answer.
pub(super) fn dead(folder: &Path) -> Result<Vec<Living>, JobsError> {
    let mut dead = Vec::new();
    for entry in fs::read_dir(folder).map_err(|cause| error(folder, cause))? {
        let path = entry.map_err(|cause| error(folder, cause))?.path();
        let Some(name) = path
            .file_name()
            .and_then(|name| name.to_str())
            .filter(|name| name.starts_with("exhibit-"))
        else {
            continue;
        };
        match File::open(&path) {
            Ok(file) if file.try_lock().is_ok() => dead.push(Living {
                name: name.to_owned(),
                lock: Some((path, file)),
            }),
            Ok(_) => {}
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(error(folder, cause)),
        }
    }
    Ok(dead)
}

/// The folder for the locks of those who share the SQLite at `database`.
pub(super) fn folder_beside(database: &Path) -> Result<PathBuf, JobsError> {
    let mut folder = database.as_os_str().to_owned();
    folder.push(".workers");
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder).map_err(|cause| error(&folder, cause))?;
    Ok(folder)
}

/// Holds off other processes on this machine until it is dropped.
pub(super) fn alone(folder: &Path) -> Result<File, JobsError> {
    let lock = || {
        let file = File::create(folder.join("setup"))?;
        file.lock()?;
        Ok(file)
    };
    lock().map_err(|cause| error(folder, cause))
}

fn error(folder: &Path, cause: io::Error) -> JobsError {
    JobsError::Locks {
        path: folder.to_owned(),
        cause,
    }
}
