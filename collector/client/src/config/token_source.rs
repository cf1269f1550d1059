//! The places that a profile can have its token from.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{ClientConfigError, Profile, ProfileName};
use crate::BearerToken;
use crate::token::TOKEN_BYTES_MAX;

impl Profile {
    /// The token, from wherever it is; `None` if the profile says nothing of it.
    ///
    /// # Errors
    /// It is in several places, or not where it is said to be.
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
                let places = [
                    token.is_some(),
                    token_file.is_some(),
                    token_command.is_some(),
                    token_variable.is_some(),
                ];
                let count = places.into_iter().filter(|is_given| *is_given).count();
                Err(ClientConfigError::AmbiguousToken {
                    name: name.clone(),
                    count,
                })
            }
        }
    }
}

fn parse_token(place: String, text: io::Result<String>) -> Result<BearerToken, ClientConfigError> {
    match text {
        Ok(text) => text
            .parse()
            .map_err(|cause| ClientConfigError::InvalidToken { place, cause }),
        Err(cause) => Err(ClientConfigError::UnreadableToken { place, cause }),
    }
}

/// One byte more than a token may have, so that what is too long is not taken for one.
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

/// What a program prints. It may ask whoever sits there for a passphrase.
fn run_command(command: &[String]) -> io::Result<String> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::other("it is empty"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()?;
    let text = child.stdout.take().map_or(Ok(String::new()), read_limited);
    let status = child.wait()?;
    if status.success() {
        text
    } else {
        Err(io::Error::other(format!("it ended with {status}")))
    }
}
