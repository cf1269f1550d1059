//! What every program of ours needs from the machine that it runs on, below agent and collector:
//! randomness, the [`clock`], [`durable`] files, the [`terminal`], [`progress`], and how a chain of
//! errors is written in one line.

pub mod clock;
pub mod durable;
mod error;
pub mod progress;
mod random;
pub mod terminal;

pub use error::chain;
pub use random::random;
