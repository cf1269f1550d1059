//! Checks `exhibit.toml` beyond its form. `exhibit config check`, the start of `exhibit serve` and
//! its reload all call [`CollectorConfig::check`], so that they agree.

use domain::incident::Plays;
use domain::trigger::{HooksConfig, Vendor};
use platform::chain;
use server::config_check::{agents_faults, serve_faults};
use server::telemetry::OtlpEndpoint;
use store::blobs::Blobs;
use store::ledger::Ledger;

use crate::config::{CollectorConfig, CollectorConfigError};

/// A capture that runs longer than a day has most probably a wrong deadline, such as milliseconds.
const DEADLINE_SECONDS_MAX: u64 = 24 * 60 * 60;

/// What a configuration without faults gives.
#[derive(Debug)]
pub struct CheckedConfig {
    /// With all secrets.
    pub hooks: HooksConfig,
    /// What may be meant so, in texts for people.
    pub warnings: Vec<String>,
}

impl CollectorConfig {
    /// Checks what the form of the file does not show: that plays, regions and profiles exist, that
    /// files can be read and fit together, that URLs and limits can work. Opens no store, and sends
    /// nothing. `allow_insecure` permits plain HTTP on addresses other than loopback.
    ///
    /// # Errors
    /// [`CollectorConfigError::Faults`] with all faults.
    pub async fn check(
        &self,
        plays: &Plays,
        allow_insecure: bool,
    ) -> Result<CheckedConfig, CollectorConfigError> {
        let mut faults = self.faults_of_stores();
        for vendor in Vendor::ALL {
            if let Some(hook) = self.hooks.section(vendor)
                && let Err(unknown) = plays.get(&hook.play)
            {
                faults.push(format!("[hooks.{}] play: {unknown}", vendor.name()));
            }
        }
        let hooks = self.hooks_with_secrets();
        faults.extend(hooks.as_ref().err().map(chain_of));
        faults.extend(self.faults_of_limits());
        faults.extend(serve_faults(&self.serve, allow_insecure));
        faults.extend(self.agents.iter().flat_map(agents_faults));
        // Variables of the environment are not of this file; what they get wrong is logged.
        if let Err(error) = OtlpEndpoint::resolve(&self.telemetry, |_| None) {
            faults.push(format!("[telemetry] endpoint: {error}"));
        }
        let sources = sources::config_check::check(&self.sources).await;
        faults.extend(sources.faults);
        match hooks {
            Ok(hooks) if faults.is_empty() => Ok(CheckedConfig {
                hooks,
                warnings: sources.warnings,
            }),
            Ok(_) | Err(_) => Err(CollectorConfigError::Faults { faults }),
        }
    }

    fn faults_of_stores(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(Err(error)) = self.database.as_deref().map(Ledger::check_url) {
            faults.push(format!("database: {}", chain(&error)));
        }
        if let Some(Err(error)) = self.blobs.as_ref().map(Blobs::check_config) {
            faults.push(format!("[blobs]: {}", chain(&error)));
        }
        faults
    }

    fn faults_of_limits(&self) -> Vec<String> {
        let capture = &self.capture;
        let limits = [
            ("deadline-seconds", capture.deadline_seconds),
            ("bytes-max", capture.bytes_max),
            ("object-bytes-max", capture.object_bytes_max),
        ];
        let zeros = limits.iter().filter(|(_, value)| *value == 0);
        let mut faults: Vec<String> = zeros
            .map(|(key, _)| format!("[capture] {key} is 0, so nothing would ever succeed"))
            .collect();
        if capture.deadline_seconds > DEADLINE_SECONDS_MAX {
            faults.push(format!(
                "[capture] deadline-seconds is {}, limit is {DEADLINE_SECONDS_MAX} (a day)",
                capture.deadline_seconds
            ));
        }
        faults
    }
}

