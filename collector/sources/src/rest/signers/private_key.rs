//! Signs with a private key from the configuration: JSON Web Tokens that prove who we are.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

/// How long a token that proves who we are is valid.
const VALID_FOR: Duration = Duration::from_secs(300);

/// An RSA key (RS256) or a P-256 key (ES256).
pub struct PrivateKey {
    pair: KeyPair,
    /// The key's id at the provider, for the token's header.
    id: Option<String>,
}

enum KeyPair {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
}

/// A private key cannot be used. The texts have nothing of it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PrivateKeyError {
    #[error("the private key is not PEM (PKCS #8, or PKCS #1 of an RSA key)")]
    NotPem,
    #[error("the private key is neither RSA with 2048 bits or more, nor P-256")]
    Unsupported,
    #[error("signing failed")]
    Sign,
}

impl PrivateKey {
    /// Reads a key in PEM.
    ///
    /// # Errors
    /// See [`PrivateKeyError`].
    pub fn from_pem(pem: &str, id: Option<String>) -> Result<Self, PrivateKeyError> {
        let (label, der) = decode_pem(pem).ok_or(PrivateKeyError::NotPem)?;
        let random = SystemRandom::new();
        let p256 = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random);
        let pair = match label.as_str() {
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der).map(Box::new).map(KeyPair::Rsa),
            "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&der)
                .map(|pair| KeyPair::Rsa(Box::new(pair)))
                .or_else(|_| p256().map(|pair| KeyPair::P256(Box::new(pair)))),
            _ => return Err(PrivateKeyError::NotPem),
        };
        let pair = pair.map_err(|_| PrivateKeyError::Unsupported)?;
        Ok(Self { pair, id })
    }

    /// A token with `claims`, and the usual ones about its validity, which is 5 minutes. Begins a
    /// minute ago, because clocks differ.
    ///
    /// # Errors
    /// [`PrivateKeyError::Sign`].
    pub fn token(&self, mut claims: Value) -> Result<String, PrivateKeyError> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        claims["iat"] = json!(now.as_secs().saturating_sub(60));
        claims["exp"] = json!((now + VALID_FOR).as_secs());
        claims["jti"] = json!(HEXLOWER.encode(&crate::rest::seed()));
        let algorithm = match &self.pair {
            KeyPair::Rsa(_) => "RS256",
            KeyPair::P256(_) => "ES256",
        };
        let mut header = json!({"alg": algorithm, "typ": "JWT"});
        if let Some(id) = &self.id {
            header["kid"] = json!(id);
        }
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = self.sign(message.as_bytes())?;
        Ok(format!("{message}.{}", BASE64URL_NOPAD.encode(&signature)))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PrivateKeyError> {
        let random = SystemRandom::new();
        match &self.pair {
            KeyPair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map(|()| signature)
            }
            KeyPair::P256(pair) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec()),
        }
        .map_err(|_| PrivateKeyError::Sign)
    }
}

/// The label and the bytes of the first private key in `pem` (RFC 7468).
fn decode_pem(pem: &str) -> Option<(String, Vec<u8>)> {
    let mut lines = pem.lines().map(str::trim);
    let label = lines.find_map(|line| {
        let label = line.strip_prefix("-----BEGIN ")?.strip_suffix("-----")?;
        label.ends_with("PRIVATE KEY").then(|| label.to_owned())
    })?;
    let body: String = lines
        .take_while(|line| !line.starts_with("-----"))
        .collect();
    Some((label, BASE64.decode(body.as_bytes()).ok()?))
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, KeyPair as _, UnparsedPublicKey};

    use super::*;

    #[test]
    fn token_is_signed_by_the_key() {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("randomness");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("a key");
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64.encode(pkcs8.as_ref())
        );
        let key = PrivateKey::from_pem(&pem, Some("k1".to_owned())).expect("a key");
        let token = key.token(json!({"iss": "me"})).expect("a token");
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        let signature = BASE64URL_NOPAD
            .decode(signature.as_bytes())
            .expect("base64");
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())
            .verify(message.as_bytes(), &signature)
            .expect("valid");
        let header =
            BASE64URL_NOPAD.decode(message.split('.').next().expect("a header").as_bytes());
        let header = String::from_utf8(header.expect("base64")).expect("JSON");
        assert!(
            header.contains("ES256") && header.contains("k1"),
            "{header}"
        );
    }

    #[test]
    fn rejects_what_is_no_private_key_without_repeating_it() {
        for (pem, error) in [
            ("s3cret", PrivateKeyError::NotPem),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
                PrivateKeyError::NotPem,
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
                PrivateKeyError::Unsupported,
            ),
        ] {
            assert_eq!(PrivateKey::from_pem(pem, None).err(), Some(error), "{pem}");
        }
    }
}
