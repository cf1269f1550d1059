//! What an auditor trusts. None of it ever comes from a bundle.

use crate::digest::Digest;
use crate::keyring::PublicKey;

/// What the auditor trusts and expects. It is trusted entirely: anybody who controls it controls
/// the verdict.
#[derive(Debug, Clone, Default)]
pub struct TrustPolicy {
    /// Keys of trusted signers; a signature by any of them counts. If empty, the signer is not
    /// checked.
    pub keys: Vec<PublicKey>,
    /// Id of the expected bundle, if it is known from another source.
    pub bundle: Option<Digest>,
}
