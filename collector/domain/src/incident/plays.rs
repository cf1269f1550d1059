//! All plays: four built in, in the runbook's words. A folder of the operator's own adds more, or
//! replaces one by a file of the same name. That folder is trusted: whoever writes it decides what
//! evidence is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::checklist::{Checklist, ChecklistStep};
use super::names::{ParseNameError, PlayName};
use super::play::{PLAY_BYTES_MAX, PLAYS_MAX, Play, PlayError};
use crate::spelling::{comma_separated, did_you_mean, nearest};

/// The play whose first 15 minutes and investigation checklist are part of every incident.
const GENERAL: &str = "general";
const BUILT_IN: [(&str, &str); 4] = [
    ("general", include_str!("../../plays/general.toml")),
    (
        "leaked-secret",
        include_str!("../../plays/leaked-secret.toml"),
    ),
    ("ci-token", include_str!("../../plays/ci-token.toml")),
    ("cloud-admin", include_str!("../../plays/cloud-admin.toml")),
];

/// All plays that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plays(BTreeMap<PlayName, Play>);

/// There is no such play.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("no play is called {name}{}; there are: {}", did_you_mean(nearest.as_ref().map(PlayName::as_str)), comma_separated(known))]
pub struct UnknownPlay {
    /// What was asked for.
    pub name: PlayName,
    /// What was probably meant.
    pub nearest: Option<PlayName>,
    /// What there is.
    pub known: Vec<PlayName>,
}

impl UnknownPlay {
    /// None of `known` is called `name`.
    #[must_use]
    pub fn new(name: &PlayName, known: Vec<PlayName>) -> Self {
        let nearest =
            nearest(name.as_str(), known.iter().map(PlayName::as_str)).and_then(|n| n.parse().ok());
        Self {
            name: name.clone(),
            nearest,
            known,
        }
    }
}

impl Plays {
    /// Those of the runbook.
    #[must_use]
    pub fn built_in() -> Self {
        let play = |(name, text): (&str, &str)| {
            let name: PlayName = name.parse().expect("the built-in names are names");
            let play = Play::parse(&name, &format!("plays/{name}.toml"), text)
                .expect("tests read the built-in plays");
            (name, play)
        };
        Self(BUILT_IN.into_iter().map(play).collect())
    }

    /// The built-in plays, and those of a folder's `*.toml` over them.
    ///
    /// # Errors
    /// The folder, a file or a play cannot be read. A play that is wrong is never left out in
    /// silence.
    pub fn load(folder: &Path) -> Result<Self, PlayError> {
        let mut plays = Self::built_in();
        for path in files(folder)? {
            let file = path.display().to_string();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let invalid = |message: String| PlayError::Invalid {
                file: file.clone(),
                line: 1,
                message,
            };
            let name: PlayName = stem
                .parse()
                .map_err(|e: ParseNameError| invalid(e.to_string()))?;
            plays.insert(Play::parse(&name, &file, &read(&path)?)?);
        }
        plays.check()?;
        Ok(plays)
    }

    /// Adds a play, or replaces the one of its name.
    pub fn insert(&mut self, play: Play) {
        self.0.insert(play.name.clone(), play);
    }

    /// The play of a name.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, name: &PlayName) -> Result<&Play, UnknownPlay> {
        self.0
            .get(name)
            .ok_or_else(|| UnknownPlay::new(name, self.0.keys().cloned().collect()))
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Play> {
        self.0.values()
    }

    /// What an incident of this play asks to do: the first 15 minutes and the investigation of the
    /// general play, then its own.
    #[must_use]
    pub fn checklist(&self, play: &Play) -> Vec<ChecklistStep> {
        let general = self
            .0
            .iter()
            .find(|(name, _)| name.as_str() == GENERAL)
            .map(|(_, play)| play);
        let common = general
            .into_iter()
            .filter(|general| general.name != play.name)
            .flat_map(|general| &general.steps);
        let mut steps: Vec<ChecklistStep> = common
            .filter(|step| step.list != Checklist::Response)
            .chain(&play.steps)
            .cloned()
            .collect();
        steps.sort_by_key(|step| step.list); // stable: inside a list the order is the plays'
        steps
    }

