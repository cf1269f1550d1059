//! Why a request to a server failed, and what the user can do about it.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use api::ProblemCode;
use evidence_format::digest::Digest;
use evidence_format::keyring::KeyError;
use evidence_format::safe::safe;
use serde::{Deserialize, Deserializer};

use super::ServerUrl;

/// A request to a server failed. Texts that a server wrote are escaped.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection: the request cannot have arrived.
    #[error("cannot reach {server}: is `exhibit serve` running there, and is the address right?")]
    Unreachable {
        server: String,
        #[source]
        cause: reqwest::Error,
    },
    /// TLS rejected the server's certificate, so the token was not sent.
    #[error(
        "the certificate of {server} is not trusted, so no token was sent: name the CA that signed it with --ca, or with `ca` in the profile"
    )]
    Certificate {
        server: String,
        #[source]
        cause: reqwest::Error,
    },
    /// The server was silent for too long.
    #[error("{server} did not answer within {seconds} s: try again, or read the server's log")]
    NoAnswer { server: String, seconds: u64 },
    /// The connection broke after the request was sent; it may have taken effect.
    #[error(
        "lost the connection to {server}: check whether the request took effect before you repeat it"
    )]
    ConnectionLost {
        server: String,
        #[source]
        cause: reqwest::Error,
    },
    /// The server rejected the token.
    #[error(
        "{server} rejected the token: it is wrong, expired or revoked; store another one with `exhibit login {server}`"
    )]
    Unauthenticated { server: String },
    /// The server refused the request, and said why.
    #[error("{server} refused the request: {}", safe(&problem.detail))]
    Refused {
        server: String,
        problem: ProblemDetails,
    },
    /// The server redirects. The client does not follow: the token is for this server only.
    #[error(
        "{server} redirects to {}, and a token is never sent there: if that address is right, use it instead",
        safe(target)
    )]
    Redirect { server: String, target: String },
    /// The answer is not what the API defines.
    #[error(
        "cannot read the answer of {server} ({what}): is it an `exhibit serve`, and not newer than this program?"
    )]
    UnreadableAnswer { server: String, what: String },
    /// The HTTP client cannot be set up.
    #[error("cannot set up HTTPS: are the system's CA certificates installed?")]
    TlsSetup(#[source] reqwest::Error),
    /// A file of CA certificates is invalid.
    #[error("cannot use {} as a CA certificate: expected PEM", path.display())]
    CaFile {
        path: PathBuf,
        /// `None` if the file is valid PEM without a certificate.
        #[source]
        cause: Option<reqwest::Error>,
    },
    /// A file of this machine cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// What arrived is not the requested bundle.
    #[error(
        "{server} did not send bundle {bundle}; the download was deleted: {}",
        safe(fault)
    )]
    WrongBundle {
        server: String,
        bundle: Digest,
        fault: String,
    },
    /// Another process downloads into the same file.
    #[error("another `exhibit fetch` is writing {}: wait for it, or name another file with --out", path.display())]
    DownloadRunning { path: PathBuf },
    /// The server's public key is invalid.
    #[error("the public key of {server} is invalid")]
    InvalidKey {
        server: String,
        #[source]
        cause: KeyError,
    },
    /// There is no folder for the keys of servers.
    #[error("there is no home folder for the keys of servers: set HOME or XDG_STATE_HOME")]
    NoHome,
    /// The operating system has no random numbers.
    #[error("cannot get randomness from the operating system")]
    Randomness(#[source] io::Error),
}

/// A problem document (RFC 9457) as the client reads it: members and codes of later versions are
/// ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ProblemDetails {
    /// `None` for a code that this version does not know.
    #[serde(deserialize_with = "known_code")]
    pub code: Option<ProblemCode>,
    /// What was wrong, and what to do.
    #[serde(default)]
    pub detail: String,
}

fn known_code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ProblemCode>, D::Error> {
    let code = String::deserialize(deserializer)?;
    Ok(ProblemCode::ALL
        .into_iter()
        .find(|known| known.as_str() == code))
}

impl ClientError {
    /// The error for a request that could not be sent, or whose answer did not begin.
    pub(super) fn from_send_error(server: &ServerUrl, cause: reqwest::Error) -> Self {
        // The URL's query may hold what the user searches for, and logs show the error.
        let (server, cause) = (server.to_string(), cause.without_url());
        if is_certificate_error(&cause) {
            Self::Certificate { server, cause }
        } else if cause.is_connect() {
            Self::Unreachable { server, cause }
        } else {
            Self::ConnectionLost { server, cause }
        }
    }

    /// The server's code for a refusal; `None` for any other failure.
    #[must_use]
    pub fn code(&self) -> Option<ProblemCode> {
        match self {
            Self::Refused { problem, .. } => problem.code,
            Self::Unauthenticated { .. } => Some(ProblemCode::Unauthenticated),
            Self::Unreachable { .. }
            | Self::Certificate { .. }
            | Self::NoAnswer { .. }
            | Self::ConnectionLost { .. }
            | Self::Redirect { .. }
            | Self::UnreadableAnswer { .. }
            | Self::TlsSetup(_)
            | Self::CaFile { .. }
            | Self::File { .. }
            | Self::WrongBundle { .. }
            | Self::DownloadRunning { .. }
            | Self::InvalidKey { .. }
            | Self::NoHome
            | Self::Randomness(_) => None,
        }
    }

    /// True if the request never reached the server, so that any request may be repeated.
    pub(super) fn never_reached_server(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// True if the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::ConnectionLost { .. } | Self::NoAnswer { .. }
        ) || matches!(
            self.code(),
            Some(ProblemCode::Unavailable | ProblemCode::Timeout)
        )
    }
}

/// True if TLS failed because of the server's certificate.
fn is_certificate_error(error: &(dyn Error + 'static)) -> bool {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return matches!(tls, rustls::Error::InvalidCertificate(_));
    }
    // `source` of an io::Error skips the error inside it.
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    inner.is_some_and(|inner| is_certificate_error(inner))
        || error.source().is_some_and(is_certificate_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_problems_of_later_versions() {
        let problem: ProblemDetails = serde_json::from_str(
            r#"{"type": "x", "code": "on-fire", "detail": "the collector burns", "since": 1}"#,
        )
        .expect("a problem");
        assert_eq!(problem.code, None);
        assert_eq!(problem.detail, "the collector burns");
        let problem: ProblemDetails =
            serde_json::from_str(r#"{"code": "not-found"}"#).expect("a problem");
        assert_eq!(problem.code, Some(ProblemCode::NotFound));
        assert!(serde_json::from_str::<ProblemDetails>(r#"{"error": "no"}"#).is_err());
    }
}
