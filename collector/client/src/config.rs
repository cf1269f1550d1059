//! `client.toml` of whoever types: which servers there are, and with which token each is asked.
//!
//! Trusted: whoever writes it decides where commands and evidence go; whoever reads it may do what
//! its tokens may. So it is made readable by its owner alone, and refused if others can read it.

mod edit;
mod token_source;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::{BearerToken, BearerTokenError};
use domain::incident::{comma_separated, did_you_mean, nearest, suggested_key};

/// Name of the file, in the folder `exhibit` of the user's configuration.
const FILE: &str = "exhibit/client.toml";
/// Bytes of the file: a thousand profiles.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a profile's name.
const NAME_BYTES_MAX: usize = 64;
/// Permissions beyond its owner's.
const OTHERS_BITS: u32 = 0o077;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClientConfig {
    /// The profile of commands that name neither a store, nor a server, nor a profile. Absent: they
    /// use the store of this machine.
    pub default: Option<ProfileName>,
    /// `[profiles.NAME]`.
    pub profiles: BTreeMap<ProfileName, Profile>,
}

/// `[profiles.NAME]`: a server, and as whom it is asked. The token is in one of four places.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    /// Its URL.
    pub server: String,
    /// The token.
    #[serde(default, deserialize_with = "deserialize_token")]
    pub token: Option<BearerToken>,
    /// A file that has it.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// A program that prints it, and its arguments; no shell is between.
    #[serde(default)]
    pub token_command: Option<Vec<String>>,
    /// A variable of the environment that has it.
    #[serde(default)]
    pub token_variable: Option<String>,
    /// The CA that signed its certificate, as PEM, in place of those that this machine trusts.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// True if the token may go there over plain HTTP, where others can read it.
    #[serde(default)]
    pub insecure_http: bool,
}

/// Names a profile: letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileName(String);

evidence_format::serde_as_text!(ProfileName);

/// The text is no name of a profile.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no name of a profile: 1 to {NAME_BYTES_MAX} letters, digits, - and _")]
pub struct ProfileNameError(String);

