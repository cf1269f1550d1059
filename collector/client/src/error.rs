//! What went wrong between a command and a server, and what to do about it.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use evidence_format::digest::Digest;
use evidence_format::keyring::KeyError;
use evidence_format::safe::safe;
use serde::Deserialize;

/// A server could not be asked, or does not do it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or there is no way.
    #[error("cannot reach {server}: does `exhibit serve` run there, and is that its address?")]
    Unreachable {
        /// Where.
        server: String,
        /// Why.
        #[source]
        cause: reqwest::Error,
    },
    /// It is not who it says that it is, or nobody says so whom this machine trusts.
    #[error(
        "cannot trust the certificate of {server}, and sends it no token: name the CA that signed it with --ca, or `ca` of the profile"
    )]
    Certificate {
        /// Whose.
        server: String,
        /// Why.
        #[source]
        cause: reqwest::Error,
    },
    /// It does not answer.
    #[error("{server} gave no answer within {seconds} s: try again, or look into its log")]
    NoAnswer {
        /// Which.
        server: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The connection was cut. Whether it did what was asked is not known.
    #[error("the connection to {server} broke: look whether it was done before you try again")]
    ConnectionLost {
        /// To which.
        server: String,
        /// Why.
        #[source]
        cause: reqwest::Error,
    },
    /// The token is worth nothing there.
    #[error(
        "{server} does not take the token: it is wrong, expired or revoked; `exhibit login {server}` stores another"
    )]
    Unauthenticated {
        /// Which.
        server: String,
    },
    /// It says no, and why.
    #[error("{server} refuses: {}", safe(&problem.detail))]
    Refused {
        /// Which.
        server: String,
        /// Why.
        problem: ProblemDetails,
    },
    /// It is somewhere else, where the token must not go by itself.
    #[error(
        "{server} sends on to {}, where no token follows: give that address if it is right",
        safe(to)
    )]
    Redirect {
        /// Which.
        server: String,
        /// Where to.
        to: String,
    },
    /// It speaks, and not as an `exhibit serve` that this version knows.
    #[error(
        "cannot read what {server} answers ({what}): is it an `exhibit serve`, and no later version than this program?"
    )]
    UnreadableAnswer {
        /// Which.
        server: String,
        /// What is wrong.
        what: String,
    },
    /// HTTPS cannot be set up.
    #[error("cannot set up HTTPS: are the system's CA certificates installed?")]
    TlsSetup(#[source] reqwest::Error),
    /// A file of certificates cannot be used.
    #[error("cannot use {} as CA certificate: expected PEM", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why, if it can be read.
        #[source]
        cause: Option<reqwest::Error>,
    },
    /// A file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// What arrived is not the bundle that was asked for.
    #[error(
        "what {server} sent is not the bundle {bundle}, and is not kept: {}",
        safe(fault)
    )]
    WrongBundle {
        /// Which.
        server: String,
        /// What was asked for.
        bundle: Digest,
        /// What is wrong with it.
        fault: String,
    },
    /// Somebody else downloads into the same file.
    #[error("{} is being written by another `exhibit fetch`: wait for it, or name another file with --out", path.display())]
    DownloadRunning {
        /// The file.
        path: PathBuf,
    },
    /// What it signs with is no key.
    #[error("cannot use the public key of {server}")]
    InvalidKey {
        /// Whose.
        server: String,
        /// Why.
        #[source]
        cause: KeyError,
    },
    /// There is no folder for what is remembered of servers.
    #[error("there is no home folder for the keys of servers: set HOME or XDG_STATE_HOME")]
    NoHome,
    /// Randomness numbers cannot be had.
    #[error("cannot get randomness from the operating system")]
    Randomness(#[source] io::Error),
}

/// Why a server does not do what it is asked (RFC 9457). What it does not know of yet is ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ProblemDetails {
    /// Stays the same for the same reason.
    pub code: String,
    /// What was wrong, and what to do.
    #[serde(default)]
    pub detail: String,
    /// What an incident lacks before it can be closed.
    #[serde(default)]
    pub missing: Vec<String>,
}

impl ClientError {
    /// What came of sending a request to `server`.
    pub(super) fn from_send_error(server: &super::ServerUrl, cause: reqwest::Error) -> Self {
        let (server, cause) = (server.to_string(), cause.without_url());
        match cause {
            cause if is_certificate_error(&cause) => Self::Certificate { server, cause },
            cause if cause.is_connect() => Self::Unreachable { server, cause },
            cause => Self::ConnectionLost { server, cause },
        }
    }

    /// The code of a server's refusal.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { problem, .. } => Some(&problem.code),
            Self::Unauthenticated { .. } => Some("unauthenticated"),
            _ => None,
        }
    }

    /// True if the server has not seen the request: whatever it is, it may be sent again.
    pub(super) fn never_reached_server(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// True if it may be better the next time.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::ConnectionLost { .. } | Self::NoAnswer { .. }
        ) || matches!(self.code(), Some("unavailable" | "timeout"))
    }
}

/// True if TLS failed because of who the server is.
fn is_certificate_error(error: &(dyn Error + 'static)) -> bool {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return matches!(tls, rustls::Error::InvalidCertificate(_));
    }
    // an io::Error's cause is that of the error in it, which it leaves out
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    inner.is_some_and(|inner| is_certificate_error(inner))
        || error.source().is_some_and(is_certificate_error)
}
