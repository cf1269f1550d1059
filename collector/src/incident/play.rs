//! Response plays: which sources are asked, how far back, about what; and the runbook's steps. Data, not code.
//!
//! Four are built in. A folder of the operator's own adds more, or replaces one by a file of the same name. That folder is
//! trusted: whoever writes it decides what evidence is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::checklist::{List, Step};
use super::names::{PivotKind, PlayName, SourceName, meant, nearest};
use super::text::Line;

/// Bytes of one play's file: ours have 3 KiB.
pub const PLAY_BYTES_MAX: u64 = 64 * 1024;
/// Plays of one folder: more than anybody can choose from under stress.
pub const PLAYS_MAX: usize = 100;
/// Steps of one play: they are copied into each incident.
pub const STEPS_MAX: usize = 100;
/// Longest window of a play: ten years, above any retention of a source.
pub const WINDOW_HOURS_MAX: u32 = 10 * 366 * 24;

/// The play whose first 15 minutes and investigation checklist are part of every incident.
const GENERAL: &str = "general";
const BUILT_IN: [(&str, &str); 4] = [
    ("general", include_str!("../../plays/general.toml")),
    ("leaked-secret", include_str!("../../plays/leaked-secret.toml")),
    ("ci-token", include_str!("../../plays/ci-token.toml")),
    ("cloud-admin", include_str!("../../plays/cloud-admin.toml")),
];

/// How one kind of incident is responded to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Play {
    /// Its name: that of its file.
    pub name: PlayName,
    /// For people.
    pub title: Line,
    /// Sources to ask, also those that this version does not have: they are shown as not available.
    pub sources: Vec<SourceName>,
    /// Hours back from the declaration, unless somebody says otherwise.
    pub window_hours: u32,
    /// What it helps to know: kinds of things that its evidence is asked for.
    pub pivots: Vec<PivotKind>,
    /// What is to be done.
    pub steps: Vec<Step>,
}

/// All plays that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plays(BTreeMap<PlayName, Play>);

