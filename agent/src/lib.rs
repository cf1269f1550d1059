//! The library of `exhibit-agent`: takes the volatile state of the machine it runs on into a bundle's draft.

pub mod os;
pub mod read;
