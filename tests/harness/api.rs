//! A client of the API that knows nothing of our code: HTTP/1.1 by hand, one connection a request.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{program, run, run_ok};

/// How long anything may take that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header's lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    ///
    /// # Panics
    /// There is none.
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
    /// It is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// A running `exhibit serve`, killed when dropped.
pub struct Serve {
    /// The process.
    pub child: Child,
    /// `127.0.0.1:PORT`.
    pub address: String,
}

impl Serve {
    /// Starts `command`, which is `exhibit … serve` on any port, and waits until it listens.
    ///
    /// # Panics
    /// It does not.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, &[])
    }

    /// The same, with more arguments.
    ///
    /// # Panics
    /// It does not listen.
    #[must_use]
    pub fn start_with(command: &mut Command, arguments: &[&str]) -> Self {
        let command = command
            .args(["serve", "--listen", "127.0.0.1:0", "--json"])
            .args(arguments);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("it says where it listens");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        let url = said["listening"].as_str().expect("a URL").to_owned();
        Self {
            child,
            address: url.split_once("://").expect("a URL").1.to_owned(),
        }
    }

    /// Sends a request, whose body `write` writes, and reads the answer to its end.
    ///
    /// # Panics
    /// There is no answer.
    pub fn send(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let head = format!(
            "{head}host: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body))
            .expect("it reads");
        read(stream)
    }

    /// Calls the API.
    ///
    /// # Panics
    /// There is no answer.
    pub fn call(&self, token: &str, method: &str, path: &str, json: Option<&Value>) -> Answer {
        let body = json.map(ToString::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
        );
        self.send(&head, body.as_bytes())
    }

    /// Waits until `is_so` says so of what `path` answers.
    ///
    /// # Panics
    /// It does not within [`PATIENCE`].
    pub fn wait(&self, token: &str, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let json = self.call(token, "GET", path, None).json();
            if is_so(&json) {
                return json;
            }
            assert!(begun.elapsed() < PATIENCE, "it did not come to be: {json}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks it to stop, as a service manager does.
    ///
    /// # Panics
    /// There is no such process.
    pub fn terminate(&self) {
        run_ok(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
    }

    /// Waits until it has ended; its exit code.
    ///
    /// # Panics
    /// It does not end, or was killed.
    pub fn ended(&mut self) -> i32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status.code().expect("it ends by itself");
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A token of `role` for the API on `store`.
///
/// # Panics
/// None can be made.
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

/// Reads an answer to its end: with a length, or in chunks.
fn read(stream: TcpStream) -> Answer {
    let mut reader = BufReader::new(stream);
    let line = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    };
    let first = line(&mut reader);
    let status = first
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {first:?}"));
    let mut headers = Vec::new();
    loop {
        let header = line(&mut reader);
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
        reader.read_to_end(&mut body).expect("an answer");
        return Answer {
            status,
            headers,
            body,
        };
    }
    loop {
        let size = usize::from_str_radix(&line(&mut reader), 16).expect("a chunk");
        let begin = body.len();
        body.resize(begin + size, 0);
        reader
            .read_exact(&mut body[begin..])
            .expect("a whole chunk");
        line(&mut reader);
        if size == 0 {
            return Answer {
                status,
                headers,
                body,
            };
        }
    }
}
