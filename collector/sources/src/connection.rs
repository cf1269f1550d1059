//! How to connect to a target: settings that each target of every source has.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::recorder::{TlsTrust, TrustedRoots};

/// TLS and proxy settings of one target, to be flattened into its section. Trusted: whoever edits
/// them can read and forge what the target answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct ConnectionConfig {
    /// Certificate authorities in PEM that are trusted beside those of the system.
    pub ca_file: Option<PathBuf>,
    /// Our certificate chain in PEM, for a server that demands one, and its private key.
    pub client_certificate_file: Option<PathBuf>,
    pub client_key_file: Option<PathBuf>,
    /// The name that the server's certificate must have, if it is not the host of the URL. Cannot be
    /// combined with `proxy`.
    pub server_name: Option<String>,
    /// URL of a proxy. Without it, `HTTPS_PROXY` and the like apply.
    pub proxy: Option<String>,
}

impl ConnectionConfig {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, or settings do not fit together.
    pub fn trust(&self) -> Result<TlsTrust, String> {
        let roots = match &self.ca_file {
            Some(path) => TrustedRoots::SystemAnd(read(path)?),
            None => TrustedRoots::System,
        };
        let identity_pem = match (&self.client_certificate_file, &self.client_key_file) {
            (Some(certificate), Some(key)) => {
                Some([read(certificate)?, b"\n".to_vec(), read(key)?].concat())
            }
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err("give both client-certificate-file and client-key-file".to_owned());
            }
        };
        if self.server_name.is_some() && self.proxy.is_some() {
            return Err("server-name and proxy cannot be combined".to_owned());
        }
        Ok(TlsTrust {
            roots,
            identity_pem,
            server_name: self.server_name.clone(),
            proxy: self.proxy.clone(),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|cause| format!("cannot read {}: {cause}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_half_a_client_certificate_and_missing_files() {
        let read =
            |json: &str| -> ConnectionConfig { serde_json::from_str(json).expect("settings") };
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, name).expect("own folder");
            path.display().to_string()
        };
        let (certificate, key) = (file("certificate"), file("key"));
        let both = format!(
            r#"{{"client-certificate-file": "{certificate}", "client-key-file": "{key}", "ca-file": "{key}", "proxy": "http://p:1"}}"#
        );
        let trust = read(&both).trust().expect("readable");
        assert_eq!(
            trust.identity_pem.as_deref(),
            Some(&b"certificate\nkey"[..])
        );
        assert!(trust.roots == TrustedRoots::SystemAnd(b"key".to_vec()));
        assert_eq!(trust.proxy.as_deref(), Some("http://p:1"));
        for wrong in [
            format!(r#"{{"client-certificate-file": "{certificate}"}}"#),
            format!(r#"{{"client-key-file": "{key}"}}"#),
            r#"{"ca-file": "/nonexistent"}"#.to_owned(),
            r#"{"server-name": "a", "proxy": "http://p:1"}"#.to_owned(),
        ] {
            assert!(read(&wrong).trust().is_err(), "{wrong}");
        }
    }
}
