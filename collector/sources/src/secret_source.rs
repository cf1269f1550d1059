//! Where a secret of the configuration comes from: a file, the environment or a command. Never the
//! configuration itself, which people copy into tickets.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use url::Url;

/// Longest secret. An RSA key of 16,384 bits has 12 KiB in PEM.
const SECRET_BYTES_MAX: usize = 64 << 10;
/// Longest run of a command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a secret is. Trusted: whoever edits the configuration decides which command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// A program with its arguments, which writes the secret to its standard output.
    Command(Vec<String>),
}

/// The settings of a token, to be flattened into a section. Exactly one is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct TokenConfig {
    pub token_file: Option<PathBuf>,
    pub token_env: Option<String>,
    /// A program with its arguments.
    pub token_command: Option<Vec<String>>,
}

/// The settings of a private key in PEM, to be flattened into a section. Exactly one is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct PrivateKeyConfig {
    pub private_key_file: Option<PathBuf>,
    pub private_key_env: Option<String>,
    /// A program with its arguments.
    pub private_key_command: Option<Vec<String>>,
}

impl TokenConfig {
    /// Where the token is.
    ///
    /// # Errors
    /// None of the settings is given, or several are.
    pub fn source(&self) -> Result<SecretSource, String> {
        let (file, variable) = (self.token_file.as_ref(), self.token_env.as_ref());
        SecretSource::one_of("token", file, variable, self.token_command.as_ref())
    }
}

impl PrivateKeyConfig {
    /// Where the key is.
    ///
    /// # Errors
    /// None of the settings is given, or several are.
    pub fn source(&self) -> Result<SecretSource, String> {
        SecretSource::one_of(
            "private-key",
            self.private_key_file.as_ref(),
            self.private_key_env.as_ref(),
            self.private_key_command.as_ref(),
        )
    }
}

/// A secret cannot be read. The texts have nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret in {path}: {cause}")]
    File {
        path: PathBuf,
        cause: std::io::Error,
    },
    #[error("environment variable {0} is not set")]
    Environment(String),
    #[error("command {program} gave no secret: {why}")]
    Command { program: String, why: String },
    #[error("the secret is empty, or longer than {SECRET_BYTES_MAX} bytes")]
    Length,
}

impl SecretSource {
    /// The one of three settings that is given.
    ///
    /// # Errors
    /// None or several are. The text names `what`.
    pub fn one_of(
        what: &str,
        file: Option<&PathBuf>,
        variable: Option<&String>,
        command: Option<&Vec<String>>,
    ) -> Result<Self, String> {
        match (file, variable, command) {
            (Some(path), None, None) => Ok(Self::File(path.clone())),
            (None, Some(name), None) => Ok(Self::Environment(name.clone())),
            (None, None, Some(command)) if !command.is_empty() => {
                Ok(Self::Command(command.clone()))
            }
            _ => Err(format!(
                "give exactly one of {what}-file, {what}-env and {what}-command"
            )),
        }
    }

    /// Reads the secret, without blanks and line ends around it.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub async fn read(&self) -> Result<String, SecretError> {
        let text = match self {
            Self::File(path) => {
                tokio::fs::read_to_string(path)
                    .await
                    .map_err(|cause| SecretError::File {
                        path: path.clone(),
                        cause,
                    })?
            }
            Self::Environment(name) => {
                std::env::var(name).map_err(|_| SecretError::Environment(name.clone()))?
            }
            Self::Command(command) => run(command).await?,
        };
        let secret = text.trim();
        if secret.is_empty() || secret.len() > SECRET_BYTES_MAX {
            return Err(SecretError::Length);
        }
        Ok(secret.to_owned())
    }
}

async fn run(command: &[String]) -> Result<String, SecretError> {
    let command = command.to_vec();
    let program = command.first().cloned().unwrap_or_default();
    let output = tokio::task::spawn_blocking(move || run_blocking(&command)).await;
    output
        .unwrap_or_else(|cause| Err(cause.to_string()))
        .map_err(|why| SecretError::Command { program, why })
}

/// Reads a URL that credentials are sent to: over TLS, or to this machine.
pub(crate) fn credential_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = Url::parse(&text).map_err(|cause| D::Error::custom(format!("{text:?}: {cause}")))?;
    let host = url.host_str().unwrap_or_default();
    let is_private = url.scheme() == "https"
        || url.scheme() == "http" && platform::loopback::is_loopback_host(host);
    if !is_private || !url.username().is_empty() || url.password().is_some() {
        let problem = "credentials are only sent over https, and never written into a URL";
        return Err(D::Error::custom(problem));
    }
    Ok(url)
}

fn run_blocking(command: &[String]) -> Result<String, String> {
    let (program, arguments) = command.split_first().ok_or("no program")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|cause| cause.to_string())?;
    let begun_at = Instant::now();
    // A program that writes more than the pipe holds blocks, and runs into the timeout.
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|cause| cause.to_string())? {
            break status;
        }
        if begun_at.elapsed() > COMMAND_TIMEOUT {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("no end within {} s", COMMAND_TIMEOUT.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    if !status.success() {
        return Err(status.to_string()); // its output may be secret
    }
    let mut output = String::new();
    let mut stdout = child.stdout.take().ok_or("no output")?;
    stdout
        .read_to_string(&mut output)
        .map_err(|cause| cause.to_string())?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_secret_of_command_and_hides_output_of_failed_one() {
        let command =
            |script: &str| SecretSource::Command(["sh", "-c", script].map(str::to_owned).to_vec());
        let secret = command("echo ' s3cret '").read().await.expect("a secret");
        assert_eq!(secret, "s3cret");
        let error = command("echo s3cret; exit 3")
            .read()
            .await
            .expect_err("failed");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        assert!(command("true").read().await.is_err(), "empty");
    }

    #[test]
    fn demands_exactly_one_source() {
        let (file, variable) = (PathBuf::from("/run/token"), "TOKEN".to_owned());
        assert!(SecretSource::one_of("token", Some(&file), None, None).is_ok());
        let error = SecretSource::one_of("token", Some(&file), Some(&variable), None);
        assert_eq!(
            error,
            Err("give exactly one of token-file, token-env and token-command".to_owned())
        );
        assert!(SecretSource::one_of("token", None, None, None).is_err());
    }
}