fn chain_of(error: &CollectorConfigError) -> String {
    chain(error)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::FILE_NAME;

    async fn check(folder: &Path, text: &str) -> Result<CheckedConfig, String> {
        sources::crypto::install_provider();
        fs::write(folder.join(FILE_NAME), text).expect("own folder");
        let config = CollectorConfig::read(folder).expect("well-formed");
        let checked = config.check(&Plays::built_in(), false).await;
        checked.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn finds_every_value_that_cannot_work() {
        let folder = tempfile::tempdir().expect("a folder");
        let defaults = check(folder.path(), "").await.expect("they work");
        assert_eq!(defaults.warnings, Vec::<String>::new());

        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("own folder");
            path.display().to_string()
        };
        let certificate = file("certificate.pem", &key.cert.pem());
        let own_key = file("key.pem", &key.signing_key.serialize_pem());
        let other_key = file("other.pem", &other.signing_key.serialize_pem());
        let tls = |certificate: &str, key: &str| {
            format!("[serve.tls]\ncertificate = {certificate:?}\nkey = {key:?}\n")
        };
        let works = check(folder.path(), &tls(&certificate, &own_key)).await;
        assert!(works.is_ok(), "{works:?}");

        let github = "[sources.github]\ntoken-file = '/run/t'\n";
        for (text, fault) in [
            (
                "[hooks.pagerduty]\nsecrets = ['0123456789abcdef']\nplay = 'leaked-secrets'\n",
                "did you mean \"leaked-secret\"",
            ),
            (
                "[hooks.pagerduty]\nsecrets = ['short']\n",
                "at least 16 bytes",
            ),
            ("[capture]\ndeadline-seconds = 0\n", "deadline-seconds is 0"),
            ("[serve]\nconnections-max = 0\n", "connections-max is 0"),
            ("[serve]\nlisten = '0.0.0.0:8080'\n", "without TLS"),
            (&tls("/nonexistent", &own_key), "/nonexistent"),
            (&tls(&certificate, &certificate), "certificate.pem"),
            (&tls(&certificate, &other_key), "with its key"),
            (
                "[serve.oidc]\nissuer = 'https://id.example'\naudience = 'a'\nroles = {}\n",
                "no group has a role",
            ),
            (
                "[serve.oidc]\nissuer = 'http://id.example'\naudience = 'a'\nroles = {a = 'owner'}\n",
                "not an https:// URL",
            ),
            ("[blobs]\nlocation = 's3://'\n", "s3://bucket"),
            ("[blobs]\nlocation = 'evidence'\n", "absolute path"),
            ("database = 'mysql://h/d'\n", "unsupported database URL"),
            ("[telemetry]\nendpoint = 'ftp://x'\n", "ftp://x"),
            (
                "[agents]\nlisten = '127.0.0.1:0'\nurl = 'http://h'\n",
                "[agents] url",
            ),
            (
                "[sources.aws_cloudtrail]\nregions = ['eu-wst-1']\n",
                "did you mean \"eu-west-1\"",
            ),
            (
                "[sources.aws_cloudtrail]\nregions = []\n",
                "the list is empty",
            ),
            (
                "[sources.aws_cloudtrail]\nroles = ['auditor']\n",
                "\"auditor\"",
            ),
            (
                "[sources.aws_cloudtrail]\nrequests-per-second = 0\n",
                "requests-per-second is 0",
            ),
            (
                "[sources.aws_cloudtrail]\nprofiles = ['nosuch-profile-of-a-test']\n",
                "nosuch-profile-of-a-test",
            ),
            (
                &format!("{github}organizations = ['a b']\n"),
                "\"a b\" is not a name",
            ),
        ] {
            let found = check(folder.path(), text).await;
            let faults = found.expect_err(text);
            assert!(faults.contains(fault), "no {fault} in {faults}");
        }
    }

    #[tokio::test]
    async fn what_may_be_meant_so_is_a_warning() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "[sources.aws_cloudtrail]\nregions = ['eu-southeast-7']\n\
            [[sources.okta.orgs]]\nurl = 'https://acme.okta.com'\ntoken-file = '/run/t'\nca-file = '/nonexistent'\n";
        let warnings = check(folder.path(), text)
            .await
            .expect("no faults")
            .warnings;
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("eu-southeast-7") && warnings[1].contains("/nonexistent"));
    }
}