/// The file, or a profile in it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientConfigError {
    /// There is no place for it.
    #[error("there is no folder for client.toml: set HOME or XDG_CONFIG_HOME")]
    NoHome,
    /// Somebody may have the tokens already.
    #[error(
        "{} can be read by others (mode {mode:04o}): run chmod 600 on it, and revoke its tokens if somebody may have copied them", path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// It says what it may not.
    #[error("{}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What, and where; with the nearest known key, if one is near.
        message: String,
    },
    /// No profile is called so.
    #[error("there is no profile {name}{}; {}", did_you_mean(nearest.as_deref()), known_profiles(known))]
    UnknownProfile {
        /// What was asked for.
        name: ProfileName,
        /// What was probably meant.
        nearest: Option<String>,
        /// What there is.
        known: Vec<ProfileName>,
    },
    /// The token is in no place, or in several.
    #[error(
        "profile {name} has {count} of token, token-file, token-command and token-variable: give one, or `exhibit login`"
    )]
    AmbiguousToken {
        /// The profile.
        name: ProfileName,
        /// In how many.
        count: usize,
    },
    /// What is in that place is no token.
    #[error("cannot take the token from {place}")]
    InvalidToken {
        /// Where.
        place: String,
        /// Why.
        #[source]
        cause: BearerTokenError,
    },
    /// There is nothing in that place.
    #[error("cannot take the token from {place}")]
    UnreadableToken {
        /// Where.
        place: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

fn known_profiles(known: &[ProfileName]) -> String {
    if known.is_empty() {
        "make it with `exhibit login`".to_owned()
    } else {
        format!("there are: {}", comma_separated(known))
    }
}

/// serde's error would quote a token that is none.
fn deserialize_token<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BearerToken>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Where the file is, given the values of `XDG_CONFIG_HOME` and `HOME`.
///
/// # Errors
/// [`ClientConfigError::NoHome`] if neither names an absolute path (the XDG specification ignores
/// others).
pub fn file_path(
    config_home: Option<PathBuf>,
    home: Option<PathBuf>,
) -> Result<PathBuf, ClientConfigError> {
    let absolute = |path: &PathBuf| path.is_absolute();
    let folder = config_home
        .filter(absolute)
        .or_else(|| Some(home.filter(absolute)?.join(".config")));
    Ok(folder.ok_or(ClientConfigError::NoHome)?.join(FILE))
}

impl ClientConfig {
    /// Reads the file; without one, there is no profile.
    ///
    /// # Errors
    /// See [`ClientConfigError`].
    pub fn read(path: &Path) -> Result<Self, ClientConfigError> {
        read_text(path)?.map_or(Ok(Self::default()), |text| parse(path, &text))
    }

    /// The profile of a name.
    ///
    /// # Errors
    /// [`ClientConfigError::UnknownProfile`].
    pub fn profile(&self, name: &ProfileName) -> Result<&Profile, ClientConfigError> {
        self.profiles.get(name).ok_or_else(|| {
            let near = nearest(&name.0, self.profiles.keys().map(|known| known.0.as_str()))
                .map(str::to_owned);
            ClientConfigError::UnknownProfile {
                name: name.clone(),
                nearest: near,
                known: self.profiles.keys().cloned().collect(),
            }
        })
    }
}

/// The file's text, which nobody else can read; `None` if there is no file.
fn read_text(path: &Path) -> Result<Option<String>, ClientConfigError> {
    let failed = |cause| ClientConfigError::Read {
        path: path.to_owned(),
        cause,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed(cause)),
    };
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & OTHERS_BITS != 0 {
        return Err(ClientConfigError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let message = format!("it has more than {FILE_BYTES_MAX} bytes");
        return Err(ClientConfigError::Invalid {
            path: path.to_owned(),
            message,
        });
    }
    Ok(Some(text))
}

fn parse(path: &Path, text: &str) -> Result<ClientConfig, ClientConfigError> {
    let wrong = |message| ClientConfigError::Invalid {
        path: path.to_owned(),
        message,
    };
    let config: ClientConfig =
        toml::from_str(text).map_err(|error| wrong(explain(text, &error)))?;
    if let Some(name) = &config.default {
        config.profile(name)?;
    }
    Ok(config)
}

/// What is wrong, and in which line; without the line itself, which may have a token.
fn explain(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| {
        1 + text
            .bytes()
            .take(span.start)
            .filter(|b| *b == b'\n')
            .count()
    });
    let line = line
        .map(|line| format!("line {line}: "))
        .unwrap_or_default();
    let near = suggested_key(error.message())
        .map(|near| format!(" (did you mean {near:?}?)"))
        .unwrap_or_default();
    format!("{line}{}{near}", error.message().trim_end())
}

impl ProfileName {
    fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProfileName {
    type Err = ProfileNameError;

    fn from_str(text: &str) -> Result<Self, ProfileNameError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        match (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain) {
            true => Ok(Self(text.to_owned())),
            false => Err(ProfileNameError(
                text.chars().take(NAME_BYTES_MAX).collect(),
            )),
        }
    }
}

