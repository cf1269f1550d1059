//! The Exhibit bundle format: writes, signs and verifies bundles of evidence.
//!
//! `SPEC.md` beside this crate defines the bytes, `THREATS.md` says what they prove. To write a
//! bundle, begin with [`bundle`]; to verify one, with [`mod@verify`]. The crate has no clock, no
//! randomness and no network of its own: callers pass in the time and the random bytes.

#![warn(missing_docs)]

pub mod bundle;
pub mod canonical;
pub mod config;
pub mod container;
pub mod coverage;
pub mod digest;
pub mod id;
pub mod item;
pub mod keyring;
pub mod limits;
pub mod manifest;
pub mod plan;
pub mod safe;
#[cfg(feature = "schema")]
mod schema;
pub mod segment;
pub mod signature;
pub mod statement;
pub mod time;
pub mod tree;
pub mod verify;
pub mod warc;
