//! `client.toml`: the servers that a user knows, with a token for each.
//!
//! **Trust.** The file is trusted. An attacker who can write it redirects commands and evidence;
//! one who can read it has its tokens. So it is created readable by its owner only, and rejected if
//! others can read it.

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
use domain::spelling::{comma_separated, did_you_mean, nearest, suggested_key};

/// Below the user's configuration folder.
const FILE_NAME: &str = "exhibit/client.toml";
/// Limit of the file: thousands of profiles.
const FILE_BYTES_MAX: u64 = 1 << 20;
const NAME_BYTES_MAX: usize = 64;
/// The permission bits of group and others.
const OTHERS_BITS: u32 = 0o077;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClientConfig {
    /// The profile for commands that name neither a store nor a server nor a profile. If absent,
    /// they use the store of this machine.
    pub default: Option<ProfileName>,
    /// `[profiles.NAME]`.
    pub profiles: BTreeMap<ProfileName, Profile>,
}

/// `[profiles.NAME]`: a server, and where its token comes from: at most one of four sources.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Profile {
    pub server: String,
    #[serde(default, deserialize_with = "deserialize_token")]
    pub token: Option<BearerToken>,
    /// A file that holds the token.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// A program that prints the token, and its arguments. It runs without a shell.
    #[serde(default)]
    pub token_command: Option<Vec<String>>,
    /// An environment variable that holds the token.
    #[serde(default)]
    pub token_variable: Option<String>,
    /// A PEM file of the CA that signed the server's certificate, instead of the system's CAs.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// True if the token may be sent over plain HTTP, where others can read it.
    #[serde(default)]
    pub insecure_http: bool,
}

/// The name of a profile: letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileName(String);

evidence_format::serde_as_text!(ProfileName);

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a profile's name: expected 1 to {NAME_BYTES_MAX} letters, digits, - and _")]
pub struct ProfileNameError(String);

/// `client.toml` or a profile in it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientConfigError {
    #[error("there is no folder for client.toml: set HOME or XDG_CONFIG_HOME")]
    NoHome,
    /// Others may have copied the tokens already.
    #[error(
        "{} can be read by others (mode {mode:04o}): run chmod 600 on it, and revoke its tokens if somebody may have copied them", path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("cannot write {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// Not TOML, an unknown key, or an invalid value.
    #[error("{}: {message}", path.display())]
    Invalid {
        path: PathBuf,
        /// The line and the fault, with the nearest known key.
        message: String,
    },
    #[error("there is no profile {name}{}; {}", did_you_mean(nearest.as_deref()), known_profiles(known))]
    UnknownProfile {
        name: ProfileName,
        nearest: Option<String>,
        known: Vec<ProfileName>,
    },
    /// Several sources for the token.
    #[error(
        "profile {name} has {count} of token, token-file, token-command and token-variable: keep one, or run `exhibit login`"
    )]
    AmbiguousToken { name: ProfileName, count: usize },
    #[error("cannot take the token from {origin}")]
    InvalidToken {
        origin: String,
        #[source]
        cause: BearerTokenError,
    },
    #[error("cannot take the token from {origin}")]
    UnreadableToken {
        origin: String,
        #[source]
        cause: io::Error,
    },
}

fn known_profiles(known: &[ProfileName]) -> String {
    if known.is_empty() {
        "create it with `exhibit login`".to_owned()
    } else {
        format!("there are: {}", comma_separated(known))
    }
}

/// Reads a token. The derived code would quote an invalid one in its error.
fn deserialize_token<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BearerToken>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// The path of the file, given the values of `XDG_CONFIG_HOME` and `HOME`.
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
    Ok(folder.ok_or(ClientConfigError::NoHome)?.join(FILE_NAME))
}

impl ClientConfig {
    /// Reads the file. If there is none, there are no profiles.
    ///
    /// # Errors
    /// See [`ClientConfigError`].
    pub fn read(path: &Path) -> Result<Self, ClientConfigError> {
        read_text(path)?.map_or(Ok(Self::default()), |text| parse(path, &text))
    }

    /// The profile with that name.
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

/// The file's text; `None` if there is no file. Rejects a file that others can read.
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
    // Checked on the open file, which cannot be exchanged any more.
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & OTHERS_BITS != 0 {
        return Err(ClientConfigError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    // One byte more tells a file that is too long from one that just fits.
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let message = format!("the file exceeds {FILE_BYTES_MAX} bytes");
        return Err(ClientConfigError::Invalid {
            path: path.to_owned(),
            message,
        });
    }
    Ok(Some(text))
}

fn parse(path: &Path, text: &str) -> Result<ClientConfig, ClientConfigError> {
    let config: ClientConfig =
        toml::from_str(text).map_err(|error| ClientConfigError::Invalid {
            path: path.to_owned(),
            message: explain(text, &error),
        })?;
    if let Some(name) = &config.default {
        config.profile(name)?;
    }
    Ok(config)
}

/// The fault and its line number, without the text of the line, which may hold a token.
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
        let is_name = (1..=NAME_BYTES_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if is_name {
            Ok(Self(text.to_owned()))
        } else {
            Err(ProfileNameError(
                text.chars().take(NAME_BYTES_MAX).collect(),
            ))
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
    fn example_documents_every_key() {
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
    fn rejects_file_that_others_can_read() {
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
    fn suggests_nearest_key_and_profile() {
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
        assert!(error.contains("is not a profile's name"), "{error}");
    }

    #[test]
    fn takes_token_from_exactly_one_source() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        fs::write(&file, "exh_file\n").expect("own folder");
        let token = |keys: &str| {
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
        assert_eq!(token("").expect("no source is valid"), None);
        for (keys, expected) in [
            ("token = 'exh_here'".to_owned(), "exh_here"),
            (format!("token-file = {file:?}"), "exh_file"),
            (
                "token-command = ['echo', 'exh_command']".to_owned(),
                "exh_command",
            ),
        ] {
            assert_eq!(
                token(&keys).expect("a token").expect("a source").secret(),
                expected
            );
        }
        let error = token("token = 'exh_here'\ntoken-file = '/x'")
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
                token(keys).expect_err("none").to_string(),
                format!("cannot take the token from {said}")
            );
        }
    }

    #[test]
    fn errors_never_show_a_token() {
        let error = read(
            "[profiles.a]\nserver = 'https://x'\ntoken = 'exh_ secret'\n",
            0o600,
        )
        .expect_err("no token");
        let text = error.to_string();
        assert!(
            text.contains("line 3: the token contains a blank") && !text.contains("secret"),
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
    fn path_follows_the_xdg_specification() {
        let path = |config: Option<&str>, home: Option<&str>| {
            file_path(config.map(PathBuf::from), home.map(PathBuf::from)).ok()
        };
        assert_eq!(
            path(Some("/c"), Some("/h")),
            Some("/c/exhibit/client.toml".into())
        );
        assert_eq!(
            path(Some("c"), Some("/h")),
            Some("/h/.config/exhibit/client.toml".into())
        );
        assert_eq!(path(None, None), None);
    }
}
