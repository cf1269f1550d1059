//! Commands that describe the program: probes, shell completions, manual pages.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// Lists the probes in the order in which a capture runs them
#[derive(Args)]
pub(super) struct ProbesArguments {}

/// Prints a completion script for a shell
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit-agent completions bash > /etc/bash_completion.d/exhibit-agent")]
pub(super) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

/// Prints the manual page, or writes one for each command
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit-agent man | man -l -
  exhibit-agent man --out /usr/local/share/man/man1")]
pub(super) struct ManArguments {
    /// Folder for the pages of all commands; created if missing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn probes(_: &ProbesArguments) -> Result<()> {
    let lines: String = agent::capture::probes()
        .map(|probe| format!("{:<16} {}\n", probe.name, probe.what))
        .collect();
    super::out(&lines)
}

pub(super) fn completions(arguments: &CompletionsArguments) -> Result<()> {
    // clap_complete panics if it cannot write, as with `| head`: it writes to memory first.
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command(),
        agent::identity::NAME,
        &mut script,
    );
    Ok(io::stdout().write_all(&script)?)
}

pub(super) fn man(arguments: &ManArguments) -> Result<()> {
    match &arguments.out {
        None => Ok(clap_mangen::Man::new(Cli::command()).render(&mut io::stdout())?),
        Some(folder) => fs::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
            .with_context(|| format!("cannot write manual pages to {}", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_definition_is_valid() {
        Cli::command().debug_assert();
    }
}
