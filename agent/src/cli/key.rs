//! `exhibit-agent key`, and the choice of a key by the other commands.

use std::env;
use std::io::{self, Write};
use std::path::{self, PathBuf};

use agent::key::{KeyFile, default_path};
use anyhow::Result;
use clap::Args;
use evidence_format::safe::safe;

use super::print::path_text;

/// Shows this machine's public key and its fingerprint; makes the key if there is none
///
/// Run it when a machine is set up, and keep the fingerprint where an intruder on the machine
/// cannot change it: a key that is only known from the bundles that it signs proves nothing.
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit-agent key
  openssl pkey -pubin -in agent.pub.pem -outform DER | sha256sum    # the same fingerprint")]
pub(super) struct KeyArguments {
    #[command(flatten)]
    key: KeySelection,
}

#[derive(Args)]
pub(super) struct KeySelection {
    /// Key file to sign with, made if absent [default: /var/lib/exhibit/agent.key for root, else
    /// $XDG_STATE_HOME/exhibit/agent.key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl KeySelection {
    /// Opens the key, or makes it, and then says so.
    pub(super) fn open(&self) -> Result<KeyFile> {
        let path = match &self.key {
            Some(path) => path.clone(),
            None => {
                let folder = |variable| env::var_os(variable).map(PathBuf::from);
                default_path(
                    rustix::process::geteuid().as_raw(),
                    folder("XDG_STATE_HOME"),
                    folder("HOME"),
                )?
            }
        };
        let key = KeyFile::open_or_create(&path::absolute(path)?)?;
        if key.is_new() {
            print_fingerprint(&key);
        }
        Ok(key)
    }
}

pub(super) fn run(arguments: &KeyArguments) -> Result<()> {
    let key = arguments.key.open()?;
    super::out(&format!(
        "{}  {}\n",
        key.public().id().hex(),
        safe(&path_text(&key.public_path()))
    ))
}

/// On standard error, whatever was asked to be quiet: it is said once in a key's life.
fn print_fingerprint(key: &KeyFile) {
    let _ = writeln!(
        io::stderr(),
        "made a new signing key; publish its fingerprint outside of this machine, so that others can tell it from a forger's:\n  {}",
        key.public().id().hex()
    );
}
