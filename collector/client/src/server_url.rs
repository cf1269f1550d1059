//! Where a server is, and whether a token may go there.

use std::fmt;

use url::{Host, Url};

/// The address of a server that a token may be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(Url);

/// The text is no address that a token may be sent to.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum ServerUrlError {
    /// It is no URL.
    #[error("{text:?} is no URL of a server: expected one such as https://exhibit.example.com")]
    Invalid {
        /// What it is.
        text: String,
    },
    /// It has what the address of a server has not.
    #[error("the URL of a server has no {what}: leave it out")]
    ExtraPart {
        /// What it has.
        what: &'static str,
    },
    /// Whoever listens on the way would read the token.
    #[error(
        "a token goes to {host} over https:// alone: on the way there others could read it; --insecure-http sends it all the same"
    )]
    PlainHttp {
        /// Where.
        host: String,
    },
}

impl ServerUrl {
    /// Reads an address. Without TLS only on this machine, unless `insecure` says that it need not
    /// be.
    ///
    /// # Errors
    /// See [`ServerUrlError`].
    pub fn parse(text: &str, insecure: bool) -> Result<Self, ServerUrlError> {
        let invalid = || ServerUrlError::Invalid {
            text: text.chars().take(200).collect(),
        };
        let mut url = Url::parse(text.trim()).map_err(|_| invalid())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(invalid());
        }
        let parts = [
            (
                "user and password",
                !url.username().is_empty() || url.password().is_some(),
            ),
            ("query", url.query().is_some()),
            ("fragment", url.fragment().is_some()),
        ];
        if let Some((what, _)) = parts.into_iter().find(|(_, has)| *has) {
            return Err(ServerUrlError::ExtraPart { what });
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path())); // so that paths are added and not replaced
        }
        let server = Self(url);
        if server.0.scheme() == "http" && !server.is_this_machine() && !insecure {
            return Err(ServerUrlError::PlainHttp {
                host: server.0.host_str().unwrap_or_default().to_owned(),
            });
        }
        Ok(server)
    }

    /// True if what is sent there does not leave this machine (RFC 6761 §6.3 for the name).
    pub(super) fn is_this_machine(&self) -> bool {
        match self.0.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
            None => false,
        }
    }

    /// True if nothing is encrypted on the way.
    pub(super) fn is_plain_http(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// The URL of `path` there: `v1/whoami`.
    pub fn url(&self, path: &str) -> Url {
        self.0.join(path).expect("paths of the API are paths")
    }

    /// A name for files: host and port.
    pub(super) fn file_name(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        let port = self.0.port_or_known_default().unwrap_or_default();
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || ".-".contains(c) {
                c
            } else {
                '_'
            }
        };
        format!("{}_{port}", host.chars().map(plain).collect::<String>())
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, String> {
        ServerUrl::parse(text, false)
            .map(|server| server.url("v1/whoami").to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_is_not_sent_where_others_could_read_it() {
        for good in [
            "https://exhibit.example.com",
            "http://127.0.0.1:8080",
            "http://[::1]:8080/",
            "http://localhost",
        ] {
            assert!(
                parse(good).is_ok_and(|url| url.ends_with("/v1/whoami")),
                "{good}"
            );
        }
        for plain in [
            "http://exhibit.example.com",
            "http://10.0.0.1:8080",
            "http://localhost.example.com",
            "http://[::2]",
        ] {
            assert!(
                parse(plain).is_err_and(|text| text.contains("--insecure-http")),
                "{plain}"
            );
            assert!(ServerUrl::parse(plain, true).is_ok(), "{plain}");
        }
    }

    #[test]
    fn an_address_is_one_and_nothing_else() {
        assert_eq!(
            parse("https://x/exhibit"),
            Ok("https://x/exhibit/v1/whoami".to_owned())
        );
        for bad in [
            "",
            "exhibit.example.com",
            "ftp://x",
            "https://",
            "file:///etc/passwd",
            "unix:/run/x",
        ] {
            assert!(
                parse(bad).is_err_and(|text| text.contains("is no URL of a server")),
                "{bad}"
            );
        }
        for (bad, what) in [
            ("https://a:b@x", "user and password"),
            ("https://x/?a", "query"),
            ("https://x/#a", "fragment"),
        ] {
            assert!(parse(bad).is_err_and(|text| text.contains(what)), "{bad}");
        }
        let server = ServerUrl::parse("http://[::1]:8080", false).expect("a server");
        assert_eq!(
            (server.file_name().as_str(), server.to_string().as_str()),
            ("___1__8080", "http://[::1]:8080")
        );
    }
}
