//! Randomness of the operating system.

use std::io;

use data_encoding::HEXLOWER;

/// Random bytes from the operating system.
///
/// # Errors
/// The system has none. A program that seals must then stop.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|cause| io::Error::other(cause.to_string()))?;
    Ok(bytes)
}

/// `N` random bytes as lowercase hex digits: for names that must not collide.
///
/// # Errors
/// As [`random`].
pub fn random_hex<const N: usize>() -> io::Result<String> {
    Ok(HEXLOWER.encode(&random::<N>()?))
}

/// A random number in [0, 1), for the jitter of a [`Backoff`](crate::backoff::Backoff). Without
/// randomness it is 0.5, since a retry that is not spread is better than none.
#[must_use]
pub fn random_fraction() -> f64 {
    let bytes = random().unwrap_or((1_u32 << 31).to_le_bytes());
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_values_differ() {
        let (first, second) = (random_hex::<32>(), random_hex::<32>());
        let (first, second) = (first.expect("randomness"), second.expect("randomness"));
        assert!(first.len() == 64 && first != second, "{first} {second}");
        assert!((0.0..1.0).contains(&random_fraction()));
    }
}
