//! Authenticates deliveries: HMAC signatures, tokens and signed times, compared in constant time.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use evidence_format::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

use super::{HookConfig, REPLAY_SECONDS_MAX, WebhookError};

/// Signatures of one delivery. A rotation needs two; each is compared with each secret.
const SIGNATURES_MAX: usize = 16;

/// Bytes of an HMAC-SHA256.
pub(super) const SIGNATURE_BYTES: usize = 32;

/// The value of a header; `None` if the header is repeated, since readers differ in which one they
/// take.
pub(super) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    values
        .next()
        .filter(|_| values.next().is_none())
        .map(http::HeaderValue::as_bytes)
}

/// Like [`header`], as text of printable ASCII.
pub(super) fn header_text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    std::str::from_utf8(header(headers, name)?)
        .ok()
        .filter(|text| text.bytes().all(|b| (b' '..=b'~').contains(&b)))
}

/// Like [`header_text`], for a header that authenticates the delivery.
pub(super) fn required_header<'h>(
    headers: &'h HeaderMap,
    name: &str,
) -> Result<&'h str, WebhookError> {
    header_text(headers, name).ok_or(WebhookError::NotAuthentic)
}

/// HMAC-SHA256 of `parts`, one after the other.
pub(super) fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

/// Checks that one of `signatures` is the HMAC-SHA256 of `parts` under one of `keys`. Compares all
/// pairs, so that the duration does not tell which one matched.
pub(super) fn check_signature<K: AsRef<[u8]>>(
    keys: &[K],
    parts: &[&[u8]],
    signatures: &[Vec<u8>],
) -> Result<(), WebhookError> {
    // The sender is not authenticated yet, and must not choose how much is compared.
    if signatures.len() > SIGNATURES_MAX {
        return Err(WebhookError::NotAuthentic);
    }
    let mut matched = Choice::from(0);
    for key in keys {
        let expected = mac(key.as_ref(), parts).finalize().into_bytes();
        for signature in signatures {
            matched |= expected.as_slice().ct_eq(signature);
        }
    }
    require(matched)
}

/// Decodes a signature in hexadecimal digits of either case.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()
}

/// Checks that the signed time is recent. Call it after [`check_signature`]: only an authentic
/// sender may learn how far the clocks differ.
pub(super) fn check_timestamp(
    unix_seconds: &str,
    received_at: Timestamp,
) -> Result<(), WebhookError> {
    // `parse` alone would accept `+1`.
    let is_number = !unix_seconds.is_empty() && unix_seconds.bytes().all(|b| b.is_ascii_digit());
    let sent: u64 =
        unix_seconds
            .parse()
            .ok()
            .filter(|_| is_number)
            .ok_or(WebhookError::Malformed {
                missing: "time in seconds",
            })?;
    let now = u64::try_from(received_at.unix_nanoseconds() / 1_000_000_000).unwrap_or(0);
    let seconds = now.abs_diff(sent);
    if seconds > REPLAY_SECONDS_MAX {
        Err(WebhookError::Stale { seconds })
    } else {
        Ok(())
    }
}

/// Checks that a delivery has one of the secrets, as bearer token or as the password of `username`.
pub(super) fn check_authorization(
    config: &HookConfig,
    headers: &HeaderMap,
) -> Result<(), WebhookError> {
    let given = header(headers, "authorization").ok_or(WebhookError::NotAuthentic)?;
    let blank = given
        .iter()
        .position(|b| *b == b' ')
        .ok_or(WebhookError::NotAuthentic)?;
    let (scheme, credentials) = (&given[..blank], given[blank..].trim_ascii());
    // Schemes are case-insensitive (RFC 9110 §11.1).
    match &config.username {
        None if scheme.eq_ignore_ascii_case(b"bearer") => check_token(config, credentials),
        Some(username) if scheme.eq_ignore_ascii_case(b"basic") => {
            let pair = BASE64
                .decode(credentials)
                .map_err(|_| WebhookError::NotAuthentic)?;
            let colon = pair
                .iter()
                .position(|b| *b == b':')
                .ok_or(WebhookError::NotAuthentic)?; // RFC 7617 §2: a user has no colon
            let user = pair[..colon].ct_eq(username.as_bytes());
            // Without a shortcut: the duration must not tell whether the user was right.
            require(user & matches_any_secret(config, &pair[colon + 1..]))
        }
        _ => Err(WebhookError::NotAuthentic),
    }
}

/// Checks that `given` is one of the secrets.
pub(super) fn check_token(config: &HookConfig, given: &[u8]) -> Result<(), WebhookError> {
    require(matches_any_secret(config, given))
}

fn matches_any_secret(config: &HookConfig, given: &[u8]) -> Choice {
    let none = Choice::from(0);
    // All are compared, so that the duration does not tell which one matched.
    config.secrets.iter().fold(none, |matched, secret| {
        matched | secret.expose().as_bytes().ct_eq(given)
    })
}

fn require(matched: Choice) -> Result<(), WebhookError> {
    if bool::from(matched) {
        Ok(())
    } else {
        Err(WebhookError::NotAuthentic)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::headers;
    use super::*;

    #[test]
    fn repeated_header_has_no_value() {
        let mut headers = headers(&[("x-token", "a"), ("x-bytes", "b\tc")]);
        assert_eq!(header_text(&headers, "X-Token"), Some("a"));
        assert_eq!(
            (
                header_text(&headers, "x-bytes"),
                header_text(&headers, "x-none")
            ),
            (None, None)
        );
        headers.append("x-token", http::HeaderValue::from_static("a"));
        assert_eq!(header(&headers, "x-token"), None);
    }

    /// RFC 4231 §4.3.
    #[test]
    fn signature_is_hmac_sha256() {
        let expected = from_hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
            .expect("hex");
        let parts: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
        assert_eq!(
            mac(b"Jefe", &parts).finalize().into_bytes().to_vec(),
            expected
        );
        assert_eq!(
            check_signature(&["wrong", "Jefe"], &parts, &[vec![], expected.clone()]),
            Ok(())
        );
        assert_eq!(
            check_signature(&["wrong"], &parts, &[expected]),
            Err(WebhookError::NotAuthentic)
        );
        assert_eq!(
            check_signature::<&str>(&[], &parts, &[]),
            Err(WebhookError::NotAuthentic),
            "without a secret, nothing is authentic"
        );
    }
}
