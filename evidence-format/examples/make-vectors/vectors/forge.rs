//! Ed25519 signatures that a lenient verifier accepts (RFC 8032 §5.1.7). The arithmetic modulo the
//! group's order is slow but simple.

use ed25519_dalek::SigningKey;
use evidence_format::keyring::{PublicKey, Signer as _};
use sha2::{Digest as _, Sha512};

use super::parts::{KEY_A, secret_key};

/// 256 bits, least significant word first.
type Scalar = [u64; 4];

/// L = 2^252 + 27742317777372353535851937790883648493, the order of the base point.
const ORDER: Scalar = [0x5812_631a_5cf5_d3ed, 0x14de_f9de_a2f7_9cd6, 0, 1 << 60];

/// p = 2^255 − 19, the order of the field.
const PRIME: Scalar = [u64::MAX - 18, u64::MAX, u64::MAX, u64::MAX >> 1];

/// Seed of a nonce.
const NONCE: u8 = 0xc3;

/// The signature with L added to S: it satisfies the same equation in another spelling.
pub(crate) fn with_order_added(key: u8, message: &[u8]) -> [u8; 64] {
    let mut signature = secret_key(key)
        .sign(message)
        .expect("a key in memory signs");
    let s = words(&signature[32..]);
    signature[32..].copy_from_slice(&bytes(add(s, ORDER)));
    signature
}

/// A signature with the neutral element as R: S = k·a satisfies the equation, but R has small
/// order.
pub(crate) fn with_small_r(key: u8, message: &[u8]) -> [u8; 64] {
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let (secret, public) = key_pair(key);
    solve(&neutral, [0; 4], &public, secret, message)
}

/// A signature whose R has a part of order 2, so that the equation holds only if it is multiplied
/// by the cofactor.
pub(crate) fn with_mixed_r(key: u8, message: &[u8]) -> [u8; 64] {
    let ((nonce, point), (secret, public)) = (key_pair(NONCE), key_pair(key));
    solve(&plus_order_two(&point), nonce, &public, secret, message)
}

/// The public key of key A with a part of order 2 added. `k` times that part is nothing if k is
/// even, so half of A's signatures hold under this key too.
pub(crate) fn mixed_order_key() -> PublicKey {
    let der = secret_key(KEY_A).public_key().to_spki();
    let (head, point) = der.split_at(der.len() - 32);
    let point = plus_order_two(point.try_into().expect("32 bytes"));
    PublicKey::from_spki(&[head, &point].concat()).expect("a point that is not of small order")
}

/// A signature under [`mixed_order_key`] that holds, but not if k is taken without reduction modulo
/// L.
pub(crate) fn with_mixed_key(key: u8, message: &[u8]) -> [u8; 64] {
    under_mixed_key(key, message, false)
}

/// A signature under [`mixed_order_key`] that holds only if the equation is multiplied by the
/// cofactor, or if k is taken without reduction modulo L.
pub(crate) fn with_mixed_key_and_cofactor(key: u8, message: &[u8]) -> [u8; 64] {
    under_mixed_key(key, message, true)
}

/// The signature with the first nonce for which k is odd (or even) modulo L, and even (or odd)
/// before that.
fn under_mixed_key(key: u8, message: &[u8], reduced_is_odd: bool) -> [u8; 64] {
    let (secret, public) = key_pair(key);
    let public = plus_order_two(&public);
    let nonce = (0..=u8::MAX).find(|&nonce| {
        let digest = challenge(&key_pair(nonce).1, &public, message);
        let reduced = reduce(&digest)[0] & 1 == 1;
        reduced == reduced_is_odd && (digest[0] & 1 == 1) != reduced
    });
    let (nonce, point) = key_pair(nonce.expect("one of 256 nonces"));
    solve(&point, nonce, &public, secret, message)
}

/// The secret scalar and the public point of a seed (RFC 8032 §5.1.5).
fn key_pair(seed: u8) -> (Scalar, [u8; 32]) {
    let mut scalar: [u8; 32] = Sha512::digest([seed; 32])[..32]
        .try_into()
        .expect("half of 64 bytes");
    scalar[0] &= 248;
    scalar[31] = scalar[31] & 63 | 64;
    let public = SigningKey::from_bytes(&[seed; 32]).verifying_key();
    (reduce(&scalar), public.to_bytes())
}

/// The encoding of `point` + (0, −1), which is (−x, −y).
fn plus_order_two(point: &[u8; 32]) -> [u8; 32] {
    let mut y = words(point);
    y[3] &= u64::MAX >> 1;
    let mut sum = bytes(subtract(PRIME, y));
    sum[31] |= !point[31] & 0x80;
    sum
}

fn challenge(r: &[u8; 32], public: &[u8; 32], message: &[u8]) -> [u8; 64] {
    Sha512::digest([r, public, message].concat()).into()
}

/// R, and S = nonce + k · secret.
fn solve(
    r: &[u8; 32],
    nonce: Scalar,
    public: &[u8; 32],
    secret: Scalar,
    message: &[u8],
) -> [u8; 64] {
    let k = reduce(&challenge(r, public, message));
    let s = subtract_order_once(add(nonce, multiply(k, secret)));
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(r);
    signature[32..].copy_from_slice(&bytes(s));
    signature
}

fn words(bytes: &[u8]) -> Scalar {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_le_bytes(words[i]))
}

fn bytes(words: Scalar) -> [u8; 32] {
    words
        .map(u64::to_le_bytes)
        .concat()
        .try_into()
        .expect("four words")
}

/// Both numbers are below 2^255, so the sum has 256 bits.
fn add(a: Scalar, b: Scalar) -> Scalar {
    let mut carry = false;
    std::array::from_fn(|i| {
        let (sum, over) = a[i].overflowing_add(b[i]);
        let (sum, over_again) = sum.overflowing_add(u64::from(carry));
        carry = over || over_again;
        sum
    })
}

fn subtract_order_once(a: Scalar) -> Scalar {
    if a.iter().rev().lt(ORDER.iter().rev()) {
        return a;
    }
    subtract(a, ORDER)
}

fn subtract(a: Scalar, b: Scalar) -> Scalar {
    let mut borrow = false;
    std::array::from_fn(|i| {
        let (difference, under) = a[i].overflowing_sub(b[i]);
        let (difference, under_again) = difference.overflowing_sub(u64::from(borrow));
        borrow = under || under_again;
        difference
    })
}

/// The little-endian number `bytes` modulo L.
fn reduce(bytes: &[u8]) -> Scalar {
    bits(bytes).fold([0; 4], |sum, bit| {
        subtract_order_once(add(
            subtract_order_once(add(sum, sum)),
            [u64::from(bit), 0, 0, 0],
        ))
    })
}

fn multiply(a: Scalar, b: Scalar) -> Scalar {
    bits(&bytes(b)).fold([0; 4], |sum, bit| {
        let double = subtract_order_once(add(sum, sum));
        if bit {
            subtract_order_once(add(double, a))
        } else {
            double
        }
    })
}

/// Bits, beginning with the most significant.
fn bits(bytes: &[u8]) -> impl Iterator<Item = bool> {
    bytes
        .iter()
        .rev()
        .flat_map(|byte| (0..8).rev().map(move |i| byte >> i & 1 == 1))
}
