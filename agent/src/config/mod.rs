//! `agent.toml`: what the owners of a host say about it before an incident.

mod pattern;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

pub use pattern::PathPattern;
use serde::{Deserialize, Serialize};

/// Where packages put it.
pub const DEFAULT_PATH: &str = "/etc/exhibit/agent.toml";
/// Bytes of the file: a hundred times a long one.
const BYTES_MAX: u64 = 1 << 20;
/// Letters of a name or label.
const NAME_CHARS_MAX: usize = 64;
const LABEL_CHARS_MAX: usize = 256;
/// Sources, and patterns or units of one: each costs a walk through some folders.
const SOURCES_MAX: usize = 256;
const PATTERNS_MAX: usize = 64;
const LABELS_MAX: usize = 64;
/// Lets accounts that are neither owner nor root write to a file.
const WRITE_OTHERS: u32 = 0o022;
/// Kinds of units that write to the journal.
const UNIT_KINDS: &[&str] = &[
    ".service", ".scope", ".socket", ".mount", ".timer", ".slice",
];

/// The file. Trusted: root reads the files that it names, and seals them for others to see.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AgentConfig {
    /// Logs of applications.
    #[serde(default)]
    pub logs: Vec<LogSource>,
}

/// `[[logs]]`: the logs of one application.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LogSource {
    /// What people call the application: letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// Absolute paths in which `*`, `?` and `[…]` stand for parts of one name.
    #[serde(default)]
    pub paths: Vec<PathPattern>,
    /// Units whose entries are taken from the systemd journal.
    #[serde(default)]
    pub units: Vec<UnitName>,
    /// Anything that helps to find the logs later.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A unit of systemd, such as `checkout.service`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

/// `agent.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{} has more than {BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error(
        "{} may be changed by others, and decides what is read: it must belong to root or to the \
         present user (it belongs to uid {uid}), and only its owner may write to it (mode {mode:o})",
        path.display()
    )]
    Unprotected { path: PathBuf, uid: u32, mode: u32 },
    #[error("invalid {}", path.display())]
    Parse {
        path: PathBuf,
        #[source]
        cause: toml::de::Error,
    },
    #[error("invalid {}: {problem}", path.display())]
    Invalid { path: PathBuf, problem: String },
}

impl AgentConfig {
    /// Reads the file at `given`, or else at [`DEFAULT_PATH`] if there is one.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(given: Option<&Path>) -> Result<Self, ConfigError> {
        let path = given.unwrap_or(Path::new(DEFAULT_PATH));
        match read_protected(path) {
            Err(ConfigError::Read { cause, .. })
                if given.is_none() && cause.kind() == io::ErrorKind::NotFound =>
            {
                Ok(Self::default())
            }
            text => Self::parse(&text?, path),
        }
    }

    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|cause| ConfigError::Parse {
            path: path.to_owned(),
            cause,
        })?;
        match config.problem() {
            None => Ok(config),
            Some(problem) => Err(ConfigError::Invalid {
                path: path.to_owned(),
                problem,
            }),
        }
    }

    fn problem(&self) -> Option<String> {
        if self.logs.len() > SOURCES_MAX {
            let count = self.logs.len();
            return Some(format!(
                "{count} entries in [[logs]], the limit is {SOURCES_MAX}"
            ));
        }
        let mut names = BTreeSet::new();
        self.logs.iter().find_map(|source| {
            let name = &source.name;
            if !names.insert(name) {
                return Some(format!("two [[logs]] have the name {name:?}"));
            }
            source
                .problem()
                .map(|problem| format!("[[logs]] {name:?}: {problem}"))
        })
    }
}

impl LogSource {
    fn problem(&self) -> Option<String> {
        let is_name = |text: &str| {
            let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(is_letter)
        };
        if !is_name(&self.name) {
            return Some(format!(
                "a name has 1 to {NAME_CHARS_MAX} letters, digits, `-`, `_` or `.`"
            ));
        }
        if self.paths.is_empty() && self.units.is_empty() {
            return Some("neither paths nor units".to_owned());
        }
        if self.paths.len() + self.units.len() > PATTERNS_MAX || self.labels.len() > LABELS_MAX {
            return Some(format!(
                "more than {PATTERNS_MAX} paths and units, or {LABELS_MAX} labels"
            ));
        }
        let labels = self.labels.iter();
        let mut wrong = labels.filter(|(key, value)| {
            !is_name(key)
                || value.chars().count() > LABEL_CHARS_MAX
                || value.chars().any(char::is_control)
        });
        wrong.next().map(|(key, _)| {
            format!(
                "label {key:?}: its name is as that of a source, its value has at most \
                 {LABEL_CHARS_MAX} characters and no control characters"
            )
        })
    }
}

