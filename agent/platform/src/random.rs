//! Randomness of the operating system.

use std::io;

/// Random bytes from the operating system.
///
/// # Errors
/// The system has none. A program that seals must then stop.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|cause| io::Error::other(cause.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn randomness_differs() {
        assert_ne!(
            random::<32>().expect("a system with randomness"),
            random().expect("a system with randomness")
        );
    }
}
