//! An OpenID provider, somebody else's: `oidc-provider` of npm, with clients who are given access
//! tokens as RFC 9068 has them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::peer::{PeerProcess, installed};
use crate::root;

/// A running provider.
#[derive(Debug)]
pub struct Issuer {
    /// Its name, and where it is.
    pub url: String,
    _node: PeerProcess,
}

impl Issuer {
    /// Starts one; prints why the test is skipped where it is not installed.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        installed("node/node_modules/oidc-provider/package.json")?;
        let mut command = Command::new("node");
        command
            .arg(root().join("tests/interop/oidc-provider.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut node = PeerProcess(command.spawn().expect("Node is there, as its packages are"));
        let mut url = String::new();
        BufReader::new(node.0.stdout.take().expect("it is piped"))
            .read_line(&mut url)
            .expect("it says where it listens");
        assert!(url.starts_with("http://"), "it does not start: {url:?}");
        Some(Self {
            url: url.trim().to_owned(),
            _node: node,
        })
    }

    /// A token of the provider itself, for whom the client is configured (`client_credentials`, RFC
    /// 6749 §4.4).
    ///
    /// # Panics
    /// It gives none.
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

    /// A token that the provider would never give, made by `jose` with the provider's own keys.
    ///
    /// # Panics
    /// There is no answer.
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

    /// Takes new keys, whose names end in the next number, or ends.
    ///
    /// # Panics
    /// There is no answer.
    pub fn control(&self, what: &str) {
        self.send("POST", &format!("/test/{what}"), "");
    }

    fn send(&self, method: &str, path: &str, form: &str) -> String {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("it listens");
        let kind = "application/x-www-form-urlencoded";
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: {address}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            form.len()
        );
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(form.as_bytes()))
            .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
            .split_once("\r\n\r\n")
            .expect("an answer")
            .1
            .to_owned()
    }
}
