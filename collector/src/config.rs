//! `exhibit.toml` in the store's folder. Every key has a default; an unknown key is an error.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use domain::spelling::suggested_key;
use domain::trigger::{HookConfigError, HookSecret, HooksConfig, Vendor};
use pipeline::{CaptureConfig, PipelineConfig};
use server::agents::AgentsConfig;
use server::config::ServeConfig;
use server::telemetry::TelemetryConfig;
use sources::config::SourcesConfig;
use store::blobs::BlobsConfig;

pub const FILE_NAME: &str = "exhibit.toml";
/// Limit of a file with one secret. Vendors' secrets have some dozens of bytes, and a large file at
/// a wrong path must not be taken for one.
const SECRET_FILE_BYTES_MAX: usize = 4096;

/// The whole file. Trusted: an attacker who can write it decides what evidence is captured and
/// where it is kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct CollectorConfig {
    /// The database for incidents, journals and timelines: `sqlite:///path` or `postgres://…`. If
    /// absent, SQLite in the store's folder.
    pub database: Option<String>,
    /// Where bundles are kept. If absent, in the store's folder.
    pub blobs: Option<BlobsConfig>,
    /// A folder of plays that add to the built-in ones or replace them.
    pub plays: Option<PathBuf>,
    pub capture: CaptureConfig,
    /// `[hooks]`, without the secrets that are in files: see
    /// [`CollectorConfig::hooks_with_secrets`].
    pub hooks: HooksConfig,
    pub sources: SourcesConfig,
    pub serve: ServeConfig,
    /// The listener for agents on other hosts. If absent, there is none.
    pub agents: Option<AgentsConfig>,
    pub telemetry: TelemetryConfig,
}

/// `exhibit.toml`, or a secret that it names, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CollectorConfigError {
    #[error("cannot read {}", path.display())]
    Read {
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
    #[error("invalid [hooks] configuration")]
    Hooks(#[from] HookConfigError),
    /// A value that is well-formed, and cannot work.
    #[error("{}", faults.join("; "))]
    Faults { faults: Vec<String> },
    #[error("{} has {bytes} bytes, limit for a secret is {SECRET_FILE_BYTES_MAX}", path.display())]
    SecretTooLong { path: PathBuf, bytes: usize },
}

impl CollectorConfig {
    /// The part that the pipeline needs.
    #[must_use]
    pub fn pipeline(&self) -> PipelineConfig {
        PipelineConfig {
            database: self.database.clone(),
            blobs: self.blobs.clone(),
            plays: self.plays.clone(),
            capture: self.capture.clone(),
            sources: self.sources.clone(),
            agents_url: self.agents.as_ref().map(|agents| agents.url.clone()),
        }
    }

    /// Reads the file in the folder `store`. If there is none, every key has its default.
    ///
    /// # Errors
    /// See [`CollectorConfigError`].
    pub fn read(store: &Path) -> Result<Self, CollectorConfigError> {
        Self::read_file(&store.join(FILE_NAME))
    }

    /// The same for a file of another name.
    ///
    /// # Errors
    /// See [`CollectorConfigError`].
    pub fn read_file(path: &Path) -> Result<Self, CollectorConfigError> {
        let path = path.to_owned();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // A first run needs no configuration; any other failure could hide settings that
            // restrict it.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(cause) => return Err(CollectorConfigError::Read { path, cause }),
        };
        let config: Self =
            toml::from_str(&text).map_err(|error| CollectorConfigError::Invalid {
                message: explain(&error),
                path,
            })?;
        // A misconfigured webhook fails here, for every command, and not at its first delivery.
        config.hooks.check_keys()?;
        Ok(config)
    }

    /// The webhooks with all secrets, including those in files. Only `exhibit serve` needs them;
    /// the users of other commands may not be allowed to read the files.
    ///
    /// # Errors
    /// A file cannot be read, or does not hold a secret.
    pub fn hooks_with_secrets(&self) -> Result<HooksConfig, CollectorConfigError> {
        let mut hooks = self.hooks.clone();
        for vendor in Vendor::ALL {
            let Some(hook) = hooks.section_mut(vendor) else {
                continue;
            };
            // The secrets replace the paths, so that nothing reads the files again.
            for path in std::mem::take(&mut hook.secret_files) {
                hook.secrets.push(read_secret(&path)?);
            }
        }
        // Only now are all secrets known, and only `exhibit serve` may fail for a weak one.
        hooks.check_secrets()?;
        Ok(hooks)
    }
}

fn read_secret(path: &Path) -> Result<HookSecret, CollectorConfigError> {
    let text = fs::read_to_string(path).map_err(|cause| CollectorConfigError::Read {
        path: path.to_owned(),
        cause,
    })?;
    if text.len() > SECRET_FILE_BYTES_MAX {
        return Err(CollectorConfigError::SecretTooLong {
            path: path.to_owned(),
            bytes: text.len(),
        });
    }
    Ok(HookSecret::new(&text))
}

