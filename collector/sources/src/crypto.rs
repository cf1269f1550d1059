//! The only provider of cryptography for the network: ring, under TLS and under JSON Web Tokens.
//!
//! jsonwebtoken brings providers of its own (`aws_lc_rs`, which needs a C toolchain and a minute of
//! build; `rust_crypto`, some twenty crates with an RSA that leaks timing, RUSTSEC-2023-0071). ring
//! is here for TLS anyway, so the few algorithms that we accept are mapped to it.

use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtSigner, JwtVerifier};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

static RING_FOR_TOKENS: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    // Used only to make JWKs of private keys, which we never do.
    jwk_utils: JwkUtils::new_unimplemented(),
};

/// Makes ring the provider of TLS and of JSON Web Tokens in this process. Call it before the first
/// client is built; further calls change nothing.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let _ = RING_FOR_TOKENS.install_default();
}

/// Verifies with one key under one algorithm.
struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    // Without this, a public key could be taken for the secret of an HMAC.
    if algorithm.family() != key.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    match algorithm {
        Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => Ok(Box::new(RingVerifier {
            algorithm: *algorithm,
            key: key.clone(),
        })),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match (self.algorithm, self.key.kind()) {
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(
                    &RSA_PKCS1_2048_8192_SHA256,
                    message,
                    signature,
                )
            }
            (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).verify(message, signature)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            _ => return Err(Error::new()),
        };
        verified.map_err(|_| Error::new())
    }
}

fn signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::InvalidAlgorithm.into()) // we check tokens and issue none
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

    use super::*;

    const MESSAGE: &[u8] = b"header.claims";

    fn is_valid(algorithm: Algorithm, key: &DecodingKey, signature: &[u8]) -> bool {
        verifier(&algorithm, key)
            .and_then(|verifier| Ok(verifier.verify(MESSAGE, &signature.to_vec())?))
            .is_ok()
    }

    #[test]
    fn verifies_p256_signature() {
        let (random, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("randomness");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key");
        let key = DecodingKey::from_ec_der(pair.public_key().as_ref());
        let signature = pair.sign(&random, MESSAGE).expect("randomness");
        assert!(is_valid(Algorithm::ES256, &key, signature.as_ref()));
        assert!(!is_valid(Algorithm::ES256, &key, &[0; 64]));
    }

    #[test]
    fn rejects_key_of_another_algorithm() {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("randomness");
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
        let key = DecodingKey::from_ed_der(pair.public_key().as_ref());
        let signature = pair.sign(MESSAGE);
        assert!(is_valid(Algorithm::EdDSA, &key, signature.as_ref()));
        for other in [Algorithm::HS256, Algorithm::ES256, Algorithm::RS256] {
            assert!(!is_valid(other, &key, signature.as_ref()), "{other:?}");
        }
    }
}
