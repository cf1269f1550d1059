#![doc = "The Exhibit bundle format. See `SPEC.md` beside this crate for the bytes, and `THREATS.md` for what they prove."]
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