impl std::fmt::Display for ProfileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn read(text: &str, mode: u32) -> Result<ClientConfig, ClientConfigError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("client.toml");
        fs::write(&path, text).expect("own folder");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("own file");
        ClientConfig::read(&path)
    }

    fn name(text: &str) -> ProfileName {
        text.parse().expect("a name")
    }

    #[test]
    fn the_example_says_every_key() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/client.toml");
        let text = fs::read_to_string(example).expect("the example");
        let config = read(&text, 0o600).expect("as documented");
        assert_eq!(config.default, Some(name("production")));
        let all = text.replace("\n# ", "\n"); // keys that are commented out
        for key in [
            "token",
            "token-file",
            "token-command",
            "token-variable",
            "ca",
            "insecure-http",
            "server",
            "default",
        ] {
            assert!(
                all.lines()
                    .any(|line| line.starts_with(&format!("{key} = "))),
                "{key} is not in the example"
            );
        }
    }

    #[test]
    fn what_others_can_read_is_refused_with_what_to_do() {
        for mode in [0o644, 0o640, 0o604, 0o660] {
            let error = read("", mode).expect_err("exposed").to_string();
            assert!(
                error.contains(&format!("(mode {mode:04o}): run chmod 600 on it")),
                "{error}"
            );
        }
        for mode in [0o600, 0o400] {
            assert_eq!(
                read("", mode).expect("its owner's alone"),
                ClientConfig::default()
            );
        }
        assert_eq!(
            ClientConfig::read(Path::new("/nonexistent")).expect("none"),
            ClientConfig::default()
        );
    }

    #[test]
    fn an_unknown_key_or_profile_is_named_with_the_nearest() {
        let error = read(
            "[profiles.a]\nserver = 'https://x'\ntoken-fil = 'x'\n",
            0o600,
        )
        .expect_err("unknown")
        .to_string();
        assert!(
            error.contains("line 3") && error.ends_with("(did you mean \"token-file\"?)"),
            "{error}"
        );
        let error = read(
            "default = 'productoin'\n[profiles.production]\nserver = 'https://x'\n",
            0o600,
        )
        .expect_err("unknown");
        assert_eq!(
            error.to_string(),
            "there is no profile productoin (did you mean \"production\"?); there are: production"
        );
        let error = read("[profiles.'a b']\nserver = 'https://x'\n", 0o600)
            .expect_err("no name")
            .to_string();
        assert!(error.contains("is no name of a profile"), "{error}");
    }

    #[test]
    fn a_token_is_in_one_of_four_places() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        fs::write(&file, "exh_file\n").expect("own folder");
        let of = |keys: &str| {
            let config = read(
                &format!("[profiles.a]\nserver = 'https://x'\n{keys}\n"),
                0o600,
            )
            .expect("a configuration");
            config
                .profile(&name("a"))
                .expect("it is there")
                .token(&name("a"))
        };
        assert_eq!(of("").expect("nothing is said"), None);
        for (keys, expected) in [
            ("token = 'exh_here'".to_owned(), "exh_here"),
            (format!("token-file = {file:?}"), "exh_file"),
            (
                "token-command = ['echo', 'exh_command']".to_owned(),
                "exh_command",
            ),
        ] {
            assert_eq!(
                of(&keys).expect("a token").expect("it is said").secret(),
                expected
            );
        }
        let error = of("token = 'exh_here'\ntoken-file = '/x'")
            .expect_err("two")
            .to_string();
        assert!(
            error.starts_with("profile a has 2 of token, token-file,"),
            "{error}"
        );
        for (keys, said) in [
            (
                "token-variable = 'EXHIBIT_NO_SUCH_VARIABLE'",
                "the variable EXHIBIT_NO_SUCH_VARIABLE",
            ),
            ("token-file = '/nonexistent'", "the file /nonexistent"),
            ("token-command = ['false']", "the command false"),
            ("token-command = []", "the command "),
            ("token-command = ['true']", "the command true"),
        ] {
            assert_eq!(
                of(keys).expect_err("none").to_string(),
                format!("cannot take the token from {said}")
            );
        }
    }

    #[test]
    fn an_error_shows_no_token() {
        let error = read(
            "[profiles.a]\nserver = 'https://x'\ntoken = 'exh_ secret'\n",
            0o600,
        )
        .expect_err("no token");
        let text = error.to_string();
        assert!(
            text.contains("line 3: the token has blanks") && !text.contains("secret"),
            "{text}"
        );
        let unfinished = read(
            "[profiles.a]\nserver = 'https://x'\ntoken = 'exh_secret\n",
            0o600,
        )
        .expect_err("no TOML")
        .to_string();
        assert!(
            unfinished.contains("line 3: ") && !unfinished.contains("secret"),
            "{unfinished}"
        );
        let config = read(
            "[profiles.a]\nserver = 'https://x'\ntoken = 'exh_secret'\n",
            0o600,
        )
        .expect("a configuration");
        assert!(!format!("{config:?}").contains("exh_secret"));
    }

    #[test]
    fn it_is_where_the_xdg_specification_says() {
        let of = |config: Option<&str>, home: Option<&str>| {
            file_path(config.map(PathBuf::from), home.map(PathBuf::from)).ok()
        };
        assert_eq!(
            of(Some("/c"), Some("/h")),
            Some("/c/exhibit/client.toml".into())
        );
        assert_eq!(
            of(Some("c"), Some("/h")),
            Some("/h/.config/exhibit/client.toml".into())
        );
        assert_eq!(of(None, None), None);
    }
}
