//! Names and identifiers in evidence. Each is validated once, when it is parsed.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};

use crate::digest::Digest;

/// The text is not a valid identifier of its kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{text:?} is not a valid {what}: {rule}")]
pub struct ParseIdError {
    what: &'static str,
    rule: &'static str,
    text: String,
}

/// Implements `Serialize` and `Deserialize` as a JSON string, by `Display` and `FromStr`.
#[macro_export]
#[doc(hidden)]
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    return Ok(Self(text.to_owned()));
                }
                Err(ParseIdError { what: $what, rule: $rule, text: text.chars().take(80).collect() })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        $crate::serde_as_text!($name);
    };
}

name_type!(
    /// An incident's short name, such as `INC-2026-042`. It becomes part of file names.
    IncidentId, "incident id", "1 to 64 of A-Z a-z 0-9 . _ -, starting with a letter or digit",
    |t| t.len() <= 64 && starts_with(t, |b| b.is_ascii_alphanumeric())
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
);

name_type!(
    /// An item's name inside its bundle, such as `host-sockets`. It is hashed into every leaf of
    /// the item's record tree.
    ItemName, "item name", "1 to 128 of a-z 0-9 . _ -, starting with a letter or digit",
    |t| t.len() <= 128 && starts_with(t, lower_or_digit)
        && t.bytes().all(|b| lower_or_digit(b) || b"._-".contains(&b))
);

name_type!(
    /// Identifies a stream of bundles: 32 lowercase hex digits, chosen at random when the stream
    /// begins.
    StreamId, "stream id", "32 lowercase hex digits",
    |t| t.len() == 32 && HEXLOWER.decode(t.as_bytes()).is_ok()
);

fn starts_with(text: &str, allowed: fn(u8) -> bool) -> bool {
    text.bytes().next().is_some_and(allowed)
}

fn lower_or_digit(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

impl StreamId {
    /// Makes a stream id from 16 random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(HEXLOWER.encode(&bytes))
    }
}

/// Identifies a public key by the SHA-256 of its SubjectPublicKeyInfo in DER. Text form: standard
/// base64, as in sigstore's `publicKey.hint` and DSSE's `keyid`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Digest);

impl KeyId {
    /// The id of the key whose SubjectPublicKeyInfo is `spki_der`.
    #[must_use]
    pub fn of_spki(spki_der: &[u8]) -> Self {
        Self(Digest::of(spki_der))
    }

    /// The id of the key with this fingerprint.
    #[must_use]
    pub fn from_fingerprint(fingerprint: Digest) -> Self {
        Self(fingerprint)
    }

    /// The fingerprint. Its text, `sha256:` and hex digits, is how people and reports name a key.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.0
    }

    /// The fingerprint in hex, as `openssl pkey -pubin -outform DER | sha256sum` prints it.
    #[must_use]
    pub fn hex(&self) -> String {
        self.0.hex()
    }
}

impl FromStr for KeyId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digest = decode_base64(text).and_then(|b| Digest::from_hex(&HEXLOWER.encode(&b)).ok());
        digest.map(Self).ok_or_else(|| ParseIdError {
            what: "key id",
            rule: "base64 of 32 bytes",
            text: text.chars().take(80).collect(),
        })
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

serde_as_text!(KeyId);

/// Decodes base64 and accepts only its canonical spelling. The decoder on its own would also accept
/// several padded texts, one after the other.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    BASE64
        .decode(text.as_bytes())
        .ok()
        .filter(|bytes| BASE64.encode(bytes) == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_non_canonical_base64() {
        assert_eq!(decode_base64("aGk=").as_deref(), Some(&b"hi"[..]));
        for bad in ["aGk=aGk=", "aGk", "aGl=", "aGk=\n", " aGk="] {
            assert_eq!(decode_base64(bad), None, "{bad:?}");
        }
        let in_two = format!("{}{}", BASE64.encode(&[1]), BASE64.encode(&[2; 31]));
        assert!(in_two.parse::<KeyId>().is_err());
    }

    #[test]
    fn rejects_names_that_could_escape_a_folder() {
        for bad in [
            "",
            ".",
            "..",
            "-x",
            "a/b",
            "a\\b",
            "a b",
            "é",
            &"x".repeat(65),
        ] {
            assert!(bad.parse::<IncidentId>().is_err(), "{bad:?}");
        }
        assert!("INC-1".parse::<IncidentId>().is_ok());
        assert!("Upper".parse::<ItemName>().is_err());
        assert!("host-sockets".parse::<ItemName>().is_ok());
    }
}
