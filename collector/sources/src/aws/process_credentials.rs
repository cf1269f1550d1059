//! Credentials from a program of the user (`credential_process`), which ends with us.
//!
//! The SDK runs such a program too, but leaves it running when nobody waits for it any more: of one
//! that hangs, each look at the source would leave another one.
//!
//! Its output: AWS SDKs and Tools Reference Guide, "Process credential provider".

use std::process::Stdio;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

/// The name in errors and debug output.
const PROVIDER: &str = "CredentialProcess";
/// The only version of the output.
const VERSION: u32 = 1;

/// Bytes of the output. Session tokens have some KiB.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// Runs a shell command for credentials.
#[derive(Clone)]
pub(super) struct ProcessCredentials {
    command: String,
}

/// It may contain a secret.
impl std::fmt::Debug for ProcessCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessCredentials").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProcessOutput {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

/// A program with all that it has started. Dropping it kills them.
struct ProcessGroup(Child);

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        // Its id is that of the group, until the program has been waited for.
        let group = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = group.and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL); // it may just have ended
        }
    }
}

impl ProcessCredentials {
    pub(super) fn new(command: &str) -> Self {
        Self {
            command: command.to_owned(),
        }
    }

    async fn run(&self) -> Result<Credentials, CredentialsError> {
        let child = Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // A helper that asks for a second factor writes there; what it says may be secret.
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(CredentialsError::provider_error)?;
        let mut group = ProcessGroup(child);
        let mut output = Vec::new();
        if let Some(stdout) = group.0.stdout.take() {
            let mut limited = stdout.take(OUTPUT_BYTES_MAX);
            let read = limited.read_to_end(&mut output).await;
            read.map_err(CredentialsError::provider_error)?;
        }
        let status = group.0.wait().await;
        let status = status.map_err(CredentialsError::provider_error)?;
        if !status.success() {
            return Err(CredentialsError::provider_error(format!(
                "credential_process ended with {status}"
            )));
        }
        parse(&output).ok_or_else(|| {
            CredentialsError::provider_error("credential_process did not print credentials")
        })
    }
}

fn parse(output: &[u8]) -> Option<Credentials> {
    let output: ProcessOutput = serde_json::from_slice(output).ok()?;
    if output.version != VERSION {
        return None;
    }
    let expires = match output.expiration {
        Some(text) => {
            let time = DateTime::from_str(&text, Format::DateTimeWithOffset).ok()?;
            Some(SystemTime::try_from(time).ok()?)
        }
        None => None,
    };
    Some(Credentials::new(
        output.access_key_id,
        output.secret_access_key,
        output.session_token,
        expires,
        PROVIDER,
    ))
}

impl ProvideCredentials for ProcessCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.run())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn reads_credentials_that_a_program_prints() {
        let print = r#"echo '{"Version": 1, "AccessKeyId": "AKIA1", "SecretAccessKey": "s", "Expiration": "2030-01-01T00:00:00Z"}'"#;
        let credentials = ProcessCredentials::new(print).provide_credentials().await;
        let credentials = credentials.expect("credentials");
        assert_eq!(credentials.access_key_id(), "AKIA1");
        assert!(credentials.expiry().is_some());
        for wrong in ["exit 1", "echo '{}'", "true", "echo '{\"Version\": 2}'"] {
            let refused = ProcessCredentials::new(wrong).provide_credentials().await;
            assert!(refused.is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn program_that_hangs_ends_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let command = format!("sleep 300 & echo $! > {}; wait", file.display());
        let provider = ProcessCredentials::new(&command);
        let look = provider.provide_credentials();
        let look = tokio::time::timeout(Duration::from_secs(2), look).await;
        assert!(look.is_err(), "it hangs");
        let pid = fs::read_to_string(&file).expect("it was started");
        let stat = format!("/proc/{}/stat", pid.trim());
        for _ in 0..50 {
            // A zombie until whoever is its parent now has waited for it.
            match fs::read_to_string(&stat) {
                Ok(text) if !text.contains(") Z ") => {}
                Ok(_) | Err(_) => return,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the child of the program still runs");
    }
}
