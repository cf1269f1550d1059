//! Selects the backend of a command: by its arguments, else by the environment, else by
//! `client.toml`.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Result, bail};

use client::config::ProfileName;

/// The backends that the command line or the environment names: at most one is valid.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BackendArguments {
    pub(crate) store: Option<PathBuf>,
    pub(crate) server: Option<String>,
    pub(crate) profile: Option<ProfileName>,
}

/// The selected backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BackendChoice {
    Store(PathBuf),
    Server(String),
    Profile(ProfileName),
    /// Neither arguments nor environment name one: the default profile of `client.toml`, or without
    /// one the default store.
    Default,
}

impl BackendArguments {
    /// Reads `EXHIBIT_STORE`, `EXHIBIT_SERVER` and `EXHIBIT_PROFILE`; an empty variable is as good
    /// as none.
    ///
    /// # Errors
    /// `EXHIBIT_PROFILE` is not a profile's name.
    pub(crate) fn from_environment() -> Result<Self> {
        Ok(Self {
            store: nonempty_variable("EXHIBIT_STORE").map(PathBuf::from),
            server: text_variable("EXHIBIT_SERVER"),
            profile: text_variable("EXHIBIT_PROFILE")
                .map(|name| name.parse())
                .transpose()?,
        })
    }

    /// The one backend that is given; `None` if there is none. `names` are for the error.
    fn choice(self, names: [&str; 3]) -> Result<Option<BackendChoice>> {
        let Self {
            store,
            server,
            profile,
        } = self;
        // Two backends at once are an error: evidence must not go to the one that was not meant.
        let is_given = [store.is_some(), server.is_some(), profile.is_some()];
        let given: Vec<&str> = names
            .into_iter()
            .zip(is_given)
            .filter(|(_, given)| *given)
            .map(|(name, _)| name)
            .collect();
        if given.len() > 1 {
            bail!(
                "{} are given at once: give only one of them",
                given.join(" and ")
            )
        }
        Ok(store
            .map(BackendChoice::Store)
            .or(server.map(BackendChoice::Server))
            .or(profile.map(BackendChoice::Profile)))
    }
}

impl BackendChoice {
    /// Selects a backend. The command line overrides the environment.
    ///
    /// # Errors
    /// One of the two names several backends.
    pub(crate) fn choose(
        command_line: BackendArguments,
        environment: BackendArguments,
    ) -> Result<Self> {
        if let Some(choice) = command_line.choice(["--store", "--server", "--profile"])? {
            return Ok(choice);
        }
        let choice = environment.choice(["EXHIBIT_STORE", "EXHIBIT_SERVER", "EXHIBIT_PROFILE"])?;
        Ok(choice.unwrap_or(Self::Default))
    }
}

fn nonempty_variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn text_variable(name: &str) -> Option<String> {
    nonempty_variable(name).map(|value| value.to_string_lossy().into_owned())
}

/// An environment variable that holds a path.
pub(super) fn path_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> BackendArguments {
        BackendArguments {
            store: Some("/s".into()),
            ..BackendArguments::default()
        }
    }

    fn server() -> BackendArguments {
        BackendArguments {
            server: Some("https://x".to_owned()),
            ..BackendArguments::default()
        }
    }

    #[test]
    fn command_line_overrides_environment() {
        let choose =
            |line, environment| BackendChoice::choose(line, environment).expect("one backend");
        assert_eq!(
            choose(BackendArguments::default(), BackendArguments::default()),
            BackendChoice::Default
        );
        assert_eq!(
            choose(BackendArguments::default(), store()),
            BackendChoice::Store("/s".into())
        );
        assert_eq!(
            choose(server(), store()),
            BackendChoice::Server("https://x".to_owned())
        );
        assert_eq!(
            choose(
                store(),
                BackendArguments {
                    store: None,
                    ..server()
                }
            ),
            BackendChoice::Store("/s".into())
        );
    }

    #[test]
    fn rejects_several_backends_at_once() {
        let both = BackendArguments {
            store: store().store,
            ..server()
        };
        let error = BackendChoice::choose(both.clone(), BackendArguments::default())
            .expect_err("two")
            .to_string();
        assert!(
            error.starts_with("--store and --server are given at once"),
            "{error}"
        );
        let error = BackendChoice::choose(BackendArguments::default(), both.clone())
            .expect_err("two")
            .to_string();
        assert!(
            error.starts_with("EXHIBIT_STORE and EXHIBIT_SERVER are given at once"),
            "{error}"
        );
        assert!(
            BackendChoice::choose(store(), both).is_ok(),
            "the command line decides"
        );
    }
}
