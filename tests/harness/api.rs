//! A client of the API that shares no code with the product: hand-written HTTP/1.1, with one
//! connection for each request.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{program, run, run_ok};

/// The longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub struct ApiResponse {
    pub status: u16,
    /// Names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl ApiResponse {
    /// The value of a header.
    ///
    /// # Panics
    /// If the response has no such header.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(other, _)| other == name);
        &found
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
            .1
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If the body is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// A running `exhibit serve`, killed on drop.
pub struct ApiServer {
    pub child: Child,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl ApiServer {
    /// Starts `command`, which is `exhibit` with its global options, as a server on any free port.
    /// Returns once it listens.
    ///
    /// # Panics
    /// If it does not listen.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, &[])
    }

    /// Like [`start`](Self::start), with more arguments for `serve`.
    ///
    /// # Panics
    /// If it does not listen.
    #[must_use]
    pub fn start_with(command: &mut Command, arguments: &[&str]) -> Self {
        let command = command
            .args(["serve", "--listen", "127.0.0.1:0", "--json"])
            .args(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("the stream is piped"))
            .read_line(&mut line)
            .expect("`serve --json` prints its address");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        let url = said["listening"].as_str().expect("a URL").to_owned();
        Self {
            child,
            address: url.split_once("://").expect("a URL").1.to_owned(),
        }
    }

    /// Sends a request and reads the whole response. `head` has the request line and headers.
    ///
    /// # Panics
    /// If there is no response.
    pub fn send(&self, head: &str, body: &[u8]) -> ApiResponse {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let head = format!(
            "{head}host: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body))
            .expect("the peer reads");
        read(stream)
    }

    /// Calls the API.
    ///
    /// # Panics
    /// If there is no response.
    pub fn call(&self, token: &str, method: &str, path: &str, json: Option<&Value>) -> ApiResponse {
        let body = json.map(ToString::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
        );
        self.send(&head, body.as_bytes())
    }

    /// Polls `path` until `is_expected` accepts the response, and returns it.
    ///
    /// # Panics
    /// If that takes longer than [`PATIENCE`].
    pub fn wait(&self, token: &str, path: &str, is_expected: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let json = self.call(token, "GET", path, None).json();
            if is_expected(&json) {
                return json;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "timed out waiting for {path}; last response: {json}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends SIGTERM, as a service manager does.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn terminate(&self) {
        run_ok(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
    }

    /// Sends SIGHUP, as `systemctl reload` does.
    ///
    /// # Panics
    /// If the process is gone.
    pub fn reload(&self) {
        let _ = run_ok(Command::new("kill").args(["-HUP", &self.child.id().to_string()]));
    }

    /// Waits for the process to exit, and returns its exit code.
    ///
    /// # Panics
    /// If it does not exit, or was killed by a signal.
    pub fn wait_for_exit(&mut self) -> i32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child process") {
                return status.code().expect("no signal killed it");
            }
            assert!(begun.elapsed() < PATIENCE, "`exhibit serve` does not exit");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Creates an API token with this role on `store`.
///
/// # Panics
/// If `exhibit token create` fails.
#[must_use]
pub fn token(store: &Path, role: &str) -> String {
    let mut command = Command::new(program("exhibit"));
    let output = run(command
        .arg("--store")
        .arg(store)
        .args(["token", "create", "--role", role, "--json"]));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let line: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert!(
        line["id"].is_string() && line["role"] == role && line["expiresAt"].is_string(),
        "{line}"
    );
    line["token"].as_str().expect("a token").to_owned()
}

/// Reads a whole response, with or without chunked encoding.
fn read(stream: TcpStream) -> ApiResponse {
    let mut reader = BufReader::new(stream);
    let first = read_line(&mut reader);
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("not an HTTP response: {first:?}"));
    let mut headers = Vec::new();
    loop {
        let header = read_line(&mut reader);
        let Some((name, value)) = header.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let is_chunked = headers
        .iter()
        .any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let mut body = Vec::new();
    if !is_chunked {
        reader.read_to_end(&mut body).expect("a response");
        return ApiResponse {
            status,
            headers,
            body,
        };
    }
    loop {
        let size = usize::from_str_radix(&read_line(&mut reader), 16).expect("a chunk");
        let begin = body.len();
        body.resize(begin + size, 0);
        reader
            .read_exact(&mut body[begin..])
            .expect("a whole chunk");
        read_line(&mut reader);
        if size == 0 {
            return ApiResponse {
                status,
                headers,
                body,
            };
        }
    }
}

fn read_line(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a response");
    line.trim_end().to_owned()
}
