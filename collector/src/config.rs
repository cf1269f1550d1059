//! `exhibit.toml` in the store's folder: everything has a default, and an unknown key is an error.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::incident::nearest;
use crate::sources::config::SourcesConfig;
use crate::store::blobs::BlobsConfig;
use crate::store::ledger::TokenRole;
use crate::trigger::{HookFault, HooksConfig, Secret, Vendor};

/// Name of the file.
pub const FILE: &str = "exhibit.toml";

/// The whole file. Trusted: whoever edits it decides what evidence is taken and where it is kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where incidents, journals and timelines are: `sqlite:///path` or `postgres://…`. Absent: SQLite in the store's folder.
    pub database: Option<String>,
    /// Where bundles are. Absent: the store's folder.
    pub blobs: Option<BlobsConfig>,
    /// A folder of plays that replace or add to those that are built in.
    pub plays: Option<PathBuf>,
    /// `[capture]`.
    pub capture: CaptureConfig,
    /// `[sources]`.
    pub sources: SourcesConfig,
    /// `[serve]`.
    pub serve: ServeConfig,
    /// `[hooks]`, without what stands in files of secrets: [`Config::hooks`] has it.
    pub hooks: HooksConfig,
}

/// `[capture]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureConfig {
    /// Seconds after which what is there is sealed; the rest goes on into a supplement.
    pub deadline_seconds: u64,
    /// Bytes of one pass, before compression.
    pub bytes_max: u64,
    /// Bytes of one object, such as a log file of the collector's own machine.
    pub object_bytes_max: u64,
    /// Seconds after the declaration at which sources are asked again, instead of the times that follow from how late each
    /// delivers.
    pub settle_after_seconds: Option<Vec<u64>>,
}

impl Default for CaptureConfig {
    /// The runbook's first 15 minutes; 64 GiB, of one object 64 MiB.
    fn default() -> Self {
        Self { deadline_seconds: 15 * 60, bytes_max: 64 << 30, object_bytes_max: 64 << 20, settle_after_seconds: None }
    }
}

/// `[serve]`: the API of `exhibit serve`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeConfig {
    /// Where it listens. Beyond this machine only with TLS.
    pub listen: SocketAddr,
    /// TLS; without it, plain HTTP.
    pub tls: Option<TlsConfig>,
    /// `[serve.oidc]`: tokens of an identity provider, beside the collector's own.
    pub oidc: Option<OidcConfig>,
    /// Connections at once; more wait.
    pub connections_max: u32,
    /// Bytes of a JSON document that is sent.
    pub body_bytes_max: u64,
    /// Bytes of an attachment.
    pub attachment_bytes_max: u64,
    /// Seconds without a byte of an attachment.
    pub idle_seconds_max: u64,
    /// Seconds that requests have to end when the service stops.
    pub drain_seconds_max: u64,
}

/// `[serve.tls]`. Trusted: whoever holds the key can read what is said, tokens among it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate and those above it, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
}

/// `[serve.oidc]`. Trusted: whoever edits it, or holds the issuer's keys, can give himself every role in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcConfig {
    /// The issuer's URL, exactly as its tokens have it.
    pub issuer: String,
    /// Whom its tokens must be for.
    pub audience: String,
    /// The claim that says what their holder is: a text, or a list of texts.
    #[serde(default = "groups")]
    pub role_claim: String,
    /// What that means here. Whoever has none of these is not let in; of several, the role that may most counts.
    pub roles: BTreeMap<String, TokenRole>,
}

fn groups() -> String {
    "groups".to_owned()
}

impl Default for ServeConfig {
    /// This machine; some hundred people and programs; JSON of 1 MiB, attachments of 64 GiB.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            tls: None,
            oidc: None,
            connections_max: 512,
            body_bytes_max: 1 << 20,
            attachment_bytes_max: 64 << 30,
            idle_seconds_max: 60,
            drain_seconds_max: 20,
        }
    }
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
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
    Content {
        /// The file.
        path: PathBuf,
        /// What, and where; with the nearest known key, if one is near.
        message: String,
    },
    /// A section of webhooks cannot be used.
    #[error(transparent)]
    Hook(#[from] HookFault),
}

