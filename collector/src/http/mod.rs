//! The API over HTTP.

pub mod token;
