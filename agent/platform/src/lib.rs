//! What all our programs need from the machine they run on, below agent and collector: randomness,
//! the [`clock`], [`durable`] files, the [`terminal`], [`progress`], [`backoff`], words
//! for a [`shell`], which hosts are [`loopback`], and a chain of errors in one line.

pub mod backoff;
pub mod clock;
pub mod durable;
mod error;
pub mod loopback;
pub mod progress;
mod random;
pub mod shell;
pub mod terminal;

pub use error::chain;
pub use random::{random, random_fraction, random_hex};
