//! Secrets of webhooks.

use std::fmt;

use data_encoding::BASE64;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Begins a secret of Standard Webhooks.
const SIGNING_KEY_PREFIX: &str = "whsec_";

/// A secret shared with one vendor. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct HookSecret(String);

impl HookSecret {
    /// Trims `text`: a secret in a file usually ends in a newline.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    /// The HMAC key of a Standard Webhooks secret: its base64, with or without `whsec_`.
    pub(super) fn signing_key(&self) -> Option<Vec<u8>> {
        let text = self.0.strip_prefix(SIGNING_KEY_PREFIX).unwrap_or(&self.0);
        BASE64.decode(text.as_bytes()).ok()
    }
}

impl fmt::Debug for HookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl<'de> Deserialize<'de> for HookSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's own error would repeat the value.
        let text = String::deserialize(deserializer)
            .map_err(|_| D::Error::custom("a secret is a text"))?;
        Ok(Self::new(&text))
    }
}
