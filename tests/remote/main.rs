//! `exhibit` against a server: the same commands with the same answers as on a store, over networks
//! and under tokens that do what they do.

mod downloads;
mod errors;
mod login;
mod parity;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tests::api::{ApiServer, token};
use tests::{program, run, run_ok, scratch};

/// `exhibit` of a user with this home, without credentials for anything.
fn exhibit(home: &Path) -> Command {
    let mut command = Command::new(program("exhibit"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("USER", "tester");
    command
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(home);
    command
}

/// A store that is served, and somebody who asks the server.
struct ServedStore {
    store: TempDir,
    home: TempDir,
    serve: ApiServer,
    token: String,
}

impl ServedStore {
    fn new(role: &str) -> Self {
        Self::configured(role, "")
    }

    fn configured(role: &str, config: &str) -> Self {
        let (store, home) = (scratch(), scratch());
        let config = format!("[sources.aws_cloudtrail]\nenabled = false\n{config}"); // nothing of a test leaves this machine
        fs::write(store.path().join("exhibit.toml"), config).expect("own folder");
        let token = token(store.path(), role);
        let serve = ApiServer::start(
            exhibit(home.path())
                .arg("--store")
                .arg(store.path())
                .stderr(Stdio::null()),
        );
        Self {
            store,
            home,
            serve,
            token,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.serve.address)
    }

    /// On the store, beside the server.
    fn local(&self, arguments: &[&str]) -> Command {
        let mut command = exhibit(self.home.path());
        command
            .arg("--store")
            .arg(self.store.path())
            .args(arguments);
        command
    }

    /// On the server at `url`.
    fn at(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = exhibit(self.home.path());
        command
            .args(["--server", url])
            .env("EXHIBIT_TOKEN", &self.token)
            .args(arguments);
        command
    }

    fn remote(&self, arguments: &[&str]) -> Command {
        self.at(&self.url(), arguments)
    }

    fn remote_as(&self, role: &str, arguments: &[&str]) -> Command {
        let mut command = self.remote(arguments);
        command.env("EXHIBIT_TOKEN", token(self.store.path(), role));
        command
    }

    fn declare(&self) -> String {
        let mut command = self.remote(&[
            "declare",
            "--title",
            "Leaked key",
            "--sev",
            "2",
            "--play",
            "leaked-secret",
            "--json",
        ]);
        text(&json(&mut command)["incident"])
    }

    /// The file of the collector's public key.
    fn key(&self) -> PathBuf {
        self.store.path().join("collector.pub.pem")
    }
}

fn json(command: &mut Command) -> Value {
    let text = run_ok(command);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn lines(command: &mut Command) -> Vec<Value> {
    run_ok(command)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

fn all_output(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What is said of a command that must fail.
fn refused(command: &mut Command) -> String {
    let output = run(command);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{command:?}: {}",
        all_output(&output)
    );
    all_output(&output)
}
