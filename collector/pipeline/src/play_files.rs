//! Reads the operator's plays: the `*.toml` files of one folder.
//!
//! The folder is trusted: anyone who writes to it decides what evidence is taken.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::config::PipelineConfig;
use domain::incident::{PLAY_BYTES_MAX, PlayError, PlayFile, Plays};

/// Plays in one folder: more than anybody can choose from under stress.
const PLAYS_MAX: usize = 100;

/// The plays of a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlayFilesError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{} has more than {PLAYS_MAX} plays", folder.display())]
    TooMany { folder: PathBuf },
    #[error(transparent)]
    Play(#[from] PlayError),
}

/// The plays of a configuration: the built-in ones, and those of its folder, which may be relative to
/// the `store`.
///
/// # Errors
/// See [`PlayFilesError`].
pub fn plays_of(config: &PipelineConfig, store: &Path) -> Result<Plays, PlayFilesError> {
    match &config.plays {
        // `join` keeps an absolute path as it is.
        Some(plays) => read_plays(&store.join(plays)),
        None => Ok(Plays::built_in()),
    }
}

/// The built-in plays and those of `folder`, which replace built-in ones of the same name.
fn read_plays(folder: &Path) -> Result<Plays, PlayFilesError> {
    let files = paths(folder)?
        .into_iter()
        .map(|path| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            Ok(PlayFile {
                path: path.display().to_string(),
                stem: stem.into_owned(),
                text: read(&path)?,
            })
        })
        .collect::<Result<Vec<_>, PlayFilesError>>()?;
    Ok(Plays::with_files(&files)?)
}

/// Sorted, so that which error is reported does not depend on the disk.
fn paths(folder: &Path) -> Result<Vec<PathBuf>, PlayFilesError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(read_failed(folder))? {
        let path = entry.map_err(read_failed(folder))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
        // Checked in the loop: the folder may be a wrong one with a million files.
        if paths.len() > PLAYS_MAX {
            return Err(PlayFilesError::TooMany {
                folder: folder.to_owned(),
            });
        }
    }
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, PlayFilesError> {
    let mut text = String::new();
    // One byte past the limit is enough for the domain to reject the file.
    File::open(path)
        .and_then(|file| file.take(PLAY_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(read_failed(path))?;
    Ok(text)
}

fn read_failed(path: &Path) -> impl Fn(io::Error) -> PlayFilesError {
    move |cause| PlayFilesError::Read {
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAY: &str = "title = \"Ours\"\nsources = [\"host\"]\nwindow-hours = 24\n[[steps]]\nid = \"ours-1\"\ntext = \"Look.\"\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("own folder");
        }
        folder
    }

    #[test]
    fn reads_toml_files_only() {
        let folder = folder(&[("ours.toml", PLAY), ("readme.md", "no play")]);
        let plays = read_plays(folder.path()).expect("good plays");
        assert_eq!(plays.iter().count(), Plays::built_in().iter().count() + 1);
        assert!(matches!(
            read_plays(&folder.path().join("none")),
            Err(PlayFilesError::Read { .. })
        ));
    }

    #[test]
    fn rejects_oversized_file_and_names_it() {
        let folder = folder(&[("ours.toml", &"#".repeat(PLAY_BYTES_MAX as usize + 7))]);
        let error = read_plays(folder.path()).expect_err("too long").to_string();
        assert_eq!(
            error,
            format!(
                "{} has more than 65536 bytes",
                folder.path().join("ours.toml").display()
            )
        );
    }
}
