//! Which place a command means: what it says itself goes before the environment, and that before
//! the configuration.

use std::path::PathBuf;

use anyhow::{Result, bail};

use client::config::ProfileName;

/// What somebody has said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BackendArguments {
    pub(crate) store: Option<PathBuf>,
    pub(crate) server: Option<String>,
    pub(crate) profile: Option<ProfileName>,
}

/// What that means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BackendChoice {
    Store(PathBuf),
    Server(String),
    Profile(ProfileName),
    /// Nobody has said anything: what the configuration says, or the store of this machine.
    Default,
}

impl BackendArguments {
    /// What the environment says.
    ///
    /// # Errors
    /// A name that is none.
    pub(crate) fn from_environment() -> Result<Self> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        Ok(Self {
            store: variable("EXHIBIT_STORE").map(PathBuf::from),
            server: text("EXHIBIT_SERVER"),
            profile: text("EXHIBIT_PROFILE")
                .map(|name| name.parse())
                .transpose()?,
        })
    }

    fn choice(self, names: [&str; 3]) -> Result<Option<BackendChoice>> {
        let Self {
            store,
            server,
            profile,
        } = self;
        let is_given = [store.is_some(), server.is_some(), profile.is_some()];
        let given: Vec<&str> = names
            .into_iter()
            .zip(is_given)
            .filter(|(_, given)| *given)
            .map(|(name, _)| name)
            .collect();
        if given.len() > 1 {
            bail!(
                "{} are given at once: a command is about one place, so give one of them",
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
    /// Of what the command line and the environment say.
    ///
    /// # Errors
    /// One of them names two places.
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
    fn the_command_line_goes_before_the_environment() {
        let of = |line, environment| BackendChoice::choose(line, environment).expect("one place");
        assert_eq!(
            of(BackendArguments::default(), BackendArguments::default()),
            BackendChoice::Default
        );
        assert_eq!(
            of(BackendArguments::default(), store()),
            BackendChoice::Store("/s".into())
        );
        assert_eq!(
            of(server(), store()),
            BackendChoice::Server("https://x".to_owned())
        );
        assert_eq!(
            of(
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
    fn two_places_at_once_are_none() {
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
            "the command line has said which"
        );
    }
}
