//! Ports out: where the collector keeps what it must not lose.
//!
//! [`ledger`] is the database: incidents, passes, what has been staged and sealed, the timeline. [`blobs`] has the bytes.

pub mod blobs;
pub mod jobs;
pub mod ledger;
#[cfg(test)]
mod testing;
