//! What an auditor brings along. Nothing of it ever comes from a bundle.

use crate::digest::Digest;
use crate::keyring::PublicKey;

/// What the auditor trusts and asks for. Trusted entirely: whoever chooses it chooses the verdict.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Keys whose signature counts, any of them. Empty: the signer is not checked.
    pub keys: Vec<PublicKey>,
    /// The bundle that is expected, where its id is known from elsewhere.
    pub bundle: Option<Digest>,
}
