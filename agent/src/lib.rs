//! What `exhibit-agent` does on a host, as a library: the key it signs with, the stream its bundles stand in, the facts about
//! itself that it seals, and the sealing of files.

pub mod capture;
mod durable;
pub mod files;
pub mod identity;
pub mod key;
pub mod os;
pub mod stream;
