//! What the program says about itself: shell completions, manual pages.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::CommandLine;

/// Prints a completion script for a shell
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit completions bash > /etc/bash_completion.d/exhibit")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the manual page, or writes one for each command
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit man | man -l -
  exhibit man --out /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// Folder for the pages of all commands; made if absent
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn completions(arguments: &CompletionsArgs) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut CommandLine::command(),
        pipeline::seal::NAME,
        &mut script,
    );
    Ok(io::stdout().write_all(&script)?)
}

pub(super) fn man(arguments: &ManArgs) -> Result<()> {
    match &arguments.out {
        None => Ok(clap_mangen::Man::new(CommandLine::command()).render(&mut io::stdout())?),
        Some(folder) => {
            let write = || {
                fs::create_dir_all(folder)?;
                clap_mangen::generate_to(CommandLine::command(), folder)
            };
            write().with_context(|| format!("cannot write manual pages to {}", folder.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        CommandLine::command().debug_assert();
    }
}
