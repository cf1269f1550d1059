//! The sources from which a profile takes its token: the file itself, another file, a command, an
//! environment variable.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{ClientConfigError, Profile, ProfileName};
use crate::BearerToken;
use crate::token::TOKEN_BYTES_MAX;

impl Profile {
    /// The token of this profile, called `name`; `None` if it has no source for one.
    ///
    /// # Errors
    /// The profile has several sources, or its source has no token.
    pub fn token(&self, name: &ProfileName) -> Result<Option<BearerToken>, ClientConfigError> {
        let Self {
            token,
            token_file,
            token_command,
            token_variable,
            ..
        } = self;
        match (token, token_file, token_command, token_variable) {
            (None, None, None, None) => Ok(None),
            (Some(token), None, None, None) => Ok(Some(token.clone())),
            (None, Some(file), None, None) => {
                parse_token(format!("the file {}", file.display()), read_file(file)).map(Some)
            }
            (None, None, Some(command), None) => parse_token(
                format!("the command {}", command.first().map_or("", String::as_str)),
                run_command(command),
            )
            .map(Some),
            (None, None, None, Some(variable)) => {
                parse_token(format!("the variable {variable}"), read_variable(variable)).map(Some)
            }
            _ => {
                let sources = [
                    token.is_some(),
                    token_file.is_some(),
                    token_command.is_some(),
                    token_variable.is_some(),
                ];
                let count = sources.into_iter().filter(|is_given| *is_given).count();
                Err(ClientConfigError::AmbiguousToken {
                    name: name.clone(),
                    count,
                })
            }
        }
    }
}

fn parse_token(origin: String, text: io::Result<String>) -> Result<BearerToken, ClientConfigError> {
    match text {
        Ok(text) => text
            .parse()
            .map_err(|cause| ClientConfigError::InvalidToken { origin, cause }),
        Err(cause) => Err(ClientConfigError::UnreadableToken { origin, cause }),
    }
}

/// Reads a token and its line feed, and one byte more, so that a longer text is rejected and not
/// cut.
fn read_limited(read: impl Read) -> io::Result<String> {
    let mut text = String::new();
    read.take(TOKEN_BYTES_MAX as u64 + 2)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn read_file(path: &Path) -> io::Result<String> {
    read_limited(File::open(path)?)
}

fn read_variable(name: &str) -> io::Result<String> {
    std::env::var(name).map_err(io::Error::other)
}

/// The output of a program. It keeps standard input and error, so it can ask for a passphrase.
fn run_command(command: &[String]) -> io::Result<String> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::other("the command is empty"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()?;
    // Read before `wait`: a program that fills the pipe would never end.
    let text = child.stdout.take().map_or(Ok(String::new()), read_limited);
    let status = child.wait()?;
    if status.success() {
        text
    } else {
        Err(io::Error::other(format!("the command ended with {status}")))
    }
}
