//! Shell completions and manual pages.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::CommandLine;
use super::completion::{ids_script, with_values};
use super::output::write;

/// Prints a completion script for a shell
#[derive(Args)]
#[command(after_help = "\
Example:
  exhibit completions bash > /etc/bash_completion.d/exhibit")]
pub(super) struct CompletionsArgs {
    /// Shell
    shell: Shell,
}

/// Prints the manual page, or writes the pages of all commands
#[derive(Args)]
#[command(after_help = "\
Examples:
  exhibit man | man -l -
  exhibit man --out /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// Folder for the pages of all commands; created if absent
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn completions(arguments: &CompletionsArgs) -> Result<()> {
    // clap_complete panics if it cannot write, as with `| head`: it writes to memory first.
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut with_values(CommandLine::command()),
        pipeline::seal::PROGRAM_NAME,
        &mut script,
    );
    script.extend_from_slice(ids_script(arguments.shell).as_bytes());
    write(&script)
}

pub(super) fn man(arguments: &ManArgs) -> Result<()> {
    match &arguments.out {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(CommandLine::command()).render(&mut page)?;
            write(&page)
        }
        Some(folder) => {
            let written = fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(CommandLine::command(), folder));
            written.with_context(|| format!("cannot write manual pages to {}", folder.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_definition_is_consistent() {
        CommandLine::command().debug_assert();
        with_values(CommandLine::command()).debug_assert();
    }
}
