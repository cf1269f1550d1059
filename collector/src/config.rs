//! `exhibit.toml` in the store's folder: everything has a default, and an unknown key is an error.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use domain::incident::suggested_key;
use domain::trigger::{HookConfigError, HookSecret, HooksConfig, Vendor};
use pipeline::{CaptureConfig, PipelineConfig};
use server::config::ServeConfig;
use server::telemetry::TelemetryConfig;
use sources::config::SourcesConfig;
use store::blobs::BlobsConfig;

/// Name of the file.
pub const FILE_NAME: &str = "exhibit.toml";
/// Bytes of a file with one secret: vendors' have some dozens, and a wrong path must not be sent
/// around as one.
const SECRET_FILE_BYTES_MAX: usize = 4096;

/// The whole file. Trusted: whoever edits it decides what evidence is taken and where it is kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct CollectorConfig {
    /// Where incidents, journals and timelines are: `sqlite:///path` or `postgres://…`. Absent:
    /// SQLite in the store's folder.
    pub database: Option<String>,
    /// Where bundles are. Absent: the store's folder.
    pub blobs: Option<BlobsConfig>,
    /// A folder of plays that replace or add to those that are built in.
    pub plays: Option<PathBuf>,
    /// `[capture]`.
    pub capture: CaptureConfig,
    /// `[hooks]`. Secrets that are in files are not yet there: see [`CollectorConfig::hooks_with_secrets`].
    pub hooks: HooksConfig,
    /// `[sources]`.
    pub sources: SourcesConfig,
    /// `[serve]`.
    pub serve: ServeConfig,
    /// `[telemetry]`.
    pub telemetry: TelemetryConfig,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CollectorConfigError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
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
    /// Webhooks cannot be received as it says.
    #[error("webhooks are not configured well")]
    Hooks(#[from] HookConfigError),
    /// A secret is longer than any.
    #[error("{} has {bytes} bytes, limit for a secret is {SECRET_FILE_BYTES_MAX}", path.display())]
    SecretTooLong {
        /// Its file.
        path: PathBuf,
        /// Bytes of the file.
        bytes: usize,
    },
}

impl CollectorConfig {
    /// What the pipeline needs of it.
    #[must_use]
    pub fn pipeline(&self) -> PipelineConfig {
        PipelineConfig {
            database: self.database.clone(),
            blobs: self.blobs.clone(),
            plays: self.plays.clone(),
            capture: self.capture.clone(),
            sources: self.sources.clone(),
        }
    }

    /// Reads the file of `store`; without one, everything has its default.
    ///
    /// # Errors
    /// See [`CollectorConfigError`].
    pub fn read(store: &Path) -> Result<Self, CollectorConfigError> {
        let path = store.join(FILE_NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(cause) => return Err(CollectorConfigError::Read { path, cause }),
        };
        let config: Self =
            toml::from_str(&text).map_err(|error| CollectorConfigError::Invalid {
                message: explain(&error),
                path,
            })?;
        config.hooks.check_keys()?;
        Ok(config)
    }

    /// The webhooks with their secrets, those of files too. Only who receives webhooks asks, as
    /// only it may read those files.
    ///
    /// # Errors
    /// A file cannot be read, or what is in it is no secret.
    pub fn hooks_with_secrets(&self) -> Result<HooksConfig, CollectorConfigError> {
        let mut hooks = self.hooks.clone();
        for vendor in Vendor::ALL {
            let Some(hook) = hooks.of_mut(vendor) else {
                continue;
            };
            for path in std::mem::take(&mut hook.secret_files) {
                hook.secrets.push(read_secret(&path)?);
            }
        }
        hooks.check_secrets()?;
        Ok(hooks)
    }
}

/// The secret in a file.
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

/// toml's message lists all keys that it knows; the nearest to what was written stands in front.
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
    fn nothing_need_be_said() {
        assert_eq!(
            CollectorConfig::read(Path::new("/nonexistent")).expect("defaults"),
            CollectorConfig::default()
        );
        assert_eq!(read("").expect("defaults"), CollectorConfig::default());
    }

    #[test]
    fn the_example_says_every_default() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/exhibit.toml");
        let text = fs::read_to_string(example).expect("the example");
        assert_eq!(
            read(&text).expect("as documented"),
            CollectorConfig::default()
        );
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
        let error = read("[sources.aws_cloudtrail]\nenabled = true\nregion = ['eu-west-1']\n")
            .expect_err("unknown")
            .to_string();
        assert!(
            error.contains("line 3") && error.contains("unknown field `region`"),
            "{error}"
        );
        assert!(error.ends_with("Did you mean `regions`?"), "{error}");
    }

    /// The example's sections of webhooks are commented out: without them, none is received.
    #[test]
    fn the_examples_webhooks_can_be_taken_as_they_stand() {
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
                .of(vendor)
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
    fn secrets_come_from_files_too_and_are_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = ("first-secret-0123456789", "second-secret-0123456789");
        let file = folder.path().join("pagerduty");
        fs::write(&file, format!("{second}\n")).expect("own folder");
        let section = format!(
            "[hooks.pagerduty]\nsecrets = [{first:?}]\nsecret-files = [{file:?}]\nseverity = {{ urgent = 1 }}\n"
        );
        let config = read(&section).expect("a configuration");
        let hooks = config.hooks_with_secrets().expect("secrets");
        let hook = hooks.of(Vendor::PagerDuty).expect("configured");
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