/// The error with the nearest known key. toml's own message only lists all known keys.
fn explain(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let text = text.trim_end();
    suggested_key(error.message()).map_or_else(
        || text.to_owned(),
        |near| format!("{text}\nDid you mean `{near}`?"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::trigger::HookConfig;

    fn read(text: &str) -> Result<CollectorConfig, CollectorConfigError> {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(FILE_NAME), text).expect("own folder");
        CollectorConfig::read(folder.path())
    }

    #[test]
    fn empty_or_absent_file_means_defaults() {
        assert_eq!(
            CollectorConfig::read(Path::new("/nonexistent")).expect("defaults"),
            CollectorConfig::default()
        );
        assert_eq!(read("").expect("defaults"), CollectorConfig::default());
    }

    #[test]
    fn example_shows_every_default() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/exhibit.toml");
        let text = fs::read_to_string(example).expect("the example");
        assert_eq!(
            read(&text).expect("as documented"),
            CollectorConfig::default()
        );
    }

    #[test]
    fn rejects_unknown_key_with_line_and_suggestion() {
        let error = read("[sources.aws_cloudtrail]\nenabled = true\nregion = ['eu-west-1']\n")
            .expect_err("unknown")
            .to_string();
        assert!(
            error.contains("line 3") && error.contains("unknown field `region`"),
            "{error}"
        );
        assert!(error.ends_with("Did you mean `regions`?"), "{error}");
    }

    /// They are commented out in `deploy/exhibit.toml`.
    #[test]
    fn examples_of_sources_are_valid() {
        let tables = sources::ALL.iter().filter_map(|source| source.table());
        let examples: Vec<&str> = tables.filter_map(|table| table.example()).collect();
        assert!(examples.len() >= 2, "{examples:?}");
        for example in examples {
            read(example).unwrap_or_else(|error| panic!("{error}:\n{example}"));
        }
    }

    /// They are commented out in the example.
    #[test]
    fn example_webhooks_are_valid_and_document_every_key() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/exhibit.toml");
        let text = fs::read_to_string(example).expect("the example");
        let hooks = text
            .split("# [hooks.")
            .skip(1)
            .map(|section| format!("# [hooks.{section}"))
            .collect::<String>();
        let lines = hooks
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.contains(" = ") || line.starts_with('['));
        let text = lines.collect::<Vec<_>>().join("\n");
        let config = read(&text).expect("as documented");
        for vendor in Vendor::ALL {
            let hook = config
                .hooks
                .section(vendor)
                .unwrap_or_else(|| panic!("{vendor} is not in the example"));
            assert_eq!(
                (hook.play.as_str(), hook.default_severity),
                ("general", HookConfig::default().default_severity),
                "{vendor}"
            );
        }
        for key in [
            "secrets",
            "secret-files",
            "username",
            "token-header",
            "signature-header",
            "timestamp-header",
            "least-severity",
        ] {
            assert!(text.contains(key), "{key} is not in the example");
        }
    }

    #[test]
    fn reads_secrets_from_files_and_never_shows_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = ("first-secret-0123456789", "second-secret-0123456789");
        let file = folder.path().join("pagerduty");
        fs::write(&file, format!("{second}\n")).expect("own folder");
        let section = format!(
            "[hooks.pagerduty]\nsecrets = [{first:?}]\nsecret-files = [{file:?}]\nseverity = {{ urgent = 1 }}\n"
        );
        let config = read(&section).expect("a configuration");
        let hooks = config.hooks_with_secrets().expect("secrets");
        let hook = hooks.section(Vendor::PagerDuty).expect("configured");
        assert_eq!(
            hook.secrets,
            [HookSecret::new(first), HookSecret::new(second)]
        );
        let shown = format!("{config:?} {hooks:?}");
        assert!(
            !shown.contains("0123456789") && shown.contains("(secret)"),
            "{shown}"
        );

        fs::write(&file, "x".repeat(SECRET_FILE_BYTES_MAX + 1)).expect("own folder");
        assert!(matches!(
            config.hooks_with_secrets(),
            Err(CollectorConfigError::SecretTooLong { .. })
        ));
        fs::write(&file, "short").expect("own folder");
        assert_eq!(
            chain(&config.hooks_with_secrets().expect_err("it can be guessed")),
            "[hooks.pagerduty] secret 2 is not at least 16 bytes long"
        );
        fs::remove_file(&file).expect("own folder");
        assert!(matches!(
            config.hooks_with_secrets(),
            Err(CollectorConfigError::Read { .. })
        ));
    }

    fn chain(error: &CollectorConfigError) -> String {
        std::error::Error::source(error)
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    #[test]
    fn what_a_vendor_has_no_use_for_is_refused() {
        for (section, said) in [
            (
                "[hooks.pagerduty]",
                "[hooks.pagerduty] needs secrets or secret-files",
            ),
            (
                "[hooks.slack]\nsecrets = ['x']\nusername = 'a'",
                "[hooks.slack] cannot have username",
            ),
            (
                "[hooks.grafana]\nsecrets = ['x']\ntimestamp-header = 'a'",
                "[hooks.grafana] cannot have timestamp-header",
            ),
            (
                "[hooks.opsgenie]\nsecrets = ['x']\ntoken-header = 'a b'",
                "[hooks.opsgenie] token-header is not a header's name",
            ),
        ] {
            assert_eq!(chain(&read(section).expect_err(section)), said);
        }
        let misspelled = read("[hooks.pagerduty]\nsecret = ['0123456789abcdef']\n")
            .expect_err("unknown")
            .to_string();
        assert!(
            misspelled.ends_with("Did you mean `secrets`?"),
            "{misspelled}"
        );
        let no_text =
            read("[hooks.pagerduty]\nsecrets = [1234567890123456]\n").expect_err("no text");
        assert!(
            no_text.to_string().contains("a secret is a text"),
            "{no_text}"
        );
        let severity =
            read("[hooks.pagerduty]\nsecrets = ['0123456789abcdef']\nseverity = { high = 5 }\n")
                .expect_err("no severity");
        assert!(severity.to_string().contains("1 to 4"), "{severity}");
    }
}
