//! The token that a client sends with each request.

use std::fmt;
use std::str::FromStr;

use reqwest::header::HeaderValue;

/// Limit of a token. Our own have 64 bytes, those of identity providers some KiB.
pub(super) const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A token: a secret that is never logged or printed. An attacker who has it can do whatever its
/// role permits.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(String);

/// The text is not a token. The error does not repeat it: it may be a token with a typing error.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum BearerTokenError {
    #[error("the token is empty")]
    Empty,
    #[error("the token has {bytes} bytes, limit is {TOKEN_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error(
        "the token contains a blank or another character that no token has: give only the token"
    )]
    Characters,
}

impl BearerToken {
    /// The value of the header `Authorization` (RFC 6750 §2.1), marked so that it is not logged.
    pub(super) fn header(&self) -> HeaderValue {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", self.0)).expect("a token is visible ASCII");
        value.set_sensitive(true);
        value
    }

    /// The text, for `client.toml` only.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl FromStr for BearerToken {
    type Err = BearerTokenError;

    fn from_str(text: &str) -> Result<Self, BearerTokenError> {
        let text = text.trim();
        match text.len() {
            0 => Err(BearerTokenError::Empty),
            bytes if bytes > TOKEN_BYTES_MAX => Err(BearerTokenError::TooLong { bytes }),
            _ if !text.bytes().all(|b| b.is_ascii_graphic()) => Err(BearerTokenError::Characters),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(token)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_one_word_and_never_shows_it() {
        let token: BearerToken = " exh_0011_secret\n".parse().expect("a token");
        assert_eq!(
            token.header().to_str().expect("ASCII"),
            "Bearer exh_0011_secret"
        );
        assert!(token.header().is_sensitive());
        assert!(!format!("{token:?} {:?}", token.header()).contains("secret"));
        assert_eq!("\n".parse::<BearerToken>(), Err(BearerTokenError::Empty));
        assert_eq!(
            "exh_1 exh_2".parse::<BearerToken>(),
            Err(BearerTokenError::Characters)
        );
        assert_eq!(
            "é".parse::<BearerToken>(),
            Err(BearerTokenError::Characters)
        );
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        assert!(matches!(
            long.parse::<BearerToken>(),
            Err(BearerTokenError::TooLong { .. })
        ));
    }
}