/// A play cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// More of something than there may be.
    #[error("{file} has more than {max} {what}")]
    TooMuch {
        /// The file or folder.
        file: String,
        /// Of what.
        what: &'static str,
        /// How much there may be.
        max: u64,
    },
    /// A key that plays do not have.
    #[error("{file}:{line}: no key is called {key:?}{}; there are: {}", meant(*nearest), known.join(", "))]
    UnknownKey {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// The key.
        key: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
        /// What there is.
        known: &'static [&'static str],
    },
    /// It is not TOML, or a value is not what it should be.
    #[error("{file}:{line}: {message}")]
    Invalid {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

/// There is no such play.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("no play is called {name}{}; there are: {}", meant(nearest.as_ref().map(PlayName::as_str)), list(known))]
pub struct UnknownPlay {
    /// What was asked for.
    pub name: PlayName,
    /// What was probably meant.
    pub nearest: Option<PlayName>,
    /// What there is.
    pub known: Vec<PlayName>,
}

fn list(names: &[PlayName]) -> String {
    names.iter().map(PlayName::as_str).collect::<Vec<_>>().join(", ")
}

impl Plays {
    /// Those of the runbook.
    #[must_use]
    pub fn built_in() -> Self {
        let play = |(name, text): (&str, &str)| {
            let name: PlayName = name.parse().expect("the built-in names are names");
            let play = Play::parse(&name, &format!("plays/{name}.toml"), text).expect("tests read the built-in plays");
            (name, play)
        };
        Self(BUILT_IN.into_iter().map(play).collect())
    }

    /// The built-in plays, and those of a folder's `*.toml` over them.
    ///
    /// # Errors
    /// The folder, a file or a play cannot be read. A play that is wrong is never left out in silence.
    pub fn load(folder: &Path) -> Result<Self, PlayError> {
        let mut plays = Self::built_in();
        for path in files(folder)? {
            let file = path.display().to_string();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let invalid = |message: String| PlayError::Invalid { file: file.clone(), line: 1, message };
            let name: PlayName = stem.parse().map_err(|e: super::names::ParseNameError| invalid(e.to_string()))?;
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
        self.0.get(name).ok_or_else(|| {
            let known: Vec<PlayName> = self.0.keys().cloned().collect();
            let nearest = nearest(name.as_str(), known.iter().map(PlayName::as_str)).and_then(|n| n.parse().ok());
            UnknownPlay { name: name.clone(), nearest, known }
        })
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Play> {
        self.0.values()
    }

    /// What an incident of this play asks to do: the first 15 minutes and the investigation of the general play, then its own.
    #[must_use]
    pub fn checklist(&self, play: &Play) -> Vec<Step> {
        let general = self.0.iter().find(|(name, _)| name.as_str() == GENERAL).map(|(_, play)| play);
        let common = general.into_iter().filter(|general| general.name != play.name).flat_map(|general| &general.steps);
        let mut steps: Vec<Step> = common.filter(|step| step.list != List::Response).chain(&play.steps).cloned().collect();
        steps.sort_by_key(|step| step.list); // stable: inside a list the order is the plays'
        steps
    }

    /// Steps that meet in one incident must have ids of their own.
    fn check(&self) -> Result<(), PlayError> {
        for play in self.iter() {
            let mut ids = BTreeSet::new();
            if let Some(step) = self.checklist(play).iter().find(|step| !ids.insert(step.id.clone())) {
                let message = format!("step {} of play {} stands in play {GENERAL} too", step.id, play.name);
                return Err(PlayError::Invalid { file: format!("{}.toml", play.name), line: 1, message });
            }
        }
        Ok(())
    }
}

/// A play's file.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PlayFile {
    title: Line,
    sources: Vec<SourceName>,
    window_hours: toml::Spanned<u32>,
    #[serde(default)]
    pivots: Vec<PivotKind>,
    steps: Vec<toml::Spanned<Step>>,
}

const KEYS: &[&str] = &["title", "sources", "window-hours", "pivots", "steps"];
const STEP_KEYS: &[&str] = &["id", "list", "text"];

impl Play {
    /// Reads a play from the text of its file; `file` is for errors.
    ///
    /// # Errors
    /// It is not TOML, has a key that plays do not have, or a value is not what it should be.
    pub fn parse(name: &PlayName, file: &str, text: &str) -> Result<Self, PlayError> {
        let invalid = |at: usize, message: String| PlayError::Invalid { file: file.to_owned(), line: line_of(text, at), message };
        let from_toml = |e: toml::de::Error| invalid(e.span().map_or(0, |span| span.start), e.message().to_owned());
        let table = toml::de::DeTable::parse(text).map_err(from_toml)?;
        check_keys(file, text, table.get_ref())?;
        let play: PlayFile = toml::from_str(text).map_err(from_toml)?;
        if !(1..=WINDOW_HOURS_MAX).contains(play.window_hours.get_ref()) {
            return Err(invalid(play.window_hours.span().start, format!("window-hours is from 1 to {WINDOW_HOURS_MAX}")));
        }
        if play.steps.len() > STEPS_MAX {
            return Err(PlayError::TooMuch { file: file.to_owned(), what: "steps", max: STEPS_MAX as u64 });
        }
        let mut ids = BTreeSet::new();
        if let Some(step) = play.steps.iter().find(|step| !ids.insert(&step.get_ref().id)) {
            return Err(invalid(step.span().start, format!("step {} stands here for the second time", step.get_ref().id)));
        }
        Ok(Self {
            name: name.clone(),
            title: play.title,
            sources: play.sources,
            window_hours: play.window_hours.into_inner(),
            pivots: play.pivots,
            steps: play.steps.into_iter().map(toml::Spanned::into_inner).collect(),
        })
    }
}

/// Looks for misspelled keys before serde does, which can name neither the line nor what was meant.
fn check_keys(file: &str, text: &str, table: &toml::de::DeTable<'_>) -> Result<(), PlayError> {
    check_table(file, text, table, KEYS)?;
    let steps = table.get("steps").and_then(|steps| steps.get_ref().as_array());
    let steps = steps.into_iter().flat_map(|steps| steps.iter());
    steps.filter_map(|step| step.get_ref().as_table()).try_for_each(|step| check_table(file, text, step, STEP_KEYS))
}

fn check_table(file: &str, text: &str, table: &toml::de::DeTable<'_>, known: &'static [&'static str]) -> Result<(), PlayError> {
    let Some(key) = table.keys().find(|key| !known.contains(&key.get_ref().as_ref())) else { return Ok(()) };
    Err(PlayError::UnknownKey {
        file: file.to_owned(),
        line: line_of(text, key.span().start),
        key: key.get_ref().chars().take(80).collect(),
        nearest: nearest(key.get_ref(), known.iter().copied()),
        known,
    })
}

/// The line, from 1, of the byte at `at`.
fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1
}

/// The folder's plays, by name, so that errors do not depend on the disk.
fn files(folder: &Path) -> Result<Vec<PathBuf>, PlayError> {
    let failed = |cause| PlayError::Read { path: folder.to_owned(), cause };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
        if files.len() > PLAYS_MAX {
            let file = folder.display().to_string();
            return Err(PlayError::TooMuch { file, what: "plays", max: PLAYS_MAX as u64 });
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, PlayError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(PLAY_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > PLAY_BYTES_MAX => {
            Err(PlayError::TooMuch { file: path.display().to_string(), what: "bytes", max: PLAY_BYTES_MAX })
        }
        Ok(_) => Ok(text),
        Err(cause) => Err(PlayError::Read { path: path.to_owned(), cause }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "title = \"Ours\"\nsources = [\"host\"]\nwindow-hours = 24\n[[steps]]\nid = \"ours-1\"\ntext = \"Look.\"\n";

    fn parse(text: &str) -> Result<Play, PlayError> {
        Play::parse(&"ours".parse().expect("a name"), "ours.toml", text)
    }

    fn name(text: &str) -> PlayName {
        text.parse().expect("a name")
    }

    #[test]
    fn the_built_in_plays_say_what_the_runbook_says() {
        let plays = Plays::built_in();
        let steps = |name: &str| plays.0[&self::name(name)].steps.iter().map(|s| s.text.as_str()).collect::<Vec<_>>();
        let said: Vec<String> = ["general", "leaked-secret", "ci-token", "cloud-admin"].map(|n| steps(n).join("\n")).to_vec();
        assert_eq!(said.join("\n\n"), include_str!("samples/runbook-steps.txt").trim_end());
        plays.check().expect("ids are distinct");
    }

    #[test]
    fn every_incident_has_the_first_15_minutes() {
        let plays = Plays::built_in();
        for play in plays.iter() {
            let steps = plays.checklist(play);
            let count = |list| steps.iter().filter(|step| step.list == list).count();
            assert_eq!((count(List::FirstFifteenMinutes), count(List::Investigation)), (6, 7), "{}", play.name);
            assert!(steps.is_sorted_by_key(|step| step.list));
        }
        assert_eq!(plays.checklist(&plays.0[&name("ci-token")]).len(), 6 + 7 + 5);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_what_was_meant() {
        let refused = parse(&GOOD.replace("sources", "source")).expect_err("misspelled").to_string();
        assert_eq!(
            refused,
            "ours.toml:2: no key is called \"source\" (did you mean \"sources\"?); there are: title, sources, window-hours, pivots, steps"
        );
        let refused = parse(&format!("{GOOD}owner = \"Ann\"\n")).expect_err("not a step's").to_string();
        assert_eq!(refused, "ours.toml:7: no key is called \"owner\"; there are: id, list, text");
    }

    #[test]
    fn wrong_values_are_named_with_their_line() {
        for (from, to, line) in [
            ("[\"host\"]", "[\"Host\"]", 2),
            ("= 24", "= 0", 3),
            ("= 24", "= \"24\"", 3),
            ("= 24", "= 99999999", 3),
            ("text = \"Look.\"", "text = \"Look\\u001b.\"", 6),
            ("text = \"Look.\"", "text = \"Look.\"\nlist = \"other\"", 7),
            ("[[steps]]", "[[steps]", 4),
            ("window-hours = 24\n", "", 1),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD);
            let refused = parse(&text).expect_err(to).to_string();
            assert!(refused.starts_with(&format!("ours.toml:{line}: ")), "{to}: {refused}");
        }
        let twice = format!("{GOOD}[[steps]]\nid = \"ours-1\"\ntext = \"Again.\"\n");
        assert!(parse(&twice).expect_err("twice").to_string().starts_with("ours.toml:7: step ours-1 stands"));
    }

    #[test]
    fn a_folder_replaces_and_adds() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ours.toml"), GOOD).expect("written");
        std::fs::write(folder.path().join("ci-token.toml"), GOOD).expect("written");
        std::fs::write(folder.path().join("readme.md"), "no play").expect("written");
        let plays = Plays::load(folder.path()).expect("good plays");
        assert_eq!(plays.iter().map(|play| play.name.as_str()).collect::<Vec<_>>(), {
            ["ci-token", "cloud-admin", "general", "leaked-secret", "ours"]
        });
        assert_eq!(plays.get(&name("ci-token")).expect("it is there").title.as_str(), "Ours");
        let refused = plays.get(&name("leaked-secrets")).expect_err("misspelled").to_string();
        assert!(refused.starts_with("no play is called leaked-secrets (did you mean \"leaked-secret\"?); there are: ci-token,"));
        assert!(matches!(Plays::load(&folder.path().join("none")), Err(PlayError::Read { .. })));
    }

    #[test]
    fn a_folder_of_wrong_plays_is_refused() {
        for (file, text, part) in [
            ("Ours.toml", GOOD.to_owned(), "is not a play"),
            ("ours.toml", GOOD.replace("ours-1", "first-15-1"), "stands in play general too"),
            ("ours.toml", "#".repeat(PLAY_BYTES_MAX as usize + 1), "more than 65536 bytes"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            std::fs::write(folder.path().join(file), text).expect("written");
            let refused = Plays::load(folder.path()).expect_err(part).to_string();
            assert!(refused.contains(part), "{refused}");
        }
    }
}
