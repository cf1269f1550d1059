//! Enrolment tokens: what an agent must hold to be admitted, and how it knows the collector.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use evidence_format::digest::Digest;
use evidence_format::serde_as_text;

use crate::identity::ParseIdentityError;

/// The prefix by which scanners for leaked secrets recognise these tokens.
const PREFIX: &str = "exe_";
/// Digits of a token's id.
const ID_DIGITS: usize = 16;
/// Bytes of the secret: nobody can guess it, so an unsalted digest suffices for storage.
pub const SECRET_BYTES: usize = 32;

/// An enrolment token, as a person copies it to a host.
///
/// Secret: its holder can enrol as many agents as it has uses left, until it expires. Each of them
/// vouches for a host of its own, and for no other agent's.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrollmentToken {
    pub id: EnrollmentTokenId,
    pub secret: [u8; SECRET_BYTES],
    /// SHA-256 of the SubjectPublicKeyInfo of the collector's authority. An agent that has it
    /// cannot be made to enrol elsewhere.
    pub pin: Digest,
}

/// A token's id, which is no secret: 16 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnrollmentTokenId(String);

impl EnrollmentTokenId {
    #[must_use]
    pub fn from_random(bytes: [u8; ID_DIGITS / 2]) -> Self {
        Self(data_encoding::HEXLOWER.encode(&bytes))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EnrollmentTokenId {
    type Err = ParseIdentityError;

    fn from_str(text: &str) -> Result<Self, ParseIdentityError> {
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == ID_DIGITS && text.bytes().all(is_digit) {
            Ok(Self(text.to_owned()))
        } else {
            let what = "the id of an enrolment token: 16 of 0-9 a-f";
            Err(ParseIdentityError::new(what, text))
        }
    }
}

impl fmt::Display for EnrollmentTokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

serde_as_text!(EnrollmentTokenId);

/// The text is no enrolment token. It is not repeated: a part of it may be a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not an enrolment token: copy all of what `exhibit agents token create` printed")]
pub struct ParseEnrollmentTokenError;

impl EnrollmentToken {
    /// The text to copy to a host.
    #[must_use]
    pub fn text(&self) -> String {
        let [secret, pin] = [&self.secret, self.pin.as_bytes()].map(|b| BASE64URL_NOPAD.encode(b));
        // A dot occurs in neither of the parts, so a double click selects the parts alone: the
        // error for a half token names the remedy.
        format!("{PREFIX}{}.{secret}.{pin}", self.id)
    }
}

impl FromStr for EnrollmentToken {
    type Err = ParseEnrollmentTokenError;

    fn from_str(text: &str) -> Result<Self, ParseEnrollmentTokenError> {
        let parse = || {
            let mut parts = text.strip_prefix(PREFIX)?.split('.');
            let id = parts.next()?.parse().ok()?;
            let secret = BASE64URL_NOPAD.decode(parts.next()?.as_bytes()).ok()?;
            let pin = BASE64URL_NOPAD.decode(parts.next()?.as_bytes()).ok()?;
            let pin = Digest::from_hex(&data_encoding::HEXLOWER.encode(&pin)).ok()?;
            let secret = secret.try_into().ok()?;
            parts.next().is_none().then_some(Self { id, secret, pin })
        };
        parse().ok_or(ParseEnrollmentTokenError)
    }
}

impl fmt::Debug for EnrollmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrollmentToken({}, (secret))", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_reads_back_and_hides_its_secret() {
        let token = EnrollmentToken {
            id: EnrollmentTokenId::from_random([0xab; 8]),
            secret: [255; 32],
            pin: Digest::of(b"authority"),
        };
        let text = token.text();
        assert_eq!(text.parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains("____"), "{token:?}");
        for bad in [
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}.x"),
            "exe_",
        ] {
            assert_eq!(
                bad.parse::<EnrollmentToken>(),
                Err(ParseEnrollmentTokenError)
            );
        }
    }
}
