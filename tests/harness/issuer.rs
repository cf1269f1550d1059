//! A third-party OpenID provider: `oidc-provider` from npm. It gives its clients access tokens in
//! the format of RFC 9068.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::peer::{PeerProcess, installed};
use crate::root;

/// A running provider.
#[derive(Debug)]
pub struct Issuer {
    /// Its URL, which is also its issuer name.
    pub url: String,
    _node: PeerProcess,
}

impl Issuer {
    /// Starts a provider. If it is not installed, prints that the test is skipped.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        installed("node/node_modules/oidc-provider/package.json")?;
        let mut command = Command::new("node");
        command
            .arg(root().join("tests/interop/oidc-provider.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut node = PeerProcess(
            command
                .spawn()
                .expect("Node is installed with its packages"),
        );
        let mut url = String::new();
        BufReader::new(node.0.stdout.take().expect("the stream is piped"))
            .read_line(&mut url)
            .expect("it prints its URL");
        assert!(
            url.starts_with("http://"),
            "the OpenID provider does not start: {url:?}"
        );
        Some(Self {
            url: url.trim().to_owned(),
            _node: node,
        })
    }

    /// Requests an access token for a client (`client_credentials`, RFC 6749 §4.4).
    ///
    /// # Panics
    /// If the provider refuses.
    #[must_use]
    pub fn token(&self, client: &str) -> String {
        let form = format!(
            "grant_type=client_credentials&client_id={client}&client_secret=secret-of-{client}"
        );
        let answer: Value =
            serde_json::from_str(&self.send("POST", "/token", &form)).expect("JSON");
        answer["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"))
            .to_owned()
    }

    /// A token that the provider would never issue, signed by `jose` with the provider's own keys.
    ///
    /// # Panics
    /// If there is no response.
    #[must_use]
    pub fn forged(&self, alg: &str, kid: &str, claims: &Value) -> String {
        let query: String =
            url::form_urlencoded::byte_serialize(claims.to_string().as_bytes()).collect();
        self.send(
            "POST",
            &format!("/test/sign?alg={alg}&kid={kid}&claims={query}"),
            "",
        )
    }

    /// Sends a command to the provider: `rotate` replaces its keys by new ones, whose names end in
    /// the next number; `stop` ends the process.
    ///
    /// # Panics
    /// If there is no response.
    pub fn control(&self, command: &str) {
        self.send("POST", &format!("/test/{command}"), "");
    }

    fn send(&self, method: &str, path: &str, form: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("the server listens");
        let kind = "application/x-www-form-urlencoded";
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            form.len()
        );
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(form.as_bytes()))
            .expect("the peer reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("a response");
        answer
            .split_once("\r\n\r\n")
            .expect("a response")
            .1
            .to_owned()
    }
}