impl Config {
    /// Reads the file of `store`; without one, everything has its default.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn read(store: &Path) -> Result<Self, ConfigError> {
        let path = store.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(cause) => return Err(ConfigError::Read { path, cause }),
        };
        let config: Self = toml::from_str(&text).map_err(|error| ConfigError::Content { message: explain(&error), path })?;
        config.hooks.check_keys()?;
        Ok(config)
    }

    /// What is configured about webhooks, with the secrets that stand in files; their paths are taken from `store` on.
    ///
    /// # Errors
    /// A file cannot be read, or a secret is none.
    pub fn hooks(&self, store: &Path) -> Result<HooksConfig, ConfigError> {
        let mut hooks = self.hooks.clone();
        for vendor in Vendor::ALL {
            let Some(hook) = hooks.of_mut(vendor) else { continue };
            for file in std::mem::take(&mut hook.secret_files) {
                let path = store.join(file);
                let text = fs::read_to_string(&path).map_err(|cause| ConfigError::Read { path, cause })?;
                hook.secrets.push(Secret::new(&text));
            }
        }
        hooks.check_secrets()?;
        Ok(hooks)
    }
}

/// toml's message lists all keys that it knows; the nearest to what was written stands in front.
fn explain(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let text = text.trim_end();
    let quoted: Vec<&str> = error.message().split('`').skip(1).step_by(2).collect();
    match quoted.split_first() {
        Some((unknown, known)) if error.message().starts_with("unknown field") => match nearest(unknown, known.iter().copied()) {
            Some(near) => format!("{text}\nDid you mean `{near}`?"),
            None => text.to_owned(),
        },
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(FILE), text).expect("own folder");
        Config::read(folder.path())
    }

    #[test]
    fn nothing_need_be_said() {
        assert_eq!(Config::read(Path::new("/nonexistent")).expect("defaults"), Config::default());
        assert_eq!(read("").expect("defaults"), Config::default());
    }

    #[test]
    fn the_example_says_every_default() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/exhibit.toml");
        let text = fs::read_to_string(example).expect("the example");
        assert_eq!(read(&text).expect("as documented"), Config::default());
    }

    #[test]
    fn secrets_of_webhooks_stand_in_files_too() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("pagerduty.secret"), "0123456789abcdef\n").expect("own folder");
        let hooks = |text: &str| read(text).and_then(|config| config.hooks(folder.path()));
        let read = hooks("[hooks.pagerduty]\nsecret_files = ['pagerduty.secret']\n").expect("a secret");
        assert_eq!(read.pagerduty.expect("a section").secrets, [Secret::new("0123456789abcdef")]);
        assert!(matches!(hooks("[hooks.pagerduty]\nsecret_files = ['nowhere']\n"), Err(ConfigError::Read { .. })));
        assert!(matches!(hooks("[hooks.pagerduty]\nsecrets = ['short']\n"), Err(ConfigError::Hook(HookFault::Secret { .. }))));
        assert!(matches!(hooks("[hooks.pagerduty]\n"), Err(ConfigError::Hook(HookFault::NoSecret { .. }))));
        let unknown = hooks("[hooks.pagerdooty]\nsecrets = []\n").expect_err("unknown").to_string();
        assert!(unknown.ends_with("Did you mean `pagerduty`?"), "{unknown}");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
        let error = read("[sources.aws_cloudtrail]\nenabled = true\nregion = ['eu-west-1']\n").expect_err("unknown").to_string();
        assert!(error.contains("line 3") && error.contains("unknown field `region`"), "{error}");
        assert!(error.ends_with("Did you mean `regions`?"), "{error}");
    }
}
