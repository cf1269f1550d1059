//! All plays: four built-in ones, in the runbook's words, and the operator's, which are trusted:
//! anyone who writes them decides what evidence is taken.

use std::collections::{BTreeMap, BTreeSet};

use super::checklist::{Checklist, ChecklistStep};
use super::names::{GENERAL, ParseNameError, PlayName};
use super::play::{Play, PlayError};
use crate::spelling::{comma_separated, did_you_mean, nearest};

/// The play whose first 15 minutes and investigation checklist every incident has.
const BUILT_IN: [(&str, &str); 4] = [
    (GENERAL, include_str!("../../plays/general.toml")),
    (
        "leaked-secret",
        include_str!("../../plays/leaked-secret.toml"),
    ),
    ("ci-token", include_str!("../../plays/ci-token.toml")),
    ("cloud-admin", include_str!("../../plays/cloud-admin.toml")),
];

/// The text of a play, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayFile {
    /// The path, for error messages.
    pub path: String,
    /// The file's name without its extension, which becomes the play's name.
    pub stem: String,
    pub text: String,
}

/// All plays, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plays(BTreeMap<PlayName, Play>);

/// No play has this name.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("no play is called {name}{}; there are: {}", did_you_mean(nearest.as_ref().map(PlayName::as_str)), comma_separated(known))]
pub struct UnknownPlay {
    pub name: PlayName,
    /// The play that was probably meant.
    pub nearest: Option<PlayName>,
    pub known: Vec<PlayName>,
}

impl UnknownPlay {
    /// Finds the nearest of the `known` plays.
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
    /// The runbook's plays.
    #[must_use]
    pub fn built_in() -> Self {
        let plays = BUILT_IN.into_iter().map(|(name, text)| {
            let name: PlayName = name.parse().expect("the built-in names are names");
            let play = Play::parse(&name, &format!("plays/{name}.toml"), text)
                .expect("tests read the built-in plays");
            (name, play)
        });
        Self(plays.collect())
    }

    /// The built-in plays and the operator's, which replace those of the same name.
    ///
    /// # Errors
    /// A file is no play, or a step's id would not be unique in an incident. A wrong play is never
    /// left out silently.
    pub fn with_files(files: &[PlayFile]) -> Result<Self, PlayError> {
        let mut plays = Self::built_in();
        for file in files {
            let name: PlayName =
                file.stem
                    .parse()
                    .map_err(|e: ParseNameError| PlayError::Invalid {
                        file: file.path.clone(),
                        // The name is wrong, not a line; but every error has a line, for editors to
                        // jump to.
                        line: 1,
                        message: e.to_string(),
                    })?;
            plays.insert(Play::parse(&name, &file.path, &file.text)?);
        }
        // Only now: a file may replace `general`, whose steps all plays share.
        plays.check()?;
        Ok(plays)
    }

    fn insert(&mut self, play: Play) {
        self.0.insert(play.name.clone(), play);
    }

    /// Finds a play by name.
    ///
    /// # Errors
    /// No play has this name.
    pub fn get(&self, name: &PlayName) -> Result<&Play, UnknownPlay> {
        self.0
            .get(name)
            .ok_or_else(|| UnknownPlay::new(name, self.0.keys().cloned().collect()))
    }

    /// All plays, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Play> {
        self.0.values()
    }

    /// The steps of an incident with this play: the first 15 minutes and the investigation of the
    /// general play, then the play's own.
    #[must_use]
    pub fn checklist(&self, play: &Play) -> Vec<ChecklistStep> {
        let general = self
            .0
            .iter()
            .find(|(name, _)| name.as_str() == GENERAL)
            .map(|(_, play)| play);
        let common = general
            .into_iter()
            // The general play has its own steps already.
            .filter(|general| general.name != play.name)
            .flat_map(|general| &general.steps);
        let mut steps: Vec<ChecklistStep> = common
            // The general response is for incidents without a better play.
            .filter(|step| step.list != Checklist::Response)
            .chain(&play.steps)
            .cloned()
            .collect();
        steps.sort_by_key(|step| step.list); // stable, so each list keeps the plays' order
        steps
    }

    /// Checks that step ids are unique within the checklist of every play.
    fn check(&self) -> Result<(), PlayError> {
        for play in self.iter() {
            // Progress is recorded by id: two steps with one id would share it.
            let mut ids = BTreeSet::new();
            if let Some(step) = self
                .checklist(play)
                .iter()
                .find(|step| !ids.insert(step.id.clone()))
            {
                let message = format!(
                    "step id {} of play {} is used in play {GENERAL} too",
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

#[cfg(test)]
mod tests {
    use super::super::play::PLAY_BYTES_MAX;
    use super::super::play::tests::GOOD;
    use super::*;

    fn name(text: &str) -> PlayName {
        text.parse().expect("a name")
    }

    #[test]
    fn built_in_plays_have_runbooks_words() {
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
    fn every_checklist_begins_with_first_15_minutes() {
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

    fn file(stem: &str, text: &str) -> PlayFile {
        PlayFile {
            path: format!("{stem}.toml"),
            stem: stem.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn files_add_plays_and_replace_built_in_ones() {
        let plays =
            Plays::with_files(&[file("ci-token", GOOD), file("ours", GOOD)]).expect("good plays");
        let names: Vec<_> = plays.iter().map(|play| play.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "ci-token",
                "cloud-admin",
                "general",
                "leaked-secret",
                "ours"
            ]
        );
        let replaced = plays.get(&name("ci-token")).expect("it is there");
        assert_eq!(replaced.title.as_str(), "Ours");
        let error = plays
            .get(&name("leaked-secrets"))
            .expect_err("misspelled")
            .to_string();
        assert!(error.starts_with("no play is called leaked-secrets (did you mean \"leaked-secret\"?); there are: ci-token,"));
    }

    #[test]
    fn rejects_wrong_files() {
        for (stem, text, part) in [
            ("Ours", GOOD.to_owned(), "is not a play"),
            (
                "ours",
                GOOD.replace("ours-1", "first-15-1"),
                "is used in play general too",
            ),
            (
                "ours",
                "#".repeat(PLAY_BYTES_MAX as usize + 1),
                "more than 65536 bytes",
            ),
        ] {
            let error = Plays::with_files(&[file(stem, &text)])
                .expect_err(part)
                .to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
