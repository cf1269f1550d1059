//! All plays: four built in, in the runbook's words. A folder of the operator's own adds more, or
//! replaces one by a file of the same name. That folder is trusted: whoever writes it decides what
//! evidence is taken.

use std::collections::{BTreeMap, BTreeSet};

use super::checklist::{Checklist, ChecklistStep};
use super::names::{ParseNameError, PlayName};
use super::play::{Play, PlayError};
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
                        line: 1,
                        message: e.to_string(),
                    })?;
            plays.insert(Play::parse(&name, &file.path, &file.text)?);
        }
        plays.check()?;
        Ok(plays)
    }

    fn insert(&mut self, play: Play) {
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
                "stands in play general too",
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
