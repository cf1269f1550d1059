//! A source against the provider's own OpenAPI description: Prism stands between the source and a
//! double, and rejects each request and each answer that the description does not allow.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use evidence_format::warc;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::conformance::MemorySink;
use super::{RestSource, endpoints_of};

/// An answer: status, header fields, body.
pub(crate) type HttpAnswer = (u16, String, String);

/// Answers of an endpoint by their status.
pub(crate) type AnswerCounts = BTreeMap<String, BTreeMap<String, u32>>;

/// Answers each request, given as its method and target, and returns the server's address.
pub(crate) async fn serve(answer: impl Fn(&str) -> HttpAnswer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound").to_string();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move { answer_one(stream, answer.as_ref()).await });
        }
    });
    address
}

async fn answer_one(mut stream: TcpStream, answer: &(dyn Fn(&str) -> HttpAnswer + Send + Sync)) {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    while memchr::memmem::find(&bytes, b"\r\n\r\n").is_none() {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
        }
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let line = head.lines().next().unwrap_or_default();
    let (status, fields, body) = answer(line.rsplit_once(' ').map_or(line, |(line, _)| line));
    let length = body.len();
    let reply = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n{fields}content-length: {length}\r\n\r\n{body}"
    );
    let _ = stream.write_all(reply.as_bytes()).await;
}

/// The folder into which `tests/interop/install.sh` puts Prism and the descriptions that npm has.
/// `None`, and a line that says that the test is skipped, if `package` or Prism is not there.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn node_modules(package: &str) -> Option<PathBuf> {
    let modules =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/interop/node/node_modules");
    if modules.join(".bin/prism").exists() && modules.join(package).exists() {
        return Some(modules);
    }
    eprintln!(
        "SKIPPED: Prism or {package} is not in {}",
        modules.display()
    );
    None
}

/// Runs `tests/interop/<script>` with the paths of two files that it is to write, a description and
/// examples of answers, and perhaps of a newer description that it is to use; on its standard input
/// it gets the path template of each row of `source`. Returns the description's path and the
/// examples.
///
/// # Panics
/// If the script fails: a row is not in the provider's description.
pub(crate) fn description_of(
    source: &dyn RestSource,
    script: &str,
    folder: &Path,
    newer: Option<&Path>,
) -> (PathBuf, BTreeMap<String, Value>) {
    let description = folder.join("description.json");
    let examples = folder.join("examples.json");
    let mut node = Command::new("node")
        .arg(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../../tests/interop")
                .join(script),
        )
        .args([&description, &examples])
        .args(newer)
        .stdin(Stdio::piped())
        .spawn()
        .expect("node");
    let rows = endpoints_of(source).into_iter();
    let lines: BTreeSet<String> = rows.map(|row| format!("{}\n", row.path)).collect();
    let lines: String = lines.into_iter().collect();
    std::io::Write::write_all(&mut node.stdin.take().expect("a pipe"), lines.as_bytes())
        .expect("written");
    assert!(
        node.wait().expect("ended").success(),
        "every row is in the provider's description"
    );
    let examples = std::fs::read(examples).expect("readable");
    (
        description,
        serde_json::from_slice(&examples).expect("JSON"),
    )
}

/// Prism as a proxy before a double. It ends with this value.
pub(crate) struct ContractProxy {
    prism: Child,
    /// What the source is given as the provider's address.
    pub(crate) base: String,
}

impl Drop for ContractProxy {
    fn drop(&mut self) {
        let _ = self.prism.kill();
        let _ = self.prism.wait();
    }
}

impl ContractProxy {
    /// `answer` is the double: it gets the proxy's address, for links to next pages, and a
    /// request's method and target.
    ///
    /// # Panics
    /// If Prism does not start within a minute.
    pub(crate) async fn start(
        modules: &Path,
        description: &Path,
        answer: impl Fn(&str, &str) -> HttpAnswer + Send + Sync + 'static,
    ) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .expect("loopback")
            .local_addr()
            .expect("bound")
            .port();
        let base = format!("http://127.0.0.1:{port}");
        let double = serve({
            let base = base.clone();
            move |line| answer(&base, line)
        })
        .await;
        let prism = Command::new(modules.join(".bin/prism"))
            .args(["proxy", "--errors", "-h", "127.0.0.1", "-p"])
            .arg(port.to_string())
            .arg(description)
            .arg(format!("http://{double}"))
            .stdout(Stdio::null())
            .spawn()
            .expect("Prism");
        let proxy = Self { prism, base };
        for _ in 0..600 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return proxy;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("Prism does not start");
    }
}

/// The example whose path template fits `path`; the one with the fewest placeholders, if several do.
pub(crate) fn example_for<'e>(
    examples: &'e BTreeMap<String, Value>,
    path: &str,
) -> Option<(&'e str, &'e Value)> {
    let fits = |template: &str| {
        let mut parts = template.split('/').zip(path.split('/'));
        template.split('/').count() == path.split('/').count()
            && parts.all(|(part, given)| part.starts_with('{') || part == given)
    };
    let found = examples.iter().filter(|(template, _)| fits(template));
    found
        .min_by_key(|(template, _)| template.matches('{').count())
        .map(|(template, example)| (template.as_str(), example))
}

/// Counts the answers in `sink`, and calls `check_request` with the head of each request.
///
/// # Panics
/// If a request or an answer of `endpoint`s that `is_described` violates the description, or if
/// `secret` is anywhere.
pub(crate) fn count_answers(
    sink: &MemorySink,
    secret: &str,
    is_described: impl Fn(&str) -> bool,
    check_request: impl Fn(&str),
    answers: &mut AnswerCounts,
) {
    for (pages, _) in sink.pages.lock().expect("no panic").iter() {
        let has_secret = memchr::memmem::find(pages, secret.as_bytes()).is_some();
        assert!(!has_secret, "the token is on record");
        for record in warc::records(pages).map(|record| record.expect("WARC")) {
            let field = |name| record.fields.get(name).unwrap_or_default().to_owned();
            let endpoint = field("Exhibit-Endpoint");
            if !is_described(&endpoint) {
                continue;
            }
            let block = String::from_utf8_lossy(record.block).into_owned();
            assert!(
                !block.contains("stoplight.io/prism/errors"),
                "{endpoint}: {block}"
            );
            match field("WARC-Type").as_str() {
                "request" => check_request(&block),
                "response" => {
                    let status = block.split(' ').nth(1).expect("a status").to_owned();
                    let counts = answers.entry(endpoint).or_default();
                    *counts.entry(status).or_default() += 1;
                }
                _ => {}
            }
        }
    }
}
