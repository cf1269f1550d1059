//! The address of a server, and whether a token may be sent to it.

use std::fmt;

use platform::loopback::is_loopback_host;
use url::Url;

/// The URL of a server to which a token may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(Url);

/// The text is not the URL of a server to which a token may be sent.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum ServerUrlError {
    #[error("{text:?} is not the URL of a server, such as https://exhibit.example.com")]
    Invalid { text: String },
    #[error("the URL of a server must not have a {part}: remove it")]
    ExtraPart { part: &'static str },
    /// Without TLS, others on the network could read the token.
    #[error(
        "{host} must be reached over https://, since others could read the token on the way; --insecure-http sends it nevertheless"
    )]
    PlainHttp { host: String },
}

impl ServerUrl {
    /// Reads a URL. Plain HTTP is accepted only for this machine, or if `insecure` is true.
    ///
    /// # Errors
    /// See [`ServerUrlError`].
    pub fn parse(text: &str, insecure: bool) -> Result<Self, ServerUrlError> {
        // The text may be anything, even a file that was pasted by mistake.
        let invalid = || ServerUrlError::Invalid {
            text: text.chars().take(200).collect(),
        };
        let mut url = Url::parse(text.trim()).map_err(|_| invalid())?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(invalid());
        }
        let extra_parts = [
            (
                "user or password",
                !url.username().is_empty() || url.password().is_some(),
            ),
            ("query", url.query().is_some()),
            ("fragment", url.fragment().is_some()),
        ];
        if let Some((part, _)) = extra_parts.into_iter().find(|(_, is_there)| *is_there) {
            return Err(ServerUrlError::ExtraPart { part });
        }
        if !url.path().ends_with('/') {
            // `Url::join` would replace the last segment of a path without a slash.
            url.set_path(&format!("{}/", url.path()));
        }
        let server = Self(url);
        if server.0.scheme() == "http" && !server.is_this_machine() && !insecure {
            return Err(ServerUrlError::PlainHttp {
                host: server.0.host_str().unwrap_or_default().to_owned(),
            });
        }
        Ok(server)
    }

    /// True if what is sent there does not leave this machine.
    pub(super) fn is_this_machine(&self) -> bool {
        self.0.host_str().is_some_and(is_loopback_host)
    }

    pub(super) fn is_plain_http(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// The URL of an API path such as `v1/whoami`.
    pub(super) fn url(&self, path: &str) -> Url {
        self.0.join(path).expect("paths of the API are paths")
    }

    /// Host and port as the name of a file or folder.
    pub(super) fn file_name(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        let port = self.0.port_or_known_default().unwrap_or_default();
        let host: String = host
            .chars()
            .map(|c| match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => c,
                _ => '_',
            })
            .collect();
        format!("{host}_{port}")
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
    fn rejects_plain_http_beyond_this_machine() {
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
    fn rejects_urls_with_more_than_an_address() {
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
                parse(bad).is_err_and(|text| text.contains("is not the URL of a server")),
                "{bad}"
            );
        }
        for (bad, what) in [
            ("https://a:b@x", "user or password"),
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
