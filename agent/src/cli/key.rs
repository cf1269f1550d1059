//! `exhibit-agent key`, and the option by which all commands choose a key.

use std::env;
use std::io::{self, Write};
use std::path::{self, PathBuf};

use agent::key::{KeyFile, default_path};
use anyhow::Result;
use clap::Args;
use evidence_format::safe::{safe, safe_json};

use super::print::path_text;

/// Shows the fingerprint and the public key of this machine; creates the key if there is none
///
/// Run it when you set up a machine, and keep the fingerprint where an intruder on the machine
/// cannot change it: a key that is known only from the bundles it signs proves nothing.
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit-agent key
  openssl pkey -pubin -in agent.pub.pem -outform DER | sha256sum    # the same digits")]
pub(super) struct KeyArguments {
    #[command(flatten)]
    key: KeySelection,
    /// Print one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct KeySelection {
    /// Key file to sign with; created if missing [default: /var/lib/exhibit/agent.key for root,
    /// else $XDG_STATE_HOME/exhibit/agent.key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl KeySelection {
    /// Opens the key, or creates it and prints its fingerprint.
    pub(super) fn open(&self) -> Result<KeyFile> {
        let path = match &self.key {
            Some(path) => path.clone(),
            None => default_path(
                rustix::process::geteuid().as_raw(),
                path_variable("XDG_STATE_HOME"),
                path_variable("HOME"),
            )?,
        };
        // Absolute, since the receipt shows the path of its public half to readers elsewhere.
        let key = KeyFile::open_or_create(&path::absolute(path)?)?;
        if key.is_new() {
            print_fingerprint(&key);
        }
        Ok(key)
    }
}

pub(super) fn run(arguments: &KeyArguments) -> Result<()> {
    let key = arguments.key.open()?;
    if arguments.json {
        let value = serde_json::json!({
            "fingerprint": key.public().id().fingerprint(),
            "publicKey": path_text(&key.public_path()),
        });
        return super::out(&(safe_json(&value) + "\n"));
    }
    super::out(&format!(
        "{}  {}\n",
        key.public().id().fingerprint(),
        safe(&path_text(&key.public_path()))
    ))
}

fn path_variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from)
}

/// Prints to standard error even with `--quiet`: it happens once in a key's life.
fn print_fingerprint(key: &KeyFile) {
    let _ = writeln!(
        io::stderr(),
        "created a new signing key; publish its fingerprint outside of this machine, so that others can tell it from a forged one:\n  {}",
        key.public().id().fingerprint()
    );
}