    /// Steps that meet in one incident must have ids of their own.
    fn check(&self) -> Result<(), PlayError> {
        for play in self.iter() {
            let mut ids = BTreeSet::new();
            if let Some(step) = self
                .checklist(play)
                .iter()
                .find(|step| !ids.insert(step.id.clone()))
            {
                let message = format!(
                    "step {} of play {} stands in play {GENERAL} too",
                    step.id, play.name
                );
                return Err(PlayError::Invalid {
                    file: format!("{}.toml", play.name),
                    line: 1,
                    message,
                });
            }
        }
        Ok(())
    }
}

/// The folder's plays, by name, so that errors do not depend on the disk.
fn files(folder: &Path) -> Result<Vec<PathBuf>, PlayError> {
    let failed = |cause| PlayError::Read {
        path: folder.to_owned(),
        cause,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
        if files.len() > PLAYS_MAX {
            let file = folder.display().to_string();
            return Err(PlayError::TooMuch {
                file,
                what: "plays",
                max: PLAYS_MAX as u64,
            });
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, PlayError> {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(PLAY_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > PLAY_BYTES_MAX => Err(PlayError::TooMuch {
            file: path.display().to_string(),
            what: "bytes",
            max: PLAY_BYTES_MAX,
        }),
        Ok(_) => Ok(text),
        Err(cause) => Err(PlayError::Read {
            path: path.to_owned(),
            cause,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::play::PLAY_BYTES_MAX;
    use super::super::play::tests::GOOD;
    use super::*;

    fn name(text: &str) -> PlayName {
        text.parse().expect("a name")
    }

    #[test]
    fn the_built_in_plays_say_what_the_runbook_says() {
        let plays = Plays::built_in();
        let steps = |name: &str| {
            plays.0[&self::name(name)]
                .steps
                .iter()
                .map(|s| s.text.as_str())
                .collect::<Vec<_>>()
        };
        let said: Vec<String> = ["general", "leaked-secret", "ci-token", "cloud-admin"]
            .map(|n| steps(n).join("\n"))
            .to_vec();
        assert_eq!(
            said.join("\n\n"),
            include_str!("samples/runbook-steps.txt").trim_end()
        );
        plays.check().expect("ids are distinct");
    }

    #[test]
    fn every_incident_has_the_first_15_minutes() {
        let plays = Plays::built_in();
        for play in plays.iter() {
            let steps = plays.checklist(play);
            let count = |list| steps.iter().filter(|step| step.list == list).count();
            assert_eq!(
                (
                    count(Checklist::FirstFifteenMinutes),
                    count(Checklist::Investigation)
                ),
                (6, 7),
                "{}",
                play.name
            );
            assert!(steps.is_sorted_by_key(|step| step.list));
        }
        assert_eq!(
            plays.checklist(&plays.0[&name("ci-token")]).len(),
            6 + 7 + 5
        );
    }

    #[test]
    fn a_folder_replaces_and_adds() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ours.toml"), GOOD).expect("written");
        std::fs::write(folder.path().join("ci-token.toml"), GOOD).expect("written");
        std::fs::write(folder.path().join("readme.md"), "no play").expect("written");
        let plays = Plays::load(folder.path()).expect("good plays");
        assert_eq!(
            plays
                .iter()
                .map(|play| play.name.as_str())
                .collect::<Vec<_>>(),
            {
                [
                    "ci-token",
                    "cloud-admin",
                    "general",
                    "leaked-secret",
                    "ours",
                ]
            }
        );
        assert_eq!(
            plays
                .get(&name("ci-token"))
                .expect("it is there")
                .title
                .as_str(),
            "Ours"
        );
        let refused = plays
            .get(&name("leaked-secrets"))
            .expect_err("misspelled")
            .to_string();
        assert!(refused.starts_with("no play is called leaked-secrets (did you mean \"leaked-secret\"?); there are: ci-token,"));
        assert!(matches!(
            Plays::load(&folder.path().join("none")),
            Err(PlayError::Read { .. })
        ));
    }

    #[test]
    fn a_folder_of_wrong_plays_is_refused() {
        for (file, text, part) in [
            ("Ours.toml", GOOD.to_owned(), "is not a play"),
            (
                "ours.toml",
                GOOD.replace("ours-1", "first-15-1"),
                "stands in play general too",
            ),
            (
                "ours.toml",
                "#".repeat(PLAY_BYTES_MAX as usize + 1),
                "more than 65536 bytes",
            ),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join(file), text).expect("written");
            let refused = Plays::load(folder.path()).expect_err(part).to_string();
            assert!(refused.contains(part), "{refused}");
        }
    }
}