impl UnitName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UnitName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        // systemd.unit(5)
        let is_letter = |b: u8| b.is_ascii_alphanumeric() || br":-_.\@".contains(&b);
        let is_kind = UNIT_KINDS.iter().any(|kind| name.ends_with(kind));
        if is_kind && name.len() <= 255 && name.bytes().all(is_letter) {
            Ok(Self(name))
        } else {
            Err(format!(
                "{name:?} is not the name of a unit, such as checkout.service"
            ))
        }
    }
}

impl From<UnitName> for String {
    fn from(unit: UnitName) -> Self {
        unit.0
    }
}

/// The text of a file that nobody else may change.
fn read_protected(path: &Path) -> Result<String, ConfigError> {
    let failed = |cause| ConfigError::Read {
        path: path.to_owned(),
        cause,
    };
    let file = File::open(path).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    let is_own = facts.uid() == 0 || facts.uid() == rustix::process::geteuid().as_raw();
    // a link or a pipe (`--config /dev/stdin`) is the business of who named it
    if facts.is_file() && (!is_own || facts.mode() & WRITE_OTHERS != 0) {
        return Err(ConfigError::Unprotected {
            path: path.to_owned(),
            uid: facts.uid(),
            mode: facts.mode() & 0o7777,
        });
    }
    let mut text = String::new();
    let read = file.take(BYTES_MAX + 1).read_to_string(&mut text);
    match read.map_err(failed)? as u64 {
        0..=BYTES_MAX => Ok(text),
        _ => Err(ConfigError::TooLarge {
            path: path.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn parse(text: &str) -> Result<AgentConfig, String> {
        AgentConfig::parse(text, Path::new("agent.toml")).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error} {}", cause.unwrap_or_default())
        })
    }

    #[test]
    fn application_is_read_with_paths_units_and_labels() {
        let config = parse(
            "[[logs]]\nname = \"checkout\"\npaths = [\"/srv/checkout/log/*.log*\"]\n\
             units = [\"checkout.service\"]\nlabels = { team = \"payments\" }\n",
        );
        let source = &config.expect("valid").logs[0];
        assert_eq!(source.units[0].as_str(), "checkout.service");
        assert_eq!(source.labels["team"], "payments");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, part) in [
            ("log = 1", "unknown field"),
            ("[[logs]]\nname = \"a\"\npath = [\"/x\"]", "unknown field"),
            ("[[logs]]\nname = \"a\"", "neither paths nor units"),
            ("[[logs]]\nname = \"a b\"\npaths = [\"/x\"]", "a name has"),
            ("[[logs]]\nname = \"a\"\npaths = [\"x/*\"]", "absolute"),
            ("[[logs]]\nname = \"a\"\npaths = [\"/x/../y\"]", "`..`"),
            ("[[logs]]\nname = \"a\"\npaths = [\"/x/**/y\"]", "`**`"),
            ("[[logs]]\nname = \"a\"\npaths = [\"/x/[a\"]", "`[`"),
            (
                "[[logs]]\nname = \"a\"\nunits = [\"checkout\"]",
                "name of a unit",
            ),
            (
                "[[logs]]\nname = \"a\"\nunits = [\"a.service\"]\n[[logs]]\nname = \"a\"\nunits = [\"b.service\"]",
                "two [[logs]]",
            ),
            (
                "[[logs]]\nname = \"a\"\nunits = [\"a.service\"]\nlabels = { \"x y\" = \"\" }",
                "label",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn file_that_others_may_change_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("agent.toml");
        fs::write(&path, "").expect("own folder");
        for (mode, is_fine) in [(0o600, true), (0o644, true), (0o664, false), (0o646, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("own file");
            assert_eq!(AgentConfig::load(Some(&path)).is_ok(), is_fine, "{mode:o}");
        }
        assert!(AgentConfig::load(Some(&folder.path().join("absent"))).is_err());
    }
}
