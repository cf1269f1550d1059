//! `exhibit` as a client of a server: the same commands and output as on a store, over faulty
//! networks and with limited tokens.

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

/// `exhibit`, run by a user with this home folder and without any credentials.
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

/// A store with a server, and a user of the server.
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
        let config = format!("[sources.aws_cloudtrail]\nenabled = false\n{config}"); // no test may contact AWS
        fs::write(store.path().join("exhibit.toml"), config)
            .expect("the scratch folder is writable");
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

    /// `exhibit` on the store itself, beside the server.
    fn local(&self, arguments: &[&str]) -> Command {
        let mut command = exhibit(self.home.path());
        command
            .arg("--store")
            .arg(self.store.path())
            .args(arguments);
        command
    }

    /// `exhibit` on the server at `url`.
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

    /// The collector's public key file.
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
        .unwrap_or_else(|| panic!("{value} is not a string"))
        .to_owned()
}

fn all_output(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a command that must fail with exit code 1, and returns its output.
fn fails(command: &mut Command) -> String {
    let output = run(command);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{command:?}: {}",
        all_output(&output)
    );
    all_output(&output)
}
