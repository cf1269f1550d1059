//! `exhibit-audit completions` and `exhibit-audit man`, generated from the definition of the
//! command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::AuditError;
use crate::output;

/// Command line of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell that the script is for
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Command line of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Command whose page to print; by default that of the program
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

pub(crate) fn completions(
    args: &CompletionsArgs,
    mut program: Command,
) -> Result<ExitCode, AuditError> {
    let name = program.get_name().to_owned();
    // clap_complete panics if it cannot write, as with `| head`: it writes to memory first.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, name, &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn man(args: &ManArgs, mut program: Command) -> Result<ExitCode, AuditError> {
    // Only then do the pages of commands have the program's name in their synopsis.
    program.build();
    let page_of = match &args.command {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name);
            found
                .cloned()
                .ok_or_else(|| AuditError::Usage(format!("no such command: {name}")))?
        }
    };
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(page_of).render(&mut page);
    rendered.map_err(|cause| AuditError::Write {
        path: PathBuf::from("a page"),
        cause,
    })?;
    output::print(&String::from_utf8_lossy(&page))?;
    Ok(ExitCode::SUCCESS)
}
