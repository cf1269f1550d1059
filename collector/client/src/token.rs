//! What says to a server who asks.

use std::fmt;
use std::str::FromStr;

use reqwest::header::HeaderValue;

/// Bytes of a token: our own have 64, those of identity providers some KiB.
pub(super) const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A token as text: a secret, which nothing shows. Whoever has it may do what its role may.
#[derive(Clone, PartialEq, Eq)]
pub struct BearerToken(String);

/// The text is no token. It is not repeated: it may be one, with a slip of the hand.
#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
pub enum BearerTokenError {
    /// Nothing, or nothing but blanks.
    #[error("the token is empty")]
    Empty,
    /// Longer than any.
    #[error("the token has {bytes} bytes, limit is {TOKEN_BYTES_MAX}")]
    TooLong {
        /// Bytes that it has.
        bytes: usize,
    },
    /// No header could carry it.
    #[error(
        "the token has blanks or other characters that no token has: is it only the token that is given?"
    )]
    Characters,
}

impl BearerToken {
    /// The value of the header `Authorization` (RFC 6750 §2.1), which is not logged.
    pub(super) fn header(&self) -> HeaderValue {
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", self.0)).expect("a token is visible ASCII");
        value.set_sensitive(true);
        value
    }

    /// For the one file that it is kept in.
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
    fn a_token_is_one_word_and_never_shown() {
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
