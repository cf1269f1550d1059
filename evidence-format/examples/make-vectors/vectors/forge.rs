//! Ed25519 signatures that a lenient verifier accepts (RFC 8032 §5.1.7). The arithmetic modulo the
//! group's order is slow but simple.

use ed25519_dalek::SigningKey;
use evidence_format::keyring::Signer as _;
use sha2::{Digest as _, Sha512};

use super::parts::secret_key;

/// 256 bits, least significant word first.
type Scalar = [u64; 4];

/// L = 2^252 + 27742317777372353535851937790883648493, the order of the base point.
const ORDER: Scalar = [0x5812_631a_5cf5_d3ed, 0x14de_f9de_a2f7_9cd6, 0, 1 << 60];

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
    let mut r = [0; 32];
    r[0] = 1;
    let public = SigningKey::from_bytes(&[key; 32]).verifying_key();
    let mut a: [u8; 32] = Sha512::digest([key; 32])[..32]
        .try_into()
        .expect("half of 64 bytes");
    a[0] &= 248;
    a[31] = a[31] & 63 | 64;
    let k = Sha512::digest([&r[..], public.as_bytes(), message].concat());
    let s = multiply(reduce(&k), reduce(&a));
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
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
    let mut borrow = false;
    std::array::from_fn(|i| {
        let (difference, under) = a[i].overflowing_sub(ORDER[i]);
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
